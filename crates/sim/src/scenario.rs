//! Scenarios: readable files that say what the world is like, what goes wrong in it, and what a
//! good engine makes of it.
//!
//! Times of a scenario count from its start (`"2d6h"`); a day has 24 hours. The world's time is the
//! true one: steps of the engine's clock move nothing here.

use crate::history::{History, HistoryError};
use engine::Mode;
use env::Entropy;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use model::grid::EntityRow;
use serde::{Deserialize, Deserializer};
use source::Source;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One file of the folder `scenarios`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence.
    pub about: String,
    /// The true time at its start.
    pub start: Timestamp,
    /// The latest start: the seed draws one, by whole days.
    pub start_until: Option<Timestamp>,
    /// How long it lasts.
    pub duration: Elapsed,
    /// How the engine runs.
    #[serde(default)]
    pub engine: EngineSettings,
    /// How often the engine is killed, at instants drawn from the seed.
    #[serde(default)]
    pub kills: u32,
    /// Steps of the engine's clock.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What people wish while it runs.
    #[serde(default)]
    pub wishes: Vec<Wish>,
    /// The sources with the servers behind them.
    pub sources: Vec<Endpoint>,
    /// What is accepted at the end.
    #[serde(default)]
    pub accept: Accept,
}

/// How the engine runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// Until it is told to drain, until an instant, or once and again.
    pub mode: RunMode,
    /// With the mode `once`: from the end of one pass to the start of the next.
    pub every: Elapsed,
    /// The longest wait for a commit.
    pub commit_every: Elapsed,
    /// Most attempts of a batch.
    pub commit_rows: usize,
    /// The most that is spent in a day (UTC), over all sources.
    pub budget_per_day: Option<f64>,
    /// The most that is spent in a month (UTC), over all sources.
    pub budget_per_month: Option<f64>,
    /// From how long to how long a call to state, tables or archive takes.
    pub store_latency: [Elapsed; 2],
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            mode: RunMode::Continuous,
            every: Elapsed(SignedDuration::from_hours(6)),
            commit_every: Elapsed(SignedDuration::from_secs(30)),
            commit_rows: 20_000,
            budget_per_day: None,
            budget_per_month: None,
            store_latency: [Elapsed(SignedDuration::ZERO); 2],
        }
    }
}

/// Which of the engine's modes is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// Continuous, drained at the scenario's end.
    Continuous,
    /// Until the scenario's end by the engine's own clock.
    Until,
    /// `run --once`, again and again.
    Once,
}

impl RunMode {
    /// The engine's mode, given when the scenario ends by the engine's clock.
    pub fn engine_mode(self, end: Timestamp) -> Mode {
        match self {
            Self::Continuous => Mode::Continuous,
            Self::Until => Mode::Until(end),
            Self::Once => Mode::Once,
        }
    }
}

/// A step of the engine's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: Elapsed,
    /// By how much; backwards if negative.
    pub by: Elapsed,
}

/// A person's wish.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// When.
    pub at: Elapsed,
    /// Of which source.
    pub source: String,
    /// What.
    pub wish: WishKind,
    /// The first day of a backfill.
    pub from: Option<Date>,
    /// The last day of a backfill.
    pub until: Option<Date>,
}

/// What a person wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishKind {
    /// No more requests.
    Pause,
    /// Requests again.
    Resume,
    /// Older data.
    Backfill,
}

/// A source and the server behind it, whose host is `SOURCE.sim`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// So many entities `E000`, `E001`, ...; with a `history`, that many of its own at most, drawn
    /// from the seed.
    pub entities: u32,
    /// The name of a real history, in the folder that is given: its entities, and when their data
    /// came.
    pub history: Option<String>,
    /// That history, once it is read.
    #[serde(skip)]
    pub known: Option<Arc<Known>>,
    /// Which entities are listed when; the others always.
    #[serde(default)]
    pub listed: Vec<Listed>,
    /// The source file as a person writes it, without its entities.
    ///
    /// Its fields are `s` (text: the entity), `n` (int: the record's number) and `c`
    /// (decimal(18,6)); its key is entity, period and `n`. `@start` is the day of the scenario's
    /// start, `@expected` the file of the pairs that its history expects.
    pub definition: String,
    /// When data appear, and how they change.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// How the server behaves.
    #[serde(default)]
    pub server: Server,
    /// A due cell is asked for within this, by the engine's clock; not checked if missing.
    pub asked_within: Option<Elapsed>,
    /// What arrived longer ago than this, before its deadline and the end, is present at the end;
    /// not checked if missing.
    pub present_within: Option<Elapsed>,
}

/// A history as an endpoint has it.
#[derive(Debug)]
pub struct Known {
    /// Its arrivals.
    pub history: History,
    /// The file of its expected pairs.
    pub expected: PathBuf,
    /// What draws its entities.
    seed: u64,
}

/// The listing of some entities.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The number of the first.
    pub first: u32,
    /// The number of the last.
    pub last: u32,
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub until: Option<Date>,
}

/// When data appear, and how they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrivals {
    /// Each entity has a habit of its own between these two, counted from when its cells are due.
    pub after: [Elapsed; 2],
    /// How far a cell strays from its entity's habit, in both directions.
    pub jitter: Elapsed,
    /// The share of cells that come much later.
    pub late_share: f64,
    /// How much later.
    pub late_by: Elapsed,
    /// The share of cells that never come.
    pub never_share: f64,
    /// Days that the source's calendar expects and on which nothing ever comes.
    pub holidays: Vec<Date>,
    /// From how many to how many records a cell has.
    pub records: [u32; 2],
    /// The share of cells that are corrected once.
    pub corrected_share: f64,
    /// How long after the arrival that happens.
    pub corrected_after: [Elapsed; 2],
    /// Of the corrected cells, the share whose last record is withdrawn instead of changed.
    pub withdrawn_share: f64,
}

impl Default for Arrivals {
    fn default() -> Self {
        let minutes = |minutes| Elapsed(SignedDuration::from_mins(minutes));
        Self {
            after: [minutes(1), minutes(120)],
            jitter: minutes(10),
            late_share: 0.0,
            late_by: minutes(0),
            never_share: 0.0,
            holidays: Vec::new(),
            records: [1, 1],
            corrected_share: 0.0,
            corrected_after: [minutes(60), minutes(24 * 60)],
            withdrawn_share: 0.0,
        }
    }
}

/// How a server behaves. Shares are of the requests that would have been served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// From how long to how long an answer takes.
    pub latency: [Elapsed; 2],
    /// Whether answers carry an `ETag`, and "still the same?" is answered.
    pub etag: bool,
    /// What it answers to HEAD.
    pub heads: Heads,
    /// What it refuses.
    pub limiter: Option<Limiter>,
    /// The share of connections that fail.
    pub unreachable_share: f64,
    /// The share of bodies that break off.
    pub truncated_share: f64,
    /// The share of bodies with no bytes.
    pub empty_share: f64,
    /// The share of answers with a 5xx.
    pub failed_share: f64,
    /// The share of requests that are never answered.
    pub silent_share: f64,
    /// What is wrong for a while.
    pub troubles: Vec<Trouble>,
}

impl Default for Server {
    fn default() -> Self {
        let millis = |millis| Elapsed(SignedDuration::from_millis(millis));
        Self {
            latency: [millis(20), millis(200)],
            etag: false,
            heads: Heads::default(),
            limiter: None,
            unreachable_share: 0.0,
            truncated_share: 0.0,
            empty_share: 0.0,
            failed_share: 0.0,
            silent_share: 0.0,
            troubles: Vec::new(),
        }
    }
}

/// What a server answers to HEAD: the length that a GET would have, 512 bytes or more with data and
/// 2 without, unless it lies.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heads {
    /// It takes none: 405.
    pub refused: bool,
    /// Of answers about cells without data, the share that promises some.
    pub promises_share: f64,
    /// Of answers about cells with data, the share that conceals them.
    pub conceals_share: f64,
}

/// A token bucket and a cap of requests at once.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limiter {
    /// Requests per second.
    pub rate: f64,
    /// By the hour of the day (UTC), instead.
    pub rate_by_hour: Option<[f64; 24]>,
    /// Requests at once after a pause.
    pub burst: f64,
    /// Requests in flight.
    pub concurrency: Option<u32>,
    /// What it asks the refused to wait; nothing if missing.
    pub retry_after: Option<Elapsed>,
}

/// Something that is wrong for a while.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// From when.
    pub from: Elapsed,
    /// Until when.
    pub until: Elapsed,
    /// What.
    pub kind: TroubleKind,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// Every answer is a 5xx.
    Outage,
    /// No connection.
    Unreachable,
    /// A web page says that we are not wanted.
    BlockPage,
    /// The field `c` is called otherwise.
    RenamedField,
    /// The list of records is called otherwise.
    RenamedList,
}

/// What is accepted at the end; both bounds included.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accept {
    /// Requests sent, divided by due cells.
    pub requests_per_cell: Option<[f64; 2]>,
    /// Paid looks of the ledger, divided by present cells.
    pub paid_per_present: Option<[f64; 2]>,
    /// The shares of due cells by the word of their state.
    pub shares: BTreeMap<String, [f64; 2]>,
    /// Answers accounted, by the word of their outcome.
    pub outcomes: BTreeMap<String, [u64; 2]>,
    /// The true time from the start until the engine ended by itself.
    pub finished_within: Option<Elapsed>,
    /// Looks and delays of the cells of histories, divided by what a poll every 30 minutes costs.
    pub cost_of_cron: Option<[f64; 2]>,
}

/// A span of time such as `"2d6h"` or `"-90m"`; a day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elapsed(pub SignedDuration);

impl Elapsed {
    /// As a duration that does not run backwards.
    pub fn unsigned(self) -> std::time::Duration {
        self.0.try_into().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Elapsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span: Span = text.parse().map_err(serde::de::Error::custom)?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
        Ok(Self(duration.map_err(serde::de::Error::custom)?))
    }
}

/// A scenario that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is no such file.
    #[error("the scenario `{name}` cannot be read from `{}`", path.display())]
    Unreadable {
        /// The scenario.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file is not a scenario.
    #[error("the scenario `{name}` is not understood: {message}")]
    Malformed {
        /// The scenario.
        name: String,
        /// What was found where.
        message: String,
    },
    /// The history of a source cannot be had.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// One of its sources is not one.
    #[error("the scenario's source {number} is not understood:\n{message}")]
    Definition {
        /// Which, from 1.
        number: usize,
        /// The diagnostics of its definition.
        message: String,
    },
}

impl Scenario {
    /// Reads `scenarios/NAME.toml` of this crate.
    ///
    /// # Errors
    /// There is no such file, or it is not a scenario.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        let file = format!("{name}.toml");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(file);
        let text = std::fs::read_to_string(&path).map_err(|cause| ScenarioError::Unreadable {
            name: name.to_owned(),
            path,
            cause,
        })?;
        Self::parse(name, &text)
    }

    /// Reads a scenario from its text.
    ///
    /// # Errors
    /// The text is not a scenario.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|error| ScenarioError::Malformed {
            name: name.to_owned(),
            message: error.to_string(),
        })
    }

    /// Draws its start, and reads its histories from a folder.
    ///
    /// # Errors
    /// A history is not there, or not understood.
    pub fn drawn(mut self, folder: &Path, seed: u64) -> Result<Self, ScenarioError> {
        if let Some(last) = self.start_until {
            let days = last.duration_since(self.start).as_hours() / 24;
            let mut chance = Entropy::from_seed(seed).child("start");
            let drawn = chance.below(days.unsigned_abs() + 1) as i64;
            let start = self.start.checked_add(SignedDuration::from_hours(24 * drawn));
            self.start = start.unwrap_or(last);
        }
        for endpoint in &mut self.sources {
            let Some(name) = &endpoint.history else { continue };
            let history = History::read(folder, name)?;
            let expected = History::expected(folder, name);
            endpoint.known = Some(Arc::new(Known { history, expected, seed }));
        }
        Ok(self)
    }

    /// The sources as the engine takes them, in the order of the file.
    ///
    /// # Errors
    /// One of the definitions has a mistake.
    pub fn sources(&self) -> Result<Vec<Source>, ScenarioError> {
        let numbered = (1..).zip(&self.sources);
        numbered.map(|(number, endpoint)| endpoint.source(number, self.start)).collect()
    }

    /// When it ends, in true time.
    pub fn end(&self) -> Timestamp {
        self.start.checked_add(self.duration.0).unwrap_or(Timestamp::MAX)
    }
}

impl Endpoint {
    fn source(&self, number: usize, start: Timestamp) -> Result<Source, ScenarioError> {
        let text = self.text(start);
        let none = |_: &str| None;
        let file = PathBuf::from(format!("source_{number}.toml"));
        let (source, diagnostics) = source::parse_source(Path::new("."), &file, &text, &none);
        let mut source = source.ok_or_else(|| ScenarioError::Definition {
            number,
            message: diagnostics.to_string(),
        })?;
        source.entities = (0..)
            .zip(source.entities.iter())
            .map(|(at, row)| self.with_listing(at, row.clone()))
            .collect();
        if let Some(known) = &self.known {
            self.sample(&mut source, known.seed);
        }
        Ok(source)
    }

    /// Its source file.
    fn text(&self, start: Timestamp) -> String {
        let Some(known) = &self.known else {
            let names: Vec<String> = (0..self.entities).map(|at| format!("\"E{at:03}\"")).collect();
            return format!("{}\n[entities]\nlist = [{}]\n", self.definition, names.join(", "));
        };
        let day = start.to_zoned(TimeZone::UTC).date().to_string();
        let expected = known.expected.display().to_string();
        self.definition.replace("@start", &day).replace("@expected", &expected)
    }

    /// Of more entities than it shall have, only those drawn from the seed are expected.
    fn sample(&self, source: &mut Source, seed: u64) {
        let entropy = Entropy::from_seed(seed).child("entities");
        let mut order: Vec<(u64, u32)> = (0..)
            .zip(source.entities.iter())
            .map(|(at, row)| (entropy.child(row.entity.as_str()).bits(), at))
            .collect();
        order.sort_unstable();
        let drawn: BTreeSet<u32> =
            order.into_iter().take(self.entities as usize).map(|(_, at)| at).collect();
        if let Some(pairs) = &mut source.pairs {
            pairs.retain(|(entity, _)| drawn.contains(entity));
        }
    }

    fn with_listing(&self, at: u32, row: EntityRow) -> EntityRow {
        match self.listed.iter().find(|listed| (listed.first..=listed.last).contains(&at)) {
            Some(listed) => {
                EntityRow { listed_from: listed.from, listed_until: listed.until, ..row }
            }
            None => row,
        }
    }
}
