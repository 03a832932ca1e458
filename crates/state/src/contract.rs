//! What every engine promises, one case a promise. Each case starts from a fresh store of
//! [`project`]; [`contract!`](crate::contract!) makes a test of each.
//!
//! A broken promise panics.
#![expect(clippy::unwrap_used, reason = "a broken promise panics")]

pub mod batches;
pub mod cells;
pub mod looks;
pub mod money;
pub mod paces;
pub mod projects;

use crate::rows::{Batch, CellRow, Evidence, NewProject, Reserve};
use jiff::{SignedDuration, Timestamp, civil::Date};
use model::{
    AttemptId, Budget, CellState, Digest, Entity, Money, Outcome, Period, SourceId, SourceVersion,
    Validators,
};

/// Makes a module of tests, one a promise, for an engine. The expression gives a fresh store of
/// [`project`] and whatever must live as long as it.
#[macro_export]
macro_rules! contract {
    ($engine:ident, $open:expr) => {
        $crate::contract!(@cases $engine, $open,
            projects: [
                a_fresh_store_is_empty_and_counts_from_one
                sources_are_kept_by_name_and_the_last_row_wins
                a_definition_is_found_by_source_and_version
                wishes_are_numbered_and_finished_once
                an_unknown_wish_cannot_be_finished
                the_generation_grows_when_a_wish_or_a_source_changed_and_only_then
                rebuilt_state_enters_an_empty_store
                rebuilt_state_does_not_enter_a_store_in_use
            ]
            cells: [
                every_state_and_field_comes_back_as_it_went
                cells_come_by_period_and_entity
                new_cells_among_known_ones_are_counted_once
                the_last_of_the_same_cell_wins
                the_same_entity_of_two_sources_is_two_cells
                counts_follow_every_change_of_state
                periods_are_summed_up_for_one_source
                cells_are_found_by_each_part_of_the_filter
                the_limit_keeps_the_first_cells_of_the_order
                a_waiting_cell_repeats_its_state_in_its_fields
                how_late_a_cell_is_is_told_as_of_a_time
                hostile_names_are_data
            ]
            money: [
                attempts_are_numbered_without_gaps_from_one
                a_budget_grants_the_affordable_prefix_and_no_more
                the_narrower_budget_is_named
                the_project_budget_counts_all_sources
                a_budget_belongs_to_a_day_in_utc
                free_requests_need_no_budget
                nothing_is_granted_of_nothing
                released_attempts_give_their_money_back_once
                money_goes_back_to_the_day_it_was_reserved_on
                open_attempts_name_their_cells_and_price
                settled_attempts_stay_paid
                spend_is_listed_by_day_and_source
                a_months_budget_counts_its_days
                a_periods_budget_counts_its_cells_whatever_the_day
                a_refund_goes_back_to_day_month_and_period
            ]
            looks: [
                looks_are_settled_with_their_batch
                looks_that_are_over_are_forgotten
                schedules_are_kept_by_source_and_the_last_row_wins
            ]
            batches: [
                a_batch_is_kept_until_it_is_settled
                a_stale_batch_is_refused_and_changes_nothing
                announcing_changes_no_cell
                settling_applies_cells_closes_attempts_and_advances_observed_at
                settling_twice_is_settling_once
                a_batch_that_was_never_announced_cannot_be_settled
                observed_at_never_goes_back
                batches_may_be_empty
                two_announced_batches_settle_apart
            ]
            paces: [
                paces_are_kept_by_scope_and_the_last_row_wins
                a_newcomer_waits_for_the_others_to_shrink
                who_leaves_or_expires_is_replaced_at_the_next_renewal
                four_holders_come_to_a_quarter_each
                scopes_are_shared_apart_and_answered_in_order
                a_clock_that_steps_back_grants_nothing_twice
                the_ends_of_time_are_times
            ]
        );
    };
    (@cases $engine:ident, $open:expr, $($topic:ident: [$($case:ident)+])+) => {
        mod $engine {
            $($(
                #[tokio::test]
                async fn $case() {
                    let (store, _alive) = $open;
                    $crate::contract::$topic::$case(&store).await;
                }
            )+)+
        }
    };
}

/// The project of every fresh store.
pub fn project() -> NewProject {
    NewProject { project_id: "prj_contract".to_owned(), created_at: at(0) }
}

/// A time, in seconds since noon of 19 November 2026 in UTC.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::constant(1_795_089_600, 123_456_789) + SignedDuration::from_secs(seconds)
}

pub fn source(name: &str) -> SourceId {
    SourceId::parse(name).unwrap()
}

pub fn entity(name: &str) -> Entity {
    Entity::parse(name).unwrap()
}

pub fn period(text: &str) -> Period {
    Period::parse(text).unwrap()
}

pub fn date(text: &str) -> Date {
    text.parse().unwrap()
}

pub fn units(units: i64) -> Money {
    Money { micros: units * 1_000_000 }
}

pub fn attempts(numbers: impl IntoIterator<Item = i64>) -> Vec<AttemptId> {
    numbers.into_iter().map(AttemptId).collect()
}

/// A row in a state, with little else.
pub fn row(name: &str, period_text: &str, state: CellState) -> CellRow {
    CellRow {
        entity: entity(name),
        period: period(period_text),
        state,
        outcome: Some(Outcome::Ok),
        looks: 1,
        failures: 0,
        complete_since_due: true,
        records: 1,
        quarantined: 0,
        observed_at: Some(at(5)),
        next_look_at: None,
        last_attempt: AttemptId(1),
        evidence: None,
        records_hash: None,
        updated_at: at(6),
        late_from: None,
    }
}

pub fn evidence() -> Evidence {
    Evidence {
        validators: Validators {
            etag: Some("W/\"abc\"".to_owned()),
            last_modified: Some("Thu, 19 Nov 2026 21:00:00 GMT".to_owned()),
        },
        request_hash: u64::MAX - 1,
        source_version: SourceVersion("0123456789abcdef".into()),
        digest: Digest([7; 32]),
        archive: "eod/2026-11-19/000001.warc.gz#1234".to_owned(),
    }
}

/// A batch of one source's cells.
pub fn batch(number: i64, name: &str, rows: Vec<CellRow>) -> Batch {
    Batch {
        number,
        announced_at: at(10),
        observed_at_max: None,
        commits: vec![1, 2, 3],
        cells: rows.into_iter().map(|row| (source(name), row)).collect(),
        attempts: Vec::new(),
        looks: Vec::new(),
        looks_over: Vec::new(),
        refunds: Vec::new(),
    }
}

/// The bytes that an engine keeps of an announced batch.
pub fn announcement(batch: &Batch) -> Vec<u8> {
    crate::wire::encode_batch(batch, Vec::new()).unwrap()
}

/// Announces and settles rows of a source, as the next batch.
pub async fn settle(store: &dyn crate::StateStore, name: &str, rows: Vec<CellRow>) {
    let number = store.project().await.unwrap().next_batch;
    store.announce(batch(number, name, rows)).await.unwrap();
    store.settle(number).await.unwrap();
}

/// A request for so many cells of one day at one unit each, without limits.
pub fn request(name: &str, cells: usize) -> Reserve {
    Reserve {
        source: source(name),
        cells: (0..cells)
            .map(|index| (entity(&format!("E{index}")), period("2026-11-19")))
            .collect(),
        cost_each: units(1),
        at: at(0),
        source_budget: Budget::default(),
        project_budget: Budget::default(),
    }
}
