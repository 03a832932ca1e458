//! What is read from files without mistakes.

use crate::{SMALLEST, sound, with};
use jiff::SignedDuration;
use model::{
    Calendar, Money,
    expect::{Check, RecordsPerCell},
    field::FieldType,
    listing::{EntityFrom, FeedField, Listing},
};
use proptest::prelude::*;
use source::{Auth, Escape, Method, Template, TemplateError};

/// Every key of a source file that this version reads.
const EVERYTHING: &str = r#"
# A comment.
name = "eod_prices"
owner = "market-data"
description = "End-of-day prices"
enabled = false

[entities]
list = ["AAPL"]

[periods]
calendar = "XNYS"
closes_at = 16:00:00
timezone = "America/New_York"
due_after = "30m"
from = 2026-01-02
give_up_after = "36h"
look_every = "10m"
look_every_max = "1h"

[request]
url = "https://api.example.com/eod/{{ entity }}?date={{ period | strftime('%Y%m%d') }}"
method = "POST"
body = '{"symbol": "{{ entity }}"}'
headers = { Accept = "application/json", X-Key = "k-${EOD_TOKEN}-${EOD_TOKEN}", X-Plain = "$${x}" }
auth = { bearer = "${EOD_TOKEN}" }
cost = 0.25
timeout = { connect = "1s", idle = "2s", total = "1m30s" }
body_limit = "10MiB"
decoded_limit = 2048
html_limit = "1KiB"
redirects_max = 2
empty_status = [404, 204, 404]
conditional = false

[limit]
rate = 2.5
burst = 3
concurrency = 4
scope = "vendor_api"
learn = false
prefer_open_hours = true

[budget]
per_period = 5
per_day = 12.5
per_month = 100

[arrival]
conditional = { cost = 0.1 }
head = { url = "https://api.example.com/head/{{ entity }}", ready = "content_length > 0.8 * usual", cost = 0.01 }
page = { url = "https://example.com/{{ period }}", select = "td.symbol", entity = "data-symbol", pattern = "[A-Z]+", cost = 0.05 }
feed = { url = "https://example.com/feed", entity = "link", pattern = "s=([A-Z]+)" }
value_of_freshness = "2.0/hour"
learn = false
model = "models/arrival.onnx"

[extract]
format = "json"
records = "$.data[*]"
empty = "$.total == 0"
record_limit = "1MiB"
depth_limit = 16

[extract.fields]
date = { path = "$.t", type = "date" }
close = { path = "$.c", type = "decimal(18,6)", missing_values = ["N/A", -1.50], optional = true }
symbol = { type = "text" }

[expect]
records_per_cell = { min = 1, max = 2 }
key = ["entity", "date"]
checks = [
    { not_null = "close" },
    { between = { field = "close", min = 0.10, max = 100000000000000000000.5 } },
    { one_of = { field = "symbol", values = ["a", "b"] } },
    { matches = { field = "symbol", pattern = "[A-Z]+" } },
    { equals_entity = "symbol" },
    { equals_period = "date" },
]

[load]
to = ["lake"]
table = "prices"

[revisit]
every = "1d"
until = "7d"

[retry]
first = "1s"
max = "10s"
attempts = 3
"#;

#[test]
fn every_key_is_read() {
    let source = sound(EVERYTHING);
    assert_eq!(source.id.as_str(), "eod_prices");
    assert!(!source.enabled);
    assert_eq!(source.calendar.calendar, Calendar::Xnys);
    assert_eq!(source.calendar.closes_at, Some(jiff::civil::time(16, 0, 0, 0)));
    assert_eq!(source.calendar.due_after, SignedDuration::from_mins(30));
    assert_eq!(source.from, Some(jiff::civil::date(2026, 1, 2)));
    assert_eq!(source.looks.give_up_after, Some(SignedDuration::from_hours(36)));
    assert_eq!(source.looks.retries, 2);
    let request = &source.request;
    assert_eq!(request.method, Method::Post);
    assert_eq!(
        request.render_body(&["a\"b"], "2026-01-05").unwrap().unwrap(),
        r#"{"symbol": "a\"b"}"#
    );
    assert_eq!(
        request.url.render_url(&["BRK/B"], "2026-01-05").unwrap().as_str(),
        "https://api.example.com/eod/BRK%2FB?date=20260105"
    );
    let header = |name: &str| {
        let found = request.headers.iter().find(|(header, _)| header == name);
        found.unwrap().1.resolve().reveal().to_owned()
    };
    assert_eq!(header("X-Key"), "k-s3cr3t-token-s3cr3t-token");
    assert_eq!(header("X-Plain"), "${x}");
    assert_eq!(header("Content-Type"), "application/json");
    assert!(matches!(&request.auth, Some(Auth::Bearer(token)) if token.reveal() == "s3cr3t-token"));
    assert_eq!(request.cost, Money::from_units(0.25).unwrap());
    assert_eq!(request.timeout_total, SignedDuration::from_secs(90));
    assert_eq!((request.body_limit_bytes, request.decoded_limit_bytes), (10 << 20, 2048));
    assert_eq!(request.empty_status, [404, 204]);
    assert_eq!(source.limit.rate_per_second, Some(2.5));
    assert_eq!(source.limit.scope.as_deref(), Some("vendor_api"));
    assert!(!source.limit.learn && source.limit.prefer_open_hours);
    assert_eq!(source.limit_scope(), "vendor_api");
    assert_eq!(source.budget.per_day, Money::from_units(12.5));
    assert_eq!(source.budget.per_period, Money::from_units(5.0));
    assert_eq!(source.budget.per_month, Money::from_units(100.0));
    let arrival = source.arrival.unwrap();
    assert_eq!(arrival.conditional, Money::from_units(0.1));
    assert_eq!(arrival.value_per_hour, Money::from_units(2.0));
    let head = arrival.head.unwrap();
    assert_eq!(head.ready.to_string(), "content_length > 0.8 * usual");
    assert_eq!(head.cost, Money::from_units(0.01).unwrap());
    assert_eq!(
        arrival.page.unwrap().listing,
        Listing::Select {
            selector: "td.symbol".to_owned(),
            entity: EntityFrom::Attribute("data-symbol".to_owned()),
            pattern: Some("[A-Z]+".to_owned()),
        }
    );
    let field = FeedField::Link;
    assert_eq!(
        arrival.feed.unwrap().listing,
        Listing::Feed { field, pattern: Some("s=([A-Z]+)".to_owned()) }
    );
    let names: Vec<_> = source.extract.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["date", "close", "symbol"]);
    let close = &source.extract.fields[1];
    assert_eq!(close.kind, FieldType::Decimal { precision: 18, scale: 6 });
    assert_eq!(close.missing_values, ["N/A", "-1.50"]);
    assert_eq!(source.extract.fields[2].path.to_string(), "$.symbol");
    assert_eq!(source.expect.records_per_cell, Some(RecordsPerCell { min: 1, max: Some(2) }));
    assert_eq!(
        source.expect.checks[1],
        Check::Between {
            field: "close".to_owned(),
            min: Some("0.10".to_owned()),
            max: Some("100000000000000000000.5".to_owned()),
        }
    );
    assert_eq!(source.table.as_str(), "prices");
    assert_eq!(source.to, ["lake"]);
}

#[test]
fn what_is_left_out_has_a_default() {
    let source = sound(SMALLEST);
    assert_eq!(source.id.as_str(), "a");
    assert_eq!(source.table.as_str(), "a");
    assert!(source.enabled);
    assert_eq!(source.limit.concurrency, 64);
    assert!(source.limit.learn && !source.limit.prefer_open_hours);
    assert_eq!(source.limit_scope(), "https://api.example.com");
    assert_eq!(source.limit.crawl_delay, None);
    let delayed = sound(&with("[extract]", "[limit]\ncrawl_delay = \"10s\"\n[extract]"));
    assert_eq!(delayed.limit.crawl_delay, Some(SignedDuration::from_secs(10)));
    let unlearned = sound(&with("[extract]", "[limit]\nlearn = false\n[extract]"));
    assert_eq!(unlearned.limit.concurrency, 8);
    assert_eq!(source.looks.give_up_after, Some(SignedDuration::from_hours(168)));
    assert_eq!(source.request.cost, Money::ZERO);
    let once = sound(&with("[periods]\ncalendar = \"daily\"", ""));
    assert_eq!(once.calendar.calendar, Calendar::Once);
    assert_eq!(once.looks.give_up_after, None);
}

#[test]
fn a_scope_is_a_server_and_the_credential_it_is_asked_with() {
    let url = "https://api.example.com/eod/{{ entity }}?date={{ period }}";
    for (written, scope) in [
        ("HTTPS://API.example.com:443/{{ entity }}?date={{ period }}", "https://api.example.com"),
        ("http://[::1]:8080/{{ entity }}?a={{ period }}", "http://[::1]:8080"),
        ("https://b\u{fc}cher.de/{{ entity | lower }}/{{ period }}", "https://xn--bcher-kva.de"),
    ] {
        assert_eq!(sound(&with(url, written)).limit_scope(), scope);
    }
    for (credential, name) in [
        ("headers = { X-Key = \"k-${EOD_TOKEN}\", Accept = \"*/*\" }", "EOD_TOKEN"),
        ("auth = { bearer = \"${EOD_TOKEN}\" }", "EOD_TOKEN"),
        ("auth = { basic = { user = \"me\", password = \"${EOD_TOKEN}\" } }", "EOD_TOKEN"),
        (
            "auth = { bearer = \"${EOD_TOKEN}\" }\nheaders = { X-Key = \"${EOD_TOKEN}\" }",
            "EOD_TOKEN",
        ),
    ] {
        let source = sound(&with("[extract]", &format!("{credential}\n[extract]")));
        assert_eq!(source.limit_scope(), format!("https://api.example.com as {name}"));
        let again = source::parse_definition(&source.definition).unwrap();
        assert_eq!(again.limit_scope(), source.limit_scope());
    }
}

#[test]
fn a_literal_credential_is_called_by_a_digest_that_does_not_know_it() {
    let scope_of = |header: &str, value: &str| {
        let headers = format!("headers = {{ {header} = \"{value}\" }}\n[extract]");
        sound(&with("[extract]", &headers)).limit_scope()
    };
    let scope = scope_of("X-Api-Key", "one");
    assert_eq!(scope, "https://api.example.com as 6d317c30");
    assert_eq!(scope_of("x-api-key", "two"), scope);
    assert_ne!(scope_of("Cookie", "one"), scope);
    assert_eq!(scope_of("Accept", "one"), "https://api.example.com");
    let user = "auth = { basic = { user = \"me\", password = \"\" } }\n[extract]";
    let user = sound(&with("[extract]", user)).limit_scope();
    assert!(user.starts_with("https://api.example.com as "), "{user}");
    let renamed = with("[entities]", "name = \"other\"\n[entities]");
    let headers = "headers = { X-Api-Key = \"one\" }\n[extract]";
    assert_ne!(sound(&renamed.replacen("[extract]", headers, 1)).limit_scope(), scope);
}

#[test]
fn a_definition_reads_as_the_same_source_and_has_no_secret() {
    for text in [EVERYTHING, SMALLEST] {
        let source = sound(text);
        let again = source::parse_definition(&source.definition).unwrap();
        assert_eq!(again.definition, source.definition);
        assert_eq!(again.version, source.version);
        assert_eq!(again.extract, source.extract);
        assert_eq!(again.expect, source.expect);
        assert!(!source.definition.contains("s3cr3t"));
        assert!(!format!("{source:?}").contains("s3cr3t"));
    }
    let literal = with("[extract]", "headers = { Cookie = \"session=0123456789\" }\n[extract]");
    let (source, _) = super::parse(&literal);
    assert!(!source.unwrap().definition.contains("0123456789"));
}

#[test]
fn the_version_follows_what_decides_the_data() {
    let version = |text: &str| sound(text).version;
    let same = version(SMALLEST);
    assert_eq!(same.to_string().len(), 16);
    for (old, new) in [
        ("[entities]", "# comment\nowner = \"me\"\n[entities]"),
        ("calendar = \"daily\"", "calendar = \"weekdays\""),
        ("[extract]", "cost = 2\ntimeout = { total = \"9s\" }\n[limit]\nrate = 1\n[extract]"),
        ("path = \"$.c\", type = \"decimal(18,6)\"", "type = 'decimal(18,6)', path = '$.c'"),
    ] {
        assert_eq!(version(&with(old, new)), same, "{new}");
    }
    for (old, new) in [
        ("/eod/", "/v2/"),
        ("[extract]", "empty_status = [404]\n[extract]"),
        ("$.data[*]", "$.rows[*]"),
        ("decimal(18,6)", "decimal(18,4)"),
        ("[extract]", "[expect]\nkey = [\"close\"]\n[extract]"),
    ] {
        assert_ne!(version(&with(old, new)), same, "{new}");
    }
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    fn names(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, inner) in properties {
                found.push(format!("{path}.{name}"));
                names(inner, &format!("{path}.{name}"), found);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                names(&schema[inner], path, found);
            }
        }
        for inner in schema["anyOf"].as_array().into_iter().flatten() {
            names(inner, path, found);
        }
    }
    let schema = source::json_schema();
    let mut known = Vec::new();
    names(&schema, "", &mut known);
    assert!(known.len() > 60);
    // Each name of the schema stands in the example that is read without a mistake, or is one of
    // the keys that exclude another.
    for name in known {
        let last = name.rsplit('.').next().unwrap();
        let excluded = [
            ".entities.file",
            ".periods.file",
            ".arrival.page.text",
            ".arrival.page.json",
            ".request.max_entities",
            ".extract.entity_field",
            ".limit.crawl_delay",
        ];
        let alone = excluded.contains(&name.as_str()) || name.starts_with(".request.auth.basic");
        let there = EVERYTHING.lines().any(|line| {
            line.contains(&format!("{last} = "))
                || line.trim() == format!("[{last}]")
                || line.trim().ends_with(&format!(".{last}]"))
        });
        assert!(alone || there, "{name}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["request"]["required"], serde_json::json!(["url"]));
    assert!(source::settings_json_schema()["properties"]["lake"].is_object());
}

#[test]
fn a_template_escapes_by_where_it_stands() {
    let value = "a\"<&\u{e9} b";
    for (escape, expected) in [
        (Escape::Percent, "[a%22%3C%26%C3%A9%20b]"),
        (Escape::Json, "[a\\\"<&\u{e9} b]"),
        (Escape::Xml, "[a&quot;&lt;&amp;\u{e9} b]"),
        (Escape::Plain, "[a\"<&\u{e9} b]"),
    ] {
        for text in ["[{{ entity }}]", "[{{entity|trim}}]"] {
            let template = Template::parse_text(text, escape).unwrap();
            assert_eq!(template.render_text(&[value], "once").unwrap(), expected, "{text}");
        }
    }
}

#[test]
fn both_ways_to_render_agree() {
    for text in ["{{ entity }}", "a{{entity}}{{ period }}b\n", "{ {{ period }} } }}", "x\n\n", ""] {
        let fast = Template::parse_text(text, Escape::Percent).unwrap();
        let slow = Template::parse_text(&format!("{text}{{# #}}"), Escape::Percent).unwrap();
        let render = |template: &Template| template.render_text(&["a/b"], "2026-01-05").unwrap();
        assert_eq!(render(&fast), render(&slow), "{text:?}");
    }
}

#[test]
fn an_entity_of_dots_cannot_climb() {
    let path = Template::parse("https://h.example/a/{{ entity }}/b").unwrap();
    for entity in [".", ".."] {
        let error = path.render_url(&[entity], "once").unwrap_err();
        assert!(matches!(error, TemplateError::DotSegment { .. }), "{error}");
    }
    for (entity, expected) in [
        ("../../etc", "https://h.example/a/..%2F..%2Fetc/b"),
        ("%2e%2e", "https://h.example/a/%252e%252e/b"),
        ("...", "https://h.example/a/.../b"),
        ("?x#y", "https://h.example/a/%3Fx%23y/b"),
    ] {
        assert_eq!(path.render_url(&[entity], "once").unwrap().as_str(), expected);
    }
    for literal in ["/%2E%2e/", "/a/.%2e?x=", "/../", "/./"] {
        let template = Template::parse(&format!("https://h.example{literal}{{{{ entity }}}}"));
        let error = template.unwrap().render_url(&["x"], "once").unwrap_err();
        assert!(matches!(error, TemplateError::DotSegment { .. }), "{literal}: {error}");
    }
    let glued = Template::parse("https://h.example/.{{ entity }}").unwrap();
    assert!(glued.render_url(&["."], "once").is_err());
    let query = Template::parse("https://h.example/?q={{ entity }}").unwrap();
    assert_eq!(query.render_url(&[".."], "once").unwrap().query(), Some("q=.."));
    let long = path.render_url(&[&"é".repeat(10_000)], "once").unwrap_err();
    assert!(matches!(long, TemplateError::TooLong { .. }));
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn any_entity_stays_in_its_place(entity in "\\PC{1,60}|[./%?#&=\\\\@: +]{1,12}") {
        // The second way goes through MiniJinja.
        for tail in ["", "{# #}"] {
            let text = "https://api.example.com:8443/a/{{ entity }}/b?q={{ entity }}&d={{ period }}";
            let template = Template::parse(&format!("{text}{tail}")).unwrap();
            let url = match template.render_url(&[&entity], "2026-01-05") {
                Ok(url) => url,
                Err(TemplateError::DotSegment { .. }) => {
                    prop_assert!(entity == "." || entity == "..");
                    continue;
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            prop_assert_eq!(url.port(), Some(8443));
            prop_assert_eq!(url.scheme(), "https");
            prop_assert_eq!(url.fragment(), None);
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert_eq!(decoded(segments[1]), entity.clone());
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(pairs.len(), 2);
            prop_assert_eq!(&pairs[0].1, &entity);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[\\[\\]{}=\"'.a-z0-9_ \n#,\\\\$é]{0,200}") {
        let _ = super::check(&text);
    }

    #[test]
    fn any_damage_to_a_good_file_is_survived(at in 0usize..2000, cut in 0usize..40, put in "\\PC{0,3}") {
        let floor = |at: usize| {
            let mut at = at.min(EVERYTHING.len());
            while !EVERYTHING.is_char_boundary(at) { at -= 1; }
            at
        };
        let (start, end) = (floor(at), floor(at + cut));
        let text = format!("{}{put}{}", &EVERYTHING[..start], &EVERYTHING[end..]);
        let found = super::check(&text);
        for diagnostic in &found.0 {
            let line = text.lines().nth(diagnostic.line as usize - 1).unwrap_or_default();
            prop_assert!(diagnostic.column as usize <= line.chars().count() + 1, "{}", diagnostic);
        }
    }
}
