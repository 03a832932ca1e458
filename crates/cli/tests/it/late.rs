//! How late a cell is, in all that tells it: by the learned model, at any time, without an engine.

use crate::{
    harness::Project,
    looks::{json, server},
};
use arrow::{
    array::{RecordBatch, StringArray},
    compute::cast,
    datatypes::{FieldRef, Schema, SchemaRef},
};
use jiff::{SignedDuration, Timestamp};
use lake::{DeltaLake, Lake as _, LedgerTable, TableRef};
use serde_json::Value;
use std::sync::Arc;

const ENTITIES: [&str; 4] = ["A", "B", "C", "D"];
/// The day whose data of two entities does not come.
const LAST: &str = "2026-03-11";
/// When its cells are due.
const DUE: &str = "2026-03-12T00:00:00Z";

fn hours(hours: i64) -> String {
    let due: Timestamp = DUE.parse().unwrap();
    (due + SignedDuration::from_hours(hours)).to_string()
}

fn source(address: &str, arrival: &str) -> String {
    format!(
        r#"
name = "eod"
[entities]
list = ["A", "B", "C", "D"]
[periods]
calendar = "daily"
from = "2026-03-01"
give_up_after = "36h"
[request]
url = "http://{address}/eod/{{{{ entity }}}}?date={{{{ period }}}}"
cost = 1.0
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

/// A project that has learned from ten days, and waits for two cells.
async fn waiting(arrival: &str) -> Project {
    let (address, _) = server(|_, path| {
        let is_there = !path.contains(LAST) || path.contains("/A?") || path.contains("/B?");
        let body =
            if is_there { r#"{"total":1,"data":[{"c":1}]}"# } else { r#"{"total":0,"data":[]}"# };
        (200, json(), body.to_owned())
    })
    .await;
    let text = source(&address.to_string(), arrival);
    let project = Project::with_source("eod", &text);
    for day in (0..=10).rev() {
        project.ok(&["run", "--once", "--now", &hours(12 - 24 * day)]);
    }
    project
}

/// What `status`, `cells` and `explain` say of the cells that wait, at a time: the same.
fn cause(project: &Project, now: &str) -> String {
    let listed = project.ok(&["cells", "--state", "waiting", "--json", "--now", now]).json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    let cause = listed[0]["cause"].as_str().unwrap().to_owned();
    assert_eq!(listed[1]["cause"], *cause);
    let found = project.ok(&["cells", "--cause", &cause, "--json", "--now", now]).json();
    assert_eq!(found.as_array().unwrap(), listed, "the filter finds what the list shows");
    let status = project.ok(&["status", "--json", "--now", now]).json();
    let lines = status[0]["cells"].as_array().unwrap();
    let waiting: Vec<&Value> = lines.iter().filter(|line| line["state"] == "waiting").collect();
    assert_eq!(waiting.len(), 1, "{status}");
    assert_eq!([&waiting[0]["cause"], &waiting[0]["cells"]], [&Value::from(&*cause), &2.into()]);
    assert_eq!([&waiting[0]["family"], &waiting[0]["verdict"]], ["late", "undecided"]);
    for entity in ["C", "D"] {
        let explained = project.ok(&["explain", "eod", entity, LAST, "--json", "--now", now]);
        assert_eq!(explained.json()["cause"], *cause, "{entity} at {now}");
    }
    cause
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_is_late_by_what_was_learned_wherever_one_looks() {
    let project = waiting("[arrival]").await;
    let listed = project.ok(&["cells", "--state", "waiting", "--json"]).json();
    let time = |field: &str| -> Timestamp { listed[0][field].as_str().unwrap().parse().unwrap() };
    let (watch, overdue) = (time("late_watch_at"), time("overdue_at"));
    let due: Timestamp = DUE.parse().unwrap();
    assert!(due < watch && watch < overdue, "{listed}");
    assert!(overdue <= due + SignedDuration::from_hours(36), "{listed}");
    let before = |at: Timestamp| (at - SignedDuration::from_secs(1)).to_string();
    let kept = std::fs::read(project.state_path()).unwrap();
    let told = || {
        let times = [before(watch), watch.to_string(), before(overdue), overdue.to_string()];
        times.map(|now| cause(&project, &now))
    };
    assert_eq!(told(), ["late_usual", "late_watch", "late_watch", "overdue"]);
    let explained = project.ok(&["explain", "eod", "C", LAST, "--now", &overdue.to_string()]);
    assert!(explained.stdout.contains("99 in 100 have come by"), "{}", explained.stdout);
    assert_eq!(std::fs::read(project.state_path()).unwrap(), kept, "nothing had to be written");

    // The books know it too, and what is to be learned from them.
    let learned = || {
        let told = project.ok(&["arrival", "eod", "--json", "--now", &hours(13)]).json();
        let told = told["entities"].as_array().unwrap().clone();
        told.iter().map(|it| it["periods_seen"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let before = learned();
    assert!(before.iter().all(|periods| *periods >= 5), "{before:?}");
    for file in state::SqliteStore::files(project.state_path()) {
        let _ = std::fs::remove_file(file);
    }
    project.ok(&["state", "rebuild", "--now", &hours(13)]);
    assert_eq!(learned(), before);
    assert_eq!(told(), ["late_usual", "late_watch", "late_watch", "overdue"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_was_learned_of_is_late_as_usual() {
    let project = waiting("").await;
    for now in [hours(13), hours(35)] {
        assert_eq!(cause(&project, &now), "late_usual");
    }
    // What is due and was not looked at is another matter, and is found by its cause.
    let now = hours(24 + 1);
    let status = project.ok(&["status", "--json", "--now", &now]).json();
    assert_eq!(status[0]["unasked"], ENTITIES.len());
    let unasked = project.ok(&["cells", "--cause", "not_attempted", "--json", "--now", &now]);
    let unasked = unasked.json();
    assert_eq!(unasked.as_array().unwrap().len(), ENTITIES.len(), "{unasked}");
    assert_eq!(unasked[0]["state"], "due");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_keeps_what_was_believed_of_it() {
    let project = waiting("[arrival]").await;
    let query = "select entity, period, probability, why, outcome from ledger.attempts \
                 where period = '2026-03-10' order by attempt";
    let rows = project.sql(query);
    let last = rows.as_array().unwrap().last().unwrap();
    let probability = last["probability"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&probability) && probability > 0.2, "{last}");
    assert!(last["why"].is_string(), "{last}");
    let entity = last["entity"].as_str().unwrap();
    let explained = project.ok(&["explain", "eod", entity, "2026-03-10"]).stdout;
    let told = format!(" with p={probability:.2}: {}", last["why"].as_str().unwrap());
    assert!(explained.contains(&told), "{explained}");
    let reasons = project.sql("select why from ledger.attempts where why like '%of its last%'");
    assert!(!reasons.as_array().unwrap().is_empty(), "{rows}");
}

/// A row in a table of the ledger, as a program wrote it that did not know the last columns.
async fn write_former(
    project: &Project,
    table: LedgerTable,
    known: &SchemaRef,
    row: &[(&str, &str)],
) {
    let fields = known.fields().iter().filter(|field| {
        !["probability", "why", "late_watch_at", "overdue_at"].contains(&field.name().as_str())
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    let column = |field: &FieldRef| {
        let value = row.iter().find(|(name, _)| name == field.name()).map(|(_, value)| *value);
        cast(&StringArray::from(vec![value]), field.data_type()).unwrap()
    };
    let columns = schema.fields().iter().map(column).collect();
    let rows = vec![RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()];
    let lake = DeltaLake::open(&project.lake_path()).unwrap();
    let table = TableRef::Ledger(table);
    lake.ensure(&table, schema).await.unwrap();
    let files = lake.stage(&table, rows).await.unwrap();
    lake.commit(&table, "tidewatch-former", 1, &files).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn books_of_a_former_program_are_read_and_gone_on_with() {
    let (address, _) = server(|_, _| (200, json(), r#"{"total":0,"data":[]}"#.to_owned())).await;
    let project = Project::with_source("eod", &source(&address.to_string(), "[arrival]"));
    let at = "2026-03-02T01:00:00Z";
    let of = [("source", "eod"), ("entity", "A"), ("period", "2026-03-01"), ("attempt", "7")];
    let attempt = [
        ("planned_at", at),
        ("at", at),
        ("priority", "live"),
        ("outcome", "empty_proven"),
        ("detail", "a former one"),
        ("cost", "1.0"),
        ("source_version", "v"),
        ("look", "paid"),
        ("cells", "1"),
    ];
    let cell = [
        ("at", at),
        ("state", "waiting"),
        ("cause", "late_usual"),
        ("outcome", "empty_proven"),
        ("looks", "1"),
        ("records", "0"),
        ("quarantined", "0"),
        ("next_look_at", "2026-03-02T02:00:00Z"),
    ];
    let (attempts, cells) = (engine::attempts_schema(), engine::cells_schema());
    write_former(&project, LedgerTable::Attempts, &attempts, &[&of[..], &attempt].concat()).await;
    write_former(&project, LedgerTable::Cells, &cells, &[&of[..], &cell].concat()).await;
    let now = "2026-03-02T20:00:00Z";
    project.ok(&["state", "rebuild", "--now", now]);
    let listed = project.ok(&["cells", "--cause", "late_usual", "--json", "--now", now]).json();
    assert_eq!(listed[0]["late_watch_at"], Value::Null, "{listed}");
    project.ok(&["run", "--once", "--now", now]);
    let rows = project.sql(
        "select attempt, detail, probability from ledger.attempts \
         where entity = 'A' and period = '2026-03-01' order by attempt",
    );
    assert_eq!(
        [&rows[0]["detail"], &rows[0]["probability"]],
        [&"a former one".into(), &Value::Null]
    );
    assert!(rows[1]["probability"].is_number(), "{rows}");
    let explained = project.ok(&["explain", "eod", "A", "2026-03-01", "--now", now]).stdout;
    assert!(explained.contains("a former one") && explained.contains(" with p="), "{explained}");
}
