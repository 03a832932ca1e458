//! Gathers records into batches, and rejects.

use crate::column::Column;
use crate::compile::Tree;
use crate::extraction::{ExtractedBatch, Reject, SinkError};
use crate::record::{Scratch, describe};
use crate::slicer::Halt;
use crate::{BATCH_BYTES_LIMIT, BATCH_ROWS_LIMIT, REJECTS_LIMIT};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use model::field::FieldSpec;
use std::sync::Arc;

/// Where batches go.
pub(crate) type Sink<'s> = dyn FnMut(ExtractedBatch) -> Result<(), SinkError> + 's;

/// The records of one body.
pub(crate) struct Collector<'c> {
    tree: &'c Tree,
    fields: &'c [FieldSpec],
    schema: &'c SchemaRef,
    scratch: &'c mut Scratch,
    sink: &'c mut Sink<'c>,
    columns: Vec<Column>,
    ordinals: Vec<u64>,
    spans: Vec<(u64, u64)>,
    batch_bytes: u64,
    next_ordinal: u64,
    pub(crate) seen: Vec<bool>,
    pub(crate) given: u64,
    pub(crate) rejected: u64,
    pub(crate) rejects: Vec<Reject>,
}

impl<'c> Collector<'c> {
    pub(crate) fn new(
        tree: &'c Tree,
        fields: &'c [FieldSpec],
        schema: &'c SchemaRef,
        scratch: &'c mut Scratch,
        sink: &'c mut Sink<'c>,
    ) -> Self {
        Self {
            tree,
            fields,
            schema,
            scratch,
            sink,
            columns: Vec::new(),
            ordinals: Vec::new(),
            spans: Vec::new(),
            batch_bytes: 0,
            next_ordinal: 0,
            seen: vec![false; fields.len()],
            given: 0,
            rejected: 0,
            rejects: Vec::new(),
        }
    }

    /// A whole record.
    pub(crate) fn record(&mut self, span: (u64, u64), bytes: &[u8]) -> Result<(), Halt> {
        let record = std::str::from_utf8(bytes)
            .map_err(|error| Halt::broken(span.0 + error.valid_up_to() as u64, "not UTF-8"))?;
        if let Err(fault) = self.scratch.read(self.tree, self.fields, record, &mut self.seen) {
            let (tree, fields) = (self.tree, self.fields);
            self.reject_field(span, || describe(&fault, tree, fields, record));
            return Ok(());
        }
        if self.columns.is_empty() {
            self.columns =
                self.schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        }
        for (column, value) in self.columns.iter_mut().zip(&self.scratch.values) {
            column.push(*value, record, &self.scratch.decoded);
        }
        self.ordinals.push(self.next_ordinal);
        self.spans.push(span);
        self.next_ordinal += 1;
        self.batch_bytes += span.1 - span.0;
        if self.ordinals.len() >= BATCH_ROWS_LIMIT || self.batch_bytes >= BATCH_BYTES_LIMIT {
            self.flush()?;
        }
        Ok(())
    }

    /// A record that does not fit as a whole.
    pub(crate) fn reject(&mut self, span: (u64, u64), reason: impl FnOnce() -> String) {
        self.reject_field(span, || (None, reason()));
    }

    fn reject_field(
        &mut self,
        span: (u64, u64),
        describe: impl FnOnce() -> (Option<String>, String),
    ) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.rejected += 1;
        if self.rejects.len() < REJECTS_LIMIT {
            let (field, reason) = describe();
            self.rejects.push(Reject { ordinal, span, field, reason });
        }
    }

    /// Gives the rows gathered so far to the sink.
    pub(crate) fn flush(&mut self) -> Result<(), Halt> {
        if self.ordinals.is_empty() {
            return Ok(());
        }
        let arrays: Result<Vec<ArrayRef>, ArrowError> =
            self.columns.iter_mut().map(Column::finish).collect();
        let stopped = |message: String| Halt::Stopped { message };
        let batch = arrays
            .and_then(|arrays| RecordBatch::try_new(Arc::clone(self.schema), arrays))
            .map_err(|error| stopped(error.to_string()))?;
        let ordinals = std::mem::take(&mut self.ordinals);
        let spans = std::mem::take(&mut self.spans);
        self.batch_bytes = 0;
        let rows = ordinals.len() as u64;
        (self.sink)(ExtractedBatch { batch, ordinals, spans })
            .map_err(|error| stopped(error.message))?;
        self.given += rows;
        Ok(())
    }

    /// Records so far, rejected ones included.
    pub(crate) fn total(&self) -> u64 {
        self.next_ordinal
    }
}
