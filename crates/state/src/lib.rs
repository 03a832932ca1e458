//! Hot state: which cells stand where, what was spent, which batches are announced, what people
//! wish for, what was learned of limits and who holds which share of them.
//!
//! One port, [`StateStore`], with two engines: [`MemoryStore`] for the simulator and
//! [`SqliteStore`] for everything else. Both keep the promises of [`contract`].
//!
//! Two orders make a crash harmless. Money is *reserved* before a request is sent, so that a kill
//! cannot hide spend; a batch is *announced* before tables are touched and *settled* after, so
//! that a restart knows what may have been half done.
//!
//! Not here: what the engine does with any of it, and history. The books (every attempt, every
//! verdict) are tables in the lake; this store can be rebuilt from them.

pub mod port;
pub mod rows;

pub mod error;

pub mod memory;
pub mod sqlite;

#[doc(hidden)]
pub mod contract;

mod budget;
mod open_bits;
mod share;
mod wire;

pub use error::StateError;
pub use memory::MemoryStore;
pub use port::{StateFuture, StateStore};
pub use rows::{
    BackfillRow, Batch, BudgetScope, CellCount, CellFilter, CellRow, Cells, Evidence, Granted,
    HoldShares, LookRow, NewBackfill, NewProject, OpenAttempt, PaceRow, PeriodCount, ProjectRow,
    Rebuilt, Reserve, ScheduleRow, SourceRow, SpendRow,
};
pub use sqlite::SqliteStore;
