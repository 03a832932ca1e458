//! What may be spent while known arrivals are played.

use super::{Budgets, Case, Costs};
use crate::arrival::{Minutes, Planner, scarcity::Left};
use jiff::civil::{Date, date};
use std::collections::BTreeMap;

/// How often looks are priced anew.
const PRICED_EVERY: Minutes = 10.0;

/// What is left of the budgets.
#[derive(Debug)]
pub(super) struct Purse {
    budget: Budgets,
    look: f64,
    cheap_look: Option<f64>,
    day: i32,
    /// The first day of the next month.
    month_ends: i32,
    spent_of_day: f64,
    spent_of_month: f64,
    priced_at: Minutes,
    /// How many cells open when, in whole minutes.
    openings: BTreeMap<i64, f64>,
}

impl Purse {
    pub(super) fn new(costs: &Costs, cases: &[Case]) -> Self {
        let mut openings = BTreeMap::new();
        for case in cases.iter().filter(|_| !costs.budget.is_none()) {
            let opens_at = (case.midnight() + case.opens).round() as i64;
            *openings.entry(opens_at).or_default() += 1.0;
        }
        Self {
            budget: costs.budget,
            look: costs.look,
            cheap_look: costs.cheap_look,
            day: i32::MIN,
            month_ends: i32::MIN,
            spent_of_day: 0.0,
            spent_of_month: 0.0,
            priced_at: f64::NEG_INFINITY,
            openings,
        }
    }

    /// Lets a planner price its looks by what is left; whether it did.
    pub(super) fn price(&mut self, planner: &mut Planner, now: Minutes) -> bool {
        if self.budget.is_none() {
            return false;
        }
        let day = (now / 1440.0).floor() as i32;
        if day == self.day && now < self.priced_at + PRICED_EVERY {
            return false;
        }
        if day >= self.month_ends {
            self.spent_of_month = 0.0;
            self.month_ends = next_month(day);
        }
        if day != self.day {
            (self.day, self.spent_of_day) = (day, 0.0);
        }
        self.priced_at = now;
        let look = self.cheap_look.unwrap_or(self.look);
        let also = self.cheap_look.map_or(0.0, |cheap| self.look / cheap);
        let mut factor = 1.0_f64;
        for (left, ends) in self.left() {
            let left = Left { looks: left / look, also, until: f64::from(ends) * 1440.0 };
            let coming = self.openings.range(now as i64 + 1..left.until as i64);
            let coming = coming.map(|(at, cells)| (*at as f64, *cells));
            factor = factor.max(planner.factor_for(&left, coming, now));
        }
        planner.set_factor(factor);
        true
    }

    /// What is left of each budget, and on which day the next one begins.
    fn left(&self) -> impl Iterator<Item = (f64, i32)> {
        let day = self.budget.per_day.map(|most| (most - self.spent_of_day, self.day + 1));
        let month = self.budget.per_month.map(|most| (most - self.spent_of_month, self.month_ends));
        day.into_iter().chain(month).map(|(left, ends)| (left.max(0.0), ends))
    }

    /// When there is money for a look again; `None`: now.
    pub(super) fn wait(&self, now: Minutes) -> Option<Minutes> {
        let price = self.look + self.cheap_look.unwrap_or(0.0);
        let short = self.left().filter(|(left, _)| *left + 1e-9 < price);
        let until = short.map(|(_, ends)| f64::from(ends) * 1440.0).reduce(f64::max)?;
        Some(until.max(now + 0.01))
    }

    pub(super) fn pay(&mut self, cheap_looks: u32, looks: u32) {
        let paid =
            f64::from(looks) * self.look + f64::from(cheap_looks) * self.cheap_look.unwrap_or(0.0);
        self.spent_of_day += paid;
        self.spent_of_month += paid;
    }
}

/// The first day of the month after a day, both counted from 1970.
fn next_month(day: i32) -> i32 {
    const START: Date = date(1970, 1, 1);
    let today = START.checked_add(jiff::Span::new().days(day)).unwrap_or(START);
    let first = today.last_of_month().tomorrow().unwrap_or(today);
    START.until(first).map_or(day + 31, |span| span.get_days())
}
