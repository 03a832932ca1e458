//! When a cell's data comes: a step distribution on few points.

use super::Minutes;
use serde::{Deserialize, Serialize};

/// The most points of a distribution.
pub const POINTS_MAX: usize = 48;

/// The probability that data comes in each of a row of spans after a cell's opening, or never.
///
/// Within a span it is spread evenly. The last span ends at the deadline; what comes later has not
/// come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Ends of the spans, ascending, minutes after opening; the first span begins at 0.
    ends: Box<[f32]>,
    /// Probability in each span.
    masses: Box<[f32]>,
    /// Probability that it does not come before the deadline.
    never: f32,
}

impl Distribution {
    /// Compresses evenly spaced `masses` (any positive scale) of width `step` minutes: a span ends
    /// where enough has gathered, or after an hour.
    ///
    /// `span` is the time from opening to deadline in minutes, not longer than the masses reach.
    pub fn compress(masses: &[f64], never: f64, step: Minutes, span: Minutes) -> Self {
        let total = masses.iter().sum::<f64>() + never;
        let total = if total > 0.0 { total } else { 1.0 };
        // A span costs one point; those that end for their length alone leave room for the others.
        let gap = (60.0_f64).max(span / (POINTS_MAX as f64 * 0.4));
        let enough = 1.0 / (POINTS_MAX as f64 * 0.55);
        let (mut ends, mut kept) = (Vec::new(), Vec::new());
        let (mut gathered, mut begun) = (0.0, 0.0);
        for (at, mass) in masses.iter().enumerate() {
            gathered += mass / total;
            let end = ((at + 1) as f64 * step).min(span);
            let is_last = at + 1 == masses.len();
            if is_last || gathered >= enough || end - begun >= gap {
                ends.push(end as f32);
                kept.push(gathered as f32);
                (gathered, begun) = (0.0, end);
            }
        }
        Self { ends: ends.into(), masses: kept.into(), never: (never / total) as f32 }
    }

    /// The same spans with other probabilities, from the hazard of each span: the probability that
    /// data comes in it if it has not come before.
    pub fn with_hazards(&self, hazards: impl Iterator<Item = f64>) -> Self {
        let mut alive = 1.0;
        let masses = hazards
            .take(self.ends.len())
            .map(|hazard| {
                let mass = alive * hazard;
                alive -= mass;
                mass as f32
            })
            .collect();
        Self { ends: self.ends.clone(), masses, never: alive as f32 }
    }

    /// Ends of the spans, minutes after opening.
    pub fn ends(&self) -> &[f32] {
        &self.ends
    }

    /// Probability in each span.
    pub fn masses(&self) -> &[f32] {
        &self.masses
    }

    /// Probability that it does not come before the deadline.
    pub fn never(&self) -> f64 {
        f64::from(self.never)
    }

    /// Probability that it came by so many minutes after opening.
    pub fn by(&self, at: Minutes) -> f64 {
        let (mut sum, mut begin) = (0.0, 0.0);
        for (end, mass) in self.ends.iter().zip(&*self.masses) {
            let (end, mass) = (f64::from(*end), f64::from(*mass));
            if at >= end {
                sum += mass;
            } else {
                return sum + mass * ((at - begin) / (end - begin)).max(0.0);
            }
            begin = end;
        }
        sum
    }

    /// The time by which it came with this probability; `None` if it does not come so often.
    pub fn quantile(&self, probability: f64) -> Option<Minutes> {
        let (mut sum, mut begin) = (0.0, 0.0);
        for (end, mass) in self.ends.iter().zip(&*self.masses) {
            let (end, mass) = (f64::from(*end), f64::from(*mass));
            if sum + mass >= probability && mass > 0.0 {
                return Some(begin + (end - begin) * (probability - sum) / mass);
            }
            sum += mass;
            begin = end;
        }
        None
    }

    /// Probability of what a period showed: that it came after `after` and by `by` (minutes after
    /// opening), or, with an infinite `by`, that it did not come after `after`.
    pub fn likelihood(&self, after: Minutes, by: Minutes) -> f64 {
        let seen = if by.is_finite() { self.by(by) - self.by(after) } else { self.never() };
        seen.max(1e-6)
    }
}
