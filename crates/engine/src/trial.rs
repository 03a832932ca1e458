//! One cell, one request, nothing written: for people who write a source file.

use crate::{
    EngineError, Options, Ports,
    compiled::Compiled,
    observation::{Observation, Quarantined},
    tables::DataBatches,
    way::{Job, Ways, walk},
};
use archive::MemoryArchive;
use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use lake::MemoryLake;
use model::{CellKey, LookKind, Money, Outcome, grid::CellOrdinal};
use source::Source;
use state::Reserve;
use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

/// What one trial found.
#[derive(Debug)]
pub struct Trial {
    /// The cell that was asked for.
    pub cell: CellKey,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The evidence for it.
    pub detail: String,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// The address, redacted.
    pub url: String,
    /// Bytes of the body as received.
    pub received_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What it cost.
    pub cost: Money,
    /// The records, typed, provenance included.
    pub records: Vec<RecordBatch>,
    /// Records that would be held in quarantine.
    pub quarantined: Vec<Quarantined>,
}

/// Asks for one cell. Money is reserved before the request leaves and stays spent; the books get
/// their row from the next engine, which finds the attempt open.
///
/// # Errors
/// A budget is spent (then nothing was sent), or a port fails.
pub fn trial<'a>(
    ports: &'a Ports,
    options: &'a Options,
    source: Source,
    cell: CellKey,
) -> BoxFuture<'a, Result<Option<Trial>, EngineError>> {
    Box::pin(async move {
        let now = ports.clock.now().wall;
        let compiled = Arc::new(Compiled::new(source, options)?);
        let cost = compiled.source.request.cost;
        let granted = ports
            .state
            .reserve(&Reserve {
                source: cell.source.clone(),
                cells: vec![(cell.entity.clone(), cell.period)],
                cost_each: cost,
                at: now,
                source_budget: compiled.source.budget,
                project_budget: options.budget,
            })
            .await?;
        if granted.granted == 0 {
            return Ok(None);
        }
        let ways = Ways {
            clock: Arc::clone(&ports.clock),
            transport: Arc::clone(&ports.transport),
            archive: Arc::new(MemoryArchive::default()),
            lake: Arc::new(MemoryLake::default()),
            observed_at_max: AtomicI64::new(i64::MIN),
        };
        let job = Job {
            compiled,
            ordinal: CellOrdinal { entity: 0, period: 0 },
            cell,
            attempt: granted.first,
            planned_at: now,
            priority: "live",
            urgency: plan::Priority::Live,
            prior: None,
            look: LookKind::Paid,
            cost,
            before: None,
            usual: None,
            closes_at: None,
            others: Vec::new(),
        };
        let walked = walk(&ways, &job).await?.into_iter().next();
        let Some(mut observation) = walked else { return Ok(None) };
        if observation.outcome == Outcome::Skipped {
            ports.state.release(&[granted.first]).await?;
        }
        let records = records(&mut observation)?;
        Ok(Some(Trial {
            cell: observation.cell,
            outcome: observation.outcome,
            detail: observation.detail,
            status: observation.facts.status,
            url: observation.facts.url,
            received_bytes: observation.facts.received_bytes,
            elapsed: observation.facts.elapsed,
            cost: observation.cost,
            records,
            quarantined: observation.quarantined.rows,
        }))
    })
}

fn records(observation: &mut Observation) -> Result<Vec<RecordBatch>, EngineError> {
    let data = std::mem::take(&mut observation.data);
    let Some((table, schema)) = data.table else { return Ok(Vec::new()) };
    let period = observation.cell.period.to_string();
    let provenance = observation.provenance(&period);
    let mut gathered = DataBatches::new(schema);
    data.parts.into_iter().for_each(|part| gathered.push(part, &provenance));
    gathered.finish().map_err(|cause| EngineError::Rows { table, cause })
}
