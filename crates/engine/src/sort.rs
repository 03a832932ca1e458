//! Extracted rows, sorted into good ones and those for quarantine.

use crate::{
    answer::{Walk, all_columns, read_span},
    compiled::Compiled,
    observation::{Quarantined, QuarantinedRows},
};
use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{filter_record_batch, take_record_batch},
};
use extract::ExtractedBatch;
use fetch::Decoded;
use std::collections::BTreeMap;
use validate::KeySet;

/// A row that the table has.
#[derive(Debug)]
pub(crate) struct KnownRow {
    pub(crate) key: [u8; 16],
    pub(crate) content: [u8; 16],
    pub(crate) ordinal: u64,
    pub(crate) version: (i64, i64),
    pub(crate) tombstone: bool,
    pub(crate) declared: RecordBatch,
    pub(crate) seen: bool,
}

/// Rows that passed, with what tells them apart.
#[derive(Debug)]
pub(crate) struct GoodRows {
    pub(crate) batch: RecordBatch,
    pub(crate) ordinals: Vec<u64>,
    pub(crate) keys: Vec<[u8; 16]>,
    pub(crate) hashes: Vec<[u8; 16]>,
}

impl GoodRows {
    /// Without the rows that are known with the same content; all of them are marked as seen.
    pub(crate) fn without(self, known: &mut BTreeMap<[u8; 16], KnownRow>) -> Self {
        let keep: Vec<u32> = (0..self.keys.len())
            .filter(|&row| match known.get_mut(&self.keys[row]) {
                Some(other) => {
                    other.seen = true;
                    other.content != self.hashes[row]
                }
                None => true,
            })
            .map(|row| row as u32)
            .collect();
        if keep.len() == self.keys.len() {
            return self;
        }
        let pick = |values: &[[u8; 16]]| keep.iter().map(|&row| values[row as usize]).collect();
        let indices = arrow::array::UInt32Array::from(keep.clone());
        Self {
            // Taking rows that exist cannot fail.
            batch: take_record_batch(&self.batch, &indices).unwrap_or(self.batch),
            ordinals: keep.iter().map(|&row| self.ordinals[row as usize]).collect(),
            keys: pick(&self.keys),
            hashes: pick(&self.hashes),
        }
    }

    pub(crate) fn describe(&self, quarantined: &mut QuarantinedRows, reason: &str) {
        for &ordinal in &self.ordinals {
            quarantined.push(Quarantined {
                ordinal,
                check: "records_per_cell".to_owned(),
                reason: reason.to_owned(),
                record: String::new(),
            });
        }
    }
}

/// What the sorter hands over at the end.
pub(crate) struct Sorted {
    pub(crate) rows: Vec<GoodRows>,
    pub(crate) known: Option<BTreeMap<[u8; 16], KnownRow>>,
    pub(crate) good: u64,
    pub(crate) records_hash: [u8; 16],
    pub(crate) quarantined: QuarantinedRows,
}

/// Sorts extracted rows into good ones and those for quarantine.
pub(crate) struct Sorter<'a> {
    pub(crate) compiled: &'a Compiled,
    pub(crate) entity: &'a str,
    pub(crate) period: &'a str,
    pub(crate) keys: KeySet,
    pub(crate) rows: Vec<GoodRows>,
    pub(crate) held_bytes: usize,
    pub(crate) known: Option<BTreeMap<[u8; 16], KnownRow>>,
    pub(crate) good: u64,
    pub(crate) records_hash: u128,
    pub(crate) quarantined: QuarantinedRows,
}

impl<'a> Sorter<'a> {
    pub(crate) fn new(walk: &Walk<'a>, known: Option<BTreeMap<[u8; 16], KnownRow>>) -> Self {
        Self {
            compiled: walk.compiled,
            entity: walk.job.cell.entity.as_str(),
            period: walk.period,
            keys: KeySet::default(),
            rows: Vec::new(),
            held_bytes: 0,
            known,
            good: 0,
            records_hash: 0,
            quarantined: QuarantinedRows::default(),
        }
    }

    pub(crate) fn take(&mut self, extracted: &ExtractedBatch, decoded: &Decoded) {
        let ExtractedBatch { batch, ordinals, spans } = extracted;
        let validator = &self.compiled.validator;
        let keys = validator.record_keys(batch, ordinals, self.entity, self.period);
        let mut failures = validator.check(batch, self.entity, self.period);
        let seen = &mut self.keys;
        failures.extend(validator.duplicate_keys(seen, &keys, batch, self.entity, self.period));
        let mut passed = vec![true; batch.num_rows()];
        for failure in &failures {
            if std::mem::replace(&mut passed[failure.row], false) {
                self.quarantined.push(Quarantined {
                    ordinal: ordinals[failure.row],
                    check: failure.check.clone(),
                    reason: failure.found.clone(),
                    record: read_span(decoded, spans[failure.row]),
                });
            }
        }
        let (batch, ordinals, keys) = if failures.is_empty() {
            (batch.clone(), ordinals.clone(), keys)
        } else {
            let kept = || passed.iter().enumerate().filter(|(_, passed)| **passed);
            let kept_ordinals = kept().map(|(row, _)| ordinals[row]).collect();
            let kept_keys = kept().map(|(row, _)| keys[row]).collect();
            let mask = BooleanArray::from(passed.clone());
            // A mask of the batch's own length cannot fail.
            let batch = filter_record_batch(batch, &mask).unwrap_or_else(|_| batch.slice(0, 0));
            (batch, kept_ordinals, kept_keys)
        };
        if batch.num_rows() == 0 {
            return;
        }
        let hashes = validate::content_hash(&batch, &all_columns(&batch));
        for (key, hash) in keys.iter().zip(&hashes) {
            let mixed =
                u128::from_le_bytes(*key).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            self.records_hash = self.records_hash.wrapping_add(mixed ^ u128::from_le_bytes(*hash));
        }
        self.good += batch.num_rows() as u64;
        self.held_bytes += batch.get_array_memory_size();
        self.rows.push(GoodRows { batch, ordinals, keys, hashes });
    }

    /// Gives out the rows held, those already known left out.
    pub(crate) fn drain(&mut self) -> Vec<GoodRows> {
        self.held_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        match &mut self.known {
            Some(known) => rows.into_iter().map(|rows| rows.without(known)).collect(),
            None => rows,
        }
    }

    pub(crate) fn finish(self) -> Sorted {
        Sorted {
            rows: self.rows,
            known: self.known,
            good: self.good,
            records_hash: self.records_hash.to_le_bytes(),
            quarantined: self.quarantined,
        }
    }
}
