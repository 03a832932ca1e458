//! What a training works on: a copy of what is remembered, so that it can run elsewhere.

use super::{
    Distribution, Minutes,
    choice::{self, EXAMPLES_MAX, Trained},
    experts::{Estimates, Pooled, Question, Usable},
    features::Features,
    hazard::Example,
    planner::Entity,
};

/// Periods of an entity that are only looked back at.
const LOOKED_BACK_AT: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct Training {
    pub(super) entities: Vec<Entity>,
    pub(super) pooled: Option<Pooled>,
    pub(super) usable: Usable,
    pub(super) version: u32,
    pub(super) at: Minutes,
}

impl Training {
    /// Fits the models and chooses one. Takes some tenths of a second, whatever the number of
    /// entities; `None`: there is too little to learn from.
    pub fn run(self) -> Option<Trained> {
        choice::train(&self.examples(), self.version, self.at)
    }

    /// Remembered periods as they would have been foretold, in their order: spread over the entities
    /// and the latest periods.
    fn examples(&self) -> Vec<Example> {
        let usable = |entity: &Entity| entity.history.len().saturating_sub(LOOKED_BACK_AT);
        let longest = self.entities.iter().map(usable).max().unwrap_or(0);
        let mut examples: Vec<Example> = Vec::new();
        // As few periods back as there are entities enough to fill the examples.
        for back in 1..=longest {
            let left = EXAMPLES_MAX - examples.len();
            let able = || self.entities.iter().filter(|entity| usable(entity) >= back);
            let periods = longest + 1 - back;
            let share = left.div_ceil(periods).max(1);
            let every = able().count().div_ceil(share).max(1);
            for entity in able().skip(back % every).step_by(every).take(left) {
                examples.push(self.example(entity, back));
            }
        }
        examples.sort_by_key(|example| example.period);
        examples
    }

    fn example(&self, entity: &Entity, back: usize) -> Example {
        let (before, seen) = entity.history.split(back);
        let span = f64::from(entity.span);
        let estimates = Estimates::new(&Question {
            history: &before,
            pooled: self.pooled.as_ref(),
            weekday: seen.day.weekday,
            span,
            usable: self.usable,
        });
        let (masses, never) = estimates.mixed(&entity.weights);
        let base = Distribution::compress(&masses, never, estimates.step, span);
        Example {
            period: seen.period,
            features: Features::new(&base, &estimates, &before, seen.day, seen.period),
            ends: base.ends().collect(),
            after: f64::from(seen.after),
            by: f64::from(seen.by),
        }
    }
}
