//! Wall time and the passing of time, by one door.
//!
//! Time-outs do not pass through here: they are `tokio::time` and stay real. What passes through
//! here is the time by which the engine plans: when a cell is due, when a scope may be asked again.

use jiff::{SignedDuration, Timestamp};
use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// One instant, by both clocks. Windows and waits need `monotonic`, calendars and headers `wall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the clock was made; never runs backwards.
    pub monotonic: Duration,
    /// The time of day; may be stepped in both directions.
    pub wall: Timestamp,
}

/// Whether a sleeper has anything under way that real time is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing is in flight: a virtual clock may jump.
    Yes,
    /// Requests or writes are under way: time has to pass.
    No,
}

/// The door to time.
pub trait Clock: Send + Sync + Debug {
    /// The present moment.
    fn now(&self) -> Moment;

    /// The present time of day alone.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }

    /// Returns once `monotonic` has been reached.
    fn sleep_until(
        &self,
        monotonic: Duration,
        idle: Idle,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own clock, started at another time of day if asked to.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    offset: SignedDuration,
}

impl SystemClock {
    /// A clock that shows `start_at` now and runs on from there; the machine's time if `None`.
    pub fn starting_at(start_at: Option<Timestamp>) -> Self {
        let offset =
            start_at.map_or(SignedDuration::ZERO, |start| start.duration_since(machine_time()));
        Self { started: Instant::now(), offset }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn machine_time() -> Timestamp {
    Timestamp::now()
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { monotonic: self.started.elapsed(), wall: self.wall() }
    }

    fn wall(&self) -> Timestamp {
        let machine = machine_time();
        if self.offset.is_zero() {
            return machine;
        }
        machine.checked_add(self.offset).unwrap_or(machine)
    }

    fn sleep_until(
        &self,
        monotonic: Duration,
        _idle: Idle,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep_until(self.started + monotonic))
    }
}

/// A clock that runs with `tokio::time` and, while its sleeper is idle, jumps.
///
/// Under a paused runtime (the simulator) the runtime itself jumps; with a real one (the
/// demonstration) this clock skips what an idle sleeper would have slept.
#[derive(Debug)]
pub struct VirtualClock {
    origin: Timestamp,
    started: Instant,
    skipped_nanos: AtomicU64,
    stepped_micros: AtomicI64,
}

impl VirtualClock {
    /// A clock that shows `origin` now.
    pub fn new(origin: Timestamp) -> Self {
        Self {
            origin,
            started: Instant::now(),
            skipped_nanos: AtomicU64::new(0),
            stepped_micros: AtomicI64::new(0),
        }
    }

    /// Steps the time of day, as an operator or a time server would; monotonic time goes on.
    pub fn step(&self, by: SignedDuration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(0);
        self.stepped_micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        let skipped = Duration::from_nanos(self.skipped_nanos.load(Ordering::SeqCst));
        let monotonic = self.started.elapsed() + skipped;
        let stepped = SignedDuration::from_micros(self.stepped_micros.load(Ordering::SeqCst));
        let wall = SignedDuration::try_from(monotonic)
            .ok()
            .and_then(|elapsed| self.origin.checked_add(elapsed.saturating_add(stepped)).ok())
            .unwrap_or(Timestamp::MAX);
        Moment { monotonic, wall }
    }

    fn sleep_until(
        &self,
        monotonic: Duration,
        idle: Idle,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let left = monotonic.saturating_sub(self.now().monotonic);
            match idle {
                Idle::Yes => {
                    let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
                    self.skipped_nanos.fetch_add(nanos, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                Idle::No => tokio::time::sleep(left).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_sleeper_jumps_and_a_busy_one_waits() {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let before = Instant::now();
        clock.sleep_until(Duration::from_hours(1), Idle::Yes).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(clock.now().wall.as_second(), 3600);
        clock.sleep_until(Duration::from_secs(3610), Idle::No).await;
        assert_eq!(before.elapsed().as_secs(), 10);
        assert_eq!(clock.now().wall.as_second(), 3610);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_moves_the_time_of_day_only() {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        clock.step(SignedDuration::from_hours(-1));
        assert_eq!(
            clock.now(),
            Moment { monotonic: Duration::ZERO, wall: Timestamp::from_second(-3600).unwrap() }
        );
    }

    #[test]
    fn a_system_clock_starts_where_it_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let start: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
            let clock = SystemClock::starting_at(Some(start));
            assert!(clock.now().wall.duration_since(start).as_secs() < 60);
        });
    }
}
