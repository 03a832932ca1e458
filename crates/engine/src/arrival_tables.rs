//! The columns of `ledger/arrivals` and their rows: for each cell of a source with `[arrival]`
//! between which two looks its data came, or that it did not come while it was waited for.

use crate::{
    arrival::Arrived,
    tables::{Rows, schema_of, timestamp_type, timestamps},
};
use arrow::{
    array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use jiff::Timestamp;
use model::{AttemptId, CellKey};
use std::sync::Arc;

/// The columns of `ledger/arrivals`: one row for each end of a cell's wait.
pub fn arrivals_schema() -> SchemaRef {
    schema_of(&[
        ("source", DataType::Utf8),
        ("entity", DataType::Utf8),
        ("period", DataType::Utf8),
        ("at", timestamp_type()),
        ("due_at", timestamp_type()),
        ("not_before", timestamp_type()),
        ("seen_at", timestamp_type()),
        ("look", DataType::Utf8),
        ("looks", DataType::Int64),
        ("state", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("attempt", DataType::Int64),
    ])
}

/// One end of a wait.
#[derive(Debug)]
pub(crate) struct ArrivalRow<'a> {
    pub(crate) cell: &'a CellKey,
    pub(crate) at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) arrived: &'a Arrived,
    /// Why it is waited for no more, if it did not come.
    pub(crate) reason: Option<&'static str>,
    /// The last attempt; 0: there was none.
    pub(crate) attempt: AttemptId,
}

/// Rows for `ledger/arrivals`.
#[derive(Debug)]
pub(crate) struct ArrivalRows {
    texts: [StringBuilder; 6],
    times: [arrow::array::TimestampMicrosecondBuilder; 4],
    looks: Int64Builder,
    attempt: Int64Builder,
}

impl ArrivalRows {
    pub(crate) fn push(&mut self, row: &ArrivalRow<'_>) {
        let ArrivalRow { cell, arrived, .. } = row;
        let [source, entity, period, look, state, reason] = &mut self.texts;
        source.append_value(cell.source.as_str());
        entity.append_value(cell.entity.as_str());
        period.append_value(cell.period.to_string());
        look.append_option(arrived.seen.map(|(_, kind)| kind.as_str()));
        state.append_value(if arrived.seen.is_some() { "arrived" } else { "censored" });
        reason.append_option(row.reason);
        let [at, due_at, not_before, seen_at] = &mut self.times;
        at.append_value(row.at.as_microsecond());
        due_at.append_value(row.due_at.as_microsecond());
        not_before.append_option(arrived.not_before.map(Timestamp::as_microsecond));
        seen_at.append_option(arrived.seen.map(|(at, _)| at.as_microsecond()));
        self.looks.append_value(i64::from(arrived.looks));
        self.attempt.append_value(row.attempt.0);
    }
}

impl Rows for ArrivalRows {
    fn new() -> Self {
        Self {
            texts: std::array::from_fn(|_| StringBuilder::new()),
            times: std::array::from_fn(|_| timestamps(0)),
            looks: Int64Builder::new(),
            attempt: Int64Builder::new(),
        }
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let [source, entity, period, look, state, reason] = &mut self.texts;
        let [at, due_at, not_before, seen_at] = &mut self.times;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(source.finish()),
            Arc::new(entity.finish()),
            Arc::new(period.finish()),
            Arc::new(at.finish()),
            Arc::new(due_at.finish()),
            Arc::new(not_before.finish()),
            Arc::new(seen_at.finish()),
            Arc::new(look.finish()),
            Arc::new(self.looks.finish()),
            Arc::new(state.finish()),
            Arc::new(reason.finish()),
            Arc::new(self.attempt.finish()),
        ];
        RecordBatch::try_new(arrivals_schema(), columns)
    }
}
