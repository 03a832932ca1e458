//! Each checker is seen to fail: on a history with one thing in it that may not be.

use jiff::{SignedDuration, Timestamp, civil::date};
use model::{
    AttemptId, Budget, Cause, CellKey, CellState, Entity, Money, Outcome, Period, SourceId,
};
use sim::{
    check::{
        Attempts, Bill, Budgets, Checked, DataRow, Expected, Found, Looks, Over, PaceBound, Rows,
        Spent, judge_cell,
    },
    history::Frame,
    server::Kind,
    world::{Record, Truth, Version},
};
use source::LimitSpec;
use state::SpendRow;
use std::{collections::BTreeMap, time::Duration};

fn source() -> SourceId {
    SourceId::parse("eod").unwrap()
}

fn cell(entity: &str) -> CellKey {
    CellKey {
        source: source(),
        entity: Entity::parse(entity).unwrap(),
        period: Period::Day(date(2026, 3, 2)),
    }
}

fn hour(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn says<T: std::fmt::Debug>(result: Result<T, sim::check::Violation>, check: &str) {
    assert_eq!(result.unwrap_err().check, check);
}

fn row(number: i64, close_micros: i128, at: i64) -> DataRow {
    DataRow {
        entity: "E000".to_owned(),
        period: "2026-03-02".to_owned(),
        number,
        close_micros: Some(close_micros),
        tombstone: false,
        observed_at: at,
        attempt: at,
        digest: "sha256:0".to_owned(),
        record_id: format!("{number}-{at}"),
    }
}

fn gone(number: i64, at: i64) -> DataRow {
    DataRow { close_micros: None, tombstone: true, ..row(number, 0, at) }
}

/// The last row of a history is judged; those before it must be good.
fn history(rows: &[DataRow]) -> Checked {
    let mut table = Rows::default();
    let (last, before) = rows.split_last().unwrap();
    for row in before {
        table.push(row).unwrap();
        table.end_batch();
    }
    table.push(last)
}

#[test]
fn a_good_history_of_rows_passes() {
    let rows = [row(0, 5, 1), row(1, 6, 1), row(0, 7, 2), gone(1, 3), row(1, 6, 4)];
    history(&rows).unwrap();
}

#[test]
fn a_record_that_is_written_twice_is_noticed() {
    says(history(&[row(0, 5, 1), row(0, 5, 2)]), "no record twice");
    says(history(&[row(0, 5, 1), row(0, 5, 1)]), "record ids are unique");
}

#[test]
fn rows_that_run_backwards_are_noticed() {
    says(history(&[row(0, 5, 2), row(1, 5, 1)]), "observed_at never runs backwards");
    let same = DataRow { record_id: "other".to_owned(), ..row(0, 6, 2) };
    says(history(&[row(0, 5, 2), same]), "latest is the last written");
}

#[test]
fn tombstones_of_nothing_and_rows_without_values_are_noticed() {
    says(history(&[gone(0, 1)]), "tombstones take away");
    says(history(&[row(0, 5, 1), gone(0, 2), gone(0, 3)]), "tombstones take away");
    let empty = DataRow { close_micros: None, ..row(0, 0, 1) };
    says(history(&[empty]), "records have their values");
}

#[test]
fn a_table_that_differs_from_the_truth_is_noticed() {
    let mut table = Rows::default();
    table.push(&row(0, 5_000_001, 1)).unwrap();
    let record = |close_micros| Record { number: 0, close_micros };
    table.equals("E000", "2026-03-02", &[record(5_000_001)]).unwrap();
    for truth in
        [&[record(5_000_000)][..], &[], &[record(5_000_001), Record { number: 1, close_micros: 2 }]]
    {
        says(table.equals("E000", "2026-03-02", truth), "the table equals the truth");
    }
    says(table.equals("E001", "2026-03-02", &[record(1)]), "the table equals the truth");
}

#[test]
fn attempts_that_are_not_unique_are_noticed() {
    let mut attempts = Attempts::default();
    attempts.begin(7);
    attempts.sent(AttemptId(1)).unwrap();
    attempts.sent(AttemptId(2)).unwrap();
    assert_eq!(attempts.ended(AttemptId(2)).unwrap(), 8);
    says(attempts.sent(AttemptId(1)), "attempts are unique");
    says(attempts.ended(AttemptId(2)), "attempts end once");
    says(attempts.ended(AttemptId(3)), "attempts end once");
    attempts.booked(AttemptId(2)).unwrap();
    says(attempts.booked(AttemptId(2)), "attempts are unique");
    says(attempts.finish(), "every attempt is in the ledger");
}

#[test]
fn a_rate_that_is_exceeded_over_any_window_is_noticed() {
    let limit = LimitSpec {
        rate_per_second: Some(2.0),
        burst: 3,
        concurrency: 4,
        crawl_delay: None,
        scope: None,
        learn: true,
        prefer_open_hours: false,
    };
    let arrive = |times_ms: &[u64]| {
        let mut bound = PaceBound::new(limit.clone());
        times_ms.iter().try_for_each(|at| bound.arrive(Duration::from_millis(*at), 1))
    };
    arrive(&[0, 0, 0, 500, 1000, 1500]).unwrap();
    arrive(&[0, 500, 1000, 60_000, 60_000, 60_000, 60_500]).unwrap();
    says(arrive(&[0, 0, 0, 0]), "the rate is kept");
    says(arrive(&[0, 0, 0, 499]), "the rate is kept");
    says(arrive(&[0, 60_000, 60_000, 60_000, 60_400]), "the rate is kept");
    let mut bound = PaceBound::new(limit.clone());
    says(bound.arrive(Duration::ZERO, 5), "concurrency is kept");
    bound.refused(Duration::from_secs(1), Duration::from_secs(10));
    says(bound.sent(Duration::from_secs(10)), "retry-after is kept");
    bound.sent(Duration::from_secs(11)).unwrap();
}

#[test]
fn a_forgotten_cell_is_noticed() {
    let mut looks = Looks::new(SignedDuration::from_hours(2));
    looks.want(cell("E000"), hour(1));
    looks.want(cell("E001"), hour(5));
    looks.check(hour(3)).unwrap();
    says(looks.check(hour(4)), "every cell is accounted");
    looks.drop_wish(&cell("E000"));
    looks.check(hour(7)).unwrap();
    says(looks.check(hour(8)), "every cell is accounted");
    looks.excuse(hour(8));
    looks.check(hour(10)).unwrap();
    says(looks.check(hour(11)), "every cell is accounted");
}

#[test]
fn an_exceeded_budget_and_books_that_do_not_add_up_are_noticed() {
    let money = |units| Money::from_units(units).unwrap();
    let day = date(2026, 3, 2);
    let spend = |spent| vec![SpendRow { source: source(), day, requests: 2, spent: money(spent) }];
    let day_of = |units| Budget { per_day: Some(money(units)), ..Budget::default() };
    let budgets = Budgets {
        sources: BTreeMap::from([(source(), day_of(2.0))]),
        project: day_of(3.0),
        periods: BTreeMap::new(),
    };
    budgets.check(&spend(2.0)).unwrap();
    says(budgets.check(&spend(2.01)), "budgets are kept");
    let mut project = Budgets { sources: BTreeMap::new(), ..budgets };
    project.check(&spend(3.0)).unwrap();
    says(project.check(&spend(3.01)), "budgets are kept");
    let other = SpendRow { day: day.tomorrow().unwrap(), ..spend(2.0).remove(0) };
    let days = [spend(2.0).remove(0), other];
    project.check(&days).unwrap();
    project.project.per_month = Some(money(3.9));
    says(project.check(&days), "budgets are kept");
    let period = Budget { per_period: Some(money(1.0)), ..Budget::default() };
    project.sources.insert(source(), period);
    project.booked(&cell("E000"), money(1.0)).unwrap();
    says(project.booked(&cell("E001"), money(0.1)), "budgets are kept");

    let mut spent = Spent::default();
    spent.book(day, source(), money(0.5));
    spent.book(day, source(), money(0.5));
    spent.equals(&spend(1.0)).unwrap();
    says(spent.equals(&spend(1.1)), "spend is the sum of the ledger");
    says(spent.equals(&[]), "spend is the sum of the ledger");
    spent.book(day.tomorrow().unwrap(), source(), money(0.1));
    says(spent.equals(&spend(1.0)), "spend is the sum of the ledger");
}

#[test]
fn an_outcome_that_the_answer_does_not_permit_is_noticed() {
    for (kind, has_records, permitted) in [
        (Kind::Whole(Some(0)), true, Outcome::Ok),
        (Kind::Whole(None), false, Outcome::EmptyProven),
        (Kind::NotModified(Some(0)), true, Outcome::NotModified),
        (Kind::Truncated(Some(0), 0), false, Outcome::Partial),
        (Kind::RenamedField(Some(0)), true, Outcome::ParseError),
        (Kind::RenamedList(Some(0)), true, Outcome::EmptyUnproven),
        (Kind::NoBytes, false, Outcome::EmptyUnproven),
        (Kind::Refused, false, Outcome::RateLimited),
        (Kind::Failed(500), false, Outcome::SourceError),
        (Kind::BlockPage, false, Outcome::Blocked),
        (Kind::Unreachable, false, Outcome::TransportError),
        (Kind::Silent, false, Outcome::TransportError),
    ] {
        assert!(kind.permits(permitted, has_records), "{kind:?} {permitted}");
        for wrong in [Outcome::Ok, Outcome::EmptyProven, Outcome::Gone] {
            assert!(wrong == permitted || !kind.permits(wrong, has_records), "{kind:?} {wrong}");
        }
    }
}

#[test]
fn a_cell_that_ends_where_it_may_not_is_noticed() {
    let record = Record { number: 0, close_micros: 1 };
    let came =
        Truth { due_at: hour(0), versions: vec![Version { at: hour(1), records: vec![record] }] };
    let never = Truth { due_at: hour(0), versions: Vec::new() };
    let expected = Expected {
        end: hour(100),
        give_up_after: Some(SignedDuration::from_hours(10)),
        present_within: Some(SignedDuration::from_hours(5)),
        asked_within: Some(SignedDuration::from_hours(2)),
    };
    let judge = |truth: &Truth, state, has_records| {
        judge_cell(&cell("E000"), truth, Found { state, has_records }, &expected)
    };
    let absent = Some(CellState::Absent { cause: Cause::SourceGap });
    let waiting =
        Some(CellState::Waiting { next_look_at: hour(101), last_outcome: Outcome::EmptyProven });
    judge(&came, Some(CellState::Present), true).unwrap();
    judge(&never, absent, false).unwrap();
    for (truth, state, has_records) in [
        (&came, None, false),
        (&came, Some(CellState::Present), false),
        (&came, absent, true),
        (&came, absent, false),
        (&came, waiting, false),
        (&came, Some(CellState::Due), false),
        (&came, Some(CellState::Held), false),
        (&never, Some(CellState::Present), true),
        (&never, waiting, false),
    ] {
        says(judge(truth, state, has_records), "every cell is accounted");
    }
}

#[test]
fn what_came_in_time_must_be_fetched_once_and_the_rest_must_end() {
    let cell = cell("AAA");
    let data = (hour(30), Kind::Whole(Some(0)));
    let (absent, present) =
        (Some(CellState::Absent { cause: Cause::SourceGap }), Some(CellState::Present));
    let book = |came, asked: &[(Timestamp, Kind)], state| {
        let over = Over { cell: &cell, came, deadline: hour(48), state, asked };
        let frame = Frame {
            opens: SignedDuration::from_hours(24),
            deadline: SignedDuration::from_hours(48),
        };
        let mut bill = Bill::default();
        bill.book(&over, hour(0), Some(frame)).map(|()| bill)
    };
    let fetched = "what came in time is fetched once";
    says(book(Some(hour(29)), &[data, data], present), fetched);
    says(book(Some(hour(29)), &[], absent), fetched);
    says(book(Some(hour(29)), &[data], absent), fetched);
    let ended = "what did not come ends with a cause";
    says(book(None, &[data], present), ended);
    says(book(None, &[(hour(48), Kind::Whole(None))], None), ended);
    assert_eq!(book(Some(hour(50)), &[data], present).unwrap().came, 0, "met after its deadline");

    let bill = book(Some(hour(29)), &[(hour(26), Kind::Whole(None)), data], present).unwrap();
    assert_eq!((bill.cells, bill.came, bill.looks), (1, 1, 2));
    assert_eq!(bill.delay, SignedDuration::from_hours(1));
    // Every half an hour from 24:30 to the one that finds it, at 29:00.
    assert_eq!((bill.cron_looks, bill.cron_delay), (10, SignedDuration::ZERO));
    assert!((bill.of_cron(1.0, 2.0) - 4.0 / 10.0).abs() < 1e-9);
    let never = book(None, &[(hour(48), Kind::Whole(None))], absent).unwrap();
    assert_eq!((never.looks, never.cron_looks), (1, 48));
}
