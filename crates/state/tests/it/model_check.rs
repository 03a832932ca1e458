//! Random sequences of operations: SQLite and memory answer alike, all the time.

use crate::contract::sqlite;
use jiff::{SignedDuration, Timestamp};
use model::{AttemptId, Budget, Cause, CellKey, CellState, LateFrom, Money, Outcome};
use proptest::prelude::*;
use state::{
    Batch, CellFilter, CellRow, HoldShares, MemoryStore, PaceRow, Rebuilt, Reserve, SourceRow,
    StateStore,
    contract::{at, attempts, entity, evidence, paces::wish, period, project, row, source},
    rows::NewBackfill,
};
use std::{collections::BTreeMap, fmt::Write as _};

const SOURCES: [&str; 3] = ["eod", "nav", "a"];
const ENTITIES: [&str; 4] = ["Z", "a", "é", "%"];
const SCOPES: [&str; 3] = ["https://a", "https://b as KEY", ""];
const HOLDERS: [&str; 4] = ["p", "q", "r", "é"];
const PERIODS: [&str; 5] = ["once", "2026-11", "2026-11-18", "2026-11-19", "2026-11-19T19:00Z"];

#[derive(Debug, Clone)]
enum Operation {
    PutSource {
        source: &'static str,
        paused: bool,
        seconds: i64,
    },
    Define {
        source: &'static str,
        text: String,
    },
    Reserve(Reserve),
    Release(Vec<i64>),
    /// The number is relative to the next, so that some are stale.
    Announce {
        stale_by: i64,
        batch: Batch,
    },
    Settle {
        back: i64,
    },
    Wish {
        source: &'static str,
        seconds: i64,
    },
    Finish {
        id: i64,
        seconds: i64,
    },
    Import(Vec<(model::SourceId, CellRow)>),
    PutPaces(Vec<PaceRow>),
    Hold(HoldShares),
    Drop {
        holder: &'static str,
    },
}

fn any_state() -> impl Strategy<Value = CellState> {
    let cause = prop::sample::select(Cause::ALL);
    let outcome = prop::sample::select(Outcome::ALL);
    prop_oneof![
        Just(CellState::Present),
        Just(CellState::Held),
        Just(CellState::Due),
        cause.clone().prop_map(|cause| CellState::Absent { cause }),
        cause.prop_map(|cause| CellState::GivenUp { cause }),
        (0..1_000_i64, outcome).prop_map(|(seconds, last_outcome)| CellState::Waiting {
            next_look_at: at(seconds),
            last_outcome,
        }),
    ]
}

fn any_row() -> impl Strategy<Value = CellRow> {
    let select = prop::sample::select::<&'static str>;
    let outcome = prop::option::of(prop::sample::select(Outcome::ALL));
    (select(&ENTITIES[..]), select(&PERIODS[..]), any_state(), outcome, any::<(u32, bool, u64)>())
        .prop_map(|(name, text, state, outcome, (looks, flag, records))| CellRow {
            outcome,
            looks,
            records,
            complete_since_due: flag,
            next_look_at: flag.then(|| at(i64::from(looks))),
            evidence: flag.then(evidence),
            records_hash: flag.then_some([looks as u8; 16]),
            late_from: (looks % 3 > 0).then(|| LateFrom {
                watch: at(i64::from(looks % 7)),
                overdue: at(i64::from(looks % 7 + looks % 5)),
            }),
            ..row(name, text, state)
        })
}

fn any_cells() -> impl Strategy<Value = Vec<(model::SourceId, CellRow)>> {
    let source = prop::sample::select(&SOURCES[..]).prop_map(source);
    prop::collection::vec((source, any_row()), 0..12)
}

fn any_reserve() -> impl Strategy<Value = Reserve> {
    let select = prop::sample::select::<&'static str>;
    let cell = (select(&ENTITIES[..]), select(&PERIODS[..]))
        .prop_map(|(name, text)| (entity(name), period(text)));
    let limit = || prop::option::of((0..20_i64).prop_map(|micros| Money { micros }));
    (
        select(&SOURCES[..]),
        prop::collection::vec(cell, 0..10),
        -1..4_i64,
        0..200_000_i64,
        [limit(), limit()],
        [limit(), limit(), limit()],
    )
        .prop_map(|(name, cells, micros, seconds, [by_source, by_project], others)| Reserve {
            source: source(name),
            cells,
            cost_each: Money { micros },
            at: at(seconds),
            source_budget: Budget {
                per_period: others[0],
                per_day: by_source,
                per_month: others[1],
            },
            project_budget: Budget { per_period: None, per_day: by_project, per_month: others[2] },
        })
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let numbers = prop::collection::vec(0..40_i64, 0..10);
    (any_cells(), numbers, prop::option::of(0..99_i64), any::<Vec<u8>>()).prop_map(
        |(cells, numbers, observed, commits)| Batch {
            number: 0,
            announced_at: at(1),
            observed_at_max: observed.map(at),
            commits,
            cells: cells.into_iter().collect(),
            refunds: numbers.iter().map(|n| (AttemptId(*n), Money { micros: n % 3 })).collect(),
            attempts: attempts(numbers),
            looks: Vec::new(),
            looks_over: Vec::new(),
        },
    )
}

fn any_pace() -> impl Strategy<Value = PaceRow> {
    (prop::sample::select(&SCOPES[..]), "[a-z]{0,4}", 0..9_i64).prop_map(
        |(scope, learned, seconds)| PaceRow {
            scope: scope.to_owned(),
            learned,
            updated_at: at(seconds),
        },
    )
}

/// Times go forwards and backwards.
fn any_wish() -> impl Strategy<Value = HoldShares> {
    let scopes = prop::collection::vec(prop::sample::select(&SCOPES[..]), 0..4);
    (prop::sample::select(&HOLDERS[..]), scopes, 0..30_i64, -1..12_i64).prop_map(
        |(holder, scopes, seconds, lasts)| HoldShares {
            lasts: SignedDuration::from_secs(lasts),
            ..wish(holder, &scopes, seconds)
        },
    )
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(&SOURCES[..]);
    prop_oneof![
        1 => (name(), any::<bool>(), 0..9_i64).prop_map(|(source, paused, seconds)| {
            Operation::PutSource { source, paused, seconds }
        }),
        1 => (name(), "[a-z]{0,4}").prop_map(|(source, text)| Operation::Define { source, text }),
        4 => any_reserve().prop_map(Operation::Reserve),
        3 => prop::collection::vec(-1..40_i64, 0..12).prop_map(Operation::Release),
        5 => (prop_oneof![9 => Just(0), 1 => -1..2_i64], any_batch())
            .prop_map(|(stale_by, batch)| Operation::Announce { stale_by, batch }),
        5 => (-1..3_i64).prop_map(|back| Operation::Settle { back }),
        1 => (name(), 0..9_i64).prop_map(|(source, seconds)| Operation::Wish { source, seconds }),
        1 => (0..3_i64, 0..9_i64).prop_map(|(id, seconds)| Operation::Finish { id, seconds }),
        1 => any_cells().prop_map(Operation::Import),
        1 => prop::collection::vec(any_pace(), 0..4).prop_map(Operation::PutPaces),
        3 => any_wish().prop_map(Operation::Hold),
        1 => prop::sample::select(&HOLDERS[..]).prop_map(|holder| Operation::Drop { holder }),
    ]
}

#[derive(Debug, Clone)]
enum ShareStep {
    Hold(HoldShares),
    Drop(&'static str),
}

fn any_share_step() -> impl Strategy<Value = ShareStep> {
    prop_oneof![
        9 => any_wish().prop_map(ShareStep::Hold),
        1 => prop::sample::select(&HOLDERS[..]).prop_map(ShareStep::Drop),
    ]
}

/// Does an operation; what it answered.
async fn perform(store: &dyn StateStore, operation: &Operation) -> String {
    let next_batch = store.project().await.unwrap().next_batch;
    match operation.clone() {
        Operation::PutSource { source: name, paused, seconds } => {
            let row = SourceRow {
                source: source(name),
                from: paused.then(|| jiff::civil::date(2026, 1, 1)),
                paused,
                entities_seen: 3,
                version: model::SourceVersion("v".into()),
                updated_at: at(seconds),
            };
            format!("{:?}", store.put_source(&row).await)
        }
        Operation::Define { source: name, text } => {
            let version = model::SourceVersion("v".into());
            let put = store.put_definition(&source(name), &version, &text, at(0)).await;
            format!("{put:?} {:?}", store.definition(&source("eod"), &version).await)
        }
        Operation::Reserve(request) => format!("{:?}", store.reserve(&request).await),
        Operation::Release(numbers) => format!("{:?}", store.release(&attempts(numbers)).await),
        Operation::Announce { stale_by, batch } => {
            let batch = Batch { number: next_batch + stale_by, ..batch };
            format!("{:?}", store.announce(batch).await)
        }
        Operation::Settle { back } => format!("{:?}", store.settle(next_batch - back).await),
        Operation::Wish { source: name, seconds } => {
            let wish = NewBackfill {
                source: source(name),
                from: jiff::civil::date(2025, 1, 1),
                until: jiff::civil::date(2025, 2, 1),
                requested_at: at(seconds),
            };
            format!("{:?}", store.add_backfill(&wish).await)
        }
        Operation::Finish { id, seconds } => {
            format!("{:?}", store.finish_backfill(id, at(seconds)).await)
        }
        Operation::Import(cells) => {
            let rebuilt = Rebuilt { cells, next_batch: 4, ..Rebuilt::default() };
            format!("{:?}", store.import(&rebuilt).await)
        }
        Operation::PutPaces(rows) => format!("{:?}", store.put_paces(&rows).await),
        Operation::Hold(wish) => format!("{:?}", store.hold_shares(&wish).await),
        Operation::Drop { holder } => format!("{:?}", store.drop_shares(holder).await),
    }
}

/// Before, while and after cells become late.
const TIMES: [i64; 3] = [-1, 4, 20];

/// All that a store shows.
async fn everything(store: &dyn StateStore) -> String {
    let mut shown = String::new();
    let mut show = |part: &dyn std::fmt::Debug| writeln!(shown, "{part:?}").unwrap();
    show(&store.project().await.unwrap());
    show(&store.generation().await.unwrap());
    show(&store.sources().await.unwrap());
    for now in TIMES {
        show(&store.counts(at(now)).await.unwrap());
        for cause in [Cause::Overdue, Cause::LateWatch, Cause::LateUsual, Cause::Quarantined] {
            let filter = CellFilter { cause: Some((cause, at(now))), ..CellFilter::default() };
            show(&store.find_cells(&filter, 5).await.unwrap());
        }
    }
    show(&store.open_attempts().await.unwrap());
    show(&store.spend(None).await.unwrap());
    show(&store.announced().await.unwrap());
    show(&store.backfills().await.unwrap());
    show(&store.paces().await.unwrap());
    for name in SOURCES {
        show(&store.cells(&source(name)).await.unwrap());
        show(&store.periods_summary(&source(name), at(TIMES[1])).await.unwrap());
    }
    let filter = CellFilter {
        state: Some("absent".to_owned()),
        period_from: Some(period("2026-11-18")),
        ..CellFilter::default()
    };
    show(&store.find_cells(&filter, 5).await.unwrap());
    let key = CellKey { source: source("eod"), entity: entity("é"), period: period("2026-11-19") };
    show(&store.cell(&key).await.unwrap());
    shown
}

/// What the counts say is what counting the rows says.
async fn counted_right(store: &dyn StateStore) -> bool {
    let rows = store.find_cells(&CellFilter::default(), u32::MAX).await.unwrap();
    for now in TIMES.map(at) {
        let mut sums = BTreeMap::<_, u64>::new();
        for (source, row) in &rows {
            let stands = (source.clone(), row.state.as_str().to_owned(), row.cause(now));
            *sums.entry(stands).or_default() += 1;
        }
        let counts = store.counts(now).await.unwrap();
        let right = counts.len() == sums.len()
            && counts.into_iter().all(|count| {
                sums.get(&(count.source, count.state, count.cause)) == Some(&count.cells)
            });
        if !right {
            return false;
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sqlite_and_memory_answer_alike(
        operations in prop::collection::vec(any_operation(), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let memory = MemoryStore::new(project());
        let (sqlite, _alive) = sqlite();
        for operation in &operations {
            let (by_memory, by_sqlite) = runtime.block_on(async {
                (perform(&memory, operation).await, perform(&sqlite, operation).await)
            });
            prop_assert_eq!(by_memory, by_sqlite, "{:?}", operation);
            let (of_memory, of_sqlite) = runtime.block_on(async {
                (everything(&memory).await, everything(&sqlite).await)
            });
            prop_assert_eq!(of_memory, of_sqlite, "after {:?}", operation);
        }
        prop_assert!(runtime.block_on(counted_right(&sqlite)));
    }
    /// What each holder was last granted, while by its own clock and everybody's it still holds it.
    #[test]
    fn never_more_than_the_whole_is_granted(
        steps in prop::collection::vec((any_share_step(), -15..15_i64), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let memory = MemoryStore::new(project());
        let mut seconds = 0;
        // By scope and holder: the share and its end, as far as nobody's clock has passed it.
        let mut held = BTreeMap::<(String, String), (f64, Timestamp)>::new();
        for (step, passed) in steps {
            seconds += passed;
            match step {
                ShareStep::Drop(holder) => {
                    runtime.block_on(memory.drop_shares(holder)).unwrap();
                    held.retain(|(_, name), _| name != holder);
                }
                ShareStep::Hold(wanted) => {
                    let wanted = HoldShares { now: at(seconds), ..wanted };
                    let shares = runtime.block_on(memory.hold_shares(&wanted)).unwrap();
                    held.retain(|_, (_, end)| *end > wanted.now);
                    for (scope, share) in wanted.scopes.iter().zip(shares) {
                        prop_assert!((0.0..=1.0).contains(&share));
                        let key = (scope.clone(), wanted.holder.clone());
                        held.insert(key, (share, wanted.now + wanted.lasts));
                    }
                }
            }
            for scope in SCOPES {
                let of_scope = held.iter().filter(|((name, _), _)| name == scope);
                let sum: f64 = of_scope.map(|(_, (share, _))| share).sum();
                prop_assert!(sum <= 1.0, "{sum} of `{scope}`");
            }
        }
    }
}
