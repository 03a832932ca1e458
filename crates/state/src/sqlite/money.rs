//! Money: reserved before anything is sent, closed one bit an attempt.

use super::{
    fault::Fault,
    names::{self, Names},
    projects::read_date,
};
use crate::{
    budget,
    open_bits::OpenBits,
    rows::{Granted, OpenAttempt, Reserve, SpendRow},
    wire,
};
use jiff::civil::Date;
use model::{AttemptId, Entity, Money, Period};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::BTreeMap;

/// What becomes of the money of an attempt that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The attempt was sent.
    Spent,
    /// It never was.
    Returned,
}

pub(super) fn reserve(
    transaction: &Transaction<'_>,
    names: &mut Names,
    request: &Reserve,
) -> Result<Granted, Fault> {
    let at = wire::kept(request.at);
    let day = budget::day_of(at);
    let source_id = names.source(transaction, &request.source)?;
    let spent = spent_before(transaction, request, day, source_id)?;
    let (granted, exhausted) = budget::grant(request, &spent);
    let first: i64 = transaction
        .prepare_cached("SELECT next_attempt FROM project")?
        .query_row([], |row| row.get(0))?;
    if granted > 0 {
        let cost = budget::cost_each(request);
        let cells = request.cells.get(..granted).unwrap_or(&request.cells);
        transaction
            .prepare_cached("INSERT INTO reservations VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                first,
                granted as i64,
                source_id,
                cost.micros,
                wire::nanoseconds(at),
                OpenBits::all(granted).as_bytes(),
            ])?;
        transaction
            .prepare_cached("INSERT INTO reservation_cells VALUES (?1, ?2)")?
            .execute((first, wire::encode_reserved(cells)?))?;
        charge(transaction, day, source_id, granted as i64, cost * granted as i64)?;
        let periods = cells.iter().map(|(_, period)| period);
        charge_periods(transaction, source_id, &budget::by_period(periods, cost))?;
        transaction
            .prepare_cached("UPDATE project SET next_attempt = next_attempt + ?1")?
            .execute([granted as i64])?;
    }
    Ok(Granted { first: AttemptId(first), granted, exhausted })
}

/// What is spent of the budgets that bound a request.
fn spent_before(
    transaction: &Transaction<'_>,
    request: &Reserve,
    day: Date,
    source_id: i64,
) -> Result<budget::Spent, Fault> {
    let mut spent = budget::Spent::default();
    (spent.source_day, spent.project_day) = spent_in(transaction, day, day, source_id)?;
    if budget::needs_month(request) {
        (spent.source_month, spent.project_month) =
            spent_in(transaction, day.first_of_month(), day.last_of_month(), source_id)?;
    }
    if request.source_budget.per_period.is_some() {
        for (_, period) in &request.cells {
            if !spent.periods.contains_key(period) {
                let known = spent_on_period(transaction, source_id, *period)?;
                spent.periods.insert(*period, known);
            }
        }
    }
    Ok(spent)
}

fn spent_on_period(
    transaction: &Transaction<'_>,
    source_id: i64,
    period: Period,
) -> Result<Money, Fault> {
    let micros: Option<i64> = transaction
        .prepare_cached("SELECT micros FROM period_spend WHERE source_id = ?1 AND period = ?2")?
        .query_row((source_id, wire::period_code(&period)), |row| row.get(0))
        .optional()?;
    Ok(Money { micros: micros.unwrap_or_default() })
}

/// Adds to what periods' cells cost; amounts may be negative.
pub(super) fn charge_periods(
    transaction: &Transaction<'_>,
    source_id: i64,
    spent: &BTreeMap<Period, Money>,
) -> Result<(), Fault> {
    for (period, spent) in spent.iter().filter(|(_, spent)| **spent != Money::ZERO) {
        transaction
            .prepare_cached(
                "INSERT INTO period_spend VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET micros = micros + excluded.micros",
            )?
            .execute((source_id, wire::period_code(period), spent.micros))?;
    }
    Ok(())
}

/// What a source and what all sources spent from one day to another, both included.
fn spent_in(
    transaction: &Transaction<'_>,
    from: Date,
    until: Date,
    source_id: i64,
) -> Result<(Money, Money), Fault> {
    let mut statement = transaction
        .prepare_cached("SELECT source_id, micros FROM spend WHERE day BETWEEN ?1 AND ?2")?;
    let mut rows = statement.query([from.to_string(), until.to_string()])?;
    let (mut by_source, mut by_project) = (Money::ZERO, Money::ZERO);
    while let Some(row) = rows.next()? {
        let spent = Money { micros: row.get(1)? };
        by_project += spent;
        if row.get::<_, i64>(0)? == source_id {
            by_source += spent;
        }
    }
    Ok((by_source, by_project))
}

/// Adds to a day's spend; both may be negative. A day without requests has no row.
pub(super) fn charge(
    transaction: &Transaction<'_>,
    day: Date,
    source_id: i64,
    requests: i64,
    spent: Money,
) -> Result<(), Fault> {
    let day = day.to_string();
    let before = transaction
        .prepare_cached("SELECT requests, micros FROM spend WHERE day = ?1 AND source_id = ?2")?
        .query_row((&day, source_id), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (requests_before, micros): (i64, i64) = before.unwrap_or_default();
    let requests_after = requests_before.wrapping_add(requests);
    if before.is_some() && requests < 0 && requests_after == 0 {
        transaction
            .prepare_cached("DELETE FROM spend WHERE day = ?1 AND source_id = ?2")?
            .execute((&day, source_id))?;
        return Ok(());
    }
    transaction.prepare_cached("REPLACE INTO spend VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        day,
        source_id,
        requests_after,
        (Money { micros } + spent).micros,
    ])?;
    Ok(())
}

fn reserved_cells(
    transaction: &Transaction<'_>,
    first: i64,
) -> Result<Vec<(Entity, Period)>, Fault> {
    let cells: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT cells FROM reservation_cells WHERE first = ?1")?
        .query_row([first], |row| row.get(0))
        .optional()?;
    Ok(cells.map(|cells| wire::decode_reserved(&cells)).transpose()?.unwrap_or_default())
}

/// Gives back what an open attempt cost less than was reserved for it.
pub(super) fn refund(
    transaction: &Transaction<'_>,
    attempt: AttemptId,
    refund: Money,
) -> Result<(), Fault> {
    let found = transaction
        .prepare_cached(
            "SELECT first, count, source_id, cost_micros, reserved_at, open
             FROM reservations WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )?
        .query_row([attempt.0], reservation)
        .optional()?;
    let Some(found) = found else { return Ok(()) };
    let index = (attempt.0 - found.first) as usize;
    if !found.open.contains(index) {
        return Ok(());
    }
    let back = Money::ZERO - refund.min(found.cost).max(Money::ZERO);
    charge(transaction, budget::day_of(found.reserved_at), found.source_id, 0, back)?;
    let cells = reserved_cells(transaction, found.first)?;
    let periods = cells.get(index).into_iter().map(|(_, period)| period);
    charge_periods(transaction, found.source_id, &budget::by_period(periods, back))
}

struct Reservation {
    first: i64,
    count: i64,
    source_id: i64,
    cost: Money,
    reserved_at: jiff::Timestamp,
    open: OpenBits,
}

fn reservation(row: &Row<'_>) -> rusqlite::Result<Reservation> {
    Ok(Reservation {
        first: row.get(0)?,
        count: row.get(1)?,
        source_id: row.get(2)?,
        cost: Money { micros: row.get(3)? },
        reserved_at: wire::from_nanoseconds(row.get(4)?),
        open: OpenBits::from_bytes(row.get(5)?),
    })
}

/// Closes those of the attempts that are open, one reservation at a time.
pub(super) fn close(
    transaction: &Transaction<'_>,
    mut attempts: Vec<AttemptId>,
    fate: Fate,
) -> Result<(), Fault> {
    attempts.sort_unstable();
    let mut left = attempts.as_slice();
    while let Some(next) = left.first() {
        let found = transaction
            .prepare_cached(
                "SELECT first, count, source_id, cost_micros, reserved_at, open
                 FROM reservations WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
            )?
            .query_row([next.0], reservation)
            .optional()?
            .filter(|found| next.0 - found.first < found.count);
        let Some(found) = found else {
            // Not open: on to the first that can be.
            let after: Option<i64> = transaction
                .prepare_cached("SELECT min(first) FROM reservations WHERE first > ?1")?
                .query_row([next.0], |row| row.get(0))?;
            let skip = left.partition_point(|attempt| after.is_none_or(|after| attempt.0 < after));
            left = left.get(skip..).unwrap_or_default();
            continue;
        };
        let end = found.first + found.count;
        let (inside, beyond) = left.split_at(left.partition_point(|attempt| attempt.0 < end));
        close_inside(transaction, found, inside, fate)?;
        left = beyond;
    }
    Ok(())
}

fn close_inside(
    transaction: &Transaction<'_>,
    mut reservation: Reservation,
    attempts: &[AttemptId],
    fate: Fate,
) -> Result<(), Fault> {
    let first = reservation.first;
    let inside: Vec<usize> = attempts
        .iter()
        .map(|attempt| (attempt.0 - first) as usize)
        .filter(|index| reservation.open.close(*index))
        .collect();
    let closed = inside.len() as i64;
    if closed == 0 {
        return Ok(());
    }
    if fate == Fate::Returned && reservation.cost > Money::ZERO {
        let cells = reserved_cells(transaction, first)?;
        let periods = inside.iter().filter_map(|index| cells.get(*index)).map(|(_, period)| period);
        let back = budget::by_period(periods, Money::ZERO - reservation.cost);
        charge_periods(transaction, reservation.source_id, &back)?;
    }
    if reservation.open.is_empty() {
        transaction
            .prepare_cached("DELETE FROM reservations WHERE first = ?1")?
            .execute([first])?;
        transaction
            .prepare_cached("DELETE FROM reservation_cells WHERE first = ?1")?
            .execute([first])?;
    } else {
        transaction
            .prepare_cached("UPDATE reservations SET open = ?2 WHERE first = ?1")?
            .execute((first, reservation.open.as_bytes()))?;
    }
    match fate {
        Fate::Spent => Ok(()),
        Fate::Returned => charge(
            transaction,
            budget::day_of(reservation.reserved_at),
            reservation.source_id,
            -closed,
            reservation.cost * -closed,
        ),
    }
}

pub(super) fn open_attempts(look: &Transaction<'_>) -> Result<Vec<OpenAttempt>, Fault> {
    let mut statement = look.prepare_cached(
        "SELECT r.first, r.count, r.source_id, r.cost_micros, r.reserved_at, r.open, s.name,
             c.cells
         FROM reservations r
         JOIN sources s ON s.id = r.source_id
         JOIN reservation_cells c ON c.first = r.first
         ORDER BY r.first",
    )?;
    let mut rows = statement.query([])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        let found = reservation(row)?;
        let source = names::read_source(row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)?;
        let cells = row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?;
        let cells = wire::decode_reserved(cells)?;
        for (index, (entity, period)) in cells.into_iter().enumerate() {
            if found.open.contains(index) {
                attempts.push(OpenAttempt {
                    attempt: AttemptId(found.first + index as i64),
                    source: source.clone(),
                    entity,
                    period,
                    cost: found.cost,
                    reserved_at: found.reserved_at,
                });
            }
        }
    }
    Ok(attempts)
}

pub(super) fn spend(look: &Transaction<'_>, from: Option<Date>) -> Result<Vec<SpendRow>, Fault> {
    let mut statement = look.prepare_cached(
        "SELECT s.name, d.day, d.requests, d.micros
         FROM spend d JOIN sources s ON s.id = d.source_id
         WHERE d.day >= ?1 ORDER BY d.day, s.name",
    )?;
    let from = from.map_or_else(String::new, |from| from.to_string());
    let rows = statement.query_and_then([from], |row| {
        let text = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
        Ok(SpendRow {
            source: names::read_source(text(0)?)?,
            day: read_date(text(1)?)?,
            requests: row.get::<_, i64>(2)? as u64,
            spent: Money { micros: row.get(3)? },
        })
    })?;
    rows.collect()
}
