//! Kind `uuid`: UUIDs of version 7 (RFC 9562), for writers that can agree on nothing at all.
//!
//! Within a process they grow strictly: the 74 bits below the time are a counter that starts at
//! random in each millisecond and advances by random steps (section 6.2, method 2). A clock that
//! runs backwards is ignored until it has caught up: the last time stays and the counter goes on.
//! Between processes they are unique by chance alone: 74 random bits a millisecond.

use crate::clock::{Clock, SystemClock};
use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// Where random bits come from. Handed in, so that tests repeat.
pub trait Chance: Send + Debug {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// The system gives no random numbers.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ChanceError>;
}

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct ChanceError(getrandom::Error);

/// The system's random numbers, asked for in portions.
#[derive(Debug)]
pub struct SystemChance {
    portion: Box<[u8; PORTION_BYTES]>,
    used: usize,
}

const PORTION_BYTES: usize = 1024;

impl Default for SystemChance {
    fn default() -> Self {
        Self { portion: Box::new([0; PORTION_BYTES]), used: PORTION_BYTES }
    }
}

impl Chance for SystemChance {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ChanceError> {
        if bytes.len() > PORTION_BYTES {
            return getrandom::fill(bytes).map_err(ChanceError);
        }
        if self.used + bytes.len() > PORTION_BYTES {
            getrandom::fill(&mut *self.portion).map_err(ChanceError)?;
            self.used = 0;
        }
        bytes.copy_from_slice(&self.portion[self.used..self.used + bytes.len()]);
        self.used += bytes.len();
        Ok(())
    }
}

/// A generator of ids of kind `uuid`. Shared by reference between threads.
#[derive(Debug)]
pub struct Uuids<C: Clock = SystemClock, R: Chance = SystemChance> {
    clock: C,
    last: Mutex<Last<R>>,
}

#[derive(Debug)]
struct Last<R> {
    time_ms: u64,
    /// 74 bits.
    counter: u128,
    chance: R,
}

const COUNTER_MAX: u128 = (1 << 74) - 1;
/// UUIDs have 48 bits of time: until the year 10889.
const TIME_MAX_MS: u64 = (1 << 48) - 1;

impl Default for Uuids {
    fn default() -> Self {
        Self::new(SystemClock, SystemChance::default())
    }
}

impl<C: Clock, R: Chance> Uuids<C, R> {
    /// A generator by this clock and chance.
    pub fn new(clock: C, chance: R) -> Self {
        Self { clock, last: Mutex::new(Last { time_ms: 0, counter: 0, chance }) }
    }

    /// One UUID, greater than all that this generator gave before.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn next_id(&self) -> Result<Uuid, ChanceError> {
        let now_ms = u64::try_from(self.clock.wall_ms()).unwrap_or(0).min(TIME_MAX_MS);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = [0; 10];
        last.chance.fill(&mut random)?;
        let drawn = u128::from_be_bytes(widened(random));
        // A new millisecond starts in the lower half, so that there is room to count.
        let fresh = drawn & (COUNTER_MAX >> 1);
        if now_ms > last.time_ms {
            last.time_ms = now_ms;
            last.counter = fresh;
        } else {
            // 1 to 2^32.
            let step = (drawn & u128::from(u32::MAX)) + 1;
            last.counter += step;
            if last.counter > COUNTER_MAX {
                last.time_ms = (last.time_ms + 1).min(TIME_MAX_MS);
                last.counter = fresh;
            }
        }
        Ok(compose(last.time_ms, last.counter))
    }
}

fn widened(random: [u8; 10]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[6..].copy_from_slice(&random);
    wide
}

/// Time, version, 12 bits of the counter, variant, 62 bits of the counter.
fn compose(time_ms: u64, counter: u128) -> Uuid {
    let high = (counter >> 62) & 0xfff;
    let low = counter & ((1 << 62) - 1);
    Uuid::from_u128((u128::from(time_ms) << 80) | (7 << 76) | (high << 64) | (2 << 62) | low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::{sync::Arc, time::Duration};

    #[derive(Debug)]
    struct Always(u8);

    impl Chance for Always {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ChanceError> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn they_are_of_version_7_and_show_their_time() {
        let clock = ManualClock::at(1_767_225_600_123);
        let id = Uuids::new(clock, Always(0xff)).next_id().unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.to_string(), "019b76da-a87b-77ff-bfff-ffffffffffff");
    }

    #[test]
    fn they_grow_whatever_the_clock_and_chance_do() {
        for byte in [0, 0x55, 0xff] {
            let clock = Arc::new(ManualClock::at(1_767_225_600_000));
            let uuids = Uuids::new(Arc::clone(&clock), Always(byte));
            let mut last = Uuid::nil();
            for step in 0..2_000_i64 {
                let id = uuids.next_id().unwrap();
                assert!(id > last, "{id} after {last}");
                last = id;
                match step % 50 {
                    10 => clock.step(-3_600_000),
                    20 => clock.advance(Duration::from_millis(1)),
                    30 => clock.step(3_600_000),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_time_before_1970_is_no_panic() {
        let uuids = Uuids::new(ManualClock::at(-5), Always(1));
        assert!(uuids.next_id().unwrap() < uuids.next_id().unwrap());
    }
}
