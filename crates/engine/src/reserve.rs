//! Money for the next looks of a source, asked for beside the loop.

use crate::{
    Engine,
    arrival::cost_of,
    book::without_money,
    budgets::spend_of_month,
    calls::Call,
    run::{Message, changed},
    runtime::{Runtime, code},
};
use env::Moment;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use model::{AttemptId, LookKind, Money, Period, SourceId};
use plan::agenda::{Due, Priority};
use state::{BudgetScope, Granted, Reserve};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A period's budget may be raised: what it left out is tried again after this, where there is no
/// deadline.
const PARKED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Requests that are reserved at once, at least and at most.
const CHUNK_MIN: usize = 16;
const CHUNK_MAX: usize = 1024;
/// A reservation lasts this long, in seconds.
const CHUNK_LASTS: f64 = 2.0;

/// How many requests to reserve money for at once: about two seconds of them as they leave, so that
/// each second has few transactions and a crash leaves few reservations that were never sent.
#[derive(Debug)]
pub(crate) struct Chunk {
    requests: usize,
    /// How many have left since then.
    left: usize,
    since: Duration,
}

impl Chunk {
    pub(crate) fn new(now: Duration) -> Self {
        Self { requests: CHUNK_MIN, left: 0, since: now }
    }

    /// A request leaves.
    pub(crate) fn leaves(&mut self) {
        self.left += 1;
    }

    /// The next reservation; `rate`: what is allowed a second, as far as it is known.
    fn next(&self, now: Duration, rate: f64, concurrency: u32) -> usize {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        let leaving = self.left as f64 / seconds.max(1e-3);
        let wanted = (CHUNK_LASTS * leaving.min(rate)).ceil() as usize;
        wanted.clamp(CHUNK_MIN, CHUNK_MAX).min((concurrency.max(1) as usize).saturating_mul(16))
    }
}

/// Calls that are made alike, so that each costs the same.
#[derive(Debug)]
pub(crate) struct Group {
    look: LookKind,
    cost: Money,
    calls: Vec<Call>,
}

impl Engine {
    /// Asks the state for money for the next cells of a source.
    pub(crate) fn reserve(&mut self, id: &SourceId, now: Moment) {
        let settled_through = self.settled_through;
        let Some(source) = self.sources.get_mut(id) else { return };
        let low = source.ready.len() * 2 < source.chunk.requests;
        if source.reserving || !low || source.spent_until.is_some_and(|until| now.wall < until) {
            return;
        }
        source.spent_until = None;
        let limit = &source.compiled.source.limit;
        let learned = self.scopes.get(&*source.scope).filter(|_| limit.learn);
        let learned = learned.map_or(f64::MAX, |scope| scope.pace.rate());
        let allowed = limit.rate_per_second.map_or(learned, |most| most.min(learned));
        let chunk = source.chunk.next(now.monotonic, allowed, limit.concurrency);
        let mut groups = Vec::new();
        loop {
            let cells = source.cells_of(chunk);
            let (due, unsettled) = source.take_due(now.wall, cells, settled_through);
            self.flush_wanted |= unsettled;
            if due.is_empty() {
                break;
            }
            // Those that a schedule puts off leave room for others.
            let planned = source.plan_looks(due, now.wall);
            if !planned.is_empty() {
                groups = group(source, planned);
                break;
            }
        }
        if groups.is_empty() {
            return;
        }
        source.chunk = Chunk { requests: chunk, left: 0, since: now.monotonic };
        let requests: Vec<Reserve> = groups
            .iter()
            .map(|group| Reserve {
                source: id.clone(),
                cells: group
                    .calls
                    .iter()
                    .map(|call| (call.cell.entity.clone(), call.cell.period))
                    .collect(),
                cost_each: group.cost,
                at: now.wall,
                source_budget: source.compiled.source.budget,
                project_budget: self.options.budget,
            })
            .collect();
        source.reserving = true;
        let is_budgeted = source.is_budgeted(&self.options.budget);
        self.reserving += 1;
        let (state, sender, id) = (Arc::clone(&self.ports.state), self.sender.clone(), id.clone());
        tokio::spawn(async move {
            let mut granted = Vec::with_capacity(requests.len());
            let mut failed = None;
            for request in &requests {
                match state.reserve(request).await {
                    Ok(found) => granted.push(found),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let result = failed.map_or(Ok(granted), Err);
            // Without it looks are priced by what was known before.
            let spend =
                if is_budgeted { spend_of_month(&*state, now.wall).await.ok() } else { None };
            let ended = Message::Reserved { source: id, groups, at: now.wall, result, spend };
            // The loop outlives its tasks, or does not care any more.
            let _ = sender.send(ended);
        });
    }

    pub(crate) fn reserved(
        &mut self,
        id: &SourceId,
        groups: Vec<Group>,
        at: Timestamp,
        granted: &[Granted],
    ) {
        let Some(source) = self.sources.get_mut(id) else {
            for granted in granted {
                self.unsent.extend((granted.first.0..).map(AttemptId).take(granted.granted));
            }
            return;
        };
        source.reserving = false;
        let mut over = Vec::new();
        for (group, granted) in groups.into_iter().zip(granted) {
            let attempts = (granted.first.0..).map(AttemptId);
            let is_parked = granted.exhausted == Some(BudgetScope::Period);
            for (index, (mut call, attempt)) in group.calls.into_iter().zip(attempts).enumerate() {
                let is_granted = index < granted.granted;
                let found = source.locate_call(&mut call);
                if found && is_granted {
                    source.make_ready(call, (group.look, group.cost), attempt, at);
                    continue;
                }
                if is_granted {
                    self.unsent.push(attempt);
                }
                if !found {
                    source.page_is_lost(group.look, call.cell.period);
                }
                for due in source.not_looked_at(&call, found, group.look) {
                    if !is_parked || is_granted {
                        source.put_back(&[due]);
                    } else if !source.park(due, at) {
                        over.push(due);
                    }
                }
            }
            if let Some(scope) = granted.exhausted {
                source.budget_is_spent(scope, at);
            }
        }
        self.give_up_unpaid(id, &over, at);
    }

    /// Cells whose time is over and that no money is left for: they end with a cause.
    fn give_up_unpaid(&mut self, id: &SourceId, over: &[Due], now: Timestamp) {
        let number = self.pending.number;
        for due in over {
            let Some(source) = self.sources.get_mut(id) else { return };
            let Some(cell) = source.cell(due.ordinal) else { continue };
            let before = source.known(due.ordinal).cloned();
            let row = without_money(source, &cell, before.as_ref(), now);
            source.book(due.ordinal, &row, false, number);
            source.refused.remove(&code(due.ordinal));
            self.progress.settled += 1;
            let is_changed = changed(before.as_ref(), &row);
            self.conclude(&cell, due.ordinal, before.as_ref(), &row, now);
            self.pending.push_row(id, row, is_changed);
        }
    }
}

impl Runtime {
    /// Says that a budget is spent, and until when nothing is asked because of it.
    fn budget_is_spent(&mut self, scope: BudgetScope, at: Timestamp) {
        let today = at.to_zoned(TimeZone::UTC).date();
        let first_of = |day: Option<Date>| {
            let start = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
            start.map_or(Timestamp::MAX, |day| day.timestamp())
        };
        let (budget, until) = match scope {
            BudgetScope::Source => ("the source's, of a day", first_of(today.tomorrow().ok())),
            BudgetScope::Project => ("the project's, of a day", first_of(today.tomorrow().ok())),
            BudgetScope::SourceMonth => {
                ("the source's, of a month", first_of(today.last_of_month().tomorrow().ok()))
            }
            BudgetScope::ProjectMonth => {
                ("the project's, of a month", first_of(today.last_of_month().tomorrow().ok()))
            }
            BudgetScope::Period => {
                let source = &self.compiled.source.id;
                tracing::warn!(%source, "a period's budget is spent, its other cells are not asked for");
                return;
            }
        };
        self.spent_until = Some(until);
        let source = &self.compiled.source.id;
        tracing::warn!(%source, %until, budget, "a budget is spent");
    }

    /// A cell whose period's budget is spent waits until its deadline; `false`: that is over.
    fn park(&mut self, due: Due, now: Timestamp) -> bool {
        let deadline = self.deadline(due.ordinal);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        let later = now.checked_add(PARKED_FOR).unwrap_or(Timestamp::MAX);
        let at = deadline.map_or(later, |deadline| deadline.min(later));
        self.agenda().look_at(due.ordinal, at, due.priority);
        self.parked_cells.insert(code(due.ordinal));
        true
    }

    /// Finds the cells of a call in the present grid; `false`: the one it is booked for is gone.
    fn locate_call(&self, call: &mut Call) -> bool {
        call.others.retain_mut(|(due, cell)| {
            let found = self.locate(cell, due.ordinal);
            due.ordinal = found.unwrap_or(due.ordinal);
            found.is_some()
        });
        let found = self.locate(&call.cell, call.due.ordinal);
        call.due.ordinal = found.unwrap_or(call.due.ordinal);
        found.is_some()
    }

    /// The cells that a call would have been for: of a look that speaks for many, all that wait for
    /// it.
    fn not_looked_at(&mut self, call: &Call, has_own: bool, look: LookKind) -> Vec<Due> {
        let mut cells: Vec<Due> = call.others.iter().map(|(due, _)| *due).collect();
        if has_own && look.speaks_for_many() {
            let waiting =
                self.arrival.as_mut().map(|arrival| arrival.page_ends(look, call.cell.period));
            let waiting = waiting.into_iter().flatten().map(|code| Due {
                ordinal: crate::runtime::ordinal_of(code),
                priority: Priority::Live,
            });
            cells.extend(waiting.filter(|other| other.ordinal != call.due.ordinal));
        }
        cells.extend(has_own.then_some(call.due));
        cells
    }

    /// The look that cells wait for will not be sent: its own cell is not expected any more.
    fn page_is_lost(&mut self, look: LookKind, period: Period) {
        if let Some(arrival) = self.arrival.as_mut().filter(|_| look.speaks_for_many()) {
            for code in arrival.page_ends(look, period) {
                self.agenda().put_back(crate::runtime::ordinal_of(code));
            }
        }
    }
}

/// Puts together what costs the same; where each period has a budget, what is of one period.
fn group(source: &mut Runtime, planned: Vec<(Due, LookKind)>) -> Vec<Group> {
    let by_period = source.compiled.source.budget.per_period.is_some();
    let has_looks = source.arrival.is_some();
    let mut groups: BTreeMap<(LookKind, u32), Vec<Call>> = BTreeMap::new();
    for (look, call) in source.calls(planned) {
        let period = if by_period { call.due.ordinal.period } else { 0 };
        let look = if has_looks { look } else { LookKind::Paid };
        groups.entry((look, period)).or_default().push(call);
    }
    let price = |look| cost_of(&source.compiled, look);
    groups.into_iter().map(|((look, _), calls)| Group { look, cost: price(look), calls }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(left: usize, rate: f64, concurrency: u32) -> usize {
        let mut chunk = Chunk::new(SECOND);
        (0..left).for_each(|_| chunk.leaves());
        chunk.next(SECOND * 2, rate, concurrency)
    }

    #[test]
    fn a_reservation_lasts_two_seconds_of_what_leaves() {
        assert_eq!(after(0, f64::MAX, 64), CHUNK_MIN);
        assert_eq!(after(200, f64::MAX, 64), 400);
        assert_eq!(after(30_000, f64::MAX, 64), CHUNK_MAX);
        assert_eq!(after(30_000, f64::MAX, 2), 32);
        // Virtual time may stand still.
        let mut chunk = Chunk::new(SECOND);
        chunk.leaves();
        assert_eq!(chunk.next(SECOND, f64::MAX, 64), CHUNK_MAX);
    }

    #[test]
    fn a_burst_is_not_taken_for_the_rate_that_is_allowed() {
        assert_eq!(after(200, 20.0, 64), 40);
        assert_eq!(after(200, 0.0, 64), CHUNK_MIN);
        assert_eq!(after(0, f64::NAN, 0), 16);
    }
}
