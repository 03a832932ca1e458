//! The door to time, of this crate's own: it is to be usable without the rest of the workspace.

use std::{fmt::Debug, time::Duration};

/// What ids need of time. Handed in, so that tests can step it, stop it and turn it back.
pub trait Clock: Send + Sync + Debug {
    /// Nanoseconds that passed since some moment, time in which the machine slept included. Should
    /// never run backwards; if it does, no id is repeated (see [`crate::rule`]).
    fn elapsed_ns(&self) -> u64;

    /// Milliseconds since 1970-01-01T00:00:00Z. May be stepped in both directions.
    fn wall_ms(&self) -> i64;

    /// Names the time scale of [`Clock::elapsed_ns`]: the same text in each process that reads the
    /// same one, another one after the machine was started again.
    fn scale(&self) -> String;

    /// Lets so much time pass, or somewhat more.
    fn pause(&self, by: Duration);
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn elapsed_ns(&self) -> u64 {
        (**self).elapsed_ns()
    }

    fn wall_ms(&self) -> i64 {
        (**self).wall_ms()
    }

    fn scale(&self) -> String {
        (**self).scale()
    }

    fn pause(&self, by: Duration) {
        (**self).pause(by);
    }
}

/// The machine's own clocks: `CLOCK_BOOTTIME` and the time of day.
///
/// Only Linux counts the time of a suspended machine this way. Elsewhere a lease may seem to have
/// time left after a suspension; ids stay unique all the same, since each lies within a window of
/// time that was granted to one holder only.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn elapsed_ns(&self) -> u64 {
        boot_time_ns()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn wall_ms(&self) -> i64 {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::wrapping_neg)
            }
        }
    }

    fn scale(&self) -> String {
        // Without it (no Linux) each process has a scale of its own, so a lease of another process
        // is judged by the time of day alone.
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
            |_| format!("process {}", std::process::id()),
            |text| text.trim().to_owned(),
        )
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door; the callers are synchronous")]
    fn pause(&self, by: Duration) {
        std::thread::sleep(by);
    }
}

#[cfg(target_os = "linux")]
#[inline]
#[expect(unsafe_code, reason = "the standard library does not read this clock")]
fn boot_time_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the whole call, which keeps no pointer to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    debug_assert_eq!(result, 0, "Linux has had this clock since 2.6.39");
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn boot_time_ns() -> u64 {
    static STARTED: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    elapsed_ns: std::sync::atomic::AtomicU64,
    wall_offset_ms: std::sync::atomic::AtomicI64,
}

impl ManualClock {
    /// A clock whose time of day is `wall_ms` and that has run for an hour.
    pub fn at(wall_ms: i64) -> Self {
        let hour_ms = 3_600_000;
        Self {
            elapsed_ns: (hour_ms as u64 * 1_000_000).into(),
            wall_offset_ms: (wall_ms - hour_ms).into(),
        }
    }

    /// Lets time pass, by both clocks.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_ns.fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }

    /// Turns back what never should run backwards; the time of day goes back with it.
    pub fn turn_back(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_ns.fetch_sub(by, std::sync::atomic::Ordering::SeqCst);
    }

    /// Steps the time of day, as an operator or a time server would.
    pub fn step(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn wall_ms(&self) -> i64 {
        let offset = self.wall_offset_ms.load(std::sync::atomic::Ordering::SeqCst);
        offset + (self.elapsed_ns() / 1_000_000) as i64
    }

    fn scale(&self) -> String {
        "manual".to_owned()
    }

    fn pause(&self, by: Duration) {
        self.advance(by);
    }
}
