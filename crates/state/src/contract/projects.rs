//! The project, its sources, its people's wishes, and the way in for rebuilt state.

use super::{at, attempts, batch, date, period, project, request, row, settle, source, units};
use crate::{
    StateError, StateStore,
    rows::{
        BackfillRow, NewBackfill, ProjectRow, Rebuilt, Reserve, ScheduleRow, SourceRow, SpendRow,
    },
};
use model::{Budget, CellState, SourceVersion};

fn source_row(name: &str) -> SourceRow {
    SourceRow {
        source: source(name),
        from: Some(date("2026-01-05")),
        paused: false,
        entities_seen: 500,
        version: SourceVersion("0123456789abcdef".into()),
        updated_at: at(1),
    }
}

fn wish(name: &str) -> NewBackfill {
    NewBackfill {
        source: source(name),
        from: date("2025-01-01"),
        until: date("2025-12-31"),
        requested_at: at(3),
    }
}

pub async fn a_fresh_store_is_empty_and_counts_from_one(store: &dyn StateStore) {
    let expected = ProjectRow {
        project_id: project().project_id,
        created_at: project().created_at,
        observed_at_max: None,
        next_attempt: 1,
        next_batch: 1,
    };
    assert_eq!(store.project().await.unwrap(), expected);
    assert_eq!(store.sources().await.unwrap(), []);
    assert_eq!(store.counts(at(0)).await.unwrap(), []);
    assert_eq!(store.announced().await.unwrap(), []);
    assert_eq!(store.open_attempts().await.unwrap(), []);
    assert_eq!(store.spend(None).await.unwrap(), []);
    assert_eq!(store.backfills().await.unwrap(), []);
    assert_eq!(store.cells(&source("eod")).await.unwrap(), []);
}

pub async fn sources_are_kept_by_name_and_the_last_row_wins(store: &dyn StateStore) {
    store.put_source(&source_row("zeta")).await.unwrap();
    store.put_source(&source_row("alpha")).await.unwrap();
    let changed = SourceRow {
        paused: true,
        from: None,
        entities_seen: u64::MAX,
        version: SourceVersion("fedcba9876543210".into()),
        updated_at: at(2),
        ..source_row("zeta")
    };
    store.put_source(&changed).await.unwrap();
    // Money alone makes no source.
    store.reserve(&request("beta", 1)).await.unwrap();
    assert_eq!(store.sources().await.unwrap(), [source_row("alpha"), changed]);
}

pub async fn a_definition_is_found_by_source_and_version(store: &dyn StateStore) {
    let (first, second) = (SourceVersion("1".into()), SourceVersion("2".into()));
    let eod = source("eod");
    assert_eq!(store.definition(&eod, &first).await.unwrap(), None);
    store.put_definition(&eod, &first, "name = \"eod\"", at(0)).await.unwrap();
    store.put_definition(&eod, &second, "two", at(1)).await.unwrap();
    store.put_definition(&eod, &second, "two, with a remark", at(2)).await.unwrap();
    let found = store.definition(&eod, &first).await.unwrap();
    assert_eq!(found.as_deref(), Some("name = \"eod\""));
    let found = store.definition(&eod, &second).await.unwrap();
    assert_eq!(found.as_deref(), Some("two, with a remark"));
    assert_eq!(store.definition(&source("other"), &first).await.unwrap(), None);
}

pub async fn wishes_are_numbered_and_finished_once(store: &dyn StateStore) {
    assert_eq!(store.add_backfill(&wish("eod")).await.unwrap(), 1);
    assert_eq!(store.add_backfill(&wish("nav")).await.unwrap(), 2);
    store.finish_backfill(1, at(50)).await.unwrap();
    store.finish_backfill(1, at(60)).await.unwrap();
    let kept = |id, name, finished_at| BackfillRow {
        id,
        source: source(name),
        from: date("2025-01-01"),
        until: date("2025-12-31"),
        requested_at: at(3),
        finished_at,
    };
    let expected = [kept(1, "eod", Some(at(50))), kept(2, "nav", None)];
    assert_eq!(store.backfills().await.unwrap(), expected);
}

pub async fn an_unknown_wish_cannot_be_finished(store: &dyn StateStore) {
    let error = store.finish_backfill(7, at(0)).await.unwrap_err();
    assert!(matches!(error, StateError::UnknownBackfill { id: 7 }), "{error:?}");
}

pub async fn the_generation_grows_when_a_wish_or_a_source_changed_and_only_then(
    store: &dyn StateStore,
) {
    let fresh = store.generation().await.unwrap();
    store.put_source(&source_row("eod")).await.unwrap();
    let put = store.generation().await.unwrap();
    assert!(put > fresh);

    let same_later = SourceRow { updated_at: at(99), ..source_row("eod") };
    store.put_source(&same_later).await.unwrap();
    settle(store, "eod", vec![row("A", "2026-11-19", CellState::Present)]).await;
    store.reserve(&request("eod", 1)).await.unwrap();
    assert_eq!(store.generation().await.unwrap(), put);
    assert_eq!(store.sources().await.unwrap(), [source_row("eod")], "the first time stays");

    store.put_source(&SourceRow { paused: true, ..source_row("eod") }).await.unwrap();
    let paused = store.generation().await.unwrap();
    assert!(paused > put);
    store.add_backfill(&wish("eod")).await.unwrap();
    assert!(store.generation().await.unwrap() > paused);
}

fn learned() -> ScheduleRow {
    ScheduleRow { source: source("eod"), saved: vec![1, 2, 3], updated_at: at(9) }
}

fn rebuilt() -> Rebuilt {
    let present = row("A", "2026-11-19", CellState::Present);
    let held = row("A", "2026-11-19", CellState::Held);
    let spent = |requests| SpendRow {
        source: source("eod"),
        day: date("2026-11-19"),
        requests,
        spent: units(requests as i64),
    };
    Rebuilt {
        sources: vec![source_row("eod")],
        cells: vec![(source("eod"), held), (source("eod"), present)],
        spend: vec![spent(3), spent(4)],
        period_spend: vec![(source("eod"), period("2026-11-19"), units(7))],
        looks: vec![(source("eod"), super::looks::looked("B", "2026-11-19", 3))],
        schedules: vec![learned()],
        next_attempt: 8,
        next_batch: 5,
        observed_at_max: Some(at(40)),
    }
}

pub async fn rebuilt_state_enters_an_empty_store(store: &dyn StateStore) {
    store.import(&rebuilt()).await.unwrap();
    let found = store.project().await.unwrap();
    assert_eq!((found.next_attempt, found.next_batch), (8, 5));
    assert_eq!(found.observed_at_max, Some(at(40)));
    assert_eq!(store.sources().await.unwrap(), [source_row("eod")]);
    let present = row("A", "2026-11-19", CellState::Present);
    assert_eq!(store.cells(&source("eod")).await.unwrap(), [present]);
    assert_eq!(store.counts(at(0)).await.unwrap().len(), 1);
    let spend = store.spend(None).await.unwrap();
    assert_eq!(
        spend.iter().map(|day| (day.requests, day.spent)).collect::<Vec<_>>(),
        [(7, units(7))]
    );
    assert_eq!(store.looks(&source("eod")).await.unwrap().len(), 1);
    assert_eq!(store.schedules().await.unwrap(), [learned()]);
    let bounded = Reserve {
        source_budget: Budget { per_period: Some(units(7)), ..Budget::default() },
        ..request("eod", 1)
    };
    assert_eq!(store.reserve(&bounded).await.unwrap().granted, 0, "the period has cost all of it");
    // It goes on from there.
    assert_eq!(store.reserve(&request("eod", 1)).await.unwrap().first.0, 8);
    store.announce(batch(5, "eod", Vec::new())).await.unwrap();
}

pub async fn rebuilt_state_does_not_enter_a_store_in_use(store: &dyn StateStore) {
    store.reserve(&request("eod", 1)).await.unwrap();
    store.release(&attempts([1])).await.unwrap();
    let before = store.project().await.unwrap();
    let error = store.import(&rebuilt()).await.unwrap_err();
    assert!(matches!(error, StateError::NotEmpty), "{error:?}");
    assert_eq!(store.project().await.unwrap(), before);
    assert_eq!(store.sources().await.unwrap(), []);
}
