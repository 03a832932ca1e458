//! `tidewatch demo`: the real program on the embedded default, against a real HTTP server on
//! loopback, in virtual time.
//!
//! Time jumps only while nothing is in flight; time-outs stay real.

use crate::{
    arguments::{Arguments, Demo},
    failure::{Failure, UNDONE},
    output::{grouped, json, line, tell},
    project::Project,
};
use anyhow::Context;
use engine::{Mode, Options};
use env::{Clock, SystemClock, VirtualClock};
use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, date},
    tz::TimeZone,
};
use sim::exchange::{Exchange, ExchangeSettings, Faults, Rename, World, start};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Tells a folder that the demonstration made, and may make anew, from any other.
const MARK: &str = ".tidewatch-demo";
const ENTITIES: usize = 240;
const SESSIONS: usize = 20;
const FROM: Date = date(2025, 11, 17);
/// What the exchange grants; the source asks a little more, so that refusals are seen.
const SERVED_PER_SECOND: f64 = 60.0;

/// A world, the source that asks it, and the time it spans.
struct Stage {
    world: World,
    source: &'static str,
    definition: String,
    entities: String,
    starts: Timestamp,
    ends: Timestamp,
}

pub(crate) async fn run(arguments: &Arguments, demo: &Demo) -> Result<u8, Failure> {
    let stage = match (&demo.data, &demo.arrivals) {
        (Some(data), Some(arrivals)) => of_files(data, arrivals)?,
        _ => invented(demo.seed)?,
    };
    if arguments.dry_run {
        line(format_args!(
            "would make the project {} and ask for {} from {} on",
            demo.project.display(),
            stage.source,
            stage.starts
        ));
        return Ok(0);
    }
    let clock: Arc<dyn Clock> = if demo.serve {
        Arc::new(SystemClock::starting_at(Some(arguments.now.unwrap_or(stage.ends))))
    } else {
        Arc::new(VirtualClock::new(arguments.now.unwrap_or(stage.starts)))
    };
    let settings = ExchangeSettings { port: demo.port, ..settings(demo.seed, Arc::clone(&clock)) };
    let port = demo.port;
    let world = Arc::new(stage.world);
    let exchange = start(Arc::clone(&world), settings).await.with_context(|| {
        format!("the exchange cannot listen on port {port} of 127.0.0.1; choose another by `--port`, or 0 for a free one")
    })?;
    let address = format!("http://{}{}", exchange.address, world.path_prefix());
    make_project(
        &demo.project,
        stage.source,
        &stage.definition.replace("EXCHANGE", &address),
        &stage.entities,
    )?;
    if demo.serve {
        return serve(&exchange, &demo.project).await;
    }
    tell(format_args!(
        "the exchange listens on {}; virtual time from {} to {}",
        exchange.address,
        stage.starts.strftime("%Y-%m-%d"),
        stage.ends.strftime("%Y-%m-%d"),
    ));
    let project = Project::open_at(&demo.project, arguments.json, clock)?;
    let options = Options { ..project.options(Mode::Until(stage.ends))? };
    let summary = super::run::drive(&project, options, false).await?;
    report(arguments, &project, &exchange, &summary, stage.source).await?;
    Ok(if summary.unasked_for_budget > 0 { UNDONE } else { 0 })
}

fn settings(seed: u64, clock: Arc<dyn Clock>) -> ExchangeSettings {
    let mono = Arc::clone(&clock);
    ExchangeSettings {
        seed,
        entities: ENTITIES,
        from: FROM,
        days: SESSIONS,
        faults: Faults {
            rename: Some(Rename {
                first: 9,
                sessions: 2,
                fixed_after: SignedDuration::from_hours(20),
            }),
            ..Faults::default()
        },
        rate_per_second: SERVED_PER_SECOND,
        port: 0,
        clock: Arc::new(move || clock.now().wall),
        mono: Arc::new(move || mono.now().monotonic.as_secs_f64()),
    }
}

fn invented(seed: u64) -> Result<Stage, Failure> {
    let world =
        World::generate(&settings(seed, Arc::new(VirtualClock::new(Timestamp::UNIX_EPOCH))))
            .map_err(Failure::usage)?;
    let last = world.truth().map(|truth| truth.day).max().context("the exchange has no days")?;
    let definition = format!(
        r#"# Written by `tidewatch demo`.
name  = "eod_prices"
owner = "market-data"

[entities]
file = "tickers.csv"

[periods]
calendar       = "XNYS"
from           = "{FROM}"
give_up_after  = "36h"
look_every     = "30m"
look_every_max = "4h"

[request]
url  = "EXCHANGE{{{{ entity }}}}?date={{{{ period }}}}"
cost = 0.01

[limit]
rate        = 100
burst       = 20
concurrency = 16

[revisit]
every = "24h"
until = "48h"

[extract]
format  = "json"
records = "$.data[*]"
empty   = "$.total == 0"

[extract.fields]
date   = {{ path = "$.t", type = "date" }}
open   = {{ path = "$.o", type = "decimal(18,6)" }}
high   = {{ path = "$.h", type = "decimal(18,6)" }}
low    = {{ path = "$.l", type = "decimal(18,6)" }}
close  = {{ path = "$.c", type = "decimal(18,6)" }}
volume = {{ path = "$.v", type = "int" }}

[expect]
records_per_cell = 1
key    = ["entity", "date"]
checks = [ {{ not_null = "close" }}, {{ equals_period = "date" }}, {{ between = {{ field = "close", min = 0 }} }} ]
"#
    );
    Ok(Stage {
        source: "eod_prices",
        definition,
        entities: closing(&world.tickers_csv(), last),
        starts: at_midnight(FROM)?,
        ends: at_midnight(last.checked_add(Span::new().days(5)).map_err(Failure::failed)?)?,
        world,
    })
}

/// The demonstration's exchange closes for good after its last day, so that a later look at the
/// project does not expect anything more.
fn closing(tickers: &str, last: Date) -> String {
    tickers
        .lines()
        .map(|row| if row.ends_with(',') { format!("{row}{last}\n") } else { format!("{row}\n") })
        .collect()
}

fn of_files(data: &Path, arrivals: &Path) -> Result<Stage, Failure> {
    let text = arrivals.display().to_string();
    let expected = text
        .strip_suffix(".csv.gz")
        .map(|stem| PathBuf::from(format!("{stem}.expected.csv.gz")))
        .ok_or_else(|| Failure::usage(anyhow::anyhow!("`{text}` is not a `NAME.csv.gz`")))?;
    let world =
        World::from_files(&data.join("nav.csv.gz"), arrivals, &expected).map_err(Failure::usage)?;
    let days: Vec<Date> = world.truth().map(|truth| truth.day).collect();
    let (Some(first), Some(last)) = (days.iter().min(), days.iter().max()) else {
        return Err(Failure::usage(anyhow::anyhow!("`{}` expects nothing", expected.display())));
    };
    let expected =
        expected.canonicalize().with_context(|| format!("finding `{}`", expected.display()))?;
    let definition = format!(
        r#"# Written by `tidewatch demo`.
name = "nav"

[entities]
file = "tickers.csv"

[periods]
file           = '{expected}'
timezone       = "UTC"
give_up_after  = "11d"
look_every     = "2h"
look_every_max = "8h"

[request]
url = "EXCHANGE{{{{ entity }}}}?date={{{{ period }}}}"

[limit]
concurrency = 32

[extract]
format  = "json"
records = "$.data[*]"
empty   = "$.total == 0"

[extract.fields]
date = {{ path = "$.date", type = "date" }}
nav  = {{ path = "$.nav", type = "decimal(18,4)" }}

[expect]
records_per_cell = 1
key    = ["entity", "date"]
checks = [ {{ not_null = "nav" }}, {{ equals_period = "date" }} ]
"#,
        expected = expected.display(),
    );
    Ok(Stage {
        source: "nav",
        definition,
        entities: world.tickers_csv(),
        starts: at_midnight(*first)?,
        ends: at_midnight(last.checked_add(Span::new().days(14)).map_err(Failure::failed)?)?,
        world,
    })
}

fn at_midnight(day: Date) -> Result<Timestamp, Failure> {
    Ok(day.to_zoned(TimeZone::UTC).map_err(Failure::failed)?.timestamp())
}

/// Makes the project's folder; one that the demonstration made before is made anew.
fn make_project(dir: &Path, source: &str, definition: &str, entities: &str) -> Result<(), Failure> {
    let exists = dir.try_exists().with_context(|| format!("looking at `{}`", dir.display()))?;
    if exists && !dir.join(MARK).exists() {
        return Err(Failure::usage(anyhow::anyhow!(
            "`{}` exists and was not made by the demonstration: nothing was written; choose another folder by `--project`",
            dir.display()
        )));
    }
    let make = || -> std::io::Result<()> {
        if exists {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir.join("sources"))?;
        std::fs::write(
            dir.join(MARK),
            "made by `tidewatch demo`, and made anew by the next one\n",
        )?;
        std::fs::write(dir.join("tidewatch.toml"), "project = \"demo\"\n")?;
        std::fs::write(dir.join("tickers.csv"), entities)?;
        std::fs::write(dir.join("sources").join(format!("{source}.toml")), definition)
    };
    make()
        .with_context(|| format!("making the project `{}`", dir.display()))
        .map_err(Failure::failed)
}

/// Serves by the real clock until the process is stopped.
async fn serve(exchange: &Exchange, project: &Path) -> Result<u8, Failure> {
    tell(format_args!(
        "the exchange listens on {}; the project is {}; stop by Ctrl-C",
        exchange.address,
        project.display()
    ));
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C").map_err(Failure::failed)?;
    Ok(0)
}

async fn report(
    arguments: &Arguments,
    project: &Project,
    exchange: &Exchange,
    summary: &engine::Summary,
    source: &str,
) -> Result<(), Failure> {
    let log = exchange.log();
    if arguments.json {
        return json(&serde_json::json!({
            "project": project.dir.display().to_string(),
            "requests": summary.requests,
            "records": summary.records,
            "batches": summary.batches,
            "answers_by_status": log.by_status,
        }));
    }
    super::run::print(arguments, summary)?;
    let by_status: Vec<String> = log
        .by_status
        .iter()
        .map(|(status, count)| format!("{status}: {}", grouped(*count)))
        .collect();
    tell(format_args!(
        "the exchange answered {}; cut off {} bodies, sent {} empty ones, {} block pages, {} with a renamed field\n",
        by_status.join(", "),
        grouped(log.truncated),
        grouped(log.empty_bodies),
        grouped(log.block_pages),
        grouped(log.renamed),
    ));
    for report in super::status::reports(project, None).await? {
        super::status::print_report(&report);
    }
    let dir = project.dir.display();
    let program = program();
    tell(format_args!(
        "\nThe tables are in {} (Delta), the answers as received in {} (WARC).\nTry next:\n  \
         {program} status --dir {dir}\n  \
         {program} sql --dir {dir} \"select _period, count(*) as records from latest.{source} group by _period order by _period limit 5\"\n  \
         {}",
        project.lake_path().display(),
        project.archive_path().display(),
        example_explain(project, source).await?,
    ));
    Ok(())
}

/// A cell that is worth an explanation: one without data if there is any.
async fn example_explain(project: &Project, source: &str) -> Result<String, Failure> {
    let (dir, program) = (project.dir.display(), program());
    let Some(state) = project.state_if_any()? else {
        return Ok(format!("{program} cells --dir {dir}"));
    };
    let absent =
        state::CellFilter { state: Some("absent".to_owned()), ..state::CellFilter::default() };
    let mut cells = state.find_cells(&absent, 1).await?;
    if cells.is_empty() {
        cells = state.find_cells(&state::CellFilter::default(), 1).await?;
    }
    Ok(match cells.first() {
        Some((_, row)) => {
            format!("{program} explain --dir {dir} {source} {} {}", row.entity, row.period)
        }
        None => format!("{program} cells --dir {dir}"),
    })
}

/// The program as it was called, so that what is proposed can be typed as it stands.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "tidewatch".to_owned())
}
