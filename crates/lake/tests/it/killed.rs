//! kill -9 at any moment: every committed batch is there exactly once.

use crate::{append, eager, later, numbers, prices, rows, table};
use lake::{DeltaLake, Lake};
use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

const CHILD: &str = "LAKE_TEST_CHILD_FOLDER";
const KILLS: u64 = 25;
const ROWS: i64 = 3;

/// The numbers of a batch.
fn of_batch(batch: i64) -> impl Iterator<Item = i64> {
    (batch * ROWS)..((batch + 1) * ROWS)
}

/// The child's part: appends and maintains until it is killed. Without the variable that the
/// parent sets it appends one batch, so that it shows something by itself too.
#[tokio::test]
async fn a_writer_goes_on_where_the_last_one_stopped() {
    let own = tempfile::tempdir().unwrap();
    let child = env::var_os(CHILD).map(PathBuf::from);
    let folder = child.clone().unwrap_or_else(|| own.path().to_path_buf());
    let lake = DeltaLake::open(&folder).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    let last = lake.last_batch(&table(), "engine").await.unwrap();
    let mut batch = last.map_or(0, |last| last + 1);
    loop {
        println!("staging");
        let files = lake.stage(&table(), vec![rows("A", of_batch(batch))]).await.unwrap();
        println!("staged");
        lake.commit(&table(), "engine", batch, &files).await.unwrap();
        println!("committed");
        if batch % 4 == 3 {
            lake.maintain(&table(), later(), &eager()).await.unwrap();
            println!("maintained");
        }
        batch += 1;
        if child.is_none() {
            break;
        }
    }
    assert_eq!(numbers(&lake).await, (0..batch * ROWS).collect::<Vec<_>>());
}

fn run_and_kill(folder: &std::path::Path, lines: usize, spins: u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::a_writer_goes_on_where_the_last_one_stopped", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let steps = output.lines().map(Result::unwrap).filter(|line| {
        ["staging", "staged", "committed", "maintained"].iter().any(|step| line.contains(step))
    });
    assert_eq!(steps.take(lines).count(), lines, "the writer ended by itself");
    // Somewhere within the step that follows.
    for _ in 0..spins {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn every_committed_batch_is_there_exactly_once_after_each_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut committed = -1;
    for kill in 0..KILLS {
        let lines = 1 + (kill as usize * 7) % 23;
        run_and_kill(folder.path(), lines, (kill * 7_919 % 97) * 20_000);
        let lake = DeltaLake::open(folder.path()).unwrap();
        let last = lake.last_batch(&table(), "engine").await.unwrap().unwrap_or(-1);
        assert!(last >= committed, "batch {committed} is lost, the last is {last}");
        committed = last;
        assert_eq!(numbers(&lake).await, (0..(last + 1) * ROWS).collect::<Vec<_>>());
    }
    assert!(committed > KILLS as i64, "only {committed} batches: the kills came too early");
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.maintain(&table(), later(), &eager()).await.unwrap();
    let orphans = lake.discard_orphans(&BTreeSet::new(), later()).await.unwrap();
    println!("{KILLS} kills, {} batches, {orphans} orphans", committed + 1);
    append(&lake, committed + 1, of_batch(committed + 1)).await;
    assert_eq!(numbers(&lake).await, (0..(committed + 2) * ROWS).collect::<Vec<_>>());
    let live = lake.files(&table()).await.unwrap().unwrap().paths;
    let on_disk = fs::read_dir(folder.path().join("data/prices")).unwrap();
    let on_disk: BTreeSet<_> =
        on_disk.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert_eq!(on_disk, live.into_iter().collect());
}
