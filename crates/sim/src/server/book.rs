//! What the servers remember: their log, their limiters, and who is being served.

use super::Kind;
use crate::scenario::Limiter;
use jiff::Timestamp;
use model::{CellKey, SourceId};
use std::{collections::BTreeMap, time::Duration};

/// One request, as its server saw it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its place in the log.
    pub index: usize,
    /// When it arrived, by the true time.
    pub at: Timestamp,
    /// The same, since the scenario's start.
    pub elapsed: Duration,
    /// What it asked for.
    pub cell: CellKey,
    /// How often that cell had been asked for before.
    pub number: u64,
    /// Whether it asked "still the same?".
    pub conditional: bool,
    /// How many requests of its source were under way, itself included.
    pub under_way: u32,
    /// What became of it.
    pub kind: Kind,
}

/// See the module.
#[derive(Debug, Default)]
pub struct ServerBook {
    /// All requests, in the order of their arrival.
    pub log: Vec<Arrival>,
    asked: BTreeMap<CellKey, u64>,
    under_way: BTreeMap<SourceId, u32>,
    buckets: BTreeMap<SourceId, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled_at: Duration,
}

impl ServerBook {
    pub(super) fn arrive(
        &mut self,
        cell: &CellKey,
        at: Timestamp,
        elapsed: Duration,
        conditional: bool,
    ) -> Arrival {
        let asked = self.asked.entry(cell.clone()).or_default();
        let number = *asked;
        *asked += 1;
        let under_way = self.under_way.entry(cell.source.clone()).or_default();
        *under_way += 1;
        let arrival = Arrival {
            index: self.log.len(),
            at,
            elapsed,
            cell: cell.clone(),
            number,
            conditional,
            under_way: *under_way,
            kind: Kind::Silent,
        };
        self.log.push(arrival.clone());
        arrival
    }

    pub(super) fn decided(&mut self, index: usize, kind: Kind) {
        if let Some(arrival) = self.log.get_mut(index) {
            arrival.kind = kind;
        }
    }

    pub(super) fn leave(&mut self, source: &SourceId) {
        if let Some(under_way) = self.under_way.get_mut(source) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Whether a limiter lets a request pass.
    pub(super) fn admit(&mut self, arrival: &Arrival, limiter: &Limiter) -> bool {
        let (source, now) = (&arrival.cell.source, arrival.elapsed);
        let hour = arrival.at.as_second().rem_euclid(86_400) / 3600;
        let rate = limiter.rate_by_hour.map_or(limiter.rate, |rates| rates[hour as usize]);
        let under_way = self.under_way.get(source).copied().unwrap_or(0);
        let full = Bucket { tokens: limiter.burst, filled_at: now };
        let bucket = self.buckets.entry(source.clone()).or_insert(full);
        let gained = now.saturating_sub(bucket.filled_at).as_secs_f64() * rate;
        bucket.tokens = (bucket.tokens + gained).min(limiter.burst);
        bucket.filled_at = now;
        if bucket.tokens < 1.0 || limiter.concurrency.is_some_and(|most| under_way > most) {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}
