//! Why a cell has no usable data: a closed list in five families, its verdict in people's words,
//! and what becomes of it.

use crate::{
    money::Money,
    outcome::{Outcome, closed_list},
};
use serde::{Deserialize, Serialize};
use std::fmt;

closed_list! {
    /// The families of causes.
    Family {
        /// Nothing is expected here.
        ExpectedAbsent => "expected_absent",
        /// It has not come yet.
        Late => "late",
        /// It may exist, and we do not have it.
        LostByUs => "lost_by_us",
        /// The source does not have it, or does not give it.
        SourceSide => "source_side",
        /// No cause is known.
        Unexplained => "unexplained",
    }
}

closed_list! {
    /// The verdict in people's words, a column of each report.
    Verdict {
        /// Nothing should be there.
        ExpectedToBeMissing => "expected to be missing",
        /// It should be there and cannot be had.
        TrulyMissing => "truly missing",
        /// It may still come, be repaired or be explained.
        Undecided => "undecided",
    }
}

closed_list! {
    /// Why a cell has no usable data.
    Cause {
        /// The calendar is closed.
        CalendarClosed => "calendar_closed",
        /// Before the entity was listed.
        NotYetListed => "not_yet_listed",
        /// After the entity was delisted.
        Delisted => "delisted",
        /// The source does not claim to cover it.
        NotCovered => "not_covered",
        /// Its time has not come.
        NotDue => "not_due",
        /// A complete answer says that nothing happened.
        NoActivity => "no_activity",
        /// The field has no meaning for this record.
        NotApplicable => "not_applicable",
        /// Late within the usual.
        LateUsual => "late_usual",
        /// Later than usual.
        LateWatch => "late_watch",
        /// Later than nearly ever before.
        Overdue => "overdue",
        /// No request covered it: budget, pause, no time.
        NotAttempted => "not_attempted",
        /// Refused for asking too often.
        Throttled => "throttled",
        /// Refused to us.
        Blocked => "blocked",
        /// Our credentials are not accepted.
        Unauthorized => "unauthorized",
        /// The network failed between us and the source.
        Transport => "transport",
        /// Only broken-off answers.
        Partial => "partial",
        /// An answer came and our extraction did not understand it.
        ParseDrop => "parse_drop",
        /// Extracted, and held back by an expectation.
        Quarantined => "quarantined",
        /// Accepted and not in the table.
        LoadLost => "load_lost",
        /// The source failed.
        SourceOutage => "source_outage",
        /// A complete answer does not have what should be there.
        SourceGap => "source_gap",
        /// The source withholds it and says so.
        Suppressed => "suppressed",
        /// The source sends an explicit null.
        SourceNull => "source_null",
        /// It was there in an earlier complete answer.
        Withdrawn => "withdrawn",
        /// None of the above is shown.
        Unexplained => "unexplained",
    }
}

impl Cause {
    /// The family a cause belongs to.
    pub fn family(self) -> Family {
        use Cause::{
            Blocked, CalendarClosed, Delisted, LateUsual, LateWatch, LoadLost, NoActivity,
            NotApplicable, NotAttempted, NotCovered, NotDue, NotYetListed, Overdue, ParseDrop,
            Partial, Quarantined, SourceGap, SourceNull, SourceOutage, Suppressed, Throttled,
            Transport, Unauthorized, Unexplained, Withdrawn,
        };
        match self {
            CalendarClosed | NotYetListed | Delisted | NotCovered | NotDue | NoActivity
            | NotApplicable => Family::ExpectedAbsent,
            LateUsual | LateWatch | Overdue => Family::Late,
            NotAttempted | Throttled | Blocked | Unauthorized | Transport | Partial | ParseDrop
            | Quarantined | LoadLost => Family::LostByUs,
            SourceOutage | SourceGap | Suppressed | SourceNull | Withdrawn => Family::SourceSide,
            Unexplained => Family::Unexplained,
        }
    }

    /// The verdict of a cell that is closed (`final_word`) or still open with this cause.
    ///
    /// What was lost by us can be repaired while it is open; it is truly missing only once it is
    /// given up.
    pub fn verdict(self, final_word: bool) -> Verdict {
        match (self.family(), final_word) {
            (Family::ExpectedAbsent, _) => Verdict::ExpectedToBeMissing,
            (Family::SourceSide, true) => Verdict::TrulyMissing,
            (Family::SourceSide | Family::Late | Family::LostByUs | Family::Unexplained, _) => {
                Verdict::Undecided
            }
        }
    }

    /// The obvious cause behind the last outcome of a cell without data.
    ///
    /// `expects_records`: the source declares that each cell has at least one record, so that a
    /// proven emptiness is a gap and not a quiet day.
    pub fn of_outcome(outcome: Outcome, expects_records: bool) -> Self {
        match outcome {
            Outcome::EmptyProven | Outcome::NotModified if expects_records => Self::SourceGap,
            Outcome::EmptyProven | Outcome::NotModified => Self::NoActivity,
            Outcome::Gone => Self::SourceGap,
            Outcome::EmptyUnproven | Outcome::Ok => Self::Unexplained,
            Outcome::Partial => Self::Partial,
            Outcome::RateLimited => Self::Throttled,
            Outcome::Blocked => Self::Blocked,
            Outcome::Unauthorized => Self::Unauthorized,
            Outcome::SourceError => Self::SourceOutage,
            Outcome::TransportError => Self::Transport,
            Outcome::ParseError => Self::ParseDrop,
            Outcome::Invalid => Self::Quarantined,
            Outcome::Skipped => Self::NotAttempted,
        }
    }

    /// The cause of a cell that waits for its next look, as far as its last outcome tells.
    pub fn of_waiting(last_outcome: Outcome) -> Self {
        match last_outcome {
            Outcome::EmptyProven | Outcome::NotModified | Outcome::Ok => Self::LateUsual,
            other => Self::of_outcome(other, true),
        }
    }
}

/// What will become of a cell without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is expected to come.
    WillArrive,
    /// It can be extracted again from the archive, for nothing.
    RepairFree,
    /// It can be asked again, at this price.
    RepairPaid(Money),
    /// It cannot be had.
    Unrecoverable,
    /// Nothing needs to be done.
    NoneNeeded,
}

impl Fate {
    /// The obvious fate of a cause, given what one more look costs.
    pub fn of_cause(cause: Cause, cost: Money) -> Self {
        match cause.family() {
            Family::ExpectedAbsent => Self::NoneNeeded,
            Family::Late => Self::WillArrive,
            Family::LostByUs
                if matches!(cause, Cause::ParseDrop | Cause::Quarantined | Cause::LoadLost) =>
            {
                Self::RepairFree
            }
            Family::LostByUs | Family::Unexplained => Self::RepairPaid(cost),
            Family::SourceSide if cause == Cause::SourceOutage => Self::RepairPaid(cost),
            Family::SourceSide => Self::Unrecoverable,
        }
    }

    /// The word used in tables and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WillArrive => "will_arrive",
            Self::RepairFree => "repair_free",
            Self::RepairPaid(_) => "repair_paid",
            Self::Unrecoverable => "unrecoverable",
            Self::NoneNeeded => "none_needed",
        }
    }
}
