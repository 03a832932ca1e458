//! The store in PostgreSQL, 12 or later. The store's clock is the server's.
//!
//! A claim holds the space's row, so claims come one after the other; a renewal touches its node's
//! row only. Both judge the row as it is once it is locked (read committed: PostgreSQL checks the
//! condition again on the version that it waited for).
//!
//! Each call ends within 5 s, also if the server was stopped or the network swallows everything:
//! then nobody answers, and the kernel of a stopped server still confirms what it receives, so neither
//! the server's own time-outs nor those of TCP help.

use crate::{
    address,
    error::{BoxError, StoreError},
    fault,
    lease::Grant,
    postgres_tls::Tls,
    store::{self, Block, IdStore, Lease, Space},
};
use std::{
    fmt::{self, Debug},
    str::FromStr as _,
    time::Duration,
};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_postgres::{
    Client, Config, IsolationLevel, Statement, Transaction, config::Host, error::SqlState,
};

const TABLES: &str = include_str!("../sql/postgres.sql");
/// Tables are made by one process at a time: `CREATE TABLE IF NOT EXISTS` alone is no protection.
const TABLES_LOCK: i64 = 0x5457_6964;
/// How long a call may take in all, connecting included.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the server may take for a statement, waits for locks included: it says why, if it can.
const SETTINGS: &str = "SET statement_timeout = '4s'; SET synchronous_commit = on";
/// How often a transaction is tried that the server ended for another one's sake.
const TRIES: u32 = 5;
const NOW_MS: &str = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

/// A PostgreSQL database with leases and counters. Connects anew after a lost connection.
pub struct PostgresStore {
    config: Config,
    tls: Tls,
    name: String,
    connection: Option<Connection>,
    /// Drives the connection while a call lasts. `None` while it is dropped only.
    runtime: Option<Runtime>,
}

struct Connection {
    client: Client,
    renew: Statement,
    take_block: Statement,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // Waits for nothing, so that it can be dropped within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PostgresStore").field(&self.name).finish()
    }
}

impl PostgresStore {
    /// Connects, and makes the tables if they are not there. `url`: `postgres://user@host/database`.
    ///
    /// Its `sslmode` means what it means to PostgreSQL's own programs: `disable`, `prefer` (encrypted
    /// if the server can; the default), `require` (encrypted, to whomever), `verify-ca` (to a server whose
    /// certificate is signed by one of `sslrootcert`, a PEM file, or of the system), `verify-full` (and
    /// is made out to the host that was named).
    ///
    /// # Errors
    /// The address is none, or the server cannot be reached or used.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        let (url, security) = address::split(url)?;
        let unusable = |cause| StoreError::Unavailable { store: "postgres".to_owned(), cause };
        let mut config = Config::from_str(&url).map_err(|cause| unusable(BoxError::from(cause)))?;
        config.ssl_mode(security.mode.as_postgres());
        config.tcp_user_timeout(LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| unusable(BoxError::from(cause)))?;
        let tls = Tls::new(&security)?;
        let name = name_of(&config);
        let mut store = Self { config, tls, name, connection: None, runtime: Some(runtime) };
        store.run(async |_| Ok(()))?;
        Ok(store)
    }

    /// Runs on a live connection; again if the server ended it for another transaction's sake.
    fn run<T>(
        &mut self,
        work: impl AsyncFnMut(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let Self { config, tls, name, connection, runtime } = self;
        let Some(runtime) = runtime else {
            return Err(StoreError::Refused { reason: "the store was dropped".to_owned() });
        };
        let done = runtime.block_on(async {
            tokio::time::timeout(LIMIT, tried(config, tls, connection, work)).await
        });
        let fault = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Silent(LIMIT),
        };
        if !matches!(fault, Fault::Store(_)) {
            // Whatever state it is in.
            *connection = None;
        }
        Err(fault.at(name))
    }
}

async fn tried<T>(
    config: &Config,
    tls: &Tls,
    slot: &mut Option<Connection>,
    mut work: impl AsyncFnMut(&mut Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    // Nobody reads a connection between calls: what came meanwhile, its end perhaps, is read now.
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    slot.take_if(|connection| connection.client.is_closed());
    let mut tries = 0;
    loop {
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(connected(config, tls).await?),
        };
        match work(connection).await {
            Err(Fault::Client(cause)) if is_retried(&cause) && tries < TRIES => tries += 1,
            result => return result,
        }
    }
}

async fn connected(config: &Config, tls: &Tls) -> Result<Connection, Fault> {
    let (mut client, connection) = config.connect(tls.clone()).await?;
    // What it has to say, its callers hear.
    let driver = tokio::spawn(async { drop(connection.await) });
    client.batch_execute(SETTINGS).await?;
    let there = client
        .query_one("SELECT to_regclass('tidewatch_id_counter') IS NOT NULL", &[])
        .await?
        .get::<_, bool>(0);
    if !there {
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&TABLES_LOCK]).await?;
        transaction.batch_execute(TABLES).await?;
        transaction.commit().await?;
    }
    let renew = client
        .prepare(&format!(
            "UPDATE tidewatch_id_node SET until_ms = greatest(until_ms, now.ms + $4)
             FROM (SELECT {NOW_MS} AS ms) AS now
             WHERE space = $1 AND node = $2 AND term = $3
             RETURNING now.ms, until_ms"
        ))
        .await?;
    let take_block = client
        .prepare(
            "INSERT INTO tidewatch_id_counter AS counter VALUES ($1, 1 + $2::bigint, 1)
             ON CONFLICT (name) DO UPDATE
             SET next = counter.next + $2::bigint, term = counter.term + 1
             RETURNING next - $2::bigint, term",
        )
        .await?;
    Ok(Connection { client, renew, take_block, driver })
}

type Fault = fault::Fault<tokio_postgres::Error>;

impl From<tokio_postgres::Error> for Fault {
    fn from(cause: tokio_postgres::Error) -> Self {
        Self::Client(cause)
    }
}

fn is_retried(cause: &tokio_postgres::Error) -> bool {
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
        self.run(async |connection| {
            let mut transaction = connection
                .client
                .build_transaction()
                .isolation_level(IsolationLevel::ReadCommitted)
                .start()
                .await?;
            let lease = claim(&mut transaction, space, holder, length_ms).await?;
            transaction.commit().await?;
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
        self.run(async |connection| {
            let row = connection
                .client
                .query_opt(&connection.renew, &[&space.name, &(node as i64), &term, &length_ms])
                .await?;
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
        self.run(async |connection| {
            let changed = connection
                .client
                .execute(
                    "UPDATE tidewatch_id_node SET until_ms = least(until_ms, $4)
                 WHERE space = $1 AND node = $2 AND term = $3",
                    &[&space.name, &(node as i64), &term, &used_until_ms],
                )
                .await?;
            Ok(changed == 1)
        })
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        store::check_block(counter, count)?;
        self.run(async |connection| {
            let row = connection
                .client
                .query_one(&connection.take_block, &[&counter, &i64::from(count)])
                .await
                .map_err(|cause| match cause.code() {
                    Some(&SqlState::NUMERIC_VALUE_OUT_OF_RANGE) => {
                        Fault::Store(StoreError::CounterFull { counter: counter.to_owned() })
                    }
                    _ => Fault::Client(cause),
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
        self.run(async |connection| {
            let changed = connection
                .client
                .execute(
                    "UPDATE tidewatch_id_counter SET next = $3, term = term + 1
                 WHERE name = $1 AND term = $2 AND next >= $3",
                    &[&counter, &block.term, &first_unused],
                )
                .await?;
            Ok(changed == 1)
        })
    }
}

async fn claim(
    transaction: &mut Transaction<'_>,
    space: &Space,
    holder: &str,
    length_ms: i64,
) -> Result<Lease, Fault> {
    let used = nodes_used(transaction, space).await?;
    let now_ms: i64 = transaction.query_one(&format!("SELECT {NOW_MS}"), &[]).await?.get(0);
    space.layout.since_epoch_ms(now_ms).map_err(StoreError::from)?;
    let until_ms = now_ms.saturating_add(length_ms);
    // A row that is locked is being renewed or released just now.
    let free = transaction
        .query_opt(
            "SELECT node FROM tidewatch_id_node WHERE space = $1 AND until_ms <= $2
         ORDER BY until_ms, node LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[&space.name, &now_ms],
        )
        .await?;
    if let Some(free) = free {
        let node: i64 = free.get(0);
        let term: i64 = transaction
            .query_one(
                "UPDATE tidewatch_id_node SET term = term + 1, until_ms = $3, holder = $4
                 WHERE space = $1 AND node = $2 RETURNING term",
                &[&space.name, &node, &until_ms, &holder],
            )
            .await?
            .get(0);
        return Ok(Lease { node: node as u64, grant: Grant { term, now_ms, until_ms } });
    }
    if used >= space.layout.nodes() as i64 {
        let first_ms: Option<i64> = transaction
            .query_one(
                "SELECT min(until_ms) FROM tidewatch_id_node WHERE space = $1",
                &[&space.name],
            )
            .await?
            .get(0);
        return Err(Fault::Store(StoreError::NodesExhausted {
            space: space.name.clone(),
            nodes: space.layout.nodes(),
            free_in_ms: first_ms.unwrap_or(now_ms).saturating_sub(now_ms),
        }));
    }
    transaction
        .execute(
            "UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = $1",
            &[&space.name],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO tidewatch_id_node VALUES ($1, $2, 1, $3, $4)",
            &[&space.name, &used, &until_ms, &holder],
        )
        .await?;
    Ok(Lease { node: used as u64, grant: Grant { term: 1, now_ms, until_ms } })
}

/// Locks the space, which is made if it is new, and tells how many nodes it has used.
async fn nodes_used(transaction: &mut Transaction<'_>, space: &Space) -> Result<i64, Fault> {
    let layout = &space.layout;
    let select = "SELECT epoch_ms, time_bits, node_bits, sequence_bits, nodes_used
                  FROM tidewatch_id_space WHERE name = $1 FOR UPDATE";
    let row = match transaction.query_opt(select, &[&space.name]).await? {
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
            ).await?;
            transaction.query_one(select, &[&space.name]).await?
        }
    };
    store::check_layout(space, (row.get(0), row.get(1), row.get(2), row.get(3)))?;
    Ok(row.get(4))
}
