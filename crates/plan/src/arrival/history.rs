//! What was seen of an entity's arrivals: the last periods, packed.

use super::Minutes;
use serde::{Deserialize, Serialize};

/// How many periods are kept of an entity.
pub const PERIODS_MAX: usize = 40;

/// One period: the data came after `after` and not later than `by`, in minutes after the cell's
/// opening; or it did not come before the deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Which period: rises with time, the same number for all entities.
    pub period: i32,
    /// Monday 0 to Sunday 6.
    pub weekday: u8,
    /// The opening, in minutes after 00:00 UTC of the period's day; ties instants of entities that
    /// open at different times.
    pub opening: f32,
    /// The last look without data, as far as is known from all entities; minutes after opening.
    pub after: f32,
    /// The first look with data; minutes after opening. Infinite: it did not come.
    pub by: f32,
    /// The last look without data of this entity alone.
    pub own_after: f32,
}

impl Seen {
    /// Whether the data came.
    pub fn came(&self) -> bool {
        self.by.is_finite()
    }
}

/// A period in sixteen bytes: whole minutes, up to 45 days; [`NEVER`] for what did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Packed {
    period: i32,
    opening: i16,
    after: u16,
    by: u16,
    own_after: u16,
    weekday: u8,
}

const NEVER: u16 = u16::MAX;

impl Packed {
    fn of(seen: &Seen) -> Self {
        let minutes = |minutes: f32| (minutes.max(0.0) as u16).min(NEVER - 1);
        let by = if seen.came() { minutes(seen.by.ceil()) } else { NEVER };
        Self {
            period: seen.period,
            opening: seen.opening as i16,
            after: minutes(seen.after).min(by),
            by,
            own_after: minutes(seen.own_after).min(by),
            weekday: seen.weekday,
        }
    }

    fn seen(self) -> Seen {
        Seen {
            period: self.period,
            weekday: self.weekday,
            opening: f32::from(self.opening),
            after: f32::from(self.after),
            by: if self.by == NEVER { f32::INFINITY } else { f32::from(self.by) },
            own_after: f32::from(self.own_after),
        }
    }
}

/// The last periods of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The oldest first.
    seen: Vec<Packed>,
    /// How many periods were ever seen.
    count: u32,
}

impl History {
    /// Adds the latest period; the oldest makes room.
    pub fn push(&mut self, seen: Seen) {
        if self.seen.len() == PERIODS_MAX {
            self.seen.remove(0);
        }
        if self.seen.len() == self.seen.capacity() {
            self.seen.reserve_exact(8);
        }
        self.seen.push(Packed::of(&seen));
        self.count = self.count.saturating_add(1);
    }

    /// The periods kept, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = Seen> {
        self.seen.iter().rev().map(|packed| packed.seen())
    }

    /// How many periods are kept.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How many periods were ever seen.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The middle of the latest interval, in minutes after opening.
    pub fn last_came(&self) -> Option<Minutes> {
        self.latest().find(Seen::came).map(|seen| f64::from(seen.after + seen.by) / 2.0)
    }
}
