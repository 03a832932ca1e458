//! What one attempt makes of a cell.

use jiff::Timestamp;
use model::{Cause, CellState, Outcome};

/// What is to happen next, as the plan decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Another look is planned.
    At(Timestamp),
    /// None is needed.
    Done,
    /// None is worth its price any more.
    Over,
}

/// What is known of a cell once an attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The state before the attempt.
    pub before: CellState,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Whether records of the cell are in the table, or will be with this attempt.
    pub has_records: bool,
    /// Whether some complete observation, this one included, was made since the cell was due, and
    /// no later answer [contradicts] it.
    pub complete_since_due: bool,
    /// Whether the source declares that each cell has records.
    pub expects_records: bool,
    /// What the plan decided.
    pub look: Look,
}

/// The state of a cell after an attempt.
///
/// A cell that has its records keeps them through any failure; only a complete, empty observation
/// withdraws them. Invalid records hold the cell, whatever is planned.
pub fn judge(evidence: &Evidence) -> CellState {
    let Evidence { before, outcome, has_records, look, .. } = *evidence;
    if has_records {
        return CellState::Present;
    }
    if outcome == Outcome::EmptyProven
        && matches!(before, CellState::Present | CellState::Absent { cause: Cause::Withdrawn })
    {
        return CellState::Absent { cause: Cause::Withdrawn };
    }
    if outcome == Outcome::Invalid {
        return CellState::Held;
    }
    match look {
        Look::At(next_look_at) => match before {
            // A revisit that failed reopens nothing.
            CellState::Absent { .. } | CellState::Held | CellState::GivenUp { .. }
                if !outcome.is_complete_observation() =>
            {
                before
            }
            _ => CellState::Waiting { next_look_at, last_outcome: outcome },
        },
        Look::Done | Look::Over => closed(evidence),
    }
}

/// The last word on a cell without records.
fn closed(evidence: &Evidence) -> CellState {
    let Evidence { before, outcome, complete_since_due, expects_records, .. } = *evidence;
    if before == CellState::Held {
        return CellState::Held;
    }
    if outcome.is_complete_observation() || complete_since_due {
        // A failure after a complete, empty answer takes nothing away from that answer.
        let cause = Cause::of_outcome(Outcome::EmptyProven, expects_records);
        return CellState::Absent { cause };
    }
    CellState::GivenUp { cause: Cause::of_outcome(outcome, expects_records) }
}

/// Whether an answer takes an earlier proof of emptiness back: there are bytes now, and we cannot
/// make records of them. A body that broke off or had nothing in it says nothing of the kind.
pub fn contradicts(outcome: Outcome, received_bytes: u64) -> bool {
    match outcome {
        Outcome::ParseError | Outcome::Invalid => true,
        Outcome::EmptyUnproven => received_bytes > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look::At(Timestamp::UNIX_EPOCH);

    fn after(before: CellState, outcome: Outcome, look: Look) -> CellState {
        judge(&Evidence {
            before,
            outcome,
            has_records: false,
            complete_since_due: outcome.is_complete_observation(),
            expects_records: true,
            look,
        })
    }

    #[test]
    fn records_make_a_cell_present_whatever_happens_next() {
        for outcome in [Outcome::Ok, Outcome::NotModified, Outcome::SourceError, Outcome::Partial] {
            let state = judge(&Evidence {
                before: CellState::Present,
                outcome,
                has_records: true,
                complete_since_due: true,
                expects_records: true,
                look: Look::Over,
            });
            assert_eq!(state, CellState::Present, "{outcome}");
        }
    }

    #[test]
    fn only_a_complete_observation_asserts_absence() {
        assert_eq!(
            after(CellState::Due, Outcome::EmptyProven, Look::Over),
            CellState::Absent { cause: Cause::SourceGap }
        );
        for &outcome in Outcome::ALL.iter().filter(|outcome| !outcome.is_complete_observation()) {
            let state = after(CellState::Due, outcome, Look::Over);
            assert!(
                matches!(state, CellState::GivenUp { .. } | CellState::Held),
                "{outcome} must not assert absence, but gave {state:?}"
            );
        }
    }

    #[test]
    fn a_failure_does_not_take_back_an_earlier_complete_answer() {
        let state = judge(&Evidence {
            before: CellState::Due,
            outcome: Outcome::TransportError,
            has_records: false,
            complete_since_due: true,
            expects_records: false,
            look: Look::Over,
        });
        assert_eq!(state, CellState::Absent { cause: Cause::NoActivity });
    }

    #[test]
    fn bytes_we_cannot_read_take_an_earlier_emptiness_back() {
        let state = judge(&Evidence {
            before: CellState::Due,
            outcome: Outcome::ParseError,
            has_records: false,
            complete_since_due: !contradicts(Outcome::ParseError, 100),
            expects_records: true,
            look: Look::Over,
        });
        assert_eq!(state, CellState::GivenUp { cause: Cause::ParseDrop });
    }

    #[test]
    fn what_was_there_and_is_not_any_more_is_withdrawn() {
        assert_eq!(
            after(CellState::Present, Outcome::EmptyProven, LOOK),
            CellState::Absent { cause: Cause::Withdrawn }
        );
    }

    #[test]
    fn invalid_records_hold_the_cell() {
        assert_eq!(after(CellState::Due, Outcome::Invalid, LOOK), CellState::Held);
        assert_eq!(after(CellState::Held, Outcome::SourceError, Look::Over), CellState::Held);
    }
}
