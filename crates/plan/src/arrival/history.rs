//! What was seen of an entity's arrivals: the last periods, packed.

use super::features::CalendarDay;
use serde::{Deserialize, Serialize};

/// How many periods are kept of an entity.
pub const PERIODS_MAX: usize = 36;

/// One period: the data came after `after` and not later than `by`, in minutes after the cell's
/// opening; or it did not come before the deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Which period: rises with time, the same number for all entities.
    pub period: i32,
    /// Where its day stands in the calendar; what is kept of it are the weekday, and whether a month
    /// begins or ends.
    pub day: CalendarDay,
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

/// A period in twelve bytes: whole minutes, up to 45 days; [`NEVER`] for what did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Packed {
    /// After [`History::first`].
    period: u16,
    opening: i16,
    after: u16,
    by: u16,
    own_after: u16,
    /// Three bits for the weekday, one for a month that begins, one for a month that ends.
    day: u8,
}

const NEVER: u16 = u16::MAX;

impl Packed {
    fn of(seen: &Seen, first: i32) -> Self {
        let minutes = |minutes: f32| (minutes.max(0.0) as u16).min(NEVER - 1);
        let by = if seen.came() { minutes(seen.by.ceil()) } else { NEVER };
        Self {
            period: (seen.period - first) as u16,
            opening: seen.opening as i16,
            after: minutes(seen.after).min(by),
            by,
            own_after: minutes(seen.own_after).min(by),
            day: seen.day.weekday & 7
                | u8::from(seen.day.begins_month()) << 3
                | u8::from(seen.day.ends_month()) << 4,
        }
    }

    fn seen(self, first: i32) -> Seen {
        Seen {
            period: first + i32::from(self.period),
            day: CalendarDay {
                weekday: self.day & 7,
                of_month: if self.day & 8 > 0 { 1 } else { 15 },
                left_in_month: if self.day & 16 > 0 { 0 } else { 15 },
            },
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
    /// The period that the others are counted from.
    first: i32,
    /// How many periods were ever seen.
    count: u32,
}

impl History {
    /// Adds a period; the oldest makes room. Cells of one entity may end in another order than they
    /// opened. What is so much later that nothing before it matters, or so much earlier, begins anew.
    pub fn push(&mut self, seen: Seen) {
        if self.seen.len() == PERIODS_MAX {
            self.seen.remove(0);
        }
        self.rebase(seen.period);
        if self.seen.len() == self.seen.capacity() {
            // In four steps, of which the last is no longer than needed.
            self.seen.reserve_exact(PERIODS_MAX / 4);
        }
        let packed = Packed::of(&seen, self.first);
        let at = self.seen.partition_point(|before| before.period <= packed.period);
        self.seen.insert(at, packed);
        self.count = self.count.saturating_add(1);
    }

    /// Sees to it that a period can be counted from the first.
    fn rebase(&mut self, period: i32) {
        let first =
            self.seen.first().map_or(period, |oldest| self.first + i32::from(oldest.period));
        let first = first.min(period);
        let latest = self.seen.last().map_or(period, |last| self.first + i32::from(last.period));
        if latest.max(period).saturating_sub(first) > i32::from(u16::MAX) {
            self.seen.clear();
            self.first = period;
            return;
        }
        let by = self.first - first;
        for seen in &mut self.seen {
            seen.period = (i32::from(seen.period) + by) as u16;
        }
        self.first = first;
    }

    /// The periods kept, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = Seen> {
        self.seen.iter().rev().map(|packed| packed.seen(self.first))
    }

    /// One of the latest periods, from 1, and what was known before it.
    ///
    /// # Panics
    /// When it does not reach back so far.
    pub(crate) fn split(&self, back: usize) -> (Self, Seen) {
        let at = self.seen.len() - back;
        let before = Self {
            seen: self.seen[..at].to_vec(),
            first: self.first,
            count: self.count.saturating_sub(back as u32),
        };
        (before, self.seen[at].seen(self.first))
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
}
