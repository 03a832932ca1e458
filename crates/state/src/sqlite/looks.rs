//! What is known of looks at cells that have not arrived, and what was learned of arrivals.

use super::{
    fault::Fault,
    names::{self, Names},
};
use crate::{
    rows::{LookRow, ScheduleRow},
    wire,
};
use model::{CellKey, SourceId};
use rusqlite::{Transaction, params};

/// Whether a file that is only looked at has the tables of its format.
fn are_made(look: &Transaction<'_>) -> Result<bool, Fault> {
    Ok(look
        .prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = 'looks'")?
        .query_row([], |row| row.get(0))?)
}

pub(super) fn of_source(look: &Transaction<'_>, source: &SourceId) -> Result<Vec<LookRow>, Fault> {
    let (true, Some(source_id)) = (are_made(look)?, names::find_source(look, source)?) else {
        return Ok(Vec::new());
    };
    let mut statement = look.prepare_cached("SELECT known FROM looks WHERE source_id = ?1")?;
    let rows = statement.query_and_then([source_id], |row| {
        let known = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        Ok::<LookRow, Fault>(wire::decode(known)?)
    })?;
    let mut rows: Vec<LookRow> = rows.collect::<Result<_, _>>()?;
    rows.sort_by(|left, right| (left.period, &left.entity).cmp(&(right.period, &right.entity)));
    Ok(rows)
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    names: &mut Names,
    rows: &[(SourceId, LookRow)],
) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("REPLACE INTO looks VALUES (?1, ?2, ?3, ?4)")?;
    for (source, row) in rows {
        let source_id = names.source(transaction, source)?;
        let entity_id = names.entity(transaction, source_id, &row.entity)?;
        let known = wire::encode(row)?;
        statement.execute(params![source_id, wire::period_code(&row.period), entity_id, known])?;
    }
    Ok(())
}

pub(super) fn remove(
    transaction: &Transaction<'_>,
    names: &mut Names,
    cells: &[CellKey],
) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "DELETE FROM looks WHERE source_id = ?1 AND period = ?2 AND entity_id = ?3",
    )?;
    for cell in cells {
        let source_id = names.source(transaction, &cell.source)?;
        let entity_id = names.entity(transaction, source_id, &cell.entity)?;
        statement.execute(params![source_id, wire::period_code(&cell.period), entity_id])?;
    }
    Ok(())
}

pub(super) fn schedules(look: &Transaction<'_>) -> Result<Vec<ScheduleRow>, Fault> {
    if !are_made(look)? {
        return Ok(Vec::new());
    }
    let mut statement = look.prepare_cached(
        "SELECT s.name, c.saved, c.updated_at
         FROM schedules c JOIN sources s ON s.id = c.source_id ORDER BY s.name",
    )?;
    let rows = statement.query_and_then([], |row| {
        Ok(ScheduleRow {
            source: names::read_source(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?,
            saved: row.get(1)?,
            updated_at: wire::from_nanoseconds(row.get(2)?),
        })
    })?;
    rows.collect()
}

pub(super) fn put_schedules(
    transaction: &Transaction<'_>,
    names: &mut Names,
    rows: &[ScheduleRow],
) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("REPLACE INTO schedules VALUES (?1, ?2, ?3)")?;
    for row in rows {
        let source_id = names.source(transaction, &row.source)?;
        let updated_at = wire::nanoseconds(row.updated_at);
        statement.execute(params![source_id, row.saved, updated_at])?;
    }
    Ok(())
}
