//! What one attempt brought back: the message from a task on the way to the engine's loop.

use crate::{
    answer::Made,
    tables::{DataPart, Provenance},
};
use arrow::datatypes::SchemaRef;
use extract::Listed;
use jiff::Timestamp;
use lake::StagedFile;
use model::{
    AttemptId, CellKey, LookKind, Money, Outcome, SourceVersion, TableName, Validators,
    grid::CellOrdinal,
};
use plan::LookAnswer;
use state::Evidence;
use std::{sync::Arc, time::Duration};

/// One ended attempt, with everything that is to be committed and accounted.
#[derive(Debug)]
pub struct Observation {
    pub(crate) ordinal: CellOrdinal,
    /// The cell that was asked for.
    pub cell: CellKey,
    /// The attempt's number.
    pub attempt: AttemptId,
    /// When money was reserved for it.
    pub planned_at: Timestamp,
    /// The priority's word.
    pub priority: &'static str,
    /// What it cost.
    pub cost: Money,
    /// What was reserved for it.
    pub(crate) reserved: Money,
    /// How the cell was looked at; `None`: it is not known any more.
    pub look: Option<LookKind>,
    /// What was believed of the cell that it was planned for; only of sources with `[arrival]`.
    pub belief: Option<Arc<Belief>>,
    /// How many cells its request asked for.
    pub(crate) asked: u32,
    /// Whether the request failed in a way that one of several cells may be the cause of.
    pub(crate) fewer: bool,
    /// What its row in the books has; `None`: another cell's observation is booked for it.
    pub booked: Option<Booked>,
    /// What a cheap look said.
    pub(crate) looked: Option<Looked>,
    /// How it ended.
    pub outcome: Outcome,
    /// The evidence for the outcome in one line, without secrets.
    pub detail: String,
    /// What the server asked us to wait.
    pub retry_after: Option<Duration>,
    /// The definition it was made with.
    pub source_version: SourceVersion,
    /// When the answer was complete; never before an earlier observation.
    pub observed_at: Timestamp,
    /// Figures of the exchange.
    pub facts: Facts,
    /// What can be asked with next time, and where the bytes are.
    pub evidence: Option<Evidence>,
    /// Whether the answer says that nothing changed since the cell's last complete observation.
    pub unchanged: bool,
    /// Records the cell has by this answer; of an unchanged one, those it had.
    pub records: u64,
    /// A hash over all records of the cell, whatever their order.
    pub records_hash: Option<[u8; 16]>,
    /// Rows for the data table.
    pub data: DataRows,
    /// Rows for the quarantine table.
    pub quarantined: QuarantinedRows,
}

/// What was believed when an attempt was planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// The probability that its data is there, 0 to 1; not a number if nothing was known.
    pub probability: f64,
    /// Why it is looked at then, in a sentence.
    pub why: Option<String>,
}

/// What the row of an attempt has of all cells it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// How many these are.
    pub cells: u32,
    /// Their records.
    pub records: u64,
    /// Their records in quarantine.
    pub quarantined: u64,
}

/// The answer of a cheap look.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) said: Said,
    /// Of a HEAD: what its answer can be compared with next time.
    pub(crate) validators: Validators,
}

/// What a cheap look said.
#[derive(Debug)]
pub(crate) enum Said {
    /// Something about its cell.
    Cell(LookAnswer),
    /// The entities whose data is there.
    Listed(Listed),
    /// The server does not know such requests.
    Unsupported,
    /// There was no answer that could be used.
    Failed,
}

/// Figures of one exchange.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When the request left, by the time of day.
    pub at: Timestamp,
    /// The address asked last, redacted.
    pub url: String,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// Redirects followed.
    pub redirects: u32,
    /// Bytes of the body as received.
    pub received_bytes: u64,
    /// From sending to the first byte.
    pub first_byte: Option<Duration>,
    /// From sending to the last byte.
    pub elapsed: Duration,
    /// Whether time ran out before the end.
    pub timed_out: bool,
    /// What the answer states of the server's limits.
    pub stated: fetch::StatedLimit,
}

impl Facts {
    /// Of an attempt whose exchange did not take place, or is not known.
    pub(crate) fn without_exchange(at: Timestamp) -> Self {
        Self {
            at,
            url: String::new(),
            status: None,
            redirects: 0,
            received_bytes: 0,
            first_byte: None,
            elapsed: Duration::ZERO,
            timed_out: false,
            stated: fetch::StatedLimit::default(),
        }
    }
}

/// Rows for one data table.
#[derive(Debug, Default)]
pub struct DataRows {
    /// The table and its columns, if there are any rows.
    pub table: Option<(TableName, SchemaRef)>,
    /// Rows held in memory.
    pub(crate) parts: Vec<DataPart>,
    /// Rows of large answers, already staged.
    pub staged: Vec<StagedFile>,
}

/// One record that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The record's number in the body.
    pub ordinal: u64,
    /// Which check it failed, or `extract`.
    pub check: String,
    /// What was found.
    pub reason: String,
    /// The record's own text, cut at 64 KiB.
    pub record: String,
}

/// The most records of one answer that are kept in quarantine; the rest are counted, and the bytes
/// of all of them are in the archive.
pub(crate) const QUARANTINE_ROWS_MAX: usize = 10_000;

/// Records that are held back.
#[derive(Debug, Default)]
pub struct QuarantinedRows {
    /// The first ones.
    pub rows: Vec<Quarantined>,
    /// All of them, counted.
    pub total: u64,
}

impl QuarantinedRows {
    pub(crate) fn push(&mut self, row: Quarantined) {
        self.total += 1;
        if self.rows.len() < QUARANTINE_ROWS_MAX {
            self.rows.push(row);
        }
    }

    /// Takes those of another.
    pub(crate) fn join(&mut self, other: Self) {
        let total = self.total + other.total;
        other.rows.into_iter().for_each(|row| self.push(row));
        self.total = total;
    }
}

impl Observation {
    /// Takes what was made of the answer.
    pub(crate) fn take(&mut self, made: Made) {
        self.outcome = made.outcome;
        self.detail = made.detail;
        self.unchanged = made.unchanged;
        self.records = made.records;
        self.records_hash = made.records_hash;
        self.data = made.data;
        self.quarantined = made.quarantined;
        if let Some(booked) = &mut self.booked {
            (booked.records, booked.quarantined) = (self.records, self.quarantined.total);
        }
    }

    /// Adds to the evidence.
    pub(crate) fn note(&mut self, also: &str) {
        let between = if self.detail.is_empty() { "" } else { "; " };
        self.detail.push_str(between);
        self.detail.push_str(also);
    }

    /// It failed, and one of the cells that were asked for together may be why.
    pub(crate) fn ask_for_fewer(&mut self) {
        if self.asked > 1 {
            self.fewer = true;
            self.note("the next request asks for fewer");
        }
    }

    /// The same attempt's end for another cell it asked for; nothing of the answer is in it yet.
    pub(crate) fn of_another(&self, ordinal: CellOrdinal, cell: CellKey) -> Self {
        Self {
            ordinal,
            cell,
            attempt: self.attempt,
            planned_at: self.planned_at,
            priority: self.priority,
            cost: Money::ZERO,
            reserved: Money::ZERO,
            look: self.look,
            belief: None,
            asked: self.asked,
            fewer: self.fewer,
            booked: None,
            looked: None,
            outcome: self.outcome,
            detail: self.detail.clone(),
            retry_after: self.retry_after,
            source_version: self.source_version.clone(),
            observed_at: self.observed_at,
            facts: self.facts.clone(),
            evidence: self.evidence.clone(),
            unchanged: false,
            records: 0,
            records_hash: None,
            data: DataRows::default(),
            quarantined: QuarantinedRows::default(),
        }
    }

    /// Its attempt's row is that of another cell.
    pub(crate) fn be_booked_with_another(&mut self) {
        self.booked = None;
        (self.cost, self.reserved) = (Money::ZERO, Money::ZERO);
    }

    /// What its records carry. Those of a large answer are staged already, and have it.
    pub(crate) fn provenance<'a>(&'a self, period: &'a str) -> Provenance<'a> {
        Provenance {
            entity: self.cell.entity.as_str(),
            period,
            observed_at: self.observed_at,
            source_version: &self.source_version.0,
            attempt: self.attempt,
            response_digest: self.evidence.as_ref().map(|evidence| &evidence.digest),
        }
    }

    /// Its cell is not expected any more: the books keep the attempt, the tables get nothing, so
    /// that a cell that comes back finds no rows that the state knows nothing of.
    pub(crate) fn forget_records(&mut self) {
        self.data = DataRows::default();
        self.quarantined = QuarantinedRows::default();
        self.records = 0;
        if let Some(booked) = &mut self.booked {
            (booked.records, booked.quarantined) = (0, 0);
        }
        self.detail.push_str("; the cell is not expected any more, nothing was written");
    }

    /// Bytes this observation holds in memory until it is committed, roughly.
    pub(crate) fn held_bytes(&self) -> u64 {
        let rows: usize = self.data.parts.iter().map(DataPart::held_bytes).sum();
        let held_back: usize = self.quarantined.rows.iter().map(|row| row.record.len() + 128).sum();
        (rows + held_back + 512) as u64
    }
}
