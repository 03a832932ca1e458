//! Money: reserved before anything is sent.

use super::{at, attempts, batch, date, entity, period, request, source, units};
use crate::{
    StateStore,
    rows::{Batch, BudgetScope, Granted, OpenAttempt, Reserve, SpendRow},
};
use jiff::SignedDuration;
use model::{AttemptId, Budget, Money};

fn granted(first: i64, granted: usize, exhausted: Option<BudgetScope>) -> Granted {
    Granted { first: AttemptId(first), granted, exhausted }
}

fn limited(name: &str, cells: usize, source: Option<i64>, project: Option<i64>) -> Reserve {
    Reserve {
        source_budget: Budget { per_day: source.map(units), ..Budget::default() },
        project_budget: Budget { per_day: project.map(units), ..Budget::default() },
        ..request(name, cells)
    }
}

async fn spent(store: &dyn StateStore) -> Vec<(String, u64, Money)> {
    let spend = store.spend(None).await.unwrap();
    spend
        .into_iter()
        .map(|row| (format!("{} {}", row.day, row.source), row.requests, row.spent))
        .collect()
}

pub async fn attempts_are_numbered_without_gaps_from_one(store: &dyn StateStore) {
    assert_eq!(store.reserve(&request("eod", 3)).await.unwrap(), granted(1, 3, None));
    assert_eq!(store.reserve(&request("nav", 2)).await.unwrap(), granted(4, 2, None));
    // Numbers are never used again.
    store.release(&attempts(1..=5)).await.unwrap();
    assert_eq!(store.reserve(&request("eod", 1)).await.unwrap(), granted(6, 1, None));
    assert_eq!(store.project().await.unwrap().next_attempt, 7);
}

pub async fn a_budget_grants_the_affordable_prefix_and_no_more(store: &dyn StateStore) {
    let source_scope = Some(BudgetScope::Source);
    let found = store.reserve(&limited("eod", 3, Some(5), None)).await.unwrap();
    assert_eq!(found, granted(1, 3, None));
    let found = store.reserve(&limited("eod", 3, Some(5), None)).await.unwrap();
    assert_eq!(found, granted(4, 2, source_scope));
    let found = store.reserve(&limited("eod", 3, Some(5), None)).await.unwrap();
    assert_eq!(found, granted(6, 0, source_scope));
    // A budget that was lowered below what is spent grants nothing.
    let found = store.reserve(&limited("eod", 3, Some(1), None)).await.unwrap();
    assert_eq!(found, granted(6, 0, source_scope));
    let open = store.open_attempts().await.unwrap();
    let names: Vec<&str> = open.iter().map(|attempt| attempt.entity.as_str()).collect();
    assert_eq!(names, ["E0", "E1", "E2", "E0", "E1"]);
    assert_eq!(spent(store).await, [("2026-11-19 eod".to_owned(), 5, units(5))]);
    // A fraction of a price buys nothing.
    let dear = Reserve {
        cost_each: Money { micros: 400_001 },
        source_budget: Budget { per_day: Some(units(1)), ..Budget::default() },
        ..request("dear", 9)
    };
    assert_eq!(store.reserve(&dear).await.unwrap(), granted(6, 2, source_scope));
}

pub async fn the_narrower_budget_is_named(store: &dyn StateStore) {
    let found = store.reserve(&limited("eod", 9, Some(4), Some(3))).await.unwrap();
    assert_eq!(found, granted(1, 3, Some(BudgetScope::Project)));
    let found = store.reserve(&limited("nav", 9, Some(1), Some(6))).await.unwrap();
    assert_eq!(found, granted(4, 1, Some(BudgetScope::Source)));
    let found = store.reserve(&limited("nav", 9, Some(3), Some(6))).await.unwrap();
    assert_eq!(found, granted(5, 2, Some(BudgetScope::Source)), "both have two left");
}

pub async fn the_project_budget_counts_all_sources(store: &dyn StateStore) {
    store.reserve(&request("eod", 3)).await.unwrap();
    store.reserve(&request("nav", 4)).await.unwrap();
    let found = store.reserve(&limited("new", 9, Some(9), Some(10))).await.unwrap();
    assert_eq!(found, granted(8, 3, Some(BudgetScope::Project)));
}

pub async fn a_budget_belongs_to_a_day_in_utc(store: &dyn StateStore) {
    let on = |text: &str| Reserve { at: text.parse().unwrap(), ..limited("eod", 2, Some(1), None) };
    let last_moment = on("2026-11-19T23:59:59.999999999Z");
    assert_eq!(store.reserve(&last_moment).await.unwrap().granted, 1);
    assert_eq!(store.reserve(&last_moment).await.unwrap().granted, 0);
    assert_eq!(store.reserve(&on("2026-11-20T00:00:00Z")).await.unwrap().granted, 1);
    assert_eq!(
        spent(store).await,
        [("2026-11-19 eod".to_owned(), 1, units(1)), ("2026-11-20 eod".to_owned(), 1, units(1)),]
    );
}

pub async fn free_requests_need_no_budget(store: &dyn StateStore) {
    let free = Reserve { cost_each: Money::ZERO, ..limited("eod", 4, Some(0), Some(0)) };
    assert_eq!(store.reserve(&free).await.unwrap(), granted(1, 4, None));
    assert_eq!(spent(store).await, [("2026-11-19 eod".to_owned(), 4, Money::ZERO)]);
    // A negative price does not refill a budget.
    let negative = Reserve { cost_each: Money { micros: -5 }, ..free };
    assert_eq!(store.reserve(&negative).await.unwrap(), granted(5, 4, None));
    assert_eq!(spent(store).await, [("2026-11-19 eod".to_owned(), 8, Money::ZERO)]);
}

pub async fn nothing_is_granted_of_nothing(store: &dyn StateStore) {
    let found = store.reserve(&limited("eod", 0, Some(0), Some(0))).await.unwrap();
    assert_eq!(found, granted(1, 0, None));
    assert_eq!(store.open_attempts().await.unwrap(), []);
    assert_eq!(spent(store).await, []);
    assert_eq!(store.project().await.unwrap().next_attempt, 1);
}

pub async fn released_attempts_give_their_money_back_once(store: &dyn StateStore) {
    store.reserve(&request("eod", 10)).await.unwrap();
    store.reserve(&request("nav", 10)).await.unwrap();
    let release = attempts([9, 2, 12, 2, 400, -1, 0, 10, 11]);
    for _ in 0..2 {
        store.release(&release).await.unwrap();
        assert_eq!(
            spent(store).await,
            [
                ("2026-11-19 eod".to_owned(), 7, units(7)),
                ("2026-11-19 nav".to_owned(), 8, units(8)),
            ]
        );
    }
    let open: Vec<i64> =
        store.open_attempts().await.unwrap().iter().map(|open| open.attempt.0).collect();
    assert_eq!(open, [1, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18, 19, 20]);
    // What came back can be spent.
    let found = store.reserve(&limited("eod", 9, Some(10), None)).await.unwrap();
    assert_eq!(found.granted, 3);
    store.release(&attempts(1..100)).await.unwrap();
    assert_eq!(spent(store).await, []);
    assert_eq!(store.open_attempts().await.unwrap(), []);
}

pub async fn money_goes_back_to_the_day_it_was_reserved_on(store: &dyn StateStore) {
    let tomorrow = at(0) + SignedDuration::from_hours(24);
    store.reserve(&request("eod", 2)).await.unwrap();
    store.reserve(&Reserve { at: tomorrow, ..request("eod", 2) }).await.unwrap();
    store.release(&attempts([1])).await.unwrap();
    assert_eq!(
        spent(store).await,
        [("2026-11-19 eod".to_owned(), 1, units(1)), ("2026-11-20 eod".to_owned(), 2, units(2)),]
    );
}

pub async fn open_attempts_name_their_cells_and_price(store: &dyn StateStore) {
    let cells = vec![
        (entity("caf\u{e9} \u{1f980}"), period("once")),
        (entity("B"), period("2026-W47")),
        (entity("A"), period("2026-11-19T19:00Z")),
    ];
    let wanted = Reserve { cells, cost_each: Money { micros: 17 }, ..request("eod", 0) };
    store.reserve(&wanted).await.unwrap();
    store.release(&attempts([2])).await.unwrap();
    let open = |attempt, name, text| OpenAttempt {
        attempt: AttemptId(attempt),
        source: source("eod"),
        entity: entity(name),
        period: period(text),
        cost: Money { micros: 17 },
        reserved_at: at(0),
    };
    let expected = [open(1, "caf\u{e9} \u{1f980}", "once"), open(3, "A", "2026-11-19T19:00Z")];
    assert_eq!(store.open_attempts().await.unwrap(), expected);
}

pub async fn settled_attempts_stay_paid(store: &dyn StateStore) {
    store.reserve(&request("eod", 4)).await.unwrap();
    let closing = Batch { attempts: attempts([1, 2, 77]), ..batch(1, "eod", Vec::new()) };
    store.announce(closing.clone()).await.unwrap();
    assert_eq!(store.open_attempts().await.unwrap().len(), 4, "announcing closes nothing");
    store.settle(1).await.unwrap();
    store.release(&attempts([1, 2, 3])).await.unwrap();
    assert_eq!(spent(store).await, [("2026-11-19 eod".to_owned(), 3, units(3))]);
    let open = store.open_attempts().await.unwrap();
    assert_eq!(open.iter().map(|open| open.attempt.0).collect::<Vec<_>>(), [4]);
}

pub async fn spend_is_listed_by_day_and_source(store: &dyn StateStore) {
    let hours = |hours| at(0) + SignedDuration::from_hours(hours);
    for (name, when) in [("nav", 24), ("eod", 24), ("nav", 0), ("eod", -24)] {
        store.reserve(&Reserve { at: hours(when), ..request(name, 1) }).await.unwrap();
    }
    let day =
        |name, day| SpendRow { source: source(name), day: date(day), requests: 1, spent: units(1) };
    let all = [
        day("eod", "2026-11-18"),
        day("nav", "2026-11-19"),
        day("eod", "2026-11-20"),
        day("nav", "2026-11-20"),
    ];
    assert_eq!(store.spend(None).await.unwrap(), all);
    assert_eq!(store.spend(Some(date("2026-11-19"))).await.unwrap(), all[1..]);
    assert_eq!(store.spend(Some(date("2026-11-21"))).await.unwrap(), []);
}

pub async fn a_months_budget_counts_its_days(store: &dyn StateStore) {
    let month = |source: Option<i64>| Budget { per_month: source.map(units), ..Budget::default() };
    let on = |text: &str, name: &str, source, project| Reserve {
        at: text.parse().unwrap(),
        source_budget: month(source),
        project_budget: month(project),
        ..request(name, 3)
    };
    let wish = on("2026-11-29T23:00:00Z", "eod", Some(5), None);
    assert_eq!(store.reserve(&wish).await.unwrap(), granted(1, 3, None));
    let wish = on("2026-11-30T01:00:00Z", "eod", Some(5), None);
    let scope = Some(BudgetScope::SourceMonth);
    assert_eq!(store.reserve(&wish).await.unwrap(), granted(4, 2, scope));
    let wish = on("2026-11-30T02:00:00Z", "nav", None, Some(7));
    let scope = Some(BudgetScope::ProjectMonth);
    assert_eq!(store.reserve(&wish).await.unwrap(), granted(6, 2, scope));
    let wish = on("2026-12-01T00:00:00Z", "eod", Some(5), Some(7));
    assert_eq!(store.reserve(&wish).await.unwrap(), granted(8, 3, None), "a new month");
}

pub async fn a_periods_budget_counts_its_cells_whatever_the_day(store: &dyn StateStore) {
    let wish = |day: &str, cells: &[(&str, &str)]| Reserve {
        at: day.parse().unwrap(),
        cells: cells.iter().map(|(name, text)| (entity(name), period(text))).collect(),
        source_budget: Budget { per_period: Some(units(3)), ..Budget::default() },
        ..request("eod", 0)
    };
    let (first, second) = ("2026-11-19", "2026-11-20");
    let mixed = [("A", first), ("A", second), ("B", first)];
    let found = store.reserve(&wish("2026-11-20T10:00:00Z", &mixed)).await.unwrap();
    assert_eq!(found, granted(1, 3, None));
    let more = [("C", first), ("D", first), ("B", second)];
    let found = store.reserve(&wish("2026-11-21T10:00:00Z", &more)).await.unwrap();
    assert_eq!(found, granted(4, 1, Some(BudgetScope::Period)), "the cells before the first over");
    let found = store.reserve(&wish("2026-12-21T10:00:00Z", &more[2..])).await.unwrap();
    assert_eq!(found, granted(5, 1, None), "another period has a budget of its own");
    // What was never sent costs no period anything.
    store.release(&attempts([3, 4])).await.unwrap();
    let found = store.reserve(&wish("2026-11-22T10:00:00Z", &more[..2])).await.unwrap();
    assert_eq!(found, granted(6, 2, None));
}

pub async fn a_refund_goes_back_to_day_month_and_period(store: &dyn StateStore) {
    let budget =
        Budget { per_period: Some(units(4)), per_day: Some(units(4)), per_month: Some(units(4)) };
    let wish =
        |cells| Reserve { source_budget: budget, cost_each: units(2), ..request("eod", cells) };
    assert_eq!(store.reserve(&wish(2)).await.unwrap(), granted(1, 2, None));
    let refunds =
        vec![(AttemptId(1), units(1)), (AttemptId(2), units(9)), (AttemptId(77), units(9))];
    let batch = Batch { attempts: attempts([1, 2]), refunds, ..batch(1, "eod", Vec::new()) };
    store.announce(batch.clone()).await.unwrap();
    store.settle(1).await.unwrap();
    assert_eq!(spent(store).await, [("2026-11-19 eod".to_owned(), 2, units(1))]);
    let scope = Some(BudgetScope::Source);
    assert_eq!(store.reserve(&wish(2)).await.unwrap(), granted(3, 1, scope));
}
