//! What is checked when all is over.

use super::{
    Bill, Checked, Expected, Found, Over, Report, Violation, Watch, broken, judge_cell,
    watch::{Watched, ready},
};
use crate::{clock::later, scenario::Known, server::Kind};
use jiff::{Timestamp, tz::TimeZone};
use model::{CellKey, CellState};
use state::{CellRow, StateStore};
use std::{collections::BTreeMap, time::Duration};

/// So long after its deadline a cell has its end.
const OVER: Duration = Duration::from_hours(1);

impl Watch {
    /// The last engine has ended by itself.
    ///
    /// # Errors
    /// The books do not add up, a cell is not where the truth allows it to be, or the run is
    /// outside of what its scenario accepts.
    pub fn finish(&mut self, finished_after: Duration, kills: u64) -> Result<Report, Violation> {
        self.read_tables()?;
        self.attempts.finish()?;
        self.nothing_is_open()?;
        self.spent.equals(&ready(self.durable.state.spend(None))?)?;
        let mut report = Report {
            requests: self.servers.book().log.len() as u64,
            batches: self.batches(),
            kills,
            paid: self.paid,
            finished_after,
            ..Report::default()
        };
        for outcome in self.outcomes.values() {
            *report.outcomes.entry(outcome.as_str().to_owned()).or_default() += 1;
        }
        let end = later(self.scenario.start, finished_after);
        for id in self.sources.keys() {
            self.judge(id, end, &mut report)?;
        }
        self.accept(&report)?;
        Ok(report)
    }

    fn nothing_is_open(&self) -> Checked {
        let open = ready(self.durable.state.open_attempts())?;
        if let Some(attempt) = open.first() {
            return broken(
                "nothing stays open",
                format!("{} attempts are reserved at the end, as {attempt:?}", open.len()),
            );
        }
        let announced = ready(self.durable.state.announced())?;
        if let Some(batch) = announced.first() {
            return broken("nothing stays open", format!("batch {} is not settled", batch.number));
        }
        match self.unbooked_rows.iter().next() {
            Some((attempt, (source, _))) => broken(
                "what is loaded is accounted",
                format!("`{source}` has rows of attempt {attempt}, which is not in the ledger"),
            ),
            None => Ok(()),
        }
    }

    fn judge(&self, id: &model::SourceId, end: Timestamp, report: &mut Report) -> Checked {
        let Some(watched) = self.sources.get(id) else { return Ok(()) };
        let rows: BTreeMap<CellKey, CellRow> = ready(self.durable.state.cells(id))?
            .into_iter()
            .map(|row| {
                let (source, entity) = (id.clone(), row.entity.clone());
                (CellKey { source, entity, period: row.period }, row)
            })
            .collect();
        let expected = Expected {
            end,
            give_up_after: watched.source.looks.give_up_after,
            present_within: watched.endpoint.present_within.map(|it| it.0),
            asked_within: watched.endpoint.asked_within.map(|it| it.0),
        };
        for (cell, due_at) in &watched.cells {
            let row = rows.get(cell);
            let state = row.map(|row| row.state);
            let key = (cell.entity.to_string(), cell.period.to_string());
            let live = watched.rows.live().get(&key);
            let found = Found { state, has_records: live.is_some_and(|it| !it.is_empty()) };
            if *due_at <= end {
                report.due += 1;
                let word = state.map_or("unasked", CellState::as_str);
                *report.states.entry(word.to_owned()).or_default() += 1;
            }
            if *due_at <= end || row.is_some() {
                let Some(truth) = self.servers.world.truth(cell) else { continue };
                judge_cell(cell, &truth, found, &expected)?;
            }
        }
        if let Some(known) = &watched.endpoint.known {
            let mut bill = self.bill(watched, known, &rows, end)?;
            let spend = ready(self.durable.state.spend(None))?;
            let own = spend.iter().filter(|row| row.source == *id);
            bill.spent(own.map(|row| (row.day, row.spent)));
            let source = &watched.source;
            let value = source.arrival.as_ref().and_then(|arrival| arrival.value_per_hour);
            let hour = value.unwrap_or_default().as_units();
            let share = bill.of_cron(source.request.cost.as_units(), hour);
            report.bills.insert(id.clone(), (bill, share));
        }
        if watched.source.arrival.is_some() {
            rows.iter()
                .try_for_each(|(cell, row)| watched.arrivals.judge(cell, Some(row.state)))?;
        }
        rows.iter().try_for_each(|(cell, row)| self.ledger_agrees(cell, row))
    }

    /// What the cells of a history cost whose time is over; each of them is where it should be.
    fn bill(
        &self,
        watched: &Watched,
        known: &Known,
        rows: &BTreeMap<CellKey, CellRow>,
        end: Timestamp,
    ) -> Result<Bill, Violation> {
        let mut asked: BTreeMap<&CellKey, Vec<(Timestamp, Kind)>> = BTreeMap::new();
        let book = self.servers.book();
        for arrival in &book.log {
            asked.entry(&arrival.cell).or_default().push((arrival.at, arrival.kind));
        }
        let mut bill = Bill::default();
        for (cell, due_at) in &watched.cells {
            let after = watched.source.looks.give_up_after;
            let deadline = after.and_then(|after| due_at.checked_add(after).ok());
            let Some(deadline) = deadline.filter(|deadline| later(*deadline, OVER) <= end) else {
                continue;
            };
            let day = cell.period.date().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
            let Some(midnight) = day.map(|day| day.timestamp()) else { continue };
            let over = Over {
                cell,
                came: known.history.came(&cell.entity, cell.period),
                deadline,
                state: rows.get(cell).map(|row| row.state),
                asked: asked.get(cell).map_or(&[], Vec::as_slice),
            };
            bill.book(&over, midnight, known.history.frame(&cell.entity))?;
        }
        Ok(bill)
    }

    /// The last row of a cell in the ledger says what the state says.
    fn ledger_agrees(&self, cell: &CellKey, row: &CellRow) -> Checked {
        let known = self.ledger_cells.get(cell);
        let cause = match row.state {
            CellState::Absent { cause } | CellState::GivenUp { cause } => Some(cause.as_str()),
            _ => None,
        };
        let agrees = known.is_some_and(|(state, booked)| {
            state == row.state.as_str() && (cause.is_none() || booked.as_deref() == cause)
        });
        if agrees {
            return Ok(());
        }
        broken(
            "the ledger agrees with the state",
            format!("`{cell}` is {:?}, the ledger says {known:?}", row.state),
        )
    }

    fn accept(&self, report: &Report) -> Checked {
        let accept = &self.scenario.accept;
        let outside = |what: String, [low, high]: [f64; 2], found: f64| {
            if (low..=high).contains(&found) {
                return Ok(());
            }
            broken(
                "the run is accepted",
                format!("{what}: {found:.3}, accepted is {low} to {high}; {report:?}"),
            )
        };
        let due = report.due.max(1) as f64;
        if let Some(range) = accept.requests_per_cell {
            outside("requests per cell".to_owned(), range, report.requests as f64 / due)?;
        }
        if let Some(range) = accept.paid_per_present {
            let present = report.states.get("present").copied().unwrap_or(0).max(1) as f64;
            outside("paid looks per present cell".to_owned(), range, report.paid as f64 / present)?;
        }
        for (state, range) in &accept.shares {
            let count = report.states.get(state).copied().unwrap_or(0);
            outside(format!("the share of `{state}`"), *range, count as f64 / due)?;
        }
        for (outcome, [low, high]) in &accept.outcomes {
            let count = report.outcomes.get(outcome).copied().unwrap_or(0);
            let range = [*low as f64, *high as f64];
            outside(format!("answers that ended as `{outcome}`"), range, count as f64)?;
        }
        if let Some(range) = accept.cost_of_cron {
            for (source, (_, share)) in &report.bills {
                outside(format!("the cost of `{source}` beside a poll's"), range, *share)?;
            }
        }
        match accept.finished_within {
            Some(limit) if report.finished_after > limit.unsigned() => broken(
                "the run is accepted",
                format!("it ended after {:?}, {:?} are accepted", report.finished_after, limit.0),
            ),
            _ => Ok(()),
        }
    }
}
