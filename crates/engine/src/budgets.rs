//! What is left of the budgets that a source's looks are paid from, and what that makes of their
//! price: [`plan::arrival::scarcity`].

use crate::{Engine, runtime::Runtime};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use model::{Budget, Money, SourceId};
use plan::BudgetLeft;
use state::{SpendRow, StateFuture, StateStore};

/// How often looks are priced anew.
const PRICED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What is left of the budgets of a day and a month at a time. `spend` has what all sources spent
/// since the month's first day.
pub fn budgets_left(
    source: &SourceId,
    own: &Budget,
    project: &Budget,
    spend: &[SpendRow],
    now: Timestamp,
) -> Vec<BudgetLeft> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let (first, last) = (today.first_of_month(), today.last_of_month());
    let spent = |from: Date, until: Date, source: Option<&SourceId>| -> Money {
        let rows = spend.iter().filter(|row| (from..=until).contains(&row.day));
        rows.filter(|row| source.is_none_or(|it| *it == row.source)).map(|row| row.spent).sum()
    };
    let source = Some(source);
    [
        ("the source's budget of the day", own.per_day, today, today, source),
        ("the source's budget of the month", own.per_month, first, last, source),
        ("the project's budget of the day", project.per_day, today, today, None),
        ("the project's budget of the month", project.per_month, first, last, None),
    ]
    .into_iter()
    .filter_map(|(budget, most, from, last, source)| {
        let left = most? - spent(from, last, source);
        Some(BudgetLeft { budget, left: left.max(Money::ZERO), until: day_after(last) })
    })
    .collect()
}

fn day_after(day: Date) -> Timestamp {
    let next = day.tomorrow().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    next.map_or(Timestamp::MAX, |day| day.timestamp())
}

/// What all sources spent in the month of a time.
pub(crate) fn spend_of_month(
    state: &dyn StateStore,
    now: Timestamp,
) -> StateFuture<'_, Vec<SpendRow>> {
    state.spend(Some(now.to_zoned(TimeZone::UTC).date().first_of_month()))
}

impl Engine {
    /// Lets a source's schedule price its looks by what is left of the budgets.
    pub(crate) fn price_budgets(&mut self, id: &SourceId, now: Timestamp) {
        let project = self.options.budget;
        let Some(source) = self.sources.get_mut(id) else { return };
        if source.price_budgets(&project, now) {
            self.wake_others(id, now);
        }
    }
}

impl Runtime {
    /// Whether its looks are planned, and paid from budgets of a day or a month.
    pub(crate) fn is_budgeted(&self, project: &Budget) -> bool {
        let own = &self.compiled.source.budget;
        let budgets = [own.per_day, own.per_month, project.per_day, project.per_month];
        self.arrival.is_some() && budgets.iter().any(Option::is_some)
    }

    /// Whether looks were priced anew.
    fn price_budgets(&mut self, project: &Budget, now: Timestamp) -> bool {
        let is_due = self.priced_at.is_none_or(|at| now.duration_since(at).abs() >= PRICED_EVERY);
        if !is_due || !self.is_budgeted(project) {
            return false;
        }
        self.priced_at = Some(now);
        let source = &self.compiled.source;
        let left = budgets_left(&source.id, &source.budget, project, &self.spend, now);
        let Some(arrival) = &mut self.arrival else { return false };
        arrival.schedule.budgets(&left, now);
        // Looks may be cheaper then.
        let ends = left.iter().map(|left| left.until).min();
        self.priced_again_at = ends.filter(|_| arrival.schedule.scarce().is_some());
        true
    }
}
