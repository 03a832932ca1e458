//! One request for many entities, against a real server.

use crate::{
    harness::{Project, pause},
    looks::{Log, count, json, number, server},
};
use jiff::SignedDuration;
use std::{fmt::Write as _, net::SocketAddr};

/// An hour after the cells of these tests are due.
const NOW: &str = "2026-03-02T01:00:00Z";
/// Twelve hours later.
const EVENING: &str = "2026-03-02T13:00:00Z";

fn source(address: SocketAddr, entities: usize, more: &str) -> String {
    let names: Vec<String> = (0..entities).map(|at| format!("\"E{at}\"")).collect();
    format!(
        r#"
name = "eod"
[entities]
list = [{}]
[periods]
calendar = "daily"
from = "2026-03-01"
give_up_after = "36h"
[request]
url = "http://{address}/eod?symbols={{{{ entities | join(',') }}}}&date={{{{ period }}}}"
cost = 1.0
max_entities = 10
[retry]
first = "20ms"
max = "100ms"
attempts = 3
{more}
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
entity_field = "s"
[extract.fields]
s = {{ type = "text" }}
c = {{ type = "int" }}
[expect]
key = ["s"]
checks = [{{ equals_entity = "s" }}]
"#,
        names.join(", ")
    )
}

/// The entities that a request asks for.
fn asked(path: &str) -> Vec<String> {
    let query = path.split("symbols=").nth(1).unwrap_or("");
    let list = query.split('&').next().unwrap_or("");
    list.split(',').map(str::to_owned).collect()
}

/// An answer with a record of each of these.
fn data<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut records = String::new();
    let mut total = 0;
    for name in names {
        let comma = if total > 0 { "," } else { "" };
        let value = name.trim_start_matches('E').parse().unwrap_or(0);
        write!(records, "{comma}{{\"s\":\"{name}\",\"c\":{value}}}").unwrap();
        total += 1;
    }
    format!("{{\"total\":{total},\"data\":[{records}]}}")
}

fn paths(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_goes_to_the_cell_that_it_names() {
    let (address, log) = server(|_, path| {
        let names = asked(path);
        // Not in the order of the request, one nobody asked for among them, and E7 has not come.
        let came = names.iter().rev().map(String::as_str).filter(|name| *name != "E7");
        (200, json(), data(came.chain(["NOT-OURS"])))
    })
    .await;
    let project = Project::with_source("eod", &source(address, 25, ""));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET"), 3, "{:?}", paths(&log));

    let rows = project.sql("select _entity, s, c, _attempt from eod order by c");
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 24);
    for row in rows {
        assert_eq!(row["_entity"], row["s"]);
        let value: i64 = row["s"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(row["c"], value);
    }
    // The books have one attempt a request, with all it spoke for.
    let attempts = project.sql(
        "select count(*) as n, count(distinct attempt) as ids, sum(cells) as cells, \
         sum(records) as records, sum(cost) as cost from ledger.attempts",
    );
    assert_eq!(
        [&attempts[0]["n"], &attempts[0]["ids"], &attempts[0]["cells"], &attempts[0]["records"]],
        [3, 3, 25, 24]
    );
    assert!((number(&attempts[0]["cost"]) - 3.0).abs() < 1e-9);
    let cells =
        project.sql("select state, count(*) as n from ledger.cells group by state order by n");
    assert_eq!([&cells[0]["n"], &cells[1]["n"]], [1, 24], "{cells}");
    assert_eq!(cells[1]["state"], "present");

    // Each of them is explained by that attempt.
    for entity in ["E3", "E12", "E24"] {
        let told = project.ok(&["explain", "eod", entity, "2026-03-01", "--now", NOW]).stdout;
        assert!(told.contains("entities: "), "{told}");
        assert!(told.contains("symbols="), "{told}");
    }
    let waiting = project.ok(&["explain", "eod", "E7", "2026-03-01", "--now", NOW]).stdout;
    assert!(waiting.contains("state waiting"), "{waiting}");

    // What came is not asked for again.
    project.ok(&["run", "--once", "--now", EVENING]);
    let again = paths(&log);
    assert!(again[3..].iter().all(|path| asked(path) == ["E7"]), "{again:?}");

    // A lost state is made again from the tables, and nothing is loaded twice.
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(project.dir().join(".tidewatch").join(file));
    }
    project.ok(&["state", "rebuild"]);
    project.ok(&["run", "--once", "--now", EVENING]);
    assert_eq!(project.sql("select count(*) as n from eod")[0]["n"], 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_that_the_server_does_not_know_costs_the_others_nothing() {
    let (address, log) = server(|_, path| {
        let names = asked(path);
        if names.iter().any(|name| name == "E5") {
            return (404, json(), "{\"error\":\"unknown symbol\"}".to_owned());
        }
        (200, json(), data(names.iter().map(String::as_str)))
    })
    .await;
    let project = Project::with_source("eod", &source(address, 10, ""));
    let _ = project.run(&["run", "--once", "--now", NOW]);
    let present = project.sql("select count(*) as n from eod");
    assert_eq!(present[0]["n"], 9, "{:?}", paths(&log));
    // Halved until the one is alone: 10, 5 and 5, 2 and 2 and 1, and so on.
    assert!(count(&log, "GET") <= 12, "{:?}", paths(&log));
    let told = project.ok(&["explain", "eod", "E5", "2026-03-01", "--now", NOW]).stdout;
    assert!(told.contains("the next request asks for fewer"), "{told}");
    assert!(told.contains("404"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_name_nobody_who_was_asked_for_are_no_emptiness() {
    let (address, _log) = server(|_, _| (200, json(), data(["e0", "e1"]))).await;
    let project = Project::with_source("eod", &source(address, 2, ""));
    let _ = project.run(&["run", "--once", "--now", NOW]);
    let found = project.sql("select outcome, detail from ledger.attempts limit 1");
    assert_eq!(found[0]["outcome"], "parse_error");
    let detail = found[0]["detail"].as_str().unwrap();
    assert!(detail.contains("none names an entity that was asked for: `e0`, `e1`"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_that_wait_ride_along_with_a_call_that_is_made_anyway() {
    let (address, log) = server(|_, path| {
        let names = asked(path);
        (200, json(), data(names.iter().map(String::as_str).filter(|name| *name != "E1")))
    })
    .await;
    let more = "[arrival]\nlearn = false\n[budget]\nper_period = 2";
    let project = Project::with_source("eod", &source(address, 8, more));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET"), 1, "a budget counts requests: {:?}", paths(&log));
    let arrivals = project.sql("select count(*) as n from ledger.arrivals where look = 'paid'");
    assert_eq!(arrivals[0]["n"], 7);

    // Another entity is due; the one that was to be looked at half an hour later is asked for too.
    project.write("sources/eod.toml", &source(address, 9, more));
    project.ok(&["run", "--once", "--now", "2026-03-02T01:05:00Z"]);
    let seen = paths(&log);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let mut together = asked(&seen[1]);
    together.sort();
    assert_eq!(together, ["E1", "E8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_nothing_is_lost_or_doubled() {
    const ENTITIES: usize = 35;
    const DAYS: usize = 28;
    let (address, _log) = server(|_, path| {
        pause(SignedDuration::from_millis(100));
        (200, json(), data(asked(path).iter().map(String::as_str)))
    })
    .await;
    let text = source(address, ENTITIES, "[limit]\nconcurrency = 4\nlearn = false")
        .replace("from = \"2026-03-01\"", "from = \"2026-02-02\"")
        .replace("give_up_after = \"36h\"", "give_up_after = \"60d\"");
    let project = Project::with_source("eod", &text);
    // Small commits, so that kills fall into all of their steps.
    project.write("tidewatch.toml", "commit = { rows = 40, every = \"50ms\" }\n");
    for life in 0..8 {
        let mut child = project.spawn(&["run", "--once", "--now", NOW]);
        pause(SignedDuration::from_millis(150 + life * 90 % 400));
        let _ = child.kill();
        let _ = child.wait();
    }
    project.ok(&["run", "--once", "--now", NOW]);
    let found = project.sql(
        "select count(*) as n, count(distinct _entity || _period) as cells, \
         sum(case when _entity = s then 0 else 1 end) as strange from eod",
    );
    let all = ENTITIES * DAYS;
    assert_eq!([&found[0]["n"], &found[0]["cells"], &found[0]["strange"]], [all, all, 0]);
    let spent = project.ok(&["spend", "--json"]).json();
    let booked = project.sql("select sum(cost) as cost from ledger.attempts");
    assert!((number(&spent["total"]) - number(&booked[0]["cost"])).abs() < 1e-6);
}
