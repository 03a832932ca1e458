//! No server is asked faster than its source file says, over any window, nor by more requests at
//! once, nor while it has asked to be left alone.

use super::{Checked, broken};
use source::LimitSpec;
use std::time::Duration;

/// The longest that a server's `Retry-After` is obeyed for everything else.
const COOL_DOWN_MAX: Duration = Duration::from_hours(1);

/// See the module. One for each source.
///
/// Over any window of `w` seconds at most `burst + rate * w` requests may arrive: exactly when a
/// bucket of `burst` tokens that gains `rate` a second never runs dry.
#[derive(Debug)]
pub struct PaceBound {
    limit: LimitSpec,
    tokens: f64,
    filled_at: Duration,
    held_until: Duration,
}

impl PaceBound {
    /// The bound of a source.
    pub fn new(mut limit: LimitSpec) -> Self {
        if let Some(delay) = limit.crawl_delay {
            let rate = delay.as_secs_f64().recip();
            limit.rate_per_second = Some(limit.rate_per_second.map_or(rate, |it| it.min(rate)));
            limit.burst = 1;
        }
        let tokens = f64::from(limit.burst);
        Self { limit, tokens, filled_at: Duration::ZERO, held_until: Duration::ZERO }
    }

    /// A new engine begins. It cannot know what the one before had sent, so it has its burst anew.
    pub fn begin(&mut self) {
        self.tokens = f64::from(self.limit.burst);
        self.held_until = Duration::ZERO;
    }

    /// A request arrives at its server.
    ///
    /// # Errors
    /// Too early, or together with too many others.
    pub fn arrive(&mut self, now: Duration, under_way: u32) -> Checked {
        if under_way > self.limit.concurrency {
            return broken(
                "concurrency is kept",
                format!("{under_way} requests at once, {} are allowed", self.limit.concurrency),
            );
        }
        let Some(rate) = self.limit.rate_per_second else { return Ok(()) };
        let gained = now.saturating_sub(self.filled_at).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(f64::from(self.limit.burst));
        self.filled_at = now;
        // Timers are exact to a millisecond, floats nearly.
        if self.tokens < 1.0 - 1e-6 {
            return broken(
                "the rate is kept",
                format!(
                    "a request at {now:?} is one more than {rate} a second and a burst of {} allow",
                    self.limit.burst
                ),
            );
        }
        self.tokens = (self.tokens - 1.0).max(0.0);
        Ok(())
    }

    /// The client sends a request.
    ///
    /// # Errors
    /// The server has asked to be left alone, and the client has heard it.
    pub fn sent(&mut self, now: Duration) -> Checked {
        let early = self.held_until.saturating_sub(now);
        if early.is_zero() {
            return Ok(());
        }
        broken(
            "retry-after is kept",
            format!("a request {early:?} before the server wanted to be asked again"),
        )
    }

    /// The client has heard that it shall wait.
    pub fn refused(&mut self, now: Duration, retry_after: Duration) {
        self.held_until = self.held_until.max(now + retry_after.min(COOL_DOWN_MAX));
    }
}
