//! Which table: records of a source, its quarantine, or a book of the ledger.

use model::TableName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One table of the lake. Its text is the path below the lake's folder: `data/eod_prices`,
/// `quarantine/eod_prices`, `ledger/cells`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TableRef {
    /// Records.
    Data(TableName),
    /// Records that failed their expectations, with the reason.
    Quarantine(TableName),
    /// A book.
    Ledger(LedgerTable),
}

/// The books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LedgerTable {
    /// One row an attempt.
    Attempts,
    /// One row a judgement on a cell.
    Cells,
    /// One row for each scope, hour and batch: requests and refusals.
    Throttles,
    /// One row a decision on the pace of a scope.
    Paces,
    /// One row for each cell whose wait ended: when its data came, or that it did not.
    Arrivals,
}

impl LedgerTable {
    /// All books.
    pub const ALL: [Self; 5] =
        [Self::Attempts, Self::Cells, Self::Throttles, Self::Paces, Self::Arrivals];

    /// The name of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Cells => "cells",
            Self::Throttles => "throttles",
            Self::Paces => "paces",
            Self::Arrivals => "arrivals",
        }
    }
}

impl TableRef {
    /// Reads a table's path below the lake's folder; `None` if no table can have it.
    pub fn parse(path: &str) -> Option<Self> {
        let (area, name) = path.split_once('/')?;
        match area {
            "data" => TableName::parse(name).ok().map(Self::Data),
            "quarantine" => TableName::parse(name).ok().map(Self::Quarantine),
            "ledger" => {
                LedgerTable::ALL.into_iter().find(|book| book.as_str() == name).map(Self::Ledger)
            }
            _ => None,
        }
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(name) => write!(f, "data/{name}"),
            Self::Quarantine(name) => write!(f, "quarantine/{name}"),
            Self::Ledger(book) => write!(f, "ledger/{}", book.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_from_its_path() {
        let name = TableName::parse("eod_prices").unwrap();
        for (table, path) in [
            (TableRef::Data(name.clone()), "data/eod_prices"),
            (TableRef::Quarantine(name), "quarantine/eod_prices"),
            (TableRef::Ledger(LedgerTable::Attempts), "ledger/attempts"),
            (TableRef::Ledger(LedgerTable::Cells), "ledger/cells"),
            (TableRef::Ledger(LedgerTable::Throttles), "ledger/throttles"),
            (TableRef::Ledger(LedgerTable::Paces), "ledger/paces"),
            (TableRef::Ledger(LedgerTable::Arrivals), "ledger/arrivals"),
        ] {
            assert_eq!(table.to_string(), path);
            assert_eq!(TableRef::parse(path), Some(table));
        }
        for path in ["data", "data/", "data/../x", "ledger/other", "archive/x", "data/A"] {
            assert_eq!(TableRef::parse(path), None, "{path}");
        }
    }
}
