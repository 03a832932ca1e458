//! `tidewatch cells`: a list of cells.

use crate::{
    arguments::{Arguments, Cells},
    failure::Failure,
    output::{json, print, safe, table, tell},
    project::Project,
};
use engine::{Ranges, grid_of};
use jiff::Timestamp;
use model::{Cause, CellState, Entity, Period, SourceId, grid::CellOrdinal};
use state::{CellFilter, CellRow, StateStore};
use std::collections::BTreeSet;

pub(crate) async fn run(arguments: &Arguments, cells: &Cells) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = cells.source.as_deref().map(|name| project.source_id(name)).transpose()?;
    let filter = filter(cells, source)?;
    let state = project.state_if_any()?;
    let found = match (&state, cells.state.as_deref()) {
        (state, Some("due")) => {
            due(&project, state.as_deref(), &filter, cells.limit as usize).await?
        }
        (Some(state), _) => {
            state.find_cells(&filter, cells.limit).await?.into_iter().map(Listed::from).collect()
        }
        (None, _) => Vec::new(),
    };
    if arguments.json {
        json(&found.iter().map(Listed::as_json).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let mut rows = table(
        &[
            "source",
            "entity",
            "period",
            "state",
            "cause",
            "outcome",
            "looks",
            "records",
            "next look",
        ],
        &["looks", "records"],
    );
    for cell in &found {
        rows.add_row([
            cell.source.to_string(),
            safe(cell.entity.as_str()),
            cell.period.to_string(),
            cell.state.to_owned(),
            cell.cause.map_or("-", Cause::as_str).to_owned(),
            cell.outcome.unwrap_or("-").to_owned(),
            cell.looks.to_string(),
            cell.records.to_string(),
            cell.next_look_at.map_or("-".to_owned(), |at| at.to_string()),
        ]);
    }
    if found.is_empty() {
        tell("no such cells");
    } else {
        print(&rows);
    }
    if found.len() == cells.limit as usize {
        tell(format_args!("there may be more: the list ends at --limit {}", cells.limit));
    }
    Ok(0)
}

fn filter(cells: &Cells, source: Option<SourceId>) -> Result<CellFilter, Failure> {
    let period = |text: &Option<String>| {
        text.as_deref().map(Period::parse).transpose().map_err(Failure::usage)
    };
    let exact = period(&cells.period)?;
    let cause = cells
        .cause
        .as_deref()
        .map(|text| {
            Cause::parse(text).ok_or_else(|| {
                let known: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
                Failure::usage(anyhow::anyhow!(
                    "`{text}` is not a cause; there are: {}",
                    known.join(", ")
                ))
            })
        })
        .transpose()?;
    Ok(CellFilter {
        source,
        state: cells.state.clone(),
        cause,
        entity: cells.entity.as_deref().map(Entity::parse).transpose().map_err(Failure::usage)?,
        period_from: exact.or(period(&cells.from)?),
        period_to: exact.or(period(&cells.to)?),
    })
}

struct Listed {
    source: SourceId,
    entity: Entity,
    period: Period,
    state: &'static str,
    cause: Option<Cause>,
    outcome: Option<&'static str>,
    looks: u32,
    records: u64,
    next_look_at: Option<Timestamp>,
}

impl From<(SourceId, CellRow)> for Listed {
    fn from((source, row): (SourceId, CellRow)) -> Self {
        let cause = match row.state {
            CellState::Absent { cause } | CellState::GivenUp { cause } => Some(cause),
            CellState::Waiting { last_outcome, .. } => Some(account::waiting_cause(last_outcome)),
            CellState::Held => Some(Cause::Quarantined),
            CellState::Present | CellState::Due | CellState::NotDue => None,
        };
        Self {
            source,
            entity: row.entity,
            period: row.period,
            state: row.state.as_str(),
            cause,
            outcome: row.outcome.map(model::Outcome::as_str),
            looks: row.looks,
            records: row.records,
            next_look_at: row.next_look_at,
        }
    }
}

impl Listed {
    fn as_json(&self) -> serde_json::Value {
        serde_json::json!({
            "source": self.source.as_str(),
            "entity": self.entity.as_str(),
            "period": self.period.to_string(),
            "state": self.state,
            "cause": self.cause.map(Cause::as_str),
            "outcome": self.outcome,
            "looks": self.looks,
            "records": self.records,
            "next_look_at": self.next_look_at.map(|at| at.to_string()),
        })
    }
}

/// Cells that are due and in which nothing has happened yet: computed, since nothing is stored.
async fn due(
    project: &Project,
    state: Option<&dyn StateStore>,
    filter: &CellFilter,
    limit: usize,
) -> Result<Vec<Listed>, Failure> {
    let now = project.now();
    let mut found = Vec::new();
    for source in &project.sources {
        if filter.source.as_ref().is_some_and(|id| *id != source.id) {
            continue;
        }
        let (rows, backfills, stored) = match state {
            Some(state) => {
                (state.sources().await?, state.backfills().await?, state.cells(&source.id).await?)
            }
            None => Default::default(),
        };
        let touched: BTreeSet<(Period, Entity)> =
            stored.into_iter().map(|row| (row.period, row.entity)).collect();
        let row = rows.iter().find(|row| row.source == source.id);
        let grid = grid_of(source, &Ranges::of(source, row, &backfills, now));
        for (number, period) in grid.periods().iter().enumerate() {
            let wanted = period.closes_at <= now
                && filter.period_from.is_none_or(|from| from <= period.period)
                && filter.period_to.is_none_or(|to| period.period <= to);
            if !wanted {
                continue;
            }
            for (entity_number, entity) in grid.entities().iter().enumerate() {
                if found.len() >= limit {
                    return Ok(found);
                }
                let ordinal = CellOrdinal { entity: entity_number as u32, period: number as u32 };
                let wanted = filter.entity.as_ref().is_none_or(|wanted| *wanted == entity.entity)
                    && grid.expects(ordinal)
                    && !touched.contains(&(period.period, entity.entity.clone()));
                if wanted {
                    found.push(Listed {
                        source: source.id.clone(),
                        entity: entity.entity.clone(),
                        period: period.period,
                        state: "due",
                        cause: Some(Cause::NotAttempted),
                        outcome: None,
                        looks: 0,
                        records: 0,
                        next_look_at: Some(now),
                    });
                }
            }
        }
    }
    Ok(found)
}
