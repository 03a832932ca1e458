//! Which cells go into one request.
//!
//! Mostly each is asked for by itself. A source with `max_entities` asks for many of one period at
//! once: those that are due, and, where there is room, others that wait for a later look, since they
//! cost nothing more. If such a request fails in a way that one of its cells may be the cause of,
//! its cells go into requests of half the size, until the one is alone.

use crate::{observation::Observation, runtime::Runtime};
use model::{CellKey, LookKind, grid::CellOrdinal};
use plan::agenda::{Due, Priority};
use std::collections::BTreeMap;

/// One request to be made.
#[derive(Debug)]
pub(crate) struct Call {
    /// The cell it is booked for.
    pub(crate) due: Due,
    /// With its cell: the grid may change while the state is asked, and ordinals with it.
    pub(crate) cell: CellKey,
    /// What it asks for as well.
    pub(crate) others: Vec<(Due, CellKey)>,
}

/// How many other cells an entity may be asked for with; those that are not here, with as many as
/// the source allows.
#[derive(Debug, Default)]
pub(crate) struct Together(BTreeMap<u32, usize>);

impl Together {
    /// The most cells of a request for this one.
    fn most(&self, cell: CellOrdinal, asked_max: usize) -> usize {
        self.0.get(&cell.entity).map_or(asked_max, |most| (*most).min(asked_max))
    }

    /// Learns from how a request ended.
    pub(crate) fn learn(&mut self, cell: CellOrdinal, observation: &Observation) {
        let asked = observation.asked as usize;
        if observation.fewer {
            self.0.insert(cell.entity, (asked / 2).max(1));
        } else if observation.outcome.is_complete_observation()
            && let Some(most) = self.0.get_mut(&cell.entity)
        {
            *most = most.saturating_mul(2);
        }
    }
}

/// A call that may take more cells.
struct Open {
    at: usize,
    most: usize,
}

impl Runtime {
    /// Makes calls of cells that are to be looked at, in their order.
    pub(crate) fn calls(&mut self, planned: Vec<(Due, LookKind)>) -> Vec<(LookKind, Call)> {
        let asked_max = self.compiled.asked_max();
        let mut calls: Vec<(LookKind, Call)> = Vec::with_capacity(planned.len());
        let mut open: BTreeMap<(u32, Priority), Open> = BTreeMap::new();
        for (due, look) in planned {
            let Some(cell) = self.cell(due.ordinal) else { continue };
            let most = self.together.most(due.ordinal, asked_max);
            let key = (due.ordinal.period, due.priority);
            if look == LookKind::Paid
                && let Some(found) = open.get_mut(&key)
                && let Some((_, call)) = calls.get_mut(found.at)
                && call.others.len() + 1 < found.most.min(most)
            {
                found.most = found.most.min(most);
                call.others.push((due, cell));
                continue;
            }
            if look == LookKind::Paid && most > 1 {
                open.insert(key, Open { at: calls.len(), most });
            }
            calls.push((look, Call { due, cell, others: Vec::new() }));
        }
        for ((period, priority), found) in open {
            if let (Priority::Live, Some((_, call))) = (priority, calls.get_mut(found.at)) {
                let room = found.most.saturating_sub(call.others.len() + 1);
                let riders = self.riders(period, found.most, room);
                call.others.extend(riders);
            }
        }
        calls
    }

    /// Cells of a period that wait for a later look, the next ones first: a call with room for them
    /// asks for them as well.
    fn riders(&mut self, period: u32, most: usize, room: usize) -> Vec<(Due, CellKey)> {
        if room == 0 {
            return Vec::new();
        }
        let asked_max = self.compiled.asked_max();
        let mut waiting = Vec::new();
        for entity in 0..self.grid().entities().len() as u32 {
            let ordinal = CellOrdinal { entity, period };
            let Some((at, Priority::Live)) = self.agenda().appointment(ordinal) else { continue };
            if self.together.most(ordinal, asked_max) >= most && self.may_ride(ordinal) {
                waiting.push((at, ordinal));
            }
        }
        waiting.sort_unstable_by_key(|(at, ordinal)| (*at, ordinal.entity));
        waiting.truncate(room);
        let taken = waiting.into_iter().filter_map(|(_, ordinal)| {
            let cell = self.cell(ordinal)?;
            Some((self.agenda().take_early(ordinal)?, cell))
        });
        taken.collect()
    }

    /// Whether a cell waits for its data, and for nothing else.
    fn may_ride(&self, ordinal: CellOrdinal) -> bool {
        let is_parked = self.parked_cells.contains(&crate::runtime::code(ordinal));
        let known = self.known(ordinal);
        !is_parked && known.is_none_or(|row| row.failures == 0 && !row.state.is_settled())
    }
}
