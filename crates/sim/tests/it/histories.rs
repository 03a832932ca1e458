//! Histories as files say them.

use jiff::SignedDuration;
use model::{Entity, Period};
use sim::history::{Frame, History};
use std::{io::Write, path::Path};

fn write(folder: &Path, arrivals: &str, keys: &str) {
    let file = std::fs::File::create(folder.join("world.csv.gz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(arrivals.as_bytes()).unwrap();
    gzip.finish().unwrap();
    std::fs::write(folder.join("world.keys.csv"), keys).unwrap();
}

const ARRIVALS: &str = "source,key,period,available_at\n\
    world,at,2026-03-02,2026-03-03T08:00:00Z\n\
    world,at,2026-03-02,2026-03-03T07:00:00Z\n";
const KEYS: &str = "source,key,n,origin_h,deadline_h\nworld,at,2,24,48.5\n";

#[test]
fn a_history_tells_the_first_arrival_and_the_hours_of_a_poll() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ARRIVALS, KEYS);
    let history = History::read(folder.path(), "world").unwrap();
    let (at, of) = (Entity::parse("at").unwrap(), Period::parse("2026-03-02").unwrap());
    assert_eq!(history.came(&at, of), Some("2026-03-03T07:00:00Z".parse().unwrap()));
    assert_eq!(history.came(&at, Period::parse("2026-03-03").unwrap()), None);
    let frame = Frame {
        opens: SignedDuration::from_hours(24),
        deadline: SignedDuration::from_mins(48 * 60 + 30),
    };
    assert_eq!(history.frame(&at), Some(frame));
}

#[test]
fn a_history_that_is_not_understood_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let says = |arrivals: &str, keys: &str| {
        write(folder.path(), arrivals, keys);
        History::read(folder.path(), "world").unwrap_err().to_string()
    };
    let error = says(&ARRIVALS.replace("07:00", "noon"), KEYS);
    assert!(
        error.ends_with("world.csv.gz`, line 3: `2026-03-03Tnoon:00Z` is not a time"),
        "{error}"
    );
    let error = says(ARRIVALS, &KEYS.replace("48.5", "soon"));
    assert!(error.ends_with("line 2: `soon` is not a number of hours"), "{error}");
    let error = says(ARRIVALS, &KEYS.replace("origin_h", "origin"));
    assert!(error.ends_with("line 1: there is no column `origin_h`"), "{error}");
    let error = History::read(folder.path(), "other").unwrap_err().to_string();
    assert!(error.contains("other.csv.gz") && error.contains("--data"), "{error}");
}
