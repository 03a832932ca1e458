//! Plays a scenario: one engine after the other on stores that outlive them, under paused time.
//!
//! Each life of an engine has a runtime of its own, with one thread and a clock that jumps whenever
//! nothing can be done. A kill drops that runtime with all that was under way in it.

use crate::{
    check::{Checked, Live, Report, Violation, Watch},
    clock::{LifeClock, later},
    kill::{Durable, KillSwitch, Lost, MortalArchive, MortalLake, MortalState, Strike},
    scenario::{Elapsed, RunMode, Scenario, ScenarioError, Wish, WishKind},
    server::{Arrival, Servers, SimTransport, fnv},
};
use archive::MemoryArchive;
use engine::{Control, Engine, EngineError, Event, Options, Ports, Summary, Watchers};
use env::{Clock, Entropy};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use lake::MemoryLake;
use model::{Budget, Money, SourceId};
use source::Source;
use state::{MemoryStore, NewBackfill, NewProject, StateStore};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// An engine that was told to end does so within this.
const ENDS_WITHIN: Duration = Duration::from_hours(1);
/// A pass of `run --once` ends within this.
const PASS_WITHIN: Duration = Duration::from_hours(24);
/// The checkers look at least so often.
const TICK: Duration = Duration::from_hours(1);
/// A kill strikes at one of so many next calls to the ports.
const KILL_CALLS: u64 = 80;
/// The longest time until a killed engine is started again.
const RESTART_SECONDS: u64 = 600;
/// Engines that one run may have, passes of `once` included.
const LIVES_MAX: u64 = 10_000;

/// What to play.
#[derive(Debug, Clone)]
pub struct Play {
    /// The scenario's name, for the line that repeats a failure.
    pub name: String,
    /// The seed of all chance.
    pub seed: u64,
    /// Kills instead of the scenario's own number.
    pub kills: Option<u32>,
    /// Whether to keep the events as text.
    pub trace: bool,
    /// The folder of the histories.
    pub histories: PathBuf,
}

impl Play {
    /// A scenario as it is, with a seed.
    pub fn new(name: &str, seed: u64) -> Self {
        let histories = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/arrivals");
        Self { name: name.to_owned(), seed, kills: None, trace: false, histories }
    }

    /// Reads the scenario and plays it.
    ///
    /// # Errors
    /// The scenario cannot be played, or an invariant does not hold.
    pub fn run(&self) -> Result<Played, PlayError> {
        play(&Scenario::named(&self.name)?.drawn(&self.histories, self.seed)?, self)
    }

    /// The line that plays it again.
    pub fn command(&self) -> String {
        let kills = self.kills.map(|kills| format!(" --kills {kills}")).unwrap_or_default();
        format!("cargo run -p sim -- {} --seed {}{kills}", self.name, self.seed)
    }
}

/// A run in which every invariant held.
#[derive(Debug, Clone)]
pub struct Played {
    /// In figures.
    pub report: Report,
    /// A hash over all events and all arrivals at the servers.
    pub trace_hash: u64,
    /// The newest rows of all tables.
    pub live: BTreeMap<SourceId, Live>,
    /// The words of the states of all cells.
    pub states: BTreeMap<(SourceId, String, String), &'static str>,
    /// All requests, as their servers saw them.
    pub log: Vec<Arrival>,
    /// The events as text, if they were asked for.
    pub trace: Vec<String>,
}

/// Why a scenario was not played to a good end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// It is not a scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// No runtime could be made.
    #[error("no runtime could be made")]
    Runtime(#[from] std::io::Error),
    /// An invariant does not hold.
    #[error("{violation} (at {at}); repeat it: `{command}`")]
    Broken {
        /// Which, and what was found.
        violation: Violation,
        /// When, by the true time.
        at: Timestamp,
        /// The line that repeats it.
        command: String,
        /// The events as text, if they were asked for.
        trace: Vec<String>,
    },
}

/// Plays a scenario from its text.
///
/// # Errors
/// Its sources are not understood, or an invariant does not hold.
pub fn play(scenario: &Scenario, play: &Play) -> Result<Played, PlayError> {
    let sources = scenario.sources()?;
    let mut game = Game::new(scenario, &sources, play);
    let result = loop {
        let ended = game.live_once()?;
        match ended {
            Err(violation) => break Err(violation),
            Ok(Ended::Finished) => break game.watch.finish(game.elapsed, game.kills),
            Ok(Ended::Restarted) if game.lives < LIVES_MAX => {}
            Ok(Ended::Restarted) => {
                let found = format!("{LIVES_MAX} engines were started");
                break Err(Violation { check: "a run ends", found });
            }
        }
    };
    match result {
        Ok(report) => Ok(game.played(report)),
        Err(violation) => Err(PlayError::Broken {
            violation,
            at: later(scenario.start, game.elapsed),
            command: play.command(),
            trace: game.trace,
        }),
    }
}

/// Something that happens to an engine from outside.
#[derive(Debug, Clone)]
enum Action {
    Kill { calls: u64, strike: Strike, rest: Duration },
    Step(SignedDuration),
    Wish(Wish),
    Drain,
}

/// How a life ended.
enum Ended {
    Restarted,
    Finished,
}

struct Game<'a> {
    scenario: &'a Scenario,
    sources: &'a [Source],
    entropy: Entropy,
    durable: Durable,
    servers: Arc<Servers>,
    watch: Watch,
    actions: Vec<(Duration, Action)>,
    next_action: usize,
    /// Since the scenario's start.
    elapsed: Duration,
    /// What the engine's clock shows, where no engine runs.
    wall: Timestamp,
    rest: Duration,
    lives: u64,
    kills: u64,
    keep_trace: bool,
    trace: Vec<String>,
    trace_hash: u64,
}

impl<'a> Game<'a> {
    fn new(scenario: &'a Scenario, sources: &'a [Source], play: &Play) -> Self {
        let project = NewProject { project_id: "simulated".to_owned(), created_at: scenario.start };
        let durable = Durable {
            state: MemoryStore::new(project),
            lake: MemoryLake::new(),
            archive: Arc::new(MemoryArchive::new()),
            lost: Arc::new(Lost::default()),
        };
        let servers = Arc::new(Servers::new(scenario, sources, play.seed));
        let entropy = Entropy::from_seed(play.seed);
        let kills = play.kills.unwrap_or(scenario.kills);
        Self {
            watch: Watch::new(scenario, sources, durable.clone(), Arc::clone(&servers)),
            actions: actions(scenario, kills, &entropy),
            scenario,
            sources,
            entropy,
            durable,
            servers,
            next_action: 0,
            elapsed: Duration::ZERO,
            wall: scenario.start,
            rest: Duration::ZERO,
            lives: 0,
            kills: 0,
            keep_trace: play.trace,
            trace: Vec::new(),
            trace_hash: 0,
        }
    }

    /// Runs one engine, from its start to its end or its death.
    fn live_once(&mut self) -> Result<Result<Ended, Violation>, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        self.lives += 1;
        let chance = self.entropy.child("stores").child(&self.lives.to_string());
        let switch = Arc::new(KillSwitch::new(self.scenario.engine.store_latency, chance));
        let mortal = Arc::new(MortalArchive::new(&self.durable, Arc::clone(&switch)));
        let archive = Arc::clone(&mortal);
        let (ended, clock) = runtime.block_on(async {
            let clock = Arc::new(LifeClock::new(self.scenario.start, self.elapsed, self.wall));
            let ended = self.live(&clock, &switch, archive).await;
            self.elapsed = clock.elapsed();
            self.wall = clock.now().wall;
            (ended, clock)
        });
        drop(runtime);
        drop(clock);
        if switch.has_struck() {
            mortal.lose();
            self.kills += 1;
            let rest = std::mem::take(&mut self.rest);
            self.pass(rest);
            return Ok(ended.map(|()| Ended::Restarted));
        }
        let every = self.scenario.engine.every.unsigned();
        let again = self.scenario.engine.mode == RunMode::Once
            && self.elapsed + every <= self.scenario.duration.unsigned();
        if again {
            self.pass(every);
        }
        Ok(ended.map(|()| if again { Ended::Restarted } else { Ended::Finished }))
    }

    /// No engine runs for a while.
    fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        self.wall = later(self.wall, time);
    }

    async fn live(
        &mut self,
        clock: &Arc<LifeClock>,
        switch: &Arc<KillSwitch>,
        archive: Arc<MortalArchive>,
    ) -> Checked {
        let ports = self.ports(clock, switch, archive);
        let (events_out, mut events) = mpsc::unbounded_channel();
        let watchers = Watchers { progress: None, events: Some(events_out) };
        let open = Engine::open(ports, self.options(), watchers, self.sources.to_vec());
        let engine = tokio::select! {
            biased;
            () = switch.wait() => return Ok(()),
            engine = open => engine.map_err(|error| stopped(&error))?,
        };
        self.watch.begin(clock.now().wall)?;
        let (control, wishes) = mpsc::channel(64);
        let mut run = engine.run(wishes);
        let mut give_up_at = match self.scenario.engine.mode {
            RunMode::Once => clock.elapsed() + PASS_WITHIN,
            RunMode::Continuous => Duration::MAX,
            RunMode::Until => self.scenario.duration.unsigned() + ENDS_WITHIN,
        };
        loop {
            let now = clock.elapsed();
            let next = self.actions.get(self.next_action).map_or(Duration::MAX, |(at, _)| *at);
            let wake = next.min(give_up_at).min(now + TICK);
            tokio::select! {
                biased;
                () = switch.wait() => break,
                Some(event) = events.recv() => self.event(&event, clock)?,
                summary = &mut run => {
                    let summary = summary.map_err(|error| stopped(&error))?;
                    self.drain(&mut events, clock)?;
                    return self.told(&summary);
                }
                () = tokio::time::sleep_until(clock.instant(wake)) => {
                    self.watch.tick(clock.now().wall)?;
                    if wake == give_up_at {
                        let found = format!("an engine still runs at {wake:?}");
                        return Err(Violation { check: "an engine ends when it should", found });
                    }
                    if wake == next {
                        let (_, action) = self.actions[self.next_action].clone();
                        self.next_action += 1;
                        if matches!(action, Action::Drain) {
                            give_up_at = clock.elapsed() + ENDS_WITHIN;
                        }
                        self.act(action, clock, switch, &control)?;
                    }
                }
            }
        }
        // What the engine said before it died did happen.
        self.drain(&mut events, clock)
    }

    fn act(
        &mut self,
        action: Action,
        clock: &LifeClock,
        switch: &KillSwitch,
        control: &mpsc::Sender<Control>,
    ) -> Checked {
        let wish = match action {
            Action::Kill { calls, strike, rest } => {
                self.rest = rest;
                switch.arm(calls, strike);
                return Ok(());
            }
            Action::Step(by) => {
                clock.step(by);
                Control::Look
            }
            Action::Wish(wish) => {
                self.wish(&wish, clock)?;
                Control::Look
            }
            Action::Drain => Control::Drain,
        };
        // An engine that has just ended does not listen any more.
        let _ = control.try_send(wish);
        Ok(())
    }

    /// What a person writes into the state, beside the engine.
    fn wish(&mut self, wish: &Wish, clock: &LifeClock) -> Checked {
        let unfit = |found: String| Violation { check: "wishes can be written", found };
        let source = SourceId::parse(&wish.source).map_err(|error| unfit(error.to_string()))?;
        let now = clock.now().wall;
        let state = &self.durable.state;
        let written = match (wish.wish, wish.from, wish.until) {
            (WishKind::Backfill, Some(from), Some(until)) => {
                self.watch.backfilled(&source, from, until, now);
                let wish = NewBackfill { source, from, until, requested_at: now };
                state.add_backfill(&wish).now_or_never().map(|added| added.map(drop))
            }
            (WishKind::Backfill, ..) => return Err(unfit("a backfill from when?".to_owned())),
            (kind, ..) => {
                let paused = kind == WishKind::Pause;
                self.watch.paused(&source, paused, clock);
                let rows = state.sources().now_or_never().and_then(Result::ok);
                let row = rows.into_iter().flatten().find(|row| row.source == source);
                let mut row = row.ok_or_else(|| unfit(format!("`{source}` is not known")))?;
                (row.paused, row.updated_at) = (paused, now);
                state.put_source(&row).now_or_never()
            }
        };
        match written {
            Some(Ok(())) => Ok(()),
            other => Err(unfit(format!("{other:?}"))),
        }
    }

    fn event(&mut self, event: &Event, clock: &LifeClock) -> Checked {
        let line = format!("{:?} {event:?}", clock.elapsed());
        self.trace_hash = self.trace_hash.rotate_left(7) ^ fnv(&line);
        if self.keep_trace {
            self.trace.push(line);
        }
        self.watch.event(event, clock)
    }

    fn drain(&mut self, events: &mut mpsc::UnboundedReceiver<Event>, clock: &LifeClock) -> Checked {
        while let Ok(event) = events.try_recv() {
            self.event(&event, clock)?;
        }
        Ok(())
    }

    /// What the engine says of itself at its end.
    fn told(&mut self, summary: &Summary) -> Checked {
        self.trace_hash = self.trace_hash.rotate_left(7) ^ fnv(&format!("{summary:?}"));
        self.watch.read_tables()
    }

    fn ports(
        &self,
        clock: &Arc<LifeClock>,
        switch: &Arc<KillSwitch>,
        archive: Arc<MortalArchive>,
    ) -> Ports {
        let switch = || Arc::clone(switch);
        let transport = SimTransport::new(Arc::clone(&self.servers), Arc::clone(clock), switch());
        Ports {
            clock: Arc::<LifeClock>::clone(clock),
            entropy: self.entropy.child("engine"),
            state: Arc::new(MortalState { state: self.durable.state.clone(), switch: switch() }),
            lake: Arc::new(MortalLake { lake: self.durable.lake.clone(), switch: switch() }),
            archive,
            transport: Arc::new(transport),
        }
    }

    fn options(&self) -> Options {
        let settings = &self.scenario.engine;
        Options {
            mode: settings.mode.engine_mode(self.scenario.end()),
            commit_rows: settings.commit_rows,
            commit_bytes: 64 << 20,
            commit_every: settings.commit_every.unsigned(),
            in_flight_max: 512,
            spool: PathBuf::from("never-used"),
            budget: Budget {
                per_day: settings.budget_per_day.and_then(Money::from_units),
                per_month: settings.budget_per_month.and_then(Money::from_units),
                ..Budget::default()
            },
            accept_entities: Vec::new(),
            only: Vec::new(),
            user_agent: "tidewatch-sim".to_owned(),
            models: BTreeMap::new(),
        }
    }

    fn played(self, report: Report) -> Played {
        let mut trace_hash = self.trace_hash;
        for arrival in &self.servers.book().log {
            trace_hash = trace_hash.rotate_left(7) ^ fnv(&format!("{arrival:?}"));
        }
        let mut states = BTreeMap::new();
        for source in self.sources {
            let rows = self.durable.state.cells(&source.id).now_or_never();
            for row in rows.and_then(Result::ok).unwrap_or_default() {
                let key = (source.id.clone(), row.entity.to_string(), row.period.to_string());
                states.insert(key, row.state.as_str());
            }
        }
        let log = std::mem::take(&mut self.servers.book().log);
        Played { report, trace_hash, live: self.watch.live(), states, log, trace: self.trace }
    }
}

fn stopped(error: &EngineError) -> Violation {
    let mut chain = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    let found = chain.join(": ");
    Violation { check: "the engine goes on", found }
}

/// Everything that happens from outside, by time.
fn actions(scenario: &Scenario, kills: u32, entropy: &Entropy) -> Vec<(Duration, Action)> {
    let mut chance = entropy.child("kills");
    let lasts = scenario.duration.unsigned();
    let mut actions: Vec<(Duration, Action)> = (0..kills)
        .map(|_| {
            let at = lasts.mul_f64(chance.unit());
            let calls = chance.below(KILL_CALLS) + 1;
            let strike = if chance.below(2) == 0 { Strike::Before } else { Strike::After };
            let rest = Duration::from_secs(chance.below(RESTART_SECONDS));
            (at, Action::Kill { calls, strike, rest })
        })
        .collect();
    let at = |at: Elapsed| at.unsigned();
    actions.extend(scenario.steps.iter().map(|step| (at(step.at), Action::Step(step.by.0))));
    actions.extend(scenario.wishes.iter().map(|wish| (at(wish.at), Action::Wish(wish.clone()))));
    if scenario.engine.mode == RunMode::Continuous {
        actions.push((lasts, Action::Drain));
    }
    // The sort is stable: at one instant, the order of the file.
    actions.sort_by_key(|(at, _)| *at);
    actions
}
