//! Cells of real histories: what came in time is fetched once, and what that cost beside a poll.

use super::{Checked, broken};
use crate::{history::Frame, server::Kind};
use jiff::{SignedDuration, Timestamp, civil::Date};
use model::{CellKey, CellState, Money};
use std::collections::BTreeMap;

/// The pause of the poll that is compared with.
const CRON: SignedDuration = SignedDuration::from_mins(30);

/// One cell whose time is over.
#[derive(Debug, Clone, Copy)]
pub struct Over<'a> {
    /// Which.
    pub cell: &'a CellKey,
    /// When its data came; `None`: never.
    pub came: Option<Timestamp>,
    /// When it is given up.
    pub deadline: Timestamp,
    /// Its state; `None` if it has no row.
    pub state: Option<CellState>,
    /// What its server was asked, and what became of it, in this order.
    pub asked: &'a [(Timestamp, Kind)],
}

/// What cells cost, and what they would have cost a poll every half an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// Cells whose time is over.
    pub cells: u64,
    /// Of these, what came before it was over.
    pub came: u64,
    /// Requests.
    pub looks: u64,
    /// From the arrivals to their fetching.
    pub delay: SignedDuration,
    /// Requests of the poll.
    pub cron_looks: u64,
    /// From the arrivals to the poll's fetching.
    pub cron_delay: SignedDuration,
    /// The most that was spent in a day.
    pub day_most: Money,
    /// The most that was spent in a month.
    pub month_most: Money,
}

impl Bill {
    /// Books a cell.
    ///
    /// # Errors
    /// It came in time and was not fetched, or not once; or it did not, and has no end.
    pub fn book(&mut self, over: &Over<'_>, midnight: Timestamp, frame: Option<Frame>) -> Checked {
        let Over { cell, came, deadline, state, asked } = *over;
        let bought = || asked.iter().filter(|(_, kind)| matches!(kind, Kind::Whole(Some(_))));
        let in_time = came.filter(|came| *came <= deadline);
        let (times, is_present) = (bought().count(), state == Some(CellState::Present));
        let has_cause = matches!(state, Some(CellState::Absent { .. } | CellState::GivenUp { .. }));
        let found =
            || format!("`{cell}` came {came:?}, was fetched {times} times and is {state:?}");
        if in_time.is_some() && !(is_present && times == 1) {
            broken("what came in time is fetched once", found())?;
        }
        // Later than its deadline it may still be met by the last look.
        let is_met = is_present && times == 1 && came.is_some();
        if in_time.is_none() && !is_met && !(has_cause && times == 0) {
            broken("what did not come ends with a cause", found())?;
        }
        self.cells += 1;
        self.came += u64::from(in_time.is_some());
        self.looks += asked.len() as u64;
        if let (Some(came), Some((at, _))) = (came, bought().next()) {
            self.delay += at.duration_since(came);
        }
        if let Some(frame) = frame {
            self.poll(came.map(|came| came.duration_since(midnight)), frame);
        }
        Ok(())
    }

    /// What a poll makes of a cell that comes so long after midnight.
    fn poll(&mut self, came: Option<SignedDuration>, frame: Frame) {
        let mut at = frame.opens;
        loop {
            // The last look is at the deadline.
            at = (at + CRON).min(frame.deadline);
            self.cron_looks += 1;
            if let Some(came) = came.filter(|came| *came <= at) {
                self.cron_delay += at - came.max(frame.opens);
                return;
            }
            if at >= frame.deadline {
                return;
            }
        }
    }

    /// Books what the source's days cost.
    pub fn spent(&mut self, days: impl Iterator<Item = (Date, Money)>) {
        let mut months: BTreeMap<Date, Money> = BTreeMap::new();
        for (day, spent) in days {
            self.day_most = self.day_most.max(spent);
            let month = months.entry(day.first_of_month()).or_default();
            *month += spent;
            self.month_most = self.month_most.max(*month);
        }
    }

    /// What it cost as a share of what the poll costs, at the price of a look and of an hour of delay.
    pub fn of_cron(&self, look: f64, hour: f64) -> f64 {
        let cost = |looks: u64, delay: SignedDuration| {
            looks as f64 * look + delay.as_secs_f64() / 3600.0 * hour
        };
        cost(self.looks, self.delay) / cost(self.cron_looks, self.cron_delay).max(f64::MIN_POSITIVE)
    }
}
