//! What is true: when the data of each cell appear, with which values, and how they are corrected.
//!
//! Pure and computed: the same seed, source, entity and period always have the same truth, whoever
//! asks first. How a server behaves is another matter ([`crate::server`]).

use crate::{
    clock::later,
    scenario::{Elapsed, Endpoint, Scenario},
};
use env::Entropy;
use jiff::{SignedDuration, Timestamp};
use model::{CellKey, SourceId};
use source::Source;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The largest value of a record, in millionths: eight digits before the point.
const CLOSE_MICROS_MAX: u64 = 99_999_999_999_999;

/// The truth about all cells of a scenario.
#[derive(Debug)]
pub struct World {
    entropy: Entropy,
    sources: BTreeMap<SourceId, (Source, Endpoint)>,
    cells: Mutex<BTreeMap<CellKey, Arc<Truth>>>,
}

/// The truth about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// When it is due.
    pub due_at: Timestamp,
    /// What there is to be had, from when on, ascending; empty if it never comes.
    pub versions: Vec<Version>,
}

/// What there is to be had of a cell from an instant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From when on.
    pub at: Timestamp,
    /// The records; none if they were withdrawn.
    pub records: Vec<Record>,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its number, unique in its cell.
    pub number: i64,
    /// Its value in millionths.
    pub close_micros: i128,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.close_micros / 1_000_000, self.close_micros % 1_000_000);
        write!(f, "{}={whole}.{fraction:06}", self.number)
    }
}

impl Truth {
    /// What there is to be had at an instant; `None` if nothing has come yet.
    pub fn at(&self, now: Timestamp) -> Option<(usize, &Version)> {
        let count = self.versions.partition_point(|version| version.at <= now);
        count.checked_sub(1).map(|index| (index, &self.versions[index]))
    }

    /// When its data appear; `None` if they never do.
    pub fn arrives_at(&self) -> Option<Timestamp> {
        self.versions.first().map(|version| version.at)
    }
}

impl World {
    /// The world of a scenario with these sources, in the order of the scenario.
    pub fn new(scenario: &Scenario, sources: &[Source], seed: u64) -> Self {
        let endpoints = scenario.sources.iter().zip(sources);
        let sources = endpoints
            .map(|(endpoint, source)| (source.id.clone(), (source.clone(), endpoint.clone())))
            .collect();
        let entropy = Entropy::from_seed(seed).child("world");
        Self { entropy, sources, cells: Mutex::default() }
    }

    /// The truth about a cell; `None` if its source is not of this world.
    pub fn truth(&self, cell: &CellKey) -> Option<Arc<Truth>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(truth) = cells.get(cell) {
            return Some(Arc::clone(truth));
        }
        let (source, endpoint) = self.sources.get(&cell.source)?;
        let truth = Arc::new(self.draw(cell, source, endpoint));
        cells.insert(cell.clone(), Arc::clone(&truth));
        Some(truth)
    }

    fn draw(&self, cell: &CellKey, source: &Source, endpoint: &Endpoint) -> Truth {
        let arrivals = &endpoint.arrivals;
        let due_at = source.calendar.due_at(cell.period);
        let habits = self.entropy.child(cell.source.as_str());
        let mut habit = habits.child(cell.entity.as_str());
        let mut chance = habit.child(&cell.period.to_string());
        let is_holiday = cell.period.date().is_some_and(|day| arrivals.holidays.contains(&day));
        let comes = chance.unit() >= arrivals.never_share && !is_holiday;
        let is_late = chance.unit() < arrivals.late_share;
        let is_corrected = chance.unit() < arrivals.corrected_share;
        let is_withdrawn = chance.unit() < arrivals.withdrawn_share;
        let after = between(arrivals.after, &mut habit);
        let stray = arrivals.jitter.0.mul_f64(chance.unit() * 2.0 - 1.0);
        let late_by = if is_late { arrivals.late_by.0 } else { SignedDuration::ZERO };
        let [fewest, most] = arrivals.records;
        let count = fewest + chance.below(u64::from(most.saturating_sub(fewest)) + 1) as u32;
        let mut records: Vec<Record> = (0..count)
            .map(|number| Record { number: i64::from(number), close_micros: close(&mut chance) })
            .collect();
        let pause = between(arrivals.corrected_after, &mut chance);
        let corrected = close(&mut chance);
        let drawn = || due_at.checked_add(after + stray + late_by).unwrap_or(Timestamp::MAX);
        let at = match &endpoint.known {
            Some(known) => known.history.came(&cell.entity, cell.period),
            None => comes.then(drawn),
        };
        let Some(at) = at else { return Truth { due_at, versions: Vec::new() } };
        let mut versions = vec![Version { at, records: records.clone() }];
        if is_corrected {
            if is_withdrawn {
                records.pop();
            } else if let Some(last) = records.last_mut() {
                last.close_micros = corrected;
            }
            let at = later(at, Duration::try_from(pause).unwrap_or_default());
            versions.push(Version { at, records });
        }
        Truth { due_at, versions }
    }
}

fn close(chance: &mut Entropy) -> i128 {
    i128::from(chance.below(CLOSE_MICROS_MAX) + 1)
}

/// A span drawn evenly between two.
pub(crate) fn between([low, high]: [Elapsed; 2], chance: &mut Entropy) -> SignedDuration {
    low.0 + (high.0 - low.0).mul_f64(chance.unit())
}
