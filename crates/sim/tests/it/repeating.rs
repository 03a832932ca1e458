//! The same seed is the same run; a killed run ends where an unkilled one does.

use sim::runner::{Play, Played};

fn play(scenario: &str, seed: u64, kills: Option<u32>) -> Played {
    let play = Play { kills, ..Play::new(scenario, seed) };
    play.run().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_same_seed_repeats_the_trace_and_another_does_not() {
    for scenario in ["kills", "clock-steps", "throttled"] {
        let first = play(scenario, 11, None);
        let again = play(scenario, 11, None);
        assert_eq!(first.trace_hash, again.trace_hash, "{scenario}");
        assert_eq!(first.live, again.live, "{scenario}");
        assert_eq!(first.report, again.report, "{scenario}");
        let other = play(scenario, 12, None);
        assert_ne!(first.trace_hash, other.trace_hash, "{scenario}");
        assert_ne!(first.live, other.live, "{scenario}");
    }
}

#[test]
fn killed_runs_end_in_the_same_tables_as_unkilled_ones() {
    for seed in 21..=22 {
        let calm = play("kills", seed, Some(0));
        assert_eq!(calm.report.kills, 0);
        for kills in [30, 200] {
            let killed = play("kills", seed, Some(kills));
            assert!(killed.report.kills > u64::from(kills) / 4, "{:?}", killed.report);
            let repeat = format!("cargo run -p sim -- kills --seed {seed} --kills {kills}");
            assert_eq!(calm.live, killed.live, "{repeat}");
            assert_eq!(calm.states, killed.states, "{repeat}");
        }
    }
}

#[test]
fn a_failure_prints_the_one_line_that_repeats_it() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/budget.toml"));
    let impossible = text.unwrap().replace("present = [0.1, 0.9]", "present = [2.0, 2.0]");
    let scenario = sim::scenario::Scenario::parse("budget", &impossible).unwrap();
    let error = sim::runner::play(&scenario, &Play::new("budget", 5)).unwrap_err().to_string();
    assert!(error.starts_with("the run is accepted: the share of `present`: "), "{error}");
    assert!(error.ends_with("repeat it: `cargo run -p sim -- budget --seed 5`"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
