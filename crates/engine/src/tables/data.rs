//! The columns of data tables, and the rows that go into them.

use super::columns::{CHUNK_ROWS, append_hexadecimal, texts, timestamp_type, timestamps};
use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use jiff::Timestamp;
use model::{AttemptId, Digest};
use std::sync::{Arc, LazyLock};

/// The columns that every record carries, behind its declared fields.
static PROVENANCE: LazyLock<Vec<(&'static str, DataType)>> = LazyLock::new(|| {
    vec![
        ("_entity", DataType::Utf8),
        ("_period", DataType::Utf8),
        ("_observed_at", timestamp_type()),
        ("_source_version", DataType::Utf8),
        ("_attempt", DataType::Int64),
        ("_response_digest", DataType::Utf8),
        ("_record_id", DataType::Utf8),
        ("_ordinal", DataType::Int64),
        ("_tombstone", DataType::Boolean),
    ]
});

/// The columns of a data table: the declared fields, then the provenance.
pub fn data_schema(declared: &Schema) -> SchemaRef {
    let provenance =
        PROVENANCE.iter().map(|(name, kind)| Arc::new(Field::new(*name, kind.clone(), true)));
    Arc::new(Schema::new(declared.fields().iter().cloned().chain(provenance).collect::<Vec<_>>()))
}

/// What every record of one observation carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provenance<'a> {
    pub(crate) entity: &'a str,
    pub(crate) period: &'a str,
    pub(crate) observed_at: Timestamp,
    pub(crate) source_version: &'a str,
    pub(crate) attempt: AttemptId,
    pub(crate) response_digest: Option<&'a Digest>,
}

/// Records of one observation, without what they all carry.
#[derive(Debug)]
pub(crate) struct DataPart {
    /// The declared columns.
    pub(crate) declared: RecordBatch,
    /// One a row.
    pub(crate) ids: Vec<RowId>,
    /// Whether the rows say "gone".
    pub(crate) tombstone: bool,
}

impl DataPart {
    /// Bytes it holds in memory, and those that what it carries will take, roughly.
    pub(crate) fn held_bytes(&self) -> usize {
        const CARRIED_BYTES: usize = 256;
        self.declared.get_array_memory_size() + self.ids.len() * CARRIED_BYTES
    }
}

/// Rows for a data table.
///
/// Most answers have one record: what all records carry is not put to each by itself, but to a
/// thousand at once.
#[derive(Debug)]
pub(crate) struct DataBatches {
    schema: SchemaRef,
    declared: Vec<RecordBatch>,
    provenance: ProvenanceRows,
    rows: usize,
    full: Vec<Result<RecordBatch, ArrowError>>,
}

impl DataBatches {
    /// For the schema of a data table.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            declared: Vec::new(),
            provenance: ProvenanceRows::new(0),
            rows: 0,
            full: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, part: DataPart, provenance: &Provenance<'_>) {
        if self.rows == 0 {
            self.provenance = ProvenanceRows::new(part.ids.len());
        }
        self.rows += part.ids.len();
        self.provenance.push(&part.ids, part.tombstone, provenance);
        self.declared.push(part.declared);
        if self.rows >= CHUNK_ROWS {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.rows == 0 {
            return;
        }
        self.rows = 0;
        let provenance = std::mem::replace(&mut self.provenance, ProvenanceRows::new(0));
        let declared = self.joined();
        self.full.push(declared.and_then(|declared| {
            let mut columns = declared.columns().to_vec();
            columns.extend(provenance.finish());
            RecordBatch::try_new(Arc::clone(&self.schema), columns)
        }));
    }

    /// The declared columns of all parts.
    fn joined(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut parts = std::mem::take(&mut self.declared);
        if parts.len() == 1 {
            return Ok(parts.swap_remove(0));
        }
        let schema = parts.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        concat_batches(&schema, &parts)
    }

    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.close();
        self.full.into_iter().collect()
    }
}

/// The columns of [`PROVENANCE`] in their order.
#[derive(Debug)]
struct ProvenanceRows {
    entity: StringBuilder,
    period: StringBuilder,
    observed_at: TimestampMicrosecondBuilder,
    source_version: StringBuilder,
    attempt: Int64Builder,
    response_digest: StringBuilder,
    record_id: StringBuilder,
    ordinal: Int64Builder,
    tombstone: BooleanBuilder,
}

impl ProvenanceRows {
    /// With room for a chunk that begins with a part of `rows` rows; for none, without room.
    fn new(rows: usize) -> Self {
        let rows = if rows == 0 { 0 } else { rows.max(CHUNK_ROWS) };
        Self {
            entity: texts(rows, 8),
            period: texts(rows, 10),
            observed_at: timestamps(rows),
            source_version: texts(rows, 16),
            attempt: Int64Builder::with_capacity(rows),
            response_digest: texts(rows, 71),
            record_id: texts(rows, 32),
            ordinal: Int64Builder::with_capacity(rows),
            tombstone: BooleanBuilder::with_capacity(rows),
        }
    }

    fn push(&mut self, ids: &[RowId], tombstone: bool, provenance: &Provenance<'_>) {
        let count = ids.len();
        for row in ids {
            self.entity.append_value(provenance.entity);
            self.period.append_value(provenance.period);
            self.source_version.append_value(provenance.source_version);
            match provenance.response_digest {
                Some(digest) => self.response_digest.append_value(digest.text().as_str()),
                None => self.response_digest.append_value(""),
            }
            append_hexadecimal(&mut self.record_id, &row.record_id);
            self.ordinal.append_value(row.ordinal as i64);
        }
        self.observed_at.append_value_n(provenance.observed_at.as_microsecond(), count);
        self.attempt.append_value_n(provenance.attempt.0, count);
        self.tombstone.append_n(count, tombstone);
    }

    fn finish(mut self) -> [ArrayRef; 9] {
        [
            Arc::new(self.entity.finish()),
            Arc::new(self.period.finish()),
            Arc::new(self.observed_at.finish()),
            Arc::new(self.source_version.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.response_digest.finish()),
            Arc::new(self.record_id.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.tombstone.finish()),
        ]
    }
}

/// What tells one row from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowId {
    pub(crate) record_id: [u8; 16],
    pub(crate) ordinal: u64,
}
