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

    /// Whether no further look is planned, revisits aside.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Present | Self::Absent { .. } | Self::Held | Self::GivenUp { .. })
    }
}
