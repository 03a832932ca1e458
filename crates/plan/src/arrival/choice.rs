//! Which model is in use: the one that gave the most probability to what it was not fitted to.

use super::{
    Minutes,
    features::Features,
    hazard::{Empirical, Example, Logistic, Model},
    network::Network,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From how many finished cells is learned.
pub const EXAMPLES_MAX: usize = 1_536;
/// Fewer are not enough to fit anything.
const EXAMPLES_MIN: usize = 200;
/// Fewer periods held back are no ground to choose by.
const PERIODS_MIN: usize = 6;
/// The last share of them is held back.
const HELD_BACK: f64 = 0.25;
/// A fitted model must be better by so much (nats an observation) to take over, and by so many
/// standard errors over periods: a day's cells are no independent witnesses.
const MARGIN: f64 = 0.02;
const ERRORS: f64 = 2.0;

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

/// Fits each model to all examples but the latest and judges it by these; `examples` are in the order
/// of their periods. Bounded by their number, of which the last [`EXAMPLES_MAX`] count; `None`: there
/// are too few.
pub fn train(examples: &[Example], version: u32, at: Minutes) -> Option<Trained> {
    if examples.len() < EXAMPLES_MIN {
        return None;
    }
    let examples = &examples[examples.len().saturating_sub(EXAMPLES_MAX)..];
    let cut = examples.len() - (examples.len() as f64 * HELD_BACK) as usize;
    let (fitted, held_back) = examples.split_at(cut);
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
        if scores[at].1 > scores[best].1 && is_better(candidates[at].model(), held_back) {
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

/// Whether a model is surely better than the experts' mixture, by what differs from period to period.
fn is_better(model: &dyn Model, held_back: &[Example]) -> bool {
    let mut periods: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
    for example in held_back {
        let gain = |model: &dyn Model| example.gradient(&model.hazards(&example.features)).0;
        let (sum, count) = periods.entry(example.period).or_default();
        *sum += gain(model) - gain(&Empirical);
        *count += 1.0;
    }
    let gains: Vec<f64> = periods.values().map(|(sum, count)| sum / count).collect();
    let count = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / count;
    let variance = gains.iter().map(|gain| (gain - mean) * (gain - mean)).sum::<f64>()
        / (count - 1.0).max(1.0);
    gains.len() >= PERIODS_MIN && mean > MARGIN.max(ERRORS * (variance / count).sqrt())
}

/// The hazards of a cell by whichever model is in use; `None`: by the experts' mixture.
pub(crate) fn hazards(
    trained: Option<&Trained>,
    features: impl FnOnce() -> Features,
) -> Option<Vec<f64>> {
    match trained.map(|trained| &trained.model) {
        None | Some(Kept::Empirical) => None,
        Some(kept) => Some(kept.model().hazards(&features())),
    }
}
