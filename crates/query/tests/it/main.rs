//! Questions to a lake on the disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at what they do not expect")]

mod history;
mod printed;
mod refused;
mod stale;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    util::display::array_value_to_string,
};
use jiff::Timestamp;
use lake::{DeltaLake, Lake, LedgerTable, TableRef};
use model::TableName;
use query::{Query, QueryError, QueryResult, SqlOptions};
use std::{collections::BTreeMap, sync::Arc};

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

fn nav() -> TableRef {
    TableRef::Data(name("nav"))
}

/// One row of `nav`: what was seen of a cell in an attempt.
struct Seen {
    entity: &'static str,
    period: &'static str,
    /// Seconds since the epoch.
    at: i64,
    attempt: i64,
    /// In ten-thousandths; `None` is a tombstone.
    price: Option<i128>,
}

fn seen(entity: &'static str, at: i64, attempt: i64, price: Option<i128>) -> Seen {
    Seen { entity, period: "2026-11-19", at, attempt, price }
}

fn batch(rows: &[Seen]) -> RecordBatch {
    let texts = |of: &dyn Fn(&Seen) -> &'static str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let price: Decimal128Array = rows.iter().map(|row| row.price).collect();
    let at: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.at * 1_000_000)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("price", Arc::new(price.with_precision_and_scale(18, 4).unwrap())),
        ("_entity", texts(&|row| row.entity)),
        ("_period", texts(&|row| row.period)),
        ("_observed_at", Arc::new(at.with_timezone("UTC"))),
        ("_attempt", Arc::new(rows.iter().map(|row| Some(row.attempt)).collect::<Int64Array>())),
        ("_ordinal", Arc::new(rows.iter().map(|_| Some(0)).collect::<Int64Array>())),
        (
            "_tombstone",
            Arc::new(rows.iter().map(|row| Some(row.price.is_none())).collect::<BooleanArray>()),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

async fn append(lake: &dyn Lake, table: &TableRef, number: i64, rows: RecordBatch) {
    lake.ensure(table, rows.schema()).await.unwrap();
    let files = lake.stage(table, vec![rows]).await.unwrap();
    assert!(!lake.commit(table, "engine", number, &files).await.unwrap().already);
}

struct World {
    lake: Arc<DeltaLake>,
    query: Query,
    _folder: tempfile::TempDir,
}

impl World {
    /// An empty lake in a folder whose name must not be taken for a pattern or a URL.
    async fn new(keys: &[(&str, &[&str])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = DeltaLake::open(&folder.path().join("a b#c%20[é]*?")).unwrap();
        let lake = Arc::new(lake);
        let key = |key: &[&str]| key.iter().map(|&column| column.to_owned()).collect();
        let keys: BTreeMap<_, _> =
            keys.iter().map(|(table, columns)| (name(table), key(columns))).collect();
        let query = Query::open(lake.clone(), keys).await.unwrap();
        Self { lake, query, _folder: folder }
    }

    async fn append(&self, number: i64, rows: &[Seen]) {
        append(self.lake.as_ref(), &nav(), number, batch(rows)).await;
    }

    async fn ask(&self, sql: &str) -> Vec<String> {
        lines(&self.query.sql(sql, &SqlOptions::default()).await.unwrap())
    }

    async fn ask_as_of(&self, sql: &str, second: i64) -> Vec<String> {
        let as_of = Some(Timestamp::from_second(second).unwrap());
        let options = SqlOptions { as_of, row_limit: None };
        lines(&self.query.sql(sql, &options).await.unwrap())
    }

    async fn refused(&self, sql: &str) -> QueryError {
        self.query.sql(sql, &SqlOptions::default()).await.unwrap_err()
    }
}

/// Each row as its values between spaces.
fn lines(result: &QueryResult) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
            lines.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

fn cells() -> TableRef {
    TableRef::Ledger(LedgerTable::Cells)
}
