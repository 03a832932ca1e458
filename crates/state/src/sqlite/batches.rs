//! Batches: announced before tables are touched, settled after.

use super::{cells, fault::Fault, looks, money, names::Names, projects};
use crate::{error::StateError, rows::Batch, wire};
use rusqlite::{OptionalExtension, Transaction};

fn next_batch(look: &Transaction<'_>) -> Result<i64, Fault> {
    Ok(look.prepare_cached("SELECT next_batch FROM project")?.query_row([], |row| row.get(0))?)
}

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
        .prepare_cached("INSERT INTO batches VALUES (?1, ?2)")?
        .execute((number, payload))?;
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

pub(super) fn settle(
    transaction: &Transaction<'_>,
    names: &mut Names,
    number: i64,
) -> Result<(), Fault> {
    let batch: Option<Result<Batch, postcard::Error>> = transaction
        .prepare_cached("SELECT payload FROM batches WHERE number = ?1")?
        .query_row([number], |row| Ok(wire::decode_batch(row.get_ref(0)?.as_blob()?)))
        .optional()?;
    let Some(batch) = batch.transpose()? else {
        let next_batch = next_batch(transaction)?;
        let settled = (1..next_batch).contains(&number);
        return if settled {
            Ok(())
        } else {
            Err(Fault::Refused(StateError::UnknownBatch { number, next_batch }))
        };
    };
    cells::apply(transaction, names, &batch.cells)?;
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
