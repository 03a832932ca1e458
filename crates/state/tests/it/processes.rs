//! Other processes: one that is killed at random moments, and one that works beside us.
//!
//! The other process is this test program again: it finds what to do in its environment.

use rusqlite::Connection;
use state::{
    Batch, SqliteStore, StateStore,
    contract::{at, batch, project, request, row, source, units},
    rows::NewBackfill,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const PATH: &str = "TIDEWATCH_TEST_STATE";
const ROUNDS: &str = "TIDEWATCH_TEST_ROUNDS";
const CELLS: usize = 60;

/// What an engine does, over and over: recover, then reserve, announce, settle.
///
/// Prints `announced N` and `settled N` after each.
#[expect(clippy::print_stdout, reason = "tells the other process")]
async fn work(path: PathBuf, rounds: u64) {
    let store = SqliteStore::open(path, &project()).unwrap();
    for batch in store.announced().await.unwrap() {
        store.settle(batch.number).await.unwrap();
        println!("\nsettled {}", batch.number);
    }
    let open: Vec<_> =
        store.open_attempts().await.unwrap().iter().map(|open| open.attempt).collect();
    store.release(&open).await.unwrap();
    for _ in 0..rounds {
        let granted = store.reserve(&request("eod", CELLS)).await.unwrap();
        let number = store.project().await.unwrap().next_batch;
        store.announce(batch_of(number, granted.first.0)).await.unwrap();
        println!("\nannounced {number}");
        store.settle(number).await.unwrap();
        println!("\nsettled {number}");
    }
}

/// Batch `n` sets its own day, and the day before it again.
fn batch_of(number: i64, first: i64) -> Batch {
    let mut rows = Vec::new();
    for day in [number - 1, number] {
        let day = jiff::civil::date(2026, 1, 1) + jiff::SignedDuration::from_hours(24 * day);
        for index in 0..CELLS {
            let mut row = row(&format!("E{index}"), &day.to_string(), model::CellState::Present);
            row.last_attempt = model::AttemptId(first + index as i64);
            row.looks = number as u32;
            rows.push(row);
        }
    }
    Batch {
        attempts: (first..first + CELLS as i64).map(model::AttemptId).collect(),
        observed_at_max: Some(at(number)),
        ..batch(number, "eod", rows)
    }
}

/// Not a test by itself: what the other process runs.
#[tokio::test]
async fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let rounds = std::env::var_os(ROUNDS).unwrap().into_string().unwrap().parse().unwrap();
    work(path.into(), rounds).await;
}

fn start(path: &Path, rounds: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::child", "--exact", "--nocapture"])
        .env(PATH, OsString::from(path))
        .env(ROUNDS, rounds.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The highest numbers that the process said, from what is left in its pipe.
fn said(lines: impl Iterator<Item = String>) -> BTreeMap<String, i64> {
    let mut said = BTreeMap::new();
    for line in lines {
        if let Some((verb @ ("announced" | "settled"), number)) = line.split_once(' ')
            && let Ok(number) = number.parse()
        {
            said.insert(verb.to_owned(), number);
        }
    }
    said
}

/// All that must hold of a store at any moment of that work. Its `next_batch`.
async fn check(path: &Path, said: &BTreeMap<String, i64>) -> i64 {
    let store = SqliteStore::open(path, &project()).unwrap();
    let found = store.project().await.unwrap();
    let announced = store.announced().await.unwrap();
    let open = store.open_attempts().await.unwrap();
    let cells = store.cells(&source("eod")).await.unwrap();
    let settled = found.next_batch - 1 - announced.len() as i64;

    assert!(announced.len() <= 1);
    assert!(announced.iter().all(|batch| batch.number == found.next_batch - 1));
    for batch in &announced {
        let first = batch.attempts.first().unwrap().0;
        assert_eq!(*batch, batch_of(batch.number, first), "kept whole");
    }
    assert!(said.get("announced").is_none_or(|number| *number < found.next_batch), "{said:?}");
    assert!(said.get("settled").is_none_or(|number| *number <= settled), "{said:?}");

    let days = if settled == 0 { 0 } else { settled as usize + 1 };
    assert_eq!(cells.len(), days * CELLS, "each batch is there whole or not at all");
    for (index, row) in cells.iter().enumerate() {
        let day = (index / CELLS) as i64;
        assert_eq!(i64::from(row.looks), (day + 1).min(settled), "the last batch of its day");
        assert!(row.last_attempt.0 < found.next_attempt);
    }
    assert_eq!(found.observed_at_max, (settled > 0).then(|| at(settled)));
    let counted: u64 = store.counts(at(0)).await.unwrap().iter().map(|count| count.cells).sum();
    assert_eq!(counted, cells.len() as u64);

    assert!(open.is_empty() || open.len() == CELLS, "one reservation at most");
    assert!(announced.is_empty() || open.len() == CELLS, "not closed before it is settled");
    // Paid: what was settled and what is open; the rest was released.
    let spent = store.spend(None).await.unwrap();
    let requests: u64 = spent.iter().map(|day| day.requests).sum();
    assert_eq!(requests, settled as u64 * CELLS as u64 + open.len() as u64);
    assert!(spent.iter().all(|day| day.spent == units(day.requests as i64)));
    found.next_batch
}

fn integrity(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_a_consistent_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut announced_when_killed = 0;
    for round in 0..40_u64 {
        let mut child = start(&path, u64::MAX);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // From the first announcement on (or before it, now and then), at another moment each time.
        if !round.is_multiple_of(8) {
            lines.by_ref().find(|line| line.starts_with("announced ")).unwrap();
        }
        tokio::time::sleep(Duration::from_micros(round * 1_737 % 30_000)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let said = said(lines);
        check(&path, &said).await;
        assert_eq!(integrity(&path), "ok", "round {round}");
        let store = SqliteStore::open_read_only(&path).unwrap();
        announced_when_killed += store.announced().await.unwrap().len();
    }
    assert!(announced_when_killed > 0, "no kill fell between announcing and settling");
    // A last one that is left alone heals what the last kill left.
    let child = start(&path, 3);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    check(&path, &said(output.stdout.lines().map_while(Result::ok))).await;
    let store = SqliteStore::open_read_only(&path).unwrap();
    assert!(store.announced().await.unwrap().is_empty());
    assert!(store.open_attempts().await.unwrap().is_empty());
}

#[tokio::test]
async fn two_processes_use_one_file_at_the_same_time() {
    const ROUNDS_BESIDE: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = SqliteStore::open(&path, &project()).unwrap();
    let mut child = start(&path, ROUNDS_BESIDE);
    let mut wishes = 0;
    let mut seen = 0;
    loop {
        let wish = NewBackfill {
            source: source("eod"),
            from: jiff::civil::date(2025, 1, 1),
            until: jiff::civil::date(2025, 1, 31),
            requested_at: at(wishes),
        };
        let before = store.generation().await.unwrap();
        wishes += 1;
        assert_eq!(store.add_backfill(&wish).await.unwrap(), wishes);
        assert!(store.generation().await.unwrap() > before);
        let looker = SqliteStore::open_read_only(&path).unwrap();
        let counted: u64 =
            looker.counts(at(0)).await.unwrap().iter().map(|count| count.cells).sum();
        assert!(counted >= seen, "cells are never taken back");
        assert!(counted.is_multiple_of(CELLS as u64), "a batch is seen whole or not at all");
        seen = counted;
        if child.try_wait().unwrap().is_some() {
            break;
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    check(&path, &said(output.stdout.lines().map_while(Result::ok))).await;
    assert_eq!(store.project().await.unwrap().next_batch, ROUNDS_BESIDE as i64 + 1);
    assert_eq!(store.backfills().await.unwrap().len() as i64, wishes);
}
