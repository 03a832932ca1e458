//! One million cells: 5,000 entities times 200 days.
//!
//! The claim: planned in under a second, and under 200 MB for the whole process even when every
//! cell waits for another look. The memory is checked here (where the system tells it).

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::date, tz::TimeZone};
use model::{Calendar, CalendarSpec, Entity, EntityRow, Grid};
use plan::{Agenda, Priority};
use std::{hint::black_box, sync::Arc};

const ENTITIES: usize = 5_000;
const DAYS: i64 = 200;
const CHUNK: usize = 512;

fn grid() -> Grid {
    let entity = |number| EntityRow {
        entity: Entity::parse(&format!("TICKER{number:05}"))
            .expect("a name without odd characters"),
        listed_from: None,
        listed_until: None,
    };
    let spec = CalendarSpec {
        calendar: Calendar::Daily,
        timezone: TimeZone::UTC,
        closes_at: None,
        due_after: SignedDuration::ZERO,
    };
    let first = date(2026, 1, 1);
    let last = first.checked_add((DAYS - 1).days()).expect("a day of 2026");
    Grid::new((0..ENTITIES).map(entity).collect(), spec.periods(first, last))
}

/// Builds the grid, takes everything in chunks, settles it.
fn plan_everything(now: Timestamp) -> usize {
    let mut agenda = Agenda::new(Arc::new(grid()));
    let mut planned = 0;
    loop {
        let due = agenda.take_due(now, CHUNK);
        if due.is_empty() {
            break;
        }
        planned += due.len();
        for due in due {
            agenda.settle(due.ordinal);
        }
    }
    assert!(agenda.is_finished());
    planned
}

/// The worst case of memory: every cell waits for another look.
fn wait_for_everything(now: Timestamp) -> Agenda {
    let mut agenda = Agenda::new(Arc::new(grid()));
    loop {
        let due = agenda.take_due(now, CHUNK);
        if due.is_empty() {
            return agenda;
        }
        for due in due {
            let minute = i64::from(due.ordinal.entity % 60);
            let at = now + SignedDuration::from_mins(60 + minute);
            agenda.look_at(due.ordinal, at, Priority::Live);
        }
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn million_cells(criterion: &mut Criterion) {
    let now = "2027-01-01T00:00:00Z".parse().expect("an instant");
    let mut group = criterion.benchmark_group("million_cells");
    group.sample_size(10);
    group.bench_function("plan", |bencher| {
        bencher.iter(|| assert_eq!(plan_everything(black_box(now)), 1_000_000));
    });
    group.bench_function("all_waiting", |bencher| {
        bencher.iter(|| wait_for_everything(black_box(now)));
    });
    let grid = grid();
    group.bench_function("count_expected", |bencher| {
        bencher.iter(|| assert_eq!(black_box(&grid).expected_due(now), 1_000_000));
    });
    group.finish();
    if let Some(peak) = peak_memory_mb() {
        println!("peak memory of the process: {peak} MB");
        assert!(peak < 200, "planning a million cells took {peak} MB");
    }
}

/// The most memory this process ever held, as Linux tells it.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1_024)
}

criterion_group!(benches, million_cells);
criterion_main!(benches);
