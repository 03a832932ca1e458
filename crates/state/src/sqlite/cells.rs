//! Cells.

use super::{
    counts::{self, Changes, WORD},
    fault::Fault,
    names::{self, Names},
    together,
};
use crate::{
    rows::{CellFilter, CellRow},
    wire,
};
use jiff::Timestamp;
use model::{AttemptId, Cause, CellKey, CellState, Entity, LateFrom, Outcome, Period, SourceId};
use rusqlite::{
    CachedStatement, OptionalExtension, Row, ToSql, Transaction, params_from_iter, types::Value,
};
use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

/// What [`read_row`] reads, in its order.
const COLUMNS: &str = "c.state, c.cause, c.outcome, c.looks, c.failures, c.complete_since_due, \
                       c.records, c.quarantined, c.observed_at, c.next_look_at, c.last_attempt, \
                       c.evidence, c.records_hash, c.updated_at, c.late_watch_at, c.overdue_at";

/// Of all columns, as [`bind`] gives them.
const COLUMNS_PUT: usize = 19;
const VALUES: &str = "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
                      ?16, ?17, ?18, ?19)";

/// Source, period and entity by their numbers.
type Key = (i64, i64, i64);

/// Puts cells as they are given; of the same cell, the last. Counts follow.
pub(super) fn apply<'a>(
    transaction: &Transaction<'_>,
    names: &mut Names,
    cells: impl Iterator<Item = &'a mut (SourceId, CellRow)>,
) -> Result<(), Fault> {
    let mut rows: Vec<(i64, &CellRow)> = Vec::new();
    for (source, row) in cells {
        wire::normalize(row);
        rows.push((names.source(transaction, source)?, row));
    }
    let entities: Vec<(i64, &Entity)> =
        rows.iter().map(|(source_id, row)| (*source_id, &row.entity)).collect();
    let entity_ids = names.entities(transaction, &entities)?;
    let mut keys: Vec<(Key, usize)> = (rows.iter().zip(entity_ids).enumerate())
        .map(|(place, ((source_id, row), entity_id))| {
            ((*source_id, wire::period_code(&row.period), entity_id), place)
        })
        .collect();
    // In the table's order, so that each page is touched once; of the same cell, the last first.
    keys.sort_unstable_by_key(|(key, place)| (*key, Reverse(*place)));
    keys.dedup_by_key(|(key, _)| *key);
    let mut putting = Putting::new(transaction)?;
    for (key, place) in keys {
        if let Some((_, row)) = rows.get(place) {
            putting.put(key, row)?;
        }
    }
    counts::change(transaction, putting.end()?)
}

/// The statements that put cells, and what they changed.
struct Putting<'t, 'c> {
    look_up: CachedStatement<'t>,
    add_all: CachedStatement<'t>,
    add: CachedStatement<'t>,
    put: CachedStatement<'t>,
    /// Rows of cells that most likely have none yet.
    new: Vec<(Key, &'c CellRow)>,
    changes: Changes,
}

impl<'t, 'c> Putting<'t, 'c> {
    fn new(transaction: &'t Transaction<'_>) -> Result<Self, Fault> {
        let prepare = |sql: String| transaction.prepare_cached(&sql);
        Ok(Self {
            look_up: prepare(format!(
                "SELECT c.state, {WORD} FROM cells c
                 WHERE c.source_id = ?1 AND c.period = ?2 AND c.entity_id = ?3"
            ))?,
            add_all: prepare(format!("INSERT INTO cells {}", together::values(COLUMNS_PUT)))?,
            add: prepare(format!("INSERT INTO cells {VALUES} ON CONFLICT DO NOTHING"))?,
            put: prepare(format!("REPLACE INTO cells {VALUES}"))?,
            new: Vec::with_capacity(together::ROWS),
            changes: Changes::new(),
        })
    }

    fn put(&mut self, key: Key, row: &'c CellRow) -> Result<(), Fault> {
        let after = (key.0, row.state.as_str().into(), counts::word(row).into());
        *self.changes.entry(after).or_default() += 1;
        // A cell that was looked at once has mostly no row yet, and then none must be looked up.
        if row.looks > 1 {
            return self.replace(key, row);
        }
        self.new.push((key, row));
        if self.new.len() < together::ROWS {
            return Ok(());
        }
        for (place, (key, row)) in self.new.iter().enumerate() {
            bind(&mut self.add_all, place * COLUMNS_PUT, *key, row)?;
        }
        if together::add(&mut self.add_all)? {
            self.new.clear();
            return Ok(());
        }
        self.add_each()
    }

    fn add_each(&mut self) -> Result<(), Fault> {
        for (key, row) in std::mem::take(&mut self.new) {
            bind(&mut self.add, 0, key, row)?;
            if self.add.raw_execute()? == 0 {
                self.replace(key, row)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, key: Key, row: &CellRow) -> Result<(), Fault> {
        let before = self.look_up.query_row(key, |found| {
            let (state, word) = (found.get_ref(0)?.as_str()?, found.get_ref(1)?.as_str()?);
            Ok((key.0, state.to_owned().into(), word.to_owned().into()))
        });
        if let Some(before) = before.optional()? {
            *self.changes.entry(before).or_default() -= 1;
        }
        bind(&mut self.put, 0, key, row)?;
        self.put.raw_execute()?;
        Ok(())
    }

    fn end(mut self) -> Result<Changes, Fault> {
        self.add_each()?;
        Ok(self.changes)
    }
}

/// Binds a row to a statement's parameters behind the first `before`.
fn bind(
    statement: &mut CachedStatement<'_>,
    before: usize,
    (source_id, period, entity_id): Key,
    row: &CellRow,
) -> Result<(), Fault> {
    let evidence = row.evidence.as_ref().map(wire::encode).transpose()?;
    let values: [&dyn ToSql; COLUMNS_PUT] = [
        &source_id,
        &period,
        &entity_id,
        &row.state.as_str(),
        &cause_of(row.state).map(Cause::as_str),
        &row.outcome.map(Outcome::as_str),
        &row.looks,
        &row.failures,
        &row.complete_since_due,
        &(row.records as i64),
        &(row.quarantined as i64),
        &row.observed_at.map(wire::nanoseconds),
        &row.next_look_at.map(wire::nanoseconds),
        &row.last_attempt.0,
        &evidence,
        &row.records_hash.as_ref().map(<[u8; 16]>::as_slice),
        &wire::nanoseconds(row.updated_at),
        &row.late_from.map(|late| wire::nanoseconds(late.watch)),
        &row.late_from.map(|late| wire::nanoseconds(late.overdue)),
    ];
    for (place, value) in (before + 1..).zip(values) {
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}

/// The cause that is a part of a state.
fn cause_of(state: CellState) -> Option<Cause> {
    match state {
        CellState::Absent { cause } | CellState::GivenUp { cause } => Some(cause),
        CellState::NotDue
        | CellState::Due
        | CellState::Waiting { .. }
        | CellState::Present
        | CellState::Held => None,
    }
}

pub(super) fn read_cause(text: &str) -> Result<Option<Cause>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let unknown = || Fault::damaged(format!("`{text}` is not a cause"));
    Cause::parse(text).map(Some).ok_or_else(unknown)
}

pub(super) fn read_period(code: i64) -> Result<Period, Fault> {
    wire::period_of_code(code)
        .ok_or_else(|| Fault::damaged(format!("`{code}` is not the code of a period")))
}

/// Reads [`COLUMNS`] that start at column `at`.
fn read_row(row: &Row<'_>, at: usize, entity: Entity, period: Period) -> Result<CellRow, Fault> {
    let text = |column: usize| -> rusqlite::Result<Option<&str>> {
        Ok(row.get_ref(at + column)?.as_str_or_null()?)
    };
    let time = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(at + column)?.map(wire::from_nanoseconds))
    };
    let outcome = text(2)?
        .map(|word| {
            Outcome::parse(word).ok_or_else(|| Fault::damaged(format!("`{word}` is no outcome")))
        })
        .transpose()?;
    let cause = read_cause(text(1)?.unwrap_or_default())?;
    let next_look_at = time(9)?;
    let word = text(0)?.unwrap_or_default();
    let state = match (word, cause, next_look_at, outcome) {
        ("not_due", None, ..) => CellState::NotDue,
        ("due", None, ..) => CellState::Due,
        ("waiting", None, Some(next_look_at), Some(last_outcome)) => {
            CellState::Waiting { next_look_at, last_outcome }
        }
        ("present", None, ..) => CellState::Present,
        ("absent", Some(cause), ..) => CellState::Absent { cause },
        ("held", None, ..) => CellState::Held,
        ("given_up", Some(cause), ..) => CellState::GivenUp { cause },
        _ => return Err(Fault::damaged(format!("`{word}` with what it has is not a state"))),
    };
    let evidence = row.get_ref(at + 11)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    Ok(CellRow {
        entity,
        period,
        state,
        outcome,
        looks: row.get(at + 3)?,
        failures: row.get(at + 4)?,
        complete_since_due: row.get(at + 5)?,
        records: row.get::<_, i64>(at + 6)? as u64,
        quarantined: row.get::<_, i64>(at + 7)? as u64,
        observed_at: time(8)?,
        next_look_at,
        last_attempt: AttemptId(row.get(at + 10)?),
        evidence: evidence.map(wire::decode).transpose()?,
        records_hash: row.get(at + 12)?,
        updated_at: wire::from_nanoseconds(row.get(at + 13)?),
        late_from: time(14)?.zip(time(15)?).map(|(watch, overdue)| LateFrom { watch, overdue }),
    })
}

pub(super) fn of_source(look: &Transaction<'_>, source: &SourceId) -> Result<Vec<CellRow>, Fault> {
    let Some(source_id) = names::find_source(look, source)? else { return Ok(Vec::new()) };
    let mut entities = BTreeMap::<i64, Entity>::new();
    let mut statement =
        look.prepare_cached("SELECT id, entity FROM entities WHERE source_id = ?1 ORDER BY id")?;
    let mut found = statement.query([source_id])?;
    while let Some(row) = found.next()? {
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        entities.insert(row.get(0)?, names::read_entity(text)?);
    }
    let mut statement = look.prepare_cached(&format!(
        "SELECT c.period, c.entity_id, {COLUMNS} FROM cells c WHERE c.source_id = ?1
         ORDER BY c.period, c.entity_id"
    ))?;
    let mut found = statement.query([source_id])?;
    let mut rows = Vec::new();
    let mut last = None;
    while let Some(row) = found.next()? {
        let code: i64 = row.get(0)?;
        let period = match last {
            Some((last_code, period)) if last_code == code => period,
            _ => read_period(code)?,
        };
        last = Some((code, period));
        let entity_id: i64 = row.get(1)?;
        let entity = entities
            .get(&entity_id)
            .ok_or_else(|| Fault::damaged(format!("entity `{entity_id}` is missing")))?;
        rows.push(read_row(row, 2, entity.clone(), period)?);
    }
    // Numbers follow first sight, not the alphabet.
    rows.sort_by(|left, right| (left.period, &left.entity).cmp(&(right.period, &right.entity)));
    Ok(rows)
}

pub(super) fn one(look: &Transaction<'_>, key: &CellKey) -> Result<Option<CellRow>, Fault> {
    let Some(source_id) = names::find_source(look, &key.source)? else { return Ok(None) };
    let Some(entity_id) = names::find_entity(look, source_id, &key.entity)? else {
        return Ok(None);
    };
    let mut statement = look.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM cells c
         WHERE c.source_id = ?1 AND c.period = ?2 AND c.entity_id = ?3"
    ))?;
    let key_columns = (source_id, wire::period_code(&key.period), entity_id);
    statement
        .query_and_then(key_columns, |row| read_row(row, 0, key.entity.clone(), key.period))?
        .next()
        .transpose()
}

pub(super) fn find(
    look: &Transaction<'_>,
    filter: &CellFilter,
    limit: u32,
) -> Result<Vec<(SourceId, CellRow)>, Fault> {
    let text = |text: &str| Value::Text(text.to_owned());
    let code = |period: &Period| Value::Integer(wire::period_code(period));
    let now = filter.cause.map_or(Timestamp::MIN, |(_, now)| now);
    let mut values = vec![Value::Integer(wire::nanoseconds(now))];
    let mut sql = format!(
        "SELECT s.name, e.entity, c.period, {COLUMNS} FROM sources s
         CROSS JOIN cells c ON c.source_id = s.id
         CROSS JOIN entities e ON e.id = c.entity_id WHERE 1"
    );
    let conditions = [
        ("s.name = ", filter.source.as_ref().map(|source| text(source.as_str()))),
        ("c.state = ", filter.state.as_deref().map(text)),
        ("e.entity = ", filter.entity.as_ref().map(|entity| text(entity.as_str()))),
        ("c.period >= ", filter.period_from.as_ref().map(code)),
        ("c.period <= ", filter.period_to.as_ref().map(code)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            values.push(value);
            let _ = write!(sql, " AND {condition}?{}", values.len());
        }
    }
    if let Some((cause, _)) = filter.cause {
        sql.push_str(" AND ");
        sql.push_str(&counts::condition(cause));
    }
    // The joins are crossed to go by the order's own indexes, so that a small limit ends early.
    values.push(Value::Integer(i64::from(limit)));
    let _ = write!(sql, " ORDER BY s.name, c.period, e.entity LIMIT ?{}", values.len());
    let mut statement = look.prepare_cached(&sql)?;
    let rows = statement.query_and_then(params_from_iter(values), |row| {
        let text = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
        let source = names::read_source(text(0)?)?;
        let entity = names::read_entity(text(1)?)?;
        let period = read_period(row.get(2)?)?;
        Ok((source, read_row(row, 3, entity, period)?))
    })?;
    rows.collect()
}
