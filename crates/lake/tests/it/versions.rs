//! A table over its life: reopened, compacted, swept, damaged, out of reach.

use crate::{append, eager, later, numbers, prices, rows, table};
use jiff::SignedDuration;
use lake::{DeltaLake, Lake, LakeError, Maintenance, MaintenanceReport};
use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn log(folder: &Path) -> std::path::PathBuf {
    folder.join("data/prices/_delta_log")
}

#[tokio::test]
async fn a_reopened_lake_has_its_rows_and_batches_with_and_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    // A name that must not be taken for a pattern or a URL.
    let open = || DeltaLake::open(&folder.path().join("a b#c%20[é]*?")).unwrap();
    let lake = open();
    lake.ensure(&table(), prices()).await.unwrap();
    for batch in 0..10 {
        append(&lake, batch, [batch]).await;
    }
    let staged = lake.stage(&table(), vec![rows("A", [10])]).await.unwrap();
    let lake = open();
    assert_eq!(numbers(&lake).await, (0..10).collect::<Vec<_>>());
    lake.commit(&table(), "engine", 10, &staged).await.unwrap();
    let report = lake.maintain(&table(), later(), &eager()).await.unwrap();
    assert_eq!((report.files_replaced, report.checkpoint), (11, Some(12)));
    for reopened in [lake, open(), open()] {
        assert_eq!(numbers(&reopened).await, (0..11).collect::<Vec<_>>());
        assert_eq!(reopened.last_batch(&table(), "engine").await.unwrap(), Some(10));
        assert_eq!(reopened.last_batch(&table(), "other").await.unwrap(), None);
        let again = reopened.stage(&table(), vec![rows("A", [99])]).await.unwrap();
        assert!(reopened.commit(&table(), "engine", 10, &again).await.unwrap().already);
        let files = reopened.files(&table()).await.unwrap().unwrap();
        assert_eq!((files.rows, files.paths.len()), (11, 1));
        assert!(files.paths[0].is_absolute() && files.paths[0].is_file());
    }
}

#[tokio::test]
async fn replaced_files_and_old_entries_stay_as_long_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    let data = folder.path().join("data/prices");
    let patient = Maintenance {
        keep_removed: SignedDuration::from_hours(1),
        log_retention: SignedDuration::from_hours(1),
        ..eager()
    };
    let now = later();
    for batch in 0..5 {
        append(&lake, batch, [batch]).await;
    }
    let report = lake.maintain(&table(), now, &patient).await.unwrap();
    assert_eq!((report.files_replaced, report.files_deleted), (5, 0));
    assert_eq!(names(&data).len(), 5 + 1 + 1, "old files, the new one, the log");
    let report = lake.maintain(&table(), now + SignedDuration::from_mins(59), &patient).await;
    assert_eq!(report.unwrap(), MaintenanceReport::default());
    let report = lake.maintain(&table(), now + SignedDuration::from_mins(60), &patient).await;
    assert_eq!(report.unwrap().files_deleted, 5);
    assert_eq!(names(&data).len(), 2);
    for batch in 5..20 {
        append(&lake, batch, [batch]).await;
        lake.maintain(&table(), now, &eager()).await.unwrap();
    }
    assert!(names(&log(folder.path())).len() < 12, "{:?}", names(&log(folder.path())));
    let reopened = DeltaLake::open(folder.path()).unwrap();
    assert_eq!(numbers(&reopened).await, (0..20).collect::<Vec<_>>());
    assert_eq!(reopened.last_batch(&table(), "engine").await.unwrap(), Some(19));
}

#[tokio::test]
async fn replaced_files_are_deleted_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data/prices");
    let patient =
        Maintenance { keep_removed: SignedDuration::from_hours(24 * 365 * 200), ..eager() };
    {
        let lake = DeltaLake::open(folder.path()).unwrap();
        lake.ensure(&table(), prices()).await.unwrap();
        for batch in 0..6 {
            append(&lake, batch, [batch]).await;
        }
        lake.maintain(&table(), later(), &patient).await.unwrap();
    }
    assert_eq!(names(&data).len(), 6 + 1 + 1);
    let lake = DeltaLake::open(folder.path()).unwrap();
    let never = BTreeSet::new();
    assert_eq!(lake.discard_orphans(&never, later()).await.unwrap(), 0, "removed is not orphaned");
    assert_eq!(lake.maintain(&table(), later(), &eager()).await.unwrap().files_deleted, 6);
    assert_eq!(names(&data).len(), 2);
    assert_eq!(numbers(&lake).await, (0..6).collect::<Vec<_>>());
}

#[tokio::test]
async fn leftovers_of_a_killed_writer_are_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    append(&lake, 0, [0]).await;
    let leftover = log(folder.path()).join("00000000000000000002.json#17");
    fs::write(&leftover, "{").unwrap();
    fs::write(folder.path().join("data/prices/part-half.parquet"), "PAR1").unwrap();
    fs::write(folder.path().join("data/prices/notes.txt"), "someone's").unwrap();
    let long_ago = "2000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(lake.discard_orphans(&BTreeSet::new(), long_ago).await.unwrap(), 0);
    assert_eq!(numbers(&lake).await, [0]);
    assert_eq!(lake.discard_orphans(&BTreeSet::new(), later()).await.unwrap(), 2);
    assert!(!leftover.exists());
    assert_eq!(names(&folder.path().join("data/prices")).len(), 3, "log, file, notes");
    append(&lake, 1, [1]).await;
    assert_eq!(numbers(&lake).await, [0, 1]);
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_nothing_is_read_or_written() {
    for damage in ["", "{\"add\":{\"path\":", "not json\n", "{\"unheardOf\":{}}\n", "\u{0}\u{0}"] {
        let folder = tempfile::tempdir().unwrap();
        let lake = DeltaLake::open(folder.path()).unwrap();
        lake.ensure(&table(), prices()).await.unwrap();
        append(&lake, 0, [0]).await;
        append(&lake, 1, [1]).await;
        let files = lake.stage(&table(), vec![rows("A", [2])]).await.unwrap();
        let entry = log(folder.path()).join("00000000000000000001.json");
        let whole = fs::read(&entry).unwrap();
        fs::write(&entry, damage).unwrap();
        let before = names(&log(folder.path()));
        let lake = DeltaLake::open(folder.path()).unwrap();
        for error in [
            lake.scan(&table(), lake::Scan::default()).await.unwrap_err(),
            lake.commit(&table(), "engine", 2, &files).await.unwrap_err(),
            lake.ensure(&table(), prices()).await.unwrap_err(),
        ] {
            assert!(matches!(error, LakeError::Damaged { .. }), "{damage:?}: {error}");
            let text = error.to_string();
            assert!(text.contains("data/prices"), "{text}");
            assert!(text.contains("00000000000000000001.json"), "{text}");
        }
        assert_eq!(names(&log(folder.path())), before);
        fs::write(&entry, whole).unwrap();
        lake.commit(&table(), "engine", 2, &files).await.unwrap();
        assert_eq!(numbers(&lake).await, [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_missing_entry_and_a_broken_checkpoint_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    append(&lake, 0, [0]).await;
    append(&lake, 1, [1]).await;
    let entry = log(folder.path()).join("00000000000000000001.json");
    let whole = fs::read(&entry).unwrap();
    fs::remove_file(&entry).unwrap();
    let error = numbers_error(folder.path()).await;
    assert!(error.contains("00000000000000000001.json") && error.contains("missing"), "{error}");
    fs::write(&entry, whole).unwrap();
    append(&lake, 2, [2]).await;
    lake.maintain(&table(), later(), &Maintenance { compact_at_files: 99, ..eager() })
        .await
        .unwrap();
    let checkpoint = log(folder.path()).join("00000000000000000003.checkpoint.parquet");
    fs::write(&checkpoint, "PAR1").unwrap();
    let error = numbers_error(folder.path()).await;
    assert!(error.contains("data/prices") && error.contains("damaged"), "{error}");
}

async fn numbers_error(folder: &Path) -> String {
    let lake = DeltaLake::open(folder).unwrap();
    lake.scan(&table(), lake::Scan::default()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_damaged_or_missing_data_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    append(&lake, 0, [0]).await;
    let path = lake.files(&table()).await.unwrap().unwrap().paths.remove(0);
    fs::write(&path, "no parquet").unwrap();
    let error = lake.scan(&table(), lake::Scan::default()).await.unwrap_err();
    assert!(matches!(&error, LakeError::Damaged { path: named, .. } if *named == path), "{error}");
    fs::remove_file(&path).unwrap();
    let error = lake.scan(&table(), lake::Scan::default()).await.unwrap_err();
    assert!(matches!(&error, LakeError::Storage { path: named, .. } if *named == path), "{error}");
}

#[tokio::test]
async fn a_folder_out_of_reach_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = DeltaLake::open(&folder.path().join("file/lake")).unwrap_err();
    assert!(error.to_string().contains("file/lake"), "{error}");
    let lake = DeltaLake::open(folder.path()).unwrap();
    fs::write(folder.path().join("data"), "").unwrap();
    let error = lake.ensure(&table(), prices()).await.unwrap_err();
    assert!(error.to_string().contains("data/prices"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_place_is_a_matter_of_permission() {
    // Not even root creates a folder there.
    let error = DeltaLake::open(Path::new("/sys/tidewatch-lake")).unwrap_err();
    assert!(matches!(error, LakeError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("no permission"), "{error}");
}

/// The part of a child whose files may not grow beyond some kilobytes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_write_that_does_not_fit_is_a_full_disk() {
    let Some(folder) = env::var_os(FULL) else { return run_on_a_full_disk().await };
    let lake = DeltaLake::open(Path::new(&folder)).unwrap();
    let many = rows("A", (0..200_000_i64).map(|n| n.wrapping_mul(0x5851_F42D_4C95_7F2D)));
    let error = lake.stage(&table(), vec![many]).await.unwrap_err();
    assert!(matches!(error, LakeError::DiskFull { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("no space left") && text.contains("data/prices"), "{text}");
}

#[cfg(target_os = "linux")]
const FULL: &str = "LAKE_TEST_FULL_FOLDER";

#[cfg(target_os = "linux")]
async fn run_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    append(&lake, 0, [0]).await;
    let before = names(&folder.path().join("data/prices"));
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "versions::a_write_that_does_not_fit_is_a_full_disk"])
        .env(FULL, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
    assert_eq!(names(&folder.path().join("data/prices")), before, "nothing half is left");
    append(&lake, 1, [1]).await;
    assert_eq!(numbers(&lake).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn paused_time_does_not_stop_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    for batch in 0..5 {
        append(&lake, batch, [batch]).await;
    }
    assert!(lake.maintain(&table(), later(), &eager()).await.unwrap().checkpoint.is_some());
    let reopened = DeltaLake::open(folder.path()).unwrap();
    assert_eq!(numbers(&reopened).await, [0, 1, 2, 3, 4]);
}
