//! A world of files: values and arrivals as they were.

use crate::exchange::at;
use flate2::{Compression, write::GzEncoder};
use jiff::civil::Date;
use sim::exchange::{World, WorldError};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

const NAV: &str = "scheme,date,nav\nA1,2026-11-18,10.0\nA1,2026-11-19,9.9960\n\
                   A1,2026-11-20,12\nB2,2026-11-19,100.5\nZ9,2026-11-19,7.1\n";
const ARRIVALS: &str = "source,key,period,available_at\nx,A1,2026-11-19,2026-11-20T05:43:04Z\n\
                        x,A1,2026-11-21,2026-11-22T05:43:04Z\nx,B2,2026-11-19,2026-11-21T00:00:00Z\n";
const EXPECTED: &str = "source,key,period\nx,A1,2026-11-18\nx,A1,2026-11-19\nx,A1,2026-11-21\n\
                        x,B2,2026-11-19\n";

fn gz(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap();
    path
}

fn world(nav: &str, arrivals: &str, expected: &str) -> Result<World, WorldError> {
    let dir = tempfile::tempdir().unwrap();
    let files = [("nav", nav), ("arrivals", arrivals), ("expected", expected)];
    let [nav, arrivals, expected] = files.map(|(name, text)| gz(dir.path(), name, text));
    World::from_files(&nav, &arrivals, &expected)
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

#[test]
fn a_value_is_served_with_its_digits_from_its_arrival_on() {
    let world = world(NAV, ARRIVALS, EXPECTED).unwrap();
    let body = |now| world.answer("A1", day("2026-11-19"), at(now)).unwrap().body;
    assert_eq!(
        body("2026-11-20T05:43:04Z"),
        r#"{"scheme":"A1","date":"2026-11-19","total":1,"data":[{"date":"2026-11-19","nav":9.9960}]}"#
    );
    assert_eq!(
        body("2026-11-20T05:43:03Z"),
        r#"{"scheme":"A1","date":"2026-11-19","total":0,"data":[]}"#
    );
    assert_eq!(world.path_prefix(), "/nav/");
}

#[test]
fn a_pair_is_served_only_with_both_a_value_and_an_arrival() {
    let world = world(NAV, ARRIVALS, EXPECTED).unwrap();
    let total = |scheme, text| {
        world.answer(scheme, day(text), at("2030-01-01T00:00:00Z")).map(|answer| answer.total)
    };
    assert_eq!(total("A1", "2026-11-18"), Some(0), "a value without an arrival");
    assert_eq!(total("A1", "2026-11-21"), Some(0), "an arrival without a value");
    assert_eq!(total("A1", "2026-11-19"), Some(1));
    assert_eq!(total("Z9", "2026-11-19"), None, "a scheme without expectations or arrivals");
}

#[test]
fn the_truth_tells_of_every_expected_pair() {
    let world = world(NAV, ARRIVALS, EXPECTED).unwrap();
    let told: Vec<_> = world
        .truth()
        .map(|truth| {
            format!("{} {} {:?} {}", truth.entity, truth.day, truth.arrived_at, truth.record)
        })
        .collect();
    assert_eq!(
        told,
        [
            "A1 2026-11-18 None ",
            r#"A1 2026-11-19 Some(2026-11-20T05:43:04Z) {"date":"2026-11-19","nav":9.9960}"#,
            "A1 2026-11-21 None ",
            r#"B2 2026-11-19 Some(2026-11-21T00:00:00Z) {"date":"2026-11-19","nav":100.5}"#,
        ]
    );
    assert_eq!(
        world.tickers_csv(),
        "entity,listed_from,listed_until\nA1,2026-11-18,2026-11-21\nB2,2026-11-19,2026-11-19\n"
    );
}

#[test]
fn a_value_in_another_form_is_served_as_json() {
    for (nav, number) in [
        ("+0031.4936", "31.4936"),
        ("0010.0000", "10.0000"),
        ("-007", "-7"),
        ("000.50", "0.50"),
        ("0", "0"),
    ] {
        let nav = format!("scheme,date,nav\nA1,2026-11-19,{nav}\n");
        let world = world(&nav, ARRIVALS, EXPECTED).unwrap();
        let truth = world.truth().nth(1).unwrap();
        assert_eq!(truth.record, format!(r#"{{"date":"2026-11-19","nav":{number}}}"#));
    }
}

#[test]
fn a_bad_line_is_named() {
    for (nav, problem) in [
        ("date,nav\n", "line 1: the header is not `scheme,date,nav`"),
        ("scheme,date,nav\nA1,2026-11-19,1e5\n", "line 2: `1e5` is not a decimal"),
        ("scheme,date,nav\nA1,2026-11-19,NaN\n", "line 2: `NaN` is not a decimal"),
        ("scheme,date,nav\nA1,2026-11-19,1.\n", "line 2: `1.` is not a decimal"),
        ("scheme,date,nav\nA1,2026-11-19,+-1\n", "line 2: `+-1` is not a decimal"),
        ("scheme,date,nav\nA1,2026-11-31,1\n", "line 2: `2026-11-31` is not a day"),
        ("scheme,date,nav\nA1,2026-11-19,1,2\n", "line 2: more than 3 columns"),
    ] {
        let told = world(nav, ARRIVALS, EXPECTED).unwrap_err().to_string();
        assert!(told.ends_with(problem), "{told}");
    }
    let told = world(NAV, ARRIVALS, "source,key,period\nx,a\"b,2026-11-19\n").unwrap_err();
    assert!(told.to_string().ends_with("`a\"b` is not a scheme"), "{told}");
    let gone = Path::new("/nonexistent/nav.csv.gz");
    let error = World::from_files(gone, gone, gone).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/nonexistent/nav.csv.gz`");
}
