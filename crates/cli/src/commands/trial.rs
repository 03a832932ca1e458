//! `tidewatch try`: one cell, one request, nothing written but its cost.

use crate::{
    arguments::{Arguments, Cell},
    failure::{FAILED, Failure, UNDONE, USAGE},
    output::{json, line, safe, tell},
    project::Project,
};
use engine::{Mode, Trial, trial};
use model::{CellKey, Entity, Outcome, Period};

pub(crate) async fn run(arguments: &Arguments, cell: &Cell) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(&cell.source)?.clone();
    let key = key(&source.id, cell)?;
    if arguments.dry_run {
        let period = key.period.to_string();
        let url = source
            .request
            .url
            .render_url(&[key.entity.as_str()], &period)
            .map_err(Failure::usage)?;
        let url = fetch::redact(&url);
        if arguments.json {
            json(
                &serde_json::json!({ "dry_run": true, "url": url, "cost": source.request.cost.as_units() }),
            )?;
        } else {
            line(format_args!("would ask {url} for {}", source.request.cost));
        }
        return Ok(0);
    }
    let ports = project.ports()?;
    let options = project.options(Mode::Once)?;
    let Some(trial) = trial(&ports, &options, source, key).await? else {
        tell("the day's budget is spent: nothing was sent");
        return Ok(UNDONE);
    };
    if arguments.json {
        print_json(&trial)?;
    } else {
        print(&trial)?;
    }
    Ok(match trial.outcome {
        Outcome::Ok | Outcome::NotModified | Outcome::EmptyProven => 0,
        Outcome::Skipped => USAGE,
        _ => FAILED,
    })
}

/// The cell that was typed.
pub(crate) fn key(source: &model::SourceId, cell: &Cell) -> Result<CellKey, Failure> {
    Ok(CellKey {
        source: source.clone(),
        entity: Entity::parse(&cell.entity).map_err(Failure::usage)?,
        period: Period::parse(&cell.period).map_err(Failure::usage)?,
    })
}

fn print(trial: &Trial) -> Result<(), Failure> {
    tell(format_args!("{}: {} ({})", trial.cell, trial.outcome, safe(&trial.detail)));
    let status = trial.status.map_or("no answer".to_owned(), |status| format!("status {status}"));
    tell(format_args!(
        "{} -> {status}, {} bytes in {} ms, cost {}",
        safe(&trial.url),
        trial.received_bytes,
        trial.elapsed.as_millis(),
        trial.cost,
    ));
    for row in &trial.quarantined {
        tell(format_args!(
            "quarantine: record {}: {}: {}",
            row.ordinal,
            row.check,
            safe(&row.reason)
        ));
    }
    query::write_table(&trial.records, &mut std::io::stdout()).map_err(Failure::failed)?;
    tell("nothing was written but the cost; `tidewatch run --once` writes");
    Ok(())
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Printed<'a> {
    source: &'a str,
    entity: &'a str,
    period: String,
    outcome: &'a str,
    detail: &'a str,
    status: Option<u16>,
    url: &'a str,
    received_bytes: u64,
    elapsed_ms: u64,
    cost: f64,
    records: Box<serde_json::value::RawValue>,
    quarantined: Vec<serde_json::Value>,
}

fn print_json(trial: &Trial) -> Result<(), Failure> {
    let mut records = Vec::new();
    query::write_json(&trial.records, &mut records).map_err(Failure::failed)?;
    let records: Box<serde_json::value::RawValue> =
        serde_json::from_slice(if records.is_empty() { b"[]" } else { &records })
            .map_err(Failure::failed)?;
    let quarantined: Vec<_> = trial
        .quarantined
        .iter()
        .map(|row| serde_json::json!({ "ordinal": row.ordinal, "check": row.check, "reason": row.reason, "record": row.record }))
        .collect();
    json(&Printed {
        source: trial.cell.source.as_str(),
        entity: trial.cell.entity.as_str(),
        period: trial.cell.period.to_string(),
        outcome: trial.outcome.as_str(),
        detail: &trial.detail,
        status: trial.status,
        url: &trial.url,
        received_bytes: trial.received_bytes,
        elapsed_ms: trial.elapsed.as_millis() as u64,
        cost: trial.cost.as_units(),
        records,
        quarantined,
    })
}
