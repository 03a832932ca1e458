//! Real arrivals, read from files: when each cell of a history came, and between which hours a poll
//! would look for it.
//!
//! The files are `NAME.csv.gz` (columns `key`, `period`, `available_at`: the first time at which it
//! was seen), `NAME.expected.csv.gz` (`key`, `period`: what was expected, read by the source itself)
//! and `NAME.keys.csv` (`key`, `origin_h`, `deadline_h`: hours from 00:00 UTC of the period).

use flate2::bufread::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use model::{Entity, Period};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    came: BTreeMap<(Entity, Period), Timestamp>,
    frames: BTreeMap<Entity, Frame>,
}

/// Between when and when a poll looks for an entity, counted from 00:00 UTC of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The start of its looks.
    pub opens: SignedDuration,
    /// The last look.
    pub deadline: SignedDuration,
}

/// A history that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file is not there, or not readable.
    #[error("the history's file `{}` cannot be read; name its folder by `--data`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A line is not understood.
    #[error("`{}`, line {line}: {problem}", path.display())]
    BadLine {
        /// Of which file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl History {
    /// Reads a history by its name from a folder.
    ///
    /// # Errors
    /// One of its files is missing, or has a line that is not understood.
    pub fn read(folder: &Path, name: &str) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        let arrivals = folder.join(format!("{name}.csv.gz"));
        let columns = ["key", "period", "available_at"];
        each_row(&arrivals, columns, |[key, period, available_at]| {
            let period = Period::parse(period).map_err(|error| error.to_string())?;
            let at = available_at.parse().map_err(|_| not("a time", available_at))?;
            let first = history.came.entry((entity(key)?, period)).or_insert(at);
            *first = at.min(*first);
            Ok(())
        })?;
        let keys = folder.join(format!("{name}.keys.csv"));
        each_row(&keys, ["key", "origin_h", "deadline_h"], |[key, opens, deadline]| {
            let frame = Frame { opens: hours(opens)?, deadline: hours(deadline)? };
            history.frames.insert(entity(key)?, frame);
            Ok(())
        })?;
        Ok(history)
    }

    /// The file of expected pairs of a history.
    pub fn expected(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.expected.csv.gz"))
    }

    /// When a cell came; `None`: never.
    pub fn came(&self, entity: &Entity, period: Period) -> Option<Timestamp> {
        self.came.get(&(entity.clone(), period)).copied()
    }

    /// Between when and when a poll looks for an entity.
    pub fn frame(&self, entity: &Entity) -> Option<Frame> {
        self.frames.get(entity).copied()
    }
}

fn entity(name: &str) -> Result<Entity, String> {
    Entity::parse(name).map_err(|error| error.to_string())
}

fn hours(text: &str) -> Result<SignedDuration, String> {
    let hours = text.parse().ok().filter(|hours: &f64| hours.abs() < 1e4);
    hours
        .map(|hours| SignedDuration::from_secs_f64(hours * 3600.0))
        .ok_or_else(|| not("a number of hours", text))
}

fn not(what: &str, text: &str) -> String {
    format!("`{}` is not {what}", text.chars().take(40).collect::<String>())
}

/// Hands out some columns of a CSV file without quotes, gzipped if its name says so.
fn each_row<const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut take: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<(), HistoryError> {
    let unreadable = |cause| HistoryError::Unreadable { path: path.to_owned(), cause };
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let is_gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> =
        if is_gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut places = [0; N];
    for (index, line) in BufReader::new(bytes).lines().enumerate() {
        let line = line.map_err(unreadable)?;
        let bad =
            |problem| HistoryError::BadLine { path: path.to_owned(), line: index + 1, problem };
        let cells: Vec<&str> = line.split(',').collect();
        if index == 0 {
            for (place, column) in places.iter_mut().zip(columns) {
                let found = cells.iter().position(|cell| *cell == column);
                *place = found.ok_or_else(|| bad(format!("there is no column `{column}`")))?;
            }
        } else {
            take(places.map(|place| cells.get(place).copied().unwrap_or_default())).map_err(bad)?;
        }
    }
    Ok(())
}
