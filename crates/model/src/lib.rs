//! The nouns that travel: entity, period, calendar, grid, cell, attempt, outcome, cause, and the
//! checked specifications that the steps of the way take.
//!
//! Pure values and rules. No I/O, no runtime, no clock: every rule takes `now`.

pub mod name;
pub mod period;

pub mod calendar;
pub mod grid;
pub mod xnys;

pub mod attempt;
pub mod cause;
pub mod cell;
pub mod outcome;

pub mod listing;
pub mod look;
pub mod ready;

pub mod expect;
pub mod field;
pub mod path;

pub mod money;

pub use attempt::{AttemptId, Digest, DigestText, SourceVersion, Validators, hexadecimal};
pub use calendar::{Calendar, CalendarSpec, PeriodRow};
pub use cause::{Cause, Family, Fate, Verdict};
pub use cell::{CellKey, CellState, LateFrom};
pub use grid::{CellOrdinal, EntityRow, Grid};
pub use look::LookKind;
pub use money::{Budget, Money};
pub use name::{Entity, NameError, SourceId, TableName};
pub use outcome::Outcome;
pub use period::{Period, PeriodError};
