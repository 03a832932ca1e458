//! The unit of all work: one (source, entity, period).

use crate::{
    cause::Cause,
    name::{Entity, SourceId},
    outcome::Outcome,
    period::Period,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One cell of the grid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// Whose cell.
    pub source: SourceId,
    /// Of which entity.
    pub entity: Entity,
    /// Of which period.
    pub period: Period,
}

impl fmt::Display for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.entity, self.period)
    }
}

/// Where a cell stands. Every state can be reopened by evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum CellState {
    /// Its time has not come. Computed, never stored.
    NotDue,
    /// It is to be asked for, and nothing has happened yet. Computed, never stored.
    Due,
    /// It was asked for and will be asked for again.
    Waiting {
        /// When to look again.
        next_look_at: Timestamp,
        /// How the last attempt ended.
        last_outcome: Outcome,
    },
    /// Its records are in the table.
    Present,
    /// It has none, and a complete observation says so.
    Absent {
        /// Why.
        cause: Cause,
    },
    /// Its records are held back in quarantine.
    Held,
    /// It is asked for no more.
    GivenUp {
        /// Why it has no data.
        cause: Cause,
    },
}

/// From when on a cell that waits for its data is later than usual, by what was learned of its like.
///
/// Kept with the cell, so that its cause can be told at any time without asking the model again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LateFrom {
    /// From here on it is [`Cause::LateWatch`].
    pub watch: Timestamp,
    /// From here on it is [`Cause::Overdue`]; not before `watch`.
    pub overdue: Timestamp,
}

impl LateFrom {
    /// How late a cell is.
    pub fn cause(self, now: Timestamp) -> Cause {
        match now {
            now if now >= self.overdue => Cause::Overdue,
            now if now >= self.watch => Cause::LateWatch,
            _ => Cause::LateUsual,
        }
    }
}

impl CellState {
    /// The word used in tables, metrics and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Due => "due",
            Self::Waiting { .. } => "waiting",
            Self::Present => "present",
            Self::Absent { .. } => "absent",
            Self::Held => "held",
            Self::GivenUp { .. } => "given_up",
        }
    }

    /// Why there is no usable data; `None`: there is, or there is no telling.
    ///
    /// `late_from` is known of cells that wait for what the last look found not there yet, if enough
    /// of their like has come. What waits for another reason shows that of its last outcome.
    pub fn cause(self, late_from: Option<LateFrom>, now: Timestamp) -> Option<Cause> {
        match self {
            Self::NotDue => Some(Cause::NotDue),
            Self::Due => Some(Cause::NotAttempted),
            Self::Waiting { last_outcome, .. } => Some(
                late_from.map_or_else(|| Cause::of_waiting(last_outcome), |late| late.cause(now)),
            ),
            Self::Present => None,
            Self::Absent { cause } | Self::GivenUp { cause } => Some(cause),
            Self::Held => Some(Cause::Quarantined),
        }
    }

    /// Whether no further look is planned, revisits aside.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Present | Self::Absent { .. } | Self::Held | Self::GivenUp { .. })
    }
}
