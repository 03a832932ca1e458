//! For work that can wait: whether the present hour lets so much less through than others that it had
//! better wait for them.
//!
//! The work is given days of its own, counted from when it was wished, and in each of them at least
//! one hour: it never starves. Where a day's hours are enough for it, it is done in the fastest that
//! are; where they are not, only the slowest are spared, which hold a fifth of the day together, so
//! that it ends at most a quarter later.

use crate::memory::{HOURS, HourOfWeek, Hourly};
use jiff::Timestamp;

/// An hour is known from so many requests on.
const REQUESTS_MIN: u32 = 100;
/// What other work leaves of an hour.
const LEFT: f64 = 0.5;
/// The part of a day that is not spared.
const KEPT: f64 = 0.8;
/// An hour is waited for if it lets so many times the present rate through.
const MARKEDLY: f64 = 1.5;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Work that can wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// How many requests it needs.
    pub requests: u64,
    /// When it was wished.
    pub since: Timestamp,
    /// The most requests per second that are allowed anyway.
    pub rate_max: Option<f64>,
}

/// It had better wait.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Wait {
    /// Until when; then it is decided anew.
    pub until: Timestamp,
    /// What the hours waited for let through, at least, as a multiple of the present rate.
    pub times: f64,
}

/// A part of an hour, and the rate that is expected in it; `None`: it is not known.
struct Part {
    from: i64,
    capacity: f64,
    rate: Option<f64>,
}

/// Whether work waits, and for what. `None`: it need not; so in an hour that is not known.
pub fn wait_for_hours(week: &[Hourly], backlog: &Backlog, now: Timestamp) -> Option<Wait> {
    let second = now.as_second();
    let since = backlog.since.as_second();
    let day = since + (second - since).div_euclid(DAY) * DAY;
    let left = parts(week, backlog, second, day + DAY);
    let present = left.first()?.rate?;
    let enough = backlog.requests as f64;
    let floor = if capacity(&left) >= enough {
        slowest_needed(left.iter(), enough)
    } else {
        let whole = parts(week, backlog, day, day + DAY);
        slowest_needed(whole.iter(), KEPT * capacity(&whole))
    };
    let is_fit = |rate: f64| rate * MARKEDLY > floor;
    if is_fit(present) {
        return None;
    }
    let until = left.iter().find(|part| part.rate.is_none_or(is_fit))?.from;
    Some(Wait { until: Timestamp::from_second(until).ok()?, times: floor / present })
}

/// The hours from one second until another; the first and last may be parts of one.
fn parts(week: &[Hourly], backlog: &Backlog, from: i64, until: i64) -> Vec<Part> {
    let mut parts = Vec::with_capacity(25);
    let mut at = from;
    while at < until {
        let next = (at - at.rem_euclid(HOUR) + HOUR).min(until);
        let hour = Timestamp::from_second(at).ok().map(HourOfWeek::of);
        let rate = hour.and_then(|hour| expected(week, hour));
        let rate = rate.map(|rate| backlog.rate_max.map_or(rate, |most| rate.min(most)));
        let capacity = rate.unwrap_or(0.0) * (next - at) as f64 * LEFT;
        parts.push(Part { from: at, capacity, rate });
        at = next;
    }
    parts
}

/// The rate that an hour let through; where it is not known itself, what the same hour of other days
/// did on the average.
fn expected(week: &[Hourly], hour: HourOfWeek) -> Option<f64> {
    let known = |number: usize| {
        let hour = week.get(number)?;
        let is_known = hour.requests >= REQUESTS_MIN && hour.limit > 0.0 && hour.limit.is_finite();
        is_known.then(|| f64::from(hour.limit))
    };
    let number = usize::from(hour.0);
    known(number).or_else(|| {
        let others: Vec<f64> = (number % 24..HOURS).step_by(24).filter_map(known).collect();
        (!others.is_empty()).then(|| others.iter().sum::<f64>() / others.len() as f64)
    })
}

fn capacity(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.capacity).sum()
}

/// Of the fastest parts that are enough together, the slowest one's rate.
fn slowest_needed<'a>(parts: impl Iterator<Item = &'a Part>, enough: f64) -> f64 {
    let mut known: Vec<(f64, f64)> =
        parts.filter_map(|part| Some((part.rate?, part.capacity))).collect();
    known.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut sum = 0.0;
    for (rate, capacity) in known {
        sum += capacity;
        if sum >= enough {
            return rate;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hour(limit: f32) -> Hourly {
        Hourly { limit, held: limit, requests: 1000, refused: 0 }
    }

    /// Ten a second from midnight to six, one a second else.
    fn nights() -> Vec<Hourly> {
        (0..HOURS).map(|number| hour(if number % 24 < 6 { 10.0 } else { 1.0 })).collect()
    }

    fn backlog(requests: u64) -> Backlog {
        Backlog { requests, since: at("2026-11-16T14:20:00Z"), rate_max: None }
    }

    #[test]
    fn little_work_waits_for_the_fast_hours_and_is_done_in_them() {
        let week = nights();
        let wait = wait_for_hours(&week, &backlog(50_000), at("2026-11-16T14:20:00Z"));
        assert_eq!(wait, Some(Wait { until: at("2026-11-17T00:00:00Z"), times: 10.0 }));
        assert_eq!(wait_for_hours(&week, &backlog(50_000), at("2026-11-17T00:00:00Z")), None);
        assert_eq!(wait_for_hours(&week, &backlog(1), at("2026-11-17T05:59:59Z")), None);
    }

    #[test]
    fn work_that_the_fast_hours_cannot_do_in_time_does_not_wait() {
        // The nights' half holds 108,000, the whole day's 140,400.
        let start = at("2026-11-16T14:20:00Z");
        assert_eq!(wait_for_hours(&nights(), &backlog(120_000), start), None);
        // The day of its own ends at 14:20: no night is left.
        let late = at("2026-11-17T10:00:00Z");
        assert_eq!(wait_for_hours(&nights(), &backlog(100), late), None);
    }

    #[test]
    fn of_much_work_only_a_fifth_of_a_day_is_spared() {
        // The day's eighteen slow hours hold 23 of 100: they are needed, though not at half the rate.
        assert_eq!(
            wait_for_hours(&nights(), &backlog(10_000_000), at("2026-11-16T14:20:00Z")),
            None
        );
        let slower: Vec<_> =
            (0..HOURS).map(|number| hour(if number % 24 < 6 { 10.0 } else { 0.5 })).collect();
        let wait = wait_for_hours(&slower, &backlog(10_000_000), at("2026-11-16T14:20:00Z"));
        assert_eq!(wait.map(|wait| wait.until), Some(at("2026-11-17T00:00:00Z")));
    }

    #[test]
    fn nothing_is_preferred_where_nothing_is_known_or_allowed_anyway() {
        let now = at("2026-11-16T14:20:00Z");
        assert_eq!(wait_for_hours(&[], &backlog(100), now), None);
        assert_eq!(wait_for_hours(&vec![Hourly::default(); HOURS], &backlog(100), now), None);
        let ceiling = Backlog { rate_max: Some(1.2), ..backlog(100) };
        assert_eq!(wait_for_hours(&nights(), &ceiling, now), None);
        // The present hour is not known; then the next one is not, and is worth a try.
        let unknown = |hours: std::ops::Range<usize>| {
            let known = |number: usize| !hours.contains(&(number % 24));
            let week = nights().into_iter().enumerate();
            let forget = |(number, hour)| if known(number) { hour } else { Hourly::default() };
            week.map(forget).collect::<Vec<_>>()
        };
        assert_eq!(wait_for_hours(&unknown(14..15), &backlog(100), now), None);
        let wait = wait_for_hours(&unknown(15..16), &backlog(100), now);
        assert_eq!(wait.map(|wait| wait.until), Some(at("2026-11-16T15:00:00Z")));
    }

    #[test]
    fn one_known_day_speaks_for_the_others() {
        let mut week = vec![Hourly::default(); HOURS];
        week[..24].copy_from_slice(&nights()[..24]);
        let thursday = at("2026-11-19T20:00:00Z");
        let wait = wait_for_hours(&week, &backlog(100), thursday);
        assert_eq!(wait.map(|wait| wait.until), Some(at("2026-11-20T00:00:00Z")));
        week[3 * 24 + 20] = hour(20.0);
        assert_eq!(wait_for_hours(&week, &backlog(100), thursday), None, "it is faster itself");
    }

    proptest! {
        #[test]
        fn in_each_day_of_its_own_work_has_an_hour(
            rates in prop::collection::vec((0.0_f32..100.0, 0_u32..300), HOURS),
            requests in 1_u64..100_000_000,
            since in 0_i64..2_000_000_000,
            days in 0_i64..20,
        ) {
            let week: Vec<_> = rates
                .iter()
                .map(|(limit, requests)| Hourly { requests: *requests, ..hour(*limit) })
                .collect();
            let since = Timestamp::from_second(since).unwrap();
            let backlog = Backlog { requests, since, rate_max: None };
            let day = since + SignedDuration::from_hours(24 * days);
            let mut now = day;
            let end = day + SignedDuration::from_hours(24);
            while let Some(wait) = wait_for_hours(&week, &backlog, now) {
                prop_assert!(wait.until > now && wait.until < end && wait.times >= MARKEDLY);
                now = wait.until;
            }
            prop_assert!(now < end);
        }
    }
}
