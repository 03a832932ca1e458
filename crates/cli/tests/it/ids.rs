//! `tidewatch id` and `tidewatch serve`.

use crate::harness::{Project, pause};
use jiff::SignedDuration;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

fn numbers(text: &str) -> Vec<i64> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn ids_of_each_kind_are_printed_one_a_line_or_as_json() {
    let project = Project::empty();
    let ints = numbers(&project.ok(&["id", "-n", "5000"]).stdout);
    assert_eq!(ints.len(), 5000);
    assert!(ints[0] > 0 && ints.is_sorted_by(|a, b| a < b));
    // A second process, after the first gave its node back.
    let later = project.ok(&["id", "--json"]).json();
    assert_eq!(later["kind"], "int");
    assert!(later["ids"][0].as_i64().unwrap() > ints[4999]);
    // Blocks that are closed leave no gap.
    assert_eq!(numbers(&project.ok(&["id", "--kind", "block", "-n", "3"]).stdout), [1, 2, 3]);
    assert_eq!(numbers(&project.ok(&["id", "--kind", "block", "-n", "2"]).stdout), [4, 5]);
    let elsewhere = ["id", "--kind", "block", "--space", "other"];
    assert_eq!(numbers(&project.ok(&elsewhere).stdout), [1]);
    let uuids = project.ok(&["id", "--kind", "uuid", "-n", "2", "--json"]).json();
    assert_eq!(&uuids["ids"][0].as_str().unwrap()[14..15], "7");
}

#[test]
fn processes_that_ask_at_once_get_different_ids() {
    let project = Project::empty();
    let start = |kind: &str| -> Child {
        let arguments = ["id", "-n", "2000", "--kind", kind, "--block", "300"];
        project.command(&arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..6).flat_map(|_| [start("int"), start("block")]).collect();
    let mut seen = BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        for id in numbers(&String::from_utf8(output.stdout).unwrap()) {
            assert!(seen.insert(id), "{id} twice");
        }
    }
    assert_eq!(seen.len(), 24_000);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::empty();
    let output = Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .arg("id")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`.` is not a project"), "{said}");
    let store = folder.path().join("no/such/folder/ids.db");
    let ran = project.run(&["id", "--store", store.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    for (arguments, named) in [
        (vec!["id", "--nodes", "0"], "0 nodes"),
        (vec!["id", "--nodes", "9999999"], "9999999 nodes"),
        (vec!["id", "--store", "oracle://x"], "`oracle://...`"),
        (vec!["id", "-n", "0"], "0 is not in"),
        (vec!["id", "--kind", "max"], "max"),
    ] {
        let ran = project.run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(named), "{arguments:?}: {}", ran.stderr);
    }
    let ran = project.run(&["id", "--store", "postgres://me:secret@127.0.0.1:1/x"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("127.0.0.1:1/x") && !ran.stderr.contains("secret"),
        "{}",
        ran.stderr
    );
    // The layout of a space is fixed by its first use.
    project.ok(&["id"]);
    let ran = project.run(&["id", "--nodes", "4"]);
    assert!(ran.stderr.contains("41+10+12 bits"), "{}", ran.stderr);
    project.ok(&["id", "--nodes", "4", "--space", "few"]);
}

#[test]
fn the_store_is_that_of_the_command_then_of_the_environment_then_of_the_project() {
    let project = Project::empty();
    let write = |text: &str| std::fs::write(project.dir().join("tidewatch.toml"), text).unwrap();
    let made = |name: &str| project.dir().join(name).exists();
    write("[ids]\nstore = \"${STORE_OF_IDS}\"\n");
    let run = |arguments: &[&str], by_environment: &str| {
        let mut command = project.command(arguments);
        command.env("STORE_OF_IDS", "by-project.db").env("TIDEWATCH_IDS", by_environment);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    };
    let (place, other) = (project.dir().join("by-command.db"), project.dir().join("by-env.db"));
    run(&["id", "--store", place.to_str().unwrap()], other.to_str().unwrap());
    assert!(made("by-command.db") && !made("by-env.db") && !made("by-project.db"));
    run(&["id"], other.to_str().unwrap());
    assert!(made("by-env.db") && !made("by-project.db"));
    run(&["id"], "");
    assert!(made("by-project.db") && !made(".tidewatch/ids.db"));
    write("[ids]\nstore = \"mariadb://me:secret@127.0.0.1:1/x\"\n");
    let ran = project.run(&["id"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("127.0.0.1:1/x") && !ran.stderr.contains("secret"),
        "{}",
        ran.stderr
    );
    write("[ids]\nstoer = \"mariadb://me:secret@127.0.0.1:1/x\"\n");
    let ran = project.run(&["id"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("`store`") && !ran.stderr.contains("secret"), "{}", ran.stderr);
}

#[test]
fn a_dry_run_takes_nothing() {
    let project = Project::empty();
    project.ok(&["id", "--dry-run"]);
    project.ok(&["serve", "--dry-run"]);
    assert!(!project.dir().join(".tidewatch").exists());
}

#[test]
fn the_sql_is_printed_as_it_is_tested() {
    let project = Project::empty();
    for (database, sql) in [("postgres", id::sql::POSTGRES), ("mariadb", id::sql::MARIADB)] {
        assert_eq!(project.ok(&["id", "--sql", database]).stdout, sql);
    }
}

/// A running server and its address.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(project: &Project) -> Self {
        let mut child = project
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { child, address }
    }

    /// Status and body.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ids_are_served_in_batches_until_sigterm() {
    let project = Project::empty();
    let mut serving = Serving::start(&project);
    let post = |query: &str| serving.ask(&format!("POST /v1/ids{query} HTTP/1.1"));
    let (status, body) = post("?kind=int&count=3");
    let found: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, found["kind"].as_str()), (200, Some("int")));
    assert_eq!(found["ids"].as_array().unwrap().len(), 3);
    assert_eq!(post("?kind=block&count=2&format=text"), (200, "1\n2\n".to_owned()));
    assert_eq!(post("?kind=uuid").0, 200);
    assert_eq!(post("?count=100000").0, 200);
    assert_eq!(post("?count=100001").0, 400);
    assert_eq!(post("/more").0, 404);
    assert_eq!(serving.ask("GET /v1/ids HTTP/1.1").0, 405);
    assert_eq!(serving.ask("GET /v1/health HTTP/1.1").0, 200);
    assert_eq!(serving.ask("POST /v1/ids HTTP/1.1\r\nOrigin: http://page").0, 403);
    assert_eq!(serving.ask("nonsense").0, 400);
    // Beside it, the command takes from the same space and counter.
    assert_eq!(numbers(&project.ok(&["id", "--kind", "block"]).stdout), [1001]);
    let pid = serving.child.id().to_string();
    Command::new("kill").arg(pid).status().unwrap();
    for _ in 0..100 {
        if let Some(status) = serving.child.try_wait().unwrap() {
            assert!(status.success());
            return;
        }
        pause(SignedDuration::from_millis(100));
    }
    panic!("the server did not end");
}
