//! What is known of looks, and of arrivals.

use super::{at, batch, entity, period, source};
use crate::{
    StateStore,
    rows::{Batch, LookRow, ScheduleRow},
};
use model::{CellKey, LookKind, Validators};

/// What is known of a cell that a page said is there.
pub fn looked(name: &str, period_text: &str, looks: u32) -> LookRow {
    LookRow {
        entity: entity(name),
        period: period(period_text),
        looks,
        last_at: at(5),
        without_at: Some(at(4)),
        without_paid_at: None,
        seen_at: Some(at(5)),
        seen_by: Some(LookKind::Page),
        validators: Validators { etag: Some("\"'; é\"".to_owned()), last_modified: None },
    }
}

pub async fn looks_are_settled_with_their_batch(store: &dyn StateStore) {
    assert_eq!(store.looks(&source("eod")).await.unwrap(), []);
    let (late, early) = (looked("B", "2026-11-20", 1), looked("B", "2026-11-19", 2));
    let (first, last) = (looked("A", "2026-11-20", 3), looked("A", "2026-11-20", 4));
    let looks = [late.clone(), early.clone(), first, last.clone()];
    let batch = Batch {
        looks: looks.into_iter().map(|row| (source("eod"), row)).collect(),
        ..batch(1, "eod", Vec::new())
    };
    store.announce(batch.clone()).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [batch]);
    assert_eq!(store.looks(&source("eod")).await.unwrap(), [], "announced is not settled");
    store.settle(1).await.unwrap();
    assert_eq!(store.looks(&source("eod")).await.unwrap(), [early, last, late]);
    assert_eq!(store.looks(&source("nav")).await.unwrap(), []);
}

pub async fn looks_that_are_over_are_forgotten(store: &dyn StateStore) {
    let over = |name: &str| CellKey {
        source: source("eod"),
        entity: entity(name),
        period: period("2026-11-20"),
    };
    let looks = ["A", "B"].map(|name| (source("eod"), looked(name, "2026-11-20", 1)));
    let first = Batch {
        looks: looks.to_vec(),
        looks_over: vec![over("A"), over("C")],
        ..batch(1, "eod", Vec::new())
    };
    store.announce(first.clone()).await.unwrap();
    store.settle(1).await.unwrap();
    assert_eq!(store.looks(&source("eod")).await.unwrap(), [looked("B", "2026-11-20", 1)]);
    let second = Batch { looks_over: vec![over("B")], ..batch(2, "eod", Vec::new()) };
    store.announce(second.clone()).await.unwrap();
    store.settle(2).await.unwrap();
    assert_eq!(store.looks(&source("eod")).await.unwrap(), []);
}

pub async fn schedules_are_kept_by_source_and_the_last_row_wins(store: &dyn StateStore) {
    assert_eq!(store.schedules().await.unwrap(), []);
    let generation = store.generation().await.unwrap();
    let saved = |name: &str, bytes: &[u8], seconds: i64| ScheduleRow {
        source: source(name),
        saved: bytes.to_vec(),
        updated_at: at(seconds),
    };
    store.put_schedules(&[saved("nav", &[1], 1), saved("eod", &[0, 255], 2)]).await.unwrap();
    store.put_schedules(&[saved("nav", &[], 3)]).await.unwrap();
    let expected = [saved("eod", &[0, 255], 2), saved("nav", &[], 3)];
    assert_eq!(store.schedules().await.unwrap(), expected);
    assert_eq!(store.generation().await.unwrap(), generation);
}
