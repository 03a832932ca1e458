//! What is measured of jobs, and what is accepted of it.

use crate::{
    client::{Score, reached},
    scenario::Scenario,
};
use serde::Deserialize;
use std::fmt;

/// The goals, or what is accepted where they are missed: of nine seeds in ten (`worst`: of all).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    pub(crate) ratio_cold: f64,
    /// No seed is slower.
    #[serde(default)]
    ratio_cold_worst: Option<f64>,
    pub(crate) refused_cold: f64,
    pub(crate) ratio_memory: f64,
    /// So few are accepted whatever their share.
    #[serde(default = "few")]
    refused_few: f64,
    /// Until 90 % of the limit.
    #[serde(default = "two_seconds")]
    reached_seconds: f64,
    /// The same with memory.
    #[serde(default)]
    reached_memory_seconds: Option<f64>,
    #[serde(default)]
    latency_factor: Option<f64>,
    #[serde(default)]
    latency_ms: f64,
    /// Refused in the second that begins a second after the limit fell.
    #[serde(default)]
    refused_fallen: Option<f64>,
    /// Until 90 % of a limit that rose.
    #[serde(default)]
    risen_seconds: Option<f64>,
}

fn few() -> f64 {
    3.0
}

fn two_seconds() -> f64 {
    2.0
}

/// Of one job cold and again with memory.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    finished: bool,
    pub(crate) ratio_cold: f64,
    pub(crate) ratio_memory: f64,
    pub(crate) refused: f64,
    pub(crate) refused_share: f64,
    pub(crate) refused_memory: f64,
    reached: f64,
    reached_memory: f64,
    p50_ms: f64,
    /// The most that were refused after a fall of the limit, less three: cold or with memory.
    fallen: f64,
    risen: f64,
}

impl Figures {
    pub(crate) fn new(scenario: &Scenario, rate: f64, cold: &Score, warm: &Score) -> Self {
        let limit = scenario.mean_rate(rate);
        let jobs = [cold, warm];
        let changes = || {
            let shifts = scenario.server.shifts.windows(2);
            shifts.map(|pair| (pair[1][0] * scenario.seconds, pair[0][1], pair[1][1]))
        };
        let falls: Vec<f64> = changes().filter(|it| it.2 < it.1).map(|it| it.0).collect();
        let rises = changes().filter(|it| it.2 > it.1).map(|it| (it.0, rate * it.2));
        let until = |score: &Score, rate: f64, from: f64| {
            reached(&score.log, rate, from).unwrap_or(f64::INFINITY)
        };
        let rises: Vec<f64> =
            rises.flat_map(|(from, rate)| jobs.map(|score| until(score, rate, from))).collect();
        let fallen = falls.iter().flat_map(|from| jobs.map(|score| score.fallen(*from)));
        Self {
            finished: cold.finished && warm.finished,
            ratio_cold: cold.ratio(limit),
            ratio_memory: warm.ratio(limit),
            refused: cold.refused as f64,
            refused_share: cold.refused_share(),
            refused_memory: warm.refused as f64,
            reached: until(cold, rate, 0.0),
            reached_memory: until(warm, rate, 0.0),
            p50_ms: cold.p50 * 1000.0,
            fallen: fallen.fold(0.0, f64::max),
            risen: rises.into_iter().fold(0.0, f64::max),
        }
    }
}

/// The value that so large a share of the seeds does not exceed.
pub(crate) fn quantile(of: &[Figures], share: f64, value: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = of.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// What is measured over all seeds: median, nine in ten, the worst.
pub(crate) struct Spread<'a>(pub(crate) &'a [Figures]);

impl Spread<'_> {
    fn three(&self, value: impl Fn(&Figures) -> f64, digits: usize) -> String {
        let at = |share| format!("{:.digits$}", quantile(self.0, share, &value));
        if self.0.len() == 1 { at(1.0) } else { [at(0.5), at(0.9), at(1.0)].join(" ") }
    }
}

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cold {}  refused {} ({} %)  p50 {} ms  90% at {}  memory {}  refused {}  90% at {}",
            self.three(|it| it.ratio_cold, 3),
            self.three(|it| it.refused, 0),
            self.three(|it| it.refused_share * 100.0, 2),
            self.three(|it| it.p50_ms, 1),
            self.three(|it| it.reached, 2),
            self.three(|it| it.ratio_memory, 3),
            self.three(|it| it.refused_memory, 0),
            self.three(|it| it.reached_memory, 2),
        )?;
        if self.0.iter().any(|it| it.fallen > 0.0 || it.risen > 0.0) {
            let fallen = self.three(|it| it.fallen * 100.0, 1);
            write!(f, "  after a fall {fallen} %  a rise {}", self.three(|it| it.risen, 2))?;
        }
        Ok(())
    }
}

/// In what the seeds are worse than what the scenario's file accepts.
pub(crate) fn verdict(scenario: &Scenario, of: &[Figures]) -> Vec<String> {
    let accepted = &scenario.accepted;
    let mut bad = Vec::new();
    let mut check = |what: &str, share: f64, value: &dyn Fn(&Figures) -> f64, most: f64| {
        let found = quantile(of, share, value);
        if found > most + 1e-9 {
            bad.push(format!("{what}: {found:.4}, accepted {most:.4}"));
        }
    };
    let penalty = scenario.server.block / scenario.seconds;
    check("unfinished", 1.0, &|it| f64::from(u8::from(!it.finished)), 0.0);
    check("slow", 0.9, &|it| it.ratio_cold, accepted.ratio_cold + penalty);
    let worst = accepted.ratio_cold_worst.unwrap_or(f64::INFINITY);
    check("slowest", 1.0, &|it| it.ratio_cold, worst);
    check("slow with memory", 0.9, &|it| it.ratio_memory, accepted.ratio_memory);
    let few = |it: &Figures| if it.refused > accepted.refused_few { it.refused_share } else { 0.0 };
    check("refused", 0.9, &few, accepted.refused_cold);
    check("late", 0.9, &|it| it.reached, accepted.reached_seconds);
    let most = accepted.reached_memory_seconds.unwrap_or(f64::INFINITY);
    check("late with memory", 0.9, &|it| it.reached_memory, most);
    if let Some(factor) = accepted.latency_factor {
        let unloaded = scenario.latency_ms * 1.15 + scenario.server.service;
        check("latency", 0.9, &|it| it.p50_ms, factor * unloaded + accepted.latency_ms);
    }
    let most = accepted.refused_fallen.unwrap_or(f64::INFINITY);
    check("refused after a fall", 0.9, &|it| it.fallen, most);
    check(
        "late after a rise",
        0.9,
        &|it| it.risen,
        accepted.risen_seconds.unwrap_or(f64::INFINITY),
    );
    bad
}
