//! Plays scenarios: `sim SCENARIO --seed N`, or `--seeds A..B`; `--trace` prints the events, `--data`
//! names the folder of real histories.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for people")]

use sim::runner::{Play, PlayError, Played};
use std::{ops::RangeInclusive, path::PathBuf, process::ExitCode, time::Duration};
use tokio::time::Instant;

const USAGE: &str =
    "usage: sim SCENARIO [--seed N | --seeds A..B] [--kills N] [--trace] [--data DIR]

Plays crates/sim/scenarios/SCENARIO.toml with one seed (default: 1) or with each from A to B, and
checks every invariant at every event. Exits with 1 at the first that does not hold. DIR has the
histories of arrivals that some scenarios play.";

struct Wanted {
    scenario: String,
    seeds: RangeInclusive<u64>,
    kills: Option<u32>,
    trace: bool,
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    for seed in wanted.seeds {
        let mut play = Play::new(&wanted.scenario, seed);
        (play.kills, play.trace) = (wanted.kills, wanted.trace);
        if let Some(folder) = &wanted.data {
            play.histories.clone_from(folder);
        }
        let began = Instant::now();
        match play.run() {
            Ok(played) => print(&play, &played, began.elapsed()),
            Err(error) => {
                if let PlayError::Broken { trace, .. } = &error {
                    trace.iter().for_each(|line| println!("{line}"));
                }
                eprintln!("{error}");
                return ExitCode::from(if matches!(error, PlayError::Broken { .. }) {
                    1
                } else {
                    2
                });
            }
        }
    }
    ExitCode::SUCCESS
}

fn print(play: &Play, played: &Played, took: Duration) {
    played.trace.iter().for_each(|line| println!("{line}"));
    let report = &played.report;
    println!(
        "{} seed {}: trace {:016x}, {} requests for {} cells in {} batches, {} kills, {:.1} days in {:.2} s",
        play.name,
        play.seed,
        played.trace_hash,
        report.requests,
        report.due,
        report.batches,
        report.kills,
        report.finished_after.as_secs_f64() / 86_400.0,
        took.as_secs_f64()
    );
    println!("  cells {:?}\n  answers {:?}", report.states, report.outcomes);
    for (source, (bill, share)) in &report.bills {
        println!(
            "  {source}: {} cells whose time is over, {} came; {} looks and {:.0} min of delay an arrival; \
             at most {} a day and {} a month; \
             a poll every 30 min: {} looks and {:.0} min; its cost {:.1} times ours",
            bill.cells,
            bill.came,
            bill.looks,
            bill.delay.as_secs_f64() / 60.0 / bill.came.max(1) as f64,
            bill.day_most,
            bill.month_most,
            bill.cron_looks,
            bill.cron_delay.as_secs_f64() / 60.0 / bill.came.max(1) as f64,
            1.0 / share,
        );
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<Wanted> {
    let mut wanted =
        Wanted { scenario: String::new(), seeds: 1..=1, kills: None, trace: false, data: None };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => {
                let seed = arguments.next()?.parse().ok()?;
                wanted.seeds = seed..=seed;
            }
            "--seeds" => {
                let range = arguments.next()?;
                let (first, last) = range.split_once("..")?;
                wanted.seeds = first.parse().ok()?..=last.parse().ok()?;
            }
            "--kills" => wanted.kills = Some(arguments.next()?.parse().ok()?),
            "--trace" => wanted.trace = true,
            "--data" => wanted.data = Some(arguments.next()?.into()),
            name if wanted.scenario.is_empty() && !name.starts_with('-') => {
                name.clone_into(&mut wanted.scenario);
            }
            _ => return None,
        }
    }
    (!wanted.scenario.is_empty()).then_some(wanted)
}
