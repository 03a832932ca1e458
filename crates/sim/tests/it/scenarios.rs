//! Each scenario with a fixed set of seeds: every invariant at every event, and what its file
//! accepts at the end. Those of real histories run where the data is: `TIDEWATCH_REAL_DATA` names its
//! folder, else it is `../shared/data` beside the workspace.

use sim::{
    runner::{Play, PlayError},
    scenario::ScenarioError,
};
use std::{ops::RangeInclusive, path::PathBuf};

#[expect(clippy::print_stderr, reason = "whoever reads the results must see what was not tested")]
fn holds(scenario: &str, seeds: RangeInclusive<u64>) {
    for seed in seeds {
        let mut play = Play::new(scenario, seed);
        if let Some(folder) = std::env::var_os("TIDEWATCH_REAL_DATA") {
            play.histories = PathBuf::from(folder).join("arrivals");
        }
        let played = play.run();
        if let Err(PlayError::Scenario(ScenarioError::History(error))) = &played
            && !play.histories.exists()
        {
            eprintln!("SKIPPED: {error}, or the data's by TIDEWATCH_REAL_DATA");
            return;
        }
        assert!(played.is_ok(), "{}", played.unwrap_err());
    }
}

/// The scenarios by their files, so that none is forgotten.
macro_rules! scenarios {
    ($($test:ident: $scenario:literal, $seeds:expr;)+) => {
        $(#[test] fn $test() { holds($scenario, $seeds); })+

        #[test]
        fn each_scenario_file_is_played() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut played = vec![$(concat!($scenario, ".toml").to_owned()),+];
            played.sort();
            assert_eq!(files, played);
        }
    };
}

scenarios! {
    a_calm_month_of_500_entities_is_complete: "calm-month", 1..=1;
    a_month_with_all_faults_at_once_ends_in_the_truth: "faults", 1..=1;
    a_server_that_refuses_is_asked_less_and_gives_everything: "throttled", 1..=2;
    a_crawl_delay_is_kept_whatever_the_server_would_take: "crawl-delay", 1..=2;
    an_outage_of_a_day_and_a_half_loses_nothing: "outage", 1..=2;
    a_renamed_field_is_never_an_empty_success: "renamed-field", 1..=2;
    corrections_and_withdrawals_are_found_by_revisits: "revisit-corrections", 1..=2;
    no_day_costs_more_than_its_budget: "budget", 1..=2;
    a_head_says_when_to_pay: "cheap-looks", 1..=2;
    arrivals_are_learned_by_looks_and_few_of_them: "learned-arrivals", 1..=2;
    sixty_real_days_of_countries_cost_a_fraction_of_a_poll: "history-eu-countries", 1..=2;
    sixty_real_days_of_volunteers_cost_a_fraction_of_a_poll: "history-za-covid", 1..=2;
    a_months_money_lasts_to_its_end: "history-za-covid-short", 9..=9;
    sixty_real_weeks_of_teams_cost_a_fraction_of_a_poll: "history-cdc-hub-weekly", 1..=2;
    sixty_real_days_of_funds_cost_a_fraction_of_a_poll: "history-in-nps-nav", 1..=1;
    heads_that_lie_lose_nothing: "lying-heads", 1..=2;
    a_page_speaks_for_all_entities: "ready-page", 1..=2;
    no_period_and_no_month_costs_more_than_its_budget: "look-budgets", 1..=2;
    kills_between_any_two_effects_lose_and_double_nothing: "kills", 1..=2;
    a_stepped_clock_loses_and_doubles_nothing: "clock-steps", 1..=2;
    a_paused_source_is_left_alone_and_resumed: "pause-resume", 1..=2;
    backfills_while_requests_are_under_way_lose_nothing: "backfill", 1..=2;
    backfill_waits_for_open_hours_and_nothing_else_does: "open-hours", 1..=1;
    slow_stores_keep_the_books_in_order: "slow-stores", 1..=2;
    once_and_again_is_as_complete: "once-mode", 1..=2;
    an_engine_that_ends_in_the_middle_leaves_nothing_open: "until", 1..=2;
}
