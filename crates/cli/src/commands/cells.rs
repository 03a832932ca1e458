//! `tidewatch cells`: a list of cells.

use crate::{
    arguments::{Arguments, Cells},
    failure::Failure,
    output::{json, print, safe, table, tell},
    project::Project,
};
use engine::{Ranges, grid_of};
use jiff::Timestamp;
use model::{Cause, Entity, LateFrom, Period, SourceId, grid::CellOrdinal};
use state::{CellFilter, CellRow, StateStore};
use std::collections::BTreeSet;

pub(crate) async fn run(arguments: &Arguments, cells: &Cells) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = cells.source.as_deref().map(|name| project.source_id(name)).transpose()?;
    let now = project.now();
    let filter = filter(cells, source, now)?;
    let state = project.state_if_any()?;
    let mut found = match &state {
        Some(state) => state.find_cells(&filter, cells.limit).await?,
        None => Vec::new(),
    }
    .into_iter()
    .map(|found| Listed::new(found, now))
    .collect::<Vec<_>>();
    let wants_due = match (cells.state.as_deref(), filter.cause) {
        (Some("due"), cause) => cause.is_none_or(|(cause, _)| cause == Cause::NotAttempted),
        (None, cause) => cause.is_some_and(|(cause, _)| cause == Cause::NotAttempted),
        _ => false,
    };
    if wants_due {
        let limit = cells.limit as usize - found.len();
        found.extend(due(&project, state.as_deref(), &filter, limit).await?);
    }
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

fn filter(cells: &Cells, source: Option<SourceId>, now: Timestamp) -> Result<CellFilter, Failure> {
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
        cause: cause.map(|cause| (cause, now)),
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
    late_from: Option<LateFrom>,
}

impl Listed {
    fn new((source, row): (SourceId, CellRow), now: Timestamp) -> Self {
        Self {
            source,
            period: row.period,
            state: row.state.as_str(),
            cause: row.cause(now),
            late_from: row.late_from,
            entity: row.entity,
            outcome: row.outcome.map(model::Outcome::as_str),
            looks: row.looks,
            records: row.records,
            next_look_at: row.next_look_at,
        }
    }

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
            "late_watch_at": self.late_from.map(|late| late.watch.to_string()),
            "overdue_at": self.late_from.map(|late| late.overdue.to_string()),
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
                        late_from: None,
                    });
                }
            }
        }
    }
    Ok(found)
}
