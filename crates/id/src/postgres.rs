//! The store in PostgreSQL, 12 or later. The store's clock is the server's.
//!
//! A claim holds the space's row, so claims come one after the other; a renewal touches its node's
//! row only. Both judge the row as it is once it is locked (read committed: PostgreSQL checks the
//! condition again on the version that it waited for).

use crate::{
    error::{BoxError, StoreError},
    lease::Grant,
    store::{self, Block, IdStore, Lease, Space},
};
use postgres::{
    Client, Config, IsolationLevel, NoTls, Statement, Transaction, config::Host, error::SqlState,
};
use std::{
    fmt::{self, Debug},
    str::FromStr as _,
    time::Duration,
};

const TABLES: &str = include_str!("../sql/postgres.sql");
/// Tables are made by one process at a time: `CREATE TABLE IF NOT EXISTS` alone is no protection.
const TABLES_LOCK: i64 = 0x5457_6964;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may take for a statement, waits for locks included.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '5s'; SET synchronous_commit = on";
/// How often a transaction is tried that the server ended for another one's sake.
const TRIES: u32 = 5;
const NOW_MS: &str = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

/// A PostgreSQL database with leases and counters. Connects anew after a lost connection.
pub struct PostgresStore {
    config: Config,
    name: String,
    connection: Option<Connection>,
}

struct Connection {
    client: Client,
    renew: Statement,
    take_block: Statement,
}

impl Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PostgresStore").field(&self.name).finish()
    }
}

impl PostgresStore {
    /// Connects, and makes the tables if they are not there. `url`: `postgres://user@host/database`
    /// or `host=... user=...`. Not encrypted: for loopback and networks that are.
    ///
    /// # Errors
    /// The address is none, or the server cannot be reached or used.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        let mut config = Config::from_str(url).map_err(|cause| StoreError::Unavailable {
            store: "postgres".to_owned(),
            cause: BoxError::from(cause),
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.tcp_user_timeout(CONNECT_TIMEOUT);
        let mut store = Self { name: name_of(&config), config, connection: None };
        let connection = store.connected().map_err(|fault| fault.at(&store.name))?;
        store.connection = Some(connection);
        Ok(store)
    }

    fn connected(&self) -> Result<Connection, Fault> {
        let mut client = self.config.connect(NoTls)?;
        client.batch_execute(STATEMENT_TIMEOUT)?;
        let there = client
            .query_one("SELECT to_regclass('tidewatch_id_counter') IS NOT NULL", &[])?
            .get::<_, bool>(0);
        if !there {
            let mut transaction = client.transaction()?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&TABLES_LOCK])?;
            transaction.batch_execute(TABLES)?;
            transaction.commit()?;
        }
        let renew = client.prepare(&format!(
            "UPDATE tidewatch_id_node SET until_ms = greatest(until_ms, now.ms + $4)
             FROM (SELECT {NOW_MS} AS ms) AS now
             WHERE space = $1 AND node = $2 AND term = $3
             RETURNING now.ms, until_ms"
        ))?;
        let take_block = client.prepare(
            "INSERT INTO tidewatch_id_counter AS counter VALUES ($1, 1 + $2::bigint, 1)
             ON CONFLICT (name) DO UPDATE
             SET next = counter.next + $2::bigint, term = counter.term + 1
             RETURNING next - $2::bigint, term",
        )?;
        Ok(Connection { client, renew, take_block })
    }

    /// Runs on a live connection; again if the server ended it for another transaction's sake.
    fn run<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => {
                    let fresh = self.connected().map_err(|fault| fault.at(&self.name))?;
                    self.connection.insert(fresh)
                }
            };
            let result = work(connection);
            let closed = connection.client.is_closed();
            match result {
                Ok(done) => return Ok(done),
                Err(Fault::Postgres(cause)) if is_retried(&cause) && tries < TRIES => tries += 1,
                Err(fault) => {
                    if closed {
                        self.connection = None;
                    }
                    return Err(fault.at(&self.name));
                }
            }
        }
    }

    /// Forgets a connection that broke while nothing was asked.
    fn live(&mut self) {
        if self.connection.as_ref().is_some_and(|connection| connection.client.is_closed()) {
            self.connection = None;
        }
    }
}

enum Fault {
    Postgres(postgres::Error),
    Store(StoreError),
}

impl From<postgres::Error> for Fault {
    fn from(cause: postgres::Error) -> Self {
        Self::Postgres(cause)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    fn at(self, name: &str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Postgres(cause) => {
                StoreError::Unavailable { store: name.to_owned(), cause: BoxError::from(cause) }
            }
        }
    }
}

fn is_retried(cause: &postgres::Error) -> bool {
    matches!(
        cause.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// The server's address and database, without secrets.
fn name_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("postgres://{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

impl IdStore for PostgresStore {
    fn claim(
        &mut self,
        space: &Space,
        holder: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        let length_ms = store::check_claim(space, holder, length)?;
        self.live();
        self.run(|connection| {
            let mut transaction = connection
                .client
                .build_transaction()
                .isolation_level(IsolationLevel::ReadCommitted)
                .start()?;
            let lease = claim(&mut transaction, space, holder, length_ms)?;
            transaction.commit()?;
            Ok(lease)
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
        self.live();
        self.run(|connection| {
            let row = connection
                .client
                .query_opt(&connection.renew, &[&space.name, &(node as i64), &term, &length_ms])?;
            Ok(row.map(|row| Grant { term, now_ms: row.get(0), until_ms: row.get(1) }))
        })
    }

    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError> {
        self.live();
        self.run(|connection| {
            let changed = connection.client.execute(
                "UPDATE tidewatch_id_node SET until_ms = least(until_ms, $4)
                 WHERE space = $1 AND node = $2 AND term = $3",
                &[&space.name, &(node as i64), &term, &used_until_ms],
            )?;
            Ok(changed == 1)
        })
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        store::check_block(counter, count)?;
        self.live();
        self.run(|connection| {
            let row = connection
                .client
                .query_one(&connection.take_block, &[&counter, &i64::from(count)])
                .map_err(|cause| match cause.code() {
                    Some(&SqlState::NUMERIC_VALUE_OUT_OF_RANGE) => {
                        Fault::Store(StoreError::CounterFull { counter: counter.to_owned() })
                    }
                    _ => Fault::Postgres(cause),
                })?;
            Ok(store::block_at(counter, row.get(0), count, row.get(1))?)
        })
    }

    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError> {
        let first_unused = first_unused.max(block.first);
        self.live();
        self.run(|connection| {
            let changed = connection.client.execute(
                "UPDATE tidewatch_id_counter SET next = $3, term = term + 1
                 WHERE name = $1 AND term = $2 AND next >= $3",
                &[&counter, &block.term, &first_unused],
            )?;
            Ok(changed == 1)
        })
    }
}

fn claim(
    transaction: &mut Transaction<'_>,
    space: &Space,
    holder: &str,
    length_ms: i64,
) -> Result<Lease, Fault> {
    let used = nodes_used(transaction, space)?;
    let now_ms: i64 = transaction.query_one(&format!("SELECT {NOW_MS}"), &[])?.get(0);
    space.layout.since_epoch_ms(now_ms).map_err(StoreError::from)?;
    let until_ms = now_ms.saturating_add(length_ms);
    // A row that is locked is being renewed or released just now.
    let free = transaction.query_opt(
        "SELECT node FROM tidewatch_id_node WHERE space = $1 AND until_ms <= $2
         ORDER BY until_ms, node LIMIT 1 FOR UPDATE SKIP LOCKED",
        &[&space.name, &now_ms],
    )?;
    if let Some(free) = free {
        let node: i64 = free.get(0);
        let term: i64 = transaction
            .query_one(
                "UPDATE tidewatch_id_node SET term = term + 1, until_ms = $3, holder = $4
                 WHERE space = $1 AND node = $2 RETURNING term",
                &[&space.name, &node, &until_ms, &holder],
            )?
            .get(0);
        return Ok(Lease { node: node as u64, grant: Grant { term, now_ms, until_ms } });
    }
    if used >= space.layout.nodes() as i64 {
        let first_ms: Option<i64> = transaction
            .query_one(
                "SELECT min(until_ms) FROM tidewatch_id_node WHERE space = $1",
                &[&space.name],
            )?
            .get(0);
        return Err(Fault::Store(StoreError::NodesExhausted {
            space: space.name.clone(),
            nodes: space.layout.nodes(),
            free_in_ms: first_ms.unwrap_or(now_ms).saturating_sub(now_ms),
        }));
    }
    transaction.execute(
        "UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = $1",
        &[&space.name],
    )?;
    transaction.execute(
        "INSERT INTO tidewatch_id_node VALUES ($1, $2, 1, $3, $4)",
        &[&space.name, &used, &until_ms, &holder],
    )?;
    Ok(Lease { node: used as u64, grant: Grant { term: 1, now_ms, until_ms } })
}

/// Locks the space, which is made if it is new, and tells how many nodes it has used.
fn nodes_used(transaction: &mut Transaction<'_>, space: &Space) -> Result<i64, Fault> {
    let layout = &space.layout;
    let select = "SELECT epoch_ms, time_bits, node_bits, sequence_bits, nodes_used
                  FROM tidewatch_id_space WHERE name = $1 FOR UPDATE";
    let row = match transaction.query_opt(select, &[&space.name])? {
        Some(row) => row,
        None => {
            transaction.execute(
                "INSERT INTO tidewatch_id_space VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT DO NOTHING",
                &[
                    &space.name,
                    &layout.epoch_ms(),
                    &i64::from(layout.time_bits()),
                    &i64::from(layout.node_bits()),
                    &i64::from(layout.sequence_bits()),
                ],
            )?;
            transaction.query_one(select, &[&space.name])?
        }
    };
    store::check_layout(space, (row.get(0), row.get(1), row.get(2), row.get(3)))?;
    Ok(row.get(4))
}
