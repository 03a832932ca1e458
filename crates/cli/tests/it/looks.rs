//! Looks of different price, against a real server: HEAD, pages, feeds, lies, budgets, the books.

use crate::harness::{Project, pause};
use jiff::SignedDuration;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// When the cells of these tests are due.
const DUE: &str = "2026-03-02T00:00:00Z";
/// An hour later.
const NOW: &str = "2026-03-02T01:00:00Z";
/// After their deadline.
const LATE: &str = "2026-03-03T13:00:00Z";

/// Requests by their first line.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// Answers `METHOD /path` by a rule: status, more headers, body. What the body of a HEAD would
/// have been gives its length.
pub(crate) async fn server(
    rule: impl Fn(&str, &str) -> (u16, String, String) + Send + Sync + 'static,
) -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let (rule, kept) = (Arc::new(rule), Arc::clone(&log));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (rule, log) = (Arc::clone(&rule), Arc::clone(&kept));
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let mut words = text.split_whitespace();
                let (method, path) =
                    (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
                log.lock().unwrap().push(format!("{method} {path}"));
                let asks_again = text.to_ascii_lowercase().contains("if-none-match");
                let path = if asks_again { format!("{path}&again") } else { path };
                let (status, headers, body) = rule(&method, &path);
                let length = body.len();
                let body = if method == "HEAD" { "" } else { &body };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, log)
}

pub(crate) fn count(log: &Log, beginning: &str) -> usize {
    log.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
}

fn source(address: SocketAddr, entities: &str, arrival: &str) -> String {
    format!(
        r#"
name = "eod"
[entities]
list = [{entities}]
[periods]
calendar = "daily"
from = "2026-03-01"
give_up_after = "36h"
[request]
url = "http://{address}/eod/{{{{ entity }}}}?date={{{{ period }}}}"
cost = 1.0
[retry]
first = "20ms"
max = "100ms"
attempts = 3
{arrival}
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
[extract.fields]
c = {{ type = "int" }}
"#
    )
}

const DATA: &str = r#"{"total":1,"data":[{"c":1}]}"#;
const NOTHING: &str = r#"{"total":0,"data":[]}"#;
const HEAD: &str =
    "[arrival]\nlearn = false\nhead = { ready = \"content_length > 22\", cost = 0.01 }";

pub(crate) fn json() -> String {
    "content-type: application/json\r\n".to_owned()
}

/// The attempts of the ledger by the kind of look.
fn attempts(project: &Project) -> BTreeMap<String, u64> {
    let rows = project.sql("select look, count(*) as n from ledger.attempts group by look");
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| (row["look"].as_str().unwrap_or("-").to_owned(), row["n"].as_u64().unwrap()))
        .collect()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.to_string().trim_matches('"').parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_says_no_saves_the_paid_call_and_one_that_says_yes_leads_to_it() {
    let (address, log) = server(|_, path| {
        let body = if path.contains("/A?") { DATA } else { NOTHING };
        (200, json(), body.to_owned())
    })
    .await;
    let project = Project::with_source("eod", &source(address, "\"A\", \"B\", \"C\"", HEAD));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!((count(&log, "HEAD"), count(&log, "GET /eod/A")), (3, 1));
    // At most one more is paid for, to see whether the HEAD speaks the truth.
    assert!(count(&log, "GET") <= 2, "{log:?}");
    let found = project.sql("select * from ledger.arrivals");
    let row = &found[0];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(
        [&row["entity"], &row["period"], &row["state"], &row["look"]],
        ["A", "2026-03-01", "arrived", "head"]
    );
    assert_eq!(row["not_before"], Value::Null);
    assert!(row["seen_at"].as_str().unwrap().starts_with("2026-03-02"), "{row}");
    let status = project.ok(&["explain", "eod", "A", "2026-03-01"]).stdout;
    assert!(status.contains("HEAD says ready"), "{status}");
    let waiting = project.ok(&["explain", "eod", "B", "2026-03-01", "--now", NOW]).stdout;
    assert!(waiting.contains("state waiting"), "{waiting}");
    let spend = project.ok(&["spend", "--json"]).json();
    let booked = project.sql("select sum(cost) as cost from ledger.attempts");
    assert!((number(&spend["total"]) - number(&booked[0]["cost"])).abs() < 1e-6);

    // What never comes ends with a cause, and by a paid call.
    project.ok(&["run", "--once", "--now", LATE]);
    let ended =
        project.sql("select * from ledger.arrivals where entity = 'B' and period = '2026-03-01'");
    assert_eq!(ended[0]["state"], "censored");
    assert_eq!(ended[0]["reason"], "never_came");
    assert!(ended[0]["not_before"].is_string(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_head_is_taken_the_paid_call_is_made_and_says_so() {
    let (address, log) = server(|method, _| match method {
        "HEAD" => (405, String::new(), String::new()),
        _ => (200, json(), DATA.to_owned()),
    })
    .await;
    let project = Project::with_source("eod", &source(address, "\"A\", \"B\"", HEAD));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!((count(&log, "HEAD"), count(&log, "GET")), (2, 2));
    let explained = project.ok(&["explain", "eod", "A", "2026-03-01"]).stdout;
    assert!(explained.contains("the server takes no HEAD (405)"), "{explained}");
    assert_eq!(project.sql("select count(*) as n from ledger.arrivals")[0]["n"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_lies_is_noticed_and_soon_not_asked_any_more() {
    let (address, log) = server(|method, _| match method {
        "HEAD" => (200, json(), DATA.to_owned()),
        _ => (200, json(), NOTHING.to_owned()),
    })
    .await;
    let names = (0..12).map(|at| format!("\"E{at}\"")).collect::<Vec<_>>().join(", ");
    let limit = format!("[limit]\nconcurrency = 1\nlearn = false\n{HEAD}");
    let project = Project::with_source("eod", &source(address, &names, &limit));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET"), 12);
    let explained = project.ok(&["explain", "eod", "E0", "2026-03-01", "--now", NOW]).stdout;
    assert!(explained.contains("the head look was wrong to say that data is there"), "{explained}");
    assert!(explained.contains("head look: not trusted"), "{explained}");
    let heads = count(&log, "HEAD");
    // The next day's cells are asked for without it.
    project.ok(&["run", "--once", "--now", "2026-03-03T01:00:00Z"]);
    assert!(count(&log, "HEAD") <= heads + 1, "{} of {heads}", count(&log, "HEAD"));
    assert_eq!(count(&log, "GET /eod/E3?date=2026-03-02"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_speaks_for_many_entities() {
    let page = "<!doctype html><table><tr><td class=s data-s=\"A\">x<td class=s data-s=\" B \">\
                <td class=s data-s=\"NOT-OURS\"><td class=s data-s=\"../../etc\"><td class=s>";
    let (address, log) = server(move |_, path| match path {
        "/ready?2026-03-01" => (200, "content-type: text/html\r\n".to_owned(), page.to_owned()),
        _ => (200, json(), DATA.to_owned()),
    })
    .await;
    let arrival = format!(
        "[arrival]\nlearn = false\npage = {{ url = \"http://{address}/ready?{{{{ period }}}}\", \
         select = \"td.s\", entity = \"data-s\", cost = 0.05 }}"
    );
    let names = "\"A\", \"B\", \"C\", \"D\"";
    let project = Project::with_source("eod", &source(address, names, &arrival));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET /ready"), 1, "{log:?}");
    assert_eq!((count(&log, "GET /eod/A"), count(&log, "GET /eod/B")), (1, 1));
    assert!(count(&log, "GET /eod") <= 3, "one audit at most: {log:?}");
    let looks = project.sql("select cells, cost, archive from ledger.attempts where look = 'page'");
    assert_eq!(looks[0]["cells"], 4);
    assert!((number(&looks[0]["cost"]) - 0.05).abs() < 1e-9);
    assert!(looks[0]["archive"].is_string(), "{looks}");
    let came =
        project.sql("select entity from ledger.arrivals where look = 'page' order by entity");
    assert_eq!(came[0]["entity"], "A");
    assert_eq!(came[1]["entity"], "B");
    assert_eq!(attempts(&project)["page"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_speaks_of_what_was_published_since_the_periods_end() {
    let feed = "<?xml version=\"1.0\"?><rss><channel>\
        <item><title>AB is ready</title><pubDate>Mon, 02 Mar 2026 00:30:00 GMT</pubDate></item>\
        <item><title>CD is ready</title><pubDate>Sun, 01 Mar 2026 00:30:00 GMT</pubDate></item>\
        <item><title>&amp; EF-XX, etc.</title></item></channel></rss>";
    let (address, log) = server(move |_, path| match path {
        "/feed" => (200, "content-type: application/rss+xml\r\n".to_owned(), feed.to_owned()),
        _ => (200, json(), DATA.to_owned()),
    })
    .await;
    let arrival = format!(
        "[arrival]\nlearn = false\nfeed = {{ url = \"http://{address}/feed\", cost = 0.05 }}"
    );
    let names = "\"AB\", \"CD\", \"EF-XX\", \"GH\"";
    let project = Project::with_source("eod", &source(address, names, &arrival));
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET /feed"), 1, "{log:?}");
    assert_eq!((count(&log, "GET /eod/AB"), count(&log, "GET /eod/EF-XX")), (1, 1), "{log:?}");
    let came = project.sql("select count(*) as n from ledger.arrivals where look = 'feed'");
    assert_eq!(came[0]["n"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_pages_name_nobody_and_nothing_is_lost() {
    let huge = format!("<ul>{}</ul>", "<li>A</li>".repeat(1_000_000));
    let deep = "<div>".repeat(200_000);
    for (content_type, page) in [
        ("text/html", huge),
        ("text/html", deep),
        ("text/html", "\u{0}\u{1}<li".repeat(1_000)),
        ("application/octet-stream", "PK\u{3}\u{4}".repeat(5_000)),
        ("text/html", String::new()),
    ] {
        let (address, log) = server(move |_, path| {
            if path.starts_with("/eod") {
                (200, json(), DATA.to_owned())
            } else {
                (200, format!("content-type: {content_type}\r\n"), page.clone())
            }
        })
        .await;
        let arrival = format!(
            "[arrival]\nlearn = false\npage = {{ url = \"http://{address}/p?{{{{ period }}}}\", select = \"li\" }}"
        );
        let project = Project::with_source("eod", &source(address, "\"A\"", &arrival));
        let ran = project.run(&["run", "--once", "--now", NOW]);
        assert!(matches!(ran.code, 0 | 3), "{}", ran.stderr);
        // Its deadline is over: whatever the page says, the cell is asked for.
        project.ok(&["run", "--once", "--now", LATE]);
        let present = project.sql("select count(*) as n from eod where _period = '2026-03-01'");
        assert_eq!(present[0]["n"], 1, "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_period_and_no_month_costs_more_than_its_budget_however_often_it_is_killed() {
    let (address, log) = server(|_, _| (200, json(), DATA.to_owned())).await;
    let names = (0..60).map(|at| format!("\"E{at}\"")).collect::<Vec<_>>().join(", ");
    let budget = format!(
        "[budget]\nper_period = 20\nper_month = 33\n[limit]\nrate = 40\nlearn = false\n{HEAD}"
    );
    let text = source(address, &names, &budget);
    let project = Project::with_source("eod", &text);
    project.write("tidewatch.toml", "commit = { rows = 5, every = \"50ms\" }\n");
    for round in 0..6 {
        let mut child = project.spawn(&["run", "--once", "--now", "2026-03-04T01:00:00Z"]);
        pause(SignedDuration::from_millis(150 + 130 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = project.run(&["run", "--once", "--now", "2026-03-04T01:00:00Z"]);
    assert_eq!(ran.code, 3, "a spent budget leaves work undone\n{}", ran.stderr);
    let by_period =
        project.sql("select period, sum(cost) as cost from ledger.attempts group by period");
    for row in by_period.as_array().unwrap() {
        assert!(number(&row["cost"]) <= 20.0, "{by_period}");
    }
    let all = project.sql("select sum(cost) as cost from ledger.attempts");
    assert!(number(&all[0]["cost"]) <= 33.0, "{all}");
    assert!(number(&all[0]["cost"]) > 15.0, "the budget is there to be spent: {all}");
    assert!(count(&log, "GET") <= 33);
    let spend = project.ok(&["spend", "--json"]).json();
    assert!((number(&spend["total"]) - number(&all[0]["cost"])).abs() < 1e-6, "{spend}");

    // A lost state comes back with what was spent on each period.
    for file in state::SqliteStore::files(project.state_path()) {
        let _ = std::fs::remove_file(file);
    }
    project.ok(&["state", "rebuild", "--now", "2026-03-04T01:00:00Z"]);
    let before = count(&log, "GET");
    project.run(&["run", "--once", "--now", "2026-03-04T01:00:00Z"]);
    assert_eq!(count(&log, "GET"), before, "nothing is paid for twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_the_same_costs_what_is_declared_for_it() {
    let (address, log) = server(|_, path| {
        let etag = "content-type: application/json\r\netag: \"e\"\r\n".to_owned();
        if path.ends_with("&again") {
            (304, etag, String::new())
        } else {
            (200, etag, NOTHING.to_owned())
        }
    })
    .await;
    let project = Project::with_source(
        "eod",
        &source(address, "\"A\"", "[arrival]\nlearn = false\nconditional = { cost = 0.1 }"),
    );
    project.ok(&["run", "--once", "--now", DUE]);
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(count(&log, "GET"), 2);
    let looks = project.sql("select look, cost from ledger.attempts order by attempt");
    assert_eq!([&looks[0]["look"], &looks[1]["look"]], ["paid", "conditional"]);
    assert!((number(&looks[0]["cost"]) - 1.0).abs() < 1e-9, "{looks}");
    assert!((number(&looks[1]["cost"]) - 0.1).abs() < 1e-9, "{looks}");
    let spend = project.ok(&["spend", "--json"]).json();
    assert!((number(&spend["total"]) - 1.1).abs() < 1e-9, "the rest was given back: {spend}");
}
