//! A discrete-time hazard by logistic regression, fitted to all entities of a source at once.
//!
//! Cox, "Regression models and life-tables", JRSS B 34 (1972), 187-220, section 6; Allison,
//! "Discrete-time methods for the analysis of event histories", Sociological Methodology 13 (1982),
//! 61-98. What an interval hides is weighed by the present estimate, which gives the exact gradient of
//! the interval-censored likelihood (Fisher's identity). Steps by AdaGrad (Duchi, Hazan and Singer,
//! JMLR 12 (2011), 2121-2159), from the experts' mixture as the starting point.

use super::{
    Minutes,
    features::{FEATURES, Features},
};
use serde::{Deserialize, Serialize};

/// A finished cell: what was known at its opening, and what was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Of which period; rises with time.
    pub period: i32,
    /// One row a span.
    pub features: Features,
    /// Ends of the spans, minutes after opening.
    pub ends: Vec<f64>,
    /// It came after this and by `by`, minutes after opening.
    pub after: Minutes,
    /// Infinite: it did not come.
    pub by: Minutes,
}

impl Example {
    /// How much of each span lies within what was seen: 0 to 1.
    fn inside(&self) -> Vec<f64> {
        let mut begin = 0.0;
        self.ends
            .iter()
            .map(|end| {
                let end = *end;
                let inside = (self.by.min(end) - self.after.max(begin)).max(0.0);
                let share = if self.by.is_finite() { inside / (end - begin) } else { 0.0 };
                begin = end;
                share
            })
            .collect()
    }

    /// The logarithm of the probability of what was seen, and by span the gradient with respect to
    /// the logarithm of the odds of its hazard.
    pub fn gradient(&self, hazards: &[f64]) -> (f64, Vec<f64>) {
        let inside = self.inside();
        let mut alive = 1.0;
        let mut joint = Vec::with_capacity(hazards.len());
        for (hazard, inside) in hazards.iter().zip(&inside) {
            joint.push(alive * hazard * inside);
            alive *= 1.0 - hazard;
        }
        let never = if self.by.is_finite() { 0.0 } else { alive };
        let likelihood = (joint.iter().sum::<f64>() + never).max(1e-9);
        // The probability that it had not come before a span, given what was seen.
        let mut at_risk = 1.0;
        let gradient = joint
            .iter()
            .zip(hazards)
            .map(|(joint, hazard)| {
                let came = joint / likelihood;
                let slope = came - at_risk * hazard;
                at_risk -= came;
                slope
            })
            .collect();
        (likelihood.ln(), gradient)
    }
}

/// What gives each span's hazard.
pub trait Model: std::fmt::Debug + Send + Sync {
    /// Its name, such as `logistic`.
    fn name(&self) -> &str;

    /// The hazard of each span of a cell, between 0 and 1, in order.
    fn hazards(&self, features: &Features) -> Vec<f64>;

    /// The mean logarithm of the probability of what was seen; higher is better.
    fn score(&self, examples: &[Example]) -> f64 {
        let sum: f64 = examples
            .iter()
            .map(|example| example.gradient(&self.hazards(&example.features)).0)
            .sum();
        sum / examples.len().max(1) as f64
    }
}

/// The experts' mixture as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empirical;

impl Model for Empirical {
    fn name(&self) -> &'static str {
        "empirical"
    }

    fn hazards(&self, features: &Features) -> Vec<f64> {
        features.0.iter().map(|row| logistic(f64::from(row[0]))).collect()
    }
}

/// Logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    weights: [f64; FEATURES],
}

impl Default for Logistic {
    fn default() -> Self {
        let mut weights = [0.0; FEATURES];
        weights[0] = 1.0;
        Self { weights }
    }
}

const PASSES: usize = 12;
const STEP: f64 = 0.05;
/// Pull back to the start, an example.
const RIDGE: f64 = 1e-4;

impl Logistic {
    /// Fits, beginning at what it is.
    pub fn fit(&mut self, examples: &[Example]) {
        let start = Self::default().weights;
        let mut squares = [1e-6; FEATURES];
        for _ in 0..PASSES {
            for example in examples {
                let hazards = self.hazards(&example.features);
                let (_, slopes) = example.gradient(&hazards);
                let mut gradient = [0.0; FEATURES];
                for (row, slope) in example.features.0.iter().zip(&slopes) {
                    for (to, feature) in gradient.iter_mut().zip(row) {
                        *to += slope * f64::from(*feature);
                    }
                }
                for at in 0..FEATURES {
                    let slope = gradient[at] - RIDGE * (self.weights[at] - start[at]);
                    squares[at] += slope * slope;
                    self.weights[at] += STEP * slope / squares[at].sqrt();
                }
            }
        }
    }

    /// The weight of each feature.
    pub fn weights(&self) -> &[f64; FEATURES] {
        &self.weights
    }
}

impl Model for Logistic {
    fn name(&self) -> &'static str {
        "logistic"
    }

    fn hazards(&self, features: &Features) -> Vec<f64> {
        let odds = |row: &[f32; FEATURES]| -> f64 {
            self.weights.iter().zip(row).map(|(weight, feature)| weight * f64::from(*feature)).sum()
        };
        features.0.iter().map(|row| logistic(odds(row))).collect()
    }
}

/// A hazard from the logarithm of its odds, away from 0 and 1.
pub(crate) fn logistic(odds: f64) -> f64 {
    (1.0 / (1.0 + (-odds.clamp(-30.0, 30.0)).exp())).clamp(1e-9, 1.0 - 1e-6)
}
