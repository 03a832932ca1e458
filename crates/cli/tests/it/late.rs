//! How late a cell is, in all that tells it: by the learned model, at any time, without an engine.

use crate::{
    harness::Project,
    looks::{json, server},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const ENTITIES: [&str; 4] = ["A", "B", "C", "D"];
/// The day whose data of two entities does not come.
const LAST: &str = "2026-03-11";
/// When its cells are due.
const DUE: &str = "2026-03-12T00:00:00Z";

fn hours(hours: i64) -> String {
    let due: Timestamp = DUE.parse().unwrap();
    (due + SignedDuration::from_hours(hours)).to_string()
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
    let text = format!(
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
    );
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

    // The books know it too.
    for file in state::SqliteStore::files(project.state_path()) {
        let _ = std::fs::remove_file(file);
    }
    project.ok(&["state", "rebuild", "--now", &hours(13)]);
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
