//! Publishers with habits, played in closed loop.

use plan::arrival::{
    Ingredients, Planner, Prices,
    features::CalendarDay,
    replay::{Budgets, Case, Costs, Spent, play_planner},
};

pub(crate) const PRICES: Prices = Prices { look: 1.0, delay_per_minute: 1.0 / 30.0 };

pub(crate) const COSTS: Costs = Costs {
    look: PRICES.look,
    delay_per_minute: PRICES.delay_per_minute,
    cheap_look: None,
    budget: Budgets { per_day: None, per_month: None },
};

/// A little chance, the same each time: 0 to 1.
pub(crate) fn chance(entity: u32, day: i32, what: u64) -> f64 {
    let mut mixed = u64::from(entity) << 40 ^ (day as u64) << 8 ^ what;
    for _ in 0..3 {
        mixed = (mixed ^ mixed >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(what);
    }
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

pub(crate) fn calendar(day: i32) -> CalendarDay {
    CalendarDay { weekday: day.rem_euclid(7) as u8, of_month: 10, left_in_month: 10 }
}

/// Cells of entities over days; `came` gives minutes after 00:00.
pub(crate) fn cases(entities: u32, days: i32, came: impl Fn(u32, i32) -> Option<f64>) -> Vec<Case> {
    let case = |entity, day| Case {
        entity,
        day,
        calendar: calendar(day),
        opens: 0.0,
        deadline: 2880.0,
        came: came(entity, day).filter(|came| *came <= 2880.0),
        is_second: day >= days / 2,
    };
    (0..days).flat_map(|day| (0..entities).map(move |entity| case(entity, day))).collect()
}

pub(crate) fn played(cases: &[Case], ingredients: Ingredients) -> Vec<Spent> {
    play_planner(&mut Planner::new(PRICES, ingredients), cases, &COSTS)
}

/// Looks and minutes of delay, a cell, from a day on.
pub(crate) fn means(cases: &[Case], spent: &[Spent], from: i32, until: i32) -> (f64, f64) {
    let rows: Vec<_> = cases
        .iter()
        .zip(spent)
        .filter(|(case, _)| (from..until).contains(&case.day))
        .map(|(_, spent)| (f64::from(spent.looks), spent.delay.unwrap_or(0.0)))
        .collect();
    let count = rows.len() as f64;
    (
        rows.iter().map(|row| row.0).sum::<f64>() / count,
        rows.iter().map(|row| row.1).sum::<f64>() / count,
    )
}

#[test]
fn a_steady_publisher_costs_little_more_than_one_look() {
    let cases = cases(5, 60, |entity, day| {
        Some(600.0 + f64::from(entity) * 120.0 + 10.0 * chance(entity, day, 1))
    });
    let spent = played(&cases, Ingredients::default());
    let (looks, delay) = means(&cases, &spent, 30, 60);
    assert!(looks < 1.5, "{looks} looks");
    assert!(delay < 25.0, "{delay} minutes");
    assert!(spent.iter().all(|spent| spent.delay.is_some()), "each was found");
}

#[test]
fn a_publisher_that_moves_for_good_is_followed() {
    for (before, after) in [(1200.0, 500.0), (500.0, 1200.0)] {
        let cases = cases(1, 100, |entity, day| {
            let habit = if day < 50 { before } else { after };
            Some(habit + 10.0 * chance(entity, day, 2))
        });
        let spent = played(&cases, Ingredients::default());
        let (looks, delay) = means(&cases, &spent, 80, 100);
        assert!(looks < 2.5, "from {before} to {after}: {looks} looks");
        assert!(delay < 60.0, "from {before} to {after}: {delay} minutes");
    }
}

#[test]
fn entities_that_come_in_one_piece_share_their_scout() {
    let together = cases(60, 40, |_, day| Some(500.0 + 600.0 * chance(0, day, 3)));
    let spent = played(&together, Ingredients::default());
    let (looks, delay) = means(&together, &spent, 20, 40);
    assert!(looks < 1.35, "{looks} looks");
    assert!(delay < 30.0, "{delay} minutes");
    let alone = Ingredients { peers: false, ..Ingredients::default() };
    let (looks_alone, delay_alone) = means(&together, &played(&together, alone), 20, 40);
    let cost = |looks: f64, delay: f64| looks + delay / 30.0;
    assert!(cost(looks, delay) < cost(looks_alone, delay_alone) / 2.0);
}

#[test]
fn a_late_day_is_late_for_all() {
    // Apart from each other by habit, but all of them late on the same days.
    let came = |entity: u32, day: i32| {
        let late = if chance(0, day, 4) < 0.3 { 700.0 } else { 0.0 };
        Some(400.0 + f64::from(entity) * 25.0 + 15.0 * chance(entity, day, 5) + late)
    };
    let cases = cases(12, 80, came);
    let cost = |ingredients| {
        let (looks, delay) = means(&cases, &played(&cases, ingredients), 40, 80);
        looks + delay / 30.0
    };
    let with = cost(Ingredients::default());
    let without = cost(Ingredients { peers: false, ..Ingredients::default() });
    assert!(with < without * 0.9, "{with} with, {without} without the others' news");
}

#[test]
fn weekdays_differ() {
    let came = |entity: u32, day: i32| {
        let weekday = if day.rem_euclid(7) >= 5 { 1300.0 } else { 500.0 };
        Some(weekday + 10.0 * chance(entity, day, 6))
    };
    let cases = cases(1, 140, came);
    let cost = |ingredients| {
        let (looks, delay) = means(&cases, &played(&cases, ingredients), 70, 140);
        looks + delay / 30.0
    };
    let with = cost(Ingredients { models: false, ..Ingredients::default() });
    let without = cost(Ingredients { models: false, weekday: false, ..Ingredients::default() });
    assert!(with < without * 0.9, "{with} with, {without} without weekdays");
    assert!(with < 2.2, "{with}");
}

#[test]
fn what_stopped_coming_is_hardly_looked_for() {
    let cases = cases(3, 80, |entity, day| {
        (entity > 0 || day < 30).then(|| 600.0 + 20.0 * chance(entity, day, 7))
    });
    let spent = played(&cases, Ingredients::default());
    let stopped = cases.iter().zip(&spent).filter(|(case, _)| case.entity == 0 && case.day >= 60);
    let looks: Vec<u32> = stopped.map(|(_, spent)| spent.looks).collect();
    assert!(looks.iter().all(|looks| *looks >= 1), "the deadline's look is always made");
    let mean = f64::from(looks.iter().sum::<u32>()) / looks.len() as f64;
    assert!(mean < 3.0, "{mean} looks");
}

#[test]
fn with_no_history_at_all_it_is_far_cheaper_than_a_cron() {
    let cases = cases(20, 3, |entity, day| Some(300.0 + 900.0 * chance(entity, day, 8)));
    let spent = played(&cases, Ingredients::default());
    let (looks, delay) = means(&cases, &spent, 0, 3);
    let cron = 750.0 / 30.0 + 15.0 / 30.0;
    let cost = looks + delay / 30.0;
    assert!(cost < cron / 2.0, "{cost}, a cron {cron}");
}

#[test]
fn odd_histories_are_played_to_their_end() {
    let odd: [Vec<Case>; 6] = [
        cases(1, 1, |_, _| Some(100.0)),
        cases(1, 30, |_, _| None),
        cases(3, 1, |_, _| Some(0.0)),
        // Before the opening: the first look finds it.
        cases(2, 20, |_, _| Some(-500.0)),
        cases(2, 20, |entity, day| Some(2880.0 - chance(entity, day, 9))),
        Vec::new(),
    ];
    for cases in odd {
        let spent = played(&cases, Ingredients::default());
        assert_eq!(spent.len(), cases.len());
        for (case, spent) in cases.iter().zip(spent) {
            assert!(spent.looks >= 1, "{case:?}");
            assert_eq!(spent.delay.is_some(), case.came.is_some(), "{case:?}");
        }
    }
}

#[test]
fn a_cheap_look_that_never_lies_leaves_one_call_for_each_arrival() {
    let cases = cases(10, 40, |entity, day| {
        (chance(entity, day, 10) < 0.9).then(|| 300.0 + 900.0 * chance(entity, day, 11))
    });
    let prices = Prices { look: 0.01, ..PRICES };
    let mut planner = Planner::new(prices, Ingredients::default());
    let spent = play_planner(&mut planner, &cases, &Costs { cheap_look: Some(0.01), ..COSTS });
    for (case, spent) in cases.iter().zip(&spent) {
        assert_eq!(spent.looks, u32::from(case.came.is_some()), "{case:?}");
    }
    let (_, delay) = means(&cases, &spent, 20, 40);
    assert!(delay < 30.0, "{delay} minutes");
}
