//! The end: each due cell stands where the truth allows it to stand.

use super::{Checked, broken};
use crate::world::Truth;
use jiff::{SignedDuration, Timestamp};
use model::{CellKey, CellState};

/// What the truth asks of a source's cells.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// When the scenario ended.
    pub end: Timestamp,
    /// How long after a cell is due it is looked for; `None`: for ever.
    pub give_up_after: Option<SignedDuration>,
    /// What arrived longer ago than this is present; `None`: not checked.
    pub present_within: Option<SignedDuration>,
    /// What is due for longer than this has a row; `None`: not checked.
    pub asked_within: Option<SignedDuration>,
}

/// What was found of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its state; `None` if it has no row.
    pub state: Option<CellState>,
    /// Whether the table has records of it.
    pub has_records: bool,
}

/// Compares a cell with its truth.
///
/// # Errors
/// It has no row, or claims what is not, or lacks what could be had.
pub fn judge_cell(cell: &CellKey, truth: &Truth, found: Found, expected: &Expected) -> Checked {
    let Expected { end, give_up_after, present_within, asked_within } = *expected;
    let lies = |what: String| broken("every cell is accounted", format!("`{cell}` {what}"));
    let Some(state) = found.state else {
        let since_due = end.duration_since(truth.due_at);
        if asked_within.is_some_and(|patience| since_due > patience) {
            return lies(format!("is due since {} and has no row", truth.due_at));
        }
        return Ok(());
    };
    if (state == CellState::Present) != found.has_records {
        return lies(format!("is {state:?}, with records in the table: {}", found.has_records));
    }
    match state {
        CellState::NotDue | CellState::Due => return lies(format!("is kept as {state:?}")),
        CellState::Present if truth.arrives_at().is_none() => {
            return lies("is present and never came".to_owned());
        }
        CellState::Held => return lies("is held, and no record was wrong".to_owned()),
        _ => {}
    }
    let Some(patience) = present_within else { return Ok(()) };
    let late = |instant: Timestamp| instant.checked_add(patience).unwrap_or(Timestamp::MAX);
    let deadline = give_up_after.and_then(|after| truth.due_at.checked_add(after).ok());
    if let Some(arrived) = truth.arrives_at() {
        let was_reachable =
            late(arrived) <= end && deadline.is_none_or(|deadline| late(arrived) <= deadline);
        // Nobody has to have seen it before it was withdrawn.
        let was_withdrawn = matches!(state, CellState::Absent { .. })
            && truth.at(end).is_some_and(|(_, version)| version.records.is_empty());
        if was_reachable && state != CellState::Present && !was_withdrawn {
            return lies(format!("came at {arrived} and is {state:?} at {end}"));
        }
    }
    let twice = give_up_after.and_then(|after| truth.due_at.checked_add(after * 2).ok());
    let is_over = twice.is_some_and(|twice| late(twice) <= end);
    if is_over && !state.is_settled() {
        return lies(format!("was due at {} and is {state:?} at {end}", truth.due_at));
    }
    Ok(())
}
