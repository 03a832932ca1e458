//! What is kept of what was learned, and learning from what is kept.

use super::{Entity, Opening, Planner, TRAIN_EVERY, TRAIN_PERIODS};
use crate::arrival::{
    Minutes,
    choice::Trained,
    companions,
    experts::{Pooled, Weights},
    history::{History, Seen},
    training::Training,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What [`Planner::save`] keeps.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    entities: Vec<(String, Entity)>,
    pooled: Pooled,
    weights: Weights,
    group_sizes: BTreeMap<u32, u32>,
    group_next: u32,
    periods: u32,
    latest_period: i32,
    trained: Option<Trained>,
}

impl Planner {
    /// What there is to train on, once enough cells ended since the last time: to be run elsewhere,
    /// since it takes some tenths of a second.
    pub fn training(&mut self, now: Minutes) -> Option<Training> {
        let is_due = self.finished >= self.train_at && self.periods >= self.train_at_period;
        if !self.ingredients.models || !is_due {
            return None;
        }
        self.train_at = self.finished + TRAIN_EVERY;
        self.train_at_period = self.periods + TRAIN_PERIODS;
        Some(self.training_now(now))
    }

    fn training_now(&self, now: Minutes) -> Training {
        Training {
            entities: self.entities.clone(),
            pooled: self.ingredients.pooling.then(|| self.pooled.clone()),
            usable: self.usable(),
            version: self.trained.as_ref().map_or(1, |trained| trained.version + 1),
            at: now,
        }
    }

    /// Takes over what a training gave.
    pub fn adopt(&mut self, trained: Trained) {
        self.trained = Some(trained);
    }

    /// A finished period that was seen earlier, such as one read from the ledger: the data came
    /// after `after` and by `by`, in minutes since 1970; `None`: it did not come. Periods of an
    /// entity must come in order. [`Planner::train_on_memory`] learns from it.
    pub fn remember(&mut self, opening: &Opening, after: Minutes, by: Option<Minutes>) {
        let at = opening.entity as usize;
        if self.entities.len() <= at {
            self.entities.resize_with(at + 1, Entity::default);
        }
        self.latest_period = self.latest_period.max(opening.period);
        let offset = |at: Minutes| (at - opening.opens_at).max(0.0) as f32;
        let seen = Seen {
            period: opening.period,
            day: opening.day,
            opening: (opening.opens_at - opening.reference) as f32,
            after: offset(after),
            by: by.map_or(f32::INFINITY, offset),
            own_after: offset(after),
        };
        if seen.came() {
            self.pooled.add(seen.day.weekday, f64::from(seen.after), f64::from(seen.by));
        }
        let entity = &mut self.entities[at];
        entity.span = (opening.deadline - opening.opens_at).max(1.0) as f32;
        entity.history.push(seen);
    }

    /// Learns from all that is remembered: weighs the experts, finds groups, fits and chooses
    /// models. Bounded by a few periods an entity and the number of examples.
    pub fn train_on_memory(&mut self, now: Minutes) {
        const REPLAYED: usize = 4;
        let usable = self.usable();
        for at in 0..self.entities.len() {
            let span = f64::from(self.entities[at].span);
            let kept = self.entities[at].history.len();
            for back in (1..=REPLAYED.min(kept.saturating_sub(1))).rev() {
                let (before, seen) = self.entities[at].history.split(back);
                let estimates = self.estimates_of(&before, seen.day.weekday, span);
                let likelihoods = estimates.likelihoods(f64::from(seen.after), f64::from(seen.by));
                let known = &mut self.entities[at];
                known.weights.learn(&likelihoods, &self.weights, usable);
                self.weights.follow(&known.weights, 0.002);
            }
        }
        if self.ingredients.peers {
            self.find_groups();
        }
        if self.ingredients.models
            && let Some(trained) = self.training_now(now).run()
        {
            self.adopt(trained);
        }
    }

    /// Keeps what was learned; `names` are the entities by number.
    pub fn save(&self, names: &[String]) -> Vec<u8> {
        let entities = names
            .iter()
            .zip(&self.entities)
            .filter(|(_, entity)| !entity.history.is_empty())
            .map(|(name, entity)| (name.clone(), entity.clone()))
            .collect();
        let saved = Saved {
            entities,
            pooled: self.pooled.clone(),
            weights: self.weights,
            group_sizes: self.group_sizes.clone(),
            group_next: self.group_next,
            periods: self.periods,
            latest_period: self.latest_period,
            trained: self.trained.clone(),
        };
        // What former programs did not keep stands behind what they did.
        let saved = postcard::to_stdvec(&saved).unwrap_or_default();
        postcard::to_extend(&self.scarcity.made_and_foretold(), saved).unwrap_or_default()
    }

    /// Takes up what was saved; entities that `names` no longer has are forgotten. `false`: it was
    /// not readable, and nothing was taken up.
    pub fn restore(&mut self, saved: &[u8], names: &[String]) -> bool {
        let Ok((saved, later)) = postcard::take_from_bytes::<Saved>(saved) else { return false };
        if let Ok(kept) = postcard::from_bytes(later) {
            self.scarcity.restore(kept);
        }
        let known: BTreeMap<String, Entity> = saved.entities.into_iter().collect();
        self.entities =
            names.iter().map(|name| known.get(name).cloned().unwrap_or_default()).collect();
        self.pooled = saved.pooled;
        self.weights = saved.weights;
        self.group_sizes = saved.group_sizes;
        self.group_next = saved.group_next;
        self.periods = saved.periods;
        self.latest_period = saved.latest_period;
        self.trained = saved.trained;
        true
    }

    pub(super) fn find_groups(&mut self) {
        let histories: Vec<&History> = self.entities.iter().map(|entity| &entity.history).collect();
        let found = companions::find(&histories);
        let base = self.group_next;
        self.group_sizes.clear();
        for (number, size) in found.sizes.iter().enumerate() {
            self.group_sizes.insert(base + number as u32, *size);
        }
        for (entity, group) in self.entities.iter_mut().zip(found.group_of) {
            entity.group = base + group;
        }
        self.group_next = base.wrapping_add(found.sizes.len() as u32);
    }
}
