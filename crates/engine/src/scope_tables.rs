//! The columns of the pace's books, `ledger/throttles` and `ledger/paces`, and their rows.

use crate::{
    scope::{HourCount, ScopeBooks},
    tables::{schema_of, timestamp_type},
};
use arrow::{
    array::{
        ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use jiff::Timestamp;
use std::sync::Arc;

/// The columns of `ledger/throttles`: requests of one scope in one hour, a row for each batch that
/// ended some; they add up.
pub fn throttles_schema() -> SchemaRef {
    schema_of(&[
        ("scope", DataType::Utf8),
        ("hour", timestamp_type()),
        ("at", timestamp_type()),
        ("requests", DataType::Int64),
        ("refused", DataType::Int64),
        ("delayed", DataType::Int64),
        ("rate", DataType::Float64),
    ])
}

/// The columns of `ledger/paces`: one row for each decision on the pace of a scope.
pub fn paces_schema() -> SchemaRef {
    schema_of(&[
        ("scope", DataType::Utf8),
        ("at", timestamp_type()),
        ("kind", DataType::Utf8),
        ("rate", DataType::Float64),
        ("concurrency", DataType::Int64),
        ("why", DataType::Utf8),
    ])
}

/// Rows for `ledger/throttles`, one for each scope and hour.
pub(crate) fn throttle_rows(
    books: &[(String, ScopeBooks)],
    at: Timestamp,
) -> Result<RecordBatch, ArrowError> {
    let rows = || books.iter().flat_map(|(scope, it)| it.hours.iter().map(move |h| (scope, it, h)));
    let stamps = |values: Vec<i64>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
    let hours = rows().map(|(_, _, (hour, _))| hour.as_microsecond()).collect();
    let numbers = |pick: fn(&HourCount) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows().map(|(_, _, (_, count))| pick(count))))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|(scope, ..)| scope).map(Some).collect::<StringArray>()),
        Arc::new(stamps(hours)),
        Arc::new(stamps(rows().map(|_| at.as_microsecond()).collect())),
        numbers(|count| count.requests),
        numbers(|count| count.refused),
        numbers(|count| count.delayed),
        Arc::new(Float64Array::from_iter_values(rows().map(|(_, it, _)| it.rate))),
    ];
    RecordBatch::try_new(throttles_schema(), columns)
}

/// Rows for `ledger/paces`, one for each decision.
pub(crate) fn pace_rows(books: &[(String, ScopeBooks)]) -> Result<RecordBatch, ArrowError> {
    let rows = || books.iter().flat_map(|(scope, it)| it.decisions.iter().map(move |d| (scope, d)));
    let at: Vec<i64> = rows().map(|(_, decision)| decision.at.as_microsecond()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|(scope, _)| scope).map(Some).collect::<StringArray>()),
        Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")),
        Arc::new(rows().map(|(_, decision)| &decision.kind).map(Some).collect::<StringArray>()),
        Arc::new(Float64Array::from_iter_values(rows().map(|(_, decision)| decision.rate))),
        Arc::new(Int64Array::from_iter_values(
            rows().map(|(_, decision)| i64::from(decision.concurrency)),
        )),
        Arc::new(rows().map(|(_, decision)| &decision.why).map(Some).collect::<StringArray>()),
    ];
    RecordBatch::try_new(paces_schema(), columns)
}
