//! The empirical model: past intervals as they are, remembered for several lengths of time.
//!
//! An *expert* is one way to read an entity's history: how quickly it forgets (drift), whether it
//! trusts other weekdays, and how far it blurs. Each gives a self-consistent estimate from
//! interval-censored observations (Turnbull, "The empirical distribution function with arbitrarily
//! grouped, censored and truncated data", JRSS B 38 (1976), 290-295), to which all entities of the
//! source lend a little mass, so that a new one is not without any idea. Experts are weighed per
//! entity by how well they foretold its last periods, with a fixed share for those that did not
//! (Herbster and Warmuth, "Tracking the best expert", Machine Learning 32 (1998), 151-178): a
//! publisher that moves for good is followed by the short memory within days, and a steady one
//! keeps the long.

use super::{Minutes, history::History};
use serde::{Deserialize, Serialize};

/// One way to read a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expert {
    /// Periods after which an observation counts half.
    pub half_life: f64,
    /// What an observation of another weekday counts.
    pub other_weekday: f64,
    /// Minutes to either side over which an observation is blurred.
    pub blur: Minutes,
}

const HALF_LIVES: [f64; 3] = [4.0, 15.0, 60.0];
const OTHER_WEEKDAYS: [f64; 2] = [1.0, 0.002];
const BLURS: [Minutes; 3] = [8.0, 40.0, 120.0];

/// How many memories there are, each read with every blur.
pub const MEMORIES: usize = HALF_LIVES.len() * OTHER_WEEKDAYS.len();

/// How many experts there are.
pub const EXPERTS: usize = MEMORIES * BLURS.len();

/// Mass, in observations, spread evenly from opening to deadline.
const ANYWHERE: f64 = 0.1;
/// Mass that the source's entities lend together.
const LENT: f64 = 0.3;
/// Mass of never coming.
const NEVER: f64 = 0.05;
/// Share of an observation that is blurred, in each of two passes.
const BLURRED: f64 = 0.8;
/// Steps towards self-consistency.
const STEPS: usize = 4;
/// What an entity's weights take from the source's in each period.
const SHARED: f64 = 0.03;

/// The expert at a position.
pub fn expert(at: usize) -> Expert {
    let memory = at / BLURS.len();
    Expert {
        half_life: HALF_LIVES[memory / OTHER_WEEKDAYS.len()],
        other_weekday: OTHER_WEEKDAYS[memory % OTHER_WEEKDAYS.len()],
        blur: BLURS[at % BLURS.len()],
    }
}

/// Weights of the experts; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights([f32; EXPERTS]);

impl Default for Weights {
    fn default() -> Self {
        Self([1.0 / EXPERTS as f32; EXPERTS])
    }
}

impl Weights {
    /// The weight of each expert.
    pub fn all(&self) -> &[f32; EXPERTS] {
        &self.0
    }

    /// The expert that is trusted most, and how much.
    pub fn best(&self) -> (Expert, f64) {
        let best = (0..EXPERTS).max_by(|a, b| self.0[*a].total_cmp(&self.0[*b])).unwrap_or(0);
        (expert(best), f64::from(self.0[best]))
    }

    /// Learns from what each expert had thought of an observation (its likelihood); `source` are the
    /// weights that all entities share.
    pub fn learn(&mut self, likelihoods: &[f64; EXPERTS], source: &Self, usable: Usable) {
        let mut sum = 0.0;
        for (at, weight) in self.0.iter_mut().enumerate() {
            *weight *= if usable.has(expert(at)) { likelihoods[at] as f32 } else { 0.0 };
            sum += *weight;
        }
        if sum <= 0.0 {
            return *self = Self::default();
        }
        let mut total = 0.0;
        for (weight, shared) in self.0.iter_mut().zip(source.0) {
            *weight = (1.0 - SHARED as f32) * *weight / sum + SHARED as f32 * shared;
            total += *weight;
        }
        self.0.iter_mut().for_each(|weight| *weight /= total);
    }

    /// Moves a little towards another's.
    pub fn follow(&mut self, other: &Self, by: f32) {
        for (weight, other) in self.0.iter_mut().zip(other.0) {
            *weight += by * (other - *weight);
        }
    }
}

/// Which experts may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usable {
    /// Those that look at the weekday.
    pub weekday: bool,
    /// Those that forget.
    pub drift: bool,
}

impl Usable {
    fn has(self, expert: Expert) -> bool {
        (self.weekday || expert.other_weekday >= 1.0)
            && (self.drift || expert.half_life >= HALF_LIVES[HALF_LIVES.len() - 1])
    }
}

/// What all entities of a source have shown together, by weekday: mass by ten minutes after opening.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    weekdays: [Vec<f32>; 7],
}

const POOLED_STEP: Minutes = 10.0;
/// Four weeks: what is later is counted there.
const POOLED_MAX: usize = 4032;
/// What is kept of the earlier at each observation.
const POOLED_KEPT: f32 = 0.997;

impl Pooled {
    /// Adds an observation: it came between `after` and `by` minutes after opening.
    pub fn add(&mut self, weekday: u8, after: Minutes, by: Minutes) {
        let masses = &mut self.weekdays[usize::from(weekday) % 7];
        let first = ((after / POOLED_STEP) as usize).min(POOLED_MAX - 1);
        let end = ((by / POOLED_STEP).ceil() as usize).clamp(first + 1, POOLED_MAX);
        if masses.len() < end {
            masses.resize(end, 0.0);
        }
        masses.iter_mut().for_each(|mass| *mass *= POOLED_KEPT);
        let each = 1.0 / (end - first) as f32;
        masses[first..end].iter_mut().for_each(|mass| *mass += each);
    }

    /// How many arrivals it has, the older ones in part.
    pub fn total(&self) -> f64 {
        self.weekdays.iter().flatten().map(|mass| f64::from(*mass)).sum()
    }

    /// Adds its mass, scaled to `total`, to evenly spaced spans; of one weekday if it has any, else
    /// of all.
    fn lend(&self, weekday: Option<u8>, total: f64, step: Minutes, to: &mut [f64]) {
        let of_weekday = weekday.map(|weekday| &self.weekdays[usize::from(weekday) % 7]);
        let lenders: Vec<&Vec<f32>> = match of_weekday.filter(|masses| !masses.is_empty()) {
            Some(masses) => vec![masses],
            None => self.weekdays.iter().collect(),
        };
        let all = lenders.iter().flat_map(|masses| masses.iter());
        let sum: f64 = all.map(|mass| f64::from(*mass)).sum();
        if sum <= 0.0 {
            return;
        }
        let share = total / sum * (step / POOLED_STEP);
        for (at, mass) in to.iter_mut().enumerate() {
            let from = ((at as f64 + 0.5) * step / POOLED_STEP) as usize;
            let lent = lenders.iter().filter_map(|masses| masses.get(from));
            *mass += share * lent.map(|mass| f64::from(*mass)).sum::<f64>();
        }
    }
}

/// What an estimate is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What was seen of the entity.
    pub history: &'a History,
    /// What all entities lend; `None`: nothing.
    pub pooled: Option<&'a Pooled>,
    /// Monday 0 to Sunday 6.
    pub weekday: u8,
    /// From opening to deadline, in minutes.
    pub span: Minutes,
    /// Which experts may speak.
    pub usable: Usable,
}

/// What each expert expects, on a grid of equal steps.
#[derive(Debug, Clone)]
pub struct Estimates {
    /// Minutes.
    pub step: Minutes,
    /// By expert: probability by step; empty where it may not speak.
    masses: Vec<Vec<f64>>,
    never: [f64; EXPERTS],
}

impl Estimates {
    /// What the experts expect.
    pub fn new(question: &Question<'_>) -> Self {
        let step = (question.span / 288.0).max((question.span / 48.0).min(5.0));
        let count = (question.span / step).ceil().max(1.0) as usize;
        let prior = [None, Some(question.weekday)].map(|weekday| {
            let mut prior = vec![ANYWHERE / count as f64; count];
            if let Some(pooled) = question.pooled {
                pooled.lend(weekday, LENT, step, &mut prior);
            }
            prior
        });
        let mut estimates = Self { step, masses: vec![Vec::new(); EXPERTS], never: [0.0; EXPERTS] };
        let mut sums = Vec::with_capacity(count + 1);
        for memory in 0..MEMORIES {
            let first = memory * BLURS.len();
            if !question.usable.has(expert(first)) {
                continue;
            }
            let is_for_weekday = expert(first).other_weekday < 1.0;
            let prior = &prior[usize::from(is_for_weekday)];
            let (masses, never) = remember(question, expert(first), step, prior);
            for at in first..first + BLURS.len() {
                let steps = (expert(at).blur / step).max(1.0) as usize;
                let mut blurred = masses.clone();
                for _ in 0..2 {
                    blurred = blur(&blurred, steps, &mut sums);
                }
                let total = blurred.iter().sum::<f64>() + never;
                blurred.iter_mut().for_each(|mass| *mass /= total);
                estimates.masses[at] = blurred;
                estimates.never[at] = never / total;
            }
        }
        estimates
    }

    /// The probability that each expert gave to what was seen.
    pub fn likelihoods(&self, after: Minutes, by: Minutes) -> [f64; EXPERTS] {
        std::array::from_fn(|at| {
            let masses = &self.masses[at];
            if masses.is_empty() {
                return 0.0;
            }
            let seen = if by.is_finite() {
                let first = ((after / self.step) as usize).min(masses.len() - 1);
                let end = ((by / self.step).ceil() as usize).clamp(first + 1, masses.len());
                masses[first..end].iter().sum()
            } else {
                self.never[at]
            };
            seen.max(1e-6)
        })
    }

    /// What they expect together: probability by step, and of never.
    pub fn mixed(&self, weights: &Weights) -> (Vec<f64>, f64) {
        let count = self.masses.iter().map(Vec::len).max().unwrap_or(0);
        let mut mixed = vec![0.0; count];
        let mut never = 0.0;
        let mut sum = 0.0;
        for (at, masses) in self.masses.iter().enumerate() {
            if masses.is_empty() {
                continue;
            }
            let weight = f64::from(weights.all()[at]).max(1e-9);
            for (to, mass) in mixed.iter_mut().zip(masses) {
                *to += weight * mass;
            }
            never += weight * self.never[at];
            sum += weight;
        }
        mixed.iter_mut().for_each(|mass| *mass /= sum);
        (mixed, never / sum)
    }

    /// What one memory expects with a middling blur; `None` if it may not speak.
    pub(crate) fn memory(&self, memory: usize) -> Option<(&[f64], f64)> {
        let at = memory * BLURS.len() + 1;
        (!self.masses[at].is_empty()).then(|| (&*self.masses[at], self.never[at]))
    }
}

/// The self-consistent estimate of one memory: mass by step, in observations, and of never.
fn remember(
    question: &Question<'_>,
    expert: Expert,
    step: Minutes,
    prior: &[f64],
) -> (Vec<f64>, f64) {
    let count = prior.len();
    let mut never = NEVER;
    let mut intervals: Vec<(usize, usize, f64)> = Vec::with_capacity(question.history.len());
    let forget = 0.5_f64.powf(1.0 / expert.half_life);
    let mut weight_of_age = 1.0;
    for seen in question.history.latest() {
        let weight = if seen.day.weekday == question.weekday {
            weight_of_age
        } else {
            weight_of_age * expert.other_weekday
        };
        weight_of_age *= forget;
        if weight < 1e-3 {
            continue;
        }
        if !seen.came() {
            never += weight;
            continue;
        }
        let first = ((f64::from(seen.after) / step) as usize).min(count - 1);
        let end = ((f64::from(seen.by) / step).ceil() as usize).clamp(first + 1, count);
        intervals.push((first, end, weight));
    }
    let mut density = vec![1.0_f64; count];
    let mut change = vec![0.0; count + 1];
    let mut sums = vec![0.0_f64; count + 1];
    // From even spread within each interval to the spread that the whole estimate gives it.
    for _ in 0..=STEPS {
        for at in 0..count {
            sums[at + 1] = sums[at] + density[at];
        }
        change.iter_mut().for_each(|change| *change = 0.0);
        for (first, end, weight) in &intervals {
            let scale = weight / (sums[*end] - sums[*first]).max(1e-300);
            change[*first] += scale;
            change[*end] -= scale;
        }
        let mut scale = 0.0;
        for at in 0..count {
            scale += change[at];
            density[at] = prior[at] + scale.max(0.0) * density[at];
        }
    }
    (density, never)
}

/// Spreads most of each mass evenly over its surroundings.
fn blur(masses: &[f64], steps: usize, sums: &mut Vec<f64>) -> Vec<f64> {
    let count = masses.len();
    sums.clear();
    sums.push(0.0);
    let mut sum = 0.0;
    for mass in masses {
        sum += mass;
        sums.push(sum);
    }
    let mean = |at: usize| {
        let (first, end) = (at.saturating_sub(steps), (at + steps + 1).min(count));
        (sums[end] - sums[first]) / (end - first) as f64
    };
    let inner = steps.min(count)..count.saturating_sub(steps).max(steps.min(count));
    let share = BLURRED / (2 * steps + 1) as f64;
    let mut blurred = Vec::with_capacity(count);
    let edge = |at: usize| (1.0 - BLURRED) * masses[at] + BLURRED * mean(at);
    blurred.extend((0..inner.start).map(edge));
    if !inner.is_empty() {
        let ends = &sums[inner.start + steps + 1..=inner.end + steps];
        let firsts = &sums[inner.start - steps..inner.end - steps];
        let rows = masses[inner.clone()].iter().zip(ends.iter().zip(firsts));
        blurred.extend(
            rows.map(|(mass, (end, first))| (1.0 - BLURRED) * mass + share * (end - first)),
        );
    }
    blurred.extend((inner.end..count).map(edge));
    blurred
}
