//! How many attempts the budgets of a day allow. Pure.

use crate::rows::{BudgetScope, Reserve};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use model::Money;

/// The day that is charged for something at a time.
pub(crate) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// What one attempt costs; never below zero, so that no request can refill a budget.
pub(crate) fn cost_each(request: &Reserve) -> Money {
    request.cost_each.max(Money::ZERO)
}

/// How many of the request's cells are granted, and which budget refused the rest.
pub(crate) fn grant(
    request: &Reserve,
    spent_by_source: Money,
    spent_by_project: Money,
) -> (usize, Option<BudgetScope>) {
    let cost = cost_each(request);
    let by_source = affordable(request.source_limit_per_day, spent_by_source, cost);
    let by_project = affordable(request.project_limit_per_day, spent_by_project, cost);
    let wanted = request.cells.len();
    let granted = wanted.min(by_source).min(by_project);
    let exhausted = (granted < wanted).then_some(if by_source <= by_project {
        BudgetScope::Source
    } else {
        BudgetScope::Project
    });
    (granted, exhausted)
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
