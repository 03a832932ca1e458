//! Killed at any moment, the project heals: every record exactly once, every cell accounted,
//! budgets add up.

use crate::harness::{NOW, Project, eod_source, exchange, pause, tickers, transient_faults};
use jiff::SignedDuration;
use sim::exchange::World;
use std::collections::BTreeMap;

/// How often it is killed; `TIDEWATCH_KILLS` says otherwise.
const KILLS: u64 = 25;
/// Requests per second: slow enough that there is work left at the last kill.
const RATE: u64 = 400;

fn kills() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the number of kills is the caller's choice")]
    std::env::var("TIDEWATCH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_killed_at_random_moments_has_every_record_exactly_once() {
    let kills = kills();
    // About 0.35 s of work between two kills, and some left for the end.
    let cells = (kills * RATE * 35 / 100 + 1_000).max(2_000);
    let days = 25;
    let (world, exchange) =
        exchange((cells / days) as usize, days as usize, transient_faults()).await;
    let project = Project::with_source(
        "eod",
        &eod_source(&exchange, &format!("[limit]\nrate = {RATE}\nburst = 40\nconcurrency = 16")),
    );
    project.write("tickers.csv", &tickers(&world));
    // Small commits, so that kills fall into all of their steps.
    project.write("tidewatch.toml", "commit = { rows = 40, every = \"50ms\" }\n");

    let mut chance = env::Entropy::from_seed(7).child("kills");
    let mut killed = 0;
    for _ in 0..kills {
        let mut child = project.spawn(&["run", "--once", "--now", NOW]);
        pause(SignedDuration::from_millis(40 + chance.below(620) as i64));
        if child.try_wait().unwrap().is_none() {
            killed += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        killed * 10 >= kills * 8,
        "the work ended too early: only {killed} of {kills} kills hit a running engine"
    );
    project.ok(&["run", "--once", "--now", NOW]);
    check_tables(&project, &world);
    check_books(&project, killed);
    check_files(&project);
    drop(exchange);
}

/// Every record of the world is in the table exactly once, with its exact values.
fn check_tables(project: &Project, world: &World) {
    let rows = project.sql("select _entity, _period, date, close, volume, _tombstone from eod");
    let mut found: BTreeMap<(String, String), Vec<serde_json::Value>> = BTreeMap::new();
    for row in rows.as_array().unwrap() {
        let key = (
            row["_entity"].as_str().unwrap().to_owned(),
            row["_period"].as_str().unwrap().to_owned(),
        );
        found.entry(key).or_default().push(row.clone());
    }
    let mut expected = 0;
    for truth in world.truth() {
        let rows = found.remove(&(truth.entity.clone(), truth.day.to_string())).unwrap_or_default();
        match truth.arrived_at {
            None => assert!(
                rows.is_empty(),
                "{} {} never came, but is there: {rows:?}",
                truth.entity,
                truth.day
            ),
            Some(_) => {
                expected += 1;
                assert_eq!(rows.len(), 1, "{} {}: {rows:?}", truth.entity, truth.day);
                let record: serde_json::Value = serde_json::from_str(&truth.record).unwrap();
                assert_eq!(rows[0]["date"], record["t"]);
                assert_eq!(rows[0]["volume"], record["v"]);
                let close: f64 = rows[0]["close"].to_string().trim_matches('"').parse().unwrap();
                assert!(
                    (close - record["c"].as_f64().unwrap()).abs() < 1e-9,
                    "{} {}",
                    rows[0],
                    truth.record
                );
            }
        }
    }
    assert!(found.is_empty(), "rows of cells that nobody expects: {found:?}");
    assert!(expected > 100);
}

/// Each expected cell is accounted, and what was spent is what the ledger says.
fn check_books(project: &Project, killed: u64) {
    let status = project.ok(&["status", "--json", "--now", NOW]).json();
    let source = &status[0];
    assert_eq!(source["unasked"], 0, "{source}");
    let open = source["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["state"] == "waiting")
        .count();
    assert_eq!(open, 0, "{source}");
    let spend = project.ok(&["spend", "--json"]).json();
    let ledger = project.sql("select count(*) as attempts, count(distinct attempt) as numbers, sum(cost) as cost from ledger.attempts");
    assert_eq!(ledger[0]["attempts"], ledger[0]["numbers"], "an attempt is in the ledger twice");
    let spent: f64 = spend["total"].as_f64().unwrap();
    let booked: f64 = ledger[0]["cost"].to_string().trim_matches('"').parse().unwrap();
    assert!((spent - booked).abs() < 1e-6, "spent {spent}, booked {booked}");
    let cut_off =
        project.sql("select count(*) as n from ledger.attempts where detail like 'not accounted%'");
    assert!(
        killed == 0 || cut_off[0]["n"].as_u64().unwrap() > 0,
        "no kill hit an attempt in flight"
    );
    let doubled = project.sql("select count(*) - count(distinct _record_id) as n from eod");
    assert_eq!(doubled[0]["n"], 0);
}

/// Nothing lies in the table's folder that no log entry names.
fn check_files(project: &Project) {
    for table in ["data/eod", "ledger/attempts", "ledger/cells"] {
        let folder = project.lake_path().join(table);
        let log: String = std::fs::read_dir(folder.join("_delta_log"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "json"))
            .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
            .collect();
        let checkpointed = std::fs::read_dir(folder.join("_delta_log"))
            .unwrap()
            .flatten()
            .any(|entry| entry.path().to_string_lossy().contains("checkpoint"));
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".parquet") && !checkpointed {
                assert!(log.contains(&name), "{table}/{name} is in no log entry");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_says_so_and_ends_with_4() {
    let (world, exchange) = exchange(20, 10, transient_faults()).await;
    let project = Project::with_source("eod", &eod_source(&exchange, "[limit]\nrate = 20"));
    project.write("tickers.csv", &tickers(&world));
    let mut first = project.spawn(&["run", "--now", NOW]);
    let lock = project.dir().join(".tidewatch/engine.lock");
    for _ in 0..200 {
        if lock.exists() && project.state_path().exists() {
            break;
        }
        pause(SignedDuration::from_millis(25));
    }
    let second = project.run(&["run", "--once", "--now", NOW]);
    assert_eq!(second.code, 4, "{}", second.stderr);
    assert!(second.stderr.contains("another engine holds this project"), "{}", second.stderr);
    // A wish beside it is handed over, not refused.
    let wish = project.ok(&[
        "backfill",
        "eod",
        "--from",
        "2025-11-10",
        "--to",
        "2025-11-14",
        "--now",
        NOW,
        "--json",
    ]);
    assert_eq!(wish.json()["enqueued"], true);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_engine_finishes_what_is_in_flight() {
    let (world, exchange) = exchange(50, 10, transient_faults()).await;
    let project = Project::with_source("eod", &eod_source(&exchange, "[limit]\nrate = 100"));
    project.write("tickers.csv", &tickers(&world));
    let mut engine = project.spawn(&["run", "--now", NOW]);
    pause(SignedDuration::from_millis(2_500));
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &engine.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = engine.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let cut_off = project.sql("select count(*) as n, sum(case when detail like 'not accounted%' then 1 else 0 end) as cut from ledger.attempts");
    assert!(cut_off[0]["n"].as_u64().unwrap() > 20, "{cut_off}");
    // Nothing is left for a next start to mend: all money reserved is booked or given back.
    let spend = project.ok(&["spend", "--json"]).json();
    let requests: u64 =
        spend["rows"].as_array().unwrap().iter().map(|row| row["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, cut_off[0]["n"].as_u64().unwrap());
    assert_eq!(cut_off[0]["cut"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_is_rebuilt_from_the_ledger_and_nothing_is_asked_or_written_twice() {
    let (world, exchange) = exchange(40, 10, transient_faults()).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["run", "--once", "--now", NOW]);
    let before = project.ok(&["status", "--json", "--now", NOW]).json();
    let spent = project.ok(&["spend", "--json"]).json();
    for file in state::SqliteStore::files(project.state_path()) {
        let _ = std::fs::remove_file(file);
    }
    let refused = project.run(&["run", "--once", "--now", NOW]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("tidewatch state rebuild"), "{}", refused.stderr);
    project.ok(&["state", "rebuild", "--now", NOW]);
    let after = project.ok(&["status", "--json", "--now", NOW]).json();
    assert_eq!(before[0]["cells"], after[0]["cells"]);
    assert_eq!(spent, project.ok(&["spend", "--json"]).json());
    let again = project.ok(&["run", "--once", "--now", NOW, "--json"]).json();
    assert_eq!(again["requests"], 0, "{again}");
    check_tables(&project, &world);
}
