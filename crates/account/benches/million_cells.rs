//! Judging a million cells, and counting them to a report.

use account::{Evidence, Look, StateCount, completeness, judge};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use model::{Cause, CellState, Outcome};
use std::hint::black_box;

const CELLS: usize = 1_000_000;

fn evidence() -> Vec<Evidence> {
    (0..CELLS)
        .map(|number| {
            let outcome = Outcome::ALL[number % Outcome::ALL.len()];
            Evidence {
                before: if number % 3 == 0 { CellState::Present } else { CellState::Due },
                outcome,
                has_records: outcome == Outcome::Ok,
                complete_since_due: outcome.is_complete_observation(),
                expects_records: number % 2 == 0,
                look: if number % 5 == 0 { Look::Over } else { Look::At(Timestamp::UNIX_EPOCH) },
            }
        })
        .collect()
}

fn million(criterion: &mut Criterion) {
    let evidence = evidence();
    criterion.bench_function("judge a million cells", |bench| {
        bench.iter(|| {
            evidence.iter().filter(|evidence| judge(black_box(evidence)).is_settled()).count()
        });
    });
    let stored: Vec<StateCount> = Cause::ALL
        .iter()
        .map(|cause| StateCount { state: "absent".to_owned(), cause: Some(*cause), cells: 40_000 })
        .collect();
    criterion.bench_function("report a million cells from their counts", |bench| {
        bench.iter(|| completeness(black_box(&stored), 1_000_000, 1_000_000));
    });
}

criterion_group!(benches, million);
criterion_main!(benches);
