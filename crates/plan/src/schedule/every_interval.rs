//! Looks at even intervals, as a source without a schedule has them; by the cheapest kind.

use super::{LookAnswer, Offer, PlannedLook, Schedule};
use crate::look::{LookPolicy, interval_after};
use jiff::Timestamp;
use model::{CellOrdinal, LookKind};
use std::{borrow::Cow, collections::BTreeMap};

/// Looks at a cell as soon as it is due, and then whenever the look interval is over.
#[derive(Debug, Clone)]
pub struct EveryInterval {
    policy: LookPolicy,
    kind: LookKind,
    /// The last look at each open cell, and how many there were.
    looked: BTreeMap<(u32, u32), (Timestamp, u32)>,
}

impl EveryInterval {
    /// Nothing looked at yet; until it is offered something else, cells are asked for.
    pub fn new(policy: LookPolicy) -> Self {
        Self { policy, kind: LookKind::Paid, looked: BTreeMap::new() }
    }
}

fn key(cell: CellOrdinal) -> (u32, u32) {
    (cell.period, cell.entity)
}

impl Schedule for EveryInterval {
    fn offer(&mut self, offers: &[Offer]) {
        let cheapest = offers.iter().min_by_key(|offer| offer.cost);
        self.kind = cheapest.map_or(LookKind::Paid, |offer| offer.kind);
    }

    fn remember(&mut self, cell: CellOrdinal, last_look_at: Timestamp, looks: u32) {
        self.looked.insert(key(cell), (last_look_at, looks));
    }

    fn next_look(&mut self, cell: CellOrdinal, now: Timestamp) -> PlannedLook {
        let (at, why) = match self.looked.get(&key(cell)) {
            None => (now, "it is due and was not looked at yet"),
            Some((last, looks)) => {
                let at = last.checked_add(interval_after(&self.policy, *looks));
                (at.unwrap_or(Timestamp::MAX).max(now), "the interval between looks is over")
            }
        };
        PlannedLook { at, kind: self.kind, probability: f64::NAN, why: Cow::Borrowed(why) }
    }

    fn sent(&mut self, _cell: CellOrdinal, _kind: LookKind, _now: Timestamp) {}

    fn answered(&mut self, cell: CellOrdinal, kind: LookKind, at: Timestamp, answer: LookAnswer) {
        if answer == LookAnswer::There && kind.brings_data() {
            self.looked.remove(&key(cell));
            return;
        }
        let looked = self.looked.entry(key(cell)).or_insert((at, 0));
        *looked = (looked.0.max(at), looked.1.saturating_add(1));
    }

    fn given_up(&mut self, cell: CellOrdinal, _at: Timestamp) {
        self.looked.remove(&key(cell));
    }

    fn woken(&mut self) -> Vec<CellOrdinal> {
        Vec::new()
    }

    /// The looks at open cells are in the state by themselves.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, ToSpan};
    use model::Money;

    const CELL: CellOrdinal = CellOrdinal { entity: 3, period: 7 };

    fn schedule() -> EveryInterval {
        EveryInterval::new(LookPolicy {
            look_every: SignedDuration::from_mins(30),
            look_every_max: SignedDuration::from_hours(2),
            give_up_after: Some(SignedDuration::from_hours(36)),
            retry_first: SignedDuration::from_secs(2),
            retry_max: SignedDuration::from_mins(1),
            retries: 3,
            throttled_at_once: true,
            revisit: None,
        })
    }

    fn at(minutes: i64) -> Timestamp {
        let start: Timestamp = "2026-11-19T21:00:00Z".parse().unwrap();
        start + minutes.minutes()
    }

    #[test]
    fn the_first_look_is_at_once_and_the_next_after_the_interval() {
        let mut schedule = schedule();
        assert_eq!(schedule.next_look(CELL, at(0)).at, at(0));
        schedule.answered(CELL, LookKind::Paid, at(0), LookAnswer::NotThere);
        assert_eq!(schedule.next_look(CELL, at(1)).at, at(30));
        assert_eq!(schedule.next_look(CELL, at(45)).at, at(45), "a look that was missed");
        for look in 1..8 {
            schedule.answered(CELL, LookKind::Paid, at(30 * look), LookAnswer::NotThere);
        }
        assert_eq!(schedule.next_look(CELL, at(210)).at, at(330), "it grows");
        schedule.answered(CELL, LookKind::Paid, at(330), LookAnswer::There);
        assert_eq!(schedule.next_look(CELL, at(331)).at, at(331), "nothing is remembered of it");
    }

    #[test]
    fn the_cheapest_kind_on_offer_is_used() {
        let mut schedule = schedule();
        let offer = |kind, units| Offer {
            kind,
            cost: Money::from_units(units).unwrap(),
            there_is_right: 0.9,
            not_there_is_right: 0.9,
        };
        schedule.offer(&[offer(LookKind::Paid, 1.0), offer(LookKind::Head, 0.01)]);
        assert_eq!(schedule.next_look(CELL, at(0)).kind, LookKind::Head);
        schedule.offer(&[offer(LookKind::Paid, 1.0)]);
        assert_eq!(schedule.next_look(CELL, at(0)).kind, LookKind::Paid);
    }

    #[test]
    fn what_the_state_remembers_counts() {
        let mut schedule = schedule();
        schedule.remember(CELL, at(10), 1);
        assert_eq!(schedule.next_look(CELL, at(11)).at, at(40));
    }
}
