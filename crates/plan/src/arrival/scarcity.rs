//! What a look costs beyond its price while a budget is short.
//!
//! A hard budget alone spends what there is on the first cells and leaves none for the last. The looks
//! of least cost that keep within a budget are those of a dearer look: its price times a factor (one
//! plus the budget's Lagrange multiplier, its shadow price), the same for all cells until the budget's
//! end, and 1 while there is enough. The factor is found from how many looks cells take at each price,
//! and found anew as time passes from what is then left, so that what was foretold wrongly is made good
//! ("pacing"): Balseiro and Gur, "Learning in repeated auctions with budgets: regret minimization and
//! equilibrium", Management Science 65 (2019), 3952-3968; Kolobov, Peres, Lu and Horvitz, "Staying up
//! to date with online content changes using reinforcement learning for scheduling", NeurIPS 2019,
//! who find the multiplier of a crawler's budget by bisection.

use super::{
    Distribution, Minutes, Prices,
    schedule::{Question, next_look},
};
use std::collections::VecDeque;

/// Factors that are tried: powers of the square root of two, up to 4,096. A look at the deadline alone
/// is left long before that.
const STEPS: usize = 25;
const STEP: f64 = std::f64::consts::SQRT_2;
/// So many of the latest distributions stand for all that come.
const SAMPLES: usize = 48;
/// Fewer say nothing.
const SAMPLES_MIN: usize = 8;
/// Openings after which the looks by price are found anew.
const OPENINGS: u32 = 128;
/// What is kept of the earlier looks at each cell that ends, and how many looks stand for what was
/// foretold right before any was made. Both short: how far it is off depends on the price itself.
const KEPT: f64 = 0.975;
const TRUSTED: f64 = 10.0;

/// What is left of a budget, in looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// How many looks there is money for.
    pub looks: f64,
    /// What each cell takes besides, such as the paid look after a cheap one; in looks.
    pub also: f64,
    /// When the budget's time ends, minutes since 1970.
    pub until: Minutes,
}

/// The cells whose looks fall before a budget's end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand {
    /// Cells that will open, each by the part of its looks.
    pub coming: f64,
    /// Of each open cell: the probability that its looks end before that, and that they did not end
    /// before now.
    pub open: Vec<(f64, f64)>,
}

impl Demand {
    /// How many cells that are.
    fn cells(&self) -> f64 {
        self.coming + self.open.iter().map(|(ends, _)| ends).sum::<f64>()
    }

    /// How many looks they take, if one takes `each` from its opening on. One that is open takes one
    /// more at least.
    fn looks(&self, each: f64) -> f64 {
        let open = self.open.iter().map(|(ends, alive)| ends * (each * alive).max(1.0));
        self.coming * each + open.sum::<f64>()
    }
}

/// How many looks a cell takes, by the price of a look.
#[derive(Debug, Clone, PartialEq)]
struct LooksByPrice {
    looks: [f64; STEPS],
    prices: Prices,
    /// At which opening it was found.
    found_at: u32,
}

impl LooksByPrice {
    fn new<'a>(
        cells: impl ExactSizeIterator<Item = &'a Distribution>,
        prices: Prices,
        found_at: u32,
    ) -> Self {
        let count = cells.len().max(1) as f64;
        let mut looks = [0.0; STEPS];
        for cell in cells {
            for (step, looks) in looks.iter_mut().enumerate() {
                let price = prices.look * STEP.powi(step as i32);
                *looks += looks_of(cell, Prices { look: price, ..prices }) / count;
            }
        }
        // A dearer look is not made more often, whatever the roundings.
        for step in 1..STEPS {
            looks[step] = looks[step].min(looks[step - 1]);
        }
        Self { looks, prices, found_at }
    }

    fn at(&self, factor: f64) -> f64 {
        let place = (factor.max(1.0).ln() / STEP.ln()).min((STEPS - 1) as f64);
        let (from, part) = (place.floor() as usize, place.fract());
        let to = (from + 1).min(STEPS - 1);
        self.looks[from] + part * (self.looks[to] - self.looks[from])
    }
}

/// How many looks the schedule of least cost makes at a cell. By the envelope theorem this is by how
/// much that cost rises with a look's price.
fn looks_of(cell: &Distribution, prices: Prices) -> f64 {
    const NEAR: f64 = 1.02;
    let (ends, masses): (Vec<f64>, Vec<f64>) = cell.ends().zip(cell.masses()).unzip();
    let delay_prices = vec![prices.delay_per_minute; ends.len()];
    let cost = |look_price: f64| {
        let question = Question {
            ends: &ends,
            masses: &masses,
            delay_prices: &delay_prices,
            there_now: 0.0,
            there_now_price: 0.0,
            never: cell.never(),
            now: 0.0,
            nothing_until: 0.0,
            may_look_now: false,
            look_price,
        };
        next_look(&question).cost
    };
    let (low, high) = (prices.look / NEAR, prices.look * NEAR);
    ((cost(high) - cost(low)) / (high - low).max(f64::MIN_POSITIVE)).max(1.0)
}

/// Finds the factor; see the module.
#[derive(Debug)]
pub struct Scarcity {
    factor: f64,
    samples: VecDeque<Distribution>,
    openings: u32,
    by_price: Option<LooksByPrice>,
    /// Looks that were made, and that had been foretold for the cells that ended; the older in part.
    made: f64,
    foretold: f64,
}

impl Default for Scarcity {
    fn default() -> Self {
        Self {
            factor: 1.0,
            samples: VecDeque::new(),
            openings: 0,
            by_price: None,
            made: 0.0,
            foretold: 0.0,
        }
    }
}

impl Scarcity {
    /// By what the price of a look is multiplied: 1 or more.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Another factor from now on; whether looks became so much cheaper that they are worth planning
    /// anew.
    pub fn set_factor(&mut self, factor: f64) -> bool {
        const CHEAPER: f64 = 0.9;
        let before = std::mem::replace(&mut self.factor, factor.max(1.0));
        self.factor < before * CHEAPER
    }

    /// Looks that were made and that had been foretold, for whoever keeps them.
    pub fn made_and_foretold(&self) -> (f64, f64) {
        (self.made, self.foretold)
    }

    /// What an earlier one had seen.
    pub fn restore(&mut self, (made, foretold): (f64, f64)) {
        if made.is_finite() && foretold.is_finite() && made >= 0.0 && foretold >= 0.0 {
            (self.made, self.foretold) = (made, foretold);
        }
    }

    /// A cell opens.
    pub fn opened(&mut self, cell: &Distribution) {
        self.openings = self.openings.wrapping_add(1);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(cell.clone());
    }

    /// A look was made.
    pub fn looked(&mut self) {
        self.made += 1.0;
    }

    /// A cell ended that was looked for from its opening on.
    pub fn ended(&mut self) {
        self.foretold += self.by_price.as_ref().map_or(0.0, |known| known.at(self.factor));
        if self.by_price.is_none() {
            self.made = 0.0;
        }
        (self.made, self.foretold) = (self.made * KEPT, self.foretold * KEPT);
    }

    /// The part of a cell's looks that fall into a stretch of time, minutes after its opening.
    pub fn part(cell: &Distribution, from: Minutes, until: Minutes) -> f64 {
        (ended_by(cell, until) - ended_by(cell, from)).max(0.0)
    }

    /// The same of one that is like those that opened last.
    pub fn usual_part(&self, until: Minutes) -> f64 {
        let parts = self.samples.iter().map(|cell| Self::part(cell, 0.0, until));
        parts.sum::<f64>() / self.samples.len().max(1) as f64
    }

    /// The factor at which the looks until a budget's end are those that there is money for; 1 while
    /// too little is known. `prices` are those without any factor.
    pub fn factor_for(&mut self, left: &Left, demand: &Demand, prices: Prices) -> f64 {
        if self.samples.len() < SAMPLES_MIN {
            return 1.0;
        }
        let openings = self.openings;
        let known = self.by_price.take().filter(|known| {
            let ratio = |prices: Prices| prices.look / prices.delay_per_minute.max(1e-12);
            openings.wrapping_sub(known.found_at) < OPENINGS
                && (ratio(known.prices) / ratio(prices) - 1.0).abs() < 0.1
        });
        let by_price = &*self.by_price.insert(
            known.unwrap_or_else(|| LooksByPrice::new(self.samples.iter(), prices, openings)),
        );
        let as_foretold = (self.made + TRUSTED) / (self.foretold + TRUSTED);
        let also = left.also * demand.cells();
        let looks = |step: usize| as_foretold * demand.looks(by_price.looks[step]) + also;
        let Some(enough) = (0..STEPS).find(|step| looks(*step) <= left.looks) else {
            return STEP.powi(STEPS as i32 - 1);
        };
        let Some(before) = enough.checked_sub(1) else { return 1.0 };
        let (more, fewer) = (looks(before), looks(enough));
        let part = (more - left.looks) / (more - fewer).max(f64::MIN_POSITIVE);
        STEP.powf(before as f64 + part)
    }
}

/// The probability that nothing of a cell is looked for any more: it came, or its time is over.
fn ended_by(cell: &Distribution, at: Minutes) -> f64 {
    let is_over = cell.ends().last().is_none_or(|deadline| at >= deadline);
    if is_over { 1.0 } else { cell.by(at.max(0.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices { look: 1.0, delay_per_minute: 1.0 / 30.0 };

    /// It comes any time in two days, and one in ten does not.
    fn cell() -> Distribution {
        Distribution::compress(&[0.9 / 288.0; 288], 0.1, 10.0, 2880.0)
    }

    fn scarcity() -> Scarcity {
        let mut scarcity = Scarcity::default();
        (0..SAMPLES_MIN).for_each(|_| scarcity.opened(&cell()));
        scarcity
    }

    fn is(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    fn left(looks: f64) -> Left {
        Left { looks, also: 0.0, until: 0.0 }
    }

    #[test]
    fn the_looks_foretold_are_those_of_the_schedule() {
        for look in [0.3, 1.0, 10.0, 100.0, 10_000.0] {
            let prices = Prices { look, ..PRICES };
            let cell = cell();
            let (ends, masses): (Vec<f64>, Vec<f64>) = cell.ends().zip(cell.masses()).unzip();
            let delay_prices = vec![prices.delay_per_minute; ends.len()];
            let (mut made, mut now) = (0.0, 0.0);
            while now < 2880.0 - 1e-6 {
                made += 1.0 - cell.by(now);
                let masses: Vec<f64> = ends
                    .iter()
                    .zip(&masses)
                    .map(|(end, mass)| if *end <= now + 1e-6 { 0.0 } else { *mass })
                    .collect();
                now = next_look(&Question {
                    ends: &ends,
                    masses: &masses,
                    delay_prices: &delay_prices,
                    there_now: 0.0,
                    there_now_price: 0.0,
                    never: cell.never(),
                    now,
                    nothing_until: now,
                    may_look_now: false,
                    look_price: prices.look,
                })
                .at;
            }
            let foretold = looks_of(&cell, prices);
            assert!((foretold / made - 1.0).abs() < 0.05, "{look}: {foretold} for {made}");
        }
    }

    #[test]
    fn a_budget_that_is_not_reached_costs_nothing() {
        let mut scarcity = scarcity();
        let demand = Demand { coming: 10.0, open: vec![(1.0, 0.5); 4] };
        assert!(is(scarcity.factor_for(&left(1e6), &demand, PRICES), 1.0));
        assert!(is(scarcity.factor_for(&left(0.0), &Demand::default(), PRICES), 1.0));
        let unknown = Scarcity::default().factor_for(&left(0.0), &demand, PRICES);
        assert!(is(unknown, 1.0), "nothing is known yet");
    }

    #[test]
    fn the_less_is_left_the_dearer_a_look_and_the_looks_fit() {
        let mut scarcity = scarcity();
        let demand = Demand { coming: 100.0, open: Vec::new() };
        let mut before = 1.0;
        for looks in [600.0, 400.0, 300.0, 200.0, 150.0] {
            let factor = scarcity.factor_for(&left(looks), &demand, PRICES);
            assert!(factor >= before, "{looks}: {factor} after {before}");
            let made = 100.0 * looks_of(&cell(), Prices { look: PRICES.look * factor, ..PRICES });
            assert!(made <= looks * 1.15, "{looks}: {made} at {factor}");
            before = factor;
        }
        assert!(before > 2.0, "{before}");
        // Not even one each: as dear as it gets, and no more.
        let most = scarcity.factor_for(&left(0.0), &demand, PRICES);
        assert!((most - 4096.0).abs() < 1e-6, "{most}");
    }

    #[test]
    fn who_makes_more_looks_than_foretold_pays_more_for_them() {
        let demand = Demand { coming: 100.0, open: Vec::new() };
        let mut right = scarcity();
        let base = right.factor_for(&left(300.0), &demand, PRICES);
        for _ in 0..300 {
            (0..20).for_each(|_| right.looked());
            right.ended();
        }
        assert!(right.factor_for(&left(300.0), &demand, PRICES) > base * 1.5);
        let kept = right.made_and_foretold();
        let mut restored = scarcity();
        restored.restore(kept);
        assert!(restored.factor_for(&left(300.0), &demand, PRICES) > base * 1.5);
        restored.restore((f64::NAN, -1.0));
        assert_eq!(restored.made_and_foretold(), kept, "nonsense is not taken");
    }

    #[test]
    fn a_cells_looks_fall_where_it_is_expected() {
        let cell = cell();
        assert!((Scarcity::part(&cell, 0.0, 1440.0) - 0.45).abs() < 0.01);
        assert!((Scarcity::part(&cell, 1440.0, 2880.0) - 0.55).abs() < 0.01, "the last look too");
        assert!((scarcity().usual_part(9_999.0) - 1.0).abs() < 1e-9);
        assert!(is(Scarcity::part(&cell, 3000.0, 4000.0), 0.0));
    }

    #[test]
    fn a_fall_of_the_price_is_told() {
        let mut scarcity = Scarcity::default();
        assert!(!scarcity.set_factor(4.0));
        assert!(!scarcity.set_factor(3.9));
        assert!(scarcity.set_factor(0.0));
        assert!(is(scarcity.factor(), 1.0));
    }
}
