//! A declared rate and concurrency, and obedience to `Retry-After`.
//!
//! The rate is a token bucket (Turner, "New directions in communications", IEEE Communications
//! Magazine 24, 1986, pp. 8-15): over any window of `w` seconds at most `burst + rate * w` requests
//! leave. A cool-down holds the whole scope, not one request, and no burst follows it: tokens do
//! not gather while the scope is held.

use crate::{Answer, Meaning, Observation, Pace, Permit, Ticket};
use env::Moment;
use std::time::Duration;

/// The longest cool-down a server is granted; a longer `Retry-After` is asked again after this.
pub const COOL_DOWN_MAX: Duration = Duration::from_hours(1);

/// What a source file declares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedPaceSettings {
    /// Requests per second; `None`: as fast as the concurrency allows.
    pub rate_per_second: Option<f64>,
    /// Requests that may leave at once after a pause; at least 1.
    pub burst: u32,
    /// Requests in flight; at least 1.
    pub concurrency: u32,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FixedPace {
    settings: FixedPaceSettings,
    // Invariant: between 0 and `burst`.
    tokens: f64,
    filled_at: Duration,
    held_until: Duration,
    in_flight: u32,
}

impl FixedPace {
    /// A full bucket. Rates that are not above zero are taken as no rate.
    pub fn new(settings: FixedPaceSettings, now: Moment) -> Self {
        let settings = FixedPaceSettings {
            rate_per_second: settings
                .rate_per_second
                .filter(|rate| rate.is_finite() && *rate > 0.0),
            burst: settings.burst.max(1),
            concurrency: settings.concurrency.max(1),
        };
        Self {
            tokens: f64::from(settings.burst),
            settings,
            filled_at: now.monotonic,
            held_until: Duration::ZERO,
            in_flight: 0,
        }
    }

    /// Takes changed settings; what is in flight and a cool-down stay.
    pub fn set(&mut self, settings: FixedPaceSettings, now: Moment) {
        let replaced = Self::new(settings, now);
        self.tokens = self.tokens.min(replaced.tokens);
        self.settings = replaced.settings;
    }

    /// Until when the server's own word holds the scope, on the monotonic clock.
    pub fn held_until(&self) -> Option<Duration> {
        (self.held_until > Duration::ZERO).then_some(self.held_until)
    }

    fn fill(&mut self, now: Duration) {
        let from = self.filled_at.max(self.held_until.min(now));
        if let Some(rate) = self.settings.rate_per_second {
            let gained = now.saturating_sub(from).as_secs_f64() * rate;
            self.tokens = (self.tokens + gained).min(f64::from(self.settings.burst));
        }
        self.filled_at = self.filled_at.max(now);
    }
}

impl Pace for FixedPace {
    fn permit(&mut self, now: Moment) -> Permit {
        let now = now.monotonic;
        if self.in_flight >= self.settings.concurrency {
            return Permit::WhenFreed;
        }
        self.fill(now);
        if now < self.held_until {
            return Permit::At(self.held_until);
        }
        match self.settings.rate_per_second {
            Some(rate) if self.tokens < 1.0 => {
                let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / rate)
                    .unwrap_or(COOL_DOWN_MAX);
                // One nanosecond more, so that rounding never wakes a sleeper just too early.
                Permit::At(now + wait + Duration::from_nanos(1))
            }
            _ => Permit::Now,
        }
    }

    fn sent(&mut self, now: Moment) -> Ticket {
        self.fill(now.monotonic);
        if self.settings.rate_per_second.is_some() {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        self.in_flight += 1;
        Ticket { sent_at: now, in_flight: self.in_flight, epoch: 0 }
    }

    fn observe(&mut self, observation: &Observation, now: Moment) -> Meaning {
        self.forget(observation.ticket);
        if observation.answer == Answer::Accepted {
            return Meaning::Taken;
        }
        if let Some(wait) = observation.advice.retry_after {
            self.fill(now.monotonic);
            let until = now.monotonic + wait.min(COOL_DOWN_MAX);
            if until > self.held_until {
                self.held_until = until;
                self.tokens = self.tokens.min(1.0);
            }
        }
        if observation.answer == Answer::Refused { Meaning::Refused } else { Meaning::Noise }
    }

    fn forget(&mut self, _ticket: Ticket) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Advice;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn at(millis: u64) -> Moment {
        Moment { monotonic: Duration::from_millis(millis), wall: Timestamp::UNIX_EPOCH }
    }

    fn pace(rate: f64, burst: u32, concurrency: u32) -> FixedPace {
        FixedPace::new(FixedPaceSettings { rate_per_second: Some(rate), burst, concurrency }, at(0))
    }

    fn ended(sent: u64, answer: Answer, retry_after: Option<Duration>) -> Observation {
        let ticket = Ticket { sent_at: at(sent), in_flight: 1, epoch: 0 };
        let advice = Advice { retry_after, ..Advice::default() };
        Observation { ticket, answer, latency: None, advice }
    }

    #[test]
    fn a_burst_is_granted_once_and_then_the_rate() {
        let mut pace = pace(10.0, 3, 100);
        let mut left = Vec::new();
        for millis in 0..1000 {
            while pace.permit(at(millis)) == Permit::Now {
                pace.sent(at(millis));
                left.push(millis);
            }
        }
        assert_eq!(left.len(), 12, "{left:?}");
        assert_eq!(left[..3], [0, 0, 0]);
    }

    #[test]
    fn concurrency_holds_until_one_has_ended() {
        let mut pace = FixedPace::new(
            FixedPaceSettings { rate_per_second: None, burst: 1, concurrency: 2 },
            at(0),
        );
        pace.sent(at(0));
        pace.sent(at(0));
        assert_eq!(pace.permit(at(1)), Permit::WhenFreed);
        pace.observe(&ended(0, Answer::Accepted, None), at(2));
        assert_eq!(pace.permit(at(2)), Permit::Now);
    }

    #[test]
    fn a_cool_down_holds_the_scope_and_lets_no_burst_follow() {
        let mut pace = pace(10.0, 5, 100);
        pace.sent(at(0));
        pace.observe(&ended(0, Answer::Refused, Some(Duration::from_secs(2))), at(10));
        assert_eq!(pace.permit(at(1000)), Permit::At(Duration::from_millis(2010)));
        let mut left = 0;
        while pace.permit(at(2010)) == Permit::Now {
            pace.sent(at(2010));
            left += 1;
        }
        assert_eq!(left, 1);
    }

    #[test]
    fn retry_after_on_a_served_answer_is_ignored_and_an_absurd_one_bounded() {
        let mut pace = pace(1000.0, 5, 100);
        pace.sent(at(0));
        pace.observe(&ended(0, Answer::Accepted, Some(Duration::from_secs(9))), at(1));
        assert_eq!(pace.permit(at(2)), Permit::Now);
        pace.sent(at(2));
        pace.observe(&ended(2, Answer::Refused, Some(Duration::MAX)), at(3));
        assert_eq!(pace.held_until(), Some(Duration::from_millis(3) + COOL_DOWN_MAX));
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_burst_plus_rate(
            rate in 0.5_f64..500.0,
            burst in 1_u32..20,
            steps in proptest::collection::vec(0_u64..400, 1..300),
        ) {
            let mut pace = pace(rate, burst, u32::MAX);
            let mut left: Vec<u64> = Vec::new();
            let mut now = 0;
            for step in steps {
                now += step;
                while pace.permit(at(now)) == Permit::Now {
                    pace.sent(at(now));
                    left.push(now);
                }
            }
            for (first, start) in left.iter().enumerate() {
                for (last, end) in left.iter().enumerate().skip(first) {
                    let allowed = f64::from(burst) + rate * (end - start) as f64 / 1000.0;
                    prop_assert!((last - first + 1) as f64 <= allowed + 1e-6);
                }
            }
        }
    }
}
