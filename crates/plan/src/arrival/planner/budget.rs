//! Looks that are dearer while a budget is short.

use super::Planner;
use crate::arrival::{
    Minutes,
    scarcity::{Demand, Left, Scarcity},
};

impl Planner {
    /// By what the price of a look has to be multiplied so that a budget lasts until its end.
    ///
    /// `coming` are the cells that will open before that: when, and how many; `prices` those of
    /// [`Planner::set_prices`].
    pub fn factor_for(
        &mut self,
        left: &Left,
        coming: impl Iterator<Item = (Minutes, f64)>,
        now: Minutes,
    ) -> f64 {
        if !self.ingredients.scarcity {
            return 1.0;
        }
        let coming = coming.map(|(at, cells)| cells * self.scarcity.usual_part(left.until - at));
        let coming = coming.sum();
        let open = self.open.values().map(|open| {
            let opens_at = open.opening.opens_at;
            let now = now.max(open.looked_at);
            let (from, until) = (now - opens_at, left.until - opens_at);
            let alive = Scarcity::part(&open.distribution, from, f64::INFINITY).max(0.02);
            let ends = Scarcity::part(&open.distribution, from, until) / alive;
            (ends.min(1.0), alive)
        });
        let demand = Demand { coming, open: open.collect() };
        self.scarcity.factor_for(left, &demand, self.prices)
    }

    /// Looks cost so many times their price from now on; 1 or more.
    pub fn set_factor(&mut self, factor: f64) {
        if self.scarcity.set_factor(factor) {
            self.woken.extend(self.open.keys());
        }
    }

    /// How many times its price a look costs now, since a budget is short.
    pub fn factor(&self) -> f64 {
        self.scarcity.factor()
    }
}
