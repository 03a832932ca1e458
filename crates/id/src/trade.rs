//! Writes that can be repeated: the same trade recorded once, whatever was lost on the way.
//!
//! A client whose connection broke after it sent a COMMIT cannot know whether the trade is recorded.
//! So it sends the trade again under the same *idempotency key*, a name that the trade has by nature
//! (the exchange's execution number) or was given before the first attempt. The key is unique in the
//! table; a repeated write finds the first row and returns its order id.
//!
//! Three rules make it right:
//! 1. The key is made before the first attempt and kept until the answer has come.
//! 2. A conflict on the key is answered with the row that is there; a conflict on the order id is an
//!    error, and must not look like the other one (`INSERT IGNORE`, `ON CONFLICT DO NOTHING` without
//!    a column and `ON DUPLICATE KEY UPDATE` cannot tell them apart).
//! 3. The same key with another payload is an error of the caller's.

use crate::error::BoxError;

/// A trade to be recorded. The order id of an attempt that finds an earlier one is not used.
#[derive(Debug, Clone, Copy)]
pub struct Trade<'a> {
    /// From any of the generators.
    pub order_id: i64,
    /// Unique for the trade: at most 200 bytes.
    pub key: &'a str,
    /// What is to be kept.
    pub payload: &'a str,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// This attempt wrote the row.
    New {
        /// The order id that was given.
        order_id: i64,
    },
    /// An earlier attempt did.
    Before {
        /// Its order id.
        order_id: i64,
    },
}

impl Recorded {
    /// The trade's order id.
    pub fn order_id(self) -> i64 {
        match self {
            Self::New { order_id } | Self::Before { order_id } => order_id,
        }
    }
}

/// Why a trade was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum TradeError {
    /// Another trade has the order id. Nothing was written: take another id.
    #[error("the order id `{order_id}` is another trade's")]
    OrderIdTaken {
        /// As given.
        order_id: i64,
    },
    /// The key was used before for something else. Nothing was written.
    #[error("the key `{key}` was used before, with another payload")]
    KeyReused {
        /// As given.
        key: String,
    },
    /// The server ended the transaction for another one's sake. Nothing was written: try again.
    #[error("the database asks to try again")]
    TryAgain(#[source] BoxError),
    /// Anything else. It is not known whether the trade is recorded: try again, with the same key.
    #[error("it is not known whether the trade is recorded")]
    Unknown(#[source] BoxError),
}

impl TradeError {
    /// Whether to try again with the same key, on a new connection if need be.
    pub fn is_retried(&self) -> bool {
        matches!(self, Self::TryAgain(_) | Self::Unknown(_))
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mariadb"))]
fn before(trade: &Trade<'_>, found: Option<(i64, String)>) -> Result<Recorded, TradeError> {
    match found {
        Some((order_id, payload)) if payload == trade.payload => Ok(Recorded::Before { order_id }),
        Some(_) => Err(TradeError::KeyReused { key: trade.key.to_owned() }),
        // Nobody has the key, so the conflict was about the id.
        None => Err(TradeError::OrderIdTaken { order_id: trade.order_id }),
    }
}

/// SQLite: the table, and the write.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    use super::{BoxError, Recorded, Trade, TradeError, before};
    use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};

    /// The table.
    pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS trade (
        order_id INTEGER PRIMARY KEY,
        idempotency_key TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL
    ) STRICT";

    /// Records a trade once.
    ///
    /// # Errors
    /// [`TradeError`] says whether to try again.
    pub fn record(connection: &mut Connection, trade: &Trade<'_>) -> Result<Recorded, TradeError> {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(of_sqlite)?;
        // Nobody else writes until the commit, so what is read here stays so.
        let found = transaction
            .prepare_cached("SELECT order_id, payload FROM trade WHERE idempotency_key = ?1")
            .and_then(|mut select| {
                select.query_row([trade.key], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(of_sqlite)?;
        if found.is_some() {
            return before(trade, found);
        }
        let inserted =
            transaction.prepare_cached("INSERT INTO trade VALUES (?1, ?2, ?3)").and_then(
                |mut insert| insert.execute(params![trade.order_id, trade.key, trade.payload]),
            );
        match inserted {
            Ok(_) => {}
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return before(trade, None);
            }
            Err(cause) => return Err(of_sqlite(cause)),
        }
        transaction.commit().map_err(|cause| TradeError::Unknown(BoxError::from(cause)))?;
        Ok(Recorded::New { order_id: trade.order_id })
    }

    fn of_sqlite(cause: rusqlite::Error) -> TradeError {
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                TradeError::TryAgain(BoxError::from(cause))
            }
            _ => TradeError::Unknown(BoxError::from(cause)),
        }
    }
}

/// PostgreSQL: the table, and the write, at any isolation level.
#[cfg(feature = "postgres")]
pub mod postgres {
    use super::{BoxError, Recorded, Trade, TradeError, before};
    use postgres::{Client, error::SqlState};

    /// The table.
    pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS trade (
        order_id bigint PRIMARY KEY,
        idempotency_key text NOT NULL UNIQUE,
        payload text NOT NULL
    )";

    /// Records a trade once, in a transaction of its own at the session's isolation level.
    ///
    /// # Errors
    /// [`TradeError`] says whether to try again.
    pub fn record(client: &mut Client, trade: &Trade<'_>) -> Result<Recorded, TradeError> {
        let inserted = client
            .execute(
                "INSERT INTO trade VALUES ($1, $2, $3) ON CONFLICT (idempotency_key) DO NOTHING",
                &[&trade.order_id, &trade.key, &trade.payload],
            )
            .map_err(|cause| of_postgres(trade, cause))?;
        if inserted == 1 {
            return Ok(Recorded::New { order_id: trade.order_id });
        }
        // A statement of its own, so it sees the row that was in the way.
        let found = client
            .query_opt(
                "SELECT order_id, payload FROM trade WHERE idempotency_key = $1",
                &[&trade.key],
            )
            .map_err(|cause| of_postgres(trade, cause))?;
        before(trade, found.map(|row| (row.get(0), row.get(1))))
    }

    fn of_postgres(trade: &Trade<'_>, cause: postgres::Error) -> TradeError {
        match cause.code() {
            Some(&SqlState::UNIQUE_VIOLATION) => {
                TradeError::OrderIdTaken { order_id: trade.order_id }
            }
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                TradeError::TryAgain(BoxError::from(cause))
            }
            _ => TradeError::Unknown(BoxError::from(cause)),
        }
    }
}

/// MariaDB: the table, and the write, at any isolation level.
#[cfg(feature = "mariadb")]
pub mod mariadb {
    use super::{BoxError, Recorded, Trade, TradeError, before};
    use mysql::{Conn, prelude::Queryable as _};

    /// The table.
    pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS trade (
        order_id bigint PRIMARY KEY,
        idempotency_key varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
        payload text NOT NULL
    ) ENGINE = InnoDB";
    const DUPLICATE: u16 = 1062;
    const TRY_AGAIN: [u16; 3] = [1213, 1205, 1020];

    /// Records a trade once. The session commits by itself (`autocommit`, the default).
    ///
    /// # Errors
    /// [`TradeError`] says whether to try again.
    pub fn record(connection: &mut Conn, trade: &Trade<'_>) -> Result<Recorded, TradeError> {
        let inserted = connection.exec_drop(
            "INSERT INTO trade VALUES (?, ?, ?)",
            (trade.order_id, trade.key, trade.payload),
        );
        match inserted {
            Ok(()) => return Ok(Recorded::New { order_id: trade.order_id }),
            Err(mysql::Error::MySqlError(error)) if error.code == DUPLICATE => {}
            Err(cause) => return Err(of_mysql(cause)),
        }
        // A statement of its own, so it sees the row that was in the way.
        let found: Option<(i64, String)> = connection
            .exec_first(
                "SELECT order_id, payload FROM trade WHERE idempotency_key = ?",
                (trade.key,),
            )
            .map_err(of_mysql)?;
        before(trade, found)
    }

    fn of_mysql(cause: mysql::Error) -> TradeError {
        match &cause {
            mysql::Error::MySqlError(error) if TRY_AGAIN.contains(&error.code) => {
                TradeError::TryAgain(BoxError::from(cause))
            }
            _ => TradeError::Unknown(BoxError::from(cause)),
        }
    }
}
