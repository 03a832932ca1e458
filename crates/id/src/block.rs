//! Kind `block`: small, dense numbers, taken from a counter in blocks (hi/lo).
//!
//! A block belongs to whoever took it, for good: nothing expires, so nothing can be given twice. What
//! a process did not use when it died is a gap, of one block as a rule. A generator that is closed
//! gives the rest back if nobody took a later block, which its fencing term shows.
//!
//! **How fast.** Each take is a durable commit, one after the other since all change one row, so
//! numbers a second are numbers in a take divided by the time of a commit: 10,000 in 3.5 ms are
//! less than 3 million a second, whether the next block is fetched ahead or not (Little's law). So a
//! process that uses blocks up almost as fast as they are committed takes several at once, up to
//! [`BURST`]. If it is killed then, the gap is what it would have used within a few commits.
//!
//! Source: Little, "A proof for the queuing formula L = λW", Operations Research 9 (1961), pp. 383-387.

use crate::{
    clock::{Clock, SystemClock},
    error::{IdError, StoreError},
    store::{BLOCK_MAX, Block, IdStore},
};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// A generator of ids of kind `block`. Shared by reference between threads.
#[derive(Debug)]
pub struct Blocks<C: Clock = SystemClock> {
    counter: String,
    size: u32,
    burst: u32,
    clock: C,
    /// The next number to give. Only grows; [`CLOSED`] at the end.
    next: AtomicI64,
    /// The end of the block. Stored after `next` when a block is new, so a reader that sees the new
    /// end with the old next finds its compare-and-swap fail.
    end: AtomicI64,
    keep: Mutex<Keep>,
}

#[derive(Debug)]
struct Keep {
    store: Box<dyn IdStore>,
    block: Option<Block>,
    /// How many times `size` was taken last.
    times: u32,
    /// When the store gave the last block, and how long it took.
    given_ns: u64,
    took_ns: u64,
}

/// How many blocks [`Blocks::new`] takes at once, at most.
pub const BURST: u32 = 8;

const CLOSED: i64 = i64::MAX;
/// A block that lasts for less than so many times what the store needs to give it is short.
const SHORT_TIMES: u64 = 8;

impl Blocks<SystemClock> {
    /// A generator that takes `size` numbers at a time, or up to [`BURST`] times as many while they are
    /// used up as fast as they come. Asks the store at the first id.
    pub fn new(store: impl IdStore + 'static, counter: &str, size: u32) -> Self {
        Self::with_burst(store, counter, size, BURST, SystemClock)
    }
}

impl<C: Clock> Blocks<C> {
    /// One that takes twice as many numbers as before, up to `burst` times `size`, while its blocks
    /// last for less than eight times what the store needs to give them; half as many when they last
    /// longer. So a gap may be of `burst` blocks, but only of a process that uses as many in a moment;
    /// with a `burst` of 1 it is never of more than one.
    pub fn with_burst(
        store: impl IdStore + 'static,
        counter: &str,
        size: u32,
        burst: u32,
        clock: C,
    ) -> Self {
        let keep = Mutex::new(Keep {
            store: Box::new(store),
            block: None,
            times: 1,
            given_ns: 0,
            took_ns: 0,
        });
        Self {
            counter: counter.to_owned(),
            size,
            burst: burst.max(1),
            clock,
            next: AtomicI64::new(0),
            end: AtomicI64::new(0),
            keep,
        }
    }

    /// One number.
    ///
    /// # Errors
    /// The block is used up and the store gives no other; the generator was closed.
    #[inline]
    pub fn next_id(&self) -> Result<i64, IdError> {
        loop {
            if let Some((first, _)) = self.try_take(1) {
                return Ok(first);
            }
            self.refill(1)?;
        }
    }

    /// `count` numbers, as ranges of first and count: one range if nobody took a block between.
    ///
    /// # Errors
    /// As [`Blocks::next_id`]; then what was taken for the first part is not used by anybody.
    pub fn ranges(&self, count: u32) -> Result<Vec<(i64, u32)>, IdError> {
        let mut ranges: Vec<(i64, u32)> = Vec::new();
        let mut missing = count;
        while missing > 0 {
            let Some((first, taken)) = self.try_take(missing) else {
                self.refill(missing)?;
                continue;
            };
            missing -= taken;
            match ranges.last_mut() {
                Some((start, length)) if *start + i64::from(*length) == first => *length += taken,
                _ => ranges.push((first, taken)),
            }
        }
        Ok(ranges)
    }

    /// Stops for good and gives back what is left of the block, if nobody took a later one.
    ///
    /// # Errors
    /// The store cannot be reached: the rest stays a gap.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut keep = self.keep();
        let next = self.next.swap(CLOSED, Ordering::AcqRel);
        let Some(block) = keep.block.take() else { return Ok(()) };
        if next < self.end.load(Ordering::Acquire) {
            keep.store.return_block(&self.counter, &block, next)?;
        }
        Ok(())
    }

    fn keep(&self) -> MutexGuard<'_, Keep> {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn try_take(&self, want: u32) -> Option<(i64, u32)> {
        let mut next = self.next.load(Ordering::Acquire);
        loop {
            let left = self.end.load(Ordering::Acquire).saturating_sub(next);
            if left <= 0 {
                return None;
            }
            let count = left.min(i64::from(want));
            match self.next.compare_exchange_weak(
                next,
                next + count,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some((next, count as u32)),
                Err(found) => next = found,
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn refill(&self, at_least: u32) -> Result<(), IdError> {
        let mut keep = self.keep();
        let next = self.next.load(Ordering::Acquire);
        if next == CLOSED {
            return Err(IdError::Closed);
        }
        // Another caller was faster.
        if next < self.end.load(Ordering::Acquire) {
            return Ok(());
        }
        let asked_ns = self.clock.elapsed_ns();
        let lasted_ns = asked_ns.saturating_sub(keep.given_ns);
        let short = keep.block.is_some() && lasted_ns < keep.took_ns.saturating_mul(SHORT_TIMES);
        keep.times = if short {
            keep.times.saturating_mul(2).min(self.burst)
        } else {
            keep.times.div_ceil(2)
        };
        let size = self.size.saturating_mul(keep.times).max(at_least).min(BLOCK_MAX.max(self.size));
        let block = keep.store.take_block(&self.counter, size)?;
        keep.given_ns = self.clock.elapsed_ns();
        keep.took_ns = keep.given_ns.saturating_sub(asked_ns);
        if block.first < next {
            return Err(IdError::Store(StoreError::Damaged {
                store: format!("counter `{}`", self.counter),
                found: format!("it went back from {next} to {}", block.first),
            }));
        }
        keep.block = Some(block);
        self.next.store(block.first, Ordering::Release);
        self.end.store(block.first + i64::from(block.count), Ordering::Release);
        Ok(())
    }
}

impl<C: Clock> Drop for Blocks<C> {
    fn drop(&mut self) {
        // Best effort: who wants to know calls `close`.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        lease::Grant,
        memory::MemoryStore,
        store::{Lease, Space},
    };
    use std::{sync::Arc, time::Duration};

    /// A store that needs some milliseconds for each block.
    #[derive(Debug)]
    struct Slow(MemoryStore<Arc<ManualClock>>, Arc<ManualClock>, u64);

    impl IdStore for Slow {
        fn claim(&mut self, space: &Space, h: &str, l: Duration) -> Result<Lease, StoreError> {
            self.0.claim(space, h, l)
        }

        fn renew(
            &mut self,
            space: &Space,
            node: u64,
            term: i64,
            length: Duration,
        ) -> Result<Option<Grant>, StoreError> {
            self.0.renew(space, node, term, length)
        }

        fn release(
            &mut self,
            space: &Space,
            node: u64,
            term: i64,
            used_until_ms: i64,
        ) -> Result<bool, StoreError> {
            self.0.release(space, node, term, used_until_ms)
        }

        fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
            self.1.advance(Duration::from_millis(self.2));
            self.0.take_block(counter, count)
        }

        fn return_block(&mut self, c: &str, block: &Block, from: i64) -> Result<bool, StoreError> {
            self.0.return_block(c, block, from)
        }
    }

    /// How many numbers were taken at each refill, if each block lasts so long.
    fn sizes(burst: u32, lasts_ms: &[u64]) -> Vec<i64> {
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let store = Slow(MemoryStore::new(Arc::clone(&clock)), Arc::clone(&clock), 1);
        let blocks = Blocks::with_burst(store, "c", 10, burst, Arc::clone(&clock));
        let mut sizes = Vec::new();
        for lasts in lasts_ms {
            let first = blocks.next_id().unwrap();
            let end = blocks.end.load(Ordering::Acquire);
            sizes.push(end - first);
            blocks.ranges((end - first - 1) as u32).unwrap();
            clock.advance(Duration::from_millis(*lasts));
        }
        sizes
    }

    #[test]
    fn short_blocks_grow_up_to_the_burst_and_shrink_again() {
        assert_eq!(sizes(4, &[0, 0, 0, 7, 8, 8, 8]), [10, 20, 40, 40, 40, 20, 10]);
        assert_eq!(sizes(1, &[0, 0, 0]), [10, 10, 10]);
    }
    /// Millions of numbers a second, by blocks of 10,000, from a store that needs 4 ms for each, if a
    /// number costs 11 ns.
    fn millions_a_second(burst: u32) -> f64 {
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let store = Slow(MemoryStore::new(Arc::clone(&clock)), Arc::clone(&clock), 4);
        let blocks = Blocks::with_burst(store, "c", 10_000, burst, Arc::clone(&clock));
        let began_ns = clock.elapsed_ns();
        for _ in 0..1_000 {
            blocks.ranges(10_000).unwrap();
            clock.advance(Duration::from_micros(110));
        }
        10_000.0 * 1_000.0 * 1_000.0 / (clock.elapsed_ns() - began_ns) as f64
    }

    #[test]
    fn a_slow_commit_does_not_limit_whoever_takes_blocks_of_ten_thousand() {
        assert!(millions_a_second(BURST) > 15.0, "{}", millions_a_second(BURST));
        assert!(millions_a_second(1) < 2.5, "{}", millions_a_second(1));
    }
}
