//! What people wish for: backfills.

use super::{
    fault::Fault,
    names::{self, Names},
    projects::read_date,
};
use crate::{
    error::StateError,
    rows::{BackfillRow, NewBackfill},
    wire,
};
use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

pub(super) fn add(
    transaction: &Transaction<'_>,
    names: &mut Names,
    wish: &NewBackfill,
) -> Result<i64, Fault> {
    let source_id = names.source(transaction, &wish.source)?;
    Ok(transaction
        .prepare_cached(
            "INSERT INTO backfills (source_id, first_day, last_day, requested_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert(params![
            source_id,
            wish.from.to_string(),
            wish.until.to_string(),
            wire::nanoseconds(wish.requested_at),
        ])?)
}

pub(super) fn all(look: &Transaction<'_>) -> Result<Vec<BackfillRow>, Fault> {
    let mut statement = look.prepare_cached(
        "SELECT b.id, s.name, b.first_day, b.last_day, b.requested_at, b.finished_at
         FROM backfills b JOIN sources s ON s.id = b.source_id ORDER BY b.id",
    )?;
    statement.query_and_then([], backfill_row)?.collect()
}

fn backfill_row(row: &Row<'_>) -> Result<BackfillRow, Fault> {
    let text = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
    Ok(BackfillRow {
        id: row.get(0)?,
        source: names::read_source(text(1)?)?,
        from: read_date(text(2)?)?,
        until: read_date(text(3)?)?,
        requested_at: wire::from_nanoseconds(row.get(4)?),
        finished_at: row.get::<_, Option<i64>>(5)?.map(wire::from_nanoseconds),
    })
}

pub(super) fn finish(transaction: &Transaction<'_>, id: i64, at: Timestamp) -> Result<(), Fault> {
    let found = transaction
        .prepare_cached(
            "UPDATE backfills SET finished_at = coalesce(finished_at, ?2) WHERE id = ?1",
        )?
        .execute((id, wire::nanoseconds(at)))?;
    if found == 0 { Err(Fault::Refused(StateError::UnknownBackfill { id })) } else { Ok(()) }
}
