//! Bad input: a clear error or the right outcome, and nothing lost.

use crate::{
    harness::{NOW, Project, eod_source, exchange, pause, tickers},
    looks::{count, server},
};
use jiff::SignedDuration;
use sim::exchange::Faults;
use std::{net::SocketAddr, process::Command, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers every request with the same bytes, then closes.
async fn raw_server(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    address
}

fn http(content_type: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn source(address: SocketAddr, extra: &str) -> String {
    format!(
        r#"
name = "hostile"
[entities]
list = ["X"]
[periods]
calendar = "once"
[request]
url = "http://{address}/{{{{ entity }}}}"
{extra}
[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
[extract.fields]
id = {{ path = "$.id", type = "int" }}
price = {{ path = "$.price", type = "decimal(10,2)" }}
"#
    )
}

/// The outcome of one look at a server that answers so.
async fn outcome(content_type: &str, body: &str) -> (String, String) {
    let address = raw_server(http(content_type, body)).await;
    let project = Project::with_source("hostile", &source(address, ""));
    let ran = project.run(&["try", "hostile", "X", "--json"]).json();
    (ran["outcome"].as_str().unwrap().to_owned(), ran["detail"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_body_has_its_outcome_and_none_is_an_empty_success() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: &[(&str, &str, &str)] = &[
        ("application/json", r#"{"total":1,"data":[{"id":1,"price":1.25}]}"#, "ok"),
        ("application/json", r#"{"total":0,"data":[]}"#, "empty_proven"),
        ("application/json", r#"{"total":1,"items":[{"id":1,"price":1.25}]}"#, "empty_unproven"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"cost":1.25}]}"#, "parse_error"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"price":1.255}]}"#, "parse_error"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"id":2,"price":1}]}"#, "parse_error"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"price":NaN}]}"#, "parse_error"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"price":1e999}]}"#, "parse_error"),
        ("application/json", r#"{"total":1,"data":[{"id":1,"price":1}"#, "parse_error"),
        ("application/json", &deep, "parse_error"),
        ("application/json", "", "empty_unproven"),
        (
            "text/html",
            "<!doctype html><title>Attention</title><p>Access denied: are you a robot? captcha",
            "blocked",
        ),
        ("application/json", "<html><title>Welcome</title>", "parse_error"),
    ];
    for (content_type, body, expected) in cases {
        let (found, detail) = outcome(content_type, body).await;
        assert_eq!(found, *expected, "{} -> {detail}", body.chars().take(80).collect::<String>());
        assert!(!detail.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_stops_at_its_limit() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"data\":[".to_vec();
    answer.extend(std::iter::repeat_n(b' ', 8 << 20));
    let address = raw_server(answer).await;
    let project = Project::with_source("hostile", &source(address, "body_limit = \"2MiB\""));
    let ran = project.run(&["try", "hostile", "X", "--json"]).json();
    assert_eq!(ran["outcome"], "partial", "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_never_leaves_the_request() {
    const SECRET: &str = "tops3cr3t-token-value";
    let body = format!(r#"{{"total":1,"echo":"{SECRET}","data":[{{"id":1,"price":1.25}}]}}"#);
    let address = raw_server(http("application/json", &body)).await;
    let project = Project::with_source(
        "hostile",
        &source(address, "headers = { Authorization = \"Bearer ${HOSTILE_TOKEN}\" }"),
    );
    for arguments in [
        &["check"][..],
        &["try", "hostile", "X"],
        &["run", "--once", "-vv"],
        &["explain", "hostile", "X"],
        &["sql", "select * from ledger.attempts"],
    ] {
        let output = project.command(arguments).env("HOSTILE_TOKEN", SECRET).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(SECRET), "{arguments:?} shows it");
    }
    let mut folders = vec![project.dir().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            let plain = Command::new("gzip")
                .arg("-dc")
                .arg(entry.path())
                .output()
                .map(|output| output.stdout)
                .unwrap_or_default();
            for bytes in [bytes, plain] {
                let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                assert!(!found, "{} has it", entry.path().display());
            }
        }
    }
    assert!(files > 5);
}

#[test]
fn an_unset_secret_is_a_mistake_of_the_file() {
    let project = Project::with_source(
        "hostile",
        &source(
            ([127, 0, 0, 1], 1).into(),
            "headers = { Authorization = \"Bearer ${NOT_SET_ANYWHERE}\" }",
        ),
    );
    let ran = project.run(&["check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("NOT_SET_ANYWHERE"), "{}", ran.stderr);
    assert!(ran.stderr.contains("sources/hostile.toml:9:37"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_entities_are_data_and_stay_where_they_belong() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let count = stream.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..count])
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            sender.send(line).unwrap();
            let _ = stream
                .write_all(&http(
                    "application/json",
                    r#"{"total":1,"data":[{"id":1,"price":1.25}]}"#,
                ))
                .await;
        }
    });
    let text = source(address, "").replace(
        "list = [\"X\"]",
        r#"list = ["a/b", "..", "it's \"quoted\"", "two words", "🦀", "x?y=1#z", "100%"]"#,
    );
    let project = Project::with_source("hostile", &text);
    let ran = project.run(&["run", "--once", "--json"]);
    let mut paths = Vec::new();
    while let Ok(line) = asked.try_recv() {
        paths.push(line.split(' ').nth(1).unwrap().to_owned());
    }
    paths.sort();
    assert_eq!(
        paths.len(),
        6,
        "`..` cannot be a path segment and is not sent: {paths:?}\n{}",
        ran.stderr
    );
    assert!(
        paths
            .iter()
            .all(|path| path.matches('/').count() == 1 && !path.contains(['?', '#', '"', '\''])),
        "{paths:?}"
    );
    let rows = project.sql("select _entity from hostile order by 1");
    assert_eq!(rows.as_array().unwrap().len(), 6);
    let refused = project.ok(&["explain", "hostile", "..", "--json"]).json();
    assert_eq!(
        (refused["state"].as_str(), refused["cause"].as_str()),
        (Some("given_up"), Some("not_attempted")),
        "{refused}"
    );
}

async fn filled() -> Project {
    let (world, exchange) = exchange(10, 3, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["run", "--once", "--now", NOW]);
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_cannot_be_used_is_named_with_the_way_out() {
    let project = filled().await;
    let good = std::fs::read(project.state_path()).unwrap();
    let remove_companions = || {
        for file in state::SqliteStore::files(project.state_path()).iter().skip(1) {
            let _ = std::fs::remove_file(file);
        }
    };
    remove_companions();
    std::fs::write(project.state_path(), &good[..good.len() / 2]).unwrap();
    for command in [&["status"][..], &["run", "--once", "--now", NOW]] {
        let ran = project.run(command);
        assert_ne!(ran.code, 0);
        assert!(
            ran.stderr.contains("state.db") && ran.stderr.contains("state rebuild"),
            "{}",
            ran.stderr
        );
    }
    remove_companions();
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    std::fs::write(project.state_path(), &newer).unwrap();
    let ran = project.run(&["status"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("9999"), "{}", ran.stderr);
    remove_companions();
    std::fs::write(project.state_path(), &good).unwrap();
    project.ok(&["status", "--now", NOW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_log_entry_of_a_table_is_named_and_the_state_stays() {
    let project = filled().await;
    let log = project.lake_path().join("data/eod/_delta_log/00000000000000000000.json");
    let good = std::fs::read(&log).unwrap();
    std::fs::write(&log, b"{ not json").unwrap();
    let ran = project.run(&["sql", "select * from eod"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("data/eod"), "{}", ran.stderr);
    project.ok(&["status", "--now", NOW]);
    std::fs::write(&log, good).unwrap();
    assert!(!project.sql("select * from eod").as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_a_clear_error() {
    let (world, exchange) = exchange(5, 2, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    // A file where the folder should be: refused to everyone, root included.
    project.write("elsewhere", "a file");
    project.write("tidewatch.toml", "lake = \"elsewhere/lake\"\n");
    let ran = project.run(&["run", "--once", "--now", NOW]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("elsewhere"), "{}", ran.stderr);
    assert_eq!(exchange.log().requests(), 0, "nothing is paid for that cannot be kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_error_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a full disk needs the right to mount a small file system");
        return;
    }
    let (world, exchange) = exchange(300, 12, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    let small = folder.path().display();
    project.write(
        "tidewatch.toml",
        &format!("lake = \"{small}/lake\"\narchive = \"{small}/archive\"\n"),
    );
    let full = project.run(&["run", "--once", "--now", NOW]);
    let filled = full.code;
    // More room, and the same command again.
    let grown = Command::new("mount")
        .args(["-o", "remount,size=200m"])
        .arg(folder.path())
        .status()
        .unwrap();
    let healed = project.run(&["run", "--once", "--now", NOW]);
    let rows = project.run(&[
        "sql",
        "--json",
        "select count(*) as n, count(distinct _record_id) as d from eod",
    ]);
    let unmounted = Command::new("umount").arg("-l").arg(folder.path()).status().unwrap();
    assert!(grown.success() && unmounted.success());
    assert_eq!(filled, 1, "{}", full.stderr);
    assert!(
        full.stderr.to_lowercase().contains("space") || full.stderr.contains("full"),
        "{}",
        full.stderr
    );
    assert_eq!(healed.code, 0, "{}", healed.stderr);
    let rows = rows.json();
    assert_eq!(rows[0]["n"].as_u64().unwrap(), world.truth().count() as u64);
    assert_eq!(rows[0]["n"], rows[0]["d"]);
}

#[test]
fn the_demonstration_says_so_when_its_port_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .args(["demo", "--port", &port, "--project"])
        .arg(folder.path().join("demo"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&port) && stderr.contains("--port"), "{stderr}");
}

#[test]
fn the_demonstration_never_touches_a_folder_it_did_not_make() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious.txt"), "mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .args(["demo", "--project"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(folder.path().join("precious.txt")).unwrap(), "mine");
}

/// Requests that are made of so many cells by a pass over a server that fails for ever.
async fn asked_of_a_failing_server(entities: &[&str]) -> usize {
    let (address, log) = server(|_, _| (500, String::new(), "no".to_owned())).await;
    let names = entities.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let project = Project::with_source(
        "once",
        &format!(
            "name = \"once\"\n[entities]\nlist = [{names}]\n[periods]\ncalendar = \"once\"\n\
             [request]\nurl = \"http://{address}/{{{{ entity }}}}\"\n\
             [retry]\nfirst = \"5ms\"\nmax = \"50ms\"\nattempts = 5\n\
             [extract]\nformat = \"json\"\nrecords = \"$.data[*]\"\n\
             [extract.fields]\nc = {{ type = \"int\" }}\n"
        ),
    );
    let mut child = project.spawn(&["run", "--once"]);
    let mut waited = 0;
    while child.try_wait().unwrap().is_none() {
        waited += 1;
        if waited > 300 {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("no end after {} requests", count(&log, "GET"));
        }
        pause(SignedDuration::from_millis(100));
    }
    assert_eq!(child.wait().unwrap().code(), Some(3), "due work is left undone");
    let cells = project.ok(&["cells", "--cause", "source_outage", "--json"]).json();
    assert_eq!(cells.as_array().unwrap().len(), entities.len(), "{cells}");
    count(&log, "GET")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_for_ever_is_asked_within_its_tries() {
    let asked = asked_of_a_failing_server(&["A"]).await;
    assert!(asked <= 5, "{asked} requests of one cell with five tries");
    let asked = asked_of_a_failing_server(&["A", "B", "C"]).await;
    assert!(asked <= 3 * (4 * 4 + 1), "{asked} requests of three cells with five tries each");
}
