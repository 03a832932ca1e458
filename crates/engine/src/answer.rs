//! What an attempt makes of its answer: extract, validate, and compare with what the tables have.
//!
//! A request may have asked for many cells: its answer is read once, and each record goes to the
//! cell whose entity it names.

use crate::{
    compiled::Compiled,
    observation::{DataRows, Quarantined, QuarantinedRows},
    sort::{GoodRows, KnownRow, Sorted, SortedOut, Sorting, Strays},
    tables::{DataBatches, DataPart, Provenance, RowId},
    way::{WayError, Ways, spool_failed},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array},
    compute::concat_batches,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use extract::{ExtractedBatch, Extraction, Finding};
use fetch::{Decoded, Fetched};
use jiff::Timestamp;
use lake::{Scan, StagedFile, TableRef};
use model::{AttemptId, CellKey, Outcome};
use state::{CellRow, Evidence};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Rows of a large answer are staged whenever they take this much memory.
const STAGE_BYTES: usize = 32 * 1024 * 1024;
/// How much of a record is kept in quarantine.
const QUARANTINED_RECORD_BYTES: u64 = 64 * 1024;

/// What an attempt made of its answer.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) unchanged: bool,
    pub(crate) records: u64,
    pub(crate) records_hash: Option<[u8; 16]>,
    pub(crate) data: DataRows,
    pub(crate) quarantined: QuarantinedRows,
}

impl Made {
    fn of_nothing() -> Self {
        Self {
            outcome: Outcome::Skipped,
            detail: String::new(),
            unchanged: false,
            records: 0,
            records_hash: None,
            data: DataRows::default(),
            quarantined: QuarantinedRows::default(),
        }
    }
}

/// One cell of an attempt.
pub(crate) struct Walk<'a> {
    pub(crate) ways: &'a Ways,
    pub(crate) compiled: &'a Arc<Compiled>,
    pub(crate) attempt: AttemptId,
    pub(crate) cell: &'a CellKey,
    /// What is known of the cell, if anything.
    pub(crate) prior: Option<&'a CellRow>,
    pub(crate) period: &'a str,
    pub(crate) observed_at: Timestamp,
    pub(crate) kept: &'a Option<Evidence>,
}

/// An answer that was judged without looking at a body.
pub(crate) async fn without_body(
    walks: &[Walk<'_>],
    outcome: Outcome,
    detail: &str,
) -> Result<Vec<Made>, WayError> {
    let mut made = Vec::with_capacity(walks.len());
    for walk in walks {
        made.push(walk.without_records(outcome, detail.to_owned()).await?);
    }
    Ok(made)
}

/// An answer with a body: what it says of each cell that was asked for.
pub(crate) async fn with_body(
    walks: &[Walk<'_>],
    fetched: &Fetched,
) -> Result<Vec<Made>, WayError> {
    let Some(first) = walks.first() else { return Ok(Vec::new()) };
    let same: Vec<Made> = walks.iter().filter_map(Walk::the_same_bytes).collect();
    if same.len() == walks.len() {
        return Ok(same);
    }
    let decoded = match fetch::decode(&fetched.body, &fetched.headers, &first.compiled.limits) {
        Ok(decoded) => decoded,
        Err(error) => return without_body(walks, Outcome::Partial, &error.to_string()).await,
    };
    if matches!(decoded, Decoded::File(_)) {
        return Box::pin(with_large_body(walks, decoded)).await;
    }
    let Decoded::Memory(body) = &decoded else { return Ok(Vec::new()) };
    let mut sorting = Sorting::new(walks, walks.iter().map(|_| None).collect());
    let extraction = first.compiled.extractor.extract_slice(body, &mut |batch| {
        sorting.take(batch, &decoded);
        Ok(())
    });
    conclude(walks, &extraction, sorting.finish(), &decoded).await
}

/// The same for a body that does not fit into memory: extraction runs beside, rows are staged as
/// they come.
async fn with_large_body(walks: &[Walk<'_>], decoded: Decoded) -> Result<Vec<Made>, WayError> {
    let Some(first) = walks.first() else { return Ok(Vec::new()) };
    let compiled = Arc::clone(first.compiled);
    let decoded = Arc::new(decoded);
    let beside = Arc::clone(&decoded);
    let (sender, mut batches) = tokio::sync::mpsc::channel::<ExtractedBatch>(4);
    let extraction = tokio::task::spawn_blocking(move || {
        let mut reader = beside.reader()?;
        Ok::<_, std::io::Error>(compiled.extractor.extract_reader(&mut reader, &mut |batch| {
            sender
                .blocking_send(batch)
                .map_err(|_| extract::SinkError::new("the engine stopped listening"))
        }))
    });
    let mut known = Vec::with_capacity(walks.len());
    for walk in walks {
        let has_records = walk.prior_with_records().is_some();
        known.push(if has_records { Some(walk.known_rows().await?) } else { None });
    }
    let mut sorting = Sorting::new(walks, known);
    let mut staged: Vec<Vec<StagedFile>> = walks.iter().map(|_| Vec::new()).collect();
    while let Some(batch) = batches.recv().await {
        sorting.take(batch, &decoded);
        while sorting.held_bytes() >= STAGE_BYTES {
            let (index, rows) = sorting.drain_largest();
            staged[index].extend(walks[index].stage(rows).await?);
        }
    }
    let extraction =
        extraction.await.map_err(|error| crate::EngineError::Task(error.to_string()))?;
    let spool = &first.compiled.limits.spool_dir;
    let extraction = extraction.map_err(|error| spool_failed(spool, error))?;
    let mut made = conclude(walks, &extraction, sorting.finish(), &decoded).await?;
    for ((made, staged), walk) in made.iter_mut().zip(staged).zip(walks) {
        if made.outcome == Outcome::Ok && !made.unchanged {
            let source = &walk.compiled.source;
            made.data.table = Some((source.table.clone(), Arc::clone(&walk.compiled.schema)));
            made.data.staged = staged;
        }
    }
    Ok(made)
}

/// From what was extracted and sorted to an outcome of each cell.
async fn conclude(
    walks: &[Walk<'_>],
    extraction: &Extraction,
    sorted: SortedOut,
    decoded: &Decoded,
) -> Result<Vec<Made>, WayError> {
    let SortedOut { cells, strays } = sorted;
    let Extraction { records, rejected, rejects, .. } = extraction;
    let mut unread = QuarantinedRows::default();
    for reject in rejects {
        unread.push(Quarantined {
            ordinal: reject.ordinal,
            check: "extract".to_owned(),
            reason: reject.reason.clone(),
            record: read_span(decoded, reject.span),
        });
    }
    unread.total += rejected - rejects.len() as u64;
    let is_for_many = walks.len() > 1;
    let mut made = Vec::with_capacity(walks.len());
    for (walk, mut cell) in walks.iter().zip(cells) {
        if !is_for_many {
            cell.quarantined.join(std::mem::take(&mut unread));
        }
        let found = match &extraction.finding {
            Finding::Broken { at, message } => {
                cell.quarantined = QuarantinedRows::default();
                Some((Outcome::ParseError, format!("{message}, at byte {at}")))
            }
            Finding::EmptyUnproven { found } => {
                cell.quarantined = QuarantinedRows::default();
                Some((Outcome::EmptyUnproven, found.clone()))
            }
            Finding::EmptyProven { proof } => {
                made.push(walk.without_records(Outcome::EmptyProven, proof.clone()).await?);
                continue;
            }
            Finding::Stopped { message, .. } => {
                return Err(crate::EngineError::Task(message.clone()));
            }
            Finding::Records if *records == 0 => {
                let reason =
                    rejects.first().map_or("no reason kept", |reject| reject.reason.as_str());
                let detail = format!("none of {rejected} records could be read: {reason}");
                Some((Outcome::ParseError, detail))
            }
            Finding::Records if is_for_many && cell.is_empty() => {
                Some(walk.not_named(extraction, &strays))
            }
            Finding::Records => None,
        };
        made.push(match found {
            None => walk.with_records(cell, &extraction.fields_never_found).await?,
            Some((outcome, detail)) => Made {
                quarantined: cell.quarantined,
                ..walk.without_records(outcome, detail).await?
            },
        });
    }
    // Whose record it is that cannot be read is not known: it stands with the first cell.
    if let (Some(first), Finding::Records) = (made.first_mut(), &extraction.finding) {
        first.quarantined.join(unread);
    }
    Ok(made)
}

impl Walk<'_> {
    /// Whether the cell's records are in the table.
    fn prior_with_records(&self) -> Option<&CellRow> {
        self.prior.filter(|row| row.state == model::CellState::Present && row.records > 0)
    }

    /// What the bytes say that were there already at the last look.
    fn the_same_bytes(&self) -> Option<Made> {
        let (row, kept) = (self.prior_with_records()?, self.kept.as_ref()?);
        let same = row.evidence.as_ref().is_some_and(|evidence| {
            evidence.digest == kept.digest && evidence.source_version == kept.source_version
        });
        same.then(|| Made {
            outcome: Outcome::Ok,
            detail: "the same bytes as before".to_owned(),
            unchanged: true,
            records: row.records,
            records_hash: row.records_hash,
            ..Made::of_nothing()
        })
    }

    /// A cell that was asked for with others, and that no record names.
    fn not_named(&self, extraction: &Extraction, strays: &Strays) -> (Outcome, String) {
        let Extraction { records, rejected, .. } = extraction;
        if strays.total == *records {
            let names = strays.shown.join("`, `");
            let detail = format!(
                "{records} records, and none names an entity that was asked for: `{names}`"
            );
            return (Outcome::ParseError, detail);
        }
        if *rejected > 0 {
            let detail =
                format!("no record names it, and {rejected} of the answer could not be read");
            return (Outcome::EmptyUnproven, detail);
        }
        let detail = format!("none of the answer's {records} records names it");
        // A server may cut its list: what was there is not gone because one list leaves it out.
        match self.prior_with_records() {
            Some(_) => (Outcome::EmptyUnproven, detail),
            None => (Outcome::EmptyProven, detail),
        }
    }

    async fn stage(&self, rows: Vec<GoodRows>) -> Result<Vec<StagedFile>, WayError> {
        let table = TableRef::Data(self.compiled.source.table.clone());
        let batches = self.attach(rows)?;
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        self.ways.lake.ensure(&table, Arc::clone(&self.compiled.schema)).await?;
        Ok(self.ways.lake.stage(&table, batches).await?)
    }

    /// An answer that was judged without looking at a body.
    async fn without_records(&self, outcome: Outcome, detail: String) -> Result<Made, WayError> {
        let made = Made { outcome, detail, ..Made::of_nothing() };
        match (outcome, self.prior_with_records()) {
            (Outcome::NotModified, Some(row)) => Ok(Made {
                detail: "not modified: the archived records still hold".to_owned(),
                unchanged: true,
                records: row.records,
                records_hash: row.records_hash,
                ..made
            }),
            // Validators are kept of complete observations only, and this one had no records: its
            // emptiness was proven, and holds still.
            (Outcome::NotModified, None) => {
                let detail = "not modified: the archived answer, proven empty, still holds";
                Ok(Made {
                    outcome: Outcome::EmptyProven,
                    detail: detail.to_owned(),
                    unchanged: true,
                    ..made
                })
            }
            (Outcome::EmptyProven, Some(_)) => Box::pin(self.withdraw(made)).await,
            _ => Ok(made),
        }
    }

    /// A complete, empty answer where there were records: each gets a tombstone.
    async fn withdraw(&self, made: Made) -> Result<Made, WayError> {
        let known = Box::pin(self.known_rows()).await?;
        let data = self.finish_rows(Vec::new(), &known.into_values().collect::<Vec<_>>())?;
        Ok(Made { data, records_hash: None, ..made })
    }

    /// Records that name this cell, or that only this cell was asked for.
    async fn with_records(
        &self,
        sorted: Sorted,
        fields_never_found: &[String],
    ) -> Result<Made, WayError> {
        let Sorted { rows, known, good, records_hash, mut quarantined } = sorted;
        if let Some(reason) = self.compiled.validator.count(good + quarantined.total) {
            let detail = format!("{reason}; all of its records are held in quarantine");
            for row in &rows {
                row.describe(&mut quarantined, &reason);
            }
            return Ok(Made {
                outcome: Outcome::Invalid,
                detail,
                quarantined,
                ..Made::of_nothing()
            });
        }
        if good == 0 {
            let reason = quarantined.rows.first().map_or("", |row| row.reason.as_str());
            let detail = format!("none of {} records passed: {reason}", quarantined.total);
            return Ok(Made {
                outcome: Outcome::Invalid,
                detail,
                quarantined,
                ..Made::of_nothing()
            });
        }
        let mut detail = if quarantined.total > 0 {
            format!("{good} records, {} in quarantine", quarantined.total)
        } else {
            format!("{good} records")
        };
        if !fields_never_found.is_empty() {
            detail.push_str("; in no record: ");
            detail.push_str(&fields_never_found.join(", "));
        }
        let prior_hash = self.prior_with_records().and_then(|row| row.records_hash);
        if prior_hash.is_some() && prior_hash == Some(records_hash) {
            let made = Made {
                outcome: Outcome::Ok,
                unchanged: true,
                records: good,
                quarantined,
                ..Made::of_nothing()
            };
            return Ok(Made {
                detail: format!("{detail}, unchanged"),
                records_hash: prior_hash,
                ..made
            });
        }
        let known = match known {
            Some(known) => Some(known),
            None if self.prior_with_records().is_some() => Some(Box::pin(self.known_rows()).await?),
            None => None,
        };
        let data = self.changed_rows(rows, known)?;
        Ok(Made {
            outcome: Outcome::Ok,
            detail,
            unchanged: false,
            records: good,
            records_hash: Some(records_hash),
            data,
            quarantined,
        })
    }

    /// Leaves out rows that the table has already, adds tombstones for those it has and the
    /// answer has not.
    fn changed_rows(
        &self,
        rows: Vec<GoodRows>,
        known: Option<BTreeMap<[u8; 16], KnownRow>>,
    ) -> Result<DataRows, WayError> {
        let Some(mut known) = known else { return self.finish_rows(rows, &[]) };
        let rows = rows.into_iter().map(|rows| rows.without(&mut known)).collect();
        let gone: Vec<KnownRow> = known.into_values().filter(|row| !row.seen).collect();
        self.finish_rows(rows, &gone)
    }

    fn finish_rows(&self, rows: Vec<GoodRows>, gone: &[KnownRow]) -> Result<DataRows, WayError> {
        let mut parts = self.parts(rows);
        if !gone.is_empty() {
            parts.push(self.tombstones(gone)?);
        }
        if parts.is_empty() {
            return Ok(DataRows::default());
        }
        let table = Some((self.compiled.source.table.clone(), Arc::clone(&self.compiled.schema)));
        Ok(DataRows { table, parts, staged: Vec::new() })
    }

    /// Rows as they go into the table.
    fn attach(&self, rows: Vec<GoodRows>) -> Result<Vec<RecordBatch>, WayError> {
        let provenance = Provenance {
            entity: self.cell.entity.as_str(),
            period: self.period,
            observed_at: self.observed_at,
            source_version: &self.compiled.source.version.0,
            attempt: self.attempt,
            response_digest: self.kept.as_ref().map(|kept| &kept.digest),
        };
        let mut gathered = DataBatches::new(Arc::clone(&self.compiled.schema));
        self.parts(rows).into_iter().for_each(|part| gathered.push(part, &provenance));
        gathered.finish().map_err(|cause| self.rows_failed(cause))
    }

    fn parts(&self, rows: Vec<GoodRows>) -> Vec<DataPart> {
        let kept = rows.into_iter().filter(|rows| rows.batch.num_rows() > 0);
        kept.map(|rows| {
            let ids = rows.keys.iter().zip(&rows.ordinals);
            let id = |(key, &ordinal)| RowId { record_id: self.record_id(key), ordinal };
            DataPart { ids: ids.map(id).collect(), declared: rows.batch, tombstone: false }
        })
        .collect()
    }

    fn record_id(&self, key: &[u8; 16]) -> [u8; 16] {
        let digest = self.kept.as_ref().map(|kept| kept.digest.0).unwrap_or_default();
        self.compiled.record_id(&self.cell.entity, self.cell.period, key, &digest)
    }

    fn rows_failed(&self, cause: arrow::error::ArrowError) -> WayError {
        crate::EngineError::Rows { table: self.compiled.source.table.clone(), cause }
    }

    /// Rows that say "gone": the key's columns as they were, the others null.
    fn tombstones(&self, gone: &[KnownRow]) -> Result<DataPart, WayError> {
        let declared = self.compiled.extractor.schema();
        let key: BTreeSet<&str> =
            self.compiled.source.expect.key.iter().map(String::as_str).collect();
        let parts: Vec<RecordBatch> = gone.iter().map(|row| row.declared.clone()).collect();
        let all = concat_batches(&declared, &parts).map_err(|cause| self.rows_failed(cause))?;
        let columns: Vec<ArrayRef> = declared
            .fields()
            .iter()
            .zip(all.columns())
            .map(|(field, column)| {
                if key.contains(field.name().as_str()) {
                    Arc::clone(column)
                } else {
                    new_null_array(field.data_type(), all.num_rows())
                }
            })
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&declared), columns)
            .map_err(|cause| self.rows_failed(cause))?;
        let id =
            |row: &KnownRow| RowId { record_id: self.record_id(&row.key), ordinal: row.ordinal };
        Ok(DataPart { declared: batch, ids: gone.iter().map(id).collect(), tombstone: true })
    }

    /// The newest row of each key that the table has of this cell, tombstones left out.
    async fn known_rows(&self) -> Result<BTreeMap<[u8; 16], KnownRow>, WayError> {
        let table = TableRef::Data(self.compiled.source.table.clone());
        let equals = vec![
            ("_entity".to_owned(), BTreeSet::from([self.cell.entity.to_string()])),
            ("_period".to_owned(), BTreeSet::from([self.period.to_owned()])),
        ];
        let batches =
            self.ways.lake.scan(&table, Scan { columns: None, equals, row_limit: None }).await?;
        let mut known: BTreeMap<[u8; 16], KnownRow> = BTreeMap::new();
        for batch in &batches {
            for row in self.known_in(batch)? {
                let newest = known.get(&row.key).is_none_or(|other| row.version > other.version);
                if newest {
                    known.insert(row.key, row);
                }
            }
        }
        known.retain(|_, row| !row.tombstone);
        Ok(known)
    }

    fn known_in(&self, batch: &RecordBatch) -> Result<Vec<KnownRow>, WayError> {
        let declared_schema = self.compiled.extractor.schema();
        let columns: Vec<ArrayRef> = declared_schema
            .fields()
            .iter()
            .map(|field| match batch.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), batch.num_rows()),
            })
            .collect();
        let declared = RecordBatch::try_new(declared_schema, columns)
            .map_err(|cause| self.rows_failed(cause))?;
        let missing = || {
            self.rows_failed(arrow::error::ArrowError::SchemaError(
                "a provenance column is missing".into(),
            ))
        };
        let column = |name| batch.column_by_name(name).ok_or_else(missing);
        let observed_at = column("_observed_at")?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(missing)?
            .clone();
        let attempt =
            column("_attempt")?.as_primitive_opt::<Int64Type>().ok_or_else(missing)?.clone();
        let ordinals =
            column("_ordinal")?.as_primitive_opt::<Int64Type>().ok_or_else(missing)?.clone();
        let tombstone = column("_tombstone")?.as_boolean_opt().ok_or_else(missing)?.clone();
        let numbers: Vec<u64> =
            ordinals.iter().map(|ordinal| ordinal.unwrap_or(0).cast_unsigned()).collect();
        let keys = self.compiled.validator.record_keys(
            &declared,
            &numbers,
            self.cell.entity.as_str(),
            self.period,
        );
        let hashes = validate::content_hash(&declared, &all_columns(&declared));
        Ok((0..batch.num_rows())
            .map(|row| KnownRow {
                key: keys[row],
                content: hashes[row],
                ordinal: numbers[row],
                version: (observed_at.value(row), attempt.value(row)),
                tombstone: tombstone.is_valid(row) && tombstone.value(row),
                declared: declared.slice(row, 1),
                seen: false,
            })
            .collect())
    }
}

pub(crate) fn all_columns(batch: &RecordBatch) -> Vec<usize> {
    (0..batch.num_columns()).collect()
}

pub(crate) fn read_span(decoded: &Decoded, (start, end): (u64, u64)) -> String {
    let end = end.min(start + QUARANTINED_RECORD_BYTES);
    decoded
        .slice(start..end)
        .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
