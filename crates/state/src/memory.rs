//! The engine for the simulator: ordered maps behind one lock.
//!
//! No I/O and no awaiting inside: each future is ready when it is first polled, so that paused
//! time never moves because of it. Nothing survives the last clone.

use crate::{
    budget,
    error::StateError,
    open_bits::OpenBits,
    port::{StateFuture, StateStore},
    rows::{
        BackfillRow, Batch, CellCount, CellFilter, CellRow, Granted, HoldShares, LookRow,
        NewBackfill, NewProject, OpenAttempt, PaceRow, PeriodCount, ProjectRow, Rebuilt, Reserve,
        ScheduleRow, SourceRow, SpendRow,
    },
    share::{self, Lease},
    wire,
};
use jiff::{Timestamp, civil::Date};
use model::{AttemptId, CellKey, Entity, Money, Period, SourceId, SourceVersion};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Hot state in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    project: ProjectRow,
    generation: u64,
    sources: BTreeMap<SourceId, SourceRow>,
    definitions: BTreeMap<(SourceId, SourceVersion), String>,
    cells: BTreeMap<SourceId, BTreeMap<(Period, Entity), CellRow>>,
    spend: BTreeMap<(Date, SourceId), (u64, Money)>,
    period_spend: BTreeMap<(SourceId, Period), Money>,
    reservations: BTreeMap<i64, Reservation>,
    looks: BTreeMap<SourceId, BTreeMap<(Period, Entity), LookRow>>,
    schedules: BTreeMap<SourceId, ScheduleRow>,
    batches: BTreeMap<i64, Batch>,
    backfills: BTreeMap<i64, BackfillRow>,
    paces: BTreeMap<String, PaceRow>,
    /// By scope and holder.
    shares: BTreeMap<String, BTreeMap<String, Lease>>,
}

#[derive(Debug)]
struct Reservation {
    source: SourceId,
    cells: Vec<(Entity, Period)>,
    cost: Money,
    at: Timestamp,
    open: OpenBits,
}

impl MemoryStore {
    /// An empty store of a new project.
    pub fn new(project: NewProject) -> Self {
        let NewProject { project_id, created_at } = project;
        let project = ProjectRow {
            project_id,
            created_at: wire::kept(created_at),
            observed_at_max: None,
            next_attempt: 1,
            next_batch: 1,
        };
        let kept = Kept {
            project,
            generation: 0,
            sources: BTreeMap::new(),
            definitions: BTreeMap::new(),
            cells: BTreeMap::new(),
            spend: BTreeMap::new(),
            period_spend: BTreeMap::new(),
            reservations: BTreeMap::new(),
            looks: BTreeMap::new(),
            schedules: BTreeMap::new(),
            batches: BTreeMap::new(),
            backfills: BTreeMap::new(),
            paces: BTreeMap::new(),
            shares: BTreeMap::new(),
        };
        Self { kept: Arc::new(Mutex::new(kept)) }
    }

    fn with<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Kept) -> Result<T, StateError> + Send + 'a,
    ) -> StateFuture<'a, T> {
        Box::pin(async move {
            // A panic elsewhere cannot leave a half-made change: each is checked before it is made.
            work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

fn matches(filter: &CellFilter, source: &SourceId, row: &CellRow) -> bool {
    filter.source.as_ref().is_none_or(|wanted| wanted == source)
        && filter.state.as_ref().is_none_or(|wanted| wanted == row.state.as_str())
        && filter.cause.is_none_or(|(wanted, now)| row.cause(now) == Some(wanted))
        && filter.entity.as_ref().is_none_or(|wanted| *wanted == row.entity)
        && filter.period_from.is_none_or(|from| from <= row.period)
        && filter.period_to.is_none_or(|to| row.period <= to)
}

impl Kept {
    fn put_cell(&mut self, source: SourceId, mut row: CellRow) {
        wire::normalize(&mut row);
        let rows = self.cells.entry(source).or_default();
        rows.insert((row.period, row.entity.clone()), row);
    }

    fn reserve(&mut self, request: &Reserve) -> Granted {
        let at = wire::kept(request.at);
        let day = budget::day_of(at);
        let (granted, exhausted) = budget::grant(request, &self.spent(request, day));
        let first = self.project.next_attempt;
        if granted > 0 {
            let cost = budget::cost_each(request);
            let (requests, spent) = self.spend.entry((day, request.source.clone())).or_default();
            *requests += granted as u64;
            *spent += cost * granted as i64;
            let periods = request.cells.iter().take(granted).map(|(_, period)| period);
            for (period, spent) in budget::by_period(periods, cost) {
                self.charge_period(&request.source, period, spent);
            }
            self.project.next_attempt += granted as i64;
            self.reservations.insert(
                first,
                Reservation {
                    source: request.source.clone(),
                    cells: request.cells.iter().take(granted).cloned().collect(),
                    cost,
                    at,
                    open: OpenBits::all(granted),
                },
            );
        }
        Granted { first: AttemptId(first), granted, exhausted }
    }

    fn spent(&self, request: &Reserve, day: Date) -> budget::Spent {
        let sum = |from: Date, until: Date, source: Option<&SourceId>| {
            self.spend
                .iter()
                .filter(|((on, by), _)| {
                    (from..=until).contains(on) && source.is_none_or(|wanted| wanted == by)
                })
                .map(|(_, (_, spent))| *spent)
                .sum::<Money>()
        };
        let source = Some(&request.source);
        let mut spent = budget::Spent {
            source_day: sum(day, day, source),
            project_day: sum(day, day, None),
            ..budget::Spent::default()
        };
        if budget::needs_month(request) {
            let (from, until) = (day.first_of_month(), day.last_of_month());
            spent.source_month = sum(from, until, source);
            spent.project_month = sum(from, until, None);
        }
        if request.source_budget.per_period.is_some() {
            for (_, period) in &request.cells {
                let key = (request.source.clone(), *period);
                let known = self.period_spend.get(&key).copied().unwrap_or_default();
                spent.periods.insert(*period, known);
            }
        }
        spent
    }

    fn charge_period(&mut self, source: &SourceId, period: Period, spent: Money) {
        let known = self.period_spend.entry((source.clone(), period)).or_default();
        *known += spent;
        if *known == Money::ZERO {
            self.period_spend.remove(&(source.clone(), period));
        }
    }

    /// Gives back what an open attempt cost less than was reserved for it.
    fn refund(&mut self, attempt: AttemptId, refund: Money) {
        let Some((&first, reservation)) = self.reservations.range(..=attempt.0).next_back() else {
            return;
        };
        let index = usize::try_from(attempt.0 - first).unwrap_or(usize::MAX);
        let Some((_, period)) = reservation.cells.get(index).cloned() else { return };
        if !reservation.open.contains(index) {
            return;
        }
        let refund = refund.min(reservation.cost).max(Money::ZERO);
        let back = Money::ZERO - refund;
        let (day, source) = (budget::day_of(reservation.at), reservation.source.clone());
        if let Some((_, spent)) = self.spend.get_mut(&(day, source.clone())) {
            *spent += back;
        }
        self.charge_period(&source, period, back);
    }

    fn close(&mut self, attempts: &[AttemptId], money_back: bool) {
        for attempt in attempts {
            let Some((&first, reservation)) = self.reservations.range_mut(..=attempt.0).next_back()
            else {
                continue;
            };
            let index = usize::try_from(attempt.0 - first).unwrap_or(usize::MAX);
            if !reservation.open.close(index) {
                continue;
            }
            if money_back {
                let day = (budget::day_of(reservation.at), reservation.source.clone());
                if let Some((requests, spent)) = self.spend.get_mut(&day) {
                    *requests = requests.saturating_sub(1);
                    *spent = *spent - reservation.cost;
                    if *requests == 0 {
                        self.spend.remove(&day);
                    }
                }
                if let Some((_, period)) = reservation.cells.get(index) {
                    let key = (reservation.source.clone(), *period);
                    if let Some(spent) = self.period_spend.get_mut(&key) {
                        *spent = *spent - reservation.cost;
                        if *spent == Money::ZERO {
                            self.period_spend.remove(&key);
                        }
                    }
                }
            }
            if reservation.open.is_empty() {
                self.reservations.remove(&first);
            }
        }
    }

    fn settle(&mut self, number: i64) -> Result<(), StateError> {
        let Some(batch) = self.batches.remove(&number) else {
            let next_batch = self.project.next_batch;
            let settled = (1..next_batch).contains(&number);
            return if settled {
                Ok(())
            } else {
                Err(StateError::UnknownBatch { number, next_batch })
            };
        };
        for (source, row) in batch.cells {
            self.put_cell(source, row);
        }
        for (source, row) in &batch.looks {
            self.put_look(source, row);
        }
        for cell in &batch.looks_over {
            if let Some(rows) = self.looks.get_mut(&cell.source) {
                rows.remove(&(cell.period, cell.entity.clone()));
            }
        }
        for (attempt, refund) in &batch.refunds {
            self.refund(*attempt, *refund);
        }
        self.close(&batch.attempts, false);
        let observed_at_max = batch.observed_at_max.map(wire::kept);
        self.project.observed_at_max = self.project.observed_at_max.max(observed_at_max);
        Ok(())
    }

    fn put_look(&mut self, source: &SourceId, row: &LookRow) {
        let rows = self.looks.entry(source.clone()).or_default();
        rows.insert((row.period, row.entity.clone()), row.clone());
    }

    fn put_schedules(&mut self, rows: &[ScheduleRow]) {
        self.schedules.extend(rows.iter().map(|row| {
            let updated_at = wire::kept(row.updated_at);
            (row.source.clone(), ScheduleRow { updated_at, ..row.clone() })
        }));
    }

    fn hold_share(&mut self, wish: &HoldShares, scope: &str) -> f64 {
        let now = wire::nanoseconds(wish.now);
        let holders = self.shares.entry(scope.to_owned()).or_default();
        holders.retain(|holder, lease| *holder != wish.holder && lease.expires_at > now);
        let others: Vec<i64> = holders.values().map(|lease| lease.parts).collect();
        let parts = share::granted(&others);
        let expires_at = share::expires_at(wish.now, wish.lasts);
        holders.insert(wish.holder.clone(), Lease { parts, expires_at });
        share::share(parts)
    }

    fn import(&mut self, rebuilt: &Rebuilt) -> Result<(), StateError> {
        let untouched = self.sources.is_empty()
            && self.cells.is_empty()
            && self.spend.is_empty()
            && self.project.next_attempt == 1
            && self.project.next_batch == 1;
        if !untouched {
            return Err(StateError::NotEmpty);
        }
        for row in &rebuilt.sources {
            let kept = SourceRow { updated_at: wire::kept(row.updated_at), ..row.clone() };
            self.sources.insert(row.source.clone(), kept);
        }
        for (source, row) in &rebuilt.cells {
            self.put_cell(source.clone(), row.clone());
        }
        for row in &rebuilt.spend {
            let (requests, spent) = self.spend.entry((row.day, row.source.clone())).or_default();
            *requests += row.requests;
            *spent += row.spent;
        }
        for (source, period, spent) in &rebuilt.period_spend {
            self.charge_period(source, *period, *spent);
        }
        for (source, row) in &rebuilt.looks {
            self.put_look(source, row);
        }
        self.put_schedules(&rebuilt.schedules);
        self.project.next_attempt = rebuilt.next_attempt.max(1);
        self.project.next_batch = rebuilt.next_batch.max(1);
        self.project.observed_at_max = rebuilt.observed_at_max.map(wire::kept);
        self.generation += 1;
        Ok(())
    }
}

impl StateStore for MemoryStore {
    fn project(&self) -> StateFuture<'_, ProjectRow> {
        self.with(|kept| Ok(kept.project.clone()))
    }

    fn sources(&self) -> StateFuture<'_, Vec<SourceRow>> {
        self.with(|kept| Ok(kept.sources.values().cloned().collect()))
    }

    fn put_source(&self, row: &SourceRow) -> StateFuture<'_, ()> {
        let row = SourceRow { updated_at: wire::kept(row.updated_at), ..row.clone() };
        self.with(move |kept| {
            let same = kept.sources.get(&row.source).is_some_and(|before| {
                *before == SourceRow { updated_at: before.updated_at, ..row.clone() }
            });
            if !same {
                kept.sources.insert(row.source.clone(), row);
                kept.generation += 1;
            }
            Ok(())
        })
    }

    fn put_definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
        definition: &str,
        _at: Timestamp,
    ) -> StateFuture<'_, ()> {
        let key = (source.clone(), version.clone());
        let definition = definition.to_owned();
        self.with(move |kept| {
            kept.definitions.insert(key, definition);
            Ok(())
        })
    }

    fn definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
    ) -> StateFuture<'_, Option<String>> {
        let key = (source.clone(), version.clone());
        self.with(move |kept| Ok(kept.definitions.get(&key).cloned()))
    }

    fn cells(&self, source: &SourceId) -> StateFuture<'_, Vec<CellRow>> {
        let source = source.clone();
        self.with(move |kept| {
            Ok(kept.cells.get(&source).into_iter().flat_map(BTreeMap::values).cloned().collect())
        })
    }

    fn cell(&self, key: &CellKey) -> StateFuture<'_, Option<CellRow>> {
        let CellKey { source, entity, period } = key.clone();
        self.with(move |kept| {
            let row = kept.cells.get(&source).and_then(|rows| rows.get(&(period, entity)));
            Ok(row.cloned())
        })
    }

    fn find_cells(
        &self,
        filter: &CellFilter,
        limit: u32,
    ) -> StateFuture<'_, Vec<(SourceId, CellRow)>> {
        let filter = filter.clone();
        self.with(move |kept| {
            let all = kept
                .cells
                .iter()
                .flat_map(|(source, rows)| rows.values().map(move |row| (source, row)));
            Ok(all
                .filter(|(source, row)| matches(&filter, source, row))
                .take(limit as usize)
                .map(|(source, row)| (source.clone(), row.clone()))
                .collect())
        })
    }

    fn counts(&self, now: Timestamp) -> StateFuture<'_, Vec<CellCount>> {
        self.with(move |kept| {
            let mut counts = BTreeMap::<_, u64>::new();
            for (source, rows) in &kept.cells {
                for row in rows.values() {
                    *counts.entry((source, row.state.as_str(), row.cause(now))).or_default() += 1;
                }
            }
            Ok(counts
                .into_iter()
                .map(|((source, state, cause), cells)| CellCount {
                    source: source.clone(),
                    state: state.to_owned(),
                    cause,
                    cells,
                })
                .collect())
        })
    }

    fn periods_summary(
        &self,
        source: &SourceId,
        now: Timestamp,
    ) -> StateFuture<'_, Vec<PeriodCount>> {
        let source = source.clone();
        self.with(move |kept| {
            let mut summary = BTreeMap::<_, u64>::new();
            for row in kept.cells.get(&source).into_iter().flat_map(BTreeMap::values) {
                let stands = (row.period, row.state.as_str(), row.cause(now));
                *summary.entry(stands).or_default() += 1;
            }
            Ok(summary
                .into_iter()
                .map(|((period, state, cause), cells)| PeriodCount {
                    period,
                    state: state.to_owned(),
                    cause,
                    cells,
                })
                .collect())
        })
    }

    fn reserve(&self, request: &Reserve) -> StateFuture<'_, Granted> {
        let request = request.clone();
        self.with(move |kept| Ok(kept.reserve(&request)))
    }

    fn release(&self, attempts: &[AttemptId]) -> StateFuture<'_, ()> {
        let attempts = attempts.to_vec();
        self.with(move |kept| {
            kept.close(&attempts, true);
            Ok(())
        })
    }

    fn open_attempts(&self) -> StateFuture<'_, Vec<OpenAttempt>> {
        self.with(|kept| {
            let mut attempts = Vec::new();
            for (first, reservation) in &kept.reservations {
                for (index, (entity, period)) in reservation.cells.iter().enumerate() {
                    if reservation.open.contains(index) {
                        attempts.push(OpenAttempt {
                            attempt: AttemptId(first + index as i64),
                            source: reservation.source.clone(),
                            entity: entity.clone(),
                            period: *period,
                            cost: reservation.cost,
                            reserved_at: reservation.at,
                        });
                    }
                }
            }
            Ok(attempts)
        })
    }

    fn spend(&self, from: Option<Date>) -> StateFuture<'_, Vec<SpendRow>> {
        self.with(move |kept| {
            Ok(kept
                .spend
                .iter()
                .filter(|((day, _), _)| from.is_none_or(|from| from <= *day))
                .map(|((day, source), (requests, spent))| SpendRow {
                    source: source.clone(),
                    day: *day,
                    requests: *requests,
                    spent: *spent,
                })
                .collect())
        })
    }

    fn looks(&self, source: &SourceId) -> StateFuture<'_, Vec<LookRow>> {
        let source = source.clone();
        self.with(move |kept| {
            Ok(kept.looks.get(&source).into_iter().flat_map(BTreeMap::values).cloned().collect())
        })
    }

    fn schedules(&self) -> StateFuture<'_, Vec<ScheduleRow>> {
        self.with(|kept| Ok(kept.schedules.values().cloned().collect()))
    }

    fn put_schedules(&self, rows: &[ScheduleRow]) -> StateFuture<'_, ()> {
        let rows = rows.to_vec();
        self.with(move |kept| {
            kept.put_schedules(&rows);
            Ok(())
        })
    }

    fn announce(&self, batch: Batch) -> StateFuture<'_, ()> {
        self.with(move |kept| {
            let expected = kept.project.next_batch;
            if batch.number != expected {
                return Err(StateError::StaleBatch { found: batch.number, expected });
            }
            kept.project.next_batch += 1;
            kept.batches.insert(batch.number, batch);
            Ok(())
        })
    }

    fn announced(&self) -> StateFuture<'_, Vec<Batch>> {
        self.with(|kept| Ok(kept.batches.values().cloned().collect()))
    }

    fn settle(&self, number: i64) -> StateFuture<'_, ()> {
        self.with(move |kept| kept.settle(number))
    }

    fn add_backfill(&self, wish: &NewBackfill) -> StateFuture<'_, i64> {
        let NewBackfill { source, from, until, requested_at } = wish.clone();
        let requested_at = wire::kept(requested_at);
        self.with(move |kept| {
            let id = kept.backfills.last_key_value().map_or(1, |(last, _)| last + 1);
            let row = BackfillRow { id, source, from, until, requested_at, finished_at: None };
            kept.backfills.insert(id, row);
            kept.generation += 1;
            Ok(id)
        })
    }

    fn backfills(&self) -> StateFuture<'_, Vec<BackfillRow>> {
        self.with(|kept| Ok(kept.backfills.values().cloned().collect()))
    }

    fn finish_backfill(&self, id: i64, at: Timestamp) -> StateFuture<'_, ()> {
        self.with(move |kept| {
            let row = kept.backfills.get_mut(&id).ok_or(StateError::UnknownBackfill { id })?;
            row.finished_at.get_or_insert(wire::kept(at));
            Ok(())
        })
    }

    fn paces(&self) -> StateFuture<'_, Vec<PaceRow>> {
        self.with(|kept| Ok(kept.paces.values().cloned().collect()))
    }

    fn put_paces(&self, rows: &[PaceRow]) -> StateFuture<'_, ()> {
        let rows = rows.to_vec();
        self.with(move |kept| {
            kept.paces.extend(rows.into_iter().map(|row| {
                let updated_at = wire::kept(row.updated_at);
                (row.scope.clone(), PaceRow { updated_at, ..row })
            }));
            Ok(())
        })
    }

    fn hold_shares(&self, wish: &HoldShares) -> StateFuture<'_, Vec<f64>> {
        let wish = wish.clone();
        self.with(move |kept| {
            Ok(wish.scopes.iter().map(|scope| kept.hold_share(&wish, scope)).collect())
        })
    }

    fn drop_shares(&self, holder: &str) -> StateFuture<'_, ()> {
        let holder = holder.to_owned();
        self.with(move |kept| {
            for holders in kept.shares.values_mut() {
                holders.remove(&holder);
            }
            kept.shares.retain(|_, holders| !holders.is_empty());
            Ok(())
        })
    }

    fn generation(&self) -> StateFuture<'_, u64> {
        self.with(|kept| Ok(kept.generation))
    }

    fn import(&self, rebuilt: &Rebuilt) -> StateFuture<'_, ()> {
        let rebuilt = rebuilt.clone();
        self.with(move |kept| kept.import(&rebuilt))
    }
}
