//! The learning controller on simulated servers, one scenario file each.
//!
//! `cargo test -p pace --test worlds -- --nocapture table` prints how it does on all of them;
//! `TIDEWATCH_SEEDS`, `TIDEWATCH_SCENARIO` (parts of names, between semicolons) and `TIDEWATCH_RATES` say on
//! which, and how often.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod client;
mod figures;
mod scenario;
mod server;

use client::{Settings, run};
use env::Moment;
use figures::{Figures, Spread, verdict};
use jiff::Timestamp;
use pace::LearningPace;
use scenario::{Scenario, asked, scenarios};
use std::{thread, time::Duration};

fn moment(time: f64) -> Moment {
    Moment {
        monotonic: Duration::from_secs_f64(time),
        wall: Timestamp::from_second(1_767_225_600).unwrap(),
    }
}

const CONCURRENCY: u32 = 256;

/// Seeds of each scenario at each rate: `TIDEWATCH_SEEDS`, else a few.
fn seeds(few: u64) -> u64 {
    asked("SEEDS").map_or(few, |seeds| seeds.parse().unwrap())
}

/// The first of them: `TIDEWATCH_SEED`.
fn first_seed() -> u64 {
    asked("SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// On all processors: every one of them has its own seeds.
fn figures(scenario: &Scenario, rate: f64, seeds: u64) -> Vec<Figures> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<u64> = (first_seed()..first_seed() + seeds).collect();
    let some = |seeds: &[u64]| -> Vec<Figures> {
        seeds.iter().map(|seed| scenario.figures(rate, &scenario.run(rate, *seed))).collect()
    };
    thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        running.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// `TIDEWATCH_SCENARIO=moving TIDEWATCH_RATES=50 cargo test -p pace --test worlds -- --nocapture
/// story` tells what a controller decided; `TIDEWATCH_WARM=1`: with memory,
/// `TIDEWATCH_SEED=7`: of another seed than the first.
#[test]
fn story() {
    for scenario in scenarios().into_iter().filter(|_| asked("SCENARIO").is_some()) {
        let rate = if asked("RATES").is_some() { scenario.rates[0] } else { 50.0 };
        println!("{} at {rate}/s", scenario.name);
        let result = scenario.run(rate, first_seed());
        let told = if asked("WARM").is_some() { &result.warm } else { &result.cold };
        for (at, kind, rate, concurrency, why) in &told.decisions {
            println!("{at:7.3} s  {kind:?}, {rate:.1}/s, {concurrency} under way: {why}");
        }
        println!("{}", Spread(&[scenario.figures(rate, &result)]));
    }
}

/// `TIDEWATCH_SEEDS=1000`: median, nine in ten and worst of so many.
#[test]
fn table() {
    for scenario in scenarios() {
        for &rate in &scenario.rates {
            let figures = figures(&scenario, rate, seeds(1));
            let verdict = verdict(&scenario, &figures).join(", ");
            println!("{:26} {rate:5}/s  {}  {verdict}", scenario.name, Spread(&figures));
        }
    }
}

#[test]
fn every_scenario_is_within_what_its_file_accepts() {
    let mut bad = Vec::new();
    for scenario in scenarios() {
        for &rate in &scenario.rates {
            for found in verdict(&scenario, &figures(&scenario, rate, seeds(3))) {
                bad.push(format!("{} at {rate}/s: {found}", scenario.name));
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
        let score = run(&mut paces, &mut scenario.server(50.0, 5), &job);
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
            let mut server = scenario.server(rate, 1);
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
        let job = Settings { known, ..scenario.job(rate, 1) };
        let mut paces = [LearningPace::new(CONCURRENCY, moment(job.begins))];
        let mut server = scenario.server(rate, 1);
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
