//! Kind `block`: small, dense numbers, taken from a counter in blocks (hi/lo).
//!
//! A block belongs to whoever took it, for good: nothing expires, so nothing can be given twice. What
//! a process did not use when it died is a gap, of one block at most. A generator that is closed
//! gives the rest back if nobody took a later block, which its fencing term shows.

use crate::{
    error::{IdError, StoreError},
    store::{Block, IdStore},
};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// A generator of ids of kind `block`. Shared by reference between threads.
#[derive(Debug)]
pub struct Blocks {
    counter: String,
    size: u32,
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
}

const CLOSED: i64 = i64::MAX;

impl Blocks {
    /// A generator that takes `size` numbers at a time. Asks the store at the first id.
    pub fn new(store: impl IdStore + 'static, counter: &str, size: u32) -> Self {
        let keep = Mutex::new(Keep { store: Box::new(store), block: None });
        Self {
            counter: counter.to_owned(),
            size,
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
            self.refill(self.size)?;
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
                self.refill(self.size.max(missing))?;
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
    fn refill(&self, size: u32) -> Result<(), IdError> {
        let mut keep = self.keep();
        let next = self.next.load(Ordering::Acquire);
        if next == CLOSED {
            return Err(IdError::Closed);
        }
        // Another caller was faster.
        if next < self.end.load(Ordering::Acquire) {
            return Ok(());
        }
        let block = keep.store.take_block(&self.counter, size)?;
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

impl Drop for Blocks {
    fn drop(&mut self) {
        // Best effort: who wants to know calls `close`.
        let _ = self.close();
    }
}
