//! Which expectations are refused.

use crate::batches::{batch, cents, check, flag, int, key, text, validator};
use model::expect::{Check, ExpectSpec, RecordsPerCell};
use std::error::Error as _;
use validate::ExpectError;

fn refused(spec: &ExpectSpec) -> ExpectError {
    let columns =
        [("close", cents(&[])), ("count", int(&[])), ("final", flag(&[])), ("name", text(&[]))];
    validator(spec, batch(&columns).schema_ref()).unwrap_err()
}

fn between(field: &str, min: Option<&str>, max: Option<&str>) -> ExpectSpec {
    check(Check::Between {
        field: field.into(),
        min: min.map(str::to_owned),
        max: max.map(str::to_owned),
    })
}

#[test]
fn every_refusal_says_what_and_why() {
    let one_of = |field: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        check(Check::OneOf { field: field.into(), values })
    };
    let records = |min, max| ExpectSpec {
        records_per_cell: Some(RecordsPerCell { min, max: Some(max) }),
        ..ExpectSpec::default()
    };
    for (spec, message) in [
        (
            check(Check::NotNull { field: "clos".into() }),
            "`not_null(clos)` looks at `clos`, which is no declared field; there are: close, count, final, name",
        ),
        (
            between("close", None, None),
            "`between(close, -, -)` says nothing: neither `min` nor `max` is given",
        ),
        (
            between("close", Some("a"), None),
            "`a` in `between(close, a, -)` is not a value of type decimal",
        ),
        (
            between("close", Some("2"), Some("1")),
            "`between(close, 2, 1)` lets no value pass: `min` is above `max`",
        ),
        (
            between("close", Some("1.001"), Some("1.009")),
            "`between(close, 1.001, 1.009)` lets no value pass: `min` is above `max`",
        ),
        (
            between("final", Some("1"), None),
            "`between(final, 1, -)` does not apply to a field of type bool, only to text, int, float, decimal, date, timestamp",
        ),
        (one_of("count", &[]), "`one_of(count)` says nothing: no value is given"),
        (one_of("count", &["1", "1.5"]), "`1.5` in `one_of(count)` is not a value of type int"),
        (one_of("close", &["1.005"]), "`1.005` in `one_of(close)` is not a value of type decimal"),
        (one_of("final", &["yes"]), "`yes` in `one_of(final)` is not a value of type bool"),
        (
            check(Check::Matches { field: "count".into(), pattern: ".".into() }),
            "`matches(count)` does not apply to a field of type int, only to text",
        ),
        (
            check(Check::EqualsPeriod { field: "close".into() }),
            "`equals_period(close)` does not apply to a field of type decimal, only to text, date, timestamp",
        ),
        (
            key(&["name", "day"]),
            "the key has `day`, which is no declared field, nor `entity` or `period`; there are: close, count, final, name",
        ),
        (key(&["entity", "name", "entity"]), "the key has `entity` twice"),
        (records(3, 2), "`records_per_cell` lets no cell pass: at least 3, at most 2"),
    ] {
        assert_eq!(refused(&spec).to_string(), message);
    }
}

#[test]
fn a_pattern_is_read_by_itself() {
    for pattern in ["(", "a)|(b", "[z-a]"] {
        let error =
            refused(&check(Check::Matches { field: "name".into(), pattern: pattern.into() }));
        assert_eq!(error.to_string(), "the pattern of `matches(name)` is not a regular expression");
        assert!(error.source().is_some());
    }
}
