//! What every engine promises, as cases that run on each.

use crate::{
    DeltaLake, Lake, LakeError, LedgerTable, Maintenance, MemoryLake, Scan, StagedFile, TableRef,
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
        Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit},
};
use jiff::Timestamp;
use model::TableName;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) fn table() -> TableRef {
    TableRef::Data(TableName::parse("prices").unwrap())
}

pub(crate) fn prices() -> SchemaRef {
    schema(&[("_entity", DataType::Utf8), ("n", DataType::Int64)])
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<_> =
        columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn rows(rows: &[(&str, i64)]) -> RecordBatch {
    let entities: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let numbers: Int64Array = rows.iter().map(|row| Some(row.1)).collect();
    RecordBatch::try_new(prices(), vec![Arc::new(entities), Arc::new(numbers)]).unwrap()
}

pub(crate) async fn numbers(lake: &dyn Lake, request: Scan) -> Vec<i64> {
    let batches = lake.scan(&table(), request).await.unwrap();
    let mut numbers: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name("n").unwrap();
            column.as_primitive::<Int64Type>().values().to_vec()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

pub(crate) async fn append(lake: &dyn Lake, batch: i64, batch_rows: &[(&str, i64)]) {
    let files = lake.stage(&table(), vec![rows(batch_rows)]).await.unwrap();
    let done = lake.commit(&table(), "engine", batch, &files).await.unwrap();
    assert!(!done.already);
}

fn paths(files: &[StagedFile]) -> BTreeSet<String> {
    files.iter().map(|file| file.path.clone()).collect()
}

fn is_in(column: &str, values: &[&str]) -> Scan {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Scan { equals: vec![(column.into(), values)], ..Scan::default() }
}

/// Later than any file that these tests write.
pub(crate) fn later() -> Timestamp {
    "2100-01-01T00:00:00Z".parse().unwrap()
}

async fn a_missing_table_is_empty_and_takes_nothing(lake: &dyn Lake) {
    assert!(lake.scan(&table(), Scan::default()).await.unwrap().is_empty());
    assert_eq!(lake.last_batch(&table(), "engine").await.unwrap(), None);
    assert!(lake.files(&table()).await.unwrap().is_none());
    assert!(lake.tables().await.unwrap().is_empty());
    lake.maintain(&table(), later(), &Maintenance::default()).await.unwrap();
    let refused = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap_err();
    assert!(matches!(refused, LakeError::MissingTable { .. }), "{refused}");
    let refused = lake.commit(&table(), "engine", 1, &[]).await.unwrap_err();
    assert!(matches!(refused, LakeError::MissingTable { .. }), "{refused}");
}

async fn staged_rows_are_invisible_until_they_are_committed(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let files = lake.stage(&table(), vec![rows(&[("A", 1)]), rows(&[("B", 2)])]).await.unwrap();
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 2);
    assert!(files.iter().all(|file| file.bytes > 0 && file.table == table()));
    assert!(numbers(lake, Scan::default()).await.is_empty());
    lake.commit(&table(), "engine", 1, &files).await.unwrap();
    assert_eq!(numbers(lake, Scan::default()).await, [1, 2]);
}

async fn a_batch_is_committed_exactly_once(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let files = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    let first = lake.commit(&table(), "engine", 7, &files).await.unwrap();
    assert!(!first.already);
    let again = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    for batch in [7, 6, 7] {
        let repeated = lake.commit(&table(), "engine", batch, &again).await.unwrap();
        assert!(repeated.already);
        assert_eq!(repeated.version, first.version);
    }
    assert_eq!(numbers(lake, Scan::default()).await, [1]);
    assert_eq!(lake.last_batch(&table(), "engine").await.unwrap(), Some(7));
    assert_eq!(lake.last_batch(&table(), "other").await.unwrap(), None);
    assert!(!lake.commit(&table(), "other", 1, &again).await.unwrap().already);
    assert_eq!(numbers(lake, Scan::default()).await, [1, 1]);
}

async fn a_batch_without_rows_is_noted(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    assert!(lake.stage(&table(), vec![rows(&[])]).await.unwrap().is_empty());
    assert!(!lake.commit(&table(), "engine", 1, &[]).await.unwrap().already);
    assert_eq!(lake.last_batch(&table(), "engine").await.unwrap(), Some(1));
    assert!(lake.commit(&table(), "engine", 1, &[]).await.unwrap().already);
}

async fn a_file_enters_a_table_once_and_only_its_own(lake: &dyn Lake) {
    let cells = TableRef::Ledger(LedgerTable::Cells);
    lake.ensure(&table(), prices()).await.unwrap();
    lake.ensure(&cells, prices()).await.unwrap();
    let files = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    let refused = lake.commit(&cells, "engine", 1, &files).await.unwrap_err();
    assert!(matches!(refused, LakeError::StagedFile { .. }), "{refused}");
    lake.commit(&table(), "engine", 1, &files).await.unwrap();
    let refused = lake.commit(&table(), "engine", 2, &files).await.unwrap_err();
    assert!(matches!(refused, LakeError::StagedFile { .. }), "{refused}");
    assert_eq!(numbers(lake, Scan::default()).await, [1]);
    assert_eq!(lake.tables().await.unwrap(), [table(), cells]);
}

async fn a_file_that_is_gone_is_not_committed(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let files = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    assert_eq!(lake.discard_orphans(&BTreeSet::new(), later()).await.unwrap(), 1);
    let refused = lake.commit(&table(), "engine", 1, &files).await.unwrap_err();
    assert!(matches!(refused, LakeError::StagedFile { .. }), "{refused}");
    assert_eq!(lake.last_batch(&table(), "engine").await.unwrap(), None);
}

async fn a_new_column_is_null_in_older_rows(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    append(lake, 1, &[("A", 1)]).await;
    let wider = schema(&[("n", DataType::Int64), ("note", DataType::Utf8)]);
    lake.ensure(&table(), wider.clone()).await.unwrap();
    lake.ensure(&table(), wider.clone()).await.unwrap();
    let note: StringArray = vec![Some("new")].into();
    let batch =
        RecordBatch::try_new(wider, vec![Arc::new(Int64Array::from(vec![2])), Arc::new(note)]);
    let files = lake.stage(&table(), vec![batch.unwrap()]).await.unwrap();
    lake.commit(&table(), "engine", 2, &files).await.unwrap();
    let batches = lake.scan(&table(), Scan::default()).await.unwrap();
    let mut seen = BTreeMap::new();
    for batch in &batches {
        let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["_entity", "n", "note"]);
        let text = |column: usize, row: usize| {
            let column = batch.column(column).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let number = batch.column(1).as_primitive::<Int64Type>().value(row);
            seen.insert(number, (text(0, row), text(2, row)));
        }
    }
    assert_eq!(seen[&1], (Some("A".into()), None));
    assert_eq!(seen[&2], (None, Some("new".into())));
    assert_eq!(numbers(lake, is_in("note", &["new"])).await, [2]);
}

async fn a_retyped_column_is_refused_and_nothing_changes(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let retyped = schema(&[("extra", DataType::Utf8), ("n", DataType::Decimal128(18, 4))]);
    match lake.ensure(&table(), retyped.clone()).await.unwrap_err() {
        LakeError::Retyped { column, found, declared, .. } => {
            assert_eq!((&*column, &*found, &*declared), ("n", "int", "decimal(18,4)"));
        }
        other => panic!("{other}"),
    }
    let unknown = Scan { columns: Some(vec!["extra".into()]), ..Scan::default() };
    let refused = lake.scan(&table(), unknown).await.unwrap_err();
    assert!(matches!(refused, LakeError::UnknownColumn { .. }), "{refused}");
    let wrong: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let batch = RecordBatch::try_from_iter([("n", wrong)]).unwrap();
    let refused = lake.stage(&table(), vec![batch]).await.unwrap_err();
    assert!(matches!(refused, LakeError::Retyped { .. }), "{refused}");
    append(lake, 1, &[("A", 1)]).await;
}

async fn columns_that_no_table_can_have_are_refused(lake: &dyn Lake) {
    for columns in [
        &[("a b", DataType::Utf8)][..],
        &[("", DataType::Utf8)],
        &[("a", DataType::Utf8), ("A", DataType::Utf8)],
        &[("a", DataType::UInt64)],
        &[("a", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())))],
        &[("a", DataType::Timestamp(TimeUnit::Microsecond, None))],
        &[],
    ] {
        let refused = lake.ensure(&table(), schema(columns)).await.unwrap_err();
        assert!(matches!(refused, LakeError::Column { .. }), "{refused}");
    }
    assert!(lake.tables().await.unwrap().is_empty());
    lake.ensure(&table(), prices()).await.unwrap();
    let other = schema(&[("N", DataType::Int64)]);
    assert!(matches!(lake.ensure(&table(), other).await, Err(LakeError::Column { .. })));
    let unknown: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("unknown", unknown)]).unwrap();
    let refused = lake.stage(&table(), vec![batch]).await.unwrap_err();
    assert!(matches!(refused, LakeError::UnknownColumn { .. }), "{refused}");
}

async fn a_scan_returns_the_rows_and_columns_asked_for(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    append(lake, 1, &[("A", 1), ("B", 2)]).await;
    append(lake, 2, &[("C", 3), ("D", 4)]).await;
    append(lake, 3, &[("A", 5), ("é\"'", 6)]).await;
    assert_eq!(numbers(lake, is_in("_entity", &["A"])).await, [1, 5]);
    assert_eq!(numbers(lake, is_in("_entity", &["B", "D", "nowhere"])).await, [2, 4]);
    assert_eq!(numbers(lake, is_in("_entity", &["é\"'"])).await, [6]);
    assert!(numbers(lake, is_in("_entity", &[])).await.is_empty());
    let both = Scan {
        equals: [&["A", "B"][..], &["B", "C"]]
            .map(|values| is_in("_entity", values).equals.remove(0))
            .to_vec(),
        ..Scan::default()
    };
    assert_eq!(numbers(lake, both).await, [2]);
    let narrow = Scan { columns: Some(vec!["n".into()]), ..is_in("_entity", &["C"]) };
    let batches = lake.scan(&table(), narrow.clone()).await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_columns() == 1));
    assert_eq!(numbers(lake, narrow).await, [3]);
    for limit in [0, 1, 3, 100] {
        let limited = Scan { row_limit: Some(limit), ..Scan::default() };
        assert_eq!(numbers(lake, limited).await.len(), limit.min(6));
    }
    let limited = Scan { row_limit: Some(1), ..is_in("_entity", &["D"]) };
    assert_eq!(numbers(lake, limited).await, [4]);
    let refused = lake.scan(&table(), is_in("n", &["1"])).await.unwrap_err();
    assert!(matches!(refused, LakeError::Column { .. }), "{refused}");
}

async fn every_type_comes_back_as_it_went_in(lake: &dyn Lake) {
    let zone = |zone: &str| DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let declared = schema(&[
        ("text", DataType::Utf8),
        ("int", DataType::Int64),
        ("small", DataType::Int32),
        ("float", DataType::Float64),
        ("exact", DataType::Decimal128(38, 6)),
        ("flag", DataType::Boolean),
        ("day", DataType::Date32),
        ("at", zone("+00:00")),
        ("raw", DataType::Binary),
    ]);
    lake.ensure(&table(), declared.clone()).await.unwrap();
    let exact = vec![Some(1_234_567_890_123_456_789_012_345_678_901_i128), Some(-1), None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("a\u{0}\u{10FFFF}"), Some(""), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-0.0), None])),
        Arc::new(Decimal128Array::from(exact).with_precision_and_scale(38, 6).unwrap()),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Date32Array::from(vec![Some(-800_000), Some(20_776), None])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(-1), Some(1_795_000_000_000_001), None])
                .with_timezone("+00:00"),
        ),
        Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(b""), None])),
    ];
    let batch = RecordBatch::try_new(declared, columns).unwrap();
    let files = lake.stage(&table(), vec![batch.clone()]).await.unwrap();
    lake.commit(&table(), "engine", 1, &files).await.unwrap();
    let read = lake.scan(&table(), Scan::default()).await.unwrap();
    assert_eq!(read.len(), 1);
    for (index, field) in read[0].schema().fields().iter().enumerate() {
        let (found, put) = (read[0].column(index), batch.column(index));
        if field.name() == "at" {
            assert_eq!(field.data_type(), &zone("UTC"));
            assert_eq!(found.to_data().buffers(), put.to_data().buffers());
        } else {
            assert_eq!(found.to_data(), put.to_data(), "{}", field.name());
        }
    }
}

async fn compaction_keeps_rows_and_batches(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    for batch in 0..20 {
        append(lake, batch, &[("A", batch * 2), ("B", batch * 2 + 1)]).await;
    }
    let wider = schema(&[("note", DataType::Utf8)]);
    lake.ensure(&table(), wider).await.unwrap();
    let settings = Maintenance { compact_at_files: 8, ..Maintenance::default() };
    let report = lake.maintain(&table(), later(), &settings).await.unwrap();
    assert_eq!((report.files_replaced, report.files_written), (20, 1));
    let all: Vec<i64> = (0..40).collect();
    assert_eq!(numbers(lake, Scan::default()).await, all);
    assert_eq!(numbers(lake, is_in("_entity", &["B"])).await.len(), 20);
    assert_eq!(lake.last_batch(&table(), "engine").await.unwrap(), Some(19));
    let files = lake.stage(&table(), vec![rows(&[("A", 0)])]).await.unwrap();
    assert!(lake.commit(&table(), "engine", 19, &files).await.unwrap().already);
    append(lake, 20, &[("A", 40)]).await;
    let report = lake.maintain(&table(), later(), &settings).await.unwrap();
    assert_eq!(report.files_replaced, 0);
    assert_eq!(numbers(lake, Scan::default()).await.len(), 41);
}

async fn orphans_go_and_announced_files_stay(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let committed = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    lake.commit(&table(), "engine", 1, &committed).await.unwrap();
    let announced = lake.stage(&table(), vec![rows(&[("A", 2)])]).await.unwrap();
    lake.stage(&table(), vec![rows(&[("A", 3)])]).await.unwrap();
    let keep = paths(&announced);
    assert_eq!(lake.discard_orphans(&keep, later()).await.unwrap(), 1);
    assert_eq!(lake.discard_orphans(&keep, later()).await.unwrap(), 0);
    lake.commit(&table(), "engine", 2, &announced).await.unwrap();
    assert_eq!(numbers(lake, Scan::default()).await, [1, 2]);
    assert_eq!(lake.discard_orphans(&BTreeSet::new(), later()).await.unwrap(), 0);
    assert_eq!(numbers(lake, Scan::default()).await, [1, 2]);
}

async fn a_staged_file_survives_its_writing_down(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let files = lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap();
    let bytes = postcard::to_stdvec(&files).unwrap();
    let read: Vec<StagedFile> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, files);
    lake.commit(&table(), "engine", 1, &read).await.unwrap();
    assert_eq!(numbers(lake, Scan::default()).await, [1]);
}

async fn commits_of_many_tasks_all_count(lake: &dyn Lake) {
    lake.ensure(&table(), prices()).await.unwrap();
    let one = |task: i64| async move {
        let application = format!("task-{task}");
        for batch in 0..5 {
            let files = lake.stage(&table(), vec![rows(&[("A", task * 5 + batch)])]).await.unwrap();
            lake.commit(&table(), &application, batch, &files).await.unwrap();
        }
    };
    futures::future::join_all((0..6).map(one)).await;
    assert_eq!(numbers(lake, Scan::default()).await, (0..30).collect::<Vec<_>>());
}

macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::MemoryLake::new()).await;
            })*
        }

        mod delta {
            $(#[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(&super::DeltaLake::open(folder.path()).unwrap()).await;
            })*
        }
    };
}

on_both_engines!(
    a_missing_table_is_empty_and_takes_nothing,
    staged_rows_are_invisible_until_they_are_committed,
    a_batch_is_committed_exactly_once,
    a_batch_without_rows_is_noted,
    a_file_enters_a_table_once_and_only_its_own,
    a_file_that_is_gone_is_not_committed,
    a_new_column_is_null_in_older_rows,
    a_retyped_column_is_refused_and_nothing_changes,
    columns_that_no_table_can_have_are_refused,
    a_scan_returns_the_rows_and_columns_asked_for,
    every_type_comes_back_as_it_went_in,
    compaction_keeps_rows_and_batches,
    orphans_go_and_announced_files_stay,
    a_staged_file_survives_its_writing_down,
    commits_of_many_tasks_all_count,
);

#[test]
fn clones_of_a_memory_lake_share_rows_and_files_are_counted() {
    let lake = MemoryLake::new();
    let staged = |lake: &MemoryLake| {
        futures::executor::block_on(async {
            lake.ensure(&table(), prices()).await.unwrap();
            lake.stage(&table(), vec![rows(&[("A", 1)])]).await.unwrap()
        })
    };
    let files = staged(&lake);
    assert_eq!(files, staged(&MemoryLake::new()));
    futures::executor::block_on(lake.clone().commit(&table(), "engine", 1, &files)).unwrap();
    assert_eq!(lake.rows(&table()).iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}
