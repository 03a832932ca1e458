//! Kind `int`: positive, time-ordered 64-bit ids, for any number of processes, without a round trip
//! an id.
//!
//! No thread runs behind this: the caller that finds a third of the lease gone renews it, while the
//! others go on with what is left. A generator that is not asked for ids lets its lease lapse, and
//! renews it, or claims another node, when it is asked again.

use crate::{
    clock::{Clock, SystemClock},
    error::{IdError, StoreError},
    grant_cell::{GrantCell, Held},
    layout::Layout,
    lease::Grant,
    rule::{self, CLOSED, Take, Window},
    store::{IdStore, Lease, Space},
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How a generator works. The defaults suit a database on the same network.
#[derive(Debug, Clone)]
pub struct FlakeSettings {
    /// Writers that must not collide share it.
    pub space: Space,
    /// Who holds the lease, for people who look into the table. At most 100 bytes.
    pub holder: String,
    /// The lease's length: 100 ms to 24 h. A node of a process that died is free after it.
    pub lease: Duration,
    /// How long before the lease's end the holder stops, by its own clock. Covers that two clocks
    /// do not run at the same rate. Less than half of `lease`.
    pub margin: Duration,
    /// How long one call waits for a clock that is behind, or for a lease, in all.
    pub wait_max: Duration,
}

impl Default for FlakeSettings {
    /// The space `ids` with the default layout; leases of 30 s, 3 s of which are margin; waits of 1 s.
    fn default() -> Self {
        Self {
            space: Space { name: "ids".to_owned(), layout: Layout::default() },
            holder: String::new(),
            lease: Duration::from_secs(30),
            margin: Duration::from_secs(3),
            wait_max: Duration::from_secs(1),
        }
    }
}

/// What became of the leases of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseCounts {
    /// Nodes claimed.
    pub claimed: u64,
    /// Renewals.
    pub renewed: u64,
    /// Leases that another holder had when they were to be renewed.
    pub lost: u64,
    /// Calls of the store that failed.
    pub failed: u64,
}

/// A generator of ids of kind `int`. Shared by reference between threads.
///
/// A process that forks after it made one must not use it in the child: make another one there.
#[derive(Debug)]
pub struct Flake<C: Clock = SystemClock> {
    layout: Layout,
    clock: C,
    settings: FlakeSettings,
    /// The last pair of time and sequence given out, over all leases; only grows.
    last: AtomicU64,
    /// When a caller last woke up that had waited for the next millisecond.
    catch_up_to_ms: AtomicU64,
    held: GrantCell,
    keep: Mutex<Keep>,
}

#[derive(Debug)]
struct Keep {
    store: Box<dyn IdStore>,
    lease: Lease,
    /// After a failure the store is not asked before this moment of elapsed time.
    ask_again_ns: u64,
    counts: LeaseCounts,
}

/// The store's share of a lease's length for which it is left alone after a failure.
const ASK_AGAIN_PART: u32 = 20;

impl Flake<SystemClock> {
    /// Claims a node and begins.
    ///
    /// # Errors
    /// The settings contradict each other, or there is no lease to be had.
    pub fn open(store: impl IdStore + 'static, settings: FlakeSettings) -> Result<Self, IdError> {
        Self::open_with_clock(store, settings, SystemClock)
    }
}

impl<C: Clock> Flake<C> {
    /// The same by a clock that is handed in.
    ///
    /// # Errors
    /// As [`Flake::open`].
    pub fn open_with_clock(
        store: impl IdStore + 'static,
        settings: FlakeSettings,
        clock: C,
    ) -> Result<Self, IdError> {
        if settings.margin >= settings.lease / 2 {
            let FlakeSettings { margin, lease, .. } = settings;
            let reason =
                format!("a margin of {margin:?} is not less than half of a lease of {lease:?}");
            return Err(IdError::Settings { reason });
        }
        let layout = settings.space.layout;
        let mut store: Box<dyn IdStore> = Box::new(store);
        let asked_ns = clock.elapsed_ns();
        let lease = store.claim(&settings.space, &settings.holder, settings.lease)?;
        let held = held(&layout, &settings, &lease, lease.grant.now_ms, asked_ns)?;
        let counts = LeaseCounts { claimed: 1, ..LeaseCounts::default() };
        let keep = Mutex::new(Keep { store, lease, ask_again_ns: 0, counts });
        Ok(Self {
            layout,
            clock,
            settings,
            last: AtomicU64::new(0),
            catch_up_to_ms: AtomicU64::new(0),
            held: GrantCell::new(held),
            keep,
        })
    }

    /// One id.
    ///
    /// Blocks for less than a millisecond when one is used up, for a round trip or two when the
    /// lease is to be renewed, and for `wait_max` at most when there is trouble.
    ///
    /// # Errors
    /// [`IdError`]: the lease is over and cannot be renewed, the clock is behind, the layout's time
    /// is over, or the generator was closed. Ids given before stay valid.
    #[inline]
    pub fn next_id(&self) -> Result<i64, IdError> {
        let held = self.held.read();
        let now_ms = held.time_ms(self.clock.elapsed_ns());
        if now_ms < held.renew_at_ms
            && let Some((first, _)) = self.try_take(&held, now_ms, 1)
        {
            return Ok(self.compose(&held, first));
        }
        self.slow(1).map(|(held, first, _)| self.compose(&held, first))
    }

    /// Fills `ids`, in order. Faster for each than one by one.
    ///
    /// # Errors
    /// As [`Flake::next_id`]; then what was taken for the first part is not used by anybody.
    pub fn fill(&self, ids: &mut [i64]) -> Result<(), IdError> {
        let mut done = 0;
        while done < ids.len() {
            let want = u32::try_from(ids.len() - done).unwrap_or(u32::MAX);
            let held = self.held.read();
            let now_ms = held.time_ms(self.clock.elapsed_ns());
            let fast =
                if now_ms < held.renew_at_ms { self.try_take(&held, now_ms, want) } else { None };
            let (held, first, count) = match fast {
                Some((first, count)) => (held, first, count),
                None => self.slow(want)?,
            };
            let id = self.compose(&held, first);
            let free = ids[done..].iter_mut().take(count as usize);
            for (place, number) in free.zip(id..) {
                *place = number;
            }
            done += count as usize;
        }
        Ok(())
    }

    /// Stops for good and gives the node back, so that it is free at once.
    ///
    /// # Errors
    /// The store cannot be reached: the node is free when the lease is over.
    pub fn close(&self) -> Result<(), StoreError> {
        let last = self.last.swap(CLOSED, Ordering::AcqRel);
        if last == CLOSED {
            return Ok(());
        }
        let mut keep = self.keep();
        let Lease { node, grant } = keep.lease;
        let used_until_ms = used_until_ms(&self.layout, last, &grant);
        keep.store.release(&self.settings.space, node, grant.term, used_until_ms)?;
        Ok(())
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The node that is held, and the fencing term it is held under.
    pub fn lease(&self) -> Lease {
        self.keep().lease
    }

    /// What became of its leases so far.
    pub fn counts(&self) -> LeaseCounts {
        self.keep().counts
    }

    fn keep(&self) -> MutexGuard<'_, Keep> {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn compose(&self, held: &Held, packed: u64) -> i64 {
        let (time_ms, sequence) = rule::unpack(&self.layout, packed);
        self.layout.compose(time_ms, held.node, sequence)
    }

    /// Takes ids if there are any just now. Free of locks: somebody always gets on.
    #[inline]
    fn try_take(&self, held: &Held, now_ms: u64, want: u32) -> Option<(u64, u32)> {
        let to_ms = self.catch_up_to_ms.load(Ordering::Relaxed);
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let Take::Ids { first, count } =
                rule::take(&self.layout, held.window, last, to_ms, now_ms, want)
            else {
                return None;
            };
            let next = rule::last_of(first, count);
            match self.last.compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((first, count)),
                Err(found) => last = found,
            }
        }
    }

    /// Takes ids when there are none at once: renews, waits, or says why not.
    #[cold]
    #[inline(never)]
    fn slow(&self, want: u32) -> Result<(Held, u64, u32), IdError> {
        let wait_max_ms = u64::try_from(self.settings.wait_max.as_millis()).unwrap_or(u64::MAX);
        let mut waited = Duration::ZERO;
        loop {
            let mut held = self.held.read();
            let mut elapsed_ns = self.clock.elapsed_ns();
            let mut now_ms = held.time_ms(elapsed_ns);
            if now_ms >= held.renew_at_ms && now_ms < held.window.until_ms {
                self.renew_early(elapsed_ns);
                // The store may have been silent for longer than the lease had left.
                held = self.held.read();
                elapsed_ns = self.clock.elapsed_ns();
                now_ms = held.time_ms(elapsed_ns);
            }
            if let Some((first, count)) = self.try_take(&held, now_ms, want) {
                return Ok((held, first, count));
            }
            let last = self.last.load(Ordering::Acquire);
            let behind_ms = match rule::take(&self.layout, held.window, last, 0, now_ms, want) {
                Take::Ids { .. } => continue,
                Take::Closed => return Err(IdError::Closed),
                Take::Full => {
                    return Err(IdError::LayoutOver { ends_at_ms: self.layout.ends_at_ms() });
                }
                Take::Over => {
                    self.renew_now(&held)?;
                    continue;
                }
                Take::Wait { until_ms } => until_ms - now_ms,
            };
            let waited_ms = waited.as_millis() as u64;
            if behind_ms.saturating_add(waited_ms) > wait_max_ms.max(1) {
                return Err(IdError::ClockBehind { behind_ms, waited_ms });
            }
            let into_ms = elapsed_ns.wrapping_add(held.offset_ns) % 1_000_000;
            let wait =
                Duration::from_nanos((behind_ms * 1_000_000).saturating_sub(into_ms).max(1_000));
            self.clock.pause(wait);
            waited += wait;
            if behind_ms == 1 {
                let woken_ms = held.time_ms(self.clock.elapsed_ns());
                self.catch_up_to_ms.fetch_max(woken_ms, Ordering::Relaxed);
            }
        }
    }

    /// Renews a lease that has time left. Whoever finds another caller at it goes on without.
    fn renew_early(&self, elapsed_ns: u64) {
        let mut keep = match self.keep.try_lock() {
            Ok(keep) => keep,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let held = self.held.read();
        let due = held.time_ms(elapsed_ns) >= held.renew_at_ms && elapsed_ns >= keep.ask_again_ns;
        if due {
            // A failure is told when the lease is over, and not before.
            let _ = self.renew(&mut keep);
        }
    }

    /// Renews a lease whose time is over, or claims another node.
    fn renew_now(&self, seen: &Held) -> Result<(), IdError> {
        let mut keep = self.keep();
        if self.held.read() != *seen {
            return Ok(());
        }
        let node = keep.lease.node;
        if self.clock.elapsed_ns() < keep.ask_again_ns {
            return Err(IdError::LeaseOver { node, cause: None });
        }
        self.renew(&mut keep).map_err(|error| match error {
            IdError::Store(cause) => IdError::LeaseOver { node, cause: Some(cause) },
            other => other,
        })
    }

    fn renew(&self, keep: &mut Keep) -> Result<(), IdError> {
        let asked_ns = self.clock.elapsed_ns();
        let result = self.ask(keep, asked_ns);
        if result.is_err() {
            keep.counts.failed += 1;
            let rest = self.settings.lease / ASK_AGAIN_PART;
            keep.ask_again_ns = self.clock.elapsed_ns().saturating_add(rest.as_nanos() as u64);
        }
        result
    }

    fn ask(&self, keep: &mut Keep, asked_ns: u64) -> Result<(), IdError> {
        let FlakeSettings { space, holder, lease: length, .. } = &self.settings;
        if self.last.load(Ordering::Acquire) == CLOSED {
            return Err(IdError::Closed);
        }
        let Lease { node, grant } = keep.lease;
        if let Some(renewed) = keep.store.renew(space, node, grant.term, *length)? {
            keep.counts.renewed += 1;
            // The window began when the node was claimed; only its end moved.
            keep.lease.grant = Grant { until_ms: renewed.until_ms, ..grant };
            let held = held(&self.layout, &self.settings, &keep.lease, renewed.now_ms, asked_ns)?;
            self.held.replace(held);
            return Ok(());
        }
        keep.counts.lost += 1;
        let before = self.held.read();
        // Lost: nothing more of the former node, whatever its window says.
        self.held.replace(Held { window: Window { until_ms: 0, ..before.window }, ..before });
        let asked_ns = self.clock.elapsed_ns();
        keep.lease = keep.store.claim(space, holder, *length)?;
        keep.counts.claimed += 1;
        let now_ms = keep.lease.grant.now_ms;
        let held = held(&self.layout, &self.settings, &keep.lease, now_ms, asked_ns)?;
        self.held.replace(held);
        Ok(())
    }
}

impl<C: Clock> Drop for Flake<C> {
    fn drop(&mut self) {
        // Best effort: who wants to know calls `close`.
        let _ = self.close();
    }
}

/// The end of what a holder used of its window, in milliseconds since 1970.
///
/// Never before the window's beginning: what lies there was granted to earlier holders, and the
/// store's clock may be stepped back to it.
pub(crate) fn used_until_ms(layout: &Layout, last: u64, grant: &Grant) -> i64 {
    let (last_ms, _) = rule::unpack(layout, last);
    layout.epoch_ms().saturating_add_unsigned(last_ms + 1).max(grant.now_ms)
}

/// A lease as the fast path sees it.
///
/// The store read its clock after `asked_ns`, so counting from there overstates the store's present,
/// by the way of the question at most: the holder stops earlier than it has to.
pub(crate) fn held(
    layout: &Layout,
    settings: &FlakeSettings,
    lease: &Lease,
    now_ms: i64,
    asked_ns: u64,
) -> Result<Held, IdError> {
    let since = |unix_ms| layout.since_epoch_ms(unix_ms).map_err(StoreError::from);
    let now_since_ms = since(now_ms)?;
    let margin_ms = settings.margin.as_millis() as u64;
    let until_ms = since(lease.grant.until_ms)?.saturating_sub(margin_ms);
    let window = Window { from_ms: since(lease.grant.now_ms)?, until_ms };
    let third_ms = (settings.lease.as_millis() / 3) as u64;
    Ok(Held {
        node: lease.node,
        window,
        renew_at_ms: now_since_ms.saturating_add(third_ms).min(until_ms),
        offset_ns: now_since_ms.wrapping_mul(1_000_000).wrapping_sub(asked_ns),
    })
}
