//! What can be typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, civil::Date};
use std::path::PathBuf;

/// Keeps data sets complete: acquires from APIs, accounts for every expected cell.
#[derive(Debug, Parser)]
#[command(name = "tidewatch", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The project's folder.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say what would be asked or written, and do nothing of it.
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Start the clock at this time (RFC 3339, or a day for its midnight in UTC); it runs on from there.
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub(crate) now: Option<Timestamp>,
    /// Log more: -v what changes, -vv each attempt.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log lines as JSON.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project with an example source to edit.
    Init(Init),
    /// Check the settings and all source files; report every mistake at once.
    Check,
    /// Print the JSON Schema of source files, for editors.
    Schema,
    /// Ask for one cell, once, and show what is made of the answer. Writes no data; counts the cost.
    Try(Cell),
    /// Acquire: continuously until SIGTERM, or with --once everything that is due now.
    Run(Run),
    /// Ask for earlier periods. Beside a running engine: hand it the wish.
    Backfill(Backfill),
    /// Stop asking a source until it is resumed.
    Pause {
        /// The source.
        source: String,
    },
    /// Ask a paused source again.
    Resume {
        /// The source.
        source: String,
    },
    /// How complete each source is, by state and cause.
    Status(Status),
    /// List cells.
    Cells(Cells),
    /// Everything that is known of one cell, as a timeline.
    Explain(Cell),
    /// What is believed of a source's server limit, and why.
    Pace {
        /// The source.
        source: String,
    },
    /// When a source's data comes, and when it is looked for next.
    Arrival(Arrival),
    /// What was spent, by day and source.
    Spend(Spend),
    /// Query the tables, read-only.
    Sql(Sql),
    /// Give out ids that no other writer gets: integers ordered by time, dense integers, UUIDs.
    Id(Id),
    /// Serve ids to scripts by HTTP, on this machine unless told otherwise, until SIGTERM.
    Serve(Serve),
    /// Look after the state file.
    State(State),
    /// See it work: the real program against an exchange that it starts on this machine.
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The new project's folder; default: --dir.
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Cell {
    /// The source.
    pub(crate) source: String,
    /// The entity.
    pub(crate) entity: String,
    /// The period: `2026-11-19`, `once`.
    #[arg(default_value = "once")]
    pub(crate) period: String,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Everything that is due now, then exit.
    #[arg(long)]
    pub(crate) once: bool,
    /// Only these sources.
    #[arg(long = "source", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Accept that this source's list of entities lost most of its lines.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) accept_entities: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The source.
    pub(crate) source: String,
    /// The first day.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Date,
    /// The last day; default: the day before the source's start.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<Date>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this source.
    pub(crate) source: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cells {
    /// Only of this source.
    pub(crate) source: Option<String>,
    /// Only of this entity.
    #[arg(long)]
    pub(crate) entity: Option<String>,
    /// Only of this period.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) period: Option<String>,
    /// From this period on.
    #[arg(long, value_name = "PERIOD")]
    pub(crate) from: Option<String>,
    /// Up to this period.
    #[arg(long, value_name = "PERIOD")]
    pub(crate) to: Option<String>,
    /// Only in this state: due, waiting, present, absent, held, given_up.
    #[arg(long, value_parser = ["due", "waiting", "present", "absent", "held", "given_up"])]
    pub(crate) state: Option<String>,
    /// Only with this cause.
    #[arg(long)]
    pub(crate) cause: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arrival {
    /// The source.
    pub(crate) source: Option<String>,
    /// The width of a window, such as `30m`; with it, the probability of each is listed.
    #[arg(long, value_name = "TIME")]
    pub(crate) windows: Option<SignedDuration>,
    /// Draw the windows into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Only this entity.
    #[arg(long)]
    pub(crate) entity: Option<String>,
    /// At most so many entities.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(subcommand)]
    pub(crate) action: Option<ArrivalAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArrivalAction {
    /// Play known arrivals in closed loop, and compare what each policy would have cost.
    Evaluate(Evaluate),
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// CSV (also gzipped) with `key`, `period`, `available_at`: when data came.
    pub(crate) arrivals: PathBuf,
    /// CSV (also gzipped) with `key`, `period`: what was expected.
    #[arg(long, value_name = "FILE")]
    pub(crate) expected: PathBuf,
    /// CSV (also gzipped) with `key`, `origin_h`, `deadline_h`: from when until when to look, in hours
    /// after 00:00 UTC of the period.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: PathBuf,
    /// What a look costs.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) look_cost: f64,
    /// What a minute from arrival to the look that finds it costs.
    #[arg(long, default_value_t = 0.0333)]
    pub(crate) delay_cost_per_minute: f64,
    /// What a cheap look costs that never lies; without it there is none.
    #[arg(long)]
    pub(crate) head_cost: Option<f64>,
    /// The most that all looks of a day in UTC may cost; a look that there is no money for waits.
    #[arg(long, value_name = "MONEY")]
    pub(crate) budget_per_day: Option<f64>,
    /// The same, of a month.
    #[arg(long, value_name = "MONEY")]
    pub(crate) budget_per_month: Option<f64>,
    /// The share of each key's expected periods that is its first half.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) train_fraction: f64,
    /// Only these policies.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Vec<String>,
    /// An ONNX file whose rates take the place of the trained models: one policy more.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Spend {
    /// From this day on (UTC).
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<Date>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// One SELECT. Tables: `name`, `latest.name`, `quarantine.name`, and the books: `ledger.attempts`,
    /// `ledger.cells`, `ledger.throttles`, `ledger.paces`.
    pub(crate) query: String,
    /// How to print.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Show what was known at this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) as_of: Option<Timestamp>,
    /// At most so many rows.
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<usize>,
}

/// Where ids come from.
#[derive(Debug, Args)]
pub(crate) struct IdOptions {
    /// Lease from here instead of .tidewatch/ids.db: a SQLite file, postgres://USER@HOST/DATABASE, or
    /// mariadb://... Default: $TIDEWATCH_IDS, then `[ids] store` of tidewatch.toml, for addresses with
    /// a password.
    #[arg(long, value_name = "PLACE")]
    pub(crate) store: Option<String>,
    /// Whose integers must not collide share a space, or for `block` a counter.
    #[arg(long, default_value = "ids", value_name = "NAME")]
    pub(crate) space: String,
    /// Lay the space out for at least so many writers at once, 1 to 2,097,152; fewer writers may each
    /// take more ids a second. Fixed when a space is first used.
    #[arg(long, default_value_t = 1024)]
    pub(crate) nodes: u64,
    /// Numbers that `block` takes from its counter at a time; as many may be a gap, and up to eight times
    /// as many of a process that uses them up in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) block: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdKind {
    /// 64-bit integers, ordered by time.
    Int,
    /// Small, dense integers.
    Block,
    /// UUIDs of version 7.
    Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Postgres,
    Mariadb,
}

#[derive(Debug, Args)]
pub(crate) struct Id {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) count: u32,
    /// Which ids.
    #[arg(long, value_enum, default_value = "int")]
    pub(crate) kind: IdKind,
    #[command(flatten)]
    pub(crate) options: IdOptions,
    /// Print the SQL that lets this database give `int` ids by itself, and do nothing else.
    #[arg(long, value_enum, value_name = "DATABASE")]
    pub(crate) sql: Option<Database>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen. There are no accounts: whoever reaches it takes ids.
    #[arg(long, default_value = "127.0.0.1:8710", value_name = "ADDRESS")]
    pub(crate) listen: std::net::SocketAddr,
    #[command(flatten)]
    pub(crate) ids: IdOptions,
}

#[derive(Debug, Args)]
pub(crate) struct State {
    #[command(subcommand)]
    pub(crate) action: StateAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Make the state anew from the ledger tables; a state file that is there is kept beside.
    Rebuild,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Real values instead of invented ones: a folder with `nav.csv.gz`.
    #[arg(long, value_name = "DIR", requires = "arrivals")]
    pub(crate) data: Option<PathBuf>,
    /// When each value really appeared: `NAME.csv.gz`, with `NAME.expected.csv.gz` beside it.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub(crate) arrivals: Option<PathBuf>,
    /// The project's folder.
    #[arg(long, value_name = "DIR", default_value = "tidewatch-demo")]
    pub(crate) project: PathBuf,
    /// The exchange's port on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Another seed is another world.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only make the project and serve the exchange, by the real clock, until stopped.
    #[arg(long)]
    pub(crate) serve: bool,
}

/// Reads a time, or a day as its first instant in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    text.parse::<Date>()
        .ok()
        .and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|day| day.timestamp())
        .ok_or_else(|| format!("`{text}` is neither a time such as `2026-11-19T21:00:00Z` nor a day such as `2026-11-19`"))
}
