//! `tidewatch.toml`: the project's settings, all of them optional.

use crate::{
    Secret,
    diagnostic::{Report, Span},
    load::Surroundings,
    secret,
    tree::{self, Table},
};
use jiff::SignedDuration;
use model::Budget;
use std::path::{Path, PathBuf};

/// The settings of a project. Paths count from the project's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The project's name (default: the folder's).
    pub project: String,
    /// Where the engine's state is kept.
    pub state: StateSetting,
    /// The folder of the tables.
    pub lake: PathBuf,
    /// The folder of the bytes as received.
    pub archive: PathBuf,
    /// What all sources together may spend, in a UTC day and month.
    pub budget: Budget,
    /// How large the batches of the tables are.
    pub commit: CommitSetting,
    /// How servers know us.
    pub user_agent: String,
    /// Where leases and counters of ids are kept, if not in a file of this folder: a path, or the
    /// address of a database, in which a password may be.
    pub ids_store: Option<Secret>,
}

/// Where the engine's state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateSetting {
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// A batch is committed when one of these is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSetting {
    /// Rows, at least 1.
    pub rows: usize,
    /// Bytes, at least 1.
    pub bytes: u64,
    /// The age of its oldest row.
    pub every: SignedDuration,
}

impl Default for CommitSetting {
    fn default() -> Self {
        Self { rows: 20_000, bytes: 64 << 20, every: SignedDuration::from_secs(2) }
    }
}

impl Settings {
    /// The settings of a folder without a `tidewatch.toml`.
    pub fn default_of(dir: &Path) -> Self {
        let full = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let name = full.file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            project: name.unwrap_or_else(|| "project".to_owned()),
            state: StateSetting::Sqlite(PathBuf::from(".tidewatch/state.db")),
            lake: PathBuf::from(".tidewatch/lake"),
            archive: PathBuf::from(".tidewatch/archive"),
            budget: Budget::default(),
            commit: CommitSetting::default(),
            user_agent: concat!("tidewatch/", env!("CARGO_PKG_VERSION")).to_owned(),
            ids_store: None,
        }
    }
}

pub(crate) fn read(dir: &Path, surroundings: &Surroundings<'_>, report: &mut Report) -> Settings {
    let table = tree::read(&crate::keys::SETTINGS, report);
    let mut settings = Settings::default_of(dir);
    if let Some((text, span)) = table.text("project") {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            report.error(span, "the project's name is empty or has control characters");
        }
        text.clone_into(&mut settings.project);
    }
    if let Some(path) = local_path(&table, "state", report) {
        settings.state = StateSetting::Sqlite(path);
    }
    if let Some(path) = local_path(&table, "lake", report) {
        settings.lake = path;
    }
    if let Some(path) = local_path(&table, "archive", report) {
        settings.archive = path;
    }
    if let Some((text, span)) = table.text("user_agent") {
        if text.is_empty() || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            report.error(span, "`user_agent` must be visible ASCII text");
        }
        text.clone_into(&mut settings.user_agent);
    }
    if let Some(budget) = table.table("budget") {
        settings.budget = read_budget(budget);
    }
    if let Some(commit) = table.table("commit") {
        let default = CommitSetting::default();
        settings.commit = CommitSetting {
            rows: commit.count("rows").map_or(default.rows, |rows| rows as usize),
            bytes: commit.size("bytes").unwrap_or(default.bytes),
            every: commit.duration("every").unwrap_or(default.every),
        };
    }
    if let Some((text, span)) = table.table("ids").and_then(|ids| ids.text("store")) {
        settings.ids_store = ids_store(text, span, surroundings, report);
    }
    check_apart(&settings, &table, report);
    settings
}

fn ids_store(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Secret> {
    let place = secret::read(text, span, surroundings, report)?.resolve();
    let problem = match place.reveal().split_once("://") {
        Some(("postgres" | "postgresql" | "mysql" | "mariadb", _)) => return Some(place),
        None if !place.reveal().is_empty() => return Some(place),
        None => "`store` is empty".to_owned(),
        Some((scheme, _)) => format!("`store` cannot be `{scheme}://...`"),
    };
    report.error_help(
        span,
        problem,
        "write a path, `postgres://...` or `mariadb://...`, or leave it out",
    );
    None
}

/// A table of budgets. What the file's keys do not allow is not in it.
pub(crate) fn read_budget(table: &Table) -> Budget {
    Budget {
        per_period: table.amount("per_period"),
        per_day: table.amount("per_day"),
        per_month: table.amount("per_month"),
    }
}

/// A path on this machine; what this version cannot open is refused by name.
fn local_path(table: &Table, key: &str, report: &mut Report) -> Option<PathBuf> {
    let (text, span) = table.text(key)?;
    let path = text.strip_prefix("sqlite:").filter(|_| key == "state").unwrap_or(text);
    if path.is_empty() {
        report.error(span, format!("`{key}` is empty"));
        return None;
    }
    if let Some((scheme, _)) = path.split_once("://") {
        // The rest of the text may have a password in it.
        report.mask(span);
        let message = format!("`{key}`: `{scheme}://` is not built in this version");
        report.error_help(span, message, "write a path on this machine, or leave it out");
        return None;
    }
    Some(PathBuf::from(path))
}

/// Lake, archive and state must not lie in one another's place.
fn check_apart(settings: &Settings, table: &Table, report: &mut Report) {
    let StateSetting::Sqlite(state) = &settings.state;
    let places = [("state", state), ("lake", &settings.lake), ("archive", &settings.archive)];
    for (index, (key, path)) in places.iter().enumerate() {
        for (other, taken) in &places[..index] {
            let inside = path.starts_with(taken) || taken.starts_with(path);
            let declared = table.text(key).or_else(|| table.text(other));
            if inside {
                let span = declared.map_or(Span::default(), |(_, span)| span);
                report.error(span, format!("`{key}` and `{other}` lie in one another"));
            }
        }
    }
}
