//! The store in a SQLite file, for processes of one machine.
//!
//! SQLite has no clock of its own; the store's clock is the time of day of the process that asks.
//! Processes may disagree about that, so a node is free only when its lease is over by
//! [`Clock::elapsed_ns`] too, which no operator steps. Uniqueness needs neither: see [`crate::lease`].
//!
//! A file of its own, and not the state's: the state can be thrown away and rebuilt, counters cannot.

use crate::{
    clock::{Clock, SystemClock},
    error::StoreError,
    fault,
    lease::{self, Grant, NodeRow},
    store::{self, Block, IdStore, Lease, Space},
};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `TWid`, at a fixed place in the file's header.
const APPLICATION_ID: i64 = 0x5457_6964;
const FORMAT: i64 = 1;
const TABLES: &str = include_str!("../sql/sqlite.sql");
/// How long other processes may hold the file before we give up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Making the file is not covered by SQLite's own waiting.
const OPEN_TRIES: u32 = 100;

/// A SQLite file with leases and counters.
#[derive(Debug)]
pub struct SqliteStore<C: Clock = SystemClock> {
    path: PathBuf,
    connection: Connection,
    clock: C,
}

impl SqliteStore<SystemClock> {
    /// Opens the file, or makes it; its folder must be there.
    ///
    /// # Errors
    /// The file is something else, was written by a later version, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with_clock(path, SystemClock)
    }
}

impl<C: Clock> SqliteStore<C> {
    /// The same by a clock that is handed in.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with_clock(path: &Path, clock: C) -> Result<Self, StoreError> {
        let mut tries = 0;
        loop {
            match open(path) {
                Ok(connection) => {
                    return Ok(Self { path: path.to_owned(), connection, clock });
                }
                Err(Fault::Client(cause)) if is_busy(&cause) && tries < OPEN_TRIES => {
                    tries += 1;
                    clock.pause(Duration::from_millis(20));
                }
                Err(fault) => return Err(fault.at(&path.display())),
            }
        }
    }

    fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &C) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let run = || {
            let transaction =
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction, &self.clock)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|fault: Fault| fault.at(&self.path.display()))
    }
}

type Fault = fault::Fault<rusqlite::Error>;

impl From<rusqlite::Error> for Fault {
    fn from(cause: rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged(cause.to_string())
            }
            _ => Self::Client(cause),
        }
    }
}

fn is_busy(cause: &rusqlite::Error) -> bool {
    matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn open(path: &Path) -> Result<Connection, Fault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let number = |connection: &Connection, pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
    };
    let format = number(&connection, "user_version")?;
    if format == 0 {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if number(&transaction, "user_version")? == 0 {
            if tables > 0 {
                return Err(Fault::Damaged("the file is another program's".to_owned()));
            }
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()?;
    }
    let (application_id, format) =
        (number(&connection, "application_id")?, number(&connection, "user_version")?);
    if application_id != APPLICATION_ID || format != FORMAT {
        let found = format!("application id `{application_id:#x}`, format `{format}`");
        return Err(Fault::Damaged(found));
    }
    // A block or a lease that was granted must not be forgotten by a power failure.
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// The elapsed time in milliseconds, as it is kept.
fn elapsed_ms(clock: &impl Clock) -> i64 {
    (clock.elapsed_ns() / 1_000_000) as i64
}

impl<C: Clock> IdStore for SqliteStore<C> {
    fn claim(
        &mut self,
        space: &Space,
        holder: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        let length_ms = store::check_claim(space, holder, length)?;
        self.change(|transaction, clock| {
            let used = nodes_used(transaction, space)?;
            // Read under the lock, so that the next who has it reads a later time.
            let now_ms = clock.wall_ms();
            space.layout.since_epoch_ms(now_ms).map_err(StoreError::from)?;
            let (scale, expires_ms) = (clock.scale(), elapsed_ms(clock));
            let free = transaction
                .prepare_cached(
                    "SELECT node, term, until_ms FROM tidewatch_id_node
                     WHERE space = ?1 AND until_ms <= ?2 AND (scale <> ?3 OR expires_ms <= ?4)
                     ORDER BY until_ms, node LIMIT 1",
                )?
                .query_row(params![space.name, now_ms, scale, expires_ms], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let (node, term, until_ms) = match free {
                Some(free) => free,
                None if used < space.layout.nodes() as i64 => {
                    transaction.execute(
                        "UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = ?1",
                        [&space.name],
                    )?;
                    (used, 0, i64::MIN)
                }
                None => return Err(exhausted(transaction, space, now_ms)?.into()),
            };
            let mut row = NodeRow { term, until_ms };
            let Some(grant) = lease::claim(&mut row, now_ms, length_ms) else {
                return Err(Fault::Damaged(format!("node {node} is free and held")));
            };
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO tidewatch_id_node VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    space.name,
                    node,
                    row.term,
                    row.until_ms,
                    scale,
                    expires_ms.saturating_add(length_ms),
                    holder
                ])?;
            Ok(Lease { node: node as u64, grant })
        })
    }

    fn renew(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        length: Duration,
    ) -> Result<Option<Grant>, StoreError> {
        let length_ms = store::length_ms(length)?;
        self.change(|transaction, clock| {
            let Some(mut row) = node_row(transaction, space, node)? else { return Ok(None) };
            let now_ms = clock.wall_ms();
            let Some(grant) = lease::renew(&mut row, term, now_ms, length_ms) else {
                return Ok(None);
            };
            transaction
                .prepare_cached(
                    "UPDATE tidewatch_id_node SET until_ms = ?3, scale = ?4, expires_ms = ?5
                     WHERE space = ?1 AND node = ?2",
                )?
                .execute(params![
                    space.name,
                    node as i64,
                    row.until_ms,
                    clock.scale(),
                    elapsed_ms(clock).saturating_add(length_ms)
                ])?;
            Ok(Some(grant))
        })
    }

    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError> {
        self.change(|transaction, _| {
            let Some(mut row) = node_row(transaction, space, node)? else { return Ok(false) };
            let held = lease::release(&mut row, term, used_until_ms);
            if held {
                transaction.execute(
                    "UPDATE tidewatch_id_node SET until_ms = ?3, expires_ms = 0
                     WHERE space = ?1 AND node = ?2",
                    params![space.name, node as i64, row.until_ms],
                )?;
            }
            Ok(held)
        })
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        store::check_block(counter, count)?;
        self.change(|transaction, _| {
            let (first, term) = transaction
                .prepare_cached("SELECT next, term FROM tidewatch_id_counter WHERE name = ?1")?
                .query_row([counter], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
                .optional()?
                .unwrap_or((1, 0));
            let block = store::block_at(counter, first, count, term + 1)?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO tidewatch_id_counter VALUES (?1, ?2, ?3)")?
                .execute(params![counter, first + i64::from(count), block.term])?;
            Ok(block)
        })
    }

    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError> {
        let first_unused = first_unused.max(block.first);
        self.change(|transaction, _| {
            let changed = transaction.execute(
                "UPDATE tidewatch_id_counter SET next = ?3, term = term + 1
                 WHERE name = ?1 AND term = ?2 AND next >= ?3",
                params![counter, block.term, first_unused],
            )?;
            Ok(changed == 1)
        })
    }
}

/// How many nodes the space has used; the space is made if it is new.
fn nodes_used(transaction: &Transaction<'_>, space: &Space) -> Result<i64, Fault> {
    let layout = &space.layout;
    transaction.execute(
        "INSERT OR IGNORE INTO tidewatch_id_space VALUES (?1, ?2, ?3, ?4, ?5, 0)",
        params![
            space.name,
            layout.epoch_ms(),
            layout.time_bits(),
            layout.node_bits(),
            layout.sequence_bits()
        ],
    )?;
    let (stored, used) = transaction.query_row(
        "SELECT epoch_ms, time_bits, node_bits, sequence_bits, nodes_used FROM tidewatch_id_space WHERE name = ?1",
        [&space.name],
        |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?), row.get(4)?)),
    )?;
    store::check_layout(space, stored)?;
    Ok(used)
}

fn node_row(
    transaction: &Transaction<'_>,
    space: &Space,
    node: u64,
) -> Result<Option<NodeRow>, Fault> {
    let row = transaction
        .prepare_cached(
            "SELECT term, until_ms FROM tidewatch_id_node WHERE space = ?1 AND node = ?2",
        )?
        .query_row(params![space.name, node as i64], |row| {
            Ok(NodeRow { term: row.get(0)?, until_ms: row.get(1)? })
        })
        .optional()?;
    Ok(row)
}

fn exhausted(
    transaction: &Transaction<'_>,
    space: &Space,
    now_ms: i64,
) -> Result<StoreError, Fault> {
    let first_ms: i64 = transaction.query_row(
        "SELECT coalesce(min(until_ms), ?2) FROM tidewatch_id_node WHERE space = ?1",
        params![space.name, now_ms],
        |row| row.get(0),
    )?;
    Ok(StoreError::NodesExhausted {
        space: space.name.clone(),
        nodes: space.layout.nodes(),
        free_in_ms: first_ms.saturating_sub(now_ms),
    })
}
