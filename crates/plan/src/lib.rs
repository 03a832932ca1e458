//! From the grid to the cells that are due: which, in which order, and when to look again.
//!
//! Pure: takes outcomes and `now`, returns decisions. Never sends, sleeps, stores or reads a clock;
//! chance is handed in.
//!
//! - [`look`]: what follows an attempt: the one table of looks and retries, and what retries may
//!   cost.
//! - [`arrival`]: when data comes, learned from looks, and the looks that cost least.
//! - [`agenda`]: the due cells of one source, each handed out once.
//! - [`schedule`]: when, and how, cells are looked at before their data has come.
//! - [`trust`]: how far a cheap look is trusted.

pub mod arrival;

pub mod look;

pub mod agenda;

pub mod schedule;
pub mod trust;

pub use agenda::{Agenda, Due, Priority, Restored};
pub use look::{LookPolicy, Next, Progress, RetryBudget, Revisit, next};
pub use schedule::{
    BudgetLeft, EveryInterval, LearnedSchedule, LookAnswer, Offer, PlannedLook, Scarce, Schedule,
};
pub use trust::Trust;
