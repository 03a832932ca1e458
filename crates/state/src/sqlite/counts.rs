//! How many cells stand where. Kept while settling, but for how late waiting cells are: that changes
//! by itself, and is read off an index of those that are later than usual.

use super::{
    cells::{read_cause, read_period},
    fault::Fault,
    names,
};
use crate::{
    rows::{CellCount, CellRow, PeriodCount},
    wire,
};
use jiff::Timestamp;
use model::{Cause, CellState, Outcome, SourceId};
use rusqlite::Transaction;
use std::{borrow::Cow, collections::BTreeMap};

/// By what a cell `c` is counted beside its state, whatever the time: see [`word`].
pub(super) const WORD: &str = "CASE WHEN c.cause IS NOT NULL THEN c.cause \
                               WHEN c.state <> 'waiting' THEN '' \
                               WHEN c.late_watch_at IS NULL THEN coalesce(c.outcome, '') \
                               ELSE 'late_usual' END";

/// The same at the time `?1`.
fn word_at() -> String {
    format!(
        "CASE WHEN c.overdue_at <= ?1 THEN 'overdue' WHEN c.late_watch_at <= ?1 THEN 'late_watch' \
         ELSE {WORD} END"
    )
}

/// How many are later than usual at the time `?1`, by source and whether they are overdue.
pub(super) const LATER: &str = "SELECT s.name, c.overdue_at <= ?1, count(*)
    FROM cells c CROSS JOIN sources s ON s.id = c.source_id
    WHERE c.late_watch_at <= ?1 GROUP BY 1, 2";

/// By how much counts change, by source, state and [`word`].
pub(super) type Changes = BTreeMap<(i64, Cow<'static, str>, Cow<'static, str>), i64>;

/// By what a row is counted beside its state: its cause; while it waits, that it may become late, or
/// its last outcome, which tells the cause.
pub(super) fn word(row: &CellRow) -> &'static str {
    match row.state {
        CellState::Absent { cause } | CellState::GivenUp { cause } => cause.as_str(),
        CellState::Waiting { .. } if row.late_from.is_some() => Cause::LateUsual.as_str(),
        CellState::Waiting { last_outcome, .. } => last_outcome.as_str(),
        CellState::NotDue | CellState::Due | CellState::Present | CellState::Held => "",
    }
}

/// The cause of what is counted so.
fn cause_of(state: &str, word: &str) -> Result<Option<Cause>, Fault> {
    Ok(match (state, word) {
        ("waiting", word) => match Outcome::parse(word) {
            Some(last_outcome) => Some(Cause::of_waiting(last_outcome)),
            None => read_cause(word)?,
        },
        ("held", _) => Some(Cause::Quarantined),
        ("due", _) => Some(Cause::NotAttempted),
        ("not_due", _) => Some(Cause::NotDue),
        (_, word) => read_cause(word)?,
    })
}

/// A condition that holds of cells with a cause at the time `?1`.
pub(super) fn condition(cause: Cause) -> String {
    let waiting = Outcome::ALL.iter().filter(|outcome| Cause::of_waiting(**outcome) == cause);
    let mut words: Vec<&str> = waiting.map(|outcome| outcome.as_str()).collect();
    words.push(cause.as_str());
    let state = match cause {
        Cause::Quarantined => "held",
        Cause::NotAttempted => "due",
        Cause::NotDue => "not_due",
        _ => "",
    };
    format!(
        "(c.cause = '{cause}' OR c.state = '{state}' \
         OR (c.state = 'waiting' AND {} IN ('{}')))",
        word_at(),
        words.join("', '")
    )
}

/// Brings the counts to what the changes make of them.
pub(super) fn change(transaction: &Transaction<'_>, changes: Changes) -> Result<(), Fault> {
    let mut change = transaction.prepare_cached(
        "INSERT INTO counts VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET cells = cells + excluded.cells",
    )?;
    for ((source_id, state, word), cells) in changes {
        if cells != 0 {
            change.execute((source_id, &*state, &*word, cells))?;
        }
    }
    transaction.prepare_cached("DELETE FROM counts WHERE cells = 0")?.execute([])?;
    Ok(())
}

pub(super) fn of_sources(look: &Transaction<'_>, now: Timestamp) -> Result<Vec<CellCount>, Fault> {
    let mut sums = BTreeMap::<(String, String, Option<Cause>), i64>::new();
    let mut counted = look.prepare_cached(
        "SELECT s.name, n.state, n.cause, n.cells FROM counts n
         JOIN sources s ON s.id = n.source_id",
    )?;
    let mut rows = counted.query([])?;
    while let Some(row) = rows.next()? {
        let (source, state): (String, String) = (row.get(0)?, row.get(1)?);
        let word = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let cause = cause_of(&state, word)?;
        *sums.entry((source, state, cause)).or_default() += row.get::<_, i64>(3)?;
    }
    let mut later = look.prepare_cached(LATER)?;
    let mut rows = later.query([wire::nanoseconds(now)])?;
    while let Some(row) = rows.next()? {
        let (source, is_overdue, cells): (String, bool, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let cause = if is_overdue { Cause::Overdue } else { Cause::LateWatch };
        for (cause, change) in [(cause, cells), (Cause::LateUsual, -cells)] {
            let stands = (source.clone(), "waiting".to_owned(), Some(cause));
            *sums.entry(stands).or_default() += change;
        }
    }
    let mut counts = sums
        .into_iter()
        .filter(|(_, cells)| *cells > 0)
        .map(|((source, state, cause), cells)| {
            let source = names::read_source(&source)?;
            Ok(CellCount { source, state, cause, cells: cells.unsigned_abs() })
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    counts.sort();
    Ok(counts)
}

pub(super) fn of_periods(
    look: &Transaction<'_>,
    source: &SourceId,
    now: Timestamp,
) -> Result<Vec<PeriodCount>, Fault> {
    let Some(source_id) = names::find_source(look, source)? else { return Ok(Vec::new()) };
    let mut statement = look.prepare_cached(&format!(
        "SELECT c.period, c.state, {} AS word, count(*) FROM cells c WHERE c.source_id = ?2
         GROUP BY c.period, c.state, word",
        word_at()
    ))?;
    let mut rows = statement.query((wire::nanoseconds(now), source_id))?;
    let mut sums = BTreeMap::<_, u64>::new();
    while let Some(row) = rows.next()? {
        let (period, state) = (read_period(row.get(0)?)?, row.get::<_, String>(1)?);
        let word = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let cause = cause_of(&state, word)?;
        *sums.entry((period, state, cause)).or_default() += row.get::<_, i64>(3)?.unsigned_abs();
    }
    Ok(sums
        .into_iter()
        .map(|((period, state, cause), cells)| PeriodCount { period, state, cause, cells })
        .collect())
}
