//! `tidewatch backfill`: ask for earlier periods; beside a running engine, hand it the wish.

use crate::{
    arguments::{Arguments, Backfill},
    failure::{Failure, HELD, UNDONE},
    output::{grouped, json, line, tell},
    project::Project,
};
use engine::{Mode, Options, Ranges, grid_of};
use jiff::{Span, civil::Date};
use model::{Money, SourceId, grid::CellOrdinal};
use state::{BackfillRow, NewBackfill};
use std::collections::BTreeSet;

pub(crate) async fn run(arguments: &Arguments, backfill: &Backfill) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(&backfill.source)?;
    let until = until(&project, &source.id, backfill).await?;
    if backfill.from > until {
        return Err(Failure::usage(anyhow::anyhow!(
            "--from {} lies after --to {until}: nothing to ask for",
            backfill.from
        )));
    }
    let wish = NewBackfill {
        source: source.id.clone(),
        from: backfill.from,
        until,
        requested_at: project.now(),
    };
    let (cells, cost) = price(&project, &wish).await?;
    if arguments.dry_run {
        return print_price(arguments, &wish, cells, cost);
    }
    let state = project.state()?;
    let id = state.add_backfill(&wish).await?;
    if project.lock().is_err_and(|failure| failure.code() == HELD) {
        if arguments.json {
            json(
                &serde_json::json!({ "enqueued": true, "id": id, "cells": cells, "cost": cost.as_units() }),
            )?;
        } else {
            tell(format_args!(
                "an engine is running: wish {id} was handed to it, {} cells for {cost}",
                grouped(cells)
            ));
        }
        return Ok(0);
    }
    tell(format_args!("{} cells to ask for, {cost} at least", grouped(cells)));
    let options = Options { only: super::run::only(&source.id), ..project.options(Mode::Once)? };
    let summary = super::run::drive(&project, options, false).await?;
    if !summary.left_undone() {
        state.finish_backfill(id, project.now()).await?;
    }
    super::run::print(arguments, &summary)?;
    Ok(if summary.left_undone() { UNDONE } else { 0 })
}

/// The last day asked for: as typed, or the day before the source's start.
async fn until(project: &Project, id: &SourceId, backfill: &Backfill) -> Result<Date, Failure> {
    if let Some(to) = backfill.to {
        return Ok(to);
    }
    let source = project.source(id.as_str())?;
    let row = match project.state_if_any()? {
        Some(state) => state.sources().await?.into_iter().find(|row| row.source == *id),
        None => None,
    };
    let ranges = Ranges::of(source, row.as_ref(), &[], project.now());
    ranges.from.checked_sub(Span::new().days(1)).map_err(Failure::usage)
}

/// Cells of the range that are due and have no row yet, and what one look at each costs.
async fn price(project: &Project, wish: &NewBackfill) -> Result<(u64, Money), Failure> {
    let source = project.source(wish.source.as_str())?;
    let now = project.now();
    let row = BackfillRow {
        id: 0,
        source: wish.source.clone(),
        from: wish.from,
        until: wish.until,
        requested_at: wish.requested_at,
        finished_at: None,
    };
    let ranges = Ranges::of(source, None, &[row], now);
    let grid = grid_of(source, &ranges);
    let known: BTreeSet<_> = match project.state_if_any()? {
        Some(state) => {
            state.cells(&source.id).await?.into_iter().map(|row| (row.period, row.entity)).collect()
        }
        None => BTreeSet::new(),
    };
    let mut cells = 0;
    for (number, period) in grid.periods().iter().enumerate() {
        let inside =
            period.period.date().is_some_and(|date| wish.from <= date && date <= wish.until);
        if !inside || period.closes_at > now {
            continue;
        }
        for (entity_number, entity) in grid.entities().iter().enumerate() {
            let ordinal = CellOrdinal { entity: entity_number as u32, period: number as u32 };
            let open =
                grid.expects(ordinal) && !known.contains(&(period.period, entity.entity.clone()));
            cells += u64::from(open);
        }
    }
    Ok((cells, source.request.cost * i64::try_from(cells).unwrap_or(i64::MAX)))
}

fn print_price(
    arguments: &Arguments,
    wish: &NewBackfill,
    cells: u64,
    cost: Money,
) -> Result<u8, Failure> {
    if arguments.json {
        json(&serde_json::json!({
            "dry_run": true,
            "source": wish.source.as_str(),
            "from": wish.from.to_string(),
            "to": wish.until.to_string(),
            "cells": cells,
            "cost": cost.as_units(),
        }))?;
    } else {
        line(format_args!(
            "would ask {} for {} cells from {} to {}, {cost} at least",
            wish.source,
            grouped(cells),
            wish.from,
            wish.until
        ));
    }
    Ok(0)
}

/// What `run --dry-run` says: due cells and their price, by source.
pub(crate) async fn print_due(
    arguments: &Arguments,
    project: &Project,
    only: &[SourceId],
) -> Result<u8, Failure> {
    let mut rows = Vec::new();
    for report in super::status::reports(project, None).await? {
        let source = project.source(report.id.as_str())?;
        let chosen =
            source.enabled && !report.paused && (only.is_empty() || only.contains(&source.id));
        if !chosen {
            continue;
        }
        let waiting: u64 = report
            .completeness
            .lines
            .iter()
            .filter(|line| line.state == "waiting")
            .map(|line| line.cells)
            .sum();
        rows.push((source.id.clone(), report.completeness.unasked, waiting, source.request.cost));
    }
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(id, unasked, waiting, cost)| {
                serde_json::json!({
                    "source": id.as_str(),
                    "due": unasked,
                    "waiting": waiting,
                    "cost": (*cost * i64::try_from(*unasked).unwrap_or(i64::MAX)).as_units(),
                })
            })
            .collect();
        json(&rows)?;
        return Ok(0);
    }
    for (id, unasked, waiting, cost) in rows {
        line(format_args!(
            "{id}: {} cells not asked yet, {} for one look at each; {} wait for their next look",
            grouped(unasked),
            cost * i64::try_from(unasked).unwrap_or(i64::MAX),
            grouped(waiting),
        ));
    }
    Ok(0)
}
