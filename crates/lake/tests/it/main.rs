//! The Delta engine against the disk, other programs and kill -9.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests: they stop at what they do not expect, and say what they measured"
)]

mod foreign;
mod killed;
mod python;
mod speed;
mod versions;

use arrow::{
    array::{AsArray, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use jiff::{SignedDuration, Timestamp};
use lake::{Lake, Maintenance, Scan, TableRef};
use model::TableName;
use std::sync::Arc;

fn table() -> TableRef {
    TableRef::Data(TableName::parse("prices").unwrap())
}

fn prices() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_entity", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

fn rows(entity: &str, numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Int64Array = numbers.into_iter().map(Some).collect();
    let entities: StringArray = numbers.iter().map(|_| Some(entity)).collect();
    RecordBatch::try_new(prices(), vec![Arc::new(entities), Arc::new(numbers)]).unwrap()
}

async fn append(lake: &dyn Lake, batch: i64, numbers: impl IntoIterator<Item = i64>) {
    let files = lake.stage(&table(), vec![rows("A", numbers)]).await.unwrap();
    lake.commit(&table(), "engine", batch, &files).await.unwrap();
}

async fn numbers(lake: &dyn Lake) -> Vec<i64> {
    let batches = lake.scan(&table(), Scan::default()).await.unwrap();
    let column = |batch: &RecordBatch| batch["n"].as_primitive::<Int64Type>().values().to_vec();
    let mut numbers: Vec<i64> = batches.iter().flat_map(column).collect();
    numbers.sort_unstable();
    numbers
}

/// Later than anything that these tests write.
fn later() -> Timestamp {
    "2100-01-01T00:00:00Z".parse().unwrap()
}

/// Maintenance that does everything at once and keeps nothing.
fn eager() -> Maintenance {
    Maintenance {
        compact_at_files: 4,
        keep_removed: SignedDuration::ZERO,
        log_retention: SignedDuration::ZERO,
        checkpoint_every: 3,
        ..Maintenance::default()
    }
}
