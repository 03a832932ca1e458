//! What was learned of limit scopes, and shares of them.

use super::at;
use crate::{
    StateStore,
    rows::{HoldShares, PaceRow},
};
use jiff::{SignedDuration, Timestamp};

fn pace(scope: &str, learned: &str, seconds: i64) -> PaceRow {
    PaceRow { scope: scope.to_owned(), learned: learned.to_owned(), updated_at: at(seconds) }
}

/// The share of one scope, in percent, that a holder is granted for ten seconds.
async fn hold(store: &dyn StateStore, holder: &str, seconds: i64) -> u32 {
    let shares = store.hold_shares(&wish(holder, &["https://a"], seconds)).await.unwrap();
    assert_eq!(shares.len(), 1);
    (shares[0] * 100.0) as u32
}

/// A wish for ten seconds.
pub fn wish(holder: &str, scopes: &[&str], seconds: i64) -> HoldShares {
    HoldShares {
        holder: holder.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        now: at(seconds),
        lasts: SignedDuration::from_secs(10),
    }
}

pub async fn paces_are_kept_by_scope_and_the_last_row_wins(store: &dyn StateStore) {
    assert_eq!(store.paces().await.unwrap(), []);
    let generation = store.generation().await.unwrap();
    store.put_paces(&[pace("b", "1", 1), pace("a", "{\"rate\": 2}", 1)]).await.unwrap();
    store.put_paces(&[pace("b", "3", 2), pace("b", "'; é\n", 3), pace("", "", 4)]).await.unwrap();
    store.put_paces(&[]).await.unwrap();
    let expected = [pace("", "", 4), pace("a", "{\"rate\": 2}", 1), pace("b", "'; é\n", 3)];
    assert_eq!(store.paces().await.unwrap(), expected);
    assert_eq!(store.generation().await.unwrap(), generation);
}

pub async fn a_newcomer_waits_for_the_others_to_shrink(store: &dyn StateStore) {
    assert_eq!(hold(store, "a", 0).await, 100);
    assert_eq!(hold(store, "b", 1).await, 0);
    assert_eq!(hold(store, "b", 2).await, 0);
    assert_eq!(hold(store, "a", 3).await, 50);
    assert_eq!(hold(store, "b", 4).await, 50);
}

pub async fn who_leaves_or_expires_is_replaced_at_the_next_renewal(store: &dyn StateStore) {
    for seconds in 0..2 {
        hold(store, "a", seconds).await;
        hold(store, "b", seconds).await;
    }
    store.drop_shares("b").await.unwrap();
    store.drop_shares("never seen").await.unwrap();
    assert_eq!(hold(store, "a", 2).await, 100);
    hold(store, "b", 3).await;
    assert_eq!(hold(store, "a", 4).await, 50);
    assert_eq!(hold(store, "a", 12).await, 50, "the lease of `b` lasts until 13");
    assert_eq!(hold(store, "a", 13).await, 100);
}

pub async fn four_holders_come_to_a_quarter_each(store: &dyn StateStore) {
    let mut shares = Vec::new();
    for seconds in 0..3 {
        shares.clear();
        for holder in ["a", "b", "c", "d"] {
            shares.push(hold(store, holder, seconds).await);
        }
    }
    assert_eq!(shares, [25; 4]);
}

pub async fn scopes_are_shared_apart_and_answered_in_order(store: &dyn StateStore) {
    assert_eq!(store.hold_shares(&wish("a", &["x"], 0)).await.unwrap(), [1.0]);
    let granted = store.hold_shares(&wish("b", &["y", "x", "z", "y"], 0)).await.unwrap();
    assert_eq!(granted, [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(store.hold_shares(&wish("a", &[], 0)).await.unwrap(), [0.0; 0]);
    store.drop_shares("b").await.unwrap();
    assert_eq!(store.hold_shares(&wish("c", &["y", "z", "x"], 0)).await.unwrap(), [1.0, 1.0, 0.0]);
}

pub async fn a_clock_that_steps_back_grants_nothing_twice(store: &dyn StateStore) {
    assert_eq!(hold(store, "a", 100).await, 100);
    // Nobody else shortens what `a` holds until 110.
    assert_eq!(hold(store, "b", 0).await, 0);
    assert_eq!(hold(store, "c", 0).await, 0);
    assert_eq!(hold(store, "b", 109).await, 0);
    // Its own step back makes its lease end earlier, and its share is what the others leave.
    assert_eq!(hold(store, "a", 50).await, 50);
    assert_eq!(hold(store, "b", 59).await, 50);
    assert_eq!(hold(store, "b", 60).await, 100);
    assert_eq!(hold(store, "a", 0).await, 0);
}

pub async fn the_ends_of_time_are_times(store: &dyn StateStore) {
    let forever = HoldShares {
        now: Timestamp::MAX,
        lasts: SignedDuration::MAX,
        ..wish("a", &["https://a"], 0)
    };
    assert_eq!(store.hold_shares(&forever).await.unwrap(), [1.0]);
    assert_eq!(hold(store, "b", 1_000_000).await, 0);
    let over = HoldShares { now: Timestamp::MIN, lasts: SignedDuration::MIN, ..forever };
    assert_eq!(store.hold_shares(&over).await.unwrap(), [0.5]);
    assert_eq!(hold(store, "b", 0).await, 100);
}
