//! A discrete-time hazard by a small feed-forward network, fitted to all entities of a source.
//!
//! One hidden layer beside a direct line from the experts' mixture, so that it begins as good as
//! they are. Biganzoli, Boracchi, Mariani and Marubini, "Feed forward neural networks for the analysis
//! of censored survival data", Statistics in Medicine 17 (1998), 1169-1186. Steps by Adam (Kingma and
//! Ba, ICLR 2015).

use super::{
    features::{FEATURES, Features},
    hazard::{Example, Model, logistic},
};
use serde::{Deserialize, Serialize};

const HIDDEN: usize = 16;
const PASSES: usize = 12;
const STEP: f64 = 0.003;
const DECAY: f64 = 1e-4;
/// Weights: into each hidden unit, out of it, and the direct line.
const WEIGHTS: usize = HIDDEN * FEATURES + HIDDEN + FEATURES;

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    weights: Vec<f64>,
}

impl Network {
    /// A network that says what the experts' mixture says; `seed` decides its hidden units.
    pub fn new(seed: u64) -> Self {
        let mut weights = vec![0.0; WEIGHTS];
        let mut state = seed | 1;
        for weight in &mut weights[..HIDDEN * FEATURES] {
            // A multiplicative congruential generator is enough to tell the units apart.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *weight = ((state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0) * 0.3;
        }
        weights[HIDDEN * FEATURES + HIDDEN] = 1.0;
        Self { weights }
    }

    /// Fits, beginning at what it is.
    pub fn fit(&mut self, examples: &[Example]) {
        let mut mean = vec![0.0; WEIGHTS];
        let mut square = vec![0.0; WEIGHTS];
        let mut gradient = vec![0.0; WEIGHTS];
        let mut step = 0;
        let direct = HIDDEN * FEATURES + HIDDEN;
        for _ in 0..PASSES {
            for batch in examples.chunks(8) {
                gradient.iter_mut().for_each(|slope| *slope = 0.0);
                for example in batch {
                    let units: Vec<[f64; HIDDEN]> =
                        example.features.0.iter().map(|row| self.hidden(row)).collect();
                    let hazards: Vec<f64> = example
                        .features
                        .0
                        .iter()
                        .zip(&units)
                        .map(|(row, units)| logistic(self.odds(row, units)))
                        .collect();
                    let (_, slopes) = example.gradient(&hazards);
                    for ((row, units), slope) in example.features.0.iter().zip(&units).zip(slopes) {
                        if slope.abs() < 1e-7 {
                            continue;
                        }
                        for unit in 0..HIDDEN {
                            gradient[HIDDEN * FEATURES + unit] += slope * units[unit];
                            let out = self.weights[HIDDEN * FEATURES + unit];
                            let back = slope * out * (1.0 - units[unit] * units[unit]);
                            for (to, feature) in gradient[unit * FEATURES..].iter_mut().zip(row) {
                                *to += back * f64::from(*feature);
                            }
                        }
                        for (to, feature) in gradient[direct..].iter_mut().zip(row) {
                            *to += slope * f64::from(*feature);
                        }
                    }
                }
                step += 1;
                self.climb(&gradient, &mut mean, &mut square, (step, batch.len()));
            }
        }
    }

    fn climb(
        &mut self,
        gradient: &[f64],
        mean: &mut [f64],
        square: &mut [f64],
        (step, examples): (i32, usize),
    ) {
        let direct = HIDDEN * FEATURES + HIDDEN;
        for at in 0..WEIGHTS {
            let start = if at == direct { 1.0 } else { 0.0 };
            let slope = gradient[at] / examples as f64 - DECAY * (self.weights[at] - start);
            mean[at] = 0.9 * mean[at] + 0.1 * slope;
            square[at] = 0.999 * square[at] + 0.001 * slope * slope;
            let corrected = mean[at] / (1.0 - 0.9_f64.powi(step));
            let spread = (square[at] / (1.0 - 0.999_f64.powi(step))).sqrt();
            self.weights[at] += STEP * corrected / (spread + 1e-8);
        }
    }

    fn hidden(&self, row: &[f32; FEATURES]) -> [f64; HIDDEN] {
        std::array::from_fn(|unit| {
            let into = &self.weights[unit * FEATURES..(unit + 1) * FEATURES];
            into.iter().zip(row).map(|(w, feature)| w * f64::from(*feature)).sum::<f64>().tanh()
        })
    }

    fn odds(&self, row: &[f32; FEATURES], units: &[f64; HIDDEN]) -> f64 {
        let out = &self.weights[HIDDEN * FEATURES..HIDDEN * FEATURES + HIDDEN];
        let direct = &self.weights[HIDDEN * FEATURES + HIDDEN..];
        let bent: f64 = out.iter().zip(units).map(|(weight, unit)| weight * unit).sum();
        let straight: f64 =
            direct.iter().zip(row).map(|(weight, feature)| weight * f64::from(*feature)).sum();
        bent + straight
    }
}

impl Model for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn hazards(&self, features: &Features) -> Vec<f64> {
        features.0.iter().map(|row| logistic(self.odds(row, &self.hidden(row)))).collect()
    }
}
