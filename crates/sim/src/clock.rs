//! The clock of one life of an engine, and the true time of the world around it.
//!
//! An engine that is started again has a monotonic clock that begins anew, and a wall clock that
//! may have been stepped. The world's time knows neither: it is the scenario's start and all that
//! has elapsed since, over all lives.

use env::{Clock, Idle, Moment, VirtualClock};
use jiff::{SignedDuration, Timestamp};
use std::{future::Future, pin::Pin, time::Duration};
use tokio::time::Instant;

/// See the module. Belongs to the runtime that it was made in.
#[derive(Debug)]
pub struct LifeClock {
    engine: VirtualClock,
    started: Instant,
    start: Timestamp,
    before: Duration,
}

impl LifeClock {
    /// A clock that shows `wall` to its engine, made `before` after the scenario's `start`.
    pub fn new(start: Timestamp, before: Duration, wall: Timestamp) -> Self {
        Self { engine: VirtualClock::new(wall), started: Instant::now(), start, before }
    }

    /// What has elapsed since the scenario's start.
    pub fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// The true time.
    pub fn true_now(&self) -> Timestamp {
        later(self.start, self.elapsed())
    }

    /// Steps the engine's time of day.
    pub fn step(&self, by: SignedDuration) {
        self.engine.step(by);
    }

    /// The instant of this runtime at which so much has elapsed since the scenario's start.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.started + elapsed.saturating_sub(self.before)
    }
}

impl Clock for LifeClock {
    fn now(&self) -> Moment {
        self.engine.now()
    }

    /// Always really sleeps: the runtime itself jumps over the time in which nothing happens, and
    /// stops where the world or a person has something to do.
    fn sleep_until(
        &self,
        monotonic: Duration,
        _idle: Idle,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.engine.sleep_until(monotonic, Idle::No)
    }
}

/// Adds, stopping at the end of time.
pub(crate) fn later(instant: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| instant.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}
