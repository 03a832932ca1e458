//! Which rows fail.

use crate::batches::{
    batch, cents, check, date, failing, failing_in, flag, float, instant, int, text, validator,
};
use model::expect::{Check, ExpectSpec, RecordsPerCell};

fn between(min: Option<&str>, max: Option<&str>) -> Check {
    Check::Between { field: "v".into(), min: min.map(str::to_owned), max: max.map(str::to_owned) }
}

fn one_of(values: &[&str]) -> Check {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Check::OneOf { field: "v".into(), values }
}

fn matches(pattern: &str) -> Check {
    Check::Matches { field: "v".into(), pattern: pattern.into() }
}

fn equals_entity() -> Check {
    Check::EqualsEntity { field: "v".into() }
}

fn equals_period() -> Check {
    Check::EqualsPeriod { field: "v".into() }
}

const NOTHING: [&str; 0] = [];

#[test]
fn not_null_refuses_null_only() {
    let check = || Check::NotNull { field: "v".into() };
    assert_eq!(failing(check(), int(&[Some(0), None])), ["1: null"]);
    assert_eq!(failing(check(), text(&[Some(""), None])), ["1: null"]);
}

#[test]
fn between_includes_its_bounds_and_lets_nulls_pass() {
    let range = || between(Some("1"), Some("2"));
    assert_eq!(
        failing(range(), int(&[Some(0), Some(1), Some(2), Some(3), None])),
        ["0: 0", "3: 3"]
    );
    assert_eq!(
        failing(range(), float(&[Some(0.99), Some(1.0), Some(2.01)])),
        ["0: 0.99", "2: 2.01"]
    );
    assert_eq!(
        failing(range(), cents(&[Some(99), Some(100), Some(200), Some(201)])),
        ["0: 0.99", "3: 2.01"]
    );
    assert_eq!(
        failing(range(), text(&[Some("0"), Some("1x"), Some("2"), Some("20")])),
        ["0: 0", "3: 20"]
    );
    let days = between(Some("2026-11-19"), None);
    assert_eq!(failing(days, date(&[Some(20_775), Some(20_776)])), ["0: 2026-11-18"]);
    let instants = between(None, Some("1970-01-01T01:00:00+01:00"));
    assert_eq!(failing(instants, instant(&[Some(0), Some(1)])), ["1: 1970-01-01T00:00:00.000001Z"]);
}

#[test]
fn decimals_are_compared_exactly() {
    // As floats, all of these are equal.
    let check = || between(Some("90071992547409.930000000001"), Some("1e15"));
    let values =
        [Some(9_007_199_254_740_993), Some(9_007_199_254_740_994), Some(100_000_000_000_000_000)];
    assert_eq!(failing(check(), cents(&values)), ["0: 90071992547409.93"]);
    assert_eq!(failing(between(None, Some("-0.001")), cents(&[Some(0), Some(-1)])), ["0: 0.00"]);
    assert_eq!(failing(between(Some("0"), None), cents(&[Some(-1), Some(0)])), ["0: -0.01"]);
}

#[test]
fn one_of_compares_values_not_texts() {
    assert_eq!(
        failing(one_of(&["1.5", "2"]), cents(&[Some(150), Some(200), Some(151), None])),
        ["2: 1.51"]
    );
    assert_eq!(failing(one_of(&["1e2"]), int(&[Some(100), Some(10)])), ["1: 10"]);
    assert_eq!(failing(one_of(&["true"]), flag(&[Some(true), Some(false)])), ["1: false"]);
    assert_eq!(failing(one_of(&["0.5"]), float(&[Some(0.5), Some(0.25)])), ["1: 0.25"]);
    assert_eq!(
        failing(one_of(&["EUR", ""]), text(&[Some("EUR"), Some(""), Some("eur")])),
        ["2: eur"]
    );
    assert_eq!(failing(one_of(&["2026-11-19"]), date(&[Some(20_776), Some(0)])), ["1: 1970-01-01"]);
}

#[test]
fn a_pattern_must_match_all_of_the_text() {
    let found =
        failing(matches("a|bc"), text(&[Some("a"), Some("bc"), Some("abc"), Some("a\n"), None]));
    assert_eq!(found, ["2: abc", "3: a\\n"]);
    let long = "x".repeat(10_000);
    let found = failing(matches("y"), text(&[Some(&long)]));
    assert!(found[0].len() < 100 && found[0].ends_with('…'), "{}", found[0]);
}

#[test]
fn the_answer_is_to_the_question_that_was_asked() {
    let found = failing(equals_entity(), text(&[Some("ACME"), Some("acme"), None]));
    assert_eq!(found, ["1: acme, the cell is of ACME", "2: null, the cell is of ACME"]);
    let numbers = int(&[Some(119_551), Some(7)]);
    assert_eq!(
        failing_in(equals_entity(), numbers.clone(), "119551", "once"),
        ["1: 7, the cell is of 119551"]
    );
    assert_eq!(failing_in(equals_entity(), numbers, "0119551", "once").len(), 2, "another text");
}

#[test]
fn a_date_lies_in_the_cell_s_period() {
    let found =
        |period, days: &[Option<i32>]| failing_in(equals_period(), date(days), "A", period).len();
    assert_eq!(found("2026-11-19", &[Some(20_776)]), 0);
    assert_eq!(found("2026-11-19", &[Some(20_775), Some(20_777), None]), 3);
    // 2026-W47 is Monday 16 to Sunday 22 November.
    assert_eq!(found("2026-W47", &[Some(20_773), Some(20_779)]), 0);
    assert_eq!(found("2026-W47", &[Some(20_772), Some(20_780)]), 2);
    assert_eq!(found("2026-11", &[Some(20_758), Some(20_787)]), 0);
    assert_eq!(found("2026-11", &[Some(20_757), Some(20_788)]), 2);
    // `once` has no date: the check can not be met, and says so rather than pass.
    assert_eq!(found("once", &[Some(20_776)]), 1);

    let hour = 20_776 * 86_400_000_000 + 19 * 3_600_000_000;
    let instants = instant(&[Some(hour), Some(hour + 3_599_999_999), Some(hour + 3_600_000_000)]);
    assert_eq!(
        failing_in(equals_period(), instants.clone(), "A", "2026-11-19T19:00Z"),
        ["2: 2026-11-19T20:00:00Z, the cell is of 2026-11-19T19:00Z"]
    );
    assert_eq!(failing_in(equals_period(), instants, "A", "2026-11-19"), NOTHING);
    assert_eq!(failing_in(equals_period(), text(&[Some("2026-W47")]), "A", "2026-W47"), NOTHING);
}

#[test]
fn failures_come_by_row_then_by_check() {
    let spec = ExpectSpec {
        checks: vec![between(Some("5"), None), one_of(&["9"])],
        ..ExpectSpec::default()
    };
    let batch = batch(&[("v", int(&[Some(1), Some(9), Some(6)]))]);
    let failures = validator(&spec, batch.schema_ref()).unwrap().check(&batch, "A", "once");
    let found: Vec<(usize, &str)> =
        failures.iter().map(|failure| (failure.row, failure.check.as_str())).collect();
    assert_eq!(found, [(0, "between(v, 5, -)"), (0, "one_of(v)"), (2, "one_of(v)")]);
}

#[test]
fn a_batch_of_another_schema_passes_nothing() {
    let declared = batch(&[("v", cents(&[]))]);
    let validator = validator(&check(between(Some("0"), None)), declared.schema_ref()).unwrap();
    let other = batch(&[("v", float(&[Some(1.0)]))]);
    assert_eq!(validator.check(&other, "A", "once").len(), 1);
    let none = batch(&[]);
    assert_eq!(validator.check(&none, "A", "once").len(), 0, "no row, no failure");
}

#[test]
fn the_number_of_records_is_judged_in_words() {
    let said = |min, max, records| {
        let records_per_cell = Some(RecordsPerCell { min, max });
        let spec = ExpectSpec { records_per_cell, ..ExpectSpec::default() };
        validator(&spec, batch(&[]).schema_ref()).unwrap().count(records)
    };
    assert_eq!(said(1, Some(1), 1), None);
    assert_eq!(said(1, Some(1), 2).unwrap(), "the cell has 2 records, expected 1");
    assert_eq!(said(1, Some(3), 0).unwrap(), "the cell has 0 records, expected 1 to 3");
    assert_eq!(said(2, None, 1).unwrap(), "the cell has 1 records, expected at least 2");
    assert_eq!(said(2, None, 9), None);
    let undeclared = ExpectSpec::default();
    assert_eq!(validator(&undeclared, batch(&[]).schema_ref()).unwrap().count(0), None);
}
