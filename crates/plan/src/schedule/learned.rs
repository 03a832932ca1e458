//! Looks planned by what was learned of arrivals: [`crate::arrival::Planner`] over a source's grid.

use super::{BudgetLeft, LookAnswer, Offer, PlannedLook, Scarce, Schedule};
use crate::arrival::choice::Trained;
use crate::arrival::{
    Ingredients, Minutes, Opening, Planned, Planner, Prices, Reason,
    external::External,
    features::CalendarDay,
    history::{History, Seen},
    scarcity::Left,
    training::Training,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model::{CellOrdinal, Grid, LateFrom, LookKind, Money};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where a source has no `give_up_after`: its cells are planned so far, then looked at daily.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 10);
/// Where a source does not say what freshness is worth: so many minutes of delay cost a paid look.
const MINUTES_A_LOOK: f64 = 30.0;

/// See the module.
#[derive(Debug)]
pub struct LearnedSchedule {
    grid: Arc<Grid>,
    names: Vec<String>,
    give_up_after: Option<SignedDuration>,
    value_per_hour: Option<Money>,
    planner: Planner,
    offers: Vec<Offer>,
    /// How many cells each of the grid's periods has.
    cells: Vec<u32>,
    scarce: Option<Scarce>,
    /// By the planner's number of a period: its position in the grid, for periods with open cells.
    periods: BTreeMap<i32, u32>,
    /// Cells that a cheap look said are there, and when; the paid look will tell.
    said_there: BTreeMap<(u32, u32), Minutes>,
    /// Cells over which the planner has no say any more.
    over: BTreeSet<(u32, u32)>,
}

impl LearnedSchedule {
    /// A schedule over a grid, with what an earlier one saved.
    pub fn new(
        grid: Arc<Grid>,
        give_up_after: Option<SignedDuration>,
        value_per_hour: Option<Money>,
        saved: Option<&[u8]>,
    ) -> Self {
        let names: Vec<String> =
            grid.entities().iter().map(|row| row.entity.as_str().to_owned()).collect();
        let prices = Prices { look: 1.0, delay_per_minute: 1.0 / MINUTES_A_LOOK };
        let mut planner = Planner::new(prices, Ingredients::default());
        if let Some(saved) = saved {
            planner.restore(saved, &names);
        }
        Self {
            cells: grid.expected_by_period(),
            scarce: None,
            grid,
            names,
            give_up_after,
            value_per_hour,
            planner,
            offers: Vec::new(),
            periods: BTreeMap::new(),
            said_there: BTreeMap::new(),
            over: BTreeSet::new(),
        }
    }

    /// A model from elsewhere takes the place of the trained ones.
    pub fn set_model(&mut self, model: Arc<dyn External>) {
        self.planner.set_model(model);
    }

    /// What it plans with.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Learns from what is known of former cells, by period, the earliest first: when the last look
    /// without data left, and when the first with it; `None`: it did not come. What was found after
    /// its time was over says nothing.
    pub fn relearn(
        &mut self,
        cells: impl Iterator<Item = (CellOrdinal, Option<Timestamp>, Option<Timestamp>)>,
        now: Timestamp,
    ) {
        for (cell, after, by) in cells {
            let opening = self.opening(cell);
            let (after, by) = (after.map_or(opening.opens_at, minutes), by.map(minutes));
            if by.is_none_or(|by| by <= opening.deadline) {
                self.planner.remember(&opening, after, by);
            }
        }
        self.planner.train_on_memory(minutes(now));
    }

    /// The planner's number of a period: hours since 1970 at its closing.
    pub fn period_number(closes_at: Timestamp) -> i32 {
        i32::try_from(closes_at.as_second().div_euclid(3600)).unwrap_or(i32::MAX)
    }

    /// How a cell is opened in a planner.
    pub fn opening(&self, cell: CellOrdinal) -> Opening {
        let row = &self.grid.periods()[cell.period as usize];
        let opens_at = minutes(row.closes_at);
        let span = self.give_up_after.unwrap_or(HORIZON);
        let date =
            row.period.date().unwrap_or_else(|| row.closes_at.to_zoned(TimeZone::UTC).date());
        Opening {
            entity: cell.entity,
            period: Self::period_number(row.closes_at),
            day: CalendarDay::of(date),
            opens_at,
            deadline: opens_at + span.as_secs_f64() / 60.0,
            reference: (opens_at / 1440.0).floor() * 1440.0,
        }
    }

    /// The planner's key of a cell, which is opened if it was not; `None`: its time is over.
    fn key(&mut self, cell: CellOrdinal, now: Minutes) -> Option<(i32, u32)> {
        let row = self.grid.periods().get(cell.period as usize)?;
        let key = (Self::period_number(row.closes_at), cell.entity);
        if self.planner.distribution(key.0, key.1).is_some() {
            return Some(key);
        }
        let place = (cell.period, cell.entity);
        let opening = self.opening(cell);
        if now >= opening.deadline || self.over.contains(&place) {
            return None;
        }
        if self.periods.insert(key.0, cell.period).is_none() {
            self.forget(now);
        }
        self.planner.open(opening);
        Some(key)
    }

    /// Forgets the periods whose time is over.
    fn forget(&mut self, now: Minutes) {
        let span = self.give_up_after.unwrap_or(HORIZON).as_secs_f64() / 60.0;
        let grid = &self.grid;
        let is_open = |period: u32| {
            let row = grid.periods().get(period as usize);
            row.is_some_and(|row| minutes(row.closes_at) + span > now)
        };
        self.periods.retain(|_, period| is_open(*period));
        self.over.retain(|(period, _)| is_open(*period));
        self.said_there.retain(|(period, _), _| is_open(*period));
    }

    /// The price of a paid look; 0 if none is on offer.
    fn paid_price(&self) -> f64 {
        let paid = self.offers.iter().find(|offer| offer.kind == LookKind::Paid);
        paid.map_or(0.0, |offer| offer.cost.as_units())
    }

    /// The kind of look that costs least, and the price that its looks are planned with: what a look
    /// in vain costs.
    fn cheapest(&self, open: usize) -> (LookKind, f64) {
        let paid = self.paid_price();
        let in_vain = |offer: &Offer| {
            let cost = offer.cost.as_units();
            match offer.kind {
                LookKind::Paid => cost,
                kind => {
                    let shared = if kind.speaks_for_many() { open.max(1) as f64 } else { 1.0 };
                    cost / shared + (1.0 - offer.there_is_right) * paid
                }
            }
        };
        let best = self.offers.iter().map(|offer| (offer.kind, in_vain(offer)));
        best.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((LookKind::Paid, paid))
    }

    /// Prices in money; where a look is free, in paid looks.
    fn price(&mut self, look: f64) {
        let paid = self.paid_price();
        let (look, paid) = if look > 0.0 { (look, paid.max(look)) } else { (1.0, 1.0) };
        let delay_per_minute = match self.value_per_hour {
            Some(value) => value.as_units() / 60.0,
            None => paid / MINUTES_A_LOOK,
        };
        self.planner.set_prices(Prices { look, delay_per_minute });
    }

    /// What a look at its usual time rests on, in a sentence.
    fn usual(&self, cell: CellOrdinal, at: Minutes) -> String {
        const TOLD: usize = 20;
        let history = self.planner.history(cell.entity);
        let came = history.into_iter().flat_map(History::latest).filter(Seen::came).take(TOLD);
        let after = at - self.opening(cell).opens_at;
        let (found, all) = came.fold((0, 0), |(found, all), seen| {
            (found + u32::from(f64::from(seen.by) <= after), all + 1)
        });
        if all == 0 {
            return "nothing has come of it yet; the cheapest instant by what its like have shown"
                .to_owned();
        }
        let after = SignedDuration::from_mins(after.round() as i64);
        format!("{found} of its last {all} arrivals were found within {after:#} of being due")
    }

    fn ordinal(&self, (period, entity): (i32, u32)) -> Option<CellOrdinal> {
        let period = *self.periods.get(&period)?;
        Some(CellOrdinal { entity, period })
    }
}

impl Schedule for LearnedSchedule {
    fn offer(&mut self, offers: &[Offer]) {
        self.offers = offers.to_vec();
    }

    fn remember(&mut self, cell: CellOrdinal, last_look_at: Timestamp, _looks: u32) {
        let at = minutes(last_look_at);
        if let Some((period, entity)) = self.key(cell, at) {
            self.planner.answered(period, entity, at, false);
        }
    }

    fn next_look(&mut self, cell: CellOrdinal, now: Timestamp) -> PlannedLook {
        let at = minutes(now);
        let asked = |why: &'static str| PlannedLook {
            at: now,
            kind: LookKind::Paid,
            probability: f64::NAN,
            why: why.into(),
        };
        let Some((period, entity)) = self.key(cell, at) else {
            return asked("its time is over: it is asked for without looking first");
        };
        let (kind, price) = self.cheapest(self.planner.open_cells(period));
        self.price(price);
        let Some(planned) = self.planner.next_look(period, entity, at) else {
            return asked("nothing is planned of it");
        };
        let wait = SignedDuration::try_from_secs_f64((planned.at - at).max(0.0) * 60.0);
        let wait = wait.unwrap_or(SignedDuration::ZERO);
        PlannedLook {
            at: now.checked_add(wait).unwrap_or(Timestamp::MAX),
            kind,
            probability: planned.probability,
            why: match planned.reason {
                Reason::Usual => self.usual(cell, planned.at).into(),
                _ => why(&planned).into(),
            },
        }
    }

    fn sent(&mut self, cell: CellOrdinal, _kind: LookKind, now: Timestamp) {
        if let Some((period, entity)) = self.key(cell, minutes(now)) {
            self.planner.sent(period, entity, minutes(now));
        }
    }

    fn answered(&mut self, cell: CellOrdinal, kind: LookKind, at: Timestamp, answer: LookAnswer) {
        let place = (cell.period, cell.entity);
        let mut at = minutes(at);
        let Some((period, entity)) = self.key(cell, at) else {
            self.said_there.remove(&place);
            if let Some(row) = self.grid.periods().get(cell.period as usize) {
                // Its time is over: what is found now says nothing of when it comes.
                self.planner.close((Self::period_number(row.closes_at), cell.entity));
            }
            return;
        };
        match (answer, kind.brings_data()) {
            (LookAnswer::Unknown, _) => {}
            (LookAnswer::There, false) => {
                self.said_there.entry(place).or_insert(at);
            }
            (LookAnswer::There, true) => {
                at = self.said_there.remove(&place).unwrap_or(at);
                self.planner.answered(period, entity, at, true);
                self.over.insert(place);
            }
            (LookAnswer::NotThere, _) => {
                self.said_there.remove(&place);
                self.planner.answered(period, entity, at, false);
                if self.planner.distribution(period, entity).is_none() {
                    self.over.insert(place);
                }
            }
        }
    }

    fn given_up(&mut self, cell: CellOrdinal, at: Timestamp) {
        let place = (cell.period, cell.entity);
        self.said_there.remove(&place);
        let row = self.grid.periods().get(cell.period as usize);
        let Some(period) = row.map(|row| Self::period_number(row.closes_at)) else { return };
        if self.planner.distribution(period, cell.entity).is_some() {
            let deadline = self.opening(cell).deadline;
            if minutes(at) >= deadline {
                self.planner.answered(period, cell.entity, minutes(at), false);
            }
            self.planner.close((period, cell.entity));
        }
        self.over.insert(place);
    }

    fn woken(&mut self) -> Vec<CellOrdinal> {
        let woken: BTreeSet<_> = self.planner.woken().into_iter().collect();
        woken.into_iter().filter_map(|key| self.ordinal(key)).collect()
    }

    fn budgets(&mut self, left: &[BudgetLeft], now: Timestamp) {
        let newest = self.periods.keys().next_back();
        let (kind, price) = self.cheapest(newest.map_or(1, |it| self.planner.open_cells(*it)));
        self.price(price);
        let paid = self.paid_price();
        let first = self.grid.due_periods(now) as usize;
        self.scarce = None;
        for budget in left.iter().filter(|_| price > 0.0) {
            let left = Left {
                looks: budget.left.as_units().max(0.0) / price,
                // What a cheap look finds is paid for.
                also: if kind.brings_data() { 0.0 } else { paid / price },
                until: minutes(budget.until),
            };
            let coming = self.grid.periods().iter().zip(&self.cells).skip(first);
            let coming = coming
                .map(|(row, cells)| (minutes(row.closes_at), f64::from(*cells)))
                .take_while(|(at, _)| *at < left.until);
            let factor = self.planner.factor_for(&left, coming, minutes(now));
            if factor > self.scarce.map_or(1.0, |scarce| scarce.factor) {
                self.scarce = Some(Scarce { budget: budget.budget, factor });
            }
        }
        self.planner.set_factor(self.scarce.map_or(1.0, |scarce| scarce.factor));
    }

    fn scarce(&self) -> Option<Scarce> {
        self.scarce
    }

    fn late_from(&self, cell: CellOrdinal) -> Option<LateFrom> {
        let row = self.grid.periods().get(cell.period as usize)?;
        let late = self.planner.late_times(Self::period_number(row.closes_at), cell.entity)?;
        Some(LateFrom { watch: instant(late.watch), overdue: instant(late.overdue) })
    }

    fn training(&mut self, now: Timestamp) -> Option<Training> {
        self.planner.training(minutes(now))
    }

    fn trained(&mut self, trained: Trained) {
        self.planner.adopt(trained);
    }

    fn complaint(&mut self) -> Option<String> {
        let failure = self.planner.model_failure()?;
        Some(format!("the model from elsewhere failed, the learned ones took its place: {failure}"))
    }

    fn save(&self) -> Vec<u8> {
        self.planner.save(&self.names)
    }
}

/// Minutes since 1970.
fn minutes(at: Timestamp) -> Minutes {
    at.as_millisecond() as f64 / 60_000.0
}

/// The whole second of so many minutes since 1970.
fn instant(at: Minutes) -> Timestamp {
    Timestamp::from_second((at * 60.0).round() as i64).unwrap_or(Timestamp::MAX)
}

/// Why a look is planned, in a sentence.
pub fn why(planned: &Planned) -> String {
    match planned.reason {
        Reason::Usual => "the cheapest instant by what it and its like have shown".to_owned(),
        Reason::Scout { waiting } => {
            format!("it is looked at for {waiting} more that come with it")
        }
        Reason::Upload { came, missing: 0 } => {
            format!("others of its group came ({came} found since)")
        }
        Reason::Upload { came, missing } => {
            format!("others of its group came ({came} found since, {missing} looked at in vain)")
        }
        Reason::Waits => "another of its group is being looked at".to_owned(),
        Reason::Last => "the last look before it is given up".to_owned(),
    }
}
