//! The invariants, each a small checker that is told what happens and says when it may not.
//!
//! They know the engine by its events, its tables and its state only, and the world by its truth
//! and by the servers' own log. None of them asks the engine what it thinks.

mod arrivals;
mod attempts;
mod bill;
mod books;
mod looks;
mod pace;
mod rows;

mod ending;

mod tables;
mod watch;

mod closing;

pub use arrivals::Arrivals;
pub use attempts::Attempts;
pub use bill::{Bill, Over};
pub use books::{Budgets, Spent};
pub use ending::{Expected, Found, judge_cell};
pub use looks::Looks;
pub use pace::PaceBound;
pub use rows::{DataRow, Live, Rows};
pub use watch::{Report, Watch};

use std::fmt;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub check: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.found)
    }
}

/// Whether an invariant holds.
pub type Checked = Result<(), Violation>;

/// Says that an invariant does not hold.
pub(crate) fn broken(check: &'static str, found: impl Into<String>) -> Checked {
    Err(Violation { check, found: found.into() })
}
