//! What is done at each start, whether or not the last end was a crash: the same path, so that it
//! is always exercised.

use crate::{
    EngineError,
    commit::{Pending, commit, commits_of, finish},
    observation::{Booked, DataRows, Facts, Observation, QuarantinedRows},
    ports::Ports,
};
use env::Moment;
use jiff::Timestamp;
use model::{CellKey, Outcome, SourceVersion, TableName, grid::CellOrdinal};
use state::{OpenAttempt, ProjectRow};
use std::{collections::BTreeSet, sync::Arc};

/// What a start found and mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Announced batches that were finished.
    pub(crate) batches: usize,
    /// Attempts whose answers were not accounted.
    pub(crate) interrupted: usize,
    /// Files that no table refers to, removed.
    pub(crate) orphans: usize,
}

/// Finishes what was announced, closes attempts that were cut off, removes what nobody refers to.
pub(crate) async fn recover(ports: &Ports) -> Result<(ProjectRow, Recovered), EngineError> {
    let mut recovered = Recovered::default();
    let project = ports.state.project().await?;
    refuse_foreign_lake(ports).await?;
    for batch in ports.state.announced().await? {
        finish(ports, &project.project_id, batch.number, &commits_of(&batch)?).await?;
        recovered.batches += 1;
    }
    let now = ports.clock.now();
    // The lock is ours and nothing is being staged: whatever no log names is left over, however the
    // clocks of this process and of the file system relate.
    recovered.orphans = ports.lake.discard_orphans(&BTreeSet::new(), Timestamp::MAX).await?;
    let open = ports.state.open_attempts().await?;
    recovered.interrupted = open.len();
    if !open.is_empty() {
        Box::pin(close(ports, open, now)).await?;
    }
    Ok((ports.state.project().await?, recovered))
}

/// A new state beside tables that have records would write all of them again.
async fn refuse_foreign_lake(ports: &Ports) -> Result<(), EngineError> {
    if !ports.state.sources().await?.is_empty() {
        return Ok(());
    }
    match ports.lake.tables().await?.first() {
        Some(table) => Err(EngineError::ForeignLake { table: table.to_string() }),
        None => Ok(()),
    }
}

/// Money was reserved for these and they may have been sent: they cost, and the ledger says so.
/// Their cells are asked again; the crash leaves no cause behind.
async fn close(ports: &Ports, open: Vec<OpenAttempt>, now: Moment) -> Result<(), EngineError> {
    let project = ports.state.project().await?;
    let mut pending = Pending::new(project.next_batch);
    let nowhere = TableName::parse("none").map_err(|error| EngineError::Task(error.to_string()))?;
    for attempt in open {
        pending.push(interrupted(attempt, now, project.observed_at_max), None, &nowhere);
    }
    Box::pin(commit(ports, &project.project_id, pending)).await?;
    Ok(())
}

fn interrupted(
    attempt: OpenAttempt,
    now: Moment,
    observed_at_max: Option<Timestamp>,
) -> Observation {
    Observation {
        ordinal: CellOrdinal { entity: 0, period: 0 },
        cell: CellKey { source: attempt.source, entity: attempt.entity, period: attempt.period },
        attempt: attempt.attempt,
        planned_at: attempt.reserved_at,
        priority: "live",
        cost: attempt.cost,
        reserved: attempt.cost,
        look: None,
        belief: None,
        asked: 1,
        fewer: false,
        booked: Some(Booked { cells: 1, records: 0, quarantined: 0 }),
        looked: None,
        outcome: Outcome::TransportError,
        detail: "not accounted: a `tidewatch try`, or cut off when an engine stopped; the cost is \
                 counted, the cell is asked again"
            .to_owned(),
        retry_after: None,
        source_version: SourceVersion(Arc::from("")),
        observed_at: observed_at_max.map_or(now.wall, |latest| latest.max(now.wall)),
        facts: Facts::without_exchange(attempt.reserved_at),
        evidence: None,
        unchanged: false,
        records: 0,
        records_hash: None,
        data: DataRows::default(),
        quarantined: QuarantinedRows::default(),
    }
}
