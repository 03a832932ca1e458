//! The due cells of one source, each handed out once.
//!
//! A cell that nothing happened to costs one bit: whether it was touched is a bitset, and what
//! comes next is a cursor a period. Only cells in flight or waiting for a look are kept one by
//! one. The way of a cell: fresh, in flight, waiting, in flight, ..., settled; settled cells open
//! again by [`Agenda::look_at`].

use jiff::Timestamp;
use model::{CellOrdinal, Grid};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// What comes first when not everything can be asked at once, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// New data, while it is fresh.
    Live,
    /// What was asked for and lost by us.
    Repair,
    /// The past.
    Backfill,
    /// A look at what we have, or at whether there is something.
    Probe,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Live, Self::Repair, Self::Backfill, Self::Probe];
}

/// A cell to be asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which cell.
    pub ordinal: CellOrdinal,
    /// With which priority it was handed out.
    pub priority: Priority,
}

/// What the state remembers of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// Present, absent or given up: nothing to do.
    Settled,
    /// To be looked at again.
    LookAt(Timestamp, Priority),
}

/// Where an open cell that is not fresh is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    InFlight(Priority),
    Ready(Priority),
    Later(Timestamp, Priority),
}

/// The due cells of one source.
///
/// Ordinals are those of its [`Grid`]; calls about cells that the grid does not expect are
/// ignored.
#[derive(Debug, Clone)]
pub struct Agenda {
    grid: Arc<Grid>,
    /// One bit a cell, one row of `words` a period: whether anything happened to it.
    touched: Vec<u64>,
    words: usize,
    /// Expected and untouched cells by period.
    fresh: Vec<u32>,
    fresh_total: u64,
    /// By period: the places before it hold no fresh cell.
    cursors: Vec<u32>,
    /// No period before it has fresh cells.
    fresh_from: u32,
    backfill: Range<u32>,
    /// Whether backfill is not handed out now.
    is_backfill_held: bool,
    open: BTreeMap<Slot, Place>,
    /// Waiting cells whose time has come, by priority.
    ready: [BTreeSet<Slot>; 4],
    /// Waiting cells by the instant of their look.
    later: BTreeSet<(Timestamp, Slot)>,
    in_flight: usize,
}

/// A cell as it is ordered: older periods first; within a period the entities in turn, beginning
/// with another one in each period, so that none is always the last to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    period: u32,
    turn: u32,
}

/// Spreads consecutive numbers evenly over all of `u32`: 2^32 divided by the golden ratio.
const GOLDEN: u32 = 0x9E37_79B9;

impl Agenda {
    /// An agenda of which nothing is known yet: all expected cells are fresh.
    pub fn new(grid: Arc<Grid>) -> Self {
        let periods = grid.periods().len();
        let words = grid.entities().len().div_ceil(64);
        let fresh = grid.expected_by_period();
        Self {
            touched: vec![0; words * periods],
            words,
            fresh_total: fresh.iter().map(|count| u64::from(*count)).sum(),
            fresh,
            cursors: vec![0; periods],
            fresh_from: 0,
            backfill: 0..0,
            is_backfill_held: false,
            open: BTreeMap::new(),
            ready: Default::default(),
            later: BTreeSet::new(),
            in_flight: 0,
            grid,
        }
    }

    /// The grid that ordinals refer to.
    pub fn grid(&self) -> &Arc<Grid> {
        &self.grid
    }

    /// Takes over what the state remembers of a cell, at start-up.
    pub fn restore(&mut self, ordinal: CellOrdinal, state: Restored) {
        match state {
            Restored::Settled => self.settle(ordinal),
            Restored::LookAt(at, priority) => self.look_at(ordinal, at, priority),
        }
    }

    /// Says of which periods the fresh cells are backfill; of all others they are live. Replaces
    /// what was said before.
    pub fn set_backfill(&mut self, periods: Range<u32>) {
        let end = periods.end.min(self.fresh.len() as u32);
        self.backfill = periods.start.min(end)..end;
    }

    /// Says whether backfill waits: until it is told otherwise, none of it is handed out.
    pub fn hold_backfill(&mut self, is_held: bool) {
        self.is_backfill_held = is_held;
    }

    /// How many cells of backfill could be handed out, held or not.
    pub fn backfill_count(&self) -> u64 {
        let fresh = &self.fresh[self.backfill.start as usize..self.backfill.end as usize];
        let ready = self.ready[Priority::Backfill as usize].len();
        fresh.iter().map(|count| u64::from(*count)).sum::<u64>() + ready as u64
    }

    /// Hands out up to `limit` due cells: by priority, then older periods first, then the entities
    /// in turn. They are in flight until [`Agenda::look_at`], [`Agenda::settle`] or
    /// [`Agenda::put_back`] says otherwise.
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<Due> {
        self.ripen(now);
        let due_periods = self.grid.due_periods(now);
        let mut taken = Vec::with_capacity(limit.min(self.due_count(now) as usize));
        for priority in Priority::ALL {
            if !self.is_handed_out(priority) {
                continue;
            }
            let mut from = self.fresh_from;
            let mut fresh = self.next_fresh(priority, &mut from, due_periods);
            while taken.len() < limit {
                let ready = self.ready[priority as usize].first().copied();
                let slot = match (ready, fresh) {
                    (None, None) => break,
                    (Some(ready), None) => ready,
                    (None, Some(fresh)) => fresh,
                    (Some(ready), Some(fresh)) => ready.min(fresh),
                };
                self.place(slot, Some(Place::InFlight(priority)));
                if fresh == Some(slot) {
                    fresh = self.next_fresh(priority, &mut from, due_periods);
                }
                taken.push(Due { ordinal: self.ordinal(slot), priority });
            }
        }
        taken
    }

    /// Hands out an open cell that is not in flight before its time has come, such as one that costs
    /// nothing to ask for along with others.
    pub fn take_early(&mut self, ordinal: CellOrdinal) -> Option<Due> {
        let (_, priority) = self.appointment(ordinal)?;
        let slot = self.slot(ordinal)?;
        self.place(slot, Some(Place::InFlight(priority)));
        Some(Due { ordinal, priority })
    }

    /// Looks at a cell again at an instant; opens it if it was settled, replaces an earlier
    /// appointment.
    pub fn look_at(&mut self, ordinal: CellOrdinal, at: Timestamp, priority: Priority) {
        if let Some(slot) = self.slot(ordinal) {
            self.place(slot, Some(Place::Later(at, priority)));
        }
    }

    /// Nothing more to do for a cell.
    pub fn settle(&mut self, ordinal: CellOrdinal) {
        if let Some(slot) = self.slot(ordinal) {
            self.place(slot, None);
        }
    }

    /// A cell in flight was not sent: it is due again, with the same priority.
    pub fn put_back(&mut self, ordinal: CellOrdinal) {
        let Some(slot) = self.slot(ordinal) else { return };
        if let Some(Place::InFlight(priority)) = self.open.get(&slot) {
            self.place(slot, Some(Place::Ready(*priority)));
        }
    }

    /// When an open cell that is neither in flight nor due is looked at.
    pub fn appointment(&self, ordinal: CellOrdinal) -> Option<(Timestamp, Priority)> {
        match self.open.get(&self.slot(ordinal)?)? {
            Place::Later(at, priority) => Some((*at, *priority)),
            Place::InFlight(_) | Place::Ready(_) => None,
        }
    }

    /// Whether a cell is handed out.
    pub fn is_in_flight(&self, ordinal: CellOrdinal) -> bool {
        let slot = self.slot(ordinal);
        slot.is_some_and(|slot| matches!(self.open.get(&slot), Some(Place::InFlight(_))))
    }

    /// Whether a cell is expected and not settled.
    pub fn is_open(&self, ordinal: CellOrdinal) -> bool {
        self.slot(ordinal)
            .is_some_and(|slot| !self.is_touched(ordinal) || self.open.contains_key(&slot))
    }

    /// The next instant at which [`Agenda::take_due`] returns something: `now` if it would at
    /// once, `None` if it never will without further calls.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let is_ready = |priority: &Priority| !self.ready[*priority as usize].is_empty();
        if Priority::ALL.iter().any(|priority| self.is_handed_out(*priority) && is_ready(priority))
        {
            return Some(now);
        }
        let is_held =
            |period: usize| self.is_backfill_held && self.backfill.contains(&(period as u32));
        let period = (self.fresh_from as usize..self.fresh.len())
            .find(|period| self.fresh[*period] > 0 && !is_held(*period));
        let closes_at = period.map(|period| self.grid.periods()[period].closes_at);
        let look_at = self.later.first().map(|(at, _)| *at);
        closes_at.into_iter().chain(look_at).min().map(|at| at.max(now))
    }

    /// How many cells [`Agenda::take_due`] would hand out now, if no backfill were held.
    pub fn due_count(&self, now: Timestamp) -> u64 {
        let periods = self.fresh_from as usize..self.grid.due_periods(now) as usize;
        let fresh = self.fresh.get(periods).unwrap_or_default();
        let ready: usize = self.ready.iter().map(BTreeSet::len).sum();
        let ripe = self.later.range(..=(now, Slot::LAST)).count();
        fresh.iter().map(|count| u64::from(*count)).sum::<u64>() + (ready + ripe) as u64
    }

    /// Whether nothing is due now and nothing is in flight: what ends `run --once`.
    pub fn due_now_is_empty(&self, now: Timestamp) -> bool {
        self.in_flight == 0 && self.wake_at(now).is_none_or(|at| at > now)
    }

    /// How many cells are handed out.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether every expected cell is settled, those of future periods included.
    pub fn is_finished(&self) -> bool {
        self.fresh_total == 0 && self.open.is_empty()
    }

    /// Goes over to a new grid of the same source: later periods, changed entities. What is known
    /// of a cell stays with its entity and period; what the new grid does not expect is forgotten,
    /// and what is new is fresh.
    ///
    /// Ordinals handed out before mean nothing afterwards: look cells in flight up again.
    pub fn extend(&mut self, grid: Arc<Grid>) {
        let mut extended = Self::new(grid);
        let entity_at: Vec<_> = (self.grid.entities().iter())
            .map(|row| extended.grid.entity_ordinal(&row.entity))
            .collect();
        let period_at: Vec<_> = (self.grid.periods().iter())
            .map(|row| extended.grid.period_ordinal(row.period))
            .collect();
        for (at, word) in self.touched.iter().enumerate() {
            let (period, first) = (at / self.words, at % self.words * 64);
            let mut word = *word;
            while word != 0 {
                let entity = first + word.trailing_zeros() as usize;
                word &= word - 1;
                let old = CellOrdinal { entity: entity as u32, period: period as u32 };
                let (Some(entity), Some(period)) = (entity_at[entity], period_at[period]) else {
                    continue;
                };
                if let Some(slot) = extended.slot(CellOrdinal { entity, period }) {
                    let place = self.slot(old).and_then(|slot| self.open.get(&slot));
                    extended.place(slot, place.copied());
                }
            }
        }
        let backfill = self.backfill.start as usize..self.backfill.end as usize;
        let kept = period_at[backfill].iter().flatten();
        if let (Some(first), Some(last)) = (kept.clone().min(), kept.max()) {
            extended.set_backfill(*first..*last + 1);
        }
        extended.is_backfill_held = self.is_backfill_held;
        *self = extended;
    }

    fn is_handed_out(&self, priority: Priority) -> bool {
        priority != Priority::Backfill || !self.is_backfill_held
    }

    /// Moves the cells whose look has come.
    fn ripen(&mut self, now: Timestamp) {
        while let Some((at, slot)) = self.later.first().copied() {
            if at > now {
                return;
            }
            match self.open.get(&slot) {
                Some(Place::Later(_, priority)) => self.place(slot, Some(Place::Ready(*priority))),
                // The two are kept together by `place`.
                _ => drop(self.later.pop_first()),
            }
        }
    }

    /// The first fresh due cell of a priority in or after the period `from`, which moves on.
    fn next_fresh(&mut self, priority: Priority, from: &mut u32, due: u32) -> Option<Slot> {
        if !matches!(priority, Priority::Live | Priority::Backfill) {
            return None;
        }
        while *from < due {
            let is_backfill = self.backfill.contains(from);
            if is_backfill != (priority == Priority::Backfill) {
                *from = match is_backfill {
                    true => self.backfill.end,
                    false if *from < self.backfill.start => self.backfill.start,
                    false => return None,
                };
            } else if let Some(slot) = self.next_fresh_of(*from) {
                return Some(slot);
            } else {
                *from += 1;
            }
        }
        None
    }

    /// The first fresh cell of a period; the cursor stops there.
    fn next_fresh_of(&mut self, period: u32) -> Option<Slot> {
        if self.fresh[period as usize] == 0 {
            return None;
        }
        let entities = self.grid.entities().len() as u32;
        let is_fresh = |turn: &u32| {
            let cell = self.ordinal(Slot { period, turn: *turn });
            !self.is_touched(cell) && self.grid.expects(cell)
        };
        let turn = (self.cursors[period as usize]..entities).find(is_fresh);
        self.cursors[period as usize] = turn.unwrap_or(entities);
        turn.map(|turn| Slot { period, turn })
    }

    /// Puts an expected cell in its new place (`None`: settled), out of its old one.
    fn place(&mut self, slot: Slot, place: Option<Place>) {
        self.touch(slot);
        let old = match place {
            Some(place) => self.open.insert(slot, place),
            None => self.open.remove(&slot),
        };
        match old {
            Some(Place::InFlight(_)) => self.in_flight -= 1,
            Some(Place::Ready(priority)) => drop(self.ready[priority as usize].remove(&slot)),
            Some(Place::Later(at, _)) => drop(self.later.remove(&(at, slot))),
            None => {}
        }
        match place {
            Some(Place::InFlight(_)) => self.in_flight += 1,
            Some(Place::Ready(priority)) => drop(self.ready[priority as usize].insert(slot)),
            Some(Place::Later(at, _)) => drop(self.later.insert((at, slot))),
            None => {}
        }
    }

    /// A fresh cell is fresh no more.
    fn touch(&mut self, slot: Slot) {
        let cell = self.ordinal(slot);
        if self.is_touched(cell) {
            return;
        }
        let (word, bit) = self.bit(cell);
        self.touched[word] |= bit;
        self.fresh_total -= 1;
        self.fresh[slot.period as usize] -= 1;
        while self.fresh.get(self.fresh_from as usize) == Some(&0) {
            self.fresh_from += 1;
        }
    }

    fn is_touched(&self, cell: CellOrdinal) -> bool {
        let (word, bit) = self.bit(cell);
        self.touched[word] & bit != 0
    }

    fn bit(&self, cell: CellOrdinal) -> (usize, u64) {
        (cell.period as usize * self.words + cell.entity as usize / 64, 1 << (cell.entity % 64))
    }

    /// Where an expected cell stands in the order.
    fn slot(&self, cell: CellOrdinal) -> Option<Slot> {
        let CellOrdinal { entity, period } = cell;
        self.grid.expects(cell).then(|| {
            let (entities, first) = self.turns(period);
            let turn = (u64::from(entity) + entities - first) % entities;
            Slot { period, turn: turn as u32 }
        })
    }

    fn ordinal(&self, slot: Slot) -> CellOrdinal {
        let (entities, first) = self.turns(slot.period);
        let entity = (u64::from(slot.turn) + first) % entities;
        CellOrdinal { entity: entity as u32, period: slot.period }
    }

    /// The number of entities, and which of them is the first in a period.
    fn turns(&self, period: u32) -> (u64, u64) {
        let entities = self.grid.entities().len() as u64;
        (entities, (u64::from(period.wrapping_mul(GOLDEN)) * entities) >> 32)
    }
}

impl Slot {
    const LAST: Self = Self { period: u32::MAX, turn: u32::MAX };
}

#[cfg(test)]
mod tests;
