//! Ten thousand entities that come in groups: replanned on one's arrival, and trained on 250 days.
//!
//! The claims: a replan of all in under 50 ms, a training in under 60 s and 1 GB, planning under 1 KB
//! an entity. Memory is what the process resides in, measured where the system tells it.

#![expect(clippy::print_stderr, reason = "what was measured beside the times")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use plan::arrival::{Ingredients, Opening, Planner, Prices, features::CalendarDay};
use std::hint::black_box;

const ENTITIES: u32 = 10_000;
const DAYS: i32 = 250;
const GROUPS: u32 = 40;

fn calendar(day: i32) -> CalendarDay {
    CalendarDay { weekday: (day % 7) as u8, of_month: 10, left_in_month: 10 }
}

/// Minutes after opening: by the group's habit, the day, and a little chance.
fn came(entity: u32, day: i32) -> f64 {
    let group = entity % GROUPS;
    let mixed = (u64::from(group) << 32 | day as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    600.0 + f64::from(group) * 10.0 + (mixed >> 40) as f64 % 90.0
}

fn opening(entity: u32, day: i32) -> Opening {
    let midnight = f64::from(day) * 1440.0;
    Opening {
        entity,
        period: day,
        day: calendar(day),
        opens_at: midnight,
        deadline: midnight + 2880.0,
        reference: midnight,
    }
}

fn planner() -> Planner {
    let prices = Prices { look: 1.0, delay_per_minute: 1.0 / 30.0 };
    Planner::new(prices, Ingredients::default())
}

fn remember(planner: &mut Planner, entity: u32, day: i32) {
    let opening = opening(entity, day);
    let by = opening.opens_at + came(entity, day);
    planner.remember(&opening, by - 30.0, Some(by));
}

/// A planner that knows all entities' last periods, without what a training adds.
fn remembering() -> Planner {
    let mut planner = planner();
    for day in DAYS - 60..DAYS {
        for entity in 0..ENTITIES {
            remember(&mut planner, entity, day);
        }
    }
    planner
}

fn with_a_day_open(planner: &mut Planner, day: i32) {
    for entity in 0..ENTITIES {
        planner.open(opening(entity, day));
    }
}

/// Resident bytes; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

fn replanned(criterion: &mut Criterion) {
    let before = resident_bytes();
    let mut planner = remembering();
    with_a_day_open(&mut planner, DAYS);
    if let (Some(before), Some(now)) = (before, resident_bytes()) {
        let each = now.saturating_sub(before) / ENTITIES as usize;
        eprintln!("{each} bytes an entity, its open cell included");
    }
    planner.train_on_memory(0.0);
    with_a_day_open(&mut planner, DAYS);
    let now = f64::from(DAYS) * 1440.0 + 650.0;
    let mut group = criterion.benchmark_group("arrival");
    group.sample_size(20);
    // One came: the day turns out early, and all 10,000 are asked again.
    planner.answered(DAYS, 0, now, true);
    group.bench_function("replan_10000", |bencher| {
        bencher.iter(|| {
            for entity in 1..ENTITIES {
                black_box(planner.next_look(DAYS, entity, now));
            }
        });
    });
    group.finish();
}

fn trained(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arrival");
    group.sample_size(10);
    group.bench_function("train_10000_entities_250_days", |bencher| {
        bencher.iter_batched(
            planner,
            |mut planner| {
                for day in 0..DAYS {
                    for entity in 0..ENTITIES {
                        remember(&mut planner, entity, day);
                    }
                }
                planner.train_on_memory(f64::from(DAYS) * 1440.0);
                planner
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    if let Some(now) = resident_bytes() {
        eprintln!("{} MB resident after training", now >> 20);
    }
}

criterion_group!(benches, replanned, trained);
criterion_main!(benches);
