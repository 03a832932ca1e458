//! What becomes of single values and records.

use crate::table::{extract, spec};
use extract::Finding;

/// One field, one record `{"v": VALUE}`: the cell, or the reason of its rejection.
fn one(kind: &str, value: &str) -> String {
    one_of(&format!("v $.v {kind}"), &format!("{{\"v\":{value}}}"))
}

fn one_of(field: &str, record: &str) -> String {
    let table = extract(&spec("$[*]", None, &[field]), format!("[{record}]").as_bytes());
    assert_eq!(table.extraction.finding, Finding::Records);
    match table.rows.first() {
        Some(row) => row[0].clone(),
        None => table.extraction.rejects[0].reason.clone(),
    }
}

#[test]
fn values_are_exact() {
    for (kind, value, expected) in [
        ("decimal(18,9)", "1.5e-8", "0.000000015"),
        ("decimal(18,6)", "123456789012.123456", "123456789012.123456"),
        ("decimal(18,6)", r#""-0.10""#, "-0.100000"),
        (
            "decimal(38,0)",
            "99999999999999999999999999999999999999",
            "99999999999999999999999999999999999999",
        ),
        ("int", "9007199254740993", "9007199254740993"),
        ("int", "1.0", "1"),
        ("int", "1e3", "1000"),
        ("int", r#""12""#, "12"),
        ("float", "0.1", "0.1"),
        ("float", "-1e-5", "-0.00001"),
        ("bool", "true", "true"),
        ("date", r#""2026-11-19""#, "2026-11-19"),
        ("date", r#""2026-11-19T00:00:00+01:00""#, "2026-11-19"),
        ("timestamp", r#""2026-11-19T20:15:00.25-05:00""#, "2026-11-20T01:15:00.25Z"),
        ("timestamp", "1700000000", "2023-11-14T22:13:20Z"),
        ("timestamp", "1700000000123", "2023-11-14T22:13:20.123Z"),
        ("text", r#""a\"\u00e9\ud83d\ude00\/""#, r#""a\"é😀/""#),
        ("text", "1.50", r#""1.50""#),
        ("json", r#"{"a": [1.50, null]}"#, r#""{\"a\": [1.50, null]}""#),
        ("json", r#""\ud800""#, r#""\"\\ud800\"""#),
    ] {
        assert_eq!(one(kind, value), expected, "{kind} {value}");
        assert_eq!(one(kind, "null"), "null");
    }
}

#[test]
fn what_does_not_fit_is_rejected_with_its_text() {
    for (kind, value, reason) in [
        ("decimal(18,6)", "1.23456789", "more digits behind the point than decimal(18,6) has"),
        ("decimal(18,6)", "1.5e-8", "more digits behind the point than decimal(18,6) has"),
        ("decimal(18,6)", "1e999", "more digits than decimal(18,6) has"),
        ("decimal(18,6)", "1234567890123", "more digits than decimal(18,6) has"),
        ("decimal(18,6)", "\"NaN\"", "not a number, due is decimal(18,6)"),
        ("decimal(18,6)", "\"1,234.5\"", "not a number, due is decimal(18,6)"),
        ("decimal(18,6)", "true", "not of type decimal(18,6)"),
        ("float", "1e999", "not finite as a 64-bit float"),
        ("float", "\"NaN\"", "not a number, due is float"),
        ("float", "{}", "not of type float"),
        ("int", "1.5", "not an integer"),
        ("int", "9223372036854775808", "beyond the range of a 64-bit integer"),
        ("bool", "1", "not of type bool"),
        ("bool", "\"true\"", "not of type bool"),
        ("date", "\"2026-11-19T20:00:00Z\"", "not a date: the time of day is not midnight"),
        ("date", "\"19.11.2026\"", "not a date such as 2026-11-19"),
        ("date", "20261119", "not a date such as 2026-11-19"),
        ("timestamp", "\"2026-11-19T20:00:00\"", "a timestamp without an offset from UTC"),
        ("timestamp", "\"1700000000\"", "not a timestamp such as 2026-11-19T20:15:00Z (RFC 3339)"),
        ("timestamp", "1700000000.5", "not a timestamp such as 2026-11-19T20:15:00Z (RFC 3339)"),
        ("timestamp", "1700000000000000000", "beyond the year 9999 as seconds or milliseconds"),
        ("text", "false", "not of type text"),
        ("text", "[]", "not of type text"),
        ("text", r#""\ud800""#, "an escape in it is half of a surrogate pair"),
    ] {
        let found = one(kind, value);
        assert!(found.starts_with("`$.v` is `"), "{found}");
        assert!(found.ends_with(&format!("`: {reason}")), "{kind} {value}: {found}");
    }
    let long = one("int", &format!("\"{}\\u0007\"", "9x\u{7f}".repeat(5000)));
    assert!(long.len() < 700 && !long.contains(char::is_control), "{long}");
}

#[test]
fn missing_values_are_compared_as_written() {
    let field = "v $.v decimal(9,2) missing=N/A missing=-1 missing=-";
    for (value, expected) in
        [("\"N/A\"", "null"), ("-1", "null"), ("\"-\"", "null"), ("-1.0", "-1.00")]
    {
        assert_eq!(one_of(field, &format!("{{\"v\":{value}}}")), expected);
    }
    assert_eq!(one_of("v $.v text missing=-", r#"{"v":"\u002d"}"#), "null");
}

#[test]
fn a_missing_path_is_rejected_unless_it_is_optional() {
    assert_eq!(
        one_of("c $.c int", r#"{"t":1,"o":2,"close_price":3}"#),
        "`$.c` is missing; the record has: t, o, close_price"
    );
    assert_eq!(one_of("c $.q.c int", r#"{"q":{"d":1}}"#), "`$.q.c` is missing; `$.q` has: d");
    assert_eq!(one_of("c $.q[3] int", r#"{"q":[1]}"#), "`$.q[3]` is missing; `$.q` has 1 elements");
    assert_eq!(one_of("c $.q.c int", "{}"), "`$.q.c` is missing; the record has: nothing");
    assert_eq!(one_of("c $.c int optional", r#"{"t":1}"#), "null");
    // An explicit null above says that there is nothing below; a scalar says that all has changed.
    assert_eq!(one_of("c $.q.c int", r#"{"q":null}"#), "null");
    assert_eq!(one_of("c $.q.c int optional", r#"{"q":3}"#), "`$.q` is a number, not an object");
    for (record, found) in
        [("null", "null"), ("7", "a number"), ("[]", "an array"), ("\"x\"", "a text")]
    {
        let reason = format!("the record is {found}, not an object");
        assert_eq!(one_of("c $.c int", record), reason);
        assert_eq!(one_of("c $.c int optional", record), reason);
    }
}

#[test]
fn a_path_that_no_record_has_is_named() {
    let fields = ["a $.a int", "b $.b int optional", "c $.c int optional"];
    let table = extract(&spec("$[*]", None, &fields), br#"[{"a":1},{"a":2,"c":null}]"#);
    assert_eq!(table.rows, [["1", "null", "null"], ["2", "null", "null"]]);
    assert_eq!(table.extraction.fields_never_found, ["b"]);
    let renamed = extract(&spec("$[*]", None, &fields), br#"[{"A":1},{"A":2}]"#);
    assert_eq!((renamed.extraction.records, renamed.extraction.rejected), (0, 2));
    assert_eq!(renamed.extraction.finding, Finding::Records);
    assert_eq!(renamed.extraction.fields_never_found, ["a", "b", "c"]);
    assert!(extract(&spec("$[*]", None, &fields), b"[]").extraction.fields_never_found.is_empty());
}

#[test]
fn a_key_that_stands_twice_makes_its_record_ambiguous() {
    for record in [
        r#"{"v":1,"v":1}"#,
        r#"{"v":1,"\u0076":2}"#,
        r#"{"v":1,"x":2,"x":3}"#,
        r#"{"v":1,"v":null}"#,
    ] {
        assert!(one_of("v $.v int", record).ends_with("stands twice in the record"), "{record}");
    }
    assert_eq!(
        one_of("v $.q.v int", r#"{"q":{"v":1,"v":2}}"#),
        "the key `v` stands twice in `$.q`"
    );
    // An object that no declared path enters is not looked at.
    assert_eq!(one_of("v $.v int", r#"{"v":1,"x":{"y":1,"y":2}}"#), "1");
    let wide: Vec<String> = (0..500).map(|n| format!("\"k{n}\":0")).collect();
    let record = format!("{{\"v\":1,{}}}", wide.join(","));
    assert_eq!(one_of("v $.v int", &record), "1");
    let record = format!("{{\"v\":1,{},\"k250\":1}}", wide.join(","));
    assert_eq!(one_of("v $.v int", &record), "the key `k250` stands twice in the record");
}

#[test]
fn records_may_be_arrays_scalars_or_the_one_object() {
    let body = br#"{"k":[["2026-11-19","1.50",{"n":3}],["2026-11-20",2]]}"#;
    let fields = ["d $[0] date", "c $[1] decimal(9,2)", "n $[2].n int optional"];
    let table = extract(&spec("$.k[*]", None, &fields), body);
    assert_eq!(table.rows, [["2026-11-19", "1.50", "3"], ["2026-11-20", "2.00", "null"]]);
    assert_eq!(
        extract(&spec("$.k[1]", None, &fields), body).rows,
        [["2026-11-20", "2.00", "null"]]
    );
    assert_eq!(extract(&spec("$[*]", None, &["v $ int"]), b"[1,2,3]").rows, [["1"], ["2"], ["3"]]);
    assert_eq!(extract(&spec("$", None, &["v $ int"]), b" 12").rows, [["12"]]);
    let table = extract(
        &spec("$.a.b", None, &["v $.v int", "w $.v text", "j $ json"]),
        br#"{"a":{"b":{"v":1}}}"#,
    );
    assert_eq!(table.rows, [["1", "\"1\"", r#""{\"v\":1}""#]]);
    assert_eq!(table.spans, [(10, 17)]);
}

#[test]
fn rejects_count_as_ordinals_and_are_bounded() {
    let records: Vec<String> = (0..20_000)
        .map(|n| if n % 2 == 0 { format!("{{\"v\":{n}}}") } else { "0".to_owned() })
        .collect();
    let body = format!("[{}]", records.join(","));
    let table = extract(&spec("$[*]", None, &["v $.v int"]), body.as_bytes());
    assert_eq!(table.extraction.records, 10_000);
    assert_eq!(table.extraction.rejected, 10_000);
    assert_eq!(table.extraction.rejects.len(), extract::REJECTS_LIMIT);
    assert_eq!(table.extraction.rejects[1].ordinal, 3);
    assert!(table.ordinals.iter().copied().eq((0..20_000).step_by(2)));
    let (from, to) = table.spans[7];
    assert_eq!(&body[from as usize..to as usize], r#"{"v":14}"#);
}
