//! A compiled spec, and what can be asked of it.

use crate::check::{Cell, Failure, Rule};
use crate::compile::{ExpectError, KeyPart, compile};
use crate::hash::{RowHasher, ordinal_key};
use crate::key::{DUPLICATE_KEY, KeySet};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use model::expect::{ExpectSpec, RecordsPerCell};

/// A compiled spec: one a source version, shared by all tasks.
///
/// Batches are expected to begin with the columns of the schema it was compiled for; columns behind
/// them (provenance) are not looked at.
#[derive(Debug)]
pub struct Validator {
    pub(crate) rules: Vec<Rule>,
    /// Sorted by name, so that the order in the source file does not matter.
    pub(crate) key: Vec<(String, KeyPart)>,
    pub(crate) key_columns: Vec<usize>,
    pub(crate) records_per_cell: Option<RecordsPerCell>,
}

impl Validator {
    /// Compiles a spec against the declared fields.
    pub fn new(spec: &ExpectSpec, schema: &Schema) -> Result<Self, ExpectError> {
        compile(spec, schema)
    }

    /// The columns of the declared key in the order of its names; `entity` and `period` are none.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// The failing rows of one cell's batch, by row, then in the order of the spec. One row may fail
    /// several checks.
    pub fn check(&self, batch: &RecordBatch, entity: &str, period: &str) -> Vec<Failure> {
        let cell = Cell::new(entity, period);
        let mut failures = Vec::new();
        for rule in &self.rules {
            rule.check(batch, &cell, &mut failures);
        }
        failures.sort_by_key(|failure| failure.row);
        failures
    }

    /// The rows of a batch whose key an earlier row of the cell has; `seen` is kept over the
    /// batches of one cell. Without a declared key there are none. A null in a key equals a null.
    ///
    /// `keys` are the batch's [`Validator::record_keys`].
    pub fn duplicate_keys(
        &self,
        seen: &mut KeySet,
        keys: &[[u8; 16]],
        batch: &RecordBatch,
        entity: &str,
        period: &str,
    ) -> Vec<Failure> {
        let mut failures = Vec::new();
        if self.key.is_empty() {
            return failures;
        }
        for (row, key) in keys.iter().enumerate() {
            if !seen.insert(*key) {
                let found = RowHasher::of_key(&self.key, batch, entity, period).shown(row);
                failures.push(Failure { row, check: DUPLICATE_KEY.to_owned(), found });
            }
        }
        failures
    }

    /// Why a cell's number of records is not the expected one; none if it is, or nothing is
    /// declared.
    pub fn count(&self, records: u64) -> Option<String> {
        let RecordsPerCell { min, max } = self.records_per_cell?;
        if records >= min && max.is_none_or(|max| records <= max) {
            return None;
        }
        let expected = match max {
            Some(max) if max == min => format!("{min}"),
            Some(max) => format!("{min} to {max}"),
            None => format!("at least {min}"),
        };
        Some(format!("the cell has {records} records, expected {expected}"))
    }

    /// Tells each record of a cell from the others, the same in every answer: a hash of the declared
    /// key's names, types and values, or of the record's ordinal if no key is declared. `entity`
    /// and `period` in a key always mean the cell's.
    ///
    /// `ordinals` has one element a row.
    pub fn record_keys(
        &self,
        batch: &RecordBatch,
        ordinals: &[u64],
        entity: &str,
        period: &str,
    ) -> Vec<[u8; 16]> {
        if self.key.is_empty() {
            return ordinals.iter().map(|ordinal| ordinal_key(*ordinal)).collect();
        }
        let mut hasher = RowHasher::of_key(&self.key, batch, entity, period);
        (0..batch.num_rows()).map(|row| hasher.hash(row)).collect()
    }
}
