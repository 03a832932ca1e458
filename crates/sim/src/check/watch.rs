//! All checkers together, told of each event of an engine and of each start of one.

use super::{
    Arrivals, Attempts, Bill, Budgets, Checked, Live, Looks, PaceBound, Rows, Spent, Violation,
    broken,
    tables::{AttemptRow, Reader},
};
use crate::{
    clock::LifeClock,
    kill::Durable,
    scenario::{Endpoint, Scenario},
    server::{Arrival, Kind, Servers, is_page},
    world::Record,
};
use archive::Archive;
use engine::Event;
use env::Clock;
use futures::FutureExt;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use lake::{LedgerTable, TableRef};
use model::{AttemptId, Budget, CellKey, CellState, Entity, Money, Outcome, Period, SourceId};
use source::Source;
use state::StateStore;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long after a pause a request may still leave.
const PAUSE_TAKES: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Watch {
    pub(super) scenario: Scenario,
    pub(super) durable: Durable,
    pub(super) servers: Arc<Servers>,
    pub(super) attempts: Attempts,
    pub(super) sources: BTreeMap<SourceId, Watched>,
    pub(super) budgets: Budgets,
    pub(super) spent: Spent,
    pub(super) outcomes: BTreeMap<AttemptId, Outcome>,
    pub(super) ledger_cells: BTreeMap<CellKey, (String, Option<String>)>,
    pub(super) unbooked_rows: BTreeMap<i64, (SourceId, String)>,
    reader: Reader,
    arrivals_seen: usize,
    batches: u64,
    pub(super) paid: u64,
}

/// One source and its checkers.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) source: Source,
    pub(super) endpoint: Endpoint,
    pub(super) rows: Rows,
    /// The cells that are expected by the scenario's end, and when they are due.
    pub(super) cells: BTreeMap<CellKey, Timestamp>,
    pub(super) arrivals: Arrivals,
    pace: PaceBound,
    looks: Option<Looks>,
    states: BTreeMap<CellKey, CellState>,
    paused_at: Option<Duration>,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Requests that reached a server.
    pub requests: u64,
    /// Cells that were due.
    pub due: u64,
    /// Due cells by the word of their state; those without a row are `unasked`.
    pub states: BTreeMap<String, u64>,
    /// Attempts of the ledger by the word of their outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Batches settled.
    pub batches: u64,
    /// Attempts of the ledger whose answer can be data.
    pub paid: u64,
    /// Engines killed.
    pub kills: u64,
    /// True time from the start until the last engine ended.
    pub finished_after: Duration,
    /// What the cells of each history cost, and the share that this is of a poll's cost.
    pub bills: BTreeMap<SourceId, (Bill, f64)>,
}

/// What one event leads to: an attempt that ended, as its server saw it.
struct Answered {
    records: Vec<Record>,
    arrived_at: Duration,
}

impl Watch {
    /// Watches over a scenario.
    pub fn new(
        scenario: &Scenario,
        sources: &[Source],
        durable: Durable,
        servers: Arc<Servers>,
    ) -> Self {
        let money = |units: Option<f64>| units.and_then(Money::from_units);
        let budgets = Budgets {
            sources: sources.iter().map(|source| (source.id.clone(), source.budget)).collect(),
            project: Budget {
                per_day: money(scenario.engine.budget_per_day),
                per_month: money(scenario.engine.budget_per_month),
                per_period: None,
            },
            periods: BTreeMap::new(),
        };
        let watched = scenario.sources.iter().zip(sources);
        Self {
            sources: watched
                .map(|(endpoint, source)| {
                    (source.id.clone(), Watched::new(scenario, endpoint, source))
                })
                .collect(),
            scenario: scenario.clone(),
            durable,
            servers,
            attempts: Attempts::default(),
            budgets,
            spent: Spent::default(),
            outcomes: BTreeMap::new(),
            ledger_cells: BTreeMap::new(),
            unbooked_rows: BTreeMap::new(),
            reader: Reader::default(),
            arrivals_seen: 0,
            batches: 0,
            paid: 0,
        }
    }

    /// A new engine is open: it has finished what the one before left behind.
    ///
    /// # Errors
    /// What it finished is not right.
    pub fn begin(&mut self, now: Timestamp) -> Checked {
        self.attempts.begin(self.servers.book().log.len());
        self.arrivals_seen = self.servers.book().log.len();
        for (id, watched) in &mut self.sources {
            watched.pace.begin();
            let rows = ready(self.durable.state.cells(id))?;
            watched.begin(id, rows.into_iter().map(|row| (row.entity, row.period, row.state)), now);
        }
        self.read_tables()
    }

    /// A person paused a source, or resumed it.
    pub fn paused(&mut self, source: &SourceId, paused: bool, clock: &LifeClock) {
        if let Some(watched) = self.sources.get_mut(source) {
            watched.paused_at = paused.then(|| clock.elapsed());
            if let Some(looks) = &mut watched.looks {
                looks.excuse(clock.now().wall);
            }
        }
    }

    /// A person asked for older data.
    pub fn backfilled(&mut self, source: &SourceId, from: Date, until: Date, now: Timestamp) {
        if let Some(watched) = self.sources.get_mut(source) {
            watched.expect(from, until, Some(now));
        }
    }

    /// An engine's event, at once after it happened.
    ///
    /// # Errors
    /// An invariant does not hold.
    pub fn event(&mut self, event: &Event, clock: &LifeClock) -> Checked {
        self.follow_log()?;
        match event {
            Event::Sent { source, attempt, .. } => {
                self.attempts.sent(*attempt)?;
                self.sent(source, clock.elapsed())?;
                self.budgets.check(&ready(self.durable.state.spend(None))?)?;
            }
            Event::Ended { source, entity, period, attempt, outcome, state, .. } => {
                let cell =
                    CellKey { source: source.clone(), entity: entity.clone(), period: *period };
                self.ended(&cell, *attempt, *outcome, *state, clock)?;
            }
            Event::Paced { .. } | Event::LookLied { .. } | Event::Arrived { .. } => {}
            Event::Settled { .. } => {
                self.batches += 1;
                self.read_tables()?;
            }
        }
        self.tick(clock.now().wall)
    }

    /// Time went by.
    ///
    /// # Errors
    /// A cell was forgotten.
    pub fn tick(&mut self, now: Timestamp) -> Checked {
        for watched in self.sources.values_mut() {
            if let (None, Some(looks)) = (watched.paused_at, &watched.looks) {
                looks.check(now)?;
            }
        }
        Ok(())
    }

    /// What arrived at the servers since the last event.
    fn follow_log(&mut self) -> Checked {
        let book = self.servers.book();
        for arrival in &book.log[self.arrivals_seen..] {
            if let Some(watched) = self.sources.get_mut(&arrival.cell.source) {
                watched.pace.arrive(arrival.elapsed, arrival.under_way)?;
                if let Some(looks) = &mut watched.looks {
                    looks.drop_wish(&arrival.cell);
                }
            }
        }
        self.arrivals_seen = book.log.len();
        Ok(())
    }

    fn sent(&mut self, source: &SourceId, now: Duration) -> Checked {
        let Some(watched) = self.sources.get_mut(source) else { return Ok(()) };
        watched.pace.sent(now)?;
        match watched.paused_at {
            Some(paused_at) if now > paused_at + PAUSE_TAKES => {
                broken("a paused source is left alone", format!("a request to `{source}`"))
            }
            _ => Ok(()),
        }
    }

    fn ended(
        &mut self,
        cell: &CellKey,
        attempt: AttemptId,
        outcome: Outcome,
        state: CellState,
        clock: &LifeClock,
    ) -> Checked {
        let arrival = self.attempts.ended(attempt)?;
        self.outcomes.insert(attempt, outcome);
        let answered = self.answered(cell, attempt, arrival, outcome)?;
        let Some(watched) = self.sources.get_mut(&cell.source) else { return Ok(()) };
        if outcome == Outcome::RateLimited
            && let Some(wait) = watched.endpoint.server.limiter.and_then(|it| it.retry_after)
        {
            watched.pace.refused(clock.elapsed(), wait.unsigned());
        }
        let before = watched.states.insert(cell.clone(), state);
        let had_records = before == Some(CellState::Present);
        let has_records = match outcome {
            Outcome::Ok | Outcome::NotModified => !answered.records.is_empty(),
            Outcome::EmptyProven => false,
            _ => had_records,
        };
        if has_records != (state == CellState::Present) {
            return broken(
                "states follow from outcomes",
                format!(
                    "`{cell}` was {before:?}, attempt {attempt} of {:?} ended with `{outcome}`, and it is {state:?}",
                    answered.arrived_at
                ),
            );
        }
        if let (CellState::Waiting { next_look_at, .. }, Some(looks)) = (state, &mut watched.looks)
        {
            looks.want(cell.clone(), next_look_at);
        }
        Ok(())
    }

    /// What the server answered to an attempt; it permits the outcome.
    fn answered(
        &self,
        cell: &CellKey,
        attempt: AttemptId,
        arrival: usize,
        outcome: Outcome,
    ) -> Result<Answered, Violation> {
        let book = self.servers.book();
        let asks_for = |arrival: &&Arrival| {
            arrival.cell == *cell || (is_page(&arrival.cell) && arrival.cell.period == cell.period)
        };
        let Some(arrival) = book.log.get(arrival).filter(asks_for) else {
            let found = format!("attempt {attempt} for `{cell}` never reached its server");
            return Err(Violation { check: "attempts reach their servers", found });
        };
        let records = self.records(cell, arrival.kind.version());
        let there = match arrival.kind {
            Kind::RenamedField(version)
            | Kind::RenamedList(version)
            | Kind::StillRenamed(version) => !self.records(cell, version).is_empty(),
            _ => !records.is_empty(),
        };
        if !arrival.kind.permits(outcome, there) {
            broken(
                "outcomes are decided by evidence",
                format!(
                    "attempt {attempt} for `{cell}`, the {}. request for it, was answered with {:?} and ended as `{outcome}`",
                    arrival.number + 1,
                    arrival.kind
                ),
            )?;
        }
        Ok(Answered { records, arrived_at: arrival.elapsed })
    }

    fn records(&self, cell: &CellKey, version: Option<usize>) -> Vec<Record> {
        let truth = self.servers.world.truth(cell);
        let version = version.and_then(|at| truth.as_ref()?.versions.get(at).cloned());
        version.map(|version| version.records).unwrap_or_default()
    }

    /// Reads what was appended to the tables, and checks each row of it.
    ///
    /// # Errors
    /// A row is wrong.
    pub fn read_tables(&mut self) -> Checked {
        for (id, watched) in &mut self.sources {
            let table = TableRef::Data(watched.source.table.clone());
            for row in self.reader.data(&self.durable.lake, &table)? {
                watched.rows.push(&row)?;
                self.unbooked_rows.insert(row.attempt, (id.clone(), row.digest));
            }
            watched.rows.end_batch();
        }
        let table = TableRef::Ledger(LedgerTable::Attempts);
        let mut complete: BTreeMap<CellKey, Vec<Record>> = BTreeMap::new();
        for row in self.reader.attempts(&self.durable.lake, &table)? {
            let cell = cell_of(&row.source, &row.entity, &row.period)?;
            self.attempts.booked(row.attempt)?;
            self.spent.book(row.day, cell.source.clone(), row.cost);
            self.budgets.booked(&cell, row.cost)?;
            if let Some(records) = self.booked(&cell, &row)? {
                complete.insert(cell, records);
            }
        }
        for (cell, records) in complete {
            if let Some(watched) = self.sources.get(&cell.source) {
                let period = cell.period.to_string();
                watched.rows.equals(cell.entity.as_str(), &period, &records)?;
            }
        }
        let table = TableRef::Ledger(LedgerTable::Arrivals);
        for row in self.reader.arrivals(&self.durable.lake, &table)? {
            let cell = cell_of(&row.source, &row.entity, &row.period)?;
            let truth = self.servers.world.truth(&cell);
            if let (Some(watched), Some(truth)) = (self.sources.get_mut(&cell.source), truth) {
                watched.arrivals.booked(&cell, &row, &truth)?;
            }
        }
        let table = TableRef::Ledger(LedgerTable::Cells);
        for row in self.reader.cells(&self.durable.lake, &table)? {
            let cell = cell_of(&row.source, &row.entity, &row.period)?;
            self.ledger_cells.insert(cell, (row.state, row.cause));
        }
        Ok(())
    }

    /// An attempt of the ledger; what the cell must have by it, if it was a complete observation.
    fn booked(
        &mut self,
        cell: &CellKey,
        row: &AttemptRow,
    ) -> Result<Option<Vec<Record>>, Violation> {
        let loaded = self.unbooked_rows.remove(&row.attempt.0);
        if row.was_cut_off {
            if loaded.is_some() {
                let found =
                    format!("attempt {} was cut off, and the table has rows of it", row.attempt);
                broken("what is loaded is accounted", found)?;
            }
            return Ok(None);
        }
        if row.outcome != self.outcomes.get(&row.attempt).copied() {
            let found = format!(
                "attempt {} ended as {:?} and is in the ledger as {:?}",
                row.attempt,
                self.outcomes.get(&row.attempt),
                row.outcome
            );
            broken("the ledger says what happened", found)?;
        }
        if let Some((_, digest)) = loaded {
            self.trace(row, &digest)?;
        }
        self.paid += u64::from(row.look.is_some_and(model::LookKind::brings_data));
        let is_complete = row.outcome.is_some_and(Outcome::is_complete_observation);
        if !is_complete || row.look.is_some_and(|look| !look.brings_data()) {
            return Ok(None);
        }
        let arrival = self.attempts.arrival(row.attempt);
        let version = arrival.and_then(|at| self.servers.book().log.get(at)?.kind.version());
        Ok(Some(self.records(cell, version)))
    }

    /// A loaded row leads to the bytes it was made of.
    fn trace(&self, row: &AttemptRow, digest: &str) -> Checked {
        let check = "records are traceable to archived bytes";
        if row.digest.as_deref() != Some(digest) {
            return broken(check, format!("{row:?} has rows with the digest {digest}"));
        }
        let Some(reference) = &row.archive else { return broken(check, format!("{row:?}")) };
        if self.durable.lost.contains(reference) {
            return broken(check, format!("the bytes of {row:?} were lost by a kill"));
        }
        let Ok(at) = reference.parse() else { return broken(check, format!("{row:?}")) };
        match self.durable.archive.read(&at).now_or_never() {
            Some(Ok(response)) if archive::digest(&response.body).to_string() == digest => Ok(()),
            other => broken(check, format!("{row:?} leads to {other:?}")),
        }
    }

    /// The newest rows of all tables.
    pub fn live(&self) -> BTreeMap<SourceId, Live> {
        self.sources.iter().map(|(id, it)| (id.clone(), it.rows.live().clone())).collect()
    }

    /// How many batches were settled.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }
}

impl Watched {
    fn new(scenario: &Scenario, endpoint: &Endpoint, source: &Source) -> Self {
        let mut watched = Self {
            pace: PaceBound::new(source.limit.clone()),
            arrivals: Arrivals::new(
                endpoint.server.heads.promises_share + endpoint.server.heads.conceals_share == 0.0,
            ),
            looks: endpoint.asked_within.map(|patience| Looks::new(patience.0)),
            source: source.clone(),
            endpoint: endpoint.clone(),
            rows: Rows::default(),
            cells: BTreeMap::new(),
            states: BTreeMap::new(),
            paused_at: None,
        };
        let start = scenario.start.to_zoned(TimeZone::UTC).date();
        let end = scenario.end().to_zoned(TimeZone::UTC).date();
        watched.expect(source.from.unwrap_or(start), end, None);
        watched
    }

    /// The cells of these days are expected; from `now` on they are waited for.
    fn expect(&mut self, from: Date, until: Date, now: Option<Timestamp>) {
        let grid = source::grid(&self.source, from, until);
        for (entity, period) in (0..grid.entities().len() as u32)
            .flat_map(|entity| (0..grid.periods().len() as u32).map(move |period| (entity, period)))
        {
            if !grid.expects(model::CellOrdinal { entity, period }) {
                continue;
            }
            let row = grid.periods()[period as usize];
            let entity = grid.entities()[entity as usize].entity.clone();
            let cell = CellKey { source: self.source.id.clone(), entity, period: row.period };
            if let (Some(looks), Some(now)) = (&mut self.looks, now)
                && !self.cells.contains_key(&cell)
            {
                looks.want(cell.clone(), row.closes_at.max(now));
            }
            self.cells.insert(cell, row.closes_at);
        }
    }

    fn begin(
        &mut self,
        id: &SourceId,
        rows: impl Iterator<Item = (Entity, Period, CellState)>,
        now: Timestamp,
    ) {
        self.states = rows
            .map(|(entity, period, state)| (CellKey { source: id.clone(), entity, period }, state))
            .collect();
        let Some(patience) = self.endpoint.asked_within else { return };
        let mut looks = Looks::new(patience.0);
        looks.excuse(now);
        for (cell, due_at) in &self.cells {
            match self.states.get(cell) {
                None => looks.want(cell.clone(), *due_at),
                Some(CellState::Waiting { next_look_at, .. }) => {
                    looks.want(cell.clone(), *next_look_at);
                }
                Some(_) => {}
            }
        }
        self.looks = Some(looks);
    }
}

/// The memory engines are ready at once.
pub(super) fn ready<T>(future: state::StateFuture<'_, T>) -> Result<T, Violation> {
    match future.now_or_never() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => {
            Err(Violation { check: "the state can be read", found: error.to_string() })
        }
        None => Err(Violation { check: "the state can be read", found: "it waits".to_owned() }),
    }
}

fn cell_of(source: &str, entity: &str, period: &str) -> Result<CellKey, Violation> {
    let parsed = || {
        let source = SourceId::parse(source).ok()?;
        let entity = Entity::parse(entity).ok()?;
        Some(CellKey { source, entity, period: Period::parse(period).ok()? })
    };
    parsed().ok_or_else(|| Violation {
        check: "the ledger names cells",
        found: format!("`{source} {entity} {period}` is none"),
    })
}
