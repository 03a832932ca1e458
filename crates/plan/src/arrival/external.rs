//! A model from elsewhere, such as one trained in Python on the table `ledger/arrivals`.
//!
//! It is told, for each span of a cell, what can be computed from that table, and says the rate at
//! which data comes there, per hour: so it need not know how wide the spans are.

use super::{Distribution, features::CalendarDay, history::History};
use std::fmt::Debug;

/// How many numbers describe a span.
pub const INPUTS: usize = 10;

/// Their names, in order.
pub const NAMES: [&str; INPUTS] = [
    "hours_after_opening",
    "last_hours",
    "mean_hours",
    "spread_hours",
    "never_share",
    "periods_seen",
    "weekday",
    "weekend",
    "month_begins",
    "month_ends",
];

/// So many latest periods make up the means.
pub const PERIODS: usize = 10;

/// Gives rates.
pub trait External: Debug + Send + Sync {
    /// By row: how often data comes per hour if it has not come before, 0 or more.
    fn rates(&self, rows: &[[f32; INPUTS]]) -> Result<Vec<f64>, String>;
}

/// The hazards of a distribution's spans by an external model; what it says must make sense.
pub(crate) fn hazards(
    model: &dyn External,
    base: &Distribution,
    history: &History,
    day: CalendarDay,
) -> Result<Vec<f64>, String> {
    let rows = rows(base, history, day);
    let rates = model.rates(&rows)?;
    if rates.len() != rows.len() {
        return Err(format!("{} rates for {} spans", rates.len(), rows.len()));
    }
    if let Some(rate) = rates.iter().find(|rate| !(rate.is_finite() && **rate >= 0.0)) {
        return Err(format!("a rate of {rate}: it must be a number from 0"));
    }
    let mut begin = 0.0;
    Ok(base
        .ends()
        .zip(rates)
        .map(|(end, rate)| {
            let hours = (end - begin) / 60.0;
            begin = end;
            (1.0 - (-rate * hours).exp()).clamp(1e-9, 1.0 - 1e-6)
        })
        .collect())
}

/// What is known of each span: times are hours after opening, of intervals their middle.
fn rows(base: &Distribution, history: &History, day: CalendarDay) -> Vec<[f32; INPUTS]> {
    let latest: Vec<_> = history.latest().take(PERIODS).collect();
    let hours: Vec<f32> = latest
        .iter()
        .filter(|seen| seen.came())
        .map(|seen| f32::midpoint(seen.after, seen.by) / 60.0)
        .collect();
    let count = hours.len().max(1) as f32;
    let mean = hours.iter().sum::<f32>() / count;
    let spread =
        (hours.iter().map(|hours| (hours - mean) * (hours - mean)).sum::<f32>() / count).sqrt();
    let never = latest.iter().filter(|seen| !seen.came()).count() as f32;
    let is = |condition: bool| f32::from(u8::from(condition));
    let mut begin = 0.0;
    base.ends()
        .map(|end| {
            let middle = f64::midpoint(begin, end);
            begin = end;
            [
                (middle / 60.0) as f32,
                hours.first().copied().unwrap_or(-1.0),
                if hours.is_empty() { -1.0 } else { mean },
                spread,
                never / latest.len().max(1) as f32,
                latest.len() as f32,
                f32::from(day.weekday),
                is(day.weekday >= 5),
                is(day.begins_month()),
                is(day.ends_month()),
            ]
        })
        .collect()
}
