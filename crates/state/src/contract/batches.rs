//! Batches: announced before tables are touched, settled after.

use super::{at, attempts, batch, request, row, settle, source};
use crate::{StateError, StateStore, rows::Batch};
use model::CellState;

fn present(name: &str) -> crate::rows::CellRow {
    row(name, "2026-11-19", CellState::Present)
}

pub async fn a_batch_is_kept_until_it_is_settled(store: &dyn StateStore) {
    let full = Batch {
        observed_at_max: Some(at(9)),
        commits: (0..=255).collect(),
        attempts: attempts([1, 2]),
        ..batch(1, "eod", vec![present("A"), present("B")])
    };
    store.announce(full.clone()).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [full]);
    assert_eq!(store.project().await.unwrap().next_batch, 2);
    store.settle(1).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), []);
    assert_eq!(store.project().await.unwrap().next_batch, 2);
}

pub async fn a_stale_batch_is_refused_and_changes_nothing(store: &dyn StateStore) {
    settle(store, "eod", vec![present("A")]).await;
    for stale in [-1, 0, 1, 3] {
        let error = store.announce(batch(stale, "eod", Vec::new())).await.unwrap_err();
        let refused =
            matches!(error, StateError::StaleBatch { found, expected: 2 } if found == stale);
        assert!(refused, "{error:?}");
    }
    assert_eq!(store.announced().await.unwrap(), []);
    assert_eq!(store.project().await.unwrap().next_batch, 2);
}

pub async fn announcing_changes_no_cell(store: &dyn StateStore) {
    let full = Batch { observed_at_max: Some(at(9)), ..batch(1, "eod", vec![present("A")]) };
    store.announce(full.clone()).await.unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap(), []);
    assert_eq!(store.counts(at(0)).await.unwrap(), []);
    assert_eq!(store.project().await.unwrap().observed_at_max, None);
}

pub async fn settling_applies_cells_closes_attempts_and_advances_observed_at(
    store: &dyn StateStore,
) {
    store.reserve(&request("eod", 3)).await.unwrap();
    let mut full = Batch {
        observed_at_max: Some(at(9)),
        attempts: attempts([1, 3]),
        ..batch(1, "eod", vec![present("A")])
    };
    full.cells.push((source("nav"), present("B")));
    store.announce(full.clone()).await.unwrap();
    store.settle(1).await.unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap(), [present("A")]);
    assert_eq!(store.cells(&source("nav")).await.unwrap(), [present("B")]);
    let open = store.open_attempts().await.unwrap();
    assert_eq!(open.iter().map(|open| open.attempt.0).collect::<Vec<_>>(), [2]);
    assert_eq!(store.project().await.unwrap().observed_at_max, Some(at(9)));
}

pub async fn settling_twice_is_settling_once(store: &dyn StateStore) {
    settle(store, "eod", vec![present("A")]).await;
    settle(store, "eod", vec![row("A", "2026-11-19", CellState::Held)]).await;
    store.settle(1).await.unwrap();
    let kept = store.cells(&source("eod")).await.unwrap();
    assert_eq!(kept, [row("A", "2026-11-19", CellState::Held)]);
    assert_eq!(store.counts(at(0)).await.unwrap().len(), 1);
}

pub async fn a_batch_that_was_never_announced_cannot_be_settled(store: &dyn StateStore) {
    settle(store, "eod", vec![present("A")]).await;
    for unknown in [-1, 0, 2, 9] {
        let error = store.settle(unknown).await.unwrap_err();
        let refused = matches!(
            error,
            StateError::UnknownBatch { number, next_batch: 2 } if number == unknown
        );
        assert!(refused, "{error:?}");
    }
}

pub async fn observed_at_never_goes_back(store: &dyn StateStore) {
    for (number, (observed, expected)) in
        (1..).zip([(Some(9), 9), (Some(4), 9), (None, 9), (Some(11), 11)])
    {
        let observed_at_max = observed.map(at);
        let next = Batch { observed_at_max, ..batch(number, "eod", Vec::new()) };
        store.announce(next.clone()).await.unwrap();
        store.settle(number).await.unwrap();
        assert_eq!(store.project().await.unwrap().observed_at_max, Some(at(expected)));
    }
}

pub async fn batches_may_be_empty(store: &dyn StateStore) {
    let empty = Batch { commits: Vec::new(), ..batch(1, "eod", Vec::new()) };
    store.announce(empty.clone()).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [empty]);
    store.settle(1).await.unwrap();
    assert_eq!(store.counts(at(0)).await.unwrap(), []);
}

pub async fn two_announced_batches_settle_apart(store: &dyn StateStore) {
    let (first, second) =
        (batch(1, "eod", vec![present("A")]), batch(2, "eod", vec![present("B")]));
    store.announce(first.clone()).await.unwrap();
    store.announce(second.clone()).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [first.clone(), second]);
    store.settle(2).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [first]);
    assert_eq!(store.cells(&source("eod")).await.unwrap(), [present("B")]);
    store.settle(1).await.unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap(), [present("A"), present("B")]);
}
