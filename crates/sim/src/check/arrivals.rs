//! The book of arrivals: each wait ends once, between two looks that have the truth between them.

use super::{Checked, broken, tables::ArrivalRow};
use crate::world::Truth;
use model::{CellKey, CellState};
use std::collections::BTreeMap;

/// See the module. For one source.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Whether its cheap looks say the truth, so that the bounds are bounds.
    pub is_honest: bool,
    /// By cell: whether it came.
    ended: BTreeMap<CellKey, bool>,
}

impl Arrivals {
    /// Nothing booked yet.
    pub fn new(is_honest: bool) -> Self {
        Self { is_honest, ended: BTreeMap::new() }
    }

    /// A row of the book.
    ///
    /// # Errors
    /// It is the second, or the truth lies elsewhere.
    pub(super) fn booked(&mut self, cell: &CellKey, row: &ArrivalRow, truth: &Truth) -> Checked {
        let came = row.seen_at.is_some();
        if self.ended.insert(cell.clone(), came) == Some(true) {
            return broken("arrivals are booked once", format!("`{cell}` came twice: {row:?}"));
        }
        let words = if came { ("arrived", false) } else { ("censored", true) };
        if (row.state.as_str(), row.reason.is_some()) != words {
            return broken("arrivals have a state and a reason", format!("{row:?}"));
        }
        let arrives_at = truth.arrives_at();
        if !self.is_honest {
            return Ok(());
        }
        let is_early = row.seen_at.is_some_and(|seen| arrives_at.is_none_or(|at| seen < at));
        let is_late = arrives_at
            .is_some_and(|at| came && row.not_before.is_some_and(|without| without >= at));
        if is_early || is_late {
            let found = format!("`{cell}` came at {arrives_at:?}, and the book says {row:?}");
            return broken("arrivals lie between their looks", found);
        }
        Ok(())
    }

    /// The end: who has data came, and who is waited for no more did not.
    ///
    /// # Errors
    /// A cell's wait is over, and the book does not say so.
    pub fn judge(&self, cell: &CellKey, state: Option<CellState>) -> Checked {
        let booked = self.ended.get(cell).copied();
        let expected = match state {
            Some(CellState::Present) => Some(true),
            Some(CellState::Absent { .. } | CellState::GivenUp { .. }) => Some(false),
            _ => return Ok(()),
        };
        if booked == expected || (expected == Some(false) && booked.is_some()) {
            return Ok(());
        }
        let found = format!("`{cell}` is {state:?}, and the book of arrivals says {booked:?}");
        broken("every wait has an end", found)
    }
}
