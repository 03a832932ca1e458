//! What only the inside can set up: a disk that is full, and how much is read.

use super::*;
use crate::{
    contract::{at, batch, project, request, row, settle, source},
    rows::Batch,
};
use model::CellState;

fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("state.db"), &project()).unwrap();
    (store, folder)
}

/// Lets the file grow by so many pages from here on; `None` lifts the limit.
fn limit_growth(store: &SqliteStore, pages: Option<i64>) {
    let writer = store.shared.writer.as_ref().unwrap().lock().unwrap();
    let limit = pages.map_or(i64::from(u32::MAX) - 1, |pages| {
        let used: i64 =
            writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        used + pages
    });
    writer
        .connection
        .query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))
        .unwrap();
}

fn full_batch(number: i64) -> Batch {
    let rows = (0..2_000).map(|index| row(&format!("E{index}"), "2026-11-19", CellState::Present));
    batch(number, "eod", rows.collect())
}

#[tokio::test]
async fn a_full_disk_is_named_undone_and_survived() {
    let (store, _alive) = store();
    settle(&store, "eod", vec![row("A", "2026-11-18", CellState::Present)]).await;
    store.announce(full_batch(2)).await.unwrap();
    limit_growth(&store, Some(3));

    let before = store.project().await.unwrap();
    for error in [
        store.settle(2).await.unwrap_err(),
        store.announce(full_batch(3)).await.unwrap_err(),
        store.reserve(&request("eod", 20_000)).await.unwrap_err(),
    ] {
        assert!(matches!(error, StateError::DiskFull { .. }), "{error:?}");
    }
    assert_eq!(store.project().await.unwrap(), before);
    assert_eq!(store.announced().await.unwrap(), [full_batch(2)]);
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 1);
    assert_eq!(store.spend(None).await.unwrap(), []);
    // What needs no space still works.
    store
        .put_source(&SourceRow {
            source: source("eod"),
            from: None,
            paused: true,
            entities_seen: 1,
            version: SourceVersion("v".into()),
            updated_at: at(0),
        })
        .await
        .unwrap();

    limit_growth(&store, None);
    store.settle(2).await.unwrap();
    store.announce(full_batch(3)).await.unwrap();
    store.settle(3).await.unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 2_001);
    let counts = store.counts(at(0)).await.unwrap();
    assert_eq!(counts.iter().map(|count| count.cells).collect::<Vec<_>>(), [2_001]);
    store.reserve(&request("eod", 20_000)).await.unwrap();
}

#[tokio::test]
async fn entities_of_a_former_process_are_found_among_new_ones() {
    let (store, folder) = store();
    let rows = |names: std::ops::Range<usize>, day| -> Vec<CellRow> {
        names.map(|index| row(&format!("E{index:03}"), day, CellState::Present)).collect()
    };
    settle(&store, "eod", rows(20..40, "2026-11-18")).await;
    drop(store);
    let store = SqliteStore::open(folder.path().join("state.db"), &project()).unwrap();
    settle(&store, "eod", rows(0..100, "2026-11-19")).await;
    let found = store.cells(&source("eod")).await.unwrap();
    assert_eq!(found, [rows(20..40, "2026-11-18"), rows(0..100, "2026-11-19")].concat());
}

#[tokio::test]
async fn a_writer_that_waits_too_long_is_told() {
    let (store, folder) = store();
    let other = Connection::open(folder.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let writer = store.shared.writer.as_ref().unwrap().lock().unwrap();
        writer.connection.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
    }
    let error = store.reserve(&request("eod", 1)).await.unwrap_err();
    assert!(matches!(error, StateError::Busy { .. }), "{error:?}");
    assert_eq!(store.counts(at(0)).await.unwrap(), [], "readers do not wait");
    other.execute_batch("COMMIT").unwrap();
    store.reserve(&request("eod", 1)).await.unwrap();
}

#[tokio::test]
async fn every_commit_is_on_the_disk_when_it_returns() {
    let (store, _alive) = store();
    let writer = store.shared.writer.as_ref().unwrap().lock().unwrap();
    let setting = |name: &str| -> String {
        writer
            .connection
            .query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| {
                row.get(0)
            })
            .unwrap()
    };
    assert_eq!(setting("synchronous"), "2");
    assert_eq!(setting("journal_mode"), "wal");
}

#[tokio::test]
async fn counting_reads_no_cells() {
    let (store, folder) = store();
    settle(&store, "eod", vec![row("A", "2026-11-18", CellState::Present)]).await;
    let other = Connection::open(folder.path().join("state.db")).unwrap();
    other.execute_batch("DELETE FROM cells; DROP TABLE entities").unwrap();
    assert_eq!(store.counts(at(0)).await.unwrap()[0].cells, 1);
    let plan: Vec<String> = other
        .prepare(&format!("EXPLAIN QUERY PLAN {}", counts::LATER))
        .unwrap()
        .query_map([0], |row| row.get(3))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(plan[0].contains("USING COVERING INDEX cells_late"), "{plan:?}");
}
