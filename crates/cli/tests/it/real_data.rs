//! The demonstration on real end-of-day values with their real arrival times. Runs where the data
//! is: `TIDEWATCH_REAL_DATA` names the folder, else `../shared/data` beside the workspace.

use crate::harness::Ran;
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
};

fn data() -> Option<PathBuf> {
    let named = std::env::var_os("TIDEWATCH_REAL_DATA").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    folder.join("nav/nav.csv.gz").exists().then_some(folder)
}

fn rows(path: &Path) -> impl Iterator<Item = Vec<String>> {
    let reader = BufReader::new(GzDecoder::new(File::open(path).unwrap()));
    reader.lines().skip(1).map(|line| line.unwrap().split(',').map(str::to_owned).collect())
}

/// A decimal as a whole number of ten-thousandths.
fn ten_thousandths(text: &str) -> i128 {
    let text = text.trim_matches('"').trim_start_matches('+');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 4 || fraction[4..].bytes().all(|digit| digit == b'0'), "{text}");
    format!("{whole}{fraction:0<4.4}").parse().unwrap()
}

#[test]
fn the_table_equals_the_published_values_cell_for_cell() {
    let Some(data) = data() else {
        eprintln!("SKIPPED: no real data; name its folder by TIDEWATCH_REAL_DATA");
        return;
    };
    let arrivals = data.join("arrivals/in-nps-nav.csv.gz");
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("demo");
    let tidewatch = |arguments: &[&str]| -> Ran {
        Command::new(env!("CARGO_BIN_EXE_tidewatch"))
            .arg("--dir")
            .arg(&project)
            .args(arguments)
            .output()
            .unwrap()
            .into()
    };
    let output: Ran = Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .args(["demo", "--project"])
        .arg(&project)
        .arg("--data")
        .arg(data.join("nav"))
        .arg("--arrivals")
        .arg(&arrivals)
        .output()
        .unwrap()
        .into();
    assert_eq!(output.code, 0, "{}", output.stderr);

    let values: BTreeMap<(String, String), i128> = rows(&data.join("nav/nav.csv.gz"))
        .map(|row| ((row[0].clone(), row[1].clone()), ten_thousandths(&row[2])))
        .collect();
    let mut expected: BTreeMap<(String, String), i128> = rows(&arrivals)
        .filter_map(|row| {
            let key = (row[1].clone(), row[2].clone());
            values.get(&key).map(|value| (key, *value))
        })
        .collect();
    let arrived = expected.len();
    let csv = tidewatch(&["sql", "--format", "csv", "select _entity, date, nav, _period from nav"]);
    assert_eq!(csv.code, 0, "{}", csv.stderr);
    for row in csv.stdout.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!(fields[1], fields[3]);
        let found = expected.remove(&(fields[0].to_owned(), fields[1].to_owned()));
        assert_eq!(found, Some(ten_thousandths(fields[2])), "{row}");
    }
    assert!(
        expected.is_empty(),
        "{} of {arrived} are not in the table, such as {:?}",
        expected.len(),
        expected.first_key_value()
    );

    let cells = rows(&data.join("arrivals/in-nps-nav.expected.csv.gz")).count();
    let status = tidewatch(&["status", "--json"]).json();
    let lines = status[0]["cells"].as_array().unwrap();
    let total: u64 = lines.iter().map(|line| line["cells"].as_u64().unwrap()).sum();
    assert_eq!(total, cells as u64, "every expected cell is on some line: {status}");
    for line in lines.iter().filter(|line| line["state"] != "present") {
        assert!(
            line["cause"].is_string() && line["state"] != "waiting" && line["state"] != "due",
            "{line}"
        );
    }
}
