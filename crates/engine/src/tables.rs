//! The columns of data, quarantine and ledger tables, and the rows that go into them.

use crate::observation::{Booked, Observation, Quarantined};
use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch,
        StringBuilder, TimestampMicrosecondBuilder,
    },
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use jiff::Timestamp;
use model::{AttemptId, CellState, Digest, Money, SourceId};
use state::CellRow;
use std::sync::{Arc, LazyLock};

const MONEY: DataType = DataType::Decimal128(18, 6);

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

pub(crate) fn schema_of(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(
        columns
            .iter()
            .map(|(name, kind)| Field::new(*name, kind.clone(), true))
            .collect::<Vec<_>>(),
    ))
}

/// The columns that every record carries, behind its declared fields.
pub(crate) static PROVENANCE: LazyLock<Vec<(&'static str, DataType)>> = LazyLock::new(|| {
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

/// The columns of a quarantine table.
pub fn quarantine_schema() -> SchemaRef {
    schema_of(&[
        ("_entity", DataType::Utf8),
        ("_period", DataType::Utf8),
        ("_observed_at", timestamp_type()),
        ("_source_version", DataType::Utf8),
        ("_attempt", DataType::Int64),
        ("_response_digest", DataType::Utf8),
        ("_ordinal", DataType::Int64),
        ("check", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("record", DataType::Utf8),
    ])
}

/// The columns of `ledger/attempts`: one row an attempt.
pub fn attempts_schema() -> SchemaRef {
    schema_of(&[
        ("source", DataType::Utf8),
        ("entity", DataType::Utf8),
        ("period", DataType::Utf8),
        ("attempt", DataType::Int64),
        ("planned_at", timestamp_type()),
        ("at", timestamp_type()),
        ("priority", DataType::Utf8),
        ("outcome", DataType::Utf8),
        ("detail", DataType::Utf8),
        ("status", DataType::Int32),
        ("url", DataType::Utf8),
        ("redirects", DataType::Int32),
        ("received_bytes", DataType::Int64),
        ("first_byte_ms", DataType::Int64),
        ("elapsed_ms", DataType::Int64),
        ("retry_after_ms", DataType::Int64),
        ("records", DataType::Int64),
        ("quarantined", DataType::Int64),
        ("cost", MONEY),
        ("source_version", DataType::Utf8),
        ("response_digest", DataType::Utf8),
        ("archive", DataType::Utf8),
        ("etag", DataType::Utf8),
        ("last_modified", DataType::Utf8),
        ("request_hash", DataType::Int64),
        ("look", DataType::Utf8),
        ("cells", DataType::Int64),
    ])
}

/// The columns of `ledger/cells`: one row for each change of a cell's state or cause.
pub fn cells_schema() -> SchemaRef {
    schema_of(&[
        ("source", DataType::Utf8),
        ("entity", DataType::Utf8),
        ("period", DataType::Utf8),
        ("at", timestamp_type()),
        ("state", DataType::Utf8),
        ("cause", DataType::Utf8),
        ("family", DataType::Utf8),
        ("verdict", DataType::Utf8),
        ("fate", DataType::Utf8),
        ("outcome", DataType::Utf8),
        ("attempt", DataType::Int64),
        ("looks", DataType::Int64),
        ("records", DataType::Int64),
        ("quarantined", DataType::Int64),
        ("observed_at", timestamp_type()),
        ("next_look_at", timestamp_type()),
        ("records_hash", DataType::Utf8),
    ])
}

pub(crate) fn timestamps(capacity: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone("UTC")
}

fn texts(rows: usize, bytes_each: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows * bytes_each)
}

/// Writes a displayed value without an intermediate text.
fn append_display(builder: &mut StringBuilder, value: impl std::fmt::Display) {
    use std::fmt::Write;
    // Writing into a builder cannot fail; the value is completed by the empty append.
    let _ = write!(builder, "{value}");
    builder.append_value("");
}

/// Rows of one batch in memory. Many of this size are cheaper than one that grows: nothing is copied
/// to make room, and pages are used again.
const CHUNK_ROWS: usize = 1024;

/// Rows under construction.
pub(crate) trait Rows {
    /// No rows yet, with room for a chunk.
    fn new() -> Self;
    /// The rows as one batch.
    fn finish(self) -> Result<RecordBatch, ArrowError>;
}

/// Rows gathered into batches of [`CHUNK_ROWS`].
#[derive(Debug)]
pub(crate) struct Chunks<R> {
    open: Option<R>,
    open_rows: usize,
    full: Vec<Result<RecordBatch, ArrowError>>,
}

impl<R: Rows> Chunks<R> {
    pub(crate) fn new() -> Self {
        Self { open: None, open_rows: 0, full: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.full.is_empty()
    }

    /// Where the next `rows` rows are to be written.
    pub(crate) fn next(&mut self, rows: usize) -> &mut R {
        if self.open_rows >= CHUNK_ROWS {
            self.close();
        }
        self.open_rows += rows;
        self.open.get_or_insert_with(R::new)
    }

    fn close(&mut self) {
        self.full.extend(self.open.take().map(R::finish));
        self.open_rows = 0;
    }

    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.close();
        self.full.into_iter().collect()
    }
}

/// Rows for `ledger/attempts`.
#[derive(Debug)]
pub(crate) struct AttemptRows {
    source: StringBuilder,
    entity: StringBuilder,
    period: StringBuilder,
    attempt: Int64Builder,
    planned_at: TimestampMicrosecondBuilder,
    at: TimestampMicrosecondBuilder,
    priority: StringBuilder,
    outcome: StringBuilder,
    detail: StringBuilder,
    status: Int32Builder,
    url: StringBuilder,
    redirects: Int32Builder,
    received_bytes: Int64Builder,
    first_byte_ms: Int64Builder,
    elapsed_ms: Int64Builder,
    retry_after_ms: Int64Builder,
    records: Int64Builder,
    quarantined: Int64Builder,
    cost: Decimal128Builder,
    source_version: StringBuilder,
    response_digest: StringBuilder,
    archive: StringBuilder,
    etag: StringBuilder,
    last_modified: StringBuilder,
    request_hash: Int64Builder,
    look: StringBuilder,
    cells: Int64Builder,
}

impl AttemptRows {
    pub(crate) fn push(&mut self, observation: &Observation, booked: Booked) {
        let Observation { cell, attempt, facts, .. } = observation;
        self.source.append_value(cell.source.as_str());
        self.entity.append_value(cell.entity.as_str());
        append_display(&mut self.period, cell.period);
        self.attempt.append_value(attempt.0);
        self.planned_at.append_value(observation.planned_at.as_microsecond());
        self.at.append_value(facts.at.as_microsecond());
        self.priority.append_value(observation.priority);
        self.outcome.append_value(observation.outcome.as_str());
        self.detail.append_value(&observation.detail);
        self.status.append_option(facts.status.map(i32::from));
        self.url.append_value(&facts.url);
        self.redirects.append_value(facts.redirects as i32);
        self.received_bytes.append_value(facts.received_bytes as i64);
        self.first_byte_ms.append_option(facts.first_byte.map(|wait| wait.as_millis() as i64));
        self.elapsed_ms.append_value(facts.elapsed.as_millis() as i64);
        self.retry_after_ms
            .append_option(observation.retry_after.map(|wait| wait.as_millis() as i64));
        self.records.append_value(booked.records as i64);
        self.quarantined.append_value(booked.quarantined as i64);
        self.cost.append_value(i128::from(observation.cost.micros));
        self.source_version.append_value(&*observation.source_version.0);
        match &observation.evidence {
            Some(evidence) => {
                append_display(&mut self.response_digest, evidence.digest);
                self.archive.append_value(&evidence.archive);
                self.etag.append_option(evidence.validators.etag.as_deref());
                self.last_modified.append_option(evidence.validators.last_modified.as_deref());
                self.request_hash.append_value(evidence.request_hash.cast_signed());
            }
            None => {
                self.response_digest.append_null();
                self.archive.append_null();
                self.etag.append_null();
                self.last_modified.append_null();
                self.request_hash.append_null();
            }
        }
        self.look.append_option(observation.look.map(model::LookKind::as_str));
        self.cells.append_value(i64::from(booked.cells));
    }
}

impl Rows for AttemptRows {
    fn new() -> Self {
        Self {
            source: texts(CHUNK_ROWS, 16),
            entity: texts(CHUNK_ROWS, 8),
            period: texts(CHUNK_ROWS, 10),
            attempt: Int64Builder::with_capacity(CHUNK_ROWS),
            planned_at: timestamps(CHUNK_ROWS),
            at: timestamps(CHUNK_ROWS),
            priority: texts(CHUNK_ROWS, 8),
            outcome: texts(CHUNK_ROWS, 12),
            detail: texts(CHUNK_ROWS, 16),
            status: Int32Builder::with_capacity(CHUNK_ROWS),
            url: texts(CHUNK_ROWS, 64),
            redirects: Int32Builder::with_capacity(CHUNK_ROWS),
            received_bytes: Int64Builder::with_capacity(CHUNK_ROWS),
            first_byte_ms: Int64Builder::with_capacity(CHUNK_ROWS),
            elapsed_ms: Int64Builder::with_capacity(CHUNK_ROWS),
            retry_after_ms: Int64Builder::with_capacity(CHUNK_ROWS),
            records: Int64Builder::with_capacity(CHUNK_ROWS),
            quarantined: Int64Builder::with_capacity(CHUNK_ROWS),
            cost: Decimal128Builder::with_capacity(CHUNK_ROWS).with_data_type(MONEY),
            source_version: texts(CHUNK_ROWS, 16),
            response_digest: texts(CHUNK_ROWS, 71),
            archive: texts(CHUNK_ROWS, 48),
            etag: texts(CHUNK_ROWS, 16),
            last_modified: texts(CHUNK_ROWS, 0),
            request_hash: Int64Builder::with_capacity(CHUNK_ROWS),
            look: texts(CHUNK_ROWS, 4),
            cells: Int64Builder::with_capacity(CHUNK_ROWS),
        }
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.entity.finish()),
            Arc::new(self.period.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.planned_at.finish()),
            Arc::new(self.at.finish()),
            Arc::new(self.priority.finish()),
            Arc::new(self.outcome.finish()),
            Arc::new(self.detail.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.url.finish()),
            Arc::new(self.redirects.finish()),
            Arc::new(self.received_bytes.finish()),
            Arc::new(self.first_byte_ms.finish()),
            Arc::new(self.elapsed_ms.finish()),
            Arc::new(self.retry_after_ms.finish()),
            Arc::new(self.records.finish()),
            Arc::new(self.quarantined.finish()),
            Arc::new(self.cost.finish()),
            Arc::new(self.source_version.finish()),
            Arc::new(self.response_digest.finish()),
            Arc::new(self.archive.finish()),
            Arc::new(self.etag.finish()),
            Arc::new(self.last_modified.finish()),
            Arc::new(self.request_hash.finish()),
            Arc::new(self.look.finish()),
            Arc::new(self.cells.finish()),
        ];
        RecordBatch::try_new(attempts_schema(), columns)
    }
}

/// Rows for `ledger/cells`.
#[derive(Debug)]
pub(crate) struct CellRows {
    source: StringBuilder,
    entity: StringBuilder,
    period: StringBuilder,
    at: TimestampMicrosecondBuilder,
    state: StringBuilder,
    cause: StringBuilder,
    family: StringBuilder,
    verdict: StringBuilder,
    fate: StringBuilder,
    outcome: StringBuilder,
    attempt: Int64Builder,
    looks: Int64Builder,
    records: Int64Builder,
    quarantined: Int64Builder,
    observed_at: TimestampMicrosecondBuilder,
    next_look_at: TimestampMicrosecondBuilder,
    records_hash: StringBuilder,
}

impl CellRows {
    pub(crate) fn push(&mut self, source: &SourceId, row: &CellRow, cost: Money) {
        self.source.append_value(source.as_str());
        self.entity.append_value(row.entity.as_str());
        append_display(&mut self.period, row.period);
        self.at.append_value(row.updated_at.as_microsecond());
        self.state.append_value(row.state.as_str());
        let cause = state_cause(row.state);
        self.cause.append_option(cause.map(model::Cause::as_str));
        self.family.append_option(cause.map(|cause| cause.family().as_str()));
        self.verdict
            .append_option(cause.map(|cause| cause.verdict(row.state.is_settled()).as_str()));
        self.fate.append_option(cause.map(|cause| model::Fate::of_cause(cause, cost).as_str()));
        self.outcome.append_option(row.outcome.map(model::Outcome::as_str));
        self.attempt.append_value(row.last_attempt.0);
        self.looks.append_value(i64::from(row.looks));
        self.records.append_value(row.records as i64);
        self.quarantined.append_value(row.quarantined as i64);
        self.observed_at.append_option(row.observed_at.map(Timestamp::as_microsecond));
        self.next_look_at.append_option(row.next_look_at.map(Timestamp::as_microsecond));
        match row.records_hash {
            Some(hash) => append_display(&mut self.records_hash, Hex(&hash)),
            None => self.records_hash.append_null(),
        }
    }
}

impl Rows for CellRows {
    fn new() -> Self {
        Self {
            source: texts(CHUNK_ROWS, 16),
            entity: texts(CHUNK_ROWS, 8),
            period: texts(CHUNK_ROWS, 10),
            at: timestamps(CHUNK_ROWS),
            state: texts(CHUNK_ROWS, 8),
            cause: texts(CHUNK_ROWS, 12),
            family: texts(CHUNK_ROWS, 12),
            verdict: texts(CHUNK_ROWS, 12),
            fate: texts(CHUNK_ROWS, 12),
            outcome: texts(CHUNK_ROWS, 12),
            attempt: Int64Builder::with_capacity(CHUNK_ROWS),
            looks: Int64Builder::with_capacity(CHUNK_ROWS),
            records: Int64Builder::with_capacity(CHUNK_ROWS),
            quarantined: Int64Builder::with_capacity(CHUNK_ROWS),
            observed_at: timestamps(CHUNK_ROWS),
            next_look_at: timestamps(CHUNK_ROWS),
            records_hash: texts(CHUNK_ROWS, 32),
        }
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.entity.finish()),
            Arc::new(self.period.finish()),
            Arc::new(self.at.finish()),
            Arc::new(self.state.finish()),
            Arc::new(self.cause.finish()),
            Arc::new(self.family.finish()),
            Arc::new(self.verdict.finish()),
            Arc::new(self.fate.finish()),
            Arc::new(self.outcome.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.looks.finish()),
            Arc::new(self.records.finish()),
            Arc::new(self.quarantined.finish()),
            Arc::new(self.observed_at.finish()),
            Arc::new(self.next_look_at.finish()),
            Arc::new(self.records_hash.finish()),
        ];
        RecordBatch::try_new(cells_schema(), columns)
    }
}

/// The cause shown with a state: its own, or for a waiting cell that of its last outcome.
pub(crate) fn state_cause(state: CellState) -> Option<model::Cause> {
    match state {
        CellState::Absent { cause } | CellState::GivenUp { cause } => Some(cause),
        CellState::Waiting { last_outcome, .. } => Some(account::waiting_cause(last_outcome)),
        CellState::Held => Some(model::Cause::Quarantined),
        CellState::NotDue => Some(model::Cause::NotDue),
        CellState::Due => Some(model::Cause::NotAttempted),
        CellState::Present => None,
    }
}

/// Rows for a quarantine table.
#[derive(Debug)]
pub(crate) struct QuarantineRows {
    entity: StringBuilder,
    period: StringBuilder,
    observed_at: TimestampMicrosecondBuilder,
    source_version: StringBuilder,
    attempt: Int64Builder,
    response_digest: StringBuilder,
    ordinal: Int64Builder,
    check: StringBuilder,
    reason: StringBuilder,
    record: StringBuilder,
}

impl QuarantineRows {
    pub(crate) fn new() -> Self {
        Self {
            entity: StringBuilder::new(),
            period: StringBuilder::new(),
            observed_at: timestamps(0),
            source_version: StringBuilder::new(),
            attempt: Int64Builder::new(),
            response_digest: StringBuilder::new(),
            ordinal: Int64Builder::new(),
            check: StringBuilder::new(),
            reason: StringBuilder::new(),
            record: StringBuilder::new(),
        }
    }

    pub(crate) fn push(&mut self, observation: &Observation, quarantined: &Quarantined) {
        self.entity.append_value(observation.cell.entity.as_str());
        append_display(&mut self.period, observation.cell.period);
        self.observed_at.append_value(observation.observed_at.as_microsecond());
        self.source_version.append_value(&*observation.source_version.0);
        self.attempt.append_value(observation.attempt.0);
        match &observation.evidence {
            Some(evidence) => append_display(&mut self.response_digest, evidence.digest),
            None => self.response_digest.append_null(),
        }
        self.ordinal.append_value(quarantined.ordinal as i64);
        self.check.append_value(&quarantined.check);
        self.reason.append_value(&quarantined.reason);
        self.record.append_value(&quarantined.record);
    }

    pub(crate) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.entity.finish()),
            Arc::new(self.period.finish()),
            Arc::new(self.observed_at.finish()),
            Arc::new(self.source_version.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.response_digest.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.check.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.record.finish()),
        ];
        RecordBatch::try_new(quarantine_schema(), columns)
    }
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
                Some(digest) => append_display(&mut self.response_digest, digest),
                None => self.response_digest.append_value(""),
            }
            append_display(&mut self.record_id, Hex(&row.record_id));
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

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 64];
        let mut length = 0;
        for byte in self.0.iter().take(32) {
            text[length] = DIGITS[usize::from(byte >> 4)];
            text[length + 1] = DIGITS[usize::from(byte & 15)];
            length += 2;
        }
        f.write_str(std::str::from_utf8(&text[..length]).unwrap_or_default())
    }
}
