//! A scenario's file: the job, its server, what is varied, and what is accepted.

use crate::{
    CONCURRENCY,
    client::{Settings, run},
    figures::{Accepted, Figures},
    moment,
    server::{Server, ServerFile},
};
use pace::{LearningPace, Memory};
use serde::Deserialize;
use std::{fs, path::Path};
use toml::{Table, Value};

/// One scenario; with `[vary]` a file makes one of each combination of its values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(skip)]
    pub(crate) name: String,
    /// Limits, requests per second.
    pub(crate) rates: Vec<f64>,
    /// The job has so many seconds of the limit's requests.
    pub(crate) seconds: f64,
    /// Of those, so many are wanted at a time, once in so many seconds; else all at once.
    #[serde(default)]
    pub(crate) polls: Option<(u64, f64)>,
    /// Requests under way at most.
    #[serde(default = "concurrency")]
    pub(crate) concurrency: u32,
    /// Of the network there and back, without its jitter.
    pub(crate) latency_ms: f64,
    /// The mean of the jitter as a share of the latency; its tail is exponential.
    #[serde(default = "some_jitter")]
    pub(crate) jitter: f64,
    /// One timer in so many is late by up to 20 ms, as on a busy machine; 0: none.
    #[serde(default)]
    pub(crate) stall_one_in: u32,
    /// What is remembered is from an earlier job of this share of the length.
    #[serde(default = "whole")]
    pub(crate) earlier: f64,
    pub(crate) server: ServerFile,
    pub(crate) accepted: Accepted,
}

fn concurrency() -> u32 {
    CONCURRENCY
}

fn whole() -> f64 {
    1.0
}

fn some_jitter() -> f64 {
    0.15
}

/// An environment variable that narrows or widens the tests, read when they run.
#[expect(clippy::disallowed_methods, reason = "a test is no part of the program")]
pub(crate) fn asked(variable: &str) -> Option<String> {
    std::env::var(format!("TIDEWATCH_{variable}")).ok().filter(|text| !text.is_empty())
}

/// All scenarios, or those whose name contains one of the texts of `TIDEWATCH_SCENARIO` (between semicolons), at the
/// rates of `TIDEWATCH_RATES`.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds/scenarios");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let only = asked("SCENARIO").unwrap_or_default();
    let rates: Option<Vec<f64>> = asked("RATES")
        .map(|text| text.split(',').map(|rate| rate.trim().parse().unwrap()).collect());
    let mut scenarios: Vec<_> = files.iter().flat_map(|path| read(path)).collect();
    scenarios.retain(|it| only.is_empty() || only.split(';').any(|word| it.name.contains(word)));
    for scenario in &mut scenarios {
        scenario.rates = rates.clone().unwrap_or(scenario.rates.clone());
    }
    scenarios
}

fn read(path: &Path) -> Vec<Scenario> {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut table: Table = fs::read_to_string(path)
        .unwrap()
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut variants = vec![(name.to_owned(), table.clone())];
    if let Some(Value::Table(vary)) = table.remove("vary") {
        variants = vec![(name.to_owned(), table)];
        for (key, values) in &vary {
            let values = values.as_array().unwrap();
            let varied = |(name, table): &(String, Table)| {
                let one =
                    |value| (format!("{name}, {key} {}", short(value)), with(table, key, value));
                values.iter().map(one).collect::<Vec<_>>()
            };
            variants = variants.iter().flat_map(varied).collect();
        }
    }
    let scenario = |(name, table): (String, Table)| {
        let scenario = Value::Table(table).try_into();
        let scenario: Scenario =
            scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scenario { name, ..scenario }
    };
    variants.into_iter().map(scenario).collect()
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        other => format!("{other:?}"),
    }
}

/// The table with another value; a key that it does not have belongs to its server.
fn with(table: &Table, key: &str, value: &Value) -> Table {
    let mut table = table.clone();
    let target =
        if table.contains_key(key) { &mut table } else { table["server"].as_table_mut().unwrap() };
    target.insert(key.to_owned(), value.clone());
    table
}

/// A job without memory, and the same again with what it, or a shorter one, learned.
pub(crate) struct Result {
    pub(crate) cold: crate::client::Score,
    pub(crate) warm: crate::client::Score,
    pub(crate) pace: LearningPace,
}

impl Scenario {
    pub(crate) fn job(&self, rate: f64, seed: u64) -> Settings {
        Settings {
            items: (self.seconds * self.mean_rate(rate)).round() as u64,
            ideal: self.seconds,
            polls: self.polls,
            latency: self.latency_ms / 1000.0,
            jitter: self.jitter,
            stall_one_in: self.stall_one_in,
            seed,
            begins: 100.3,
            engines: Vec::new(),
            known: Vec::new(),
            steps: false,
        }
    }

    pub(crate) fn server(&self, rate: f64, seed: u64) -> Server {
        Server::new(&self.server, rate, self.seconds, seed)
    }

    /// What the server takes in the long run, over the job.
    pub(crate) fn mean_rate(&self, rate: f64) -> f64 {
        let share = match self.server.shifts.as_slice() {
            [] => 1.0,
            // Each for as long as the others.
            shifts => shifts.iter().map(|shift| shift[1]).sum::<f64>() / shifts.len() as f64,
        };
        let also = self.server.also.iter().map(|it| it.limit_share);
        let narrowest = also.fold(self.server.limit_share, f64::min);
        rate * share * narrowest
    }

    pub(crate) fn run(&self, rate: f64, seed: u64) -> Result {
        let job = self.job(rate, seed);
        let mut paces = [LearningPace::new(self.concurrency, moment(job.begins))];
        let cold = run(&mut paces, &mut self.server(rate, seed), &job);
        let pace = paces[0].clone();
        if self.earlier < 1.0 {
            let short = Settings {
                items: (self.earlier * job.items as f64).round() as u64,
                ..self.job(rate, seed)
            };
            paces = [LearningPace::new(self.concurrency, moment(job.begins))];
            run(&mut paces, &mut self.server(rate, seed), &short);
        }
        let memory: Memory = paces[0].memory();
        let mut again = [LearningPace::remembering(self.concurrency, &memory, moment(job.begins))];
        let warm = run(&mut again, &mut self.server(rate, seed), &job);
        Result { cold, warm, pace }
    }

    pub(crate) fn figures(&self, rate: f64, result: &Result) -> Figures {
        Figures::new(self, rate, &result.cold, &result.warm)
    }
}
