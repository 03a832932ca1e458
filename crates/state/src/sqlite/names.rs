//! The numbers of sources and entities, remembered between transactions of one connection.
//!
//! A number is never given to another name, so what is remembered stays true whatever other
//! processes do; only a rollback can make it untrue, and then the whole memory is dropped.

use super::{fault::Fault, together};
use model::{Entity, SourceId};
use rusqlite::{OptionalExtension, Transaction};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::LazyLock,
};

/// How many entities are remembered before the memory starts afresh: about 100 MB.
const ENTITIES_REMEMBERED: usize = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Names {
    sources: BTreeMap<SourceId, i64>,
    entities: BTreeMap<i64, BTreeMap<Entity, i64>>,
    entities_remembered: usize,
}

impl Names {
    /// The number of a source, given now if it has none.
    pub(super) fn source(
        &mut self,
        transaction: &Transaction<'_>,
        source: &SourceId,
    ) -> Result<i64, Fault> {
        if let Some(id) = self.sources.get(source) {
            return Ok(*id);
        }
        let id = match find_source(transaction, source)? {
            Some(id) => id,
            None => transaction
                .prepare_cached("INSERT INTO sources (name) VALUES (?1)")?
                .insert([source.as_str()])?,
        };
        self.sources.insert(source.clone(), id);
        Ok(id)
    }

    /// The number of a source's entity, given now if it has none.
    pub(super) fn entity(
        &mut self,
        transaction: &Transaction<'_>,
        source_id: i64,
        entity: &Entity,
    ) -> Result<i64, Fault> {
        if self.entities_remembered >= ENTITIES_REMEMBERED {
            self.entities.clear();
            self.entities_remembered = 0;
        }
        let known = self.entities.entry(source_id).or_default();
        let place = match known.entry(entity.clone()) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(place) => place,
        };
        // Most entities that are not remembered are new: one statement, not a look and a statement.
        let added = transaction
            .prepare_cached(
                "INSERT INTO entities (source_id, entity) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute((source_id, entity.as_str()))?;
        let id = if added == 1 {
            transaction.last_insert_rowid()
        } else {
            find_entity(transaction, source_id, entity)?
                .ok_or_else(|| Fault::damaged(format!("entity `{entity}` is and is not there")))?
        };
        place.insert(id);
        self.entities_remembered += 1;
        Ok(id)
    }

    /// The numbers of many entities of the sources of these numbers, in their order.
    pub(super) fn entities(
        &mut self,
        transaction: &Transaction<'_>,
        wanted: &[(i64, &Entity)],
    ) -> Result<Vec<i64>, Fault> {
        let mut ids = vec![0; wanted.len()];
        // In their own order, here and in the table, so that each place is near the one before.
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|index| wanted[*index]);
        let mut new = Vec::new();
        for index in order {
            let (source_id, entity) = wanted[index];
            match self.entities.get(&source_id).and_then(|known| known.get(entity)) {
                Some(id) => ids[index] = *id,
                None => new.push(index),
            }
        }
        let new: Vec<&[usize]> =
            new.chunk_by(|left, right| wanted[*left] == wanted[*right]).collect();
        for places in new.chunks(together::ROWS) {
            let names: Vec<(i64, &Entity)> = places.iter().map(|same| wanted[same[0]]).collect();
            let first = self.add(transaction, &names)?;
            for (at, (same, (source_id, entity))) in (0..).zip(places.iter().zip(names)) {
                let id = match first {
                    Some(first) => first + at,
                    None => self.entity(transaction, source_id, entity)?,
                };
                same.iter().for_each(|place| ids[*place] = id);
            }
        }
        Ok(ids)
    }

    /// Gives numbers that follow each other to as many entities as one statement takes, if none of
    /// them has one; the first number.
    fn add(
        &mut self,
        transaction: &Transaction<'_>,
        names: &[(i64, &Entity)],
    ) -> Result<Option<i64>, Fault> {
        static ADD: LazyLock<String> =
            LazyLock::new(|| format!("INSERT INTO entities {}", together::values(3)));
        if names.len() < together::ROWS {
            return Ok(None);
        }
        let first: i64 = transaction
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM entities")?
            .query_row([], |row| row.get(0))?;
        let mut add = transaction.prepare_cached(&ADD)?;
        for (row, (id, (source_id, entity))) in (first..).zip(names).enumerate() {
            add.raw_bind_parameter(3 * row + 1, id)?;
            add.raw_bind_parameter(3 * row + 2, source_id)?;
            add.raw_bind_parameter(3 * row + 3, entity.as_str())?;
        }
        if !together::add(&mut add)? {
            return Ok(None);
        }
        for (id, (source_id, entity)) in (first..).zip(names) {
            self.entities.entry(*source_id).or_default().insert((*entity).clone(), id);
        }
        self.entities_remembered += names.len();
        Ok(Some(first))
    }
}

/// The number of a source, if anything is kept of it.
pub(super) fn find_source(look: &Transaction<'_>, source: &SourceId) -> Result<Option<i64>, Fault> {
    Ok(look
        .prepare_cached("SELECT id FROM sources WHERE name = ?1")?
        .query_row([source.as_str()], |row| row.get(0))
        .optional()?)
}

/// The number of an entity, if anything is kept of it.
pub(super) fn find_entity(
    look: &Transaction<'_>,
    source_id: i64,
    entity: &Entity,
) -> Result<Option<i64>, Fault> {
    Ok(look
        .prepare_cached("SELECT id FROM entities WHERE source_id = ?1 AND entity = ?2")?
        .query_row((source_id, entity.as_str()), |row| row.get(0))
        .optional()?)
}

/// Reads a source's name back.
pub(super) fn read_source(name: &str) -> Result<SourceId, Fault> {
    SourceId::parse(name).map_err(|cause| Fault::Damaged(Box::new(cause)))
}

/// Reads an entity back.
pub(super) fn read_entity(text: &str) -> Result<Entity, Fault> {
    Entity::parse(text).map_err(|cause| Fault::Damaged(Box::new(cause)))
}
