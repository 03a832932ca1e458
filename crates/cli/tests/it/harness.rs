//! A project in a temporary folder, an exchange in this process, and the program beside them.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sim::exchange::{Exchange, ExchangeSettings, Faults, World, start};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// Long after the last session of every world of these tests.
pub(crate) const NOW: &str = "2026-03-01T00:00:00Z";

pub(crate) struct Project {
    folder: TempDir,
}

/// What a run of the program gave back.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.stdout, self.stderr))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

impl Project {
    pub(crate) fn empty() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.write("tidewatch.toml", "");
        std::fs::create_dir_all(project.dir().join("sources")).unwrap();
        project
    }

    /// One source that asks `url` (with `{{ entity }}` and `{{ period }}`) for what `body` says.
    pub(crate) fn with_source(name: &str, text: &str) -> Self {
        let project = Self::empty();
        project.write(&format!("sources/{name}.toml"), text);
        project
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
        command.arg("--dir").arg(self.dir()).args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs and expects success.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn sql(&self, query: &str) -> Value {
        self.ok(&["sql", "--json", query]).json()
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.dir().join(".tidewatch/state.db")
    }

    pub(crate) fn lake_path(&self) -> PathBuf {
        self.dir().join(".tidewatch/lake")
    }
}

/// An exchange whose time stands still at [`NOW`]: everything that comes has come.
pub(crate) async fn exchange(
    entities: usize,
    days: usize,
    faults: Faults,
) -> (Arc<World>, Exchange) {
    limited_exchange(entities, days, faults, 0.0).await
}

/// The same, answering at most so many requests a second; 0: any number.
pub(crate) async fn limited_exchange(
    entities: usize,
    days: usize,
    faults: Faults,
    rate_per_second: f64,
) -> (Arc<World>, Exchange) {
    let started = Instant::now();
    let now: Timestamp = NOW.parse().unwrap();
    let settings = ExchangeSettings {
        seed: 11,
        entities,
        from: "2025-11-17".parse().unwrap(),
        days,
        faults,
        rate_per_second,
        port: 0,
        clock: Arc::new(move || now),
        mono: Arc::new(move || started.elapsed().as_secs_f64()),
    };
    let world = Arc::new(World::generate(&settings).unwrap());
    let exchange = start(Arc::clone(&world), settings).await.unwrap();
    (world, exchange)
}

/// Faults of every kind that heal by asking again at once.
pub(crate) fn transient_faults() -> Faults {
    Faults {
        server_error: 0.03,
        unavailable: 0.0,
        truncated: 0.03,
        empty_body: 0.0,
        block_page: 0.0,
        never: 0.01,
        corrected: 0.0,
        rename: None,
    }
}

/// A source that asks that exchange.
pub(crate) fn eod_source(exchange: &Exchange, extra: &str) -> String {
    format!(
        r#"
name = "eod"
[entities]
file = "tickers.csv"
[periods]
calendar = "XNYS"
from = "2025-11-17"
give_up_after = "36h"
[request]
url = "http://{}/eod/{{{{ entity }}}}?date={{{{ period }}}}"
cost = 0.25
[retry]
first = "20ms"
max = "200ms"
attempts = 8
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
[extract.fields]
date = {{ path = "$.t", type = "date" }}
close = {{ path = "$.c", type = "decimal(18,6)" }}
volume = {{ path = "$.v", type = "int" }}
[expect]
records_per_cell = 1
key = ["entity", "date"]
checks = [ {{ not_null = "close" }}, {{ equals_period = "date" }} ]
{extra}
"#,
        exchange.address
    )
}

/// The world's tickers; those without an end end with the world, so that nothing else is expected.
pub(crate) fn tickers(world: &World) -> String {
    let last = world.truth().map(|truth| truth.day).max().unwrap();
    world
        .tickers_csv()
        .lines()
        .map(|row| if row.ends_with(',') { format!("{row}{last}\n") } else { format!("{row}\n") })
        .collect()
}

/// A pause by the real clock, for processes to get on.
pub(crate) fn pause(by: SignedDuration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "another process is waited for, by the real clock"
    )]
    std::thread::sleep(by.unsigned_abs());
}
