//! Batches: announced before tables are touched, settled after.

use super::{cells, fault::Fault, looks, money, names::Names, projects};
use crate::{error::StateError, rows::Batch, wire};
use rusqlite::{MAIN_DB, Transaction};

fn next_batch(look: &Transaction<'_>) -> Result<i64, Fault> {
    Ok(look.prepare_cached("SELECT next_batch FROM project")?.query_row([], |row| row.get(0))?)
}

/// Keeps a batch, as bytes.
pub(super) fn announce(
    transaction: &Transaction<'_>,
    number: i64,
    payload: &[u8],
) -> Result<(), Fault> {
    let expected = next_batch(transaction)?;
    if number != expected {
        return Err(Fault::Refused(StateError::StaleBatch { found: number, expected }));
    }
    transaction
        .prepare_cached("INSERT INTO batches VALUES (?1, zeroblob(?2))")?
        .execute((number, payload.len() as i64))?;
    // Into its pages: as a parameter it would be copied twice on its way.
    transaction
        .blob_open(MAIN_DB, "batches", "payload", number, false)?
        .write_all_at(payload, 0)?;
    transaction.prepare_cached("UPDATE project SET next_batch = next_batch + 1")?.execute([])?;
    Ok(())
}

pub(super) fn announced(look: &Transaction<'_>) -> Result<Vec<Batch>, Fault> {
    let mut statement = look.prepare_cached("SELECT payload FROM batches ORDER BY number")?;
    let batches = statement.query_and_then([], |row| {
        let payload = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        Ok(wire::decode_batch(payload)?)
    })?;
    batches.collect()
}

/// Applies a batch and forgets it; `announced`: the same batch, if it is at hand.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    names: &mut Names,
    number: i64,
    announced: Option<Batch>,
) -> Result<(), Fault> {
    let is_open =
        transaction.prepare_cached("SELECT 1 FROM batches WHERE number = ?1")?.exists([number])?;
    if !is_open {
        let next_batch = next_batch(transaction)?;
        let settled = (1..next_batch).contains(&number);
        return if settled {
            Ok(())
        } else {
            Err(Fault::Refused(StateError::UnknownBatch { number, next_batch }))
        };
    }
    let mut batch = match announced {
        Some(batch) => batch,
        None => transaction
            .prepare_cached("SELECT payload FROM batches WHERE number = ?1")?
            .query_row([number], |row| Ok(wire::decode_batch(row.get_ref(0)?.as_blob()?)))??,
    };
    cells::apply(transaction, names, batch.cells.iter_mut())?;
    looks::put(transaction, names, &batch.looks)?;
    looks::remove(transaction, names, &batch.looks_over)?;
    for (attempt, refund) in batch.refunds {
        money::refund(transaction, attempt, refund)?;
    }
    money::close(transaction, batch.attempts, money::Fate::Spent)?;
    projects::observe(transaction, batch.observed_at_max)?;
    transaction.prepare_cached("DELETE FROM batches WHERE number = ?1")?.execute([number])?;
    Ok(())
}
