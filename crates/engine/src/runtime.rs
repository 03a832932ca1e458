//! One source while the engine runs: its grid, its agenda, its pace, and what is known of its
//! cells beyond what the agenda needs.

use crate::{
    EngineError, Options,
    arrival::{Arrival, Pay, Plan, Situation},
    budgets::spend_of_month,
    calls::{Call, Together},
    compiled::Compiled,
    grid::{Ranges, grid_of},
    hours::Hours,
    reserve::Chunk,
    way::{Asked, Before, Job},
};
use env::Moment;
use jiff::Timestamp;
use model::{
    AttemptId, CellKey, CellState, LateFrom, LookKind, Money, Period,
    grid::{CellOrdinal, Grid},
};
use pace::{FixedPace, FixedPaceSettings};
use plan::{
    agenda::{Agenda, Due, Priority, Restored},
    look::{LookPolicy, RetryBudget},
};
use source::Source;
use state::{BackfillRow, CellRow, SourceRow, SpendRow, StateStore};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// A source's entities may shrink to this share of what was known without a question.
const ENTITIES_KEPT_MIN: f64 = 0.5;
/// Lists shorter than this may shrink as they like.
const ENTITIES_GUARDED_MIN: u64 = 10;
/// Cells taken from the agenda at once.
const CELLS_AT_ONCE_MAX: usize = 16 * 1024;
/// Retries beyond this share of first attempts wait a whole look interval.
const RETRY_SHARE: f64 = 0.2;

pub(crate) struct Runtime {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) row: SourceRow,
    ranges: Ranges,
    grid: Arc<Grid>,
    agenda: Agenda,
    /// What the source file allows.
    pub(crate) ceiling: FixedPace,
    /// The scope whose limit its requests count against.
    pub(crate) scope: Arc<str>,
    pub(crate) retry_budget: RetryBudget,
    /// Rows of cells that are still of interest: open ones, and settled ones that are revisited.
    known: BTreeMap<u64, Known>,
    /// Reserved, and waiting for the pace's permission.
    pub(crate) ready: VecDeque<Job>,
    /// Reserved for cells that are not expected any more: their money goes back.
    pub(crate) unsent: Vec<AttemptId>,
    pub(crate) reserving: bool,
    /// How many requests are reserved at once.
    pub(crate) chunk: Chunk,
    /// Until when the day's budget is spent.
    pub(crate) spent_until: Option<Timestamp>,
    /// What all sources spent in this month, as far as it was read, and by that:
    pub(crate) spend: Vec<SpendRow>,
    /// when its looks were priced,
    pub(crate) priced_at: Option<Timestamp>,
    /// and when they are next, if a budget is short now.
    pub(crate) priced_again_at: Option<Timestamp>,
    /// Cells that failed and are retried soon.
    retrying: BTreeSet<u64>,
    /// Cells that ended their last attempt in this run without an answer that could be used.
    pub(crate) refused: BTreeSet<u64>,
    /// Cells whose period's budget is spent.
    pub(crate) parked_cells: BTreeSet<u64>,
    /// The length of the last answer to a paid look.
    pub(crate) last_bytes: Option<u64>,
    /// What is known of its arrivals, if it has `[arrival]`.
    pub(crate) arrival: Option<Box<Arrival>>,
    /// Which cells go into one request, where one may ask for many.
    pub(crate) together: Together,
    /// What its backfill waits for.
    pub(crate) hours: Hours,
}

struct Known {
    row: CellRow,
    /// The batch that carries the row; it is in the tables once that batch is settled.
    batch: i64,
}

/// A cell's ordinal as one number.
pub(crate) fn code(ordinal: CellOrdinal) -> u64 {
    u64::from(ordinal.period) << 32 | u64::from(ordinal.entity)
}

/// The ordinal of a [`code`].
pub(crate) fn ordinal_of(code: u64) -> CellOrdinal {
    CellOrdinal { entity: (code & 0xffff_ffff) as u32, period: (code >> 32) as u32 }
}

impl Runtime {
    /// Reads what the state knows of a source and plans from there.
    pub(crate) async fn open(
        source: Source,
        state: &dyn StateStore,
        options: &Options,
        now: Moment,
    ) -> Result<Self, EngineError> {
        let rows = state.sources().await?;
        let stored = rows.into_iter().find(|row| row.source == source.id);
        let backfills = state.backfills().await?;
        Self::guard_entities(&source, stored.as_ref(), options)?;
        let ranges = Ranges::of(&source, stored.as_ref(), &backfills, now.wall);
        let row = SourceRow {
            source: source.id.clone(),
            from: Some(ranges.from),
            paused: stored.as_ref().is_some_and(|row| row.paused),
            entities_seen: source.entities.len() as u64,
            version: source.version.clone(),
            updated_at: now.wall,
        };
        let changed = stored.as_ref().is_none_or(|known| {
            known.from != row.from
                || known.entities_seen != row.entities_seen
                || known.version != row.version
        });
        if changed {
            state.put_definition(&source.id, &source.version, &source.definition, now.wall).await?;
            state.put_source(&row).await?;
        }
        let cells = state.cells(&source.id).await?;
        let grid = Arc::new(grid_of(&source, &ranges));
        let ceiling = FixedPace::new(pace_settings(&source), now);
        let scope = source.limit_scope().into();
        let compiled = Arc::new(Compiled::new(source, options)?);
        let agenda = Agenda::new(Arc::clone(&grid));
        let arrival = open_arrival(&compiled, &grid, state).await?;
        let mut runtime = Self {
            compiled,
            row,
            ranges,
            grid,
            agenda,
            ceiling,
            scope,
            retry_budget: RetryBudget::new(RETRY_SHARE),
            known: BTreeMap::new(),
            ready: VecDeque::new(),
            unsent: Vec::new(),
            reserving: false,
            chunk: Chunk::new(now.monotonic),
            spent_until: None,
            spend: Vec::new(),
            priced_at: None,
            priced_again_at: None,
            retrying: BTreeSet::new(),
            refused: BTreeSet::new(),
            parked_cells: BTreeSet::new(),
            last_bytes: None,
            arrival,
            together: Together::default(),
            hours: Hours::default(),
        };
        if runtime.is_budgeted(&options.budget) {
            runtime.spend = spend_of_month(state, now.wall).await?;
        }
        runtime.hours.wished(&runtime.compiled.source.id, &backfills);
        runtime.mark_backfills();
        cells.into_iter().for_each(|cell| runtime.restore(cell, now.wall));
        Ok(runtime)
    }

    fn guard_entities(
        source: &Source,
        stored: Option<&SourceRow>,
        options: &Options,
    ) -> Result<(), EngineError> {
        let found = source.entities.len() as u64;
        let before = stored.map_or(0, |row| row.entities_seen);
        let lost =
            before >= ENTITIES_GUARDED_MIN && (found as f64) < before as f64 * ENTITIES_KEPT_MIN;
        if lost && !options.accept_entities.contains(&source.id) {
            return Err(EngineError::EntitiesLost { source_id: source.id.clone(), before, found });
        }
        Ok(())
    }

    /// Takes a changed definition; what is in flight ends under the one it began with.
    pub(crate) async fn replace(
        &mut self,
        source: Source,
        state: &dyn StateStore,
        options: &Options,
        now: Moment,
    ) -> Result<(), EngineError> {
        Self::guard_entities(&source, Some(&self.row), options)?;
        let backfills = state.backfills().await?;
        state.put_definition(&source.id, &source.version, &source.definition, now.wall).await?;
        self.row.version = source.version.clone();
        self.row.entities_seen = source.entities.len() as u64;
        self.row.updated_at = now.wall;
        self.ranges = Ranges::of(&source, Some(&self.row), &backfills, now.wall);
        self.row.from = Some(self.ranges.from);
        state.put_source(&self.row).await?;
        (self.spent_until, self.priced_at) = (None, None);
        self.ceiling.set(pace_settings(&source), now);
        self.scope = source.limit_scope().into();
        self.compiled = Arc::new(Compiled::new(source, options)?);
        self.hours.wished(&self.compiled.source.id, &backfills);
        self.forget_pages(now.wall);
        self.arrival = match (self.arrival.take(), &self.compiled.source.arrival) {
            (Some(arrival), Some(_)) => Some(arrival),
            (_, None) => None,
            (None, Some(_)) => open_arrival(&self.compiled, &self.grid, state).await?,
        };
        self.regrid();
        Ok(())
    }

    /// The least time between two requests that its file declares.
    pub(crate) fn crawl_delay(&self) -> Option<Duration> {
        self.compiled.source.limit.crawl_delay.and_then(|delay| Duration::try_from(delay).ok())
    }

    /// Looks that speak for many are not waited for any more, and cells whose budget was spent are
    /// asked for again.
    fn forget_pages(&mut self, now: Timestamp) {
        for code in self.arrival.iter_mut().flat_map(|arrival| arrival.pages_end()) {
            self.agenda.put_back(ordinal_of(code));
        }
        for code in std::mem::take(&mut self.parked_cells) {
            self.agenda.look_at(ordinal_of(code), now, Priority::Live);
        }
    }

    /// Takes pauses and backfills that others wrote into the state.
    pub(crate) fn refresh(&mut self, row: &SourceRow, backfills: &[BackfillRow], now: Timestamp) {
        self.row.paused = row.paused;
        self.hours.wished(&self.compiled.source.id, backfills);
        let ranges = Ranges::of(&self.compiled.source, Some(&self.row), backfills, now);
        if ranges != self.ranges {
            self.ranges = ranges;
            self.regrid();
        }
    }

    /// Extends the grid when its horizon comes near.
    pub(crate) fn extend(&mut self, now: Timestamp) {
        let today = now.to_zoned(self.compiled.source.calendar.timezone.clone()).date();
        if self.ranges.is_short(today) {
            self.ranges.until = crate::grid::horizon(today);
            self.regrid();
        }
    }

    fn regrid(&mut self) {
        let grid = Arc::new(grid_of(&self.compiled.source, &self.ranges));
        let remap = |code: u64| -> Option<u64> {
            let (entity, period) = self.cell_of(code)?;
            grid.ordinal(&entity, period).map(self::code)
        };
        let moved: BTreeMap<u64, u64> = self
            .known
            .keys()
            .chain(&self.retrying)
            .chain(&self.refused)
            .chain(&self.parked_cells)
            .copied()
            .chain(self.arrival.iter().flat_map(|arrival| arrival.codes()))
            .filter_map(|old| remap(old).map(|new| (old, new)))
            .collect();
        let move_set =
            |set: &BTreeSet<u64>| set.iter().filter_map(|old| moved.get(old).copied()).collect();
        self.retrying = move_set(&self.retrying);
        self.refused = move_set(&self.refused);
        self.parked_cells = move_set(&self.parked_cells);
        self.known = std::mem::take(&mut self.known)
            .into_iter()
            .filter_map(|(old, known)| moved.get(&old).map(|new| (*new, known)))
            .collect();
        // It is by places in the grid.
        self.together = Together::default();
        let unsent = &mut self.unsent;
        let mut pages_lost = Vec::new();
        let mut left_over = Vec::new();
        self.ready.retain_mut(|job| {
            let ordinal = grid.ordinal(&job.cell.entity, job.cell.period);
            match ordinal {
                Some(ordinal) => job.ordinal = ordinal,
                None => unsent.push(job.attempt),
            }
            job.others.retain_mut(|other| {
                let found = grid.ordinal(&other.cell.entity, other.cell.period);
                other.ordinal = found.unwrap_or(other.ordinal);
                found.is_some()
            });
            if ordinal.is_none() {
                left_over.extend(job.others.iter().map(|other| other.ordinal));
            }
            if ordinal.is_none() && job.look.speaks_for_many() {
                pages_lost.push((job.look, job.cell.period));
            }
            ordinal.is_some()
        });
        self.agenda.extend(Arc::clone(&grid));
        self.grid = grid;
        left_over.into_iter().for_each(|ordinal| self.agenda.put_back(ordinal));
        self.mark_backfills();
        if let Some(arrival) = &mut self.arrival {
            arrival.moved(&self.compiled, &self.grid, &moved, ordinal_of);
            for (kind, period) in pages_lost {
                for code in arrival.page_ends(kind, period) {
                    self.agenda.put_back(ordinal_of(code));
                }
            }
        }
    }

    fn cell_of(&self, code: u64) -> Option<(model::Entity, Period)> {
        let entity = self.grid.entities().get((code & 0xffff_ffff) as usize)?;
        let period = self.grid.periods().get((code >> 32) as usize)?;
        Some((entity.entity.clone(), period.period))
    }

    /// Periods before the source's start were asked for by backfills.
    fn mark_backfills(&mut self) {
        let from = self.ranges.from;
        let earlier = self
            .grid
            .periods()
            .iter()
            .take_while(|row| row.period.date().is_some_and(|date| date < from))
            .count();
        if earlier > 0 {
            self.agenda.set_backfill(0..earlier as u32);
        }
    }

    fn restore(&mut self, row: CellRow, now: Timestamp) {
        let Some(ordinal) = self.grid.ordinal(&row.entity, row.period) else { return };
        match (row.next_look_at, row.state) {
            (Some(at), state) => {
                let priority = if state.is_settled() { Priority::Probe } else { Priority::Live };
                // A schedule decides anew what it planned in a former run.
                let is_scheduled = self.arrival.is_some() && !state.is_settled();
                let at = if is_scheduled && row.failures == 0 { at.min(now) } else { at };
                self.agenda.restore(ordinal, Restored::LookAt(at, priority));
                self.known.insert(code(ordinal), Known { row, batch: 0 });
            }
            (None, CellState::Waiting { next_look_at, .. }) => {
                self.agenda.restore(ordinal, Restored::LookAt(next_look_at, Priority::Live));
                self.known.insert(code(ordinal), Known { row, batch: 0 });
            }
            (None, _) => self.agenda.restore(ordinal, Restored::Settled),
        }
    }

    pub(crate) fn policy(&self) -> &LookPolicy {
        &self.compiled.policy
    }

    pub(crate) fn paused(&self) -> bool {
        self.row.paused || !self.compiled.source.enabled
    }

    /// When a cell became due; one without a date became due on the source's first day.
    pub(crate) fn due_at(&self, ordinal: CellOrdinal) -> Timestamp {
        let started = || {
            let day = self.ranges.from.to_zoned(self.compiled.source.calendar.timezone.clone());
            day.map_or(Timestamp::UNIX_EPOCH, |day| day.timestamp())
        };
        match self.grid.periods().get(ordinal.period as usize) {
            Some(row) if row.period != Period::Once => row.closes_at,
            _ => started(),
        }
    }

    pub(crate) fn expected_due(&self, now: Timestamp) -> u64 {
        self.grid.expected_due(now)
    }

    /// How many cells that are, where one request asks for many.
    pub(crate) fn cells_of(&self, requests: usize) -> usize {
        requests.saturating_mul(self.compiled.asked_max()).clamp(requests, CELLS_AT_ONCE_MAX)
    }

    /// Cells to reserve money for, each with its request's cell and what is known of it.
    ///
    /// A cell whose last rows are not in the tables yet is left for later: its comparison with
    /// them would be wrong. The second value says that there was such a cell.
    pub(crate) fn take_due(
        &mut self,
        now: Timestamp,
        chunk: usize,
        settled_through: i64,
    ) -> (Vec<Due>, bool) {
        let taken = self.agenda.take_due(now, chunk);
        let (early, due): (Vec<Due>, Vec<Due>) = taken.into_iter().partition(|due| {
            self.known.get(&code(due.ordinal)).is_some_and(|known| {
                known.row.state == CellState::Present && known.batch > settled_through
            })
        });
        early.iter().for_each(|due| self.agenda.put_back(due.ordinal));
        (due, !early.is_empty())
    }

    pub(crate) fn cell(&self, ordinal: CellOrdinal) -> Option<CellKey> {
        let (entity, period) = self.cell_of(code(ordinal))?;
        Some(CellKey { source: self.compiled.source.id.clone(), entity, period })
    }

    /// Where a cell stands in the present grid that stood at `before` in this or an earlier one.
    pub(crate) fn locate(&self, cell: &CellKey, before: CellOrdinal) -> Option<CellOrdinal> {
        self.grid.locate(&cell.entity, cell.period, before)
    }

    /// Makes a job of a granted call.
    pub(crate) fn make_ready(
        &mut self,
        call: Call,
        (look, cost): (LookKind, Money),
        attempt: AttemptId,
        planned_at: Timestamp,
    ) {
        let Call { due, cell, others } = call;
        let code = code(due.ordinal);
        let belief = self.arrival.as_mut().and_then(|arrival| arrival.take_belief(code));
        let arrival = self.arrival.as_ref();
        let usual = arrival.and_then(|arrival| arrival.usual(&cell.entity));
        let others = others.into_iter().map(|(due, cell)| Asked {
            ordinal: due.ordinal,
            cell,
            prior: self.known(due.ordinal).cloned(),
        });
        let job = Job {
            compiled: Arc::clone(&self.compiled),
            ordinal: due.ordinal,
            cell,
            attempt,
            planned_at,
            priority: priority_word(due.priority),
            urgency: due.priority,
            // A page's answer is nobody's evidence.
            prior: self.known(due.ordinal).filter(|_| !look.speaks_for_many()).cloned(),
            look,
            cost,
            before: arrival.map(|arrival| {
                let validators = arrival.looked(code).map(|row| row.validators.clone());
                let why = arrival.pays(code).filter(|_| look.brings_data()).map(Pay::words);
                let validators = validators.unwrap_or_default();
                Box::new(Before { validators, why, belief: belief.map(Arc::new) })
            }),
            usual,
            closes_at: arrival.map(|_| self.due_at(due.ordinal)),
            others: others.collect(),
        };
        self.ready.push_back(job);
    }

    pub(crate) fn put_back(&mut self, due: &[Due]) {
        due.iter().for_each(|due| self.agenda.put_back(due.ordinal));
    }

    pub(crate) fn known(&self, ordinal: CellOrdinal) -> Option<&CellRow> {
        self.known.get(&code(ordinal)).map(|known| &known.row)
    }

    /// Books a cell's new row: plans its next look and keeps what will be needed for it.
    pub(crate) fn book(&mut self, ordinal: CellOrdinal, row: &CellRow, retrying: bool, batch: i64) {
        let code = code(ordinal);
        self.parked_cells.remove(&code);
        match row.next_look_at {
            Some(at) => {
                let priority =
                    if row.state.is_settled() { Priority::Probe } else { Priority::Live };
                self.agenda.look_at(ordinal, at, priority);
                self.known.insert(code, Known { row: row.clone(), batch });
            }
            None => {
                self.agenda.settle(ordinal);
                self.known.remove(&code);
            }
        }
        if retrying {
            self.retrying.insert(code);
        } else {
            self.retrying.remove(&code);
        }
        let usable = row.outcome.is_some_and(|outcome| {
            outcome.is_complete_observation()
                || matches!(outcome, model::Outcome::Gone | model::Outcome::Invalid)
        });
        if usable || matches!(row.state, CellState::Present) {
            self.refused.remove(&code);
        } else {
            self.refused.insert(code);
        }
    }

    /// When the agenda next has something to give out.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let hours = self.hours.wait.map(|wait| wait.until.max(now));
        let next = self.agenda.wake_at(now);
        let priced = next.and(self.priced_again_at.filter(|at| *at > now));
        let wake = next.into_iter().chain(hours).chain(priced).min()?;
        Some(self.spent_until.map_or(wake, |until| wake.max(until)))
    }

    /// Whether nothing is left that is due now or retried soon.
    pub(crate) fn done_for_now(&self, now: Timestamp, is_closed: bool) -> bool {
        let stuck = is_closed || self.paused() || self.spent_until.is_some_and(|until| now < until);
        (is_closed || self.ready.is_empty())
            && !self.reserving
            && (stuck || (self.agenda.due_now_is_empty(now) && self.retrying.is_empty()))
    }

    /// Cells that are due now and were not asked for.
    pub(crate) fn due_count(&self, now: Timestamp) -> u64 {
        self.agenda.due_count(now)
    }

    /// After this instant, what has no data yet is given up.
    pub(crate) fn deadline(&self, ordinal: CellOrdinal) -> Option<Timestamp> {
        let after = self.compiled.policy.give_up_after?;
        Some(self.due_at(ordinal).checked_add(after).unwrap_or(Timestamp::MAX))
    }

    /// Cells that are not asked for because their period's budget is spent.
    pub(crate) fn parked(&self) -> u64 {
        self.parked_cells.len() as u64
    }

    /// Cells of backfill that nothing was asked of yet.
    pub(crate) fn backfill_count(&self) -> u64 {
        self.agenda.backfill_count()
    }

    pub(crate) fn grid(&self) -> &Arc<Grid> {
        &self.grid
    }

    pub(crate) fn agenda(&mut self) -> &mut Agenda {
        &mut self.agenda
    }

    /// When the schedule wants to look at an open cell again; `None`: the plan decides.
    pub(crate) fn scheduled(&mut self, ordinal: CellOrdinal, now: Timestamp) -> Option<Timestamp> {
        let deadline = self.deadline(ordinal);
        if deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        Some(self.arrival.as_mut()?.next_at(ordinal, deadline, now))
    }

    /// From when on a cell that was looked at in vain is later than usual.
    pub(crate) fn late_from(&self, ordinal: CellOrdinal) -> Option<LateFrom> {
        self.arrival.as_ref()?.schedule.late_from(ordinal)
    }

    /// How the due cells are to be looked at; those that are to wait go back into the agenda.
    pub(crate) fn plan_looks(&mut self, due: Vec<Due>, now: Timestamp) -> Vec<(Due, LookKind)> {
        let Some(mut arrival) = self.arrival.take() else {
            return due.into_iter().map(|due| (due, LookKind::Paid)).collect();
        };
        let newest = self.grid.due_periods(now).checked_sub(1);
        let mut planned = Vec::with_capacity(due.len());
        for due in due {
            let code = code(due.ordinal);
            let Some((_, period)) = self.cell_of(code) else { continue };
            let situation = Situation {
                ordinal: due.ordinal,
                code,
                period,
                row: self.known.get(&code).map(|known| &known.row),
                is_backfill: due.priority == Priority::Backfill,
                deadline: self.deadline(due.ordinal),
                is_newest: Some(due.ordinal.period) == newest,
            };
            match arrival.plan(&self.compiled, &situation, now) {
                Plan::Now(kind) | Plan::Page(kind, true) => planned.push((due, kind)),
                // It is handed out, and waits for the answer to another's look.
                Plan::Page(_, false) => {}
                Plan::Later(at) => self.agenda.look_at(due.ordinal, at, due.priority),
            }
        }
        self.arrival = Some(arrival);
        planned
    }
}

/// What the state knows of a source's arrivals, if it has `[arrival]`.
async fn open_arrival(
    compiled: &Compiled,
    grid: &Arc<Grid>,
    state: &dyn StateStore,
) -> Result<Option<Box<Arrival>>, EngineError> {
    let source = &compiled.source;
    if source.arrival.is_none() {
        return Ok(None);
    }
    let rows = state.schedules().await?;
    let row = rows.iter().find(|row| row.source == source.id);
    let mut arrival = Arrival::new(compiled, grid, row);
    for row in state.looks(&source.id).await? {
        if let Some(ordinal) = grid.ordinal(&row.entity, row.period) {
            arrival.remember(ordinal, code(ordinal), row);
        }
    }
    Ok(Some(Box::new(arrival)))
}

fn pace_settings(source: &Source) -> FixedPaceSettings {
    let limit = &source.limit;
    let delayed = limit.crawl_delay.map(|delay| delay.as_secs_f64().recip());
    FixedPaceSettings {
        rate_per_second: match (limit.rate_per_second, delayed) {
            (Some(rate), Some(delayed)) => Some(rate.min(delayed)),
            (rate, delayed) => rate.or(delayed),
        },
        burst: if delayed.is_some() { 1 } else { limit.burst },
        concurrency: source.limit.concurrency,
    }
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Live => "live",
        Priority::Repair => "repair",
        Priority::Backfill => "backfill",
        Priority::Probe => "probe",
    }
}
