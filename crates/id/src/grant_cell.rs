//! The lease as the fast path sees it: read by many without a lock, replaced as a whole by one.
//!
//! A sequence lock over atomics, so that a reader never sees a node of one lease and a window of
//! another. Source: Boehm, "Can seqlocks get along with programming language memory models?",
//! MSPC 2012.

use crate::rule::Window;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// What the fast path knows of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    /// The node.
    pub(crate) node: u64,
    /// What may be used: the granted window less the margin.
    pub(crate) window: Window,
    /// From this time on, since the epoch, the lease is to be renewed.
    pub(crate) renew_at_ms: u64,
    /// To be added to the elapsed time to have the store's time since the epoch.
    pub(crate) offset_ns: u64,
}

impl Held {
    /// The store's time, in milliseconds since the epoch, as far as the holder can tell.
    #[inline]
    pub(crate) fn time_ms(&self, elapsed_ns: u64) -> u64 {
        // Both wrap: the offset of an epoch before the clock's zero is "negative".
        let time_ns = elapsed_ns.wrapping_add(self.offset_ns);
        // A clock that was turned back to before the epoch shows time 0, not the end of time.
        if time_ns > BEFORE_THE_EPOCH_NS { 0 } else { time_ns / 1_000_000 }
    }
}

/// 570 years: more than any layout's time, so a larger difference is a negative one.
const BEFORE_THE_EPOCH_NS: u64 = u64::MAX - (1 << 58);

/// One writer at a time, any number of readers.
#[derive(Debug)]
pub(crate) struct GrantCell {
    version: AtomicU64,
    node: AtomicU64,
    from_ms: AtomicU64,
    until_ms: AtomicU64,
    renew_at_ms: AtomicU64,
    offset_ns: AtomicU64,
}

impl GrantCell {
    pub(crate) fn new(held: Held) -> Self {
        Self {
            version: AtomicU64::new(0),
            node: AtomicU64::new(held.node),
            from_ms: AtomicU64::new(held.window.from_ms),
            until_ms: AtomicU64::new(held.window.until_ms),
            renew_at_ms: AtomicU64::new(held.renew_at_ms),
            offset_ns: AtomicU64::new(held.offset_ns),
        }
    }

    #[inline]
    pub(crate) fn read(&self) -> Held {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let held = Held {
                node: self.node.load(Ordering::Relaxed),
                window: Window {
                    from_ms: self.from_ms.load(Ordering::Relaxed),
                    until_ms: self.until_ms.load(Ordering::Relaxed),
                },
                renew_at_ms: self.renew_at_ms.load(Ordering::Relaxed),
                offset_ns: self.offset_ns.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return held;
            }
            // The writer stores five numbers; it may have been put to sleep between two of them.
            std::thread::yield_now();
        }
    }

    /// The caller holds the lock that makes it the only writer.
    pub(crate) fn replace(&self, held: Held) {
        let before = self.version.load(Ordering::Relaxed);
        self.version.store(before + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.node.store(held.node, Ordering::Relaxed);
        self.from_ms.store(held.window.from_ms, Ordering::Relaxed);
        self.until_ms.store(held.window.until_ms, Ordering::Relaxed);
        self.renew_at_ms.store(held.renew_at_ms, Ordering::Relaxed);
        self.offset_ns.store(held.offset_ns, Ordering::Relaxed);
        self.version.store(before + 2, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(number: u64) -> Held {
        Held {
            node: number,
            window: Window { from_ms: number, until_ms: number },
            renew_at_ms: number,
            offset_ns: number,
        }
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let cell = GrantCell::new(held(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut greatest = 0;
                    while greatest < 100_000 {
                        let seen = cell.read();
                        assert_eq!(seen, held(seen.node));
                        assert!(seen.node >= greatest);
                        greatest = seen.node;
                    }
                });
            }
            for number in 1..=100_000 {
                cell.replace(held(number));
            }
        });
    }

    #[test]
    fn time_before_the_epoch_is_zero() {
        let at = Held { offset_ns: 5_000_000_u64.wrapping_neg(), ..held(0) };
        assert_eq!(at.time_ms(4_000_000), 0);
        assert_eq!(at.time_ms(7_000_000), 2);
    }
}
