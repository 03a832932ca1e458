//! The store in MariaDB, 10.6 or later. The store's clock is the server's.
//!
//! As in PostgreSQL, a claim holds the space's row, and a renewal its node's row. All reads that
//! decide something lock what they read, so they see what is committed at any isolation level.

use crate::{
    address::{self, SslMode},
    error::{BoxError, StoreError},
    fault,
    lease::{self, Grant, NodeRow},
    store::{self, Block, IdStore, Lease, Space},
};
use mysql::{
    Conn, IsolationLevel, Opts, OptsBuilder, Transaction, TxOpts, prelude::Queryable as _,
};
use std::{
    error::Error as _,
    fmt::{self, Debug},
    io::{self, ErrorKind},
    time::Duration,
};

const TABLES: &str = include_str!("../sql/mariadb.sql");
/// How long the server may take to answer, waits for locks included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a transaction is tried that the server ended for another one's sake.
const TRIES: u32 = 5;
/// Not `UNIX_TIMESTAMP`, which ends in 2038; not `SYSDATE`, which is local time.
const NOW_MS: &str =
    "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000";
/// A deadlock, and a lock that was waited for too long.
const RETRIED: [u16; 2] = [1213, 1205];
const OUT_OF_RANGE: [u16; 2] = [1264, 1690];

/// A MariaDB database with leases and counters. Connects anew after a lost connection.
pub struct MariaDbStore {
    opts: Opts,
    name: String,
    connection: Option<Conn>,
}

impl Debug for MariaDbStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("MariaDbStore").field(&self.name).finish()
    }
}

impl MariaDbStore {
    /// Connects, and makes the tables if they are not there. `url`: `mysql://user@host/database`.
    ///
    /// Connections are not encrypted, which is what an `sslmode` of `disable` and `prefer` (the
    /// default) allow; with any other one nothing is sent at all.
    ///
    /// # Errors
    /// The address is none, or the server cannot be reached or used.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        let (url, security) = address::split(url)?;
        if !matches!(security.mode, SslMode::Disable | SslMode::Prefer) {
            let reason = "connections to MariaDB cannot be encrypted here, and `sslmode` asks for it: take a tunnel \
                          (`ssh -L`, `stunnel`) and `sslmode=disable`, or a store in PostgreSQL";
            return Err(StoreError::Refused { reason: reason.to_owned() });
        }
        // `mariadb://` is the server's own name for the same thing.
        let url = url
            .strip_prefix("mariadb://")
            .map_or_else(|| url.clone(), |rest| format!("mysql://{rest}"));
        let opts = Opts::from_url(&url).map_err(|cause| StoreError::Unavailable {
            store: "mariadb".to_owned(),
            cause: BoxError::from(cause),
        })?;
        let name = format!(
            "mariadb://{}:{}/{}",
            opts.get_ip_or_hostname(),
            opts.get_tcp_port(),
            opts.get_db_name().unwrap_or_default()
        );
        let opts = OptsBuilder::from_opts(opts)
            .tcp_connect_timeout(Some(TIMEOUT))
            .read_timeout(Some(TIMEOUT))
            .write_timeout(Some(TIMEOUT))
            .into();
        let mut store = Self { opts, name, connection: None };
        let connection = store.connected().map_err(|fault| fault.at(&store.name))?;
        store.connection = Some(connection);
        Ok(store)
    }

    fn connected(&self) -> Result<Conn, Fault> {
        let mut connection = Conn::new(self.opts.clone())?;
        connection.query_drop("SET SESSION innodb_lock_wait_timeout = 4")?;
        let there: Option<i64> = connection.query_first(
            "SELECT count(*) FROM information_schema.tables
             WHERE table_schema = DATABASE() AND table_name = 'tidewatch_id_counter'",
        )?;
        if there == Some(1) {
            return Ok(connection);
        }
        for statement in TABLES.split(";\n").filter(|statement| statement.contains("CREATE")) {
            connection.query_drop(statement)?;
        }
        Ok(connection)
    }

    fn change<T>(
        &mut self,
        mut change: impl FnMut(&mut Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            let fresh = self.connection.is_none();
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => {
                    let fresh = self.connected().map_err(|fault| fault.at(&self.name))?;
                    self.connection.insert(fresh)
                }
            };
            let options =
                TxOpts::default().set_isolation_level(Some(IsolationLevel::ReadCommitted));
            let mut begun = false;
            let mut run = || {
                let mut transaction = connection.start_transaction(options)?;
                begun = true;
                let done = change(&mut transaction)?;
                transaction.commit()?;
                Ok(done)
            };
            match run() {
                Ok(done) => return Ok(done),
                Err(Fault::Client(cause)) if is_retried(&cause) && tries < TRIES => tries += 1,
                Err(fault) => {
                    let broken = matches!(&fault, Fault::Client(cause) if !is_of_server(cause));
                    if broken || matches!(fault, Fault::Silent(_)) {
                        self.connection = None;
                    }
                    // The server had closed an idle connection: nothing was asked yet.
                    if !broken || begun || fresh {
                        return Err(fault.at(&self.name));
                    }
                }
            }
        }
    }
}

type Fault = fault::Fault<mysql::Error>;

impl From<mysql::Error> for Fault {
    fn from(cause: mysql::Error) -> Self {
        let below = match &cause {
            mysql::Error::IoError(below) => Some(below),
            mysql::Error::CodecError(below) => {
                below.source().and_then(|below| below.downcast_ref())
            }
            _ => None,
        };
        match below.map(io::Error::kind) {
            Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => Self::Silent(TIMEOUT),
            _ => Self::Client(cause),
        }
    }
}

fn is_of_server(cause: &mysql::Error) -> bool {
    matches!(cause, mysql::Error::MySqlError(_))
}

fn has_code(cause: &mysql::Error, codes: &[u16]) -> bool {
    matches!(cause, mysql::Error::MySqlError(error) if codes.contains(&error.code))
}

fn is_retried(cause: &mysql::Error) -> bool {
    has_code(cause, &RETRIED)
}

impl IdStore for MariaDbStore {
    fn claim(
        &mut self,
        space: &Space,
        holder: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        let length_ms = store::check_claim(space, holder, length)?;
        self.change(|transaction| claim(transaction, space, holder, length_ms))
    }

    fn renew(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        length: Duration,
    ) -> Result<Option<Grant>, StoreError> {
        let length_ms = store::length_ms(length)?;
        self.change(|transaction| {
            let Some(mut row) = node_row(transaction, space, node)? else { return Ok(None) };
            let now_ms = now_ms(transaction)?;
            let grant = lease::renew(&mut row, term, now_ms, length_ms);
            if grant.is_some() {
                set_until(transaction, space, node, row.until_ms)?;
            }
            Ok(grant)
        })
    }

    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError> {
        self.change(|transaction| {
            let Some(mut row) = node_row(transaction, space, node)? else { return Ok(false) };
            let held = lease::release(&mut row, term, used_until_ms);
            if held {
                set_until(transaction, space, node, row.until_ms)?;
            }
            Ok(held)
        })
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        store::check_block(counter, count)?;
        self.change(|transaction| {
            let full = |cause: mysql::Error| {
                if has_code(&cause, &OUT_OF_RANGE) {
                    Fault::Store(StoreError::CounterFull { counter: counter.to_owned() })
                } else {
                    Fault::Client(cause)
                }
            };
            transaction
                .exec_drop(
                    "INSERT INTO tidewatch_id_counter VALUES (?, 1 + ?, 1)
                     ON DUPLICATE KEY UPDATE next = next + ?, term = term + 1",
                    (counter, count, count),
                )
                .map_err(full)?;
            // Our own change, so the row is locked by us.
            let row: Option<(i64, i64)> = transaction.exec_first(
                "SELECT next, term FROM tidewatch_id_counter WHERE name = ?",
                (counter,),
            )?;
            let (next, term) =
                row.ok_or_else(|| damaged("a counter that was just counted is gone"))?;
            Ok(Block { first: next - i64::from(count), count, term })
        })
    }

    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError> {
        let first_unused = first_unused.max(block.first);
        self.change(|transaction| {
            transaction.exec_drop(
                "UPDATE tidewatch_id_counter SET next = ?, term = term + 1
                 WHERE name = ? AND term = ? AND next >= ?",
                (first_unused, counter, block.term, first_unused),
            )?;
            Ok(transaction.affected_rows() == 1)
        })
    }
}

fn damaged(found: &str) -> Fault {
    Fault::Damaged(found.to_owned())
}

fn claim(
    transaction: &mut Transaction<'_>,
    space: &Space,
    holder: &str,
    length_ms: i64,
) -> Result<Lease, Fault> {
    let used = nodes_used(transaction, space)?;
    let now_ms = now_ms(transaction)?;
    space.layout.since_epoch_ms(now_ms).map_err(StoreError::from)?;
    // A row that is locked is being renewed or released just now.
    let free: Option<(i64, i64, i64)> = transaction.exec_first(
        "SELECT node, term, until_ms FROM tidewatch_id_node WHERE space = ? AND until_ms <= ?
         ORDER BY until_ms, node LIMIT 1 FOR UPDATE SKIP LOCKED",
        (&space.name, now_ms),
    )?;
    if let Some((node, term, until_ms)) = free {
        let mut row = NodeRow { term, until_ms };
        let grant = lease::claim(&mut row, now_ms, length_ms)
            .ok_or_else(|| damaged("a free node is held"))?;
        transaction.exec_drop(
            "UPDATE tidewatch_id_node SET term = ?, until_ms = ?, holder = ? WHERE space = ? AND node = ?",
            (row.term, row.until_ms, holder, &space.name, node),
        )?;
        return Ok(Lease { node: node as u64, grant });
    }
    if used >= space.layout.nodes() as i64 {
        let first_ms: Option<Option<i64>> = transaction.exec_first(
            "SELECT min(until_ms) FROM tidewatch_id_node WHERE space = ?",
            (&space.name,),
        )?;
        return Err(Fault::Store(StoreError::NodesExhausted {
            space: space.name.clone(),
            nodes: space.layout.nodes(),
            free_in_ms: first_ms.flatten().unwrap_or(now_ms).saturating_sub(now_ms),
        }));
    }
    let until_ms = now_ms.saturating_add(length_ms);
    transaction.exec_drop(
        "UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = ?",
        (&space.name,),
    )?;
    transaction.exec_drop(
        "INSERT INTO tidewatch_id_node VALUES (?, ?, 1, ?, ?)",
        (&space.name, used, until_ms, holder),
    )?;
    Ok(Lease { node: used as u64, grant: Grant { term: 1, now_ms, until_ms } })
}

/// Locks the space, which is made if it is new, and tells how many nodes it has used.
fn nodes_used(transaction: &mut Transaction<'_>, space: &Space) -> Result<i64, Fault> {
    let layout = &space.layout;
    let mut select = || {
        transaction.exec_first::<(i64, i64, i64, i64, i64), _, _>(
            "SELECT epoch_ms, time_bits, node_bits, sequence_bits, nodes_used
             FROM tidewatch_id_space WHERE name = ? FOR UPDATE",
            (&space.name,),
        )
    };
    let row = match select()? {
        Some(row) => row,
        None => {
            transaction.exec_drop(
                "INSERT IGNORE INTO tidewatch_id_space VALUES (?, ?, ?, ?, ?, 0)",
                (
                    &space.name,
                    layout.epoch_ms(),
                    layout.time_bits(),
                    layout.node_bits(),
                    layout.sequence_bits(),
                ),
            )?;
            transaction
                .exec_first(
                    "SELECT epoch_ms, time_bits, node_bits, sequence_bits, nodes_used
                     FROM tidewatch_id_space WHERE name = ? FOR UPDATE",
                    (&space.name,),
                )?
                .ok_or_else(|| damaged("a space that was just made is gone"))?
        }
    };
    let (epoch_ms, time_bits, node_bits, sequence_bits, used) = row;
    store::check_layout(space, (epoch_ms, time_bits, node_bits, sequence_bits))?;
    Ok(used)
}

fn now_ms(transaction: &mut Transaction<'_>) -> Result<i64, Fault> {
    let now: Option<i64> = transaction.query_first(NOW_MS)?;
    now.ok_or_else(|| damaged("the server has no clock"))
}

fn node_row(
    transaction: &mut Transaction<'_>,
    space: &Space,
    node: u64,
) -> Result<Option<NodeRow>, Fault> {
    let row: Option<(i64, i64)> = transaction.exec_first(
        "SELECT term, until_ms FROM tidewatch_id_node WHERE space = ? AND node = ? FOR UPDATE",
        (&space.name, node),
    )?;
    Ok(row.map(|(term, until_ms)| NodeRow { term, until_ms }))
}

fn set_until(
    transaction: &mut Transaction<'_>,
    space: &Space,
    node: u64,
    until_ms: i64,
) -> Result<(), Fault> {
    transaction.exec_drop(
        "UPDATE tidewatch_id_node SET until_ms = ? WHERE space = ? AND node = ?",
        (until_ms, &space.name, node),
    )?;
    Ok(())
}
