//! How many attempts the budgets allow. Pure.

use crate::rows::{BudgetScope, Reserve};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use model::{Money, Period};
use std::collections::BTreeMap;

/// The day that is charged for something at a time.
pub(crate) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// What one attempt costs; never below zero, so that no request can refill a budget.
pub(crate) fn cost_each(request: &Reserve) -> Money {
    request.cost_each.max(Money::ZERO)
}

/// What is spent so far of the budgets that a request is bounded by.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) source_day: Money,
    pub(crate) project_day: Money,
    /// Only if there is such a budget.
    pub(crate) source_month: Money,
    /// Only if there is such a budget.
    pub(crate) project_month: Money,
    /// Of the periods of the request's cells; only if there is such a budget.
    pub(crate) periods: BTreeMap<Period, Money>,
}

/// Whether what was spent in the month has to be known.
pub(crate) fn needs_month(request: &Reserve) -> bool {
    request.source_budget.per_month.is_some() || request.project_budget.per_month.is_some()
}

/// How many of the request's cells are granted, and which budget refused the rest.
pub(crate) fn grant(request: &Reserve, spent: &Spent) -> (usize, Option<BudgetScope>) {
    let cost = cost_each(request);
    let (source, project) = (&request.source_budget, &request.project_budget);
    let wanted = request.cells.len();
    let allowed = [
        (affordable(source.per_day, spent.source_day, cost), BudgetScope::Source),
        (affordable(project.per_day, spent.project_day, cost), BudgetScope::Project),
        (affordable(source.per_month, spent.source_month, cost), BudgetScope::SourceMonth),
        (affordable(project.per_month, spent.project_month, cost), BudgetScope::ProjectMonth),
        (affordable_by_period(request, spent, cost), BudgetScope::Period),
    ];
    let narrowest = allowed.into_iter().min_by_key(|(count, _)| *count);
    match narrowest {
        Some((count, scope)) if count < wanted => (count, Some(scope)),
        _ => (wanted, None),
    }
}

fn affordable(limit: Option<Money>, spent: Money, cost: Money) -> usize {
    match limit {
        Some(limit) if cost > Money::ZERO => {
            let left = (limit - spent).max(Money::ZERO);
            usize::try_from(left.micros / cost.micros).unwrap_or(usize::MAX)
        }
        Some(_) | None => usize::MAX,
    }
}

/// The cells from the first on that their periods' budgets allow.
fn affordable_by_period(request: &Reserve, spent: &Spent, cost: Money) -> usize {
    let Some(limit) = request.source_budget.per_period else { return usize::MAX };
    if cost == Money::ZERO {
        return usize::MAX;
    }
    let mut periods = spent.periods.clone();
    let over = request.cells.iter().position(|(_, period)| {
        let spent = periods.entry(*period).or_default();
        *spent += cost;
        *spent > limit
    });
    over.unwrap_or(usize::MAX)
}

/// Adds what each period's cells cost.
pub(crate) fn by_period<'a>(
    periods: impl Iterator<Item = &'a Period>,
    cost: Money,
) -> BTreeMap<Period, Money> {
    let mut sums = BTreeMap::new();
    for period in periods {
        *sums.entry(*period).or_default() += cost;
    }
    sums
}
