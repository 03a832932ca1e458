//! Tables to plain rows, each row once: what a reader of the lake would see.

use super::{DataRow, Violation};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use lake::{MemoryLake, TableRef};
use model::{AttemptId, LookKind, Money, Outcome};
use std::collections::BTreeMap;

/// Reads each table from where it stopped.
#[derive(Debug, Default)]
pub(super) struct Reader {
    seen: BTreeMap<TableRef, usize>,
}

/// One row of `ledger/attempts`.
#[derive(Debug, Clone)]
pub(super) struct AttemptRow {
    pub(super) source: String,
    pub(super) entity: String,
    pub(super) period: String,
    pub(super) attempt: AttemptId,
    pub(super) day: Date,
    pub(super) outcome: Option<Outcome>,
    pub(super) cost: Money,
    pub(super) digest: Option<String>,
    pub(super) archive: Option<String>,
    pub(super) look: Option<LookKind>,
    /// Whether its engine died before it could account the answer.
    pub(super) was_cut_off: bool,
}

/// One row of `ledger/cells`.
#[derive(Debug, Clone)]
pub(super) struct CellChange {
    pub(super) source: String,
    pub(super) entity: String,
    pub(super) period: String,
    pub(super) state: String,
    pub(super) cause: Option<String>,
}

/// One row of `ledger/arrivals`.
#[derive(Debug, Clone)]
pub(super) struct ArrivalRow {
    pub(super) source: String,
    pub(super) entity: String,
    pub(super) period: String,
    pub(super) not_before: Option<Timestamp>,
    pub(super) seen_at: Option<Timestamp>,
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

impl Reader {
    /// The rows that were appended since the last time.
    fn new_rows(&mut self, lake: &MemoryLake, table: &TableRef) -> Vec<RecordBatch> {
        let seen = self.seen.entry(table.clone()).or_default();
        let mut skip = *seen;
        let mut fresh = Vec::new();
        for batch in lake.rows(table) {
            let rows = batch.num_rows();
            if skip < rows {
                *seen += rows - skip;
                fresh.push(batch.slice(skip, rows - skip));
            }
            skip = skip.saturating_sub(rows);
        }
        fresh
    }

    pub(super) fn data(
        &mut self,
        lake: &MemoryLake,
        table: &TableRef,
    ) -> Result<Vec<DataRow>, Violation> {
        let mut rows = Vec::new();
        for batch in self.new_rows(lake, table) {
            let columns = Columns { table, batch: &batch };
            for row in 0..batch.num_rows() {
                rows.push(DataRow {
                    entity: columns.needed("_entity", row)?,
                    period: columns.needed("_period", row)?,
                    number: columns.number("n", row)?.unwrap_or(-1),
                    close_micros: columns.decimal("c", row)?,
                    tombstone: columns.flag("_tombstone", row)?,
                    observed_at: columns.micros("_observed_at", row)?,
                    attempt: columns.number("_attempt", row)?.unwrap_or(-1),
                    digest: columns.needed("_response_digest", row)?,
                    record_id: columns.needed("_record_id", row)?,
                });
            }
        }
        Ok(rows)
    }

    pub(super) fn attempts(
        &mut self,
        lake: &MemoryLake,
        table: &TableRef,
    ) -> Result<Vec<AttemptRow>, Violation> {
        let mut rows = Vec::new();
        for batch in self.new_rows(lake, table) {
            let columns = Columns { table, batch: &batch };
            for row in 0..batch.num_rows() {
                let planned_at = columns.micros("planned_at", row)?;
                let planned_at = Timestamp::from_microsecond(planned_at).unwrap_or_default();
                let micros = columns.decimal("cost", row)?.unwrap_or(0);
                let detail = columns.text("detail", row)?.unwrap_or_default();
                rows.push(AttemptRow {
                    source: columns.needed("source", row)?,
                    entity: columns.needed("entity", row)?,
                    period: columns.needed("period", row)?,
                    attempt: AttemptId(columns.number("attempt", row)?.unwrap_or(-1)),
                    day: planned_at.to_zoned(TimeZone::UTC).date(),
                    outcome: Outcome::parse(&columns.needed("outcome", row)?),
                    cost: Money { micros: i64::try_from(micros).unwrap_or(i64::MAX) },
                    digest: columns.text("response_digest", row)?,
                    archive: columns.text("archive", row)?,
                    look: columns.text("look", row)?.as_deref().and_then(LookKind::parse),
                    was_cut_off: detail.starts_with("not accounted"),
                });
            }
        }
        Ok(rows)
    }

    pub(super) fn cells(
        &mut self,
        lake: &MemoryLake,
        table: &TableRef,
    ) -> Result<Vec<CellChange>, Violation> {
        let mut rows = Vec::new();
        for batch in self.new_rows(lake, table) {
            let columns = Columns { table, batch: &batch };
            for row in 0..batch.num_rows() {
                rows.push(CellChange {
                    source: columns.needed("source", row)?,
                    entity: columns.needed("entity", row)?,
                    period: columns.needed("period", row)?,
                    state: columns.needed("state", row)?,
                    cause: columns.text("cause", row)?,
                });
            }
        }
        Ok(rows)
    }
}

impl Reader {
    pub(super) fn arrivals(
        &mut self,
        lake: &MemoryLake,
        table: &TableRef,
    ) -> Result<Vec<ArrivalRow>, Violation> {
        let mut rows = Vec::new();
        for batch in self.new_rows(lake, table) {
            let columns = Columns { table, batch: &batch };
            for row in 0..batch.num_rows() {
                let time = |name| columns.time(name, row);
                rows.push(ArrivalRow {
                    source: columns.needed("source", row)?,
                    entity: columns.needed("entity", row)?,
                    period: columns.needed("period", row)?,
                    not_before: time("not_before")?,
                    seen_at: time("seen_at")?,
                    state: columns.needed("state", row)?,
                    reason: columns.text("reason", row)?,
                });
            }
        }
        Ok(rows)
    }
}

/// One batch by the names of its columns.
struct Columns<'a> {
    table: &'a TableRef,
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn lacking(&self, column: &str) -> Violation {
        let found = format!("`{}` has no usable column `{column}`", self.table);
        Violation { check: "tables have their columns", found }
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<String>, Violation> {
        let column =
            self.batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column = column.ok_or_else(|| self.lacking(name))?;
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    }

    fn needed(&self, name: &str, row: usize) -> Result<String, Violation> {
        self.text(name, row)?.ok_or_else(|| self.lacking(name))
    }

    fn number(&self, name: &str, row: usize) -> Result<Option<i64>, Violation> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
        let column = column.ok_or_else(|| self.lacking(name))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    /// A decimal with six digits after the point, as millionths.
    fn decimal(&self, name: &str, row: usize) -> Result<Option<i128>, Violation> {
        let column = self.batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Decimal128Type>());
        let column = column.filter(|column| column.scale() == 6);
        let column = column.ok_or_else(|| self.lacking(name))?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    fn time(&self, name: &str, row: usize) -> Result<Option<Timestamp>, Violation> {
        let column = self.batch.column_by_name(name);
        let column =
            column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let column = column.ok_or_else(|| self.lacking(name))?;
        let micros = column.is_valid(row).then(|| column.value(row));
        Ok(micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()))
    }

    fn micros(&self, name: &str, row: usize) -> Result<i64, Violation> {
        let column = self.batch.column_by_name(name);
        let column =
            column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let column = column.filter(|column| column.is_valid(row));
        column.map(|column| column.value(row)).ok_or_else(|| self.lacking(name))
    }

    fn flag(&self, name: &str, row: usize) -> Result<bool, Violation> {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
        let column = column.ok_or_else(|| self.lacking(name))?;
        Ok(column.is_valid(row) && column.value(row))
    }
}
