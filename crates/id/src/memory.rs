//! The store in memory: for tests, and for one process that needs no other.

use crate::{
    clock::Clock,
    error::StoreError,
    lease::{self, Grant, NodeRow},
    store::{self, Block, IdStore, Lease, Space},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Clones share one memory. Its clock is the time of day of the clock it is made with.
#[derive(Debug, Clone)]
pub struct MemoryStore<C: Clock> {
    clock: C,
    rows: Arc<Mutex<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    spaces: BTreeMap<String, SpaceRows>,
    counters: BTreeMap<String, CounterRow>,
    broken: bool,
}

#[derive(Debug)]
struct SpaceRows {
    layout: crate::layout::Layout,
    nodes: Vec<NodeRow>,
}

#[derive(Debug, Clone, Copy)]
struct CounterRow {
    next: i64,
    term: i64,
}

impl<C: Clock> MemoryStore<C> {
    /// An empty store.
    pub fn new(clock: C) -> Self {
        Self { clock, rows: Arc::default() }
    }

    /// Lets every call fail, as a database that went away, or answer again.
    pub fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> Result<MutexGuard<'_, Rows>, StoreError> {
        let rows = self.lock();
        if rows.broken {
            let cause = "it was told to fail".into();
            return Err(StoreError::Unavailable { store: "memory".to_owned(), cause });
        }
        Ok(rows)
    }
}

impl<C: Clock> IdStore for MemoryStore<C> {
    fn claim(
        &mut self,
        space: &Space,
        holder: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        let length_ms = store::check_claim(space, holder, length)?;
        let now_ms = self.clock.wall_ms();
        space.layout.since_epoch_ms(now_ms)?;
        let mut rows = self.rows()?;
        let found = rows
            .spaces
            .entry(space.name.clone())
            .or_insert_with(|| SpaceRows { layout: space.layout, nodes: Vec::new() });
        store::check_layout(space, store::columns(&found.layout))?;
        for (node, row) in found.nodes.iter_mut().enumerate() {
            if let Some(grant) = lease::claim(row, now_ms, length_ms) {
                return Ok(Lease { node: node as u64, grant });
            }
        }
        let node = found.nodes.len() as u64;
        let mut row = NodeRow { term: 0, until_ms: i64::MIN };
        match lease::claim(&mut row, now_ms, length_ms) {
            Some(grant) if node < space.layout.nodes() => {
                found.nodes.push(row);
                Ok(Lease { node, grant })
            }
            _ => {
                let first_ms = found.nodes.iter().map(|row| row.until_ms).min().unwrap_or(now_ms);
                Err(StoreError::NodesExhausted {
                    space: space.name.clone(),
                    nodes: space.layout.nodes(),
                    free_in_ms: first_ms - now_ms,
                })
            }
        }
    }

    fn renew(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        length: Duration,
    ) -> Result<Option<Grant>, StoreError> {
        let length_ms = store::length_ms(length)?;
        let now_ms = self.clock.wall_ms();
        let mut rows = self.rows()?;
        Ok(row(&mut rows, space, node).and_then(|row| lease::renew(row, term, now_ms, length_ms)))
    }

    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows()?;
        Ok(row(&mut rows, space, node).is_some_and(|row| lease::release(row, term, used_until_ms)))
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        store::check_block(counter, count)?;
        let mut rows = self.rows()?;
        let row =
            rows.counters.entry(counter.to_owned()).or_insert(CounterRow { next: 1, term: 0 });
        let block = store::block_at(counter, row.next, count, row.term + 1)?;
        row.next += i64::from(count);
        row.term += 1;
        Ok(block)
    }

    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows()?;
        let Some(row) = rows.counters.get_mut(counter) else { return Ok(false) };
        let last = row.term == block.term;
        if last {
            row.next = row.next.min(first_unused.max(block.first));
            row.term += 1;
        }
        Ok(last)
    }
}

fn row<'a>(rows: &'a mut Rows, space: &Space, node: u64) -> Option<&'a mut NodeRow> {
    let node = usize::try_from(node).ok()?;
    rows.spaces.get_mut(&space.name)?.nodes.get_mut(node)
}
