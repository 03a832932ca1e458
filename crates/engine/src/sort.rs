//! Extracted rows, sorted by the cells they belong to, and there into good ones and those for
//! quarantine.

use crate::{
    answer::{Walk, all_columns, read_span},
    compiled::Compiled,
    observation::{Quarantined, QuarantinedRows},
};
use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch, UInt32Array},
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
        let indices = UInt32Array::from(keep.clone());
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

impl Sorted {
    /// Whether there was no record at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.good == 0 && self.quarantined.total == 0
    }
}

/// Records of entities that were not asked for.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    pub(crate) total: u64,
    /// The first names.
    pub(crate) shown: Vec<String>,
}

impl Strays {
    const SHOWN_MAX: usize = 3;
    const SHOWN_CHARS_MAX: usize = 40;

    fn push(&mut self, name: Option<&str>) {
        self.total += 1;
        if self.shown.len() < Self::SHOWN_MAX {
            let name = name.unwrap_or("no name");
            self.shown.push(name.chars().take(Self::SHOWN_CHARS_MAX).collect());
        }
    }
}

/// What the sorting of an answer hands over at the end: of each cell, in their order.
pub(crate) struct SortedOut {
    pub(crate) cells: Vec<Sorted>,
    pub(crate) strays: Strays,
}

/// Sorts the rows of one answer by the cells they belong to.
pub(crate) struct Sorting<'a> {
    cells: Vec<Sorter<'a>>,
    /// Where the records of several cells are in one answer.
    by_name: Option<ByName<'a>>,
    strays: Strays,
}

/// Which cell a record belongs to.
struct ByName<'a> {
    field: &'a str,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Sorting<'a> {
    /// `known`: what the tables have of each cell, where it is to be compared at once.
    pub(crate) fn new(
        walks: &[Walk<'a>],
        known: Vec<Option<BTreeMap<[u8; 16], KnownRow>>>,
    ) -> Self {
        let many = walks.first().and_then(|walk| walk.compiled.source.request.many.as_ref());
        // One that was asked for alone is not compared with the name that the server gives it.
        let by_name = many.filter(|_| walks.len() > 1).map(|many| ByName {
            field: many.entity_field.as_str(),
            places: walks.iter().map(|walk| walk.cell.entity.as_str()).zip(0..).collect(),
        });
        let cells = walks.iter().zip(known).map(|(walk, known)| Sorter::new(walk, known)).collect();
        Self { cells, by_name, strays: Strays::default() }
    }

    pub(crate) fn take(&mut self, extracted: ExtractedBatch, decoded: &Decoded) {
        let Some(by_name) = &self.by_name else {
            if let Some(only) = self.cells.first_mut() {
                only.take(extracted, decoded);
            }
            return;
        };
        let column = extracted.batch.column_by_name(by_name.field);
        let names = column.and_then(|column| column.as_string_opt::<i32>());
        let mut rows_of: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for row in 0..extracted.batch.num_rows() {
            let name = names.filter(|names| names.is_valid(row)).map(|names| names.value(row));
            match name.and_then(|name| by_name.places.get(name)) {
                Some(place) => rows_of.entry(*place).or_default().push(row as u32),
                None => self.strays.push(name),
            }
        }
        for (place, rows) in rows_of {
            let pick = |row: &u32| *row as usize;
            let indices = UInt32Array::from(rows.clone());
            // Taking rows that exist cannot fail.
            let Ok(batch) = take_record_batch(&extracted.batch, &indices) else { continue };
            let part = ExtractedBatch {
                batch,
                ordinals: rows.iter().map(|row| extracted.ordinals[pick(row)]).collect(),
                spans: rows.iter().map(|row| extracted.spans[pick(row)]).collect(),
            };
            self.cells[place].take(part, decoded);
        }
    }

    /// Bytes of the rows that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.cells.iter().map(|cell| cell.held_bytes).sum()
    }

    /// Gives out the rows of the cell that holds most.
    pub(crate) fn drain_largest(&mut self) -> (usize, Vec<GoodRows>) {
        let largest = (0..self.cells.len()).max_by_key(|index| self.cells[*index].held_bytes);
        let index = largest.unwrap_or(0);
        (index, self.cells[index].drain())
    }

    pub(crate) fn finish(self) -> SortedOut {
        SortedOut {
            cells: self.cells.into_iter().map(Sorter::finish).collect(),
            strays: self.strays,
        }
    }
}

/// Sorts the rows of one cell into good ones and those for quarantine.
struct Sorter<'a> {
    compiled: &'a Compiled,
    entity: &'a str,
    period: &'a str,
    keys: KeySet,
    rows: Vec<GoodRows>,
    held_bytes: usize,
    known: Option<BTreeMap<[u8; 16], KnownRow>>,
    good: u64,
    records_hash: u128,
    quarantined: QuarantinedRows,
}

impl<'a> Sorter<'a> {
    fn new(walk: &Walk<'a>, known: Option<BTreeMap<[u8; 16], KnownRow>>) -> Self {
        Self {
            compiled: walk.compiled,
            entity: walk.cell.entity.as_str(),
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

    fn take(&mut self, extracted: ExtractedBatch, decoded: &Decoded) {
        let ExtractedBatch { batch, ordinals, spans } = extracted;
        let validator = &self.compiled.validator;
        let keys = validator.record_keys(&batch, &ordinals, self.entity, self.period);
        let mut failures = validator.check(&batch, self.entity, self.period);
        let seen = &mut self.keys;
        failures.extend(validator.duplicate_keys(seen, &keys, &batch, self.entity, self.period));
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
            (batch, ordinals, keys)
        } else {
            let kept = || passed.iter().enumerate().filter(|(_, passed)| **passed);
            let kept_ordinals = kept().map(|(row, _)| ordinals[row]).collect();
            let kept_keys = kept().map(|(row, _)| keys[row]).collect();
            let mask = BooleanArray::from(passed.clone());
            // A mask of the batch's own length cannot fail.
            let batch = filter_record_batch(&batch, &mask).unwrap_or_else(|_| batch.slice(0, 0));
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
    fn drain(&mut self) -> Vec<GoodRows> {
        self.held_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        match &mut self.known {
            Some(known) => rows.into_iter().map(|rows| rows.without(known)).collect(),
            None => rows,
        }
    }

    fn finish(self) -> Sorted {
        Sorted {
            rows: self.rows,
            known: self.known,
            good: self.good,
            records_hash: self.records_hash.to_le_bytes(),
            quarantined: self.quarantined,
        }
    }
}
