//! No cell is forgotten: what is due is asked for, what waits is looked at when it said.

use super::{Checked, broken};
use jiff::{SignedDuration, Timestamp};
use model::CellKey;
use std::collections::{BTreeMap, BTreeSet};

/// See the module. Times are those of the engine's clock; one for each source.
#[derive(Debug)]
pub struct Looks {
    patience: SignedDuration,
    wanted: BTreeMap<CellKey, Timestamp>,
    by_time: BTreeSet<(Timestamp, CellKey)>,
    excused_until: Timestamp,
}

impl Looks {
    /// Nothing wanted yet; what is wanted is asked for within `patience`.
    pub fn new(patience: SignedDuration) -> Self {
        Self {
            patience,
            wanted: BTreeMap::new(),
            by_time: BTreeSet::new(),
            excused_until: Timestamp::MIN,
        }
    }

    /// A cell is to be asked for at an instant.
    pub fn want(&mut self, cell: CellKey, at: Timestamp) {
        self.drop_wish(&cell);
        self.by_time.insert((at, cell.clone()));
        self.wanted.insert(cell, at);
    }

    /// A cell is asked for.
    pub fn drop_wish(&mut self, cell: &CellKey) {
        if let Some(at) = self.wanted.remove(cell) {
            self.by_time.remove(&(at, cell.clone()));
        }
    }

    /// Nothing was to be asked until now: patience begins anew.
    pub fn excuse(&mut self, now: Timestamp) {
        self.excused_until = self.excused_until.max(now);
    }

    /// Looks whether something was forgotten.
    ///
    /// # Errors
    /// The time of a cell has come long ago, and nobody asked for it.
    pub fn check(&self, now: Timestamp) -> Checked {
        let Some((at, cell)) = self.by_time.first() else { return Ok(()) };
        let since = (*at).max(self.excused_until);
        if now.duration_since(since) <= self.patience {
            return Ok(());
        }
        broken(
            "every cell is accounted",
            format!("`{cell}` was to be asked for at {at}, and it is {now}"),
        )
    }
}
