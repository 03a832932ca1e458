//! What an engine is handed: its ports, its options, and the wishes that reach it while it runs.

use archive::Archive;
use env::{Clock, Entropy};
use fetch::Transport;
use jiff::Timestamp;
use lake::Lake;
use model::{AttemptId, Budget, CellState, LookKind, Outcome, Period, SourceId};
use plan::arrival::external::External;
use source::Source;
use state::StateStore;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Everything outside of the engine.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Entropy,
    /// Hot state.
    pub state: Arc<dyn StateStore>,
    /// Tables.
    pub lake: Arc<dyn Lake>,
    /// Bytes as received.
    pub archive: Arc<dyn Archive>,
    /// The network.
    pub transport: Arc<dyn Transport>,
}

/// How long an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop.
    Continuous,
    /// Everything that is due now, then it ends.
    Once,
    /// Until this time of day, or until nothing is left to wait for. For virtual clocks.
    Until(Timestamp),
}

/// How an engine runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long.
    pub mode: Mode,
    /// Most attempts of one micro-batch.
    pub commit_rows: usize,
    /// Most bytes held by one micro-batch.
    pub commit_bytes: u64,
    /// The longest a finished attempt waits for its commit.
    pub commit_every: Duration,
    /// Most requests in flight, over all sources.
    pub in_flight_max: usize,
    /// Where bodies too large for memory go while they are worked on.
    pub spool: PathBuf,
    /// The most the project may spend in one UTC day and month.
    pub budget: Budget,
    /// Sources whose list of entities may have lost most of its lines.
    pub accept_entities: Vec<SourceId>,
    /// Sources to run; empty: all.
    pub only: Vec<SourceId>,
    /// `User-Agent` of requests that do not set one.
    pub user_agent: String,
    /// Models of arrivals from elsewhere, by source.
    pub models: BTreeMap<SourceId, Arc<dyn External>>,
}

/// A wish that reaches a running engine.
#[derive(Debug)]
pub enum Control {
    /// The source files changed; these are all sources now.
    Sources(Vec<Source>),
    /// State was changed by somebody else, or time may have been stepped: look again.
    Look,
    /// Finish what is in flight, commit, end.
    Drain,
}

/// What happened, for observers: progress lines, simulators.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request left.
    Sent {
        /// When.
        at: Timestamp,
        /// Whose.
        source: SourceId,
        /// Which.
        attempt: AttemptId,
    },
    /// A cheap look was found to have lied.
    LookLied {
        /// When.
        at: Timestamp,
        /// The cell's source.
        source: SourceId,
        /// The cell's entity.
        entity: model::Entity,
        /// The cell's period.
        period: Period,
        /// Which kind of look.
        look: LookKind,
        /// It said that data is there, and there was none; else the other way round.
        said_there: bool,
    },
    /// A cell's wait is over: its data came, or it is waited for no more.
    Arrived {
        /// When.
        at: Timestamp,
        /// The cell's source.
        source: SourceId,
        /// The cell's entity.
        entity: model::Entity,
        /// The cell's period.
        period: Period,
        /// The last look that left before and found nothing.
        not_before: Option<Timestamp>,
        /// The first look that found it; `None`: it never came.
        seen_at: Option<Timestamp>,
    },
    /// An attempt ended and was accounted.
    Ended {
        /// When.
        at: Timestamp,
        /// The cell's source.
        source: SourceId,
        /// The cell's entity.
        entity: model::Entity,
        /// The cell's period.
        period: Period,
        /// Which attempt.
        attempt: AttemptId,
        /// How the cell was looked at.
        look: LookKind,
        /// How it ended.
        outcome: Outcome,
        /// What the cell is now.
        state: CellState,
    },
    /// The pace of a limit scope changed.
    Paced {
        /// The scope.
        scope: String,
        /// What was decided, when and why.
        decision: crate::KeptDecision,
    },
    /// A batch is in the tables and in the state.
    Settled {
        /// Its number.
        number: i64,
        /// Attempts in it.
        attempts: usize,
    },
}

/// Figures of a running engine.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Time of day by the engine's clock.
    pub now: Option<Timestamp>,
    /// Requests that ended.
    pub requests: u64,
    /// Records accepted.
    pub records: u64,
    /// Cells settled in this run.
    pub settled: u64,
    /// Cells of all grids that are due now.
    pub due: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Batches committed.
    pub batches: u64,
}

/// Where an engine tells what it does. All optional.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Figures, the newest only.
    pub progress: Option<watch::Sender<Progress>>,
    /// Events, every one.
    pub events: Option<mpsc::UnboundedSender<Event>>,
}
