//! One check over the rows of a batch.

use crate::bound::days_of;
use crate::view::{Kind, View, bounded};
use arrow::record_batch::RecordBatch;
use jiff::ToSpan;
use model::Period;
use regex::Regex;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// A row that fails a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The row of the batch.
    pub row: usize,
    /// The check: [`model::expect::Check::label`], or [`crate::DUPLICATE_KEY`].
    pub check: String,
    /// What was found instead; at most some 80 characters a value, without control characters.
    pub found: String,
}

/// One check, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) label: String,
    pub(crate) column: usize,
    pub(crate) kind: Kind,
    pub(crate) test: Test,
}

/// What is tested; bounds are included. The types that [`View::exact`] gives share one form.
#[derive(Debug)]
pub(crate) enum Test {
    NotNull,
    ExactBetween(i128, i128),
    FloatBetween(f64, f64),
    /// By bytes.
    TextBetween(Option<String>, Option<String>),
    ExactIn(Vec<i128>),
    FloatIn(Vec<f64>),
    TextIn(Vec<String>),
    Pattern(Regex),
    Entity,
    Period,
}

/// The cell that a batch is for.
#[derive(Debug)]
pub(crate) struct Cell<'c> {
    entity: &'c str,
    /// The entity as an integer, if it is written as one is.
    entity_int: Option<i64>,
    period: &'c str,
    /// The days of the period, both included.
    days: Option<(i32, i32)>,
    /// Its microseconds in UTC, the end excluded.
    micros: Option<(i64, i64)>,
}

impl<'c> Cell<'c> {
    pub(crate) fn new(entity: &'c str, period: &'c str) -> Self {
        let parsed = Period::parse(period).ok();
        let days = parsed.and_then(days);
        let micros = match parsed {
            Some(Period::Hour(start)) => {
                let start = start.as_microsecond();
                Some((start, start + MICROS_PER_HOUR))
            }
            _ => days.map(|(first, last)| {
                (i64::from(first) * MICROS_PER_DAY, (i64::from(last) + 1) * MICROS_PER_DAY)
            }),
        };
        let entity_int = entity.parse().ok().filter(|int: &i64| int.to_string() == entity);
        Self { entity, entity_int, period, days, micros }
    }
}

fn days(period: Period) -> Option<(i32, i32)> {
    let first = period.date()?;
    let last = match period {
        Period::Week(monday) => monday.checked_add(6.days()).ok()?,
        Period::Month(first) => first.last_of_month(),
        Period::Once | Period::Day(_) | Period::Hour(_) => first,
    };
    Some((days_of(first)?, days_of(last)?))
}

impl Rule {
    /// Adds the rows that fail.
    pub(crate) fn check(&self, batch: &RecordBatch, cell: &Cell<'_>, failures: &mut Vec<Failure>) {
        let column = batch.columns().get(self.column);
        let view =
            column.and_then(|column| View::of(column)).filter(|view| view.kind_is(self.kind));
        for row in 0..batch.num_rows() {
            let found = match view {
                Some(view) if self.passes(view, row, cell) => continue,
                Some(view) => self.found(view, row, cell),
                // A batch of another schema shows nothing, least of all that all is well.
                None => format!("no column {} of type {}", self.column, self.kind.name()),
            };
            failures.push(Failure { row, check: self.label.clone(), found });
        }
    }

    fn passes(&self, view: View<'_>, row: usize, cell: &Cell<'_>) -> bool {
        if view.is_null(row) {
            return !matches!(self.test, Test::NotNull | Test::Entity | Test::Period);
        }
        match (&self.test, view) {
            (Test::NotNull, _) => true,
            (Test::FloatBetween(min, max), View::Float(column)) => {
                (*min..=*max).contains(&column.value(row))
            }
            (Test::FloatIn(values), View::Float(column)) => values.contains(&column.value(row)),
            (Test::TextBetween(min, max), View::Text(column)) => {
                let value = column.value(row);
                min.as_deref().is_none_or(|min| value >= min)
                    && max.as_deref().is_none_or(|max| value <= max)
            }
            (Test::TextIn(values), View::Text(column)) => {
                values.iter().any(|value| value == column.value(row))
            }
            (Test::Pattern(pattern), View::Text(column)) => pattern.is_match(column.value(row)),
            (Test::Entity, View::Text(column)) => column.value(row) == cell.entity,
            (Test::Entity, View::Int(column)) => cell.entity_int == Some(column.value(row)),
            (Test::Period, View::Text(column)) => column.value(row) == cell.period,
            (Test::Period, View::Date(column)) => {
                cell.days.is_some_and(|(first, last)| (first..=last).contains(&column.value(row)))
            }
            (Test::Period, View::Timestamp(column)) => {
                cell.micros.is_some_and(|(start, end)| (start..end).contains(&column.value(row)))
            }
            (Test::ExactBetween(min, max), _) => {
                view.exact(row).is_some_and(|value| (*min..=*max).contains(&value))
            }
            (Test::ExactIn(values), _) => {
                view.exact(row).is_some_and(|value| values.contains(&value))
            }
            _ => false,
        }
    }

    fn found(&self, view: View<'_>, row: usize, cell: &Cell<'_>) -> String {
        let found = view.shown(row);
        match self.test {
            Test::Entity => format!("{found}, the cell is of {}", bounded(cell.entity)),
            Test::Period => format!("{found}, the cell is of {}", bounded(cell.period)),
            _ => found,
        }
    }
}

impl View<'_> {
    fn kind_is(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Decimal(column), Kind::Decimal { scale }) => column.scale() == scale,
            (Self::Text(_), Kind::Text)
            | (Self::Int(_), Kind::Int)
            | (Self::Float(_), Kind::Float)
            | (Self::Bool(_), Kind::Bool)
            | (Self::Date(_), Kind::Date)
            | (Self::Timestamp(_), Kind::Timestamp) => true,
            _ => false,
        }
    }
}
