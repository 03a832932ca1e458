//! Budgets that do not suffice for all looks that are worth their price.

use crate::habits::{COSTS, cases, chance};
use plan::arrival::{
    Ingredients,
    replay::{Budgets, Case, Costs, Policy, Score, play, score},
};

const DAYS: i32 = 120;

/// Five entities that come any time from morning to evening, and one day in ten not.
fn publishers() -> Vec<Case> {
    cases(5, DAYS, |entity, day| {
        (chance(entity, day, 71) < 0.9).then(|| 400.0 + 900.0 * chance(entity, day, 72))
    })
}

fn played(budget: Budgets, ingredients: Ingredients) -> (Score, u32) {
    let cases = publishers();
    let costs = Costs { budget, ..COSTS };
    let spent = play(Policy::Tidewatch(ingredients), &cases, &costs, None);
    let looks = spent.iter().flatten().map(|spent| spent.looks).sum();
    (score(&cases, &spent, &costs, true), looks)
}

/// The cost of a cell in the second half with looks priced by a budget, and without.
fn with_and_without(budget: Budgets, most: f64) -> (f64, f64) {
    [true, false]
        .map(|scarcity| {
            let (score, looks) = played(budget, Ingredients { scarcity, ..Ingredients::default() });
            assert!(f64::from(looks) <= most, "{looks} looks, {most} were allowed");
            score.cost_per_cell
        })
        .into()
}

#[test]
fn a_month_that_is_paced_costs_less_than_one_that_is_spent_early() {
    let (_, free) = played(Budgets::default(), Ingredients::default());
    let per_month = f64::from(free) * 30.4 / f64::from(DAYS) * 0.7;
    // From January to the first days of May.
    let budget = Budgets { per_month: Some(per_month), per_day: None };
    let (with, without) = with_and_without(budget, per_month * 5.0);
    assert!(with < without * 0.25, "{with} instead of {without}");
}

#[test]
fn a_day_that_is_paced_costs_less_than_one_that_is_spent_early() {
    let (_, free) = played(Budgets::default(), Ingredients::default());
    let per_day = (f64::from(free) / f64::from(DAYS) * 0.7).floor();
    let budget = Budgets { per_day: Some(per_day), per_month: None };
    let (with, without) = with_and_without(budget, per_day * f64::from(DAYS + 3));
    assert!(with < without, "{with} instead of {without}");
}

#[test]
fn a_budget_that_is_never_reached_changes_nothing() {
    let free = played(Budgets::default(), Ingredients::default());
    let ample = Budgets { per_day: Some(1e6), per_month: Some(1e6) };
    assert_eq!(played(ample, Ingredients::default()), free);
}
