//! The learning controller on simulated servers, one scenario file each.
//!
//! `cargo test -p pace --test worlds -- --nocapture table` prints how it does on all of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod client;
mod server;

use client::{Score, Settings, reached, run};
use env::Moment;
use jiff::Timestamp;
use pace::LearningPace;
use serde::Deserialize;
use server::{Server, ServerFile};
use std::{path::Path, time::Duration};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[serde(skip)]
    name: String,
    rates: Vec<f64>,
    seconds: f64,
    latency_ms: f64,
    server: ServerFile,
    accepted: Accepted,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    ratio_cold: f64,
    refused_cold: f64,
    ratio_memory: f64,
    /// So few are accepted whatever their share.
    #[serde(default = "few")]
    refused_few: f64,
    /// Until 90 % of the limit.
    #[serde(default = "two_seconds")]
    reached_seconds: f64,
    #[serde(default)]
    latency_factor: Option<f64>,
    #[serde(default)]
    latency_ms: f64,
}

fn few() -> f64 {
    3.0
}

fn two_seconds() -> f64 {
    2.0
}

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds/scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let only = option_env!("SCENARIO").unwrap_or_default();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut scenario: Scenario =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path.file_stem().unwrap().to_str().unwrap().clone_into(&mut scenario.name);
        scenario
    };
    files.iter().map(read).filter(|scenario| scenario.name.contains(only)).collect()
}

fn moment(time: f64) -> Moment {
    Moment {
        monotonic: Duration::from_secs_f64(time),
        wall: Timestamp::from_second(1_767_225_600).unwrap(),
    }
}

const CONCURRENCY: u32 = 256;

struct Result {
    cold: Score,
    warm: Score,
    pace: LearningPace,
}

impl Scenario {
    fn job(&self, rate: f64, seed: u64) -> Settings {
        Settings {
            items: (self.seconds * rate).round() as u64,
            ideal: self.seconds,
            latency: self.latency_ms / 1000.0,
            seed,
            begins: 100.3,
            engines: Vec::new(),
            known: Vec::new(),
            steps: false,
        }
    }

    fn mean_rate(&self, rate: f64) -> f64 {
        match self.server.shifts.as_slice() {
            [] => rate,
            // Thirds of the time.
            shifts => rate * shifts.iter().map(|shift| shift[1]).sum::<f64>() / shifts.len() as f64,
        }
    }

    fn run(&self, rate: f64, seed: u64) -> Result {
        let mut job = self.job(rate, seed);
        job.items = (self.seconds * self.mean_rate(rate)).round() as u64;
        let mut paces = [LearningPace::new(CONCURRENCY, moment(job.begins))];
        let cold = run(&mut paces, &mut Server::new(&self.server, rate, self.seconds), &job);
        let memory = paces[0].memory();
        let pace = paces[0].clone();
        let mut again = [LearningPace::remembering(CONCURRENCY, &memory, moment(job.begins))];
        let warm = run(&mut again, &mut Server::new(&self.server, rate, self.seconds), &job);
        Result { cold, warm, pace }
    }

    /// In what it is worse than what the scenario's file accepts.
    fn verdict(&self, rate: f64, result: &Result) -> Vec<String> {
        let mut bad = Vec::new();
        let limit = self.mean_rate(rate);
        let penalty = if self.server.block > 0.0 { self.server.block / self.seconds } else { 0.0 };
        let accepted = &self.accepted;
        if !result.cold.finished || !result.warm.finished {
            bad.push("unfinished".to_owned());
        }
        if result.cold.ratio(limit) > accepted.ratio_cold + penalty {
            bad.push(format!("slow: {:.3}", result.cold.ratio(limit)));
        }
        if result.warm.ratio(limit) > accepted.ratio_memory {
            bad.push(format!("slow with memory: {:.3}", result.warm.ratio(limit)));
        }
        let share = accepted.refused_cold * result.cold.requests as f64;
        if result.cold.refused as f64 > share.max(accepted.refused_few) {
            bad.push(format!("refused: {}", result.cold.refused));
        }
        if let Some(factor) = accepted.latency_factor {
            let unloaded = (self.latency_ms * 1.15 + self.server.service) / 1000.0;
            if result.cold.p50 > factor * unloaded + accepted.latency_ms / 1000.0 {
                bad.push(format!("latency: {:.4} s", result.cold.p50));
            }
        }
        let reached = reached(&result.cold.log, rate, 0.0);
        if reached.is_none_or(|reached| reached > accepted.reached_seconds) {
            bad.push(format!("late: {reached:?}"));
        }
        bad
    }
}

/// `SCENARIO=moving RATE=50 cargo test -p pace --test worlds -- --nocapture story` tells what a
/// controller decided.
#[test]
fn story() {
    let rate = option_env!("RATE").and_then(|rate| rate.parse().ok()).unwrap_or(50.0);
    for scenario in scenarios() {
        println!("{} at {rate}/s", scenario.name);
        let result = scenario.run(rate, 1);
        let told = if option_env!("WARM").is_some() { &result.warm } else { &result.cold };
        for (at, kind, rate, concurrency, why) in &told.decisions {
            println!("{at:7.3} s  {kind:?}, {rate:.1}/s, {concurrency} under way: {why}");
        }
    }
}

#[test]
fn table() {
    for scenario in scenarios() {
        for &rate in &scenario.rates {
            let result = scenario.run(rate, 1);
            let limit = scenario.mean_rate(rate);
            println!(
                "{:26} {:5}/s  cold {:5.3} refused {:4} {:5.2} %  p50 {:6.1} ms  90% at {:4.2}  memory {:5.3} refused {:3}  {:?} {:?} {}",
                scenario.name,
                rate,
                result.cold.ratio(limit),
                result.cold.refused,
                result.cold.refused_share() * 100.0,
                result.cold.p50 * 1000.0,
                reached(&result.cold.log, rate, 0.0).unwrap_or(f64::NAN),
                result.warm.ratio(limit),
                result.warm.refused,
                result.pace.kind(),
                result.pace.limit().map(|limit| (limit * 10.0).round() / 10.0),
                scenario.verdict(rate, &result).join(", "),
            );
        }
    }
}

/// Seeds of each scenario at each rate; the table of the documents is made with the first.
fn seeds() -> u64 {
    option_env!("SEEDS").and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

#[test]
fn every_scenario_is_within_what_its_file_accepts() {
    let mut bad = Vec::new();
    for scenario in scenarios() {
        for &rate in &scenario.rates {
            for seed in 1..=seeds() {
                let result = scenario.run(rate, seed);
                for found in scenario.verdict(rate, &result) {
                    bad.push(format!("{} at {rate}/s, seed {seed}: {found}", scenario.name));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn clock_steps_change_nothing_that_is_measured() {
    for scenario in scenarios().into_iter().filter(|it| it.name == "leaky-bucket") {
        let job = Settings { steps: true, ..scenario.job(50.0, 5) };
        let mut paces = [LearningPace::new(CONCURRENCY, moment(job.begins))];
        let score = run(&mut paces, &mut Server::new(&scenario.server, 50.0, 12.0), &job);
        assert!(score.finished && score.ratio(50.0) < 1.1, "{}", score.ratio(50.0));
    }
}

/// Two and four engines on one scope, one of which comes late and one of which leaves.
#[test]
fn engines_that_share_a_scope_take_together_what_one_would() {
    let names = ["leaky-bucket", "moving", "concurrency"];
    for scenario in scenarios().into_iter().filter(|it| names.contains(&it.name.as_str())) {
        let rate = 200.0;
        let alone = scenario.run(rate, 1);
        let memory = alone.pace.memory();
        for engines in [vec![(0.0, 2)], vec![(0.0, 4)], vec![(0.0, 1), (4.0, 2), (8.0, 1)]] {
            let job = Settings { engines: engines.clone(), ..scenario.job(rate, 2) };
            let most = engines.iter().map(|it| it.1).max().unwrap_or(1);
            let pace = LearningPace::remembering(CONCURRENCY, &memory, moment(job.begins));
            let mut paces = vec![pace; most];
            let mut server = Server::new(&scenario.server, rate, scenario.seconds);
            let score = run(&mut paces, &mut server, &job);
            let name = &scenario.name;
            assert!(score.finished, "{name}, {engines:?}");
            let ratio = score.ratio(rate);
            assert!(ratio < 1.25, "{name}, {engines:?}: {ratio}");
            let share = score.refused_share();
            assert!(share < 0.03, "{name}, {engines:?}: {share}");
        }
    }
}

/// A limit that is another one each hour, over the 168 hours of a week (of a minute each): with what
/// the week before taught, the turn of the hour costs hardly a refusal, and no time.
#[test]
fn a_week_whose_hours_are_known_costs_less() {
    let hours = 168;
    let hour = 60.0;
    let share = |number: usize| [1.0, 1.0, 0.4, 0.7, 1.5, 1.0][number * 7 % 6];
    let mut scenario = scenarios().into_iter().find(|it| it.name == "leaky-bucket").unwrap();
    scenario.seconds = hours as f64 * hour;
    scenario.server.shifts =
        (0..hours).map(|number| [number as f64 / hours as f64, share(number)]).collect();
    let rate = 50.0;
    let week = |known: Vec<(f64, f64)>| {
        let mut job = Settings { known, ..scenario.job(rate, 1) };
        job.items = (scenario.seconds * scenario.mean_rate(rate)).round() as u64;
        let mut paces = [LearningPace::new(CONCURRENCY, moment(job.begins))];
        let mut server = Server::new(&scenario.server, rate, scenario.seconds);
        run(&mut paces, &mut server, &job)
    };
    let without = week(Vec::new());
    let known = (0..hours).map(|number| (number as f64 * hour, rate * share(number)));
    let with = week(known.collect());
    let limit = scenario.mean_rate(rate);
    println!(
        "a week: without memory of its hours {:.3} of the ideal time and {} refused, with it {:.3} and {}",
        without.ratio(limit),
        without.refused,
        with.ratio(limit),
        with.refused
    );
    assert!(without.finished && with.finished);
    assert!((with.refused as f64) < 0.8 * without.refused as f64, "{}", with.refused);
    assert!(with.ratio(limit) < without.ratio(limit) + 0.02, "{}", with.ratio(limit));
}
