//! What was learned of limit scopes, and who holds which share of them.

use super::fault::Fault;
use crate::{
    rows::{HoldShares, PaceRow},
    share, wire,
};
use rusqlite::{Transaction, params};

pub(super) fn all(look: &Transaction<'_>) -> Result<Vec<PaceRow>, Fault> {
    // A file of the first format that is only looked at has no such table.
    let made: bool = look
        .prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = 'paces'")?
        .query_row([], |row| row.get(0))?;
    if !made {
        return Ok(Vec::new());
    }
    let mut statement =
        look.prepare_cached("SELECT scope, learned, updated_at FROM paces ORDER BY scope")?;
    let rows = statement.query_map([], |row| {
        Ok(PaceRow {
            scope: row.get(0)?,
            learned: row.get(1)?,
            updated_at: wire::from_nanoseconds(row.get(2)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn put(transaction: &Transaction<'_>, rows: &[PaceRow]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("REPLACE INTO paces VALUES (?1, ?2, ?3)")?;
    for row in rows {
        statement.execute(params![row.scope, row.learned, wire::nanoseconds(row.updated_at)])?;
    }
    Ok(())
}

pub(super) fn hold(transaction: &Transaction<'_>, wish: &HoldShares) -> Result<Vec<f64>, Fault> {
    let now = wire::nanoseconds(wish.now);
    let expires_at = share::expires_at(wish.now, wish.lasts);
    let mut shares = Vec::with_capacity(wish.scopes.len());
    for scope in &wish.scopes {
        transaction
            .prepare_cached(
                "DELETE FROM shares WHERE scope = ?1 AND holder <> ?2 AND expires_at <= ?3",
            )?
            .execute(params![scope, wish.holder, now])?;
        let others: Vec<i64> = transaction
            .prepare_cached("SELECT parts FROM shares WHERE scope = ?1 AND holder <> ?2")?
            .query_map([scope, &wish.holder], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let parts = share::granted(&others);
        transaction
            .prepare_cached("REPLACE INTO shares VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![scope, wish.holder, parts, expires_at])?;
        shares.push(share::share(parts));
    }
    Ok(shares)
}

pub(super) fn drop_all(transaction: &Transaction<'_>, holder: &str) -> Result<(), Fault> {
    transaction.prepare_cached("DELETE FROM shares WHERE holder = ?1")?.execute([holder])?;
    Ok(())
}
