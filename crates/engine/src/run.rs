//! The loop: plans, sends, accounts, commits.
//!
//! One task owns all decisions, so that none of them races another; requests and commits run
//! beside it and report by messages. Nothing here waits for a single request.

use crate::{
    EngineError,
    book::next_row,
    commit::{Changed, Pending, commit},
    observation::Observation,
    ports::{Control, Event, Mode, Options, Ports, Progress, Watchers},
    recover::recover,
    reserve::Group,
    runtime::Runtime,
    scope::Scope,
    scopes::Leave,
    way::{Job, WayError, Ways, walk},
};
use env::{Idle, Moment};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use model::{AttemptId, LookKind, Outcome, SourceId};
use pace::{Meaning, Pace, Permit};
use source::Source;
use state::{CellRow, Granted, SpendRow, StateError};
use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// The longest sleep: a step of the wall clock is noticed at the latest after this.
const SLEEP_MAX: Duration = Duration::from_hours(1);
/// A server that took nothing for so long has refused to the end, as far as `run --once` goes.
const REFUSED_TO_THE_END: Duration = Duration::from_mins(15);
/// Messages worked off at once.
const MESSAGES_AT_ONCE: usize = 256;
/// How often the due cells are counted for those who watch.
const DUE_COUNTED_EVERY: Duration = Duration::from_millis(250);
/// Requests sent before messages are looked at again.
const SENT_AT_ONCE: usize = 256;

/// What an engine did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Attempts that ended.
    pub requests: u64,
    /// Records accepted.
    pub records: u64,
    /// Records held in quarantine.
    pub quarantined: u64,
    /// Batches committed.
    pub batches: u64,
    /// Attempts that a former engine left behind unaccounted.
    pub interrupted: usize,
    /// Announced batches that a former engine left behind and this one finished.
    pub finished_batches: usize,
    /// Due cells that were not asked for because a budget is spent.
    pub unasked_for_budget: u64,
    /// Cells whose last answer in this run was a refusal or a failure.
    pub refused: u64,
}

impl Summary {
    /// Whether due work was left undone.
    pub fn left_undone(&self) -> bool {
        self.unasked_for_budget + self.refused > 0
    }
}

pub(crate) enum Message {
    Ended {
        source: SourceId,
        scope: Arc<str>,
        leave: Leave,
        result: Box<Result<Vec<Observation>, WayError>>,
    },
    Reserved {
        source: SourceId,
        groups: Vec<Group>,
        at: Timestamp,
        result: Result<Vec<Granted>, StateError>,
        /// What was spent in the month, if looks are priced by it.
        spend: Option<Vec<SpendRow>>,
    },
    Committed {
        number: i64,
        result: Result<usize, EngineError>,
    },
    Trained {
        source: SourceId,
        trained: Option<plan::arrival::choice::Trained>,
    },
}

/// See the module.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    pub(crate) watchers: Watchers,
    pub(crate) ways: Arc<Ways>,
    pub(crate) project_id: String,
    pub(crate) sources: BTreeMap<SourceId, Runtime>,
    /// The limit scopes of all sources, by name.
    pub(crate) scopes: BTreeMap<String, Scope>,
    /// When what the scopes learned was written last, and their shares renewed.
    pub(crate) scopes_kept_at: Instant,
    /// Under which name this engine holds shares.
    pub(crate) holder: String,
    pub(crate) pending: Pending,
    pub(crate) committing: bool,
    pub(crate) settled_through: i64,
    pub(crate) in_flight: usize,
    pub(crate) reserving: usize,
    /// Models that are being fitted, beside the loop.
    training: usize,
    pub(crate) flush_wanted: bool,
    pub(crate) draining: bool,
    /// Reserved and never sent: their money goes back before the next commit.
    pub(crate) unsent: Vec<AttemptId>,
    pub(crate) progress: Progress,
    due_counted_at: Option<Instant>,
    pub(crate) summary: Summary,
    pub(crate) sender: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
    /// The `_observed_at` of the last accounted attempt: tasks stamp, and may arrive out of order.
    observed_at_latest: Timestamp,
    /// The source that is served first, so that none is always last.
    pub(crate) turn: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("sources", &self.sources.keys())
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens an engine: finishes what a former one left behind, then plans from the state.
    ///
    /// The caller holds the project's lock.
    ///
    /// # Errors
    /// A port fails, a definition cannot be run, or a list of entities lost most of its lines.
    pub fn open(
        ports: Ports,
        options: Options,
        watchers: Watchers,
        sources: Vec<Source>,
    ) -> futures::future::BoxFuture<'static, Result<Self, EngineError>> {
        Box::pin(Self::open_inner(ports, options, watchers, sources))
    }

    async fn open_inner(
        ports: Ports,
        options: Options,
        watchers: Watchers,
        sources: Vec<Source>,
    ) -> Result<Self, EngineError> {
        let (project, recovered) = Box::pin(recover(&ports)).await?;
        if recovered.batches + recovered.interrupted > 0 {
            tracing::info!(
                batches = recovered.batches,
                interrupted = recovered.interrupted,
                orphans = recovered.orphans,
                "finished what the last engine left behind"
            );
        }
        let now = ports.clock.now();
        let mut runtimes = BTreeMap::new();
        for source in sources {
            if options.only.is_empty() || options.only.contains(&source.id) {
                let id = source.id.clone();
                runtimes.insert(id, Runtime::open(source, &*ports.state, &options, now).await?);
            }
        }
        let observed_at_max = project.observed_at_max.map_or(i64::MIN, Timestamp::as_microsecond);
        let ways = Arc::new(Ways {
            clock: Arc::clone(&ports.clock),
            transport: Arc::clone(&ports.transport),
            archive: Arc::clone(&ports.archive),
            lake: Arc::clone(&ports.lake),
            observed_at_max: AtomicI64::new(observed_at_max),
        });
        let (sender, messages) = mpsc::unbounded_channel();
        let holder = format!("{:016x}", ports.entropy.child("engine/holder").bits());
        let mut engine = Self {
            scopes: BTreeMap::new(),
            scopes_kept_at: Instant::now(),
            holder,
            ways,
            project_id: project.project_id,
            sources: runtimes,
            pending: Pending::new(project.next_batch),
            committing: false,
            settled_through: project.next_batch - 1,
            in_flight: 0,
            reserving: 0,
            training: 0,
            flush_wanted: false,
            draining: false,
            unsent: Vec::new(),
            progress: Progress::default(),
            due_counted_at: None,
            summary: Summary {
                interrupted: recovered.interrupted,
                finished_batches: recovered.batches,
                ..Summary::default()
            },
            sender,
            messages,
            observed_at_latest: project.observed_at_max.unwrap_or(Timestamp::MIN),
            turn: 0,
            ports,
            options,
            watchers,
        };
        engine.open_scopes().await?;
        Ok(engine)
    }

    /// Runs until its mode says that it is done, or until it is told to drain.
    ///
    /// # Errors
    /// A port refuses to take what must not be lost. Everything announced is finished by the next
    /// engine; everything else is asked again.
    pub fn run(
        mut self,
        mut control: mpsc::Receiver<Control>,
    ) -> futures::future::BoxFuture<'static, Result<Summary, EngineError>> {
        Box::pin(async move {
            let mut result = self.run_inner(&mut control).await;
            if result.is_ok()
                && let Err(error) = self.close_scopes().await
            {
                result = Err(error);
            }
            self.due_counted_at = None;
            self.publish();
            result
        })
    }

    async fn run_inner(
        &mut self,
        control: &mut mpsc::Receiver<Control>,
    ) -> Result<Summary, EngineError> {
        let mut inbox = Vec::with_capacity(MESSAGES_AT_ONCE);
        let mut control_open = true;
        loop {
            self.keep_scopes().await?;
            let now = self.ports.clock.now();
            let pace_wake = if self.draining { None } else { self.dispatch(now) };
            self.release_unsent().await?;
            self.commit_if_ready();
            self.publish();
            if self.is_done(now) {
                break;
            }
            // Tasks that are ready end first: what they report is then worked off together.
            tokio::task::yield_now().await;
            let idle = self.in_flight == 0 && self.reserving == 0 && self.training == 0;
            let wake = self.wake(now, pace_wake);
            let clock = Arc::clone(&self.ports.clock);
            let deadline = self.commit_deadline();
            tokio::select! {
                biased;
                count = self.messages.recv_many(&mut inbox, MESSAGES_AT_ONCE) => {
                    debug_assert!(count > 0, "the engine holds a sender itself");
                    let now = self.ports.clock.now();
                    for message in inbox.drain(..) {
                        self.take(message, now)?;
                    }
                }
                wish = control.recv(), if control_open => match wish {
                    Some(wish) => self.wish(wish).await?,
                    None => control_open = false,
                },
                () = sleep_until(deadline), if deadline.is_some() => self.flush_wanted = true,
                () = clock.sleep_until(wake.unwrap_or(now.monotonic), if idle { Idle::Yes } else { Idle::No }),
                    if wake.is_some() => {}
            }
        }
        self.summary.unasked_for_budget = self.unasked_for_budget();
        self.summary.refused =
            self.sources.values().map(|source| source.refused.len() as u64).sum();
        Ok(self.summary)
    }

    /// Sends what may be sent; returns the earliest monotonic time at which a pace allows more.
    fn dispatch(&mut self, now: Moment) -> Option<Duration> {
        let mut wake: Option<Duration> = None;
        let count = self.sources.len();
        self.turn = (self.turn + 1) % count.max(1);
        for scope in self.scopes.values_mut() {
            scope.tick(now);
        }
        self.prefer_hours(now);
        let mut order: Vec<SourceId> =
            self.sources.keys().cycle().skip(self.turn).take(count).cloned().collect();
        // The most urgent first, in turns among equals: they may share a scope.
        if count > 1 {
            order.sort_by_key(|id| {
                self.sources.get(id).and_then(|source| source.ready.front()).map(|job| job.urgency)
            });
        }
        for id in order {
            let full = self.is_full();
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.extend(now.wall);
            source.tick(now.wall);
            self.price_budgets(&id, now.wall);
            let Some(source) = self.sources.get_mut(&id) else { continue };
            let complaint =
                source.arrival.as_mut().and_then(|arrival| arrival.schedule.complaint());
            if let Some(complaint) = complaint {
                tracing::warn!(source = %id, "{complaint}");
            }
            let training =
                source.arrival.as_mut().and_then(|arrival| arrival.schedule.training(now.wall));
            if let Some(training) = training {
                self.training += 1;
                let (sender, source) = (self.sender.clone(), id.clone());
                tokio::task::spawn_blocking(move || {
                    let trained = training.run();
                    let _ = sender.send(Message::Trained { source, trained });
                });
            }
            let Some(source) = self.sources.get_mut(&id) else { continue };
            if source.paused() {
                continue;
            }
            if !full {
                self.reserve(&id, now);
            }
            if let Some(at) = self.send(&id, now) {
                wake = Some(wake.map_or(at, |earlier| earlier.min(at)));
            }
        }
        wake
    }

    fn send(&mut self, id: &SourceId, now: Moment) -> Option<Duration> {
        for _ in 0..SENT_AT_ONCE {
            if self.is_full() {
                return None;
            }
            let source = self.sources.get_mut(id)?;
            if source.ready.is_empty() {
                return None;
            }
            match source.ceiling.permit(now) {
                Permit::Now => {}
                Permit::At(at) => return Some(at),
                Permit::WhenFreed => return None,
            }
            let learns = source.compiled.source.limit.learn;
            let scope = self.scopes.get_mut(&*source.scope).filter(|_| learns);
            let (ticket, delayed) = match scope {
                Some(scope) => match scope.pace.permit(now) {
                    Permit::Now => (Some(scope.pace.sent(now)), std::mem::take(&mut scope.waited)),
                    Permit::At(at) => {
                        scope.waited = true;
                        return Some(at);
                    }
                    Permit::WhenFreed => {
                        scope.waited = true;
                        return None;
                    }
                },
                None => (None, false),
            };
            let job = source.ready.pop_front()?;
            source.leaves(&job, now.wall);
            let leave = Leave { ceiling: source.ceiling.sent(now), scope: ticket, delayed };
            let scope = Arc::clone(&source.scope);
            self.spawn(job, scope, leave, now);
        }
        // More may leave at once, after the messages were looked at.
        Some(now.monotonic)
    }

    fn spawn(&mut self, job: Job, scope: Arc<str>, leave: Leave, now: Moment) {
        self.in_flight += 1;
        let id = job.cell.source.clone();
        self.tell(|| Event::Sent { at: now.wall, source: id.clone(), attempt: job.attempt });
        let (ways, sender) = (Arc::clone(&self.ways), self.sender.clone());
        tokio::spawn(async move {
            let walked = AssertUnwindSafe(walk(&ways, &job)).catch_unwind().await;
            // A defect met by one answer must not stop all sources.
            let result = Box::new(walked.unwrap_or_else(|_| Ok(job.unwalked().broken(now))));
            let _ = sender.send(Message::Ended { source: id, scope, leave, result });
        });
    }

    /// Whether so much waits for its commit that nothing more may be sent.
    fn is_full(&self) -> bool {
        self.in_flight >= self.options.in_flight_max
            || self.pending.attempts() + self.in_flight >= self.options.commit_rows * 2
            || self.pending.held_bytes >= self.options.commit_bytes * 2
    }

    /// `now`: when it was looked at, with others.
    fn take(&mut self, message: Message, now: Moment) -> Result<(), EngineError> {
        match message {
            Message::Ended { source, scope, leave, result } => {
                self.in_flight -= 1;
                let mut observations = (*result)?.into_iter();
                let Some(own) = observations.next() else { return Ok(()) };
                let meaning = self.learn(&source, &scope, leave, &own, now);
                if own.looked.is_some() {
                    self.account_look(&source, own, meaning, now);
                } else {
                    self.account(&source, own, meaning, now);
                }
                observations.for_each(|other| self.account(&source, other, meaning, now));
                Ok(())
            }
            Message::Reserved { source, groups, at, result, spend } => {
                self.reserving -= 1;
                if let (Some(source), Some(spend)) = (self.sources.get_mut(&source), spend) {
                    source.spend = spend;
                }
                self.reserved(&source, groups, at, &result?);
                Ok(())
            }
            Message::Trained { source, trained } => {
                self.training -= 1;
                let arrival =
                    self.sources.get_mut(&source).and_then(|source| source.arrival.as_mut());
                if let (Some(arrival), Some(trained)) = (arrival, trained) {
                    tracing::info!(%source, model = trained.model.model().name(), "arrivals learned anew");
                    arrival.schedule.trained(trained);
                }
                Ok(())
            }
            Message::Committed { number, result } => {
                let attempts = result?;
                self.committing = false;
                self.settled_through = number;
                self.summary.batches += 1;
                self.tell(|| Event::Settled { number, attempts });
                Ok(())
            }
        }
    }

    /// account: the cell's row and its next look, from the evidence of one attempt.
    pub(crate) fn account(
        &mut self,
        id: &SourceId,
        mut observation: Observation,
        meaning: Meaning,
        now: Moment,
    ) {
        self.summary.requests += u64::from(observation.booked.is_some());
        self.summary.quarantined += observation.quarantined.total;
        if !observation.unchanged {
            self.summary.records += observation.records;
        }
        let number = self.pending.number;
        self.stamp(&mut observation);
        let Some(source) = self.sources.get_mut(id) else {
            // The source was taken away while its request was under way.
            if let Ok(table) = model::TableName::parse(id.as_str()) {
                observation.forget_records();
                self.pending.push(observation, None, &table);
            }
            return;
        };
        if observation.outcome == Outcome::Skipped && observation.booked.is_some() {
            self.unsent.push(observation.attempt);
        }
        // The grid may have changed while the request was under way.
        let Some(ordinal) = source.locate(&observation.cell, observation.ordinal) else {
            let table = source.compiled.source.table.clone();
            observation.forget_records();
            self.pending.push(observation, None, &table);
            return;
        };
        observation.ordinal = ordinal;
        let before = source.known(observation.ordinal).cloned();
        let lie = source.hear(&observation, before.as_ref());
        let (row, retrying) = next_row(source, before.as_ref(), &observation, meaning, now.wall);
        source.together.learn(observation.ordinal, &observation);
        source.book(observation.ordinal, &row, retrying, number);
        let changed = changed(before.as_ref(), &row);
        if row.state.is_settled() && before.as_ref().is_none_or(|before| !before.state.is_settled())
        {
            self.progress.settled += 1;
        }
        let table = source.compiled.source.table.clone();
        let has_arrival = source.arrival.is_some();
        let event = Event::Ended {
            at: now.wall,
            source: id.clone(),
            entity: observation.cell.entity.clone(),
            period: observation.cell.period,
            attempt: observation.attempt,
            look: observation.look.unwrap_or(LookKind::Paid),
            outcome: observation.outcome,
            state: row.state,
        };
        self.tell(|| event);
        if has_arrival {
            self.note_arrival(id, &mut observation, before.as_ref(), &row, lie);
        }
        self.pending.push(observation, Some((row, changed)), &table);
    }

    /// No observation is older than the one accounted before it.
    pub(crate) fn stamp(&mut self, observation: &mut Observation) {
        self.observed_at_latest = self.observed_at_latest.max(observation.observed_at);
        observation.observed_at = self.observed_at_latest;
    }

    fn commit_deadline(&self) -> Option<Instant> {
        (!self.committing)
            .then_some(self.pending.opened_at)
            .flatten()
            .map(|opened| opened + self.options.commit_every)
    }

    fn commit_if_ready(&mut self) {
        if self.committing || self.pending.is_empty() {
            self.flush_wanted &= !self.pending.is_empty();
            return;
        }
        let ending = self.draining || self.nothing_to_do();
        let due = self.flush_wanted
            || self.commit_deadline().is_some_and(|deadline| deadline <= Instant::now())
            || self.pending.attempts() >= self.options.commit_rows
            || self.pending.held_bytes >= self.options.commit_bytes
            || (ending && self.in_flight == 0);
        if !due {
            return;
        }
        self.flush_wanted = false;
        self.committing = true;
        let number = self.pending.number;
        let next = self.pending.next();
        let mut pending = std::mem::replace(&mut self.pending, next);
        let books = |(name, scope): (&String, &mut Scope)| (name.clone(), scope.take_books());
        pending.scopes = self.scopes.iter_mut().map(books).collect();
        let (ports, project_id, sender) =
            (self.ports.clone(), self.project_id.clone(), self.sender.clone());
        tokio::spawn(async move {
            let committed = AssertUnwindSafe(Box::pin(commit(&ports, &project_id, pending)))
                .catch_unwind()
                .await;
            let result = committed.unwrap_or_else(|_| {
                Err(EngineError::Task("committing a batch panicked".to_owned()))
            });
            let _ = sender.send(Message::Committed { number, result });
        });
    }

    /// Whether, by its mode, the engine has nothing to wait for but what is under way.
    fn nothing_to_do(&self) -> bool {
        let moment = self.ports.clock.now();
        let now = moment.wall;
        match self.options.mode {
            Mode::Continuous => false,
            Mode::Once => self.sources.values().all(|source| {
                let scope = self.scopes.get(&*source.scope);
                let is_closed =
                    scope.is_some_and(|scope| scope.is_closed_for(REFUSED_TO_THE_END, moment));
                source.done_for_now(now, is_closed)
            }),
            Mode::Until(end) => {
                now >= end
                    || self.sources.values().all(|source| {
                        source.ready.is_empty()
                            && !source.reserving
                            && source.wake_at(now).is_none_or(|wake| wake > end)
                    })
            }
        }
    }

    fn is_done(&mut self, now: Moment) -> bool {
        let quiet = self.in_flight == 0
            && self.reserving == 0
            && !self.committing
            && self.pending.is_empty();
        if let (Mode::Until(end), false) = (self.options.mode, self.draining)
            && now.wall >= end
        {
            self.draining = true;
        }
        quiet && (self.draining || self.nothing_to_do())
    }

    /// The monotonic time at which the loop has to look again by itself.
    fn wake(&self, now: Moment, pace_wake: Option<Duration>) -> Option<Duration> {
        if self.is_full() || self.draining {
            return None;
        }
        let planned = self
            .sources
            .values()
            .filter(|source| !source.paused() && !source.reserving && source.ready.is_empty());
        let due = planned.filter_map(|source| source.wake_at(now.wall)).min();
        let due = match (due, self.options.mode) {
            (Some(due), Mode::Until(end)) => Some(due.min(end)),
            (None, Mode::Until(end)) => Some(end),
            (due, _) => due,
        };
        let due = due.map(|at| {
            let wait = at.duration_since(now.wall).max(SignedDuration::ZERO);
            // A millisecond more than nothing: the planner was asked just now.
            let wait = Duration::try_from(wait).unwrap_or_default().max(Duration::from_millis(1));
            now.monotonic + wait.min(SLEEP_MAX)
        });
        let nearest = [pace_wake, due].into_iter().flatten().min();
        nearest.or((self.in_flight == 0 && self.reserving == 0 && !self.committing)
            .then_some(now.monotonic + SLEEP_MAX))
    }

    fn unasked_for_budget(&self) -> u64 {
        let now = self.ports.clock.now().wall;
        self.sources
            .values()
            .map(|source| {
                let spent = source.spent_until.is_some_and(|until| now < until);
                source.parked() + if spent { source.due_count(now) } else { 0 }
            })
            .sum()
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.watchers.events {
            // Nobody listens any more: fine.
            let _ = events.send(event());
        }
    }

    fn publish(&mut self) {
        let Some(sender) = &self.watchers.progress else { return };
        let now = self.ports.clock.now().wall;
        self.progress.now = Some(now);
        self.progress.requests = self.summary.requests;
        self.progress.records = self.summary.records;
        self.progress.batches = self.summary.batches;
        self.progress.in_flight = self.in_flight;
        // It goes over the whole grid.
        let counted_at = Instant::now();
        if self.due_counted_at.is_none_or(|at| counted_at.duration_since(at) >= DUE_COUNTED_EVERY) {
            self.due_counted_at = Some(counted_at);
            self.progress.due = self.sources.values().map(|source| source.expected_due(now)).sum();
        }
        sender.send_replace(self.progress.clone());
    }
}

/// Whether the state, the cause, the lateness or the records of a cell changed.
pub(crate) fn changed(before: Option<&CellRow>, row: &CellRow) -> Changed {
    match before {
        Some(before)
            if before.cause(before.updated_at) == row.cause(row.updated_at)
                && before.state.as_str() == row.state.as_str()
                && before.late_from == row.late_from
                && before.records_hash == row.records_hash =>
        {
            Changed::No
        }
        _ => Changed::Yes,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
