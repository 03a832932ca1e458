//! Whether today is late for all.
//!
//! One factor a period, as in a one-factor Gaussian copula (Vasicek, "The distribution of loan
//! portfolio value", Risk 15 (2002), 160-162): each entity's place within its own distribution
//! leans towards the day's, by a strength that is learned per entity. What is seen of some entities
//! tells of the day, and the day of the others. Each entity keeps its own distribution of arrivals,
//! whatever its shape.

use serde::{Deserialize, Serialize};
use std::{f64::consts::SQRT_2, sync::LazyLock};

/// How many lateness levels a day may have.
const LEVELS: usize = 15;
/// The levels lie between minus and plus so many standard deviations.
const LEVEL_MAX: f64 = 2.8;
/// Into how many parts an entity's distribution is cut.
pub const PARTS: usize = 48;
/// Strengths with which an entity may follow the day: correlations, squared loadings.
const STRENGTHS: [f64; 5] = [0.0, 0.2, 0.45, 0.7, 0.88];
/// What is believed of the strengths of an unknown entity, and never wholly forgotten.
const USUAL: [f32; 5] = [0.3, 0.3, 0.2, 0.15, 0.05];
const FORGET: f32 = 0.02;

/// By strength, level and part: the probability that the entity's place lies beneath the part's end.
struct Copula {
    beneath: [[[f64; PARTS + 1]; LEVELS]; STRENGTHS.len()],
    prior: [f64; LEVELS],
}

static COPULA: LazyLock<Box<Copula>> = LazyLock::new(|| {
    let level = |at: usize| -LEVEL_MAX + 2.0 * LEVEL_MAX * at as f64 / (LEVELS - 1) as f64;
    let quantiles: Vec<f64> =
        (0..=PARTS).map(|part| normal_quantile(part as f64 / PARTS as f64)).collect();
    let mut copula = Box::new(Copula {
        beneath: [[[0.0; PARTS + 1]; LEVELS]; STRENGTHS.len()],
        prior: [0.0; LEVELS],
    });
    for at in 0..LEVELS {
        copula.prior[at] = (-0.5 * level(at) * level(at)).exp();
    }
    let sum: f64 = copula.prior.iter().sum();
    copula.prior.iter_mut().for_each(|prior| *prior /= sum);
    for (strength, by_level) in STRENGTHS.iter().zip(&mut copula.beneath) {
        for (at, by_part) in by_level.iter_mut().enumerate() {
            for (part, beneath) in by_part.iter_mut().enumerate() {
                *beneath = match part {
                    0 => 0.0,
                    PARTS => 1.0,
                    _ => normal(
                        (quantiles[part] - strength.sqrt() * level(at)) / (1.0 - strength).sqrt(),
                    ),
                };
            }
        }
    }
    copula
});

/// How strongly an entity follows the day: a belief over some correlations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Strength([f32; STRENGTHS.len()]);

impl Default for Strength {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl Strength {
    /// Its mean: 0 not at all, 1 wholly.
    pub fn mean(&self) -> f64 {
        self.0.iter().zip(STRENGTHS).map(|(belief, strength)| f64::from(*belief) * strength).sum()
    }

    /// Learns from where an entity came within its distribution on a day of which the others told.
    pub fn learn(&mut self, others: &Belief, from: f64, to: f64) {
        let mut sum = 0.0;
        for (at, belief) in self.0.iter_mut().enumerate() {
            let likelihood: f64 =
                (0..LEVELS).map(|level| others.0[level] * between(at, level, from, to)).sum();
            *belief *= likelihood.max(1e-5) as f32;
            sum += *belief;
        }
        for (belief, usual) in self.0.iter_mut().zip(USUAL) {
            *belief = (1.0 - FORGET) * *belief / sum + FORGET * usual;
        }
    }

    /// The logarithm of the probability, by the day's level, that the entity's place is between two.
    pub fn evidence(&self, from: f64, to: f64) -> Evidence {
        Evidence(std::array::from_fn(|level| {
            let probability: f64 = self
                .0
                .iter()
                .enumerate()
                .map(|(at, belief)| f64::from(*belief) * between(at, level, from, to))
                .sum();
            (probability.max(1e-5).ln() * THOUSANDTHS) as i16
        }))
    }

    /// How much more probable than usual each part of the entity's distribution is today.
    pub fn tilt(&self, day: &Belief) -> [f64; PARTS] {
        let mut tilt = [0.0; PARTS];
        for (at, belief) in self.0.iter().enumerate() {
            for level in 0..LEVELS {
                let weight = f64::from(*belief) * day.0[level] * PARTS as f64;
                if weight < 1e-6 {
                    continue;
                }
                let beneath = &COPULA.beneath[at][level];
                for (part, tilt) in tilt.iter_mut().enumerate() {
                    *tilt += weight * (beneath[part + 1] - beneath[part]);
                }
            }
        }
        tilt
    }
}

/// What one entity's looks say of the day: the logarithm of a probability by level, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence([i16; LEVELS]);

const THOUSANDTHS: f64 = 1000.0;

impl Evidence {
    /// The same with less weight, for one of many that speak with one voice.
    pub fn weakened(mut self, by: f64) -> Self {
        self.0.iter_mut().for_each(|evidence| *evidence = (f64::from(*evidence) / by) as i16);
        self
    }
}

/// How late a day is: probability by level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief([f64; LEVELS]);

impl Belief {
    /// The mean level in standard deviations: below 0 is early.
    pub fn mean(&self) -> f64 {
        let step = 2.0 * LEVEL_MAX / (LEVELS - 1) as f64;
        self.0.iter().enumerate().map(|(at, p)| p * (at as f64 * step - LEVEL_MAX)).sum()
    }
}

/// What all looks of a period say of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Day([f64; LEVELS]);

impl Day {
    /// An entity's evidence takes the place of its earlier evidence.
    pub fn replace(&mut self, earlier: &Evidence, by: &Evidence) {
        for level in 0..LEVELS {
            self.0[level] += f64::from(by.0[level] - earlier.0[level]) / THOUSANDTHS;
        }
    }

    /// How late the day is, without what one entity has said itself.
    pub fn without(&self, own: &Evidence) -> Belief {
        let logs: [f64; LEVELS] =
            std::array::from_fn(|at| self.0[at] - f64::from(own.0[at]) / THOUSANDTHS);
        let highest = logs.iter().copied().fold(f64::MIN, f64::max);
        let mut belief: [f64; LEVELS] =
            std::array::from_fn(|at| COPULA.prior[at] * (logs[at] - highest).exp());
        let sum: f64 = belief.iter().sum();
        belief.iter_mut().for_each(|probability| *probability /= sum);
        Belief(belief)
    }
}

/// The probability that a place lies between two, at a strength and a level.
fn between(strength: usize, level: usize, from: f64, to: f64) -> f64 {
    let beneath = &COPULA.beneath[strength][level];
    (read(beneath, to) - read(beneath, from)).max(0.0)
}

fn read(beneath: &[f64; PARTS + 1], place: f64) -> f64 {
    let place = (place * PARTS as f64).clamp(0.0, PARTS as f64);
    let at = (place as usize).min(PARTS - 1);
    beneath[at] + (beneath[at + 1] - beneath[at]) * (place - at as f64)
}

/// The normal distribution function; the error function by Abramowitz and Stegun, "Handbook of
/// mathematical functions" (1964), 7.1.26, good to 1.5e-7.
fn normal(x: f64) -> f64 {
    let z = x.abs() / SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = 0.5 * polynomial * (-z * z).exp();
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Its inverse, by bisection.
fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < probability { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}
