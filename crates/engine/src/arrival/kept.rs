//! What is written into the state of a source's arrivals.

use jiff::{Timestamp, civil::Date};
use model::{Entity, LookKind, Period};
use plan::Trust;
use serde::{Deserialize, Serialize};
use state::ScheduleRow;

/// The layout of [`Kept`]. Another one is as good as none.
const VERSION: u8 = 1;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) trust: Vec<(LookKind, Trust)>,
    pub(super) usual: Option<f64>,
    pub(super) usual_of_entities: Vec<(Entity, f64)>,
    /// When the last page or feed was read, by period.
    pub(super) pages: Vec<(LookKind, Period, Timestamp)>,
    pub(super) arrived: u64,
    pub(super) day: Option<Date>,
    /// What the schedule saved.
    pub(super) schedule: Vec<u8>,
}

impl Kept {
    /// What a schedule saved that learned from so many arrivals in the books.
    pub(crate) fn relearned(arrived: u64, schedule: Vec<u8>) -> Self {
        Self { arrived, schedule, ..Self::default() }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        postcard::from_bytes(rest).ok()
    }

    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        postcard::to_extend(self, vec![VERSION]).ok()
    }
}

/// How far a cheap look is trusted, for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookTrust {
    /// Which kind of look.
    pub kind: LookKind,
    /// What is known of it.
    pub trust: Trust,
}

impl LookTrust {
    /// What a source's row of the state says; nothing of a row of another layout.
    pub fn read(row: &ScheduleRow) -> Vec<Self> {
        let kept = Kept::read(&row.saved).unwrap_or_default();
        kept.trust.into_iter().map(|(kind, trust)| Self { kind, trust }).collect()
    }

    /// What the source's schedule saved; empty if it saved nothing.
    pub fn schedule_of(row: &ScheduleRow) -> Vec<u8> {
        Kept::read(&row.saved).unwrap_or_default().schedule
    }
}
