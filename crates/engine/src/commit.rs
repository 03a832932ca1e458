//! Micro-batches: from ended attempts to tables and state, exactly once.
//!
//! 1. The archive is flushed: the bytes of all attempts are durable.
//! 2. Rows are staged as Parquet files that no reader sees.
//! 3. The batch is *announced* in the state: which files belong to which table, what becomes of
//!    which cell, which attempts it closes. From here on it will be finished, by whichever process.
//! 4. Each table commits its files together with the batch's number; a table that has that number
//!    already is skipped. Order: data, quarantine, ledger.
//! 5. The batch is *settled*: the state takes the cells' rows and forgets the batch.
//!
//! A crash before 3 leaves staged files that nothing refers to and attempts that are asked again;
//! a crash after 3 is finished at the next start, from the announcement alone.

use crate::{
    EngineError,
    arrival_tables::{ArrivalRow, ArrivalRows, arrivals_schema},
    observation::Observation,
    ports::Ports,
    scope::ScopeBooks,
    scope_tables::{pace_rows, throttle_rows},
    tables::{
        AttemptRows, CellRows, Chunks, DataBatches, QuarantineRows, Rows, attempts_schema,
        cells_schema, quarantine_schema,
    },
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use jiff::Timestamp;
use lake::{LedgerTable, Maintenance, StagedFile, TableRef};
use model::{AttemptId, CellKey, Money, Outcome, SourceId, TableName};
use serde::{Deserialize, Serialize};
use state::{Batch, CellRow, Cells, LookRow};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// How a table is asked whether it has a batch already.
pub(crate) fn application(project_id: &str) -> String {
    format!("tidewatch-{project_id}")
}

/// Which staged files go to which table, in the order of committing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Commits {
    tables: Vec<(TableRef, Vec<StagedFile>)>,
}

/// Ended attempts that are not committed yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) number: i64,
    pub(crate) opened_at: Option<Instant>,
    pub(crate) held_bytes: u64,
    data: BTreeMap<(TableName, model::SourceVersion), Data>,
    quarantine: BTreeMap<TableName, QuarantineRows>,
    attempts: Chunks<AttemptRows>,
    changes: Chunks<CellRows>,
    cells: Cells,
    closed: Vec<AttemptId>,
    observed_at_max: Option<Timestamp>,
    arrivals: Chunks<ArrivalRows>,
    pub(crate) looks: Vec<(SourceId, LookRow)>,
    pub(crate) looks_over: Vec<CellKey>,
    refunds: Vec<(AttemptId, Money)>,
    /// What the limit scopes went through.
    pub(crate) scopes: Vec<(String, ScopeBooks)>,
}

#[derive(Debug)]
struct Data {
    schema: SchemaRef,
    rows: DataBatches,
    staged: Vec<StagedFile>,
}

impl Pending {
    pub(crate) fn new(number: i64) -> Self {
        Self {
            number,
            opened_at: None,
            held_bytes: 0,
            data: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            attempts: Chunks::new(),
            changes: Chunks::new(),
            cells: Cells::default(),
            closed: Vec::new(),
            observed_at_max: None,
            arrivals: Chunks::new(),
            looks: Vec::new(),
            looks_over: Vec::new(),
            refunds: Vec::new(),
            scopes: Vec::new(),
        }
    }

    /// An empty one, with room for as many attempts: most batches are as large as the one before.
    pub(crate) fn next(&self) -> Self {
        Self { closed: Vec::with_capacity(self.closed.len()), ..Self::new(self.number + 1) }
    }

    pub(crate) fn attempts(&self) -> usize {
        self.closed.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.cells.is_empty()
    }

    /// Takes a row that no attempt of its own made.
    pub(crate) fn push_row(&mut self, source: &SourceId, row: CellRow, changed: Changed) {
        self.opened_at.get_or_insert_with(Instant::now);
        self.held_bytes += 512;
        if changed == Changed::Yes {
            self.changes.next(1).push(source, &row, Money::ZERO);
        }
        self.cells.push((source.clone(), row));
    }

    /// Takes the end of a cell's wait.
    pub(crate) fn push_arrival(&mut self, row: &ArrivalRow<'_>) {
        self.opened_at.get_or_insert_with(Instant::now);
        self.arrivals.next(1).push(row);
        self.looks_over.push(row.cell.clone());
    }

    /// Takes an ended attempt with the row it makes of its cell, if it says anything about one.
    pub(crate) fn push(
        &mut self,
        mut observation: Observation,
        row: Option<(CellRow, Changed)>,
        quarantine: &TableName,
    ) {
        self.opened_at.get_or_insert_with(Instant::now);
        self.held_bytes += observation.held_bytes();
        if let Some(booked) = observation.booked {
            self.attempts.next(1).push(&observation, booked);
            self.closed.push(observation.attempt);
        }
        if observation.cost < observation.reserved && observation.outcome != Outcome::Skipped {
            self.refunds.push((observation.attempt, observation.reserved - observation.cost));
        }
        self.observed_at_max = self.observed_at_max.max(Some(observation.observed_at));
        if !observation.quarantined.rows.is_empty() {
            let rows = self.quarantine.entry(quarantine.clone()).or_insert_with(Rows::new);
            observation.quarantined.rows.iter().for_each(|row| rows.push(&observation, row));
        }
        let data = std::mem::take(&mut observation.data);
        if let Some((table, schema)) = data.table {
            let entry = self.data.entry((table, observation.source_version.clone()));
            let gathered = entry.or_insert_with(|| Data {
                rows: DataBatches::new(Arc::clone(&schema)),
                schema,
                staged: Vec::new(),
            });
            let period = observation.cell.period.to_string();
            let provenance = observation.provenance(&period);
            data.parts.into_iter().for_each(|part| gathered.rows.push(part, &provenance));
            gathered.staged.extend(data.staged);
        }
        if let Some((row, changed)) = row {
            if changed == Changed::Yes {
                self.changes.next(1).push(&observation.cell.source, &row, observation.cost);
            }
            self.cells.push((observation.cell.source, row));
        }
    }
}

/// Whether a cell changed in what the ledger keeps of it, so that it gets a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

/// Commits a batch; returns how many attempts it closed.
pub(crate) async fn commit(
    ports: &Ports,
    project_id: &str,
    pending: Pending,
) -> Result<usize, EngineError> {
    ports.archive.flush().await?;
    let number = pending.number;
    let attempts = pending.closed.len();
    let (batch, commits) = announce_of(ports, pending).await?;
    ports.state.announce(batch).await?;
    finish(ports, project_id, number, &commits).await?;
    Ok(attempts)
}

/// Stages all rows and puts the announcement together.
async fn announce_of(ports: &Ports, pending: Pending) -> Result<(Batch, Commits), EngineError> {
    let mut commits = Commits::default();
    for ((table, _), data) in pending.data {
        let rows_failed = |cause| EngineError::Rows { table: table.clone(), cause };
        let mut files = data.staged;
        let rows = data.rows.finish().map_err(rows_failed)?;
        if !rows.is_empty() {
            files.extend(stage(ports, &TableRef::Data(table.clone()), &data.schema, rows).await?);
        }
        commits.tables.push((TableRef::Data(table), files));
    }
    for (table, rows) in pending.quarantine {
        let rows =
            rows.finish().map_err(|cause| EngineError::Rows { table: table.clone(), cause })?;
        let table = TableRef::Quarantine(table);
        let files = stage(ports, &table, &quarantine_schema(), vec![rows]).await?;
        commits.tables.push((table, files));
    }
    let ledger_failed =
        |cause| EngineError::Task(format!("the ledger's rows do not fit its columns: {cause}"));
    if !pending.attempts.is_empty() {
        let rows = pending.attempts.finish().map_err(ledger_failed)?;
        let table = TableRef::Ledger(LedgerTable::Attempts);
        let files = stage(ports, &table, &attempts_schema(), rows).await?;
        commits.tables.push((table, files));
    }
    if !pending.changes.is_empty() {
        let rows = pending.changes.finish().map_err(ledger_failed)?;
        let table = TableRef::Ledger(LedgerTable::Cells);
        let files = stage(ports, &table, &cells_schema(), rows).await?;
        commits.tables.push((table, files));
    }
    if !pending.arrivals.is_empty() {
        let rows = pending.arrivals.finish().map_err(ledger_failed)?;
        let table = TableRef::Ledger(LedgerTable::Arrivals);
        let files = stage(ports, &table, &arrivals_schema(), rows).await?;
        commits.tables.push((table, files));
    }
    let throttles = throttle_rows(&pending.scopes, ports.clock.now().wall);
    let paces = pace_rows(&pending.scopes);
    for (table, rows) in [(LedgerTable::Throttles, throttles), (LedgerTable::Paces, paces)] {
        let rows = rows.map_err(ledger_failed)?;
        if rows.num_rows() > 0 {
            let table = TableRef::Ledger(table);
            let schema = rows.schema();
            commits.tables.push((table.clone(), stage(ports, &table, &schema, vec![rows]).await?));
        }
    }
    let encoded = postcard::to_stdvec(&commits).map_err(|error| EngineError::Batch {
        number: pending.number,
        message: error.to_string(),
    })?;
    let batch = Batch {
        number: pending.number,
        announced_at: ports.clock.now().wall,
        observed_at_max: pending.observed_at_max,
        commits: encoded,
        cells: pending.cells,
        attempts: pending.closed,
        looks: pending.looks,
        looks_over: pending.looks_over,
        refunds: pending.refunds,
    };
    Ok((batch, commits))
}

async fn stage(
    ports: &Ports,
    table: &TableRef,
    schema: &SchemaRef,
    rows: Vec<RecordBatch>,
) -> Result<Vec<StagedFile>, EngineError> {
    ports.lake.ensure(table, SchemaRef::clone(schema)).await?;
    Ok(ports.lake.stage(table, rows).await?)
}

/// Steps 4 and 5; does again what a crashed process did only in part.
pub(crate) async fn finish(
    ports: &Ports,
    project_id: &str,
    number: i64,
    commits: &Commits,
) -> Result<(), EngineError> {
    let application = application(project_id);
    // Parts of one table (two versions of its source) are one commit: a table has a batch or not.
    let mut tables: Vec<(&TableRef, Vec<StagedFile>)> = Vec::new();
    for (table, files) in &commits.tables {
        match tables.iter_mut().find(|(known, _)| *known == table) {
            Some((_, known)) => known.extend(files.iter().cloned()),
            None => tables.push((table, files.clone())),
        }
    }
    for (table, files) in &tables {
        if !files.is_empty() {
            ports.lake.commit(table, &application, number, files).await?;
        }
    }
    ports.state.settle(number).await?;
    let now = ports.clock.now().wall;
    for (table, _) in &tables {
        // Upkeep is a kindness to readers: its failure loses nothing and is tried again.
        if let Err(error) = ports.lake.maintain(table, now, &Maintenance::default()).await {
            tracing::warn!(table = %table, error = %error, "table upkeep failed");
        }
    }
    Ok(())
}

/// Reads an announcement back.
pub(crate) fn commits_of(batch: &Batch) -> Result<Commits, EngineError> {
    postcard::from_bytes(&batch.commits)
        .map_err(|error| EngineError::Batch { number: batch.number, message: error.to_string() })
}
