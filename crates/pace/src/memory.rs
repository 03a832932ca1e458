//! What a controller keeps between runs.

use crate::trace::Kind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Hours in a week.
pub const HOURS: usize = 168;

/// An hour of the week, in UTC: 0 is Monday from 00:00 to 01:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourOfWeek(pub u8);

impl HourOfWeek {
    /// The hour that holds an instant.
    pub fn of(at: Timestamp) -> Self {
        // The first of January 1970 was a Thursday.
        let hours = at.as_second().div_euclid(3600) + 3 * 24;
        Self(hours.rem_euclid(HOURS as i64) as u8)
    }
}

/// What an hour of the week was like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Hourly {
    /// The limit found in it, requests per second; 0 if none was met.
    pub limit: f32,
    /// The highest rate that was accepted for ten seconds, requests per second.
    pub held: f32,
    /// Requests that ended.
    pub requests: u32,
    /// Those that were refused.
    pub refused: u32,
}

/// The week, hour by hour.
pub type Profile = Vec<Hourly>;

/// What is remembered of a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What limited us last.
    pub kind: Kind,
    /// The limit, requests per second; `None`: none was met.
    pub limit: Option<f64>,
    /// It is more than a guess from few requests.
    #[serde(default = "yes")]
    pub sure: bool,
    /// Requests that could leave at once after a pause, beyond the rate.
    pub burst: f64,
    /// Requests under way that were taken.
    pub concurrency: Option<u32>,
    /// A quota that nobody stated: so many within such a time.
    pub window: Option<(f64, Duration)>,
    /// Latency without load.
    pub baseline: Option<Duration>,
    /// For how long one excess closes the server.
    pub penalty: Option<Duration>,
    /// It refuses without a word: by 503, or by closing the connection.
    #[serde(default)]
    pub silent: bool,
    /// For how long a refusal stopped everything.
    #[serde(default)]
    pub refusal_cost: Duration,
    /// The highest rate that was accepted without meeting a limit.
    pub held: f64,
    /// When this was learned.
    pub learned_at: Timestamp,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_begins_on_monday() {
        let hour = |text: &str| HourOfWeek::of(text.parse().unwrap()).0;
        assert_eq!(hour("2026-11-16T00:59:59Z"), 0);
        assert_eq!(hour("2026-11-15T23:00:00Z"), 167);
        assert_eq!(hour("1969-12-31T23:00:00Z"), 71);
        assert_eq!(hour("1970-01-01T00:00:00Z"), 72);
    }
}
