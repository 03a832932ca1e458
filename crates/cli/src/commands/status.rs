//! `tidewatch status`: how complete each source is, by state and cause.

use crate::{
    arguments::{Arguments, Status},
    failure::Failure,
    output::{grouped, json, print, table, tell},
    project::Project,
};
use account::{Completeness, StateCount, completeness};
use engine::{Learned, Ranges, grid_of};
use model::{Money, SourceId};
use pace::Wait;
use source::Source;
use state::{BackfillRow, CellCount, SourceRow};

/// One source's share of the report.
pub(crate) struct SourceReport {
    pub(crate) id: SourceId,
    pub(crate) paused: bool,
    pub(crate) enabled: bool,
    pub(crate) completeness: Completeness,
    pub(crate) spent_today: Money,
    /// What its backfill waits for.
    pub(crate) waits: Option<Wait>,
}

pub(crate) async fn run(arguments: &Arguments, status: &Status) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    if let Some(name) = &status.source {
        project.source(name)?;
    }
    let reports = reports(&project, status.source.as_deref()).await?;
    if arguments.json {
        json(&reports.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(0);
    }
    for report in &reports {
        print_report(report);
    }
    if reports.is_empty() {
        tell("no sources: put one into `sources/`, or make an example by `tidewatch init`");
    }
    Ok(0)
}

/// The figures of all sources, or of one.
pub(crate) async fn reports(
    project: &Project,
    only: Option<&str>,
) -> Result<Vec<SourceReport>, Failure> {
    let now = project.now();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let (rows, backfills, counts, spend, paces) = match project.state_if_any()? {
        Some(state) => (
            state.sources().await?,
            state.backfills().await?,
            state.counts(now).await?,
            state.spend(Some(today)).await?,
            state.paces().await?,
        ),
        None => Default::default(),
    };
    let chosen =
        project.sources.iter().filter(|source| only.is_none_or(|name| source.id.as_str() == name));
    Ok(chosen
        .map(|source| {
            let row = rows.iter().find(|row| row.source == source.id);
            SourceReport {
                id: source.id.clone(),
                paused: row.is_some_and(|row| row.paused),
                enabled: source.enabled,
                completeness: of_source(source, row, &backfills, &counts, now),
                spent_today: spend
                    .iter()
                    .filter(|spent| spent.source == source.id)
                    .map(|spent| spent.spent)
                    .sum(),
                waits: paces
                    .iter()
                    .find(|row| row.scope == source.limit_scope())
                    .and_then(Learned::read)
                    .and_then(|learned| super::pace::waits(&learned, source, now)),
            }
        })
        .collect())
}

fn of_source(
    source: &Source,
    row: Option<&SourceRow>,
    backfills: &[BackfillRow],
    counts: &[CellCount],
    now: jiff::Timestamp,
) -> Completeness {
    // The horizon beyond today is nobody's concern here.
    let today = now.to_zoned(source.calendar.timezone.clone()).date();
    let ranges = Ranges { until: today, ..Ranges::of(source, row, backfills, now) };
    let grid = grid_of(source, &ranges);
    let stored: Vec<StateCount> = counts
        .iter()
        .filter(|count| count.source == source.id)
        .map(|count| StateCount {
            state: count.state.clone(),
            cause: count.cause,
            cells: count.cells,
        })
        .collect();
    completeness(&stored, grid.expected(), grid.expected_due(now))
}

pub(crate) fn print_report(report: &SourceReport) {
    let Completeness { lines, strict, .. } = &report.completeness;
    let mut notes = Vec::new();
    if !report.enabled {
        notes.push("not enabled".to_owned());
    }
    if report.paused {
        notes.push("paused".to_owned());
    }
    notes.push(
        strict.map_or("nothing expected yet".to_owned(), |share| {
            format!("{} complete", percent(share))
        }),
    );
    notes.push(format!("spent today {}", report.spent_today));
    notes.extend(report.waits.as_ref().map(super::pace::waiting));
    crate::output::line(format_args!("{}: {}", report.id, notes.join(", ")));
    let mut rows = table(&["state", "cause", "family", "verdict", "cells"], &["cells"]);
    for line in lines {
        rows.add_row([
            line.state.clone(),
            line.cause.map_or("-", model::Cause::as_str).to_owned(),
            line.family.map_or("-", model::Family::as_str).to_owned(),
            line.verdict.map_or("-", model::Verdict::as_str).to_owned(),
            grouped(line.cells),
        ]);
    }
    if !lines.is_empty() {
        print(&rows);
    }
}

/// Never rounds up to "100 %".
fn percent(share: f64) -> String {
    if share >= 1.0 {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", (share * 10_000.0).floor() / 100.0)
    }
}

fn as_json(report: &SourceReport) -> serde_json::Value {
    let Completeness { lines, expected_due, present, strict, unasked } = &report.completeness;
    serde_json::json!({
        "source": report.id.as_str(),
        "enabled": report.enabled,
        "paused": report.paused,
        "completeness": strict,
        "expected_due": expected_due,
        "present": present,
        "unasked": unasked,
        "spent_today": report.spent_today.as_units(),
        "backfill_waits": report.waits,
        "cells": lines.iter().map(|line| serde_json::json!({
            "state": line.state,
            "cause": line.cause.map(model::Cause::as_str),
            "family": line.family.map(model::Family::as_str),
            "verdict": line.verdict.map(model::Verdict::as_str),
            "cells": line.cells,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn almost_complete_is_not_complete() {
        assert_eq!([percent(1.0), percent(0.99999), percent(0.5)], ["100 %", "99.99 %", "50.00 %"]);
    }
}
