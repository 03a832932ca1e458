//! Compaction under a query: a file of the list is gone when it is read.

use crate::{World, nav, seen};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use jiff::{SignedDuration, Timestamp};
use lake::{
    Committed, DeltaLake, Lake, LakeFuture, Maintenance, MaintenanceReport, Scan, StagedFile,
    TableFiles, TableRef,
};
use query::{Query, QueryError, SqlOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// A lake that first answers with lists of files as they were before a compaction.
#[derive(Debug)]
struct Stale {
    lake: Arc<DeltaLake>,
    lists: Mutex<Vec<TableFiles>>,
}

impl Lake for Stale {
    fn files(&self, table: &TableRef) -> LakeFuture<'_, Option<TableFiles>> {
        match self.lists.lock().unwrap().pop() {
            Some(list) => Box::pin(std::future::ready(Ok(Some(list)))),
            None => self.lake.files(table),
        }
    }

    fn tables(&self) -> LakeFuture<'_, Vec<TableRef>> {
        self.lake.tables()
    }

    fn ensure(&self, table: &TableRef, schema: SchemaRef) -> LakeFuture<'_, ()> {
        self.lake.ensure(table, schema)
    }

    fn stage(&self, table: &TableRef, rows: Vec<RecordBatch>) -> LakeFuture<'_, Vec<StagedFile>> {
        self.lake.stage(table, rows)
    }

    fn commit(
        &self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> LakeFuture<'_, Committed> {
        self.lake.commit(table, application, batch, files)
    }

    fn last_batch(&self, table: &TableRef, application: &str) -> LakeFuture<'_, Option<i64>> {
        self.lake.last_batch(table, application)
    }

    fn scan(&self, table: &TableRef, request: Scan) -> LakeFuture<'_, Vec<RecordBatch>> {
        self.lake.scan(table, request)
    }

    fn maintain(
        &self,
        table: &TableRef,
        now: Timestamp,
        settings: &Maintenance,
    ) -> LakeFuture<'_, MaintenanceReport> {
        self.lake.maintain(table, now, settings)
    }

    fn discard_orphans(
        &self,
        keep: &BTreeSet<String>,
        older_than: Timestamp,
    ) -> LakeFuture<'_, usize> {
        self.lake.discard_orphans(keep, older_than)
    }
}

#[tokio::test]
async fn a_query_begins_again_when_compaction_took_a_file_away() {
    let world = World::new(&[]).await;
    world.append(1, &[seen("A", 1, 1, Some(1))]).await;
    world.append(2, &[seen("B", 1, 1, Some(2))]).await;
    let before = world.lake.files(&nav()).await.unwrap().unwrap();
    let now_or_never = Maintenance {
        compact_at_files: 2,
        keep_removed: SignedDuration::ZERO,
        ..Maintenance::default()
    };
    let now = "2026-11-20T00:00:00Z".parse().unwrap();
    let report = world.lake.maintain(&nav(), now, &now_or_never).await.unwrap();
    assert_eq!(report.files_deleted, 2);
    for (stale_lists, answered) in [(1, true), (2, true), (9, false)] {
        let lists = Mutex::new(vec![before.clone(); stale_lists]);
        let lake = Arc::new(Stale { lake: world.lake.clone(), lists });
        let query = Query::open(lake, BTreeMap::new()).await.unwrap();
        let sql = "SELECT sum(price) FROM nav";
        match query.sql(sql, &SqlOptions::default()).await {
            Ok(result) => {
                assert!(answered);
                assert_eq!(crate::lines(&result), ["0.0003"]);
            }
            Err(error) => {
                assert!(!answered, "{error:?}");
                assert!(matches!(error, QueryError::Run { .. } | QueryError::Plan { .. }));
            }
        }
    }
}
