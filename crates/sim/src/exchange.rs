//! A small stock exchange on loopback, with a real HTTP server in front: what `tidewatch demo` asks.
//!
//! The [`World`] is pure: which tickers are listed when, what each day's prices are, and at which
//! instant they appear are functions of a seed (or of files with real data). The server around it
//! answers as of a virtual instant and misbehaves as [`Faults`] say: repeatably, by seed, ticker, day
//! and the number of the request for that cell, and never so often that a cell cannot be had.
//!
//! | asked | answered |
//! | --- | --- |
//! | `GET /eod/{ticker}?date=2026-11-19` | `{"symbol","date","total","data":[{"t","o","h","l","c","v"}]}` |
//! | `GET /nav/{scheme}?date=2026-11-19` (a world of files) | `{"scheme","date","total","data":[{"date","nav"}]}` |
//!
//! Before the data of a cell has arrived, `total` is 0 and `data` empty. Answers carry an `ETag`.

mod chance;

mod published;
mod synthetic;
mod world;

mod faults;
mod server;

pub use faults::{Faults, Rename};
pub use server::{Exchange, ExchangeLog};
pub use synthetic::WorldError;
pub use world::{Answer, Correction, Truth, World};

use jiff::{Timestamp, civil::Date};
use std::{fmt, future::Future, io, pin::Pin, sync::Arc};

/// What an exchange is made of.
#[derive(Clone)]
pub struct ExchangeSettings {
    /// All chance comes from here.
    pub seed: u64,
    /// How many tickers, from 1 to 100,000.
    pub entities: usize,
    /// The first day; the first session is on it or soon after.
    pub from: Date,
    /// How many sessions, from 1 to 5,000.
    pub days: usize,
    /// How the server misbehaves.
    pub faults: Faults,
    /// The requests a second that are answered; those above get 429. Not above 0: no limit.
    pub rate_per_second: f64,
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What time it is in the world.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Seconds that only grow, for the rate limit.
    pub mono: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl fmt::Debug for ExchangeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeSettings")
            .field("seed", &self.seed)
            .field("entities", &self.entities)
            .field("from", &self.from)
            .field("days", &self.days)
            .field("faults", &self.faults)
            .field("rate_per_second", &self.rate_per_second)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Opens the exchange on loopback. It closes when the [`Exchange`] is dropped.
///
/// Fails if the port cannot be had. Needs a tokio runtime with I/O and time.
pub fn start(
    world: Arc<World>,
    settings: ExchangeSettings,
) -> Pin<Box<dyn Future<Output = io::Result<Exchange>> + Send>> {
    Box::pin(server::start(world, settings))
}
