//! When nothing is a proven nothing.

use crate::table::{extract, spec};
use extract::Finding;

fn finding(records: &str, empty: Option<&str>, body: &str) -> String {
    let table = extract(&spec(records, empty, &["x $.x int"]), body.as_bytes());
    assert_eq!(table.extraction.records, 0, "{body}");
    match table.extraction.finding {
        Finding::Records => format!("{} rejected", table.extraction.rejected),
        Finding::EmptyProven { proof } => format!("proven: {proof}"),
        Finding::EmptyUnproven { found } => format!("unproven: {found}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_empty_array_is_proven_by_what_stands_beside_it() {
    for (body, expected) in [
        (r#"{"symbol":"A","data":[],"total":0}"#, "proven: `$.data` is [] beside symbol, total"),
        (r#"{"data":[ ]}"#, "unproven: `$.data` is [] with nothing beside it"),
        (r#"{"data":[],"error":null}"#, "proven: `$.data` is [] beside error"),
        (r#"{"data":[],"errors":[]}"#, "proven: `$.data` is [] beside errors"),
        (
            r#"{"data":[],"ok":1,"Error":{"code":7}}"#,
            "unproven: `$.data` is [] beside `Error`, which reports an error",
        ),
        (
            r#"{"error":"limit","data":[]}"#,
            "unproven: `$.data` is [] beside `error`, which reports an error",
        ),
    ] {
        assert_eq!(finding("$.data[*]", None, body), expected, "{body}");
    }
    assert_eq!(finding("$[*]", None, "[]"), "unproven: `$` is [] with nothing beside it");
    assert_eq!(finding("$.data", None, r#"{"data":[],"n":0}"#), "proven: `$.data` is [] beside n");
}

#[test]
fn what_is_not_there_proves_nothing_and_says_what_is() {
    for (body, expected) in [
        (r#"{"items":[{"x":1}],"n":1}"#, "unproven: no `$.data`; the document has: items, n"),
        ("{}", "unproven: no `$.data`; the document has: nothing"),
        (r#"{"data":null,"n":0}"#, "unproven: `$.data` is null"),
        (r#"{"data":"soon"}"#, "unproven: `$.data` is a text, not an array"),
        (r#"{"data":0}"#, "unproven: `$.data` is a number, not an array"),
        (
            r#"{"data":{"rows":[],"next":1}}"#,
            "unproven: `$.data` is an object, not an array; it has: rows, next",
        ),
        ("[1,2]", "unproven: `$` is an array of 2, not an object"),
        ("\"down\"", "unproven: `$` is a text, not an object"),
        ("null", "unproven: `$` is null"),
        (r#"{"a\nb`":1}"#, r"unproven: no `$.data`; the document has: a\\nb`"),
    ] {
        assert_eq!(finding("$.data[*]", None, body), expected, "{body}");
    }
    let many =
        format!("{{{}}}", (0..999).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));
    let found = finding("$.data[*]", None, &many);
    assert!(found.ends_with("k10, k11 and 987 more"), "{found}");
    assert_eq!(
        finding("$.a.data[*]", None, r#"{"a":{"b":1}}"#),
        "unproven: no `$.a.data`; `$.a` has: b"
    );
    assert_eq!(
        finding("$.a[2].x[*]", None, r#"{"a":[1]}"#),
        "unproven: `$.a` has 1 elements, none at [2]"
    );
    assert_eq!(
        finding("$.data", None, r#"{"data":[1]}"#),
        "unproven: `$.data` is an array of 1, not an object: `[*]` behind the path takes its elements"
    );
}

#[test]
fn the_declared_condition_proves_and_disproves() {
    let total = Some("$.total == 0");
    for (body, expected) in [
        (r#"{"total":0}"#, "proven: `$.total == 0` holds"),
        (r#"{"total":0.0,"data":null}"#, "proven: `$.total == 0` holds"),
        (r#"{"data":[],"total":0}"#, "proven: `$.total == 0` holds"),
        (
            r#"{"data":[],"total":5}"#,
            "unproven: `$.data` is [] beside total; `$.total == 0` does not hold, found 5",
        ),
        (
            r#"{"total":"0"}"#,
            "unproven: no `$.data`; the document has: total; `$.total == 0` does not hold, found '0'",
        ),
        (r#"{"data":[],"count":0}"#, "proven: `$.data` is [] beside count"),
        (r#"{"total":{"a":0}}"#, "unproven: no `$.data`; the document has: total"),
        // Records that do not fit are lost records, whatever the condition says.
        (r#"{"data":[{"y":1}],"total":0}"#, "1 rejected"),
    ] {
        assert_eq!(finding("$.data[*]", total, body), expected, "{body}");
    }
    let deep = Some("$.meta.pages[1]['status text'] == 'no \"data\"'");
    let body = r#"{"meta":{"pages":[0,{"status\u0020text":"no \"data\""}]}}"#;
    assert!(finding("$.data[*]", deep, body).starts_with("proven"), "escapes are resolved");
}

#[test]
fn records_win_over_a_condition_that_holds() {
    let table = extract(
        &spec("$.data[*]", Some("$.total == 0"), &["x $.x int"]),
        br#"{"total":0,"data":[{"x":1}]}"#,
    );
    assert_eq!(table.extraction.finding, Finding::Records);
    assert_eq!(table.rows, [["1"]]);
}

#[test]
fn an_error_object_where_the_one_record_would_be_is_empty_if_declared() {
    let empty = Some("$.Response == 'False'");
    let body = r#"{"Response":"False","Error":"not found"}"#;
    assert_eq!(finding("$", empty, body), "proven: `$.Response == 'False'` holds");
    assert_eq!(finding("$", None, body), "1 rejected");
    let table = extract(&spec("$", empty, &["x $.x int"]), br#"{"Response":"True","x":1}"#);
    assert_eq!(table.rows, [["1"]]);
}

#[test]
fn groups_that_are_unlike_the_others_are_rejected_not_skipped() {
    let body = r#"{"groups":[{"items":[{"x":1},{"x":2}]},{"name":"b","itemz":[{"x":3}]},7,{"items":[]},{"items":null}]}"#;
    let table = extract(&spec("$.groups[*].items[*]", None, &["x $.x int"]), body.as_bytes());
    assert_eq!(table.rows, [["1"], ["2"]]);
    let reasons: Vec<&str> =
        table.extraction.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "no `$.groups[*].items`; `$.groups[*]` has: name, itemz",
            "`$.groups[*]` is a number, not an object"
        ]
    );
    let (from, to) = table.extraction.rejects[0].span;
    assert_eq!(&body[from as usize..to as usize], r#"{"name":"b","itemz":[{"x":3}]}"#);
    assert_eq!(
        finding("$.groups[*].items[*]", None, r#"{"groups":[{"items":[],"n":1}]}"#),
        "proven: `$.groups[*].items` is [] beside n"
    );
    assert_eq!(
        finding("$.groups[*].items[*]", None, r#"{"groups":[{"items":[],"n":1},{"items":[]}]}"#),
        "unproven: `$.groups[*].items` is [] with nothing beside it"
    );
}
