//! Which model is in use: the one that gave the most probability to what it was not fitted to.

use super::{
    Minutes,
    features::Features,
    hazard::{Empirical, Example, Logistic, Model},
    network::Network,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many finished cells are kept to learn from.
pub const EXAMPLES_MAX: usize = 1_536;
/// Fewer are not enough to fit anything.
const EXAMPLES_MIN: usize = 200;
/// The last share of them is held back.
const HELD_BACK: f64 = 0.25;
/// A fitted model must be better by so much (nats an observation) to take over.
const MARGIN: f64 = 0.02;

/// A model that can be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Kept {
    /// The experts' mixture.
    Empirical,
    /// Logistic regression.
    Logistic(Logistic),
    /// A feed-forward network.
    Network(Network),
}

impl Kept {
    /// It as what gives hazards.
    pub fn model(&self) -> &dyn Model {
        match self {
            Self::Empirical => &Empirical,
            Self::Logistic(model) => model,
            Self::Network(model) => model,
        }
    }
}

/// What became of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Counts the trainings.
    pub version: u32,
    /// The model in use since.
    pub model: Kept,
    /// How many cells it was fitted to, and how many were held back.
    pub examples: (u32, u32),
    /// By model: the mean logarithm of the probability of what was held back.
    pub scores: Vec<(String, f64)>,
    /// When, in minutes since 1970.
    pub at: Minutes,
}

/// What is kept to learn from.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    kept: VecDeque<Example>,
    added: u64,
}

impl Examples {
    /// Adds a finished cell; the oldest makes room.
    pub fn add(&mut self, example: Example) {
        if self.kept.len() == EXAMPLES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(example);
        self.added += 1;
    }

    /// How many were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Fits each model to all but the latest and judges it by these. Bounded by the number of
    /// examples, which is [`EXAMPLES_MAX`]; `None`: there are too few.
    pub fn train(&self, version: u32, at: Minutes) -> Option<Trained> {
        if self.kept.len() < EXAMPLES_MIN {
            return None;
        }
        let all: Vec<Example> = self.kept.iter().cloned().collect();
        let cut = all.len() - (all.len() as f64 * HELD_BACK) as usize;
        let (fitted, held_back) = all.split_at(cut);
        let mut logistic = Logistic::default();
        logistic.fit(fitted);
        let mut network = Network::new(u64::from(version) + 1);
        network.fit(fitted);
        let candidates = [Kept::Empirical, Kept::Logistic(logistic), Kept::Network(network)];
        let scores: Vec<(String, f64)> = candidates
            .iter()
            .map(|kept| (kept.model().name().to_owned(), kept.model().score(held_back)))
            .collect();
        let mut best = 0;
        for at in 1..candidates.len() {
            let needed = scores[best].1 + if best == 0 { MARGIN } else { 0.0 };
            if scores[at].1 > needed {
                best = at;
            }
        }
        Some(Trained {
            version,
            model: candidates.into_iter().nth(best).unwrap_or(Kept::Empirical),
            examples: (fitted.len() as u32, held_back.len() as u32),
            scores,
            at,
        })
    }
}

/// The hazards of a cell by whichever model is in use.
pub fn hazards(trained: Option<&Trained>, features: &Features) -> Option<Vec<f64>> {
    match trained.map(|trained| &trained.model) {
        None | Some(Kept::Empirical) => None,
        Some(kept) => Some(kept.model().hazards(features)),
    }
}
