//! The numbers of sources and entities, remembered between transactions of one connection.
//!
//! A number is never given to another name, so what is remembered stays true whatever other
//! processes do; only a rollback can make it untrue, and then the whole memory is dropped.

use super::fault::Fault;
use model::{Entity, SourceId};
use rusqlite::{OptionalExtension, Transaction};
use std::collections::{BTreeMap, btree_map::Entry};

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
