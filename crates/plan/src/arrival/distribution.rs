//! When a cell's data comes: a step distribution on few points.

use super::Minutes;

/// The most points of a distribution.
pub const POINTS_MAX: usize = 44;

/// The probability that data comes in each of a row of spans after a cell's opening, or never.
///
/// Within a span it is spread evenly. The last span ends at the deadline; what comes later has not
/// come. Packed, since there is one for each open cell: times to 1/65,535 of the time from opening
/// to deadline, probabilities to as much.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// From opening to deadline, minutes.
    span: f32,
    /// Probability that it does not come before the deadline.
    never: f32,
    /// Where each span ends, as a share of `span`, and its probability.
    points: Box<[(u16, u16)]>,
}

const UNITS: f64 = u16::MAX as f64;

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
        let mut points = Vec::with_capacity(POINTS_MAX);
        let (mut gathered, mut begun) = (0.0, 0.0);
        for (at, mass) in masses.iter().enumerate() {
            gathered += mass / total;
            let end = ((at + 1) as f64 * step).min(span);
            let is_last = at + 1 == masses.len();
            if is_last || gathered >= enough || end - begun >= gap {
                let end_units = if is_last { u16::MAX } else { (end / span * UNITS) as u16 };
                points.push((end_units, units(gathered)));
                (gathered, begun) = (0.0, end);
            }
        }
        Self { span: span as f32, never: (never / total) as f32, points: points.into() }
    }

    /// The same spans with other probabilities, from the hazard of each span: the probability that
    /// data comes in it if it has not come before.
    pub fn with_hazards(&self, hazards: impl Iterator<Item = f64>) -> Self {
        let mut alive = 1.0;
        let points = self
            .points
            .iter()
            .zip(hazards)
            .map(|((end, _), hazard)| {
                let mass = alive * hazard;
                alive -= mass;
                (*end, units(mass))
            })
            .collect();
        Self { span: self.span, never: alive as f32, points }
    }

    /// Ends of the spans, ascending, minutes after opening; the first span begins at 0.
    pub fn ends(&self) -> impl Iterator<Item = f64> {
        let unit = f64::from(self.span) / UNITS;
        self.points.iter().map(move |(end, _)| f64::from(*end) * unit)
    }

    /// Probability in each span.
    pub fn masses(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, mass)| f64::from(*mass) / UNITS)
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Probability that it does not come before the deadline.
    pub fn never(&self) -> f64 {
        f64::from(self.never)
    }

    /// Probability that it came by so many minutes after opening.
    pub fn by(&self, at: Minutes) -> f64 {
        let (mut sum, mut begin) = (0.0, 0.0);
        for (end, mass) in self.ends().zip(self.masses()) {
            if at < end {
                return sum + mass * ((at - begin) / (end - begin)).max(0.0);
            }
            sum += mass;
            begin = end;
        }
        sum
    }

    /// The time by which it came with this probability; `None` if it does not come so often.
    pub fn quantile(&self, probability: f64) -> Option<Minutes> {
        let (mut sum, mut begin) = (0.0, 0.0);
        for (end, mass) in self.ends().zip(self.masses()) {
            if sum + mass >= probability && mass > 0.0 {
                return Some(begin + (end - begin) * ((probability - sum) / mass).max(0.0));
            }
            sum += mass;
            begin = end;
        }
        None
    }
}

fn units(probability: f64) -> u16 {
    (probability * UNITS).round().clamp(0.0, UNITS) as u16
}
