//! Collision-free ids for parallel writers, on the database they have.
//!
//! Three kinds:
//! - [`Flake`] (`int`): positive, time-ordered 64-bit integers. Milliseconds since a stated epoch, a
//!   leased node, a sequence. No round trip an id.
//! - [`Blocks`] (`block`): small, dense integers, taken from a counter a block at a time.
//! - [`Uuids`] (`uuid`): UUIDs of version 7.
//!
//! Nodes and blocks come from an [`IdStore`]: memory, SQLite, PostgreSQL or MariaDB, each behind a
//! feature of its own. `lease` and `rule` say why no id repeats, whatever clocks and processes do.
//!
//! Stands alone: knows no other crate of the workspace, and starts no thread. A call of a store ends
//! within seconds, whatever its server does; that of PostgreSQL has a runtime of its own for it.

pub mod layout;
pub mod lease;
pub mod rule;

pub mod clock;
pub mod error;
pub mod store;

pub mod block;
pub mod flake;
pub mod uuid7;

pub mod sql;
pub mod trade;

pub mod memory;

#[cfg(feature = "mariadb")]
pub mod mariadb;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[doc(hidden)]
pub mod contract;

#[cfg(any(feature = "postgres", feature = "mariadb"))]
mod address;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mariadb"))]
mod fault;
mod grant_cell;
#[cfg(test)]
mod model_check;
#[cfg(feature = "postgres")]
mod postgres_tls;

pub use block::Blocks;
pub use clock::{Clock, SystemClock};
pub use error::{IdError, StoreError};
pub use flake::{Flake, FlakeSettings, LeaseCounts};
pub use layout::{Layout, LayoutError, Parts};
#[cfg(feature = "mariadb")]
pub use mariadb::MariaDbStore;
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::{Block, IdStore, Lease, Space};
pub use uuid7::Uuids;
