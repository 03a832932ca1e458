//! The cells a source expects.

use crate::{Project, SMALLEST, sound, with};
use jiff::civil::date;
use model::Grid;

fn names(grid: &Grid) -> Vec<String> {
    let periods = grid.periods().iter().map(|row| row.period.to_string());
    periods.collect()
}

#[test]
fn a_calendar_gives_the_periods_from_the_first_day_on() {
    let text = with("calendar = \"daily\"", "calendar = \"weekdays\"\nfrom = \"2026-01-07\"");
    let grid = source::grid(&sound(&text), date(2026, 1, 1), date(2026, 1, 12));
    assert_eq!(names(&grid), ["2026-01-07", "2026-01-08", "2026-01-09", "2026-01-12"]);
    assert_eq!(grid.entities().len(), 2);
    let all = source::grid(&sound(SMALLEST), date(2026, 1, 1), date(2026, 1, 12));
    assert_eq!(names(&all).len(), 12);
}

#[test]
fn entities_come_from_a_file_with_their_listing() {
    let project = Project::with(&[(
        "sources/a.toml",
        &with("list = [\"AAPL\", \"MSFT\"]", "file = \"tickers.csv\""),
    )]);
    project.write(
        "tickers.csv",
        "\u{feff}listed_from,name,Entity\r\n2020-01-01,Apple,AAPL\r\n\r\n,\"x, \"\"y\"\"\",\"B,\"\"C\"\r\n".as_bytes(),
    );
    let loaded = project.load();
    assert!(loaded.diagnostics.0.is_empty(), "{}", loaded.diagnostics);
    let source = &loaded.sources[0];
    assert_eq!(source.entities_file.as_ref().unwrap().lines, 2);
    assert_eq!(source.entities[0].listed_from, Some(date(2020, 1, 1)));
    assert_eq!(source.entities[1].entity.as_str(), "B,\"C");
    assert_eq!(source.entities[1].listed_until, None);
}

#[test]
fn a_file_of_pairs_is_the_whole_grid() {
    let text = with("calendar = \"daily\"", "file = \"expected.csv\"");
    let text = text.replace("[entities]\nlist = [\"AAPL\", \"MSFT\"]", "");
    let project = Project::with(&[("sources/a.toml", &text)]);
    project.write(
        "expected.csv",
        b"entity,period\nMSFT,2026-01-06\nAAPL,2026-01-02\nMSFT,2026-01-02\nMSFT,2026-01-02\n",
    );
    let loaded = project.load();
    assert!(loaded.diagnostics.0.is_empty(), "{}", loaded.diagnostics);
    let source = &loaded.sources[0];
    assert_eq!(source.entities.len(), 2);
    assert_eq!(source.pairs.as_ref().unwrap().len(), 3);
    let grid = source::grid(source, date(2026, 1, 1), date(2026, 1, 31));
    assert_eq!(names(&grid), ["2026-01-02", "2026-01-06"]);
    assert_eq!(grid.expected(), 3);
    let later = source::grid(source, date(2026, 1, 3), date(2026, 1, 31));
    assert_eq!(later.expected(), 1);
}
