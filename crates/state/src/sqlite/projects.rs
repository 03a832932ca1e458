//! The project's row, the sources' rows and definitions, and the way in for rebuilt state.

use super::{
    cells,
    fault::Fault,
    looks, money,
    names::{self, Names},
};
use crate::{
    error::StateError,
    rows::{ProjectRow, Rebuilt, SourceRow},
    wire,
};
use jiff::{Timestamp, civil::Date};
use model::{SourceId, SourceVersion};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::sync::Arc;

pub(super) fn project(look: &Transaction<'_>) -> Result<ProjectRow, Fault> {
    let mut statement = look.prepare_cached(
        "SELECT project_id, created_at, observed_at_max, next_attempt, next_batch FROM project",
    )?;
    Ok(statement.query_row([], |row| {
        Ok(ProjectRow {
            project_id: row.get(0)?,
            created_at: wire::from_nanoseconds(row.get(1)?),
            observed_at_max: row.get::<_, Option<i64>>(2)?.map(wire::from_nanoseconds),
            next_attempt: row.get(3)?,
            next_batch: row.get(4)?,
        })
    })?)
}

/// Advances `observed_at_max`; it never goes back.
pub(super) fn observe(transaction: &Transaction<'_>, at: Option<Timestamp>) -> Result<(), Fault> {
    if let Some(at) = at {
        transaction
            .prepare_cached(
                "UPDATE project SET observed_at_max = max(coalesce(observed_at_max, ?1), ?1)",
            )?
            .execute([wire::nanoseconds(at)])?;
    }
    Ok(())
}

pub(super) fn generation(look: &Transaction<'_>) -> Result<u64, Fault> {
    let generation: i64 =
        look.prepare_cached("SELECT generation FROM project")?.query_row([], |row| row.get(0))?;
    Ok(generation as u64)
}

pub(super) fn advance_generation(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction.prepare_cached("UPDATE project SET generation = generation + 1")?.execute([])?;
    Ok(())
}

const SOURCE_COLUMNS: &str = "name, asked_from, paused, entities_seen, version, updated_at";

fn source_row(row: &Row<'_>) -> Result<SourceRow, Fault> {
    let from = row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    Ok(SourceRow {
        source: names::read_source(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?,
        from: from.map(read_date).transpose()?,
        paused: row.get(2)?,
        entities_seen: row.get::<_, i64>(3)? as u64,
        version: SourceVersion(row.get::<_, Arc<str>>(4)?),
        updated_at: wire::from_nanoseconds(row.get(5)?),
    })
}

/// Reads a date back.
pub(super) fn read_date(text: &str) -> Result<Date, Fault> {
    text.parse().map_err(|cause: jiff::Error| Fault::Damaged(Box::new(cause)))
}

pub(super) fn sources(look: &Transaction<'_>) -> Result<Vec<SourceRow>, Fault> {
    let mut statement = look.prepare_cached(&format!(
        "SELECT {SOURCE_COLUMNS} FROM sources WHERE version IS NOT NULL ORDER BY name"
    ))?;
    statement.query_and_then([], source_row)?.collect()
}

/// Puts a source's row; whether it changed anything.
pub(super) fn put_source(
    transaction: &Transaction<'_>,
    names: &mut Names,
    row: &SourceRow,
) -> Result<bool, Fault> {
    let id = names.source(transaction, &row.source)?;
    let before = transaction
        .prepare_cached(&format!(
            "SELECT {SOURCE_COLUMNS} FROM sources WHERE id = ?1 AND version IS NOT NULL"
        ))?
        .query_and_then([id], source_row)?
        .next()
        .transpose()?;
    let same = before
        .is_some_and(|before| before == SourceRow { updated_at: before.updated_at, ..row.clone() });
    if same {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "UPDATE sources SET asked_from = ?2, paused = ?3, entities_seen = ?4, version = ?5,
             updated_at = ?6 WHERE id = ?1",
        )?
        .execute(params![
            id,
            row.from.map(|from| from.to_string()),
            row.paused,
            row.entities_seen as i64,
            row.version.0,
            wire::nanoseconds(row.updated_at),
        ])?;
    Ok(true)
}

pub(super) fn put_definition(
    transaction: &Transaction<'_>,
    names: &mut Names,
    source: &SourceId,
    version: &SourceVersion,
    definition: &str,
    at: Timestamp,
) -> Result<(), Fault> {
    let id = names.source(transaction, source)?;
    transaction
        .prepare_cached("REPLACE INTO definitions VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, version.0, definition, wire::nanoseconds(at)])?;
    Ok(())
}

pub(super) fn definition(
    look: &Transaction<'_>,
    source: &SourceId,
    version: &SourceVersion,
) -> Result<Option<String>, Fault> {
    let mut statement = look.prepare_cached(
        "SELECT definition FROM definitions d JOIN sources s ON s.id = d.source_id
         WHERE s.name = ?1 AND d.version = ?2",
    )?;
    Ok(statement.query_row((source.as_str(), &version.0), |row| row.get(0)).optional()?)
}

/// Fills an empty store.
pub(super) fn import(
    transaction: &Transaction<'_>,
    names: &mut Names,
    mut rebuilt: Rebuilt,
) -> Result<(), Fault> {
    let untouched: bool = transaction.query_row(
        "SELECT next_attempt = 1 AND next_batch = 1
             AND NOT EXISTS (SELECT 1 FROM sources WHERE version IS NOT NULL)
             AND NOT EXISTS (SELECT 1 FROM cells)
             AND NOT EXISTS (SELECT 1 FROM spend)
         FROM project",
        [],
        |row| row.get(0),
    )?;
    if !untouched {
        return Err(Fault::Refused(StateError::NotEmpty));
    }
    for row in &rebuilt.sources {
        put_source(transaction, names, row)?;
    }
    cells::apply(transaction, names, rebuilt.cells.iter_mut())?;
    for row in &rebuilt.spend {
        let source_id = names.source(transaction, &row.source)?;
        money::charge(transaction, row.day, source_id, row.requests as i64, row.spent)?;
    }
    for (source, period, spent) in &rebuilt.period_spend {
        let source_id = names.source(transaction, source)?;
        money::charge_periods(transaction, source_id, &[(*period, *spent)].into())?;
    }
    looks::put(transaction, names, &rebuilt.looks)?;
    looks::put_schedules(transaction, names, &rebuilt.schedules)?;
    transaction.execute(
        "UPDATE project SET next_attempt = ?1, next_batch = ?2, generation = generation + 1",
        (rebuilt.next_attempt.max(1), rebuilt.next_batch.max(1)),
    )?;
    observe(transaction, rebuilt.observed_at_max)
}
