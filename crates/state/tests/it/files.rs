//! Files that are foreign, damaged, newer, read-only or gone.

use crate::contract::sqlite;
use model::Cause;
use rusqlite::Connection;
use state::{
    CellFilter, PaceRow, SqliteStore, StateError, StateStore,
    contract::{at, batch, paces::wish, project, request, row, settle, source},
};
use std::{
    error::Error,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

fn open(path: &Path) -> Result<SqliteStore, StateError> {
    SqliteStore::open(path, &project())
}

/// A closed state file with some thousand cells in it.
async fn filled() -> (PathBuf, tempfile::TempDir) {
    let (store, folder) = sqlite();
    let rows = (0..3_000)
        .map(|index| row(&format!("E{index}"), "2026-11-19", model::CellState::Present))
        .collect();
    settle(&store, "eod", rows).await;
    drop(store);
    let path = folder.path().join("new/folder/state.db");
    let [_, log, index] = SqliteStore::files(&path);
    assert!(!log.exists() && !index.exists(), "closing leaves one file");
    (path, folder)
}

fn text_of(error: &StateError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn a_store_opens_again_as_it_was() {
    let (path, _alive) = filled().await;
    let other = state::NewProject { project_id: "another".to_owned(), ..project() };
    let store = SqliteStore::open(&path, &other).unwrap();
    assert_eq!(store.project().await.unwrap().project_id, project().project_id);
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 3_000);
    assert_eq!(store.counts(at(0)).await.unwrap()[0].cells, 3_000);
    assert_eq!(store.project().await.unwrap().next_batch, 2);
}

#[tokio::test]
async fn a_truncated_file_is_damaged_and_the_advice_is_to_rebuild() {
    let (path, _alive) = filled().await;
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, 511, 512, 4_096, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        for error in [open(&path).unwrap_err(), SqliteStore::open_read_only(&path).unwrap_err()] {
            assert!(matches!(error, StateError::Corrupt { .. }), "{length}: {error:?}");
            assert!(error.to_string().contains("`tidewatch state rebuild`"), "{error}");
            assert!(error.to_string().contains("state.db"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), &whole[..length], "the file is left as it was");
    }
}

#[tokio::test]
async fn damage_inside_is_an_error_and_never_other_data() {
    let (path, _alive) = filled().await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    let mut damaged_pages = 0;
    for page in 1..pages {
        let mut bytes = whole.clone();
        bytes[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let looked = match open(&path) {
            Ok(store) => store.cells(&source("eod")).await.map(|rows| rows.len()),
            Err(error) => Err(error),
        };
        match looked {
            // The page holds something else than cells.
            Ok(rows) => assert_eq!(rows, 3_000),
            Err(StateError::Corrupt { .. }) => damaged_pages += 1,
            Err(error) => panic!("page {page}: {error:?}"),
        }
        for file in SqliteStore::files(&path) {
            let _ = fs::remove_file(file);
        }
    }
    assert!(damaged_pages * 5 > pages * 2, "{damaged_pages} of {pages}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_untouched() {
    let (path, _alive) = filled().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 5).unwrap();
    let before = fs::read(&path).unwrap();
    for error in [open(&path).unwrap_err(), SqliteStore::open_read_only(&path).unwrap_err()] {
        assert!(
            matches!(error, StateError::NewerVersion { found: 5, supported: 4, .. }),
            "{error:?}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A state file as the program of the first format left it, with one wish in it.
fn of_the_first_format() -> (PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "application_id", 0x5457_7374).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    connection.execute_batch(include_str!("../../src/sqlite/schema.sql")).unwrap();
    let rows = "INSERT INTO project VALUES (1, 'prj_former', 0, NULL, 8, 5, 2);
                INSERT INTO sources (id, name) VALUES (1, 'eod');
                INSERT INTO backfills VALUES (1, 1, '2025-01-01', '2025-12-31', 0, NULL);";
    connection.execute_batch(rows).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    (path, folder)
}

fn pace() -> PaceRow {
    PaceRow { scope: "https://a".to_owned(), learned: "1 2".to_owned(), updated_at: at(1) }
}

#[tokio::test]
async fn a_file_of_the_first_format_is_brought_to_ours() {
    let (path, _alive) = of_the_first_format();
    let store = open(&path).unwrap();
    let found = store.project().await.unwrap();
    assert_eq!((found.project_id.as_str(), found.next_attempt), ("prj_former", 8));
    assert_eq!(store.backfills().await.unwrap().len(), 1);
    assert_eq!(store.paces().await.unwrap(), []);
    store.put_paces(&[pace()]).await.unwrap();
    assert_eq!(store.hold_shares(&wish("a", &["https://a"], 0)).await.unwrap(), [1.0]);
    let format = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(format(&Connection::open(&path).unwrap()), 4);
    drop(store);
    let again = open(&path).unwrap();
    assert_eq!(again.paces().await.unwrap(), [pace()], "nothing is migrated twice");
    assert_eq!(again.hold_shares(&wish("b", &["https://a"], 1)).await.unwrap(), [0.0]);
}

#[tokio::test]
async fn a_file_of_the_first_format_can_be_looked_at_as_it_is() {
    let (path, _alive) = of_the_first_format();
    let before = fs::read(&path).unwrap();
    let looked = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(looked.backfills().await.unwrap().len(), 1);
    assert_eq!(looked.paces().await.unwrap(), []);
    assert_eq!(fs::read(&path).unwrap(), before);
    // A writer comes: the reader sees what it makes.
    open(&path).unwrap().put_paces(&[pace()]).await.unwrap();
    assert_eq!(looked.paces().await.unwrap(), [pace()]);
}

/// A state file as the program of the third format left it: cells in three states, and a batch that
/// is announced.
fn of_the_third_format() -> (PathBuf, tempfile::TempDir) {
    let (path, folder) = of_the_first_format();
    let connection = Connection::open(&path).unwrap();
    for step in [
        include_str!("../../src/sqlite/schema_2.sql"),
        include_str!("../../src/sqlite/schema_3.sql"),
    ] {
        connection.execute_batch(step).unwrap();
    }
    let rows = "INSERT INTO entities VALUES (1, 1, 'A'), (2, 1, 'B'), (3, 1, 'C');
        INSERT INTO cells (source_id, period, entity_id, state, outcome, looks, failures,
            complete_since_due, records, quarantined, next_look_at, last_attempt, updated_at)
        VALUES (1, 3988995, 1, 'waiting', 'empty_proven', 1, 0, 1, 0, 0, 9, 1, 5),
               (1, 3988995, 2, 'waiting', 'rate_limited', 1, 1, 0, 0, 0, 9, 2, 5),
               (1, 3988995, 3, 'held', 'invalid', 1, 0, 0, 0, 1, NULL, 3, 5);
        INSERT INTO counts VALUES (1, 'waiting', '', 2), (1, 'held', '', 1);";
    connection.execute_batch(rows).unwrap();
    // What a batch has behind its rows came with the fourth format: here, nothing.
    let mut payload = state::contract::announcement(&batch(5, "eod", vec![waiting("A")]));
    assert_eq!(payload.pop(), Some(0), "an empty list");
    let announced = "INSERT INTO batches VALUES (5, ?1)";
    connection.execute(announced, [&payload]).unwrap();
    connection.execute("UPDATE project SET next_batch = 6", []).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    (path, folder)
}

fn waiting(name: &str) -> state::CellRow {
    let state = model::CellState::Waiting {
        next_look_at: at(9),
        last_outcome: model::Outcome::EmptyProven,
    };
    row(name, "2026-11-19", state)
}

/// What waits, by cause.
async fn waiting_causes(store: &SqliteStore) -> Vec<(Option<Cause>, u64)> {
    let counts = store.counts(at(0)).await.unwrap();
    let waiting = counts.into_iter().filter(|count| count.state == "waiting");
    waiting.map(|count| (count.cause, count.cells)).collect()
}

#[tokio::test]
async fn a_file_of_the_third_format_learns_why_its_cells_wait() {
    let (path, _alive) = of_the_third_format();
    let before = fs::read(&path).unwrap();
    let looked = SqliteStore::open_read_only(&path).unwrap();
    let rows = looked.cells(&source("eod")).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.late_from.is_none()));
    assert_eq!(waiting_causes(&looked).await, [(None, 2)], "it did not count them apart");
    let throttled = CellFilter { cause: Some((Cause::Throttled, at(0))), ..CellFilter::default() };
    assert_eq!(looked.find_cells(&throttled, 9).await.unwrap().len(), 1);
    assert_eq!(fs::read(&path).unwrap(), before);

    let store = open(&path).unwrap();
    let expected = [(Some(Cause::LateUsual), 1), (Some(Cause::Throttled), 1)];
    assert_eq!(waiting_causes(&store).await, expected);
    assert_eq!(waiting_causes(&looked).await, expected, "the reader sees what the writer made");
    assert_eq!(store.announced().await.unwrap(), [batch(5, "eod", vec![waiting("A")])]);
    store.settle(5).await.unwrap();
    let late = model::LateFrom { watch: at(-20), overdue: at(-10) };
    let rows = vec![state::CellRow { late_from: Some(late), looks: 2, ..waiting("A") }];
    settle(&store, "eod", rows).await;
    let expected = [(Some(Cause::Overdue), 1), (Some(Cause::Throttled), 1)];
    assert_eq!(waiting_causes(&store).await, expected);
    assert_eq!(waiting_causes(&looked).await, expected);
    let found = looked.cells(&source("eod")).await.unwrap();
    assert_eq!(found.iter().filter_map(|row| row.late_from).collect::<Vec<_>>(), [late]);
}

#[test]
fn many_openings_at_once_migrate_once() {
    let (path, _alive) = of_the_first_format();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            runtime.spawn_blocking(move || open(&path).map(drop))
        })
        .collect();
    for done in opened {
        runtime.block_on(done).unwrap().unwrap();
    }
}

#[tokio::test]
async fn paces_survive_a_restart() {
    let (path, _alive) = filled().await;
    open(&path).unwrap().put_paces(&[pace()]).await.unwrap();
    assert_eq!(open(&path).unwrap().paces().await.unwrap(), [pace()]);
}

#[test]
fn what_is_no_state_file_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    fs::write(&text, "# a shopping list\n".repeat(100)).unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE bread (x)").unwrap();
    for path in [text, foreign] {
        let before = fs::read(&path).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StateError::NotAStateFile { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, StateError::NotWritable { .. }), "a folder: {error:?}");
}

#[tokio::test]
async fn a_log_without_its_file_is_not_taken_for_a_new_project() {
    let (path, _alive) = filled().await;
    let [_, log, _] = SqliteStore::files(&path);
    fs::rename(&path, &log).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error:?}");
    assert!(text_of(&error).contains("state.db-wal"), "{}", text_of(&error));
    assert!(!path.exists());
}

#[tokio::test]
async fn looking_needs_a_file_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/state.db");
    let error = SqliteStore::open_read_only(&path).unwrap_err();
    assert!(matches!(error, StateError::Missing { .. }), "{error:?}");
    assert!(!folder.path().join("none").exists());

    let (path, _alive) = filled().await;
    let store = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 3_000);
    let error = store.reserve(&request("eod", 1)).await.unwrap_err();
    assert!(matches!(error, StateError::OpenedReadOnly { .. }), "{error:?}");
    let error = store.settle(1).await.unwrap_err();
    assert!(matches!(error, StateError::OpenedReadOnly { .. }), "{error:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    // Below a regular file, where not even root can make one.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = open(&file.join("state.db")).unwrap_err();
    assert!(matches!(error, StateError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("file/state.db"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_write_protected_place_can_be_looked_at_and_says_so_when_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, _alive) = filled().await;
    let folder = path.parent().unwrap();
    let protect = |folder_mode, file_mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(file_mode)).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(folder_mode)).unwrap();
    };
    protect(0o555, 0o444);
    if OpenOptions::new().append(true).open(&path).is_ok() {
        println!("SKIPPED: this user (root?) may write what is write-protected");
        protect(0o755, 0o644);
        return;
    }
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StateError::NotWritable { .. }), "{error:?}");
    let error = open(&folder.join("new.db")).unwrap_err();
    assert!(matches!(error, StateError::NotWritable { .. }), "{error:?}");
    let store = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(store.cells(&source("eod")).await.unwrap().len(), 3_000);
    protect(0o755, 0o644);
    assert!(open(&path).is_ok(), "writable again");
}

#[test]
fn many_first_openings_at_once_make_one_project() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let opened: Vec<_> = (0..8)
        .map(|index| {
            let path = path.clone();
            let new = state::NewProject { project_id: format!("p{index}"), ..project() };
            runtime.spawn_blocking(move || SqliteStore::open(path, &new).unwrap())
        })
        .collect();
    let mut ids: Vec<String> = opened
        .into_iter()
        .map(|store| {
            let store = runtime.block_on(store).unwrap();
            runtime.block_on(store.project()).unwrap().project_id
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let left: Vec<_> = fs::read_dir(folder.path().join("deep"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
