//! All rows, the newest rows, and what was known at a time.

use crate::{World, append, batch, cells, nav, seen};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use jiff::{SignedDuration, Timestamp};
use lake::{Lake, LedgerTable, Maintenance, MemoryLake, TableRef};
use query::{Query, SqlOptions};
use std::{collections::BTreeMap, sync::Arc};

const LATEST: &str = "SELECT _entity, price FROM latest.nav ORDER BY _entity";

async fn three_visits() -> World {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 100, 1, Some(10_000)), seen("B", 100, 1, Some(20_000))]).await;
    world.append(2, &[seen("A", 200, 2, Some(10_001)), seen("C", 200, 2, Some(30_000))]).await;
    world.append(3, &[seen("B", 300, 3, None), seen("A", 300, 3, Some(10_002))]).await;
    world
}

#[tokio::test]
async fn a_table_has_all_its_rows_and_latest_the_newest_of_each_key() {
    let world = three_visits().await;
    assert_eq!(world.ask("SELECT count(*) FROM nav").await, ["6"]);
    assert_eq!(world.ask(LATEST).await, ["A 1.0002", "C 3.0000"]);
    assert_eq!(world.ask("SELECT * FROM latest.nav WHERE _entity = 'B'").await.len(), 0);
    let columns = world.query.sql("SELECT * FROM latest.nav", &SqlOptions::default()).await;
    assert_eq!(columns.unwrap().schema.fields().len(), 7, "no helper column shows");
}

#[tokio::test]
async fn as_of_shows_what_was_known_then() {
    let world = three_visits().await;
    assert!(world.ask_as_of("SELECT * FROM nav", 99).await.is_empty());
    assert!(world.ask_as_of(LATEST, 99).await.is_empty());
    assert_eq!(world.ask_as_of("SELECT count(*) FROM nav", 100).await, ["2"]);
    assert_eq!(world.ask_as_of(LATEST, 100).await, ["A 1.0000", "B 2.0000"]);
    assert_eq!(world.ask_as_of(LATEST, 299).await, ["A 1.0001", "B 2.0000", "C 3.0000"]);
    assert_eq!(world.ask_as_of(LATEST, 300).await, ["A 1.0002", "C 3.0000"]);
    let just_before = Timestamp::from_second(100).unwrap() - SignedDuration::from_nanos(1);
    let options = SqlOptions { as_of: Some(just_before), row_limit: None };
    let result = world.query.sql("SELECT * FROM nav", &options).await.unwrap();
    assert_eq!(result.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn of_two_rows_at_the_same_time_the_later_attempt_is_newer() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 100, 2, Some(2)), seen("A", 100, 1, Some(1))]).await;
    assert_eq!(world.ask(LATEST).await, ["A 0.0002"]);
}

#[tokio::test]
async fn a_tombstone_followed_by_a_value_is_a_value() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 100, 1, Some(1)), seen("A", 200, 2, None)]).await;
    assert!(world.ask(LATEST).await.is_empty());
    world.append(2, &[seen("A", 300, 3, Some(3))]).await;
    assert_eq!(world.ask(LATEST).await, ["A 0.0003"]);
}

#[tokio::test]
async fn the_key_of_a_table_is_its_own() {
    let world = World::new(&[("nav", &["entity"])]).await;
    let mut later = seen("A", 200, 2, Some(2));
    later.period = "2026-11-20";
    world.append(1, &[seen("A", 100, 1, Some(1)), later]).await;
    assert_eq!(world.ask(LATEST).await, ["A 0.0002"]);
    let world = World::new(&[("nav", &["entity", "period"])]).await;
    let mut later = seen("A", 200, 2, Some(2));
    later.period = "2026-11-20";
    world.append(1, &[seen("A", 100, 1, Some(1)), later]).await;
    assert_eq!(world.ask(LATEST).await, ["A 0.0001", "A 0.0002"]);
    let world = World::new(&[("nav", &["entity", "date"])]).await;
    world.append(1, &[seen("A", 100, 1, Some(1))]).await;
    let refused = world.refused(LATEST).await.to_string();
    assert!(refused.contains("`date`") && refused.contains("`_entity`"), "{refused}");
}

#[tokio::test]
async fn a_table_without_tombstones_has_none() {
    let world = World::new(&[]).await;
    let rows = batch(&[seen("A", 100, 1, Some(1)), seen("A", 200, 2, Some(2))]);
    append(world.lake.as_ref(), &nav(), 1, rows.project(&[0, 1, 2, 3, 4, 5]).unwrap()).await;
    assert_eq!(world.ask(LATEST).await, ["A 0.0002"]);
}

#[tokio::test]
async fn a_newer_column_is_null_in_older_files() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 100, 1, Some(1))]).await;
    let rows = batch(&[seen("B", 100, 1, Some(2))]);
    let note: ArrayRef = Arc::new(StringArray::from(vec!["new"]));
    let mut columns: Vec<(String, ArrayRef)> = vec![("note".into(), note)];
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    let rows = columns.into_iter().map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(rows).unwrap();
    append(world.lake.as_ref(), &nav(), 2, rows).await;
    let sql = "SELECT _entity, note IS NULL, coalesce(note, 'none') FROM nav ORDER BY 1";
    assert_eq!(world.ask(sql).await, ["A true none", "B false new"]);
    assert_eq!(world.ask("SELECT _entity FROM nav WHERE note = 'new'").await, ["B"]);
}

#[tokio::test]
async fn staged_replaced_and_orphaned_files_are_not_seen() {
    let world = three_visits().await;
    let lake = &world.lake;
    lake.stage(&nav(), vec![batch(&[seen("Z", 900, 9, Some(9))])]).await.unwrap();
    let folder = lake.dir().join("data/nav");
    let copied = lake.files(&nav()).await.unwrap().unwrap().paths.remove(0);
    std::fs::copy(copied, folder.join("part-orphan.parquet")).unwrap();
    assert_eq!(world.ask("SELECT count(*) FROM nav").await, ["6"]);
    let eager = Maintenance { compact_at_files: 2, checkpoint_every: 1, ..Maintenance::default() };
    let now = "2026-11-20T00:00:00Z".parse().unwrap();
    assert_eq!(lake.maintain(&nav(), now, &eager).await.unwrap().files_replaced, 3);
    assert_eq!(world.ask("SELECT count(*) FROM nav").await, ["6"]);
    assert_eq!(world.ask(LATEST).await, ["A 1.0002", "C 3.0000"]);
}

#[tokio::test]
async fn books_and_quarantine_have_their_own_names_and_times() {
    let world = three_visits().await;
    let at = TimestampMicrosecondArray::from(vec![100_000_000, 200_000_000]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 2] =
        [("n", Arc::new(Int64Array::from(vec![1, 2]))), ("at", Arc::new(at))];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true)));
    let rows = rows.unwrap();
    let ledger = [LedgerTable::Throttles, LedgerTable::Paces].map(TableRef::Ledger);
    for book in ledger.iter().chain([&cells()]) {
        append(world.lake.as_ref(), book, 1, rows.clone()).await;
    }
    let quarantine = TableRef::Quarantine(crate::name("nav"));
    append(world.lake.as_ref(), &quarantine, 1, batch(&[seen("Q", 150, 1, Some(1))])).await;
    assert_eq!(world.ask("SELECT n FROM ledger.cells ORDER BY n").await, ["1", "2"]);
    assert_eq!(world.ask_as_of("SELECT n FROM ledger.cells", 199).await, ["1"]);
    assert_eq!(world.ask("SELECT _entity FROM quarantine.nav").await, ["Q"]);
    assert!(world.ask_as_of("SELECT _entity FROM quarantine.nav", 149).await.is_empty());
    let sql = "SELECT table_schema || '.' || table_name FROM information_schema.tables
               WHERE table_schema <> 'information_schema' ORDER BY 1";
    assert_eq!(world.ask_as_of("SELECT n FROM ledger.paces", 199).await, ["1"]);
    assert_eq!(world.ask("SELECT n FROM ledger.throttles ORDER BY n").await, ["1", "2"]);
    let tables = [
        "data.nav",
        "latest.nav",
        "ledger.cells",
        "ledger.paces",
        "ledger.throttles",
        "quarantine.nav",
    ];
    assert_eq!(world.ask(sql).await, tables);
    assert!(world.ask("SHOW TABLES").await.len() > 4);
    assert!(world.ask("DESCRIBE nav").await.iter().any(|line| line.contains("Decimal128")));
    assert!(world.ask("EXPLAIN SELECT * FROM latest.nav").await.concat().contains("row_number"));
    let join = "SELECT count(*) FROM nav JOIN latest.nav AS l USING (_entity)";
    assert_eq!(world.ask(join).await, ["4"]);
}

#[tokio::test]
async fn decimals_stay_exact() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 1, 1, Some(1)), seen("B", 1, 1, Some(2))]).await;
    assert_eq!(world.ask("SELECT sum(price) FROM nav").await, ["0.0003"]);
    assert_eq!(world.ask("SELECT _entity FROM nav WHERE price = 0.0002").await, ["B"]);
    assert_eq!(world.ask("SELECT round(price * 2, 4), abs(-1) FROM nav LIMIT 1").await.len(), 1);
    assert_eq!(world.ask("SELECT 0.1 + 0.2 = 0.3").await, ["true"]);
}

#[tokio::test]
async fn an_empty_table_is_empty_and_a_limit_limits() {
    let world = World::new(&[]).await;
    world.lake.ensure(&nav(), batch(&[]).schema()).await.unwrap();
    assert_eq!(world.ask("SELECT count(*) FROM nav").await, ["0"]);
    assert!(world.ask(LATEST).await.is_empty());
    let empty = world.query.sql("SELECT price FROM nav", &SqlOptions::default()).await.unwrap();
    assert_eq!((empty.batches.len(), empty.schema.fields().len()), (1, 1));
    for limit in [0, 1, 5_000, 20_000] {
        let options = SqlOptions { as_of: None, row_limit: Some(limit) };
        let sql = "SELECT * FROM generate_series(1, 10000)";
        let result = world.query.sql(sql, &options).await.unwrap();
        let rows = result.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(rows, limit.min(10_000));
    }
}

#[tokio::test]
async fn a_lake_in_memory_is_asked_the_same_way() {
    let lake = MemoryLake::new();
    append(&lake, &nav(), 1, batch(&[seen("A", 1, 1, Some(1)), seen("A", 2, 2, Some(2))])).await;
    let query = Query::open(Arc::new(lake), BTreeMap::new()).await.unwrap();
    let result = query.sql(LATEST, &SqlOptions::default()).await.unwrap();
    assert_eq!(crate::lines(&result), ["A 0.0002"]);
}
