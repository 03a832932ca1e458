//! What is believed of an open cell, by its own looks and by today's news of the others.

use super::{Open, PART_MIN, PARTS_MAX, Planner, Reason, SPEAKS_FOR_GROUP, TURN, Today};
use crate::arrival::{
    Distribution, Minutes,
    day::{Belief, PARTS},
};

impl Planner {
    /// What is believed of an open cell now.
    pub(super) fn outlook(&self, open: &Open, now: Minutes) -> Outlook {
        let opening = &open.opening;
        let known = &self.entities[opening.entity as usize];
        let distribution = &open.distribution;
        let count = distribution.len();
        let delay_price = self.prices.delay_per_minute;
        let mut outlook = Outlook {
            ends: distribution.ends().collect(),
            masses: vec![0.0; count],
            delay_prices: vec![delay_price; count],
            there_now: 0.0,
            never: 0.0,
            nothing_until: open.looked_at - opening.opens_at,
            reason: Reason::Usual,
            wait_until: None,
        };
        let own = open.looked_at - opening.opens_at;
        if !self.ingredients.peers {
            let usual = [1.0; PARTS];
            outlook.add(distribution, &usual, own, 1.0);
            return outlook;
        }
        let today = &self.today[&opening.period];
        let tilt = known.strength.tilt(&Self::lateness_without(today, open));
        let group = &today.groups[&open.group];
        if group.unchecked_upload(open.looked_at).is_some() {
            if group.under_way > 1 + 2 * group.came {
                outlook.wait_until = Some(now + TURN);
                return outlook;
            }
            let with_upload = group.came_with_upload(known.tie);
            outlook.there_now = with_upload;
            outlook.add(distribution, &tilt, own, 1.0 - with_upload);
            outlook.reason = Reason::Upload { came: group.came, missing: group.missing };
            return outlook;
        }
        let tie = known.tie.probability();
        if tie > SPEAKS_FOR_GROUP && group.wait_until.is_some_and(|until| until > now) {
            outlook.wait_until = group.wait_until;
            return outlook;
        }
        let without = group.without.map_or(own, |at| at.min(now) - opening.opens_at).max(own);
        outlook.add(distribution, &tilt, own, 1.0 - tie);
        let apart = outlook.masses.clone();
        outlook.add(distribution, &tilt, without, tie);
        outlook.nothing_until = without;
        if group.scout == Some(opening.entity) {
            let others = group.open.len().saturating_sub(1) as f64;
            let all = outlook.masses.iter().zip(&apart).zip(&mut outlook.delay_prices);
            for ((mass, apart), price) in all.filter(|((mass, _), _)| **mass > 0.0) {
                *price *= 1.0 + others * tie * (mass - apart) / mass;
            }
            if others > 0.0 {
                outlook.reason = Reason::Scout { waiting: others as u32 };
                outlook.refine((1.0 + others).sqrt() / 2.0);
            }
        }
        outlook
    }

    fn lateness_without(today: &Today, open: &Open) -> Belief {
        today.day.without(&open.evidence)
    }
}

/// What is believed of a cell.
pub(super) struct Outlook {
    /// Ends of the distribution's spans, or of finer ones if the group pays for them.
    pub(super) ends: Vec<f64>,
    pub(super) masses: Vec<f64>,
    pub(super) delay_prices: Vec<f64>,
    pub(super) there_now: f64,
    pub(super) never: f64,
    /// Minutes after opening.
    pub(super) nothing_until: Minutes,
    pub(super) reason: Reason,
    pub(super) wait_until: Option<Minutes>,
}

impl Outlook {
    /// Cuts spans into up to so many parts, none shorter than [`PART_MIN`].
    fn refine(&mut self, parts: f64) {
        let parts = parts.min(PARTS_MAX);
        let (mut finer, mut masses, mut prices) = (Vec::new(), Vec::new(), Vec::new());
        let mut begin = 0.0;
        for (at, end) in self.ends.iter().enumerate() {
            // The mass of a span lies after the last look without data.
            let from = self.nothing_until.max(begin).min(*end);
            if from > begin {
                finer.push(from);
                masses.push(0.0);
                prices.push(self.delay_prices[at]);
            }
            let parts = parts.min((end - from) / PART_MIN).max(1.0) as usize;
            for part in (1..=parts).filter(|_| *end > from) {
                finer.push(from + (end - from) * part as f64 / parts as f64);
                masses.push(self.masses[at] / parts as f64);
                prices.push(self.delay_prices[at]);
            }
            begin = *end;
        }
        (self.ends, self.masses, self.delay_prices) = (finer, masses, prices);
    }

    /// Adds a distribution, tilted, given that nothing was there at `looked_at` (minutes after
    /// opening).
    fn add(
        &mut self,
        distribution: &Distribution,
        tilt: &[f64; PARTS],
        looked_at: Minutes,
        weight: f64,
    ) {
        if weight <= 0.0 {
            return;
        }
        let part = |place: f64| ((place * PARTS as f64) as usize).min(PARTS - 1);
        let mut place = 0.0;
        let mut begin = 0.0;
        let mut left = Vec::with_capacity(distribution.len());
        let mut sum = 0.0;
        for (end, mass) in distribution.ends().zip(distribution.masses()) {
            let ahead = ((end - looked_at) / (end - begin).max(1e-9)).clamp(0.0, 1.0);
            let tilted = mass * ahead * tilt[part(place + mass / 2.0)];
            left.push(tilted);
            sum += tilted;
            place += mass;
            begin = end;
        }
        let from = part(place);
        let tilt_of_never = tilt[from..].iter().sum::<f64>() / (PARTS - from) as f64;
        let never = distribution.never() * tilt_of_never;
        let scale = weight / (sum + never).max(1e-12);
        for (to, mass) in self.masses.iter_mut().zip(left) {
            *to += mass * scale;
        }
        self.never += never * scale;
    }
}
