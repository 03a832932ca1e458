//! `tidewatch init`: a project with an example source to edit.

use crate::{
    arguments::{Arguments, Init},
    failure::Failure,
    output::{json, line, tell},
};
use anyhow::Context;
use std::{fs::OpenOptions, io::Write, path::Path};

const SETTINGS: &str = r#"# The project. Everything here has a default; this file may be empty.

# budget = { per_day = 100.0 }       # all sources together, in your unit of account, per UTC day
# state   = ".tidewatch/state.db"    # hot state (SQLite)
# lake    = ".tidewatch/lake"        # Delta tables
# archive = ".tidewatch/archive"     # answers as received (WARC)
# commit  = { rows = 20000, bytes = "64MiB", every = "2s" }
"#;

const SOURCE: &str = r#"# One source a file. `tidewatch check` reads it, `tidewatch try eod_prices AAPL 2026-11-19` asks once.
name  = "eod_prices"
owner = "market-data"
enabled = false                      # remove this line once the address below is yours

[entities]
file = "tickers.csv"                 # entity,listed_from,listed_until   (or: list = ["AAPL", "MSFT"])

[periods]
calendar      = "XNYS"               # once | daily | weekdays | XNYS, or file = "expected.csv" (entity,period)
closes_at     = "16:00"
timezone      = "America/New_York"
give_up_after = "36h"                # after that, a complete answer without data is the last word
look_every    = "30m"

[request]
url     = "https://api.example.com/eod/{{ entity }}?date={{ period }}"
# headers = { Authorization = "Bearer ${EOD_TOKEN}" }    # secrets by ${NAME} or file:PATH, here and in auth only
cost    = 1.0

[limit]
rate        = 5                      # requests per second, a hard ceiling
concurrency = 4

[extract]
format  = "json"
records = "$.data[*]"
empty   = "$.total == 0"             # what proves that an empty answer is an answer

[extract.fields]
date  = { path = "$.t", type = "date" }
close = { path = "$.c", type = "decimal(18,6)", missing_values = ["N/A", "-"] }

[expect]
records_per_cell = 1
key    = ["entity", "date"]
checks = [ { not_null = "close" }, { between = { field = "close", min = 0 } } ]
"#;

const TICKERS: &str = "entity,listed_from,listed_until\nAAPL,,\nMSFT,,\n";

pub(crate) fn run(arguments: &Arguments, init: &Init) -> Result<u8, Failure> {
    let dir = init.folder.as_ref().unwrap_or(&arguments.dir);
    let files = [
        ("tidewatch.toml", SETTINGS),
        ("sources/eod_prices.toml", SOURCE),
        ("tickers.csv", TICKERS),
        (".gitignore", ".tidewatch/\n"),
    ];
    let existing: Vec<String> = files
        .iter()
        .filter(|(name, _)| *name != ".gitignore" && dir.join(name).exists())
        .map(|(name, _)| dir.join(name).display().to_string())
        .collect();
    if !existing.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "nothing was written, because these files exist already: {}",
            existing.join(", ")
        )));
    }
    let mut written = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        if name == ".gitignore" && path.exists() {
            continue;
        }
        if !arguments.dry_run {
            write_new(&path, text)?;
        }
        written.push(path.display().to_string());
    }
    if arguments.json {
        json(&serde_json::json!({ "written": written, "dry_run": arguments.dry_run }))?;
    } else {
        written.iter().for_each(line);
        tell(format_args!(
            "\nNext: edit {}, then\n  tidewatch check --dir {dir}\n  tidewatch try eod_prices AAPL 2026-11-19 --dir {dir}\n  \
             tidewatch run --once --dir {dir}",
            dir.join("sources/eod_prices.toml").display(),
            dir = dir.display(),
        ));
    }
    Ok(0)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    write().with_context(|| format!("writing `{}`", path.display())).map_err(Failure::failed)
}
