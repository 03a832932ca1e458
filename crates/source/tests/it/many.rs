//! `max_entities`: one request for many.

use crate::{check, sound, with};
use source::{Escape, Template};

fn many(url: &str, extract: &str) -> String {
    let text = with("url = \"https://api.example.com/eod/{{ entity }}?date={{ period }}\"", url);
    text.replace("records =", &format!("{extract}\nrecords ="))
        .replace("close = {", "symbol = { type = \"text\" }\nclose = {")
}

const URL: &str =
    "url = \"https://api.example.com/eod?s={{ entities | join(',') }}\"\nmax_entities = 50";

#[test]
fn a_request_may_ask_for_many() {
    let source = sound(&many(URL, "entity_field = \"symbol\""));
    let found = source.request.many.unwrap();
    assert_eq!((found.entities_max, found.entity_field.as_str()), (50, "symbol"));
    let url = source.request.url.render_url(&["BRK/B", "A,B", "Ü"], "2026-01-05").unwrap();
    assert_eq!(url.as_str(), "https://api.example.com/eod?s=BRK%2FB,A%2CB,%C3%9C");
}

#[test]
fn what_stands_between_entities_is_the_templates_own() {
    let text = "{\"s\":[\"{{ entities | join('\",\"') }}\"]}";
    let body = Template::parse_text(text, Escape::Json).unwrap();
    let rendered = body.render_text(&["A", "quo\"te"], "once").unwrap();
    let read: serde_json::Value = serde_json::from_str(&rendered).unwrap();
    assert_eq!(read["s"][1], "quo\"te");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let named = "entity_field = \"symbol\"";
    let single = "url = \"https://api.example.com/eod/{{ entity }}\"\nmax_entities = 50";
    let unbounded = "url = \"https://api.example.com/eod?s={{ entities | join(',') }}\"";
    let conditional = "\n[arrival]\nconditional = { cost = 0.1 }\n[extract]";
    for (text, expected) in [
        (
            many(URL, ""),
            ["9:1: error: with `max_entities` records have to name their entity"].as_slice(),
        ),
        (
            many(URL, "entity_field = \"symbl\""),
            &["there is no field `symbl`", "did you mean `symbol`?"],
        ),
        (many(URL, "entity_field = \"close\""), &["the field `close` is not a text"]),
        (
            many(single, named),
            &[
                "with `max_entities` a template has to name `entities`",
                "with `max_entities` no template can name `entity`",
            ],
        ),
        (many(unbounded, ""), &["8:1: error: `entities` needs `max_entities`"]),
        (
            many("url = \"https://api.example.com/{{ entity }}\"", named),
            &["`entity_field` has no use here"],
        ),
        (
            many(URL, named).replace("\n[extract]", conditional),
            &["`conditional` and `max_entities` exclude each other"],
        ),
        (many(&URL.replace("50", "1"), named), &["2", "max_entities"]),
    ] {
        let found = check(&text).to_string();
        for part in expected {
            assert!(found.contains(part), "{part}\n{found}");
        }
        assert!(found.contains("help: "), "{found}");
    }
}

#[test]
fn a_url_that_would_be_too_long_is_said_at_once() {
    let names: Vec<String> =
        (0..400).map(|at| format!("\"{}{at}\"", "long-name-".repeat(6))).collect();
    let list = format!("list = [{}]", names.join(","));
    let text = many(&URL.replace("50", "400"), "entity_field = \"symbol\"")
        .replace("list = [\"AAPL\", \"MSFT\"]", &list);
    let found = check(&text).to_string();
    assert!(found.contains("at most 16384 are sent"), "{found}");
}
