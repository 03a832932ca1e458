//! Cells and their counts.

use super::{at, batch, entity, evidence, period, row, settle, source};
use crate::{
    StateStore,
    rows::{CellCount, CellFilter, CellRow, PeriodCount},
};
use model::{AttemptId, Cause, CellKey, CellState, LateFrom, Outcome};

const WAITING: CellState = CellState::Waiting {
    next_look_at: jiff::Timestamp::constant(1_795_200_000, 5),
    last_outcome: Outcome::RateLimited,
};

fn count(name: &str, state: &str, cause: Option<Cause>, cells: u64) -> CellCount {
    CellCount { source: source(name), state: state.to_owned(), cause, cells }
}

pub async fn every_state_and_field_comes_back_as_it_went(store: &dyn StateStore) {
    let mut rows = Vec::new();
    let mut states = vec![WAITING, CellState::Present, CellState::Held, CellState::Due];
    states.extend(Cause::ALL.iter().map(|cause| CellState::Absent { cause: *cause }));
    states.extend(Cause::ALL.iter().map(|cause| CellState::GivenUp { cause: *cause }));
    let outcomes = Outcome::ALL.iter().map(|outcome| Some(*outcome)).chain([None]).cycle();
    for (index, (state, outcome)) in states.into_iter().zip(outcomes).enumerate() {
        let full = index % 2 == 0;
        let mut row = row(&format!("E{index:03}"), "2026-11-19T19:00Z", state);
        row.outcome = outcome;
        row.looks = u32::MAX;
        row.failures = index as u32;
        row.complete_since_due = full;
        row.records = u64::MAX;
        row.quarantined = 3;
        row.observed_at = full.then(|| at(index as i64));
        row.next_look_at = full.then(|| at(1_000));
        row.last_attempt = AttemptId(i64::MAX);
        row.evidence = full.then(evidence);
        row.records_hash = full.then_some([index as u8; 16]);
        if let CellState::Waiting { next_look_at, last_outcome } = state {
            row.next_look_at = Some(next_look_at);
            row.outcome = Some(last_outcome);
            row.late_from = Some(LateFrom { watch: at(2_000), overdue: at(3_000) });
        }
        rows.push(row);
    }
    let announced = batch(1, "eod", rows.clone());
    store.announce(announced.clone()).await.unwrap();
    assert_eq!(store.announced().await.unwrap(), [announced]);
    store.settle(1).await.unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap(), rows);
    for row in rows {
        let key = CellKey { source: source("eod"), entity: row.entity.clone(), period: row.period };
        assert_eq!(store.cell(&key).await.unwrap(), Some(row));
    }
    let elsewhere =
        CellKey { source: source("eod"), entity: entity("E000"), period: period("2026-11-19") };
    assert_eq!(store.cell(&elsewhere).await.unwrap(), None);
}

pub async fn cells_come_by_period_and_entity(store: &dyn StateStore) {
    let mut rows = Vec::new();
    // In the order of periods; entities enter backwards, so that first sight is not the alphabet.
    for text in ["once", "1969-12-30", "2026-11", "2026-11-18", "2026-11-19", "2026-11-19T05:00Z"] {
        for name in ["B", "a", "b", "é"] {
            rows.push(row(name, text, CellState::Present));
        }
    }
    settle(store, "eod", rows.iter().rev().cloned().collect()).await;
    assert_eq!(store.cells(&source("eod")).await.unwrap(), rows);
    let found = store.find_cells(&CellFilter::default(), 1_000).await.unwrap();
    assert_eq!(found.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), rows);
}

pub async fn the_last_of_the_same_cell_wins(store: &dyn StateStore) {
    let first = row("A", "2026-11-19", WAITING);
    let other = row("B", "2026-11-19", CellState::Held);
    let last = CellRow { looks: 9, ..row("A", "2026-11-19", CellState::Present) };
    settle(store, "eod", vec![first, other.clone(), last.clone()]).await;
    assert_eq!(store.cells(&source("eod")).await.unwrap(), [last, other]);
    let held = count("eod", "held", Some(Cause::Quarantined), 1);
    let expected = [held, count("eod", "present", None, 1)];
    assert_eq!(store.counts(at(0)).await.unwrap(), expected);
}

pub async fn new_cells_among_known_ones_are_counted_once(store: &dyn StateStore) {
    // More than one statement takes, and with some that are there already in each, or in none.
    let rows = |state, keep: fn(usize) -> bool| {
        let kept = (0..100).filter(move |index| keep(*index));
        kept.map(move |index| row(&format!("E{index:03}"), "2026-11-19", state))
    };
    settle(store, "eod", rows(WAITING, |index| index < 50 && index % 3 == 0).collect()).await;
    settle(store, "eod", rows(CellState::Present, |_| true).collect()).await;
    settle(store, "alt", rows(CellState::Held, |_| true).collect()).await;
    let expected: Vec<CellRow> = rows(CellState::Present, |_| true).collect();
    assert_eq!(store.cells(&source("eod")).await.unwrap(), expected);
    let held = count("alt", "held", Some(Cause::Quarantined), 100);
    let expected = [held, count("eod", "present", None, 100)];
    assert_eq!(store.counts(at(0)).await.unwrap(), expected);
}

pub async fn the_same_entity_of_two_sources_is_two_cells(store: &dyn StateStore) {
    settle(store, "eod", vec![row("A", "2026-11-19", CellState::Present)]).await;
    settle(store, "nav", vec![row("A", "2026-11-19", CellState::Held)]).await;
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 1);
    let key = CellKey { source: source("nav"), entity: entity("A"), period: period("2026-11-19") };
    assert_eq!(store.cell(&key).await.unwrap().unwrap().state, CellState::Held);
}

pub async fn counts_follow_every_change_of_state(store: &dyn StateStore) {
    let gap = CellState::Absent { cause: Cause::SourceGap };
    let quiet = CellState::Absent { cause: Cause::NoActivity };
    let rows = |states: [CellState; 3]| {
        ["A", "B", "C"].into_iter().zip(states).map(|(name, state)| row(name, "2026-11-19", state))
    };
    settle(store, "eod", rows([WAITING, WAITING, gap]).collect()).await;
    let throttled = Some(Cause::Throttled);
    let expected =
        [count("eod", "absent", Some(Cause::SourceGap), 1), count("eod", "waiting", throttled, 2)];
    assert_eq!(store.counts(at(0)).await.unwrap(), expected);

    settle(store, "eod", rows([CellState::Present, WAITING, quiet]).collect()).await;
    settle(store, "alt", rows([gap, gap, quiet]).collect()).await;
    let expected = [
        count("alt", "absent", Some(Cause::NoActivity), 1),
        count("alt", "absent", Some(Cause::SourceGap), 2),
        count("eod", "absent", Some(Cause::NoActivity), 1),
        count("eod", "present", None, 1),
        count("eod", "waiting", throttled, 1),
    ];
    assert_eq!(store.counts(at(0)).await.unwrap(), expected);

    // The same again changes nothing.
    settle(store, "eod", rows([CellState::Present, WAITING, quiet]).collect()).await;
    assert_eq!(store.counts(at(0)).await.unwrap(), expected);
}

pub async fn periods_are_summed_up_for_one_source(store: &dyn StateStore) {
    let lost = CellState::GivenUp { cause: Cause::Throttled };
    settle(
        store,
        "eod",
        vec![
            row("A", "2026-11-19", CellState::Present),
            row("B", "2026-11-19", CellState::Present),
            row("C", "2026-11-19", lost),
            row("A", "2026-11-18", lost),
        ],
    )
    .await;
    settle(store, "nav", vec![row("A", "2026-11-19", CellState::Held)]).await;
    let sum = |text, state: &str, cause, cells| PeriodCount {
        period: period(text),
        state: state.to_owned(),
        cause,
        cells,
    };
    let expected = [
        sum("2026-11-18", "given_up", Some(Cause::Throttled), 1),
        sum("2026-11-19", "given_up", Some(Cause::Throttled), 1),
        sum("2026-11-19", "present", None, 2),
    ];
    assert_eq!(store.periods_summary(&source("eod"), at(0)).await.unwrap(), expected);
    assert_eq!(store.periods_summary(&source("none"), at(0)).await.unwrap(), []);
}

pub async fn cells_are_found_by_each_part_of_the_filter(store: &dyn StateStore) {
    let gap = CellState::Absent { cause: Cause::SourceGap };
    let given_up = CellState::GivenUp { cause: Cause::SourceGap };
    settle(
        store,
        "eod",
        vec![
            row("A", "2026-11-17", CellState::Present),
            row("A", "2026-11-18", gap),
            row("B", "2026-11-18", CellState::Present),
            row("B", "2026-11-19", given_up),
        ],
    )
    .await;
    settle(store, "alt", vec![row("A", "2026-11-18", CellState::Present)]).await;
    let all = CellFilter::default;
    let cases = [
        (all(), "alt A 18, eod A 17, eod A 18, eod B 18, eod B 19"),
        (CellFilter { source: Some(source("alt")), ..all() }, "alt A 18"),
        (CellFilter { source: Some(source("none")), ..all() }, ""),
        (CellFilter { state: Some("present".to_owned()), ..all() }, "alt A 18, eod A 17, eod B 18"),
        (CellFilter { state: Some("no such".to_owned()), ..all() }, ""),
        (CellFilter { cause: Some((Cause::SourceGap, at(0))), ..all() }, "eod A 18, eod B 19"),
        (CellFilter { entity: Some(entity("B")), ..all() }, "eod B 18, eod B 19"),
        (
            CellFilter { period_from: Some(period("2026-11-18")), ..all() },
            "alt A 18, eod A 18, eod B 18, eod B 19",
        ),
        (
            CellFilter { period_to: Some(period("2026-11-18")), ..all() },
            "alt A 18, eod A 17, eod A 18, eod B 18",
        ),
        (
            CellFilter {
                source: Some(source("eod")),
                state: Some("absent".to_owned()),
                cause: Some((Cause::SourceGap, at(0))),
                entity: Some(entity("A")),
                period_from: Some(period("2026-11-18")),
                period_to: Some(period("2026-11-18")),
            },
            "eod A 18",
        ),
    ];
    for (filter, expected) in cases {
        let found = store.find_cells(&filter, 100).await.unwrap();
        let found: Vec<String> = found
            .iter()
            .map(|(source, row)| {
                let period = row.period.to_string();
                format!("{source} {} {}", row.entity, &period[period.len() - 2..])
            })
            .collect();
        assert_eq!(found.join(", "), expected, "{filter:?}");
    }
}

pub async fn the_limit_keeps_the_first_cells_of_the_order(store: &dyn StateStore) {
    let rows: Vec<CellRow> =
        (1..=9).map(|day| row("A", &format!("2026-11-0{day}"), CellState::Present)).collect();
    settle(store, "eod", rows.iter().rev().cloned().collect()).await;
    for limit in [0_usize, 1, 4, 9, 100] {
        let found = store.find_cells(&CellFilter::default(), limit as u32).await.unwrap();
        let found: Vec<CellRow> = found.into_iter().map(|(_, row)| row).collect();
        assert_eq!(found, rows[..limit.min(9)]);
    }
}

pub async fn a_waiting_cell_repeats_its_state_in_its_fields(store: &dyn StateStore) {
    let told_apart =
        CellRow { outcome: None, next_look_at: None, ..row("A", "2026-11-19", WAITING) };
    settle(store, "eod", vec![told_apart]).await;
    let kept = store.cells(&source("eod")).await.unwrap().remove(0);
    assert_eq!(kept.state, WAITING);
    assert_eq!(kept.outcome, Some(Outcome::RateLimited));
    assert_eq!(kept.next_look_at, Some(jiff::Timestamp::constant(1_795_200_000, 5)));
}

/// Counts, sums and filters agree at each time, and nothing has to be written for it.
pub async fn how_late_a_cell_is_is_told_as_of_a_time(store: &dyn StateStore) {
    let waiting = |name: &str, last_outcome, late: Option<(i64, i64)>| CellRow {
        late_from: late.map(|(watch, overdue)| LateFrom { watch: at(watch), overdue: at(overdue) }),
        ..row(name, "2026-11-19", CellState::Waiting { next_look_at: at(9), last_outcome })
    };
    let rows = vec![
        waiting("A", Outcome::EmptyProven, Some((100, 200))),
        waiting("B", Outcome::Gone, Some((150, 150))),
        waiting("C", Outcome::NotModified, None),
        waiting("D", Outcome::EmptyUnproven, None),
        waiting("E", Outcome::Partial, None),
        CellRow {
            late_from: Some(LateFrom { watch: at(0), overdue: at(0) }),
            ..row("F", "2026-11-19", CellState::Held)
        },
    ];
    settle(store, "eod", rows).await;
    let all = [Cause::LateUsual, Cause::LateWatch, Cause::Overdue];
    for (now, expected) in [
        (-1, ["A B C", "", ""]),
        (99, ["A B C", "", ""]),
        (100, ["B C", "A", ""]),
        (150, ["C", "A", "B"]),
        (200, ["C", "", "A B"]),
        (i64::from(u32::MAX), ["C", "", "A B"]),
    ] {
        let now = at(now);
        let mut counted = vec![count("eod", "held", Some(Cause::Quarantined), 1)];
        for (cause, names) in all.into_iter().zip(expected) {
            let filter = CellFilter { cause: Some((cause, now)), ..CellFilter::default() };
            let found = store.find_cells(&filter, 9).await.unwrap();
            let found: Vec<&str> = found.iter().map(|(_, row)| row.entity.as_str()).collect();
            assert_eq!(found.join(" "), names, "{cause} at {now}");
            if !found.is_empty() {
                counted.push(count("eod", "waiting", Some(cause), found.len() as u64));
            }
        }
        for cause in [Cause::Partial, Cause::Unexplained] {
            counted.push(count("eod", "waiting", Some(cause), 1));
        }
        assert_eq!(store.counts(now).await.unwrap(), counted, "at {now}");
        let summary = store.periods_summary(&source("eod"), now).await.unwrap();
        let of_source = |sum: PeriodCount| CellCount {
            source: source("eod"),
            state: sum.state,
            cause: sum.cause,
            cells: sum.cells,
        };
        assert_eq!(summary.into_iter().map(of_source).collect::<Vec<_>>(), counted, "at {now}");
    }

    // What is settled is late no more, and what fails shows that.
    let failed = waiting("B", Outcome::SourceError, None);
    settle(store, "eod", vec![row("A", "2026-11-19", CellState::Present), failed]).await;
    let overdue = CellFilter { cause: Some((Cause::Overdue, at(999))), ..CellFilter::default() };
    assert_eq!(store.find_cells(&overdue, 9).await.unwrap(), []);
    let counts = store.counts(at(999)).await.unwrap();
    assert!(counts.contains(&count("eod", "waiting", Some(Cause::SourceOutage), 1)), "{counts:?}");
    assert!(counts.iter().all(|count| count.cause != Some(Cause::Overdue)), "{counts:?}");
    let held = store.cells(&source("eod")).await.unwrap().pop().unwrap();
    assert_eq!(held.late_from, None, "only what waits can be late");
}

pub async fn hostile_names_are_data(store: &dyn StateStore) {
    let mut names =
        vec!["'; DROP TABLE cells; --", "../../etc/passwd", "a b\"c", "%_*", "\u{1f980}", "?1"];
    let long = "x".repeat(1_024);
    names.push(&long);
    names.sort_unstable();
    let rows: Vec<CellRow> =
        names.iter().map(|name| row(name, "once", CellState::Present)).collect();
    settle(store, "eod", rows.clone()).await;
    assert_eq!(store.cells(&source("eod")).await.unwrap(), rows);
    for (name, row) in names.iter().zip(rows) {
        let filter = CellFilter { entity: Some(entity(name)), ..CellFilter::default() };
        assert_eq!(store.find_cells(&filter, 9).await.unwrap(), [(source("eod"), row)]);
    }
}
