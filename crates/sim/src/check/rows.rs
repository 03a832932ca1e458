//! The data table: each record once, in the order of its observations, as the server had it.

use super::{Checked, broken};
use crate::world::Record;
use std::collections::{BTreeMap, BTreeSet};

/// One row of a data table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow {
    /// `_entity`.
    pub entity: String,
    /// `_period`.
    pub period: String,
    /// The key within the cell.
    pub number: i64,
    /// The value in millionths; none in a tombstone.
    pub close_micros: Option<i128>,
    /// `_tombstone`.
    pub tombstone: bool,
    /// `_observed_at` in microseconds.
    pub observed_at: i64,
    /// `_attempt`.
    pub attempt: i64,
    /// `_response_digest`.
    pub digest: String,
    /// `_record_id`.
    pub record_id: String,
}

/// The newest rows by cell and key, tombstones left out.
pub type Live = BTreeMap<(String, String), BTreeMap<i64, i128>>;

/// See the module. One for each table.
#[derive(Debug, Default)]
pub struct Rows {
    live: Live,
    newest: BTreeMap<(String, String, i64), (i64, i64)>,
    record_ids: BTreeSet<String>,
    observed_before: i64,
    observed_now: i64,
}

impl Rows {
    /// The next row, in the order of commits.
    ///
    /// # Errors
    /// The row says again what the table says, takes away what it has not, or runs backwards.
    pub fn push(&mut self, row: &DataRow) -> Checked {
        if !self.record_ids.insert(row.record_id.clone()) {
            return broken("record ids are unique", format!("again in {row:?}"));
        }
        if row.observed_at < self.observed_before {
            return broken(
                "observed_at never runs backwards",
                format!("an earlier batch has {}, this row {row:?}", self.observed_before),
            );
        }
        self.observed_now = self.observed_now.max(row.observed_at);
        let key = (row.entity.clone(), row.period.clone(), row.number);
        let version = (row.observed_at, row.attempt);
        if let Some(newest) = self.newest.insert(key, version)
            && newest >= version
        {
            return broken(
                "latest is the last written",
                format!("a row of {newest:?} was written before {row:?}"),
            );
        }
        let cell = self.live.entry((row.entity.clone(), row.period.clone())).or_default();
        let known = cell.get(&row.number).copied();
        match (known, row.tombstone, row.close_micros) {
            (None, false, Some(close)) => drop(cell.insert(row.number, close)),
            (Some(known), false, Some(close)) if known != close => {
                cell.insert(row.number, close);
            }
            (Some(_), true, None) => drop(cell.remove(&row.number)),
            (Some(_), false, Some(_)) => {
                return broken("no record twice", format!("unchanged and written again: {row:?}"));
            }
            (_, true, _) => {
                return broken("tombstones take away", format!("nothing is there for {row:?}"));
            }
            (_, false, None) => {
                return broken("records have their values", format!("none in {row:?}"));
            }
        }
        Ok(())
    }

    /// What was pushed so far is older than what follows.
    pub fn end_batch(&mut self) {
        self.observed_before = self.observed_before.max(self.observed_now);
    }

    /// After a complete observation, the table has what the server had.
    ///
    /// # Errors
    /// It has something else.
    pub fn equals(&self, entity: &str, period: &str, records: &[Record]) -> Checked {
        let nothing = BTreeMap::new();
        let found = self.live.get(&(entity.to_owned(), period.to_owned())).unwrap_or(&nothing);
        let expected: BTreeMap<i64, i128> =
            records.iter().map(|record| (record.number, record.close_micros)).collect();
        if *found == expected {
            return Ok(());
        }
        broken(
            "the table equals the truth",
            format!("`{entity} {period}` has {found:?}, the server had {expected:?}"),
        )
    }

    /// The newest rows.
    pub fn live(&self) -> &Live {
        &self.live
    }
}
