//! State from the ledger tables, for when the state file is lost.
//!
//! What only the state knew is gone: pauses, wishes for backfills, budgets reserved and never sent.
//! What the tables know comes back: each cell's state and evidence, what was spent on which day,
//! from where attempts are numbered on, and what is to be learned from arrivals.

use crate::{EngineError, relearn::relearn};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Decimal128Type, Int64Type, TimestampMicrosecondType},
};
use futures::future::BoxFuture;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use lake::{Lake, LedgerTable, Scan, TableRef};
use model::{
    AttemptId, Cause, CellState, Entity, LateFrom, LookKind, Money, Outcome, Period, SourceId,
    SourceVersion, Validators,
};
use source::Source;
use state::{CellRow, Evidence, LookRow, Rebuilt, SourceRow, SpendRow};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type CellId = (SourceId, Entity, Period);

/// What the ledger tables say the state must be. `now` stamps the sources' rows.
pub fn rebuild<'a>(
    lake: &'a dyn Lake,
    sources: &'a [Source],
    now: Timestamp,
) -> BoxFuture<'a, Result<Rebuilt, EngineError>> {
    Box::pin(async move {
        let mut books = Books::default();
        let attempts = read_grown(lake, LedgerTable::Attempts, ATTEMPT_COLUMNS, &["look"]).await?;
        attempts.iter().try_for_each(|batch| books.take_attempts(batch))?;
        let cells = read_grown(lake, LedgerTable::Cells, CELL_COLUMNS, LATE_COLUMNS).await?;
        cells.iter().try_for_each(|batch| books.take_cells(batch))?;
        for source in sources {
            let rows = read(lake, TableRef::Data(source.table.clone()), DATA_COLUMNS).await?;
            rows.iter().try_for_each(|batch| books.take_records(source, batch))?;
        }
        let mut rebuilt = books.close(sources, now);
        rebuilt.schedules = relearn(lake, sources, &rebuilt.sources, now).await?;
        Ok(rebuilt)
    })
}

const ATTEMPT_COLUMNS: &[&str] = &[
    "source",
    "entity",
    "period",
    "attempt",
    "planned_at",
    "at",
    "outcome",
    "cost",
    "source_version",
    "response_digest",
    "archive",
    "etag",
    "last_modified",
    "request_hash",
];
const CELL_COLUMNS: &[&str] = &[
    "source",
    "entity",
    "period",
    "at",
    "state",
    "cause",
    "outcome",
    "attempt",
    "records",
    "quarantined",
    "observed_at",
    "next_look_at",
    "records_hash",
];
/// The first books had none of these.
const LATE_COLUMNS: &[&str] = &["late_watch_at", "overdue_at"];
const DATA_COLUMNS: &[&str] = &["_entity", "_period", "_attempt", "_observed_at", "_tombstone"];

/// A table with the columns it was given later, as far as a program has written it since.
async fn read_grown(
    lake: &dyn Lake,
    table: LedgerTable,
    columns: &[&str],
    later: &[&str],
) -> Result<Vec<RecordBatch>, EngineError> {
    let all: Vec<&str> = columns.iter().chain(later).copied().collect();
    match read(lake, TableRef::Ledger(table), &all).await {
        Err(EngineError::Lake(lake::LakeError::UnknownColumn { .. })) => {
            read(lake, TableRef::Ledger(table), columns).await
        }
        result => result,
    }
}

pub(crate) async fn read(
    lake: &dyn Lake,
    table: TableRef,
    columns: &[&str],
) -> Result<Vec<RecordBatch>, EngineError> {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    Ok(lake.scan(&table, Scan { columns: Some(columns), ..Scan::default() }).await?)
}

#[derive(Debug, Default)]
struct Books {
    attempts: BTreeSet<i64>,
    looks: BTreeMap<CellId, Looks>,
    cells: BTreeMap<CellId, CellRow>,
    records: BTreeMap<CellId, (i64, Timestamp, u64)>,
    spend: BTreeMap<(SourceId, Date), (u64, Money)>,
    period_spend: BTreeMap<(SourceId, Period), Money>,
    observed_at_max: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Looks {
    count: u32,
    failures: u32,
    complete: bool,
    last: i64,
    last_at: Option<Timestamp>,
    without_at: Option<Timestamp>,
    without_paid_at: Option<Timestamp>,
    evidence: Option<(i64, Evidence)>,
}

impl Looks {
    /// A cheap look is no evidence of a cell, only of when it was looked at.
    fn take_cheap(
        &mut self,
        attempt: i64,
        look: Option<LookKind>,
        outcome: Outcome,
        sent_at: Option<Timestamp>,
    ) {
        self.count += 1;
        self.last = self.last.max(attempt);
        self.last_at = self.last_at.max(sent_at);
        // A page says in a word that it was read, and not what it says of this cell.
        if look == Some(LookKind::Head) && outcome == Outcome::EmptyUnproven {
            self.without_at = self.without_at.max(sent_at);
        }
    }

    fn row(&self, cell: &CellId) -> Option<LookRow> {
        Some(LookRow {
            entity: cell.1.clone(),
            period: cell.2,
            looks: self.count,
            last_at: self.last_at?,
            without_at: self.without_at,
            without_paid_at: self.without_paid_at,
            seen_at: None,
            seen_by: None,
            validators: Validators::default(),
        })
    }
}

/// Readers of one batch's columns.
pub(crate) struct Columns<'a>(pub(crate) &'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str) -> Result<&dyn Array, EngineError> {
        self.0
            .column_by_name(name)
            .map(AsRef::as_ref)
            .ok_or_else(|| EngineError::Task(format!("a ledger table lacks the column `{name}`")))
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<&str>, EngineError> {
        let column = self.column(name)?;
        let texts = column.as_string_opt::<i32>().ok_or_else(|| wrong(name, column.data_type()))?;
        Ok(texts.is_valid(row).then(|| texts.value(row)))
    }

    fn number(&self, name: &str, row: usize) -> Result<i64, EngineError> {
        let column = self.column(name)?;
        let numbers = column
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| wrong(name, column.data_type()))?;
        Ok(if numbers.is_valid(row) { numbers.value(row) } else { 0 })
    }

    pub(crate) fn time(&self, name: &str, row: usize) -> Result<Option<Timestamp>, EngineError> {
        let column = self.column(name)?;
        let times = column
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| wrong(name, column.data_type()))?;
        Ok(times
            .is_valid(row)
            .then(|| Timestamp::from_microsecond(times.value(row)).ok())
            .flatten())
    }

    /// The cell of a row; `None` for rows that no present rule would write.
    pub(crate) fn cell(&self, row: usize) -> Result<Option<CellId>, EngineError> {
        let parsed = (|| {
            let source = SourceId::parse(self.text("source", row).ok()??).ok()?;
            let entity = Entity::parse(self.text("entity", row).ok()??).ok()?;
            let period = Period::parse(self.text("period", row).ok()??).ok()?;
            Some((source, entity, period))
        })();
        self.column("source")?;
        Ok(parsed)
    }
}

fn wrong(name: &str, found: &DataType) -> EngineError {
    EngineError::Task(format!("column `{name}` of a table has the unexpected type {found}"))
}

impl Books {
    fn take_attempts(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns = Columns(batch);
        let cost = columns.column("cost")?;
        let cost = cost
            .as_primitive_opt::<Decimal128Type>()
            .ok_or_else(|| wrong("cost", cost.data_type()))?;
        for row in 0..batch.num_rows() {
            let Some(cell) = columns.cell(row)? else { continue };
            let attempt = columns.number("attempt", row)?;
            self.attempts.insert(attempt);
            let outcome = columns
                .text("outcome", row)?
                .and_then(Outcome::parse)
                .unwrap_or(Outcome::TransportError);
            if let Some(at) = columns.time("planned_at", row)?
                && outcome != Outcome::Skipped
            {
                let day = at.to_zoned(TimeZone::UTC).date();
                let spent = self.spend.entry((cell.0.clone(), day)).or_default();
                let cost = Money { micros: i64::try_from(cost.value(row)).unwrap_or(i64::MAX) };
                spent.0 += 1;
                spent.1 += cost;
                *self.period_spend.entry((cell.0.clone(), cell.2)).or_default() += cost;
            }
            let look = match columns.0.column_by_name("look") {
                Some(_) => columns.text("look", row)?.and_then(LookKind::parse),
                None => None,
            };
            if look.is_some_and(|look| !look.brings_data()) {
                let sent_at = columns.time("at", row)?;
                self.looks.entry(cell).or_default().take_cheap(attempt, look, outcome, sent_at);
                continue;
            }
            let evidence = Self::evidence(&columns, row)?;
            let sent_at = columns.time("at", row)?;
            let looks = self.looks.entry(cell).or_default();
            looks.count += 1;
            looks.last_at = looks.last_at.max(sent_at);
            if matches!(outcome, Outcome::EmptyProven | Outcome::NotModified | Outcome::Gone) {
                looks.without_at = looks.without_at.max(sent_at);
                looks.without_paid_at = looks.without_paid_at.max(sent_at);
            }
            if attempt > looks.last {
                looks.last = attempt;
                looks.failures =
                    if outcome.is_complete_observation() { 0 } else { looks.failures + 1 };
            }
            looks.complete |= outcome.is_complete_observation();
            if let Some(evidence) = evidence
                && outcome.is_complete_observation()
                && looks.evidence.as_ref().is_none_or(|(known, _)| attempt > *known)
            {
                looks.evidence = Some((attempt, evidence));
            }
        }
        Ok(())
    }

    fn evidence(columns: &Columns<'_>, row: usize) -> Result<Option<Evidence>, EngineError> {
        let digest = columns.text("response_digest", row)?.and_then(|text| text.parse().ok());
        let (Some(digest), Some(archive)) = (digest, columns.text("archive", row)?) else {
            return Ok(None);
        };
        Ok(Some(Evidence {
            validators: Validators {
                etag: columns.text("etag", row)?.map(str::to_owned),
                last_modified: columns.text("last_modified", row)?.map(str::to_owned),
            },
            request_hash: columns.number("request_hash", row)?.cast_unsigned(),
            source_version: SourceVersion(Arc::from(
                columns.text("source_version", row)?.unwrap_or_default(),
            )),
            digest,
            archive: archive.to_owned(),
        }))
    }

    fn take_cells(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns = Columns(batch);
        for row in 0..batch.num_rows() {
            let Some(cell) = columns.cell(row)? else { continue };
            let at = columns.time("at", row)?.unwrap_or(Timestamp::UNIX_EPOCH);
            let attempt = AttemptId(columns.number("attempt", row)?);
            if self
                .cells
                .get(&cell)
                .is_some_and(|known| (known.last_attempt, known.updated_at) > (attempt, at))
            {
                continue;
            }
            let outcome = columns.text("outcome", row)?.and_then(Outcome::parse);
            let cause =
                columns.text("cause", row)?.and_then(Cause::parse).unwrap_or(Cause::Unexplained);
            let next_look_at = columns.time("next_look_at", row)?;
            let state = match columns.text("state", row)?.unwrap_or_default() {
                "present" => CellState::Present,
                "absent" => CellState::Absent { cause },
                "held" => CellState::Held,
                "given_up" => CellState::GivenUp { cause },
                _ => CellState::Waiting {
                    next_look_at: next_look_at.unwrap_or(at),
                    last_outcome: outcome.unwrap_or(Outcome::EmptyUnproven),
                },
            };
            let observed_at = columns.time("observed_at", row)?;
            self.observed_at_max = self.observed_at_max.max(observed_at);
            let known = CellRow {
                entity: cell.1.clone(),
                period: cell.2,
                state,
                outcome,
                looks: 0,
                failures: 0,
                // One that was asked for with others has no attempt of its own.
                complete_since_due: outcome.is_some_and(Outcome::is_complete_observation),
                records: columns.number("records", row)?.cast_unsigned(),
                quarantined: columns.number("quarantined", row)?.cast_unsigned(),
                observed_at,
                next_look_at: match state {
                    CellState::Waiting { next_look_at, .. } => Some(next_look_at),
                    _ => next_look_at,
                },
                last_attempt: attempt,
                evidence: None,
                records_hash: columns.text("records_hash", row)?.and_then(unhex),
                updated_at: at,
                late_from: match columns.0.column_by_name(LATE_COLUMNS[0]) {
                    Some(_) => columns
                        .time(LATE_COLUMNS[0], row)?
                        .zip(columns.time(LATE_COLUMNS[1], row)?)
                        .map(|(watch, overdue)| LateFrom { watch, overdue }),
                    None => None,
                },
            };
            self.cells.insert(cell, known);
        }
        Ok(())
    }

    /// Records whose attempt never reached the ledger: their batch was cut off half way and its
    /// announcement was lost with the state. They are there, so their cells are present.
    fn take_records(&mut self, source: &Source, batch: &RecordBatch) -> Result<(), EngineError> {
        let columns = Columns(batch);
        let tombstones = columns.column("_tombstone")?;
        let tombstones = tombstones
            .as_boolean_opt()
            .ok_or_else(|| wrong("_tombstone", tombstones.data_type()))?;
        for row in 0..batch.num_rows() {
            let observed_at = columns.time("_observed_at", row)?.unwrap_or(Timestamp::UNIX_EPOCH);
            self.observed_at_max = self.observed_at_max.max(Some(observed_at));
            let attempt = columns.number("_attempt", row)?;
            if self.attempts.contains(&attempt)
                || (tombstones.is_valid(row) && tombstones.value(row))
            {
                continue;
            }
            let entity = columns.text("_entity", row)?.and_then(|text| Entity::parse(text).ok());
            let period = columns.text("_period", row)?.and_then(|text| Period::parse(text).ok());
            if let (Some(entity), Some(period)) = (entity, period) {
                let known = self.records.entry((source.id.clone(), entity, period)).or_insert((
                    attempt,
                    observed_at,
                    0,
                ));
                known.2 += 1;
                (known.0, known.1) = (known.0.max(attempt), known.1.max(observed_at));
            }
        }
        Ok(())
    }

    fn close(mut self, sources: &[Source], now: Timestamp) -> Rebuilt {
        for (cell, (attempt, observed_at, records)) in std::mem::take(&mut self.records) {
            let row = CellRow {
                entity: cell.1.clone(),
                period: cell.2,
                state: CellState::Present,
                outcome: Some(Outcome::Ok),
                looks: 0,
                failures: 0,
                complete_since_due: true,
                records,
                quarantined: 0,
                observed_at: Some(observed_at),
                next_look_at: None,
                last_attempt: AttemptId(attempt),
                evidence: None,
                records_hash: None,
                updated_at: observed_at,
                late_from: None,
            };
            self.attempts.insert(attempt);
            self.cells.insert(cell, row);
        }
        let has_arrival = |id: &SourceId| {
            sources.iter().any(|source| source.id == *id && source.arrival.is_some())
        };
        let open = self.looks.iter().filter(|(cell, _)| {
            has_arrival(&cell.0) && self.cells.get(*cell).is_none_or(|row| !row.state.is_settled())
        });
        let open_looks: Vec<(SourceId, LookRow)> =
            open.filter_map(|(cell, looks)| Some((cell.0.clone(), looks.row(cell)?))).collect();
        for (cell, row) in &mut self.cells {
            if let Some(looks) = self.looks.remove(cell) {
                row.looks = looks.count;
                row.failures = looks.failures;
                row.complete_since_due |= looks.complete;
                row.last_attempt = row.last_attempt.max(AttemptId(looks.last));
                row.evidence = looks.evidence.map(|(_, evidence)| evidence);
            }
        }
        let first_day = |id: &SourceId| {
            self.cells.keys().filter(|cell| cell.0 == *id).filter_map(|cell| cell.2.date()).min()
        };
        Rebuilt {
            sources: sources
                .iter()
                .map(|source| SourceRow {
                    source: source.id.clone(),
                    from: source.from.or_else(|| first_day(&source.id)),
                    paused: false,
                    entities_seen: source.entities.len() as u64,
                    version: source.version.clone(),
                    updated_at: now,
                })
                .collect(),
            next_attempt: self.attempts.last().copied().unwrap_or(0) + 1,
            next_batch: 1,
            observed_at_max: self.observed_at_max,
            spend: self
                .spend
                .into_iter()
                .map(|((source, day), (requests, spent))| SpendRow { source, day, requests, spent })
                .collect(),
            period_spend: self
                .period_spend
                .into_iter()
                .map(|((source, period), spent)| (source, period, spent))
                .collect(),
            looks: open_looks,
            schedules: Vec::new(),
            cells: self.cells.into_iter().map(|(cell, row)| (cell.0, row)).collect(),
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}
