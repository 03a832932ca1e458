//! What the hazard models are told of each span of a cell.

use super::{
    Distribution, Minutes,
    experts::{Estimates, MEMORIES},
    history::History,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// How many numbers describe a span.
pub const FEATURES: usize = MEMORIES + 9;

/// Their names, in order.
pub const NAMES: [&str; FEATURES] = [
    "log_odds",
    "short_memory",
    "short_memory_weekday",
    "middle_memory",
    "middle_memory_weekday",
    "long_memory",
    "long_memory_weekday",
    "position",
    "periods_seen",
    "weekend",
    "month_begins",
    "month_ends",
    "after_gap",
    "last_never_came",
    "constant",
];

/// Where a period's day stands in the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarDay {
    /// Monday 0 to Sunday 6.
    pub weekday: u8,
    /// From 1.
    pub of_month: u8,
    /// Days that follow in the month; 0 on its last.
    pub left_in_month: u8,
}

impl CalendarDay {
    /// Where a day stands.
    pub fn of(date: Date) -> Self {
        Self {
            weekday: date.weekday().to_monday_zero_offset().unsigned_abs(),
            of_month: date.day().unsigned_abs(),
            left_in_month: (date.days_in_month() - date.day()).unsigned_abs(),
        }
    }

    /// Whether it is one of a month's first three days.
    pub fn begins_month(&self) -> bool {
        self.of_month <= 3
    }

    /// Whether it is one of a month's last three days.
    pub fn ends_month(&self) -> bool {
        self.left_in_month <= 2
    }
}

/// One row a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(pub Vec<[f32; FEATURES]>);

impl Features {
    /// Describes each span of `base`, which is the experts' mixture.
    pub fn new(
        base: &Distribution,
        estimates: &Estimates,
        history: &History,
        day: CalendarDay,
        period: i32,
    ) -> Self {
        let base_odds = log_odds(base.masses());
        let memories: [Vec<f32>; MEMORIES] = std::array::from_fn(|memory| {
            estimates.memory(memory).map_or_else(
                || base_odds.clone(),
                |(masses, _)| log_odds(gather(masses, estimates.step, base.ends()).into_iter()),
            )
        });
        let span = base.ends().last().unwrap_or(1.0).max(1.0);
        let constant = constant(history, day, period);
        let rows = base
            .ends()
            .enumerate()
            .map(|(at, end)| {
                let mut row = [0.0; FEATURES];
                row[0] = base_odds[at];
                for (memory, odds) in memories.iter().enumerate() {
                    row[1 + memory] = (odds[at] - base_odds[at]).clamp(-3.0, 3.0);
                }
                row[1 + MEMORIES] = (end / span - 0.5) as f32;
                row[2 + MEMORIES..].copy_from_slice(&constant);
                row
            })
            .collect();
        Self(rows)
    }
}

/// What is the same for all spans of a cell.
fn constant(history: &History, day: CalendarDay, period: i32) -> [f32; 7] {
    let is = |condition: bool| f32::from(u8::from(condition));
    let mut latest = history.latest();
    let last = latest.next();
    let gap = last.map_or(0, |last| period - last.period);
    let usual_gap =
        last.zip(latest.next()).map_or(gap, |(last, before)| last.period - before.period);
    [
        ((1.0 + history.count() as f32).ln() / 4.0).min(2.0),
        is(day.weekday >= 5),
        is(day.begins_month()),
        is(day.ends_month()),
        is(gap > usual_gap + usual_gap / 2),
        is(last.is_some_and(|last| !last.came())),
        1.0,
    ]
}

/// Mass by equal steps to mass by span.
fn gather(masses: &[f64], step: Minutes, ends: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sums = Vec::new();
    let mut from = 0;
    for end in ends {
        let to = ((end / step).round() as usize).clamp(from, masses.len());
        sums.push(masses[from..to].iter().sum());
        from = to;
    }
    sums
}

/// The logarithm of the odds that it comes in a span if it has not come before.
fn log_odds(masses: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut alive: f64 = 1.0;
    masses
        .map(|mass| {
            let hazard = (mass / alive.max(1e-9)).clamp(1e-5, 0.999);
            alive -= mass;
            (hazard / (1.0 - hazard)).ln() as f32
        })
        .collect()
}
