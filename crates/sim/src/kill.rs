//! `kill -9` at a chosen point: between any two effects of an engine, and before or after any of
//! them.
//!
//! Only what an engine does to the outside survives it, so the points that differ are its calls to
//! the ports. The ports of one life pass a switch; once it has struck, no call has an effect or
//! returns any more, and the whole runtime of that life is dropped.

mod ports;

pub use ports::{Durable, MortalArchive, MortalLake, MortalState};

use crate::{scenario::Elapsed, world::between};
use env::Entropy;
use std::{
    collections::BTreeSet,
    fmt,
    future::{Future, pending},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Where the switch strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Instead of a call.
    Before,
    /// After a call took effect, and before the engine hears of it.
    After,
}

/// Kills one life of an engine.
pub struct KillSwitch {
    latency: [Elapsed; 2],
    chance: Mutex<Entropy>,
    calls: AtomicU64,
    armed: Mutex<Option<(u64, Strike)>>,
    struck: AtomicBool,
    notify: Notify,
}

impl fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillSwitch").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl KillSwitch {
    /// The switch of a new life, whose calls take so long.
    pub fn new(latency: [Elapsed; 2], chance: Entropy) -> Self {
        Self {
            latency,
            chance: Mutex::new(chance),
            calls: AtomicU64::new(0),
            armed: Mutex::new(None),
            struck: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }

    /// Strikes at the `calls`-th call from now on; 1 is the next one. The first wish counts.
    pub fn arm(&self, calls: u64, strike: Strike) {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.get_or_insert((self.calls() + calls.max(1), strike));
    }

    /// Strikes now.
    pub fn strike(&self) {
        self.struck.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// Whether it has struck.
    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }

    /// How many calls the ports have had.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns once it has struck.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Makes a call to a store, if the engine lives to see it. It takes effect in the middle of its
    /// time.
    pub(crate) async fn store<T>(&self, call: impl Future<Output = T>) -> T {
        if self.latency[1].0.is_zero() {
            return self.pass(call).await;
        }
        let half = self.draw_latency() / 2;
        tokio::time::sleep(half).await;
        let result = self.pass(call).await;
        tokio::time::sleep(half).await;
        result
    }

    fn draw_latency(&self) -> Duration {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        between(self.latency, &mut chance).try_into().unwrap_or_default()
    }

    /// Makes a call, if the engine lives to see it.
    pub(crate) async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        if self.has_struck() {
            return pending().await;
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let armed = *self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let strike = armed.filter(|(at, _)| *at == number).map(|(_, strike)| strike);
        if strike == Some(Strike::Before) {
            self.strike();
            return pending().await;
        }
        let result = call.await;
        if strike == Some(Strike::After) {
            self.strike();
        }
        if self.has_struck() { pending().await } else { result }
    }
}

/// Members that were appended and not flushed when their engine was killed: they are lost.
#[derive(Debug, Default)]
pub struct Lost(Mutex<BTreeSet<String>>);

impl Lost {
    pub(crate) fn extend(&self, references: impl IntoIterator<Item = String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(references);
    }

    /// Whether a reference leads to bytes that were lost.
    pub fn contains(&self, reference: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(reference)
    }
}
