//! What is true in the world, and what an honest server says of it at an instant.

use super::{
    ExchangeSettings,
    published::Published,
    synthetic::{Synthetic, WorldError},
};
use jiff::{Timestamp, civil::Date};
use std::{fmt::Write as _, path::Path};

/// Tickers, sessions, prices and the instants at which they appear. Never changes.
#[derive(Debug)]
pub struct World {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Synthetic(Synthetic),
    Published(Published),
}

/// An honest answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The JSON text.
    pub body: String,
    /// How many records it has: 0 or 1.
    pub total: usize,
    /// Whether a field has the wrong name in it.
    pub is_renamed: bool,
}

/// What can be seen of a cell.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) record: Option<String>,
    pub(super) is_renamed: bool,
}

/// What is true of one expected cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The ticker or scheme.
    pub entity: String,
    /// The day.
    pub day: Date,
    /// When its record appears; `None`: never.
    pub arrived_at: Option<Timestamp>,
    /// The record as it first appears, as JSON; empty if there is none.
    pub record: String,
    /// What it becomes later.
    pub correction: Option<Correction>,
}

/// A record that replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// When it appears.
    pub at: Timestamp,
    /// The record from then on, as JSON.
    pub record: String,
}

impl World {
    /// The world of a seed. Of the settings it takes `seed`, `entities`, `from`, `days` and, of the
    /// faults, `never`, `corrected` and `rename`.
    pub fn generate(settings: &ExchangeSettings) -> Result<Self, WorldError> {
        Ok(Self { kind: Kind::Synthetic(Synthetic::generate(settings)?) })
    }

    /// A world of real values: `scheme,date,nav`, `source,key,period,available_at` and
    /// `source,key,period`, each gzip. Blocks.
    ///
    /// A pair is served from its `available_at` on if it has both a value and an arrival; one with
    /// only one of them is never served. Values keep their digits (`+0031.4936` is served as `31.4936`,
    /// which JSON can say). The expected pairs are what
    /// [`World::truth`] tells of. Faults that belong to cells (`never`, `corrected`, `rename`) do
    /// not apply.
    pub fn from_files(
        nav_csv_gz: &Path,
        arrivals_csv_gz: &Path,
        expected_csv_gz: &Path,
    ) -> Result<Self, WorldError> {
        let published = Published::read(nav_csv_gz, arrivals_csv_gz, expected_csv_gz)?;
        Ok(Self { kind: Kind::Published(published) })
    }

    /// `entity,listed_from,listed_until`: all entities, as a source's entity file.
    pub fn tickers_csv(&self) -> String {
        let mut csv = "entity,listed_from,listed_until\n".to_owned();
        let date = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        match &self.kind {
            Kind::Synthetic(synthetic) => {
                for (symbol, from, until) in synthetic.listings() {
                    let _ = writeln!(csv, "{symbol},{from},{}", date(until));
                }
            }
            Kind::Published(published) => {
                for (scheme, from, until) in published.spans() {
                    let _ = writeln!(csv, "{scheme},{from},{until}");
                }
            }
        }
        csv
    }

    /// What an honest server answers; `None` for an entity that does not exist.
    pub fn answer(&self, entity: &str, day: Date, now: Timestamp) -> Option<Answer> {
        let (key, seen) = match &self.kind {
            Kind::Synthetic(synthetic) => ("symbol", synthetic.record(entity, day, now)?),
            Kind::Published(published) => ("scheme", published.record(entity, day, now)?),
        };
        let Seen { record, is_renamed } = seen;
        let total = usize::from(record.is_some());
        let record = record.unwrap_or_default();
        let body =
            format!(r#"{{"{key}":"{entity}","date":"{day}","total":{total},"data":[{record}]}}"#);
        Some(Answer { body, total, is_renamed })
    }

    /// What is true of every expected cell, by entity, then day.
    pub fn truth(&self) -> impl Iterator<Item = Truth> + '_ {
        let (synthetic, published) = match &self.kind {
            Kind::Synthetic(synthetic) => (Some(synthetic.truth()), None),
            Kind::Published(published) => (None, Some(published.truth())),
        };
        synthetic.into_iter().flatten().chain(published.into_iter().flatten())
    }

    /// What the path of a request begins with: `/eod/` or `/nav/`.
    pub fn path_prefix(&self) -> &'static str {
        match &self.kind {
            Kind::Synthetic(_) => "/eod/",
            Kind::Published(_) => "/nav/",
        }
    }

    /// A number for a cell that can have data, below [`World::cells`].
    pub(super) fn cell(&self, entity: &str, day: Date) -> Option<usize> {
        match &self.kind {
            Kind::Synthetic(synthetic) => synthetic.cell(entity, day),
            Kind::Published(published) => published.cell(entity, day),
        }
    }

    pub(super) fn cells(&self) -> usize {
        match &self.kind {
            Kind::Synthetic(synthetic) => synthetic.cells(),
            Kind::Published(published) => published.cells(),
        }
    }
}
