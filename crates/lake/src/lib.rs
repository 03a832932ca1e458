//! The tables: records, quarantine and the books, behind one port with two engines.
//!
//! [`MemoryLake`] serves the simulator and tests; [`DeltaLake`] keeps Delta tables on the local
//! disk that other programs read as they are. Both keep one contract (`contract.rs`): files are
//! staged first, invisible to readers, and enter a table by one atomic commit that is skipped when
//! the table already has it.
//!
//! It does not: speak HTTP, know what a row means, run SQL (`query` does), or guard a project
//! against two engines (a lock above does; a foreign commit is noticed here, not prevented).

pub mod error;
pub mod port;
pub mod table;

mod schema;

pub mod memory;

pub mod delta;
mod durable;

mod compact;
mod entries;
mod kernel;
mod log;
mod parquet_file;
mod statistics;
mod sweep;

#[cfg(test)]
mod contract;

pub use delta::DeltaLake;
pub use error::LakeError;
pub use memory::MemoryLake;
pub use port::{
    Committed, Lake, LakeFuture, Maintenance, MaintenanceReport, Scan, StagedFile, TableFiles,
};
pub use table::{LedgerTable, TableRef};
