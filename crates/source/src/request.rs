//! `[request]`, `[limit]`: how a cell is asked for, and how fast.

use crate::{
    diagnostic::{Report, Span},
    extract::field_kind,
    load::{Surroundings, fitting_name},
    secret::{self, HeaderText, Part},
    spec::{Auth, LimitSpec, ManySpec, Method, RequestSpec, escape_of},
    template::{Template, TemplateError},
    tree::{Entry, Table},
};
use jiff::SignedDuration;
use model::{
    Money, SourceId,
    field::{FieldSpec, FieldType},
};

const GIB: u64 = 1 << 30;
const HTML_LIMIT_BYTES: u64 = 1 << 20;
/// Beneath it the limit is learned.
const CONCURRENCY: u32 = 64;
/// Where nothing is learned, so that nothing else is beneath it.
const CONCURRENCY_UNLEARNED: u32 = 8;
/// Whether backfill waits for hours that let more through, if a file does not say.
const PREFER_OPEN_HOURS: bool = false;
const REDIRECTS_MAX: u32 = 5;
/// Longer ones are a matter of when to look, not of how fast.
const CRAWL_DELAY_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Header fields that the client itself must write.
const OWN_HEADERS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Header fields (parts of their names) whose values are secret.
const SECRET_HEADERS: [&str; 7] =
    ["authorization", "api-key", "apikey", "token", "secret", "cookie", "password"];

/// Whether a header's value is not for everybody.
pub(crate) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_HEADERS.iter().any(|part| name.contains(part))
}

pub(crate) fn read(
    table: &Table,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<RequestSpec> {
    let url = read_url(table, report);
    let method = read_method(table, report);
    let mut headers = read_headers(table, surroundings, report);
    let body = read_body(table, method, &mut headers, report);
    let (auth, auth_from) = read_auth(table, &headers, surroundings, report).unzip();
    let (connect, idle, total) = read_timeouts(table, report);
    let empty_status = read_empty_status(table, report);
    Some(RequestSpec {
        method: method?,
        url: url?,
        body,
        headers,
        auth,
        auth_from: auth_from.unwrap_or_default(),
        cost: table.amount("cost").unwrap_or(Money::ZERO),
        timeout_connect: connect,
        timeout_idle: idle,
        timeout_total: total,
        body_limit_bytes: table.size("body_limit").unwrap_or(GIB),
        decoded_limit_bytes: table.size("decoded_limit").unwrap_or(4 * GIB),
        html_limit_bytes: table.size("html_limit").unwrap_or(HTML_LIMIT_BYTES),
        redirects_max: table.count("redirects_max").map_or(REDIRECTS_MAX, |count| count as u32),
        empty_status,
        conditional: table.flag("conditional").unwrap_or(true),
        many: None,
    })
}

/// `max_entities` and what it needs elsewhere: a place in a template, and a field by which the
/// records are told apart.
pub(crate) fn read_many(
    root: &Table,
    request: &RequestSpec,
    fields: &[FieldSpec],
    report: &mut Report,
) -> Option<ManySpec> {
    let place = |key: &str, inner: &str| {
        let table = root.table(key)?;
        Some(table.entry(inner)?.key_span)
    };
    let field = root.table("extract").and_then(|table| table.text("entity_field"));
    let most = root.table("request").and_then(|table| table.count("max_entities"));
    let url = place("request", "url").unwrap_or_default();
    let Some(entities_max) = most else {
        if request.any_template(Template::mentions_entities) {
            let help = "write `max_entities = 100`, or what the server takes";
            report.error_help(url, "`entities` needs `max_entities`", help);
        } else if let Some((_, span)) = field {
            let help = "it is for requests with `max_entities`: remove it";
            report.error_help(span, "`entity_field` has no use here", help);
        }
        return None;
    };
    let key = place("request", "max_entities").unwrap_or_default();
    if !request.any_template(Template::mentions_entities) {
        let help = "write `{{ entities | join(',') }}` where the entities belong";
        report.error_help(key, "with `max_entities` a template has to name `entities`", help);
    }
    if request.any_template(Template::mentions_one_entity) {
        let help = "write `{{ entities | join(',') }}` in its place";
        report.error_help(url, "with `max_entities` no template can name `entity`", help);
    }
    if let Some(spec) = root.table("arrival").and_then(|table| table.entry("conditional")) {
        let help = "remove it: whether many are the same cannot be asked at once";
        report.error_help(
            spec.key_span,
            "`conditional` and `max_entities` exclude each other",
            help,
        );
    }
    let Some((name, span)) = field else {
        let help = "write `entity_field = \"symbol\"` in `[extract]`: a field that is the entity";
        report.error_help(key, "with `max_entities` records have to name their entity", help);
        return None;
    };
    let extract = root.table("extract")?;
    if field_kind(extract, fields, (name, span), report)? != FieldType::Text {
        let help = format!("write `{name} = {{ ..., type = \"text\" }}`");
        report.error_help(span, format!("the field `{name}` is not a text"), help);
        return None;
    }
    Some(ManySpec { entities_max: entities_max as u32, entity_field: name.to_owned() })
}

pub(crate) fn report_template(error: &TemplateError, span: Span, report: &mut Report) {
    let place = error.offset().map_or(span, |offset| report.inside(span, offset));
    match error {
        TemplateError::Syntax { message, help, .. } => report.error_help(place, message, help),
        TemplateError::Render { message, .. } if message.contains("filter") => report.error_help(
            place,
            error.to_string(),
            "filters are lower, upper, trim, replace, for periods strftime, and for entities join",
        ),
        _ => report.error(place, error.to_string()),
    }
}

fn read_url(table: &Table, report: &mut Report) -> Option<Template> {
    let (text, span) = table.text("url")?;
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            report_template(&error, span, report);
            None
        }
    }
}

/// Renders URL and body once, so that what would fail for all is known at once.
pub(crate) fn try_render(
    table: &Table,
    request: &RequestSpec,
    entities: &[&str],
    period: &str,
    report: &mut Report,
) {
    // What is wrong with one entity's name only is said when it is asked for.
    let spares = |error: &TemplateError| match error {
        TemplateError::DotSegment { .. } => true,
        TemplateError::TooLong { .. } => entities.len() == 1,
        _ => false,
    };
    if let Some((_, span)) = table.text("url")
        && let Err(error) = request.url.render_url(entities, period)
        && !spares(&error)
    {
        report_template(&error, span, report);
    }
    if let Some((_, span)) = table.text("body")
        && let Err(error) = request.render_body(entities, period)
    {
        report_template(&error, span, report);
    }
}

fn read_method(table: &Table, report: &mut Report) -> Option<Method> {
    let Some((text, span)) = table.text("method") else {
        return (!table.has("method")).then_some(Method::Get);
    };
    match text {
        "GET" => Some(Method::Get),
        "POST" => Some(Method::Post),
        _ => {
            let help = match text.to_ascii_uppercase().as_str() {
                upper @ ("GET" | "POST") => format!("write \"{upper}\""),
                _ => "a source is asked by GET, or by POST with a `body`".to_owned(),
            };
            report.error_help(span, format!("`{text}` is not a method of this version"), help);
            None
        }
    }
}

fn read_headers(
    table: &Table,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<(String, HeaderText)> {
    let mut headers: Vec<(String, HeaderText)> = Vec::new();
    for entry in table.table("headers").map_or(&[][..], |headers| &headers.entries) {
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(&entry.key)) {
            let message = format!("the header `{}` is there twice", entry.key);
            report.error_help(entry.key_span, message, "upper and lower case make no difference");
            continue;
        }
        if let Some(value) = read_header(entry, surroundings, report) {
            headers.push((entry.key.clone(), value));
        }
    }
    headers
}

fn read_header(
    entry: &Entry,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<HeaderText> {
    let name = &entry.key;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        let help = "letters, digits and `-`";
        report.error_help(entry.key_span, format!("`{name}` is not the name of a header"), help);
        return None;
    }
    if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        let message = format!("the header `{name}` cannot be set");
        report.error_help(entry.key_span, message, "it is written with each request as needed");
        return None;
    }
    let (text, span) = entry.item.text()?;
    if let Some(offset) = text.find("{{").or_else(|| text.find("{%")) {
        let help = "templates are for `url` and `body`";
        let place = report.inside(span, offset);
        report.error_help(place, "a header cannot have a template", help);
        return None;
    }
    if let Some((offset, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
        let place = report.inside(span, offset);
        report.error(place, "a header cannot have a line break or another control character");
        return None;
    }
    let value = secret::read(text, span, surroundings, report)?;
    warn_of_literal_secret(name, &value, span, report);
    Some(value)
}

fn warn_of_literal_secret(name: &str, value: &HeaderText, span: Span, report: &mut Report) {
    let literal = |part: &Part| match part {
        Part::Literal(text) => text.split_whitespace().any(|word| word.len() >= 8),
        Part::Reference { .. } => false,
    };
    if is_secret_header(name) && !value.has_secret() && value.parts().iter().any(literal) {
        report.mask(span);
        report.warning(
            span,
            format!("the value of `{name}` looks like a secret that stands in the file"),
            format!("put it into the environment and write {name} = \"${{NAME}}\""),
        );
    }
}

fn read_body(
    table: &Table,
    method: Option<Method>,
    headers: &mut Vec<(String, HeaderText)>,
    report: &mut Report,
) -> Option<Template> {
    let Some((text, span)) = table.text("body") else {
        if method == Some(Method::Post) && !table.has("body") {
            let span = table.text("method").map_or(table.span, |(_, span)| span);
            report.error_help(
                span,
                "a POST needs a `body`",
                "write `body = \"...\"`; it may be empty",
            );
        }
        return None;
    };
    if method == Some(Method::Get) {
        let span = table.entry("body").map_or(span, |entry| entry.key_span);
        report.error_help(span, "a GET has no `body`", "write `method = \"POST\"`");
        return None;
    }
    if let Some(offset) = text.find("${") {
        let help = "put it into `headers` or `auth`";
        let place = report.inside(span, offset);
        report.error_help(place, "a body cannot have a secret", help);
        return None;
    }
    let declared = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let escape = match declared {
        Some((_, value)) => escape_of(&value.to_string()),
        None if text.trim_start().starts_with(['{', '[']) => {
            let json = "application/json";
            headers.push(("Content-Type".to_owned(), HeaderText::literal(json)));
            escape_of(json)
        }
        None => {
            let help = "write `headers = { Content-Type = \"application/json\" }`, or what it is";
            report.error_help(span, "a body needs a `Content-Type`", help);
            return None;
        }
    };
    match Template::parse_text(text, escape) {
        Ok(template) => Some(template),
        Err(error) => {
            report_template(&error, span, report);
            None
        }
    }
}

/// How a request is authorised, and where that comes from.
fn read_auth(
    table: &Table,
    headers: &[(String, HeaderText)],
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<(Auth, Vec<String>)> {
    let auth = table.table("auth")?;
    let span = table.entry("auth")?.key_span;
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        report.error(span, "`auth` and the header `Authorization` exclude each other");
    }
    match (auth.has("bearer"), auth.has("basic")) {
        (true, true) => {
            report.error(span, "`bearer` and `basic` exclude each other");
            None
        }
        (true, false) => {
            let value = read_credential(auth, "bearer", surroundings, report)?;
            Some((Auth::Bearer(value.resolve()), references([&value])))
        }
        (false, true) => {
            let basic = auth.table("basic")?;
            let user = basic
                .text("user")
                .and_then(|(text, span)| secret::read(text, span, surroundings, report));
            let password = read_credential(basic, "password", surroundings, report);
            let (user, password) = (user?, password?);
            let from = references([&user, &password]);
            Some((Auth::Basic { user: user.resolve(), password: password.resolve() }, from))
        }
        (false, false) => {
            if auth.refused.is_empty() {
                let help = "write `auth = { bearer = \"${NAME}\" }`";
                report.error_help(span, "`auth` needs `bearer` or `basic`", help);
            }
            None
        }
    }
}

fn references<const N: usize>(values: [&HeaderText; N]) -> Vec<String> {
    values.into_iter().flat_map(HeaderText::references).map(str::to_owned).collect()
}

/// A token or password: by reference only.
fn read_credential(
    table: &Table,
    key: &str,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<HeaderText> {
    let (text, span) = table.text(key)?;
    if !text.is_empty() && !text.contains("${") && !text.starts_with("file:") {
        report.mask(span);
        let help = format!("put it into the environment and write `{key} = \"${{NAME}}\"`");
        report.error_help(span, format!("`{key}` is a secret and cannot stand in the file"), help);
        return None;
    }
    if text.is_empty() && key == "bearer" {
        report.error_help(span, "the token is empty", "write `bearer = \"${NAME}\"`");
        return None;
    }
    secret::read(text, span, surroundings, report)
}

fn read_timeouts(
    table: &Table,
    report: &mut Report,
) -> (SignedDuration, SignedDuration, SignedDuration) {
    let timeouts = table.table("timeout");
    let of = |key: &str, seconds: i64| {
        let declared = timeouts.and_then(|timeouts| timeouts.duration(key));
        declared.unwrap_or_else(|| SignedDuration::from_secs(seconds))
    };
    let (connect, idle, total) = (of("connect", 10), of("idle", 30), of("total", 300));
    for (key, part) in [("connect", connect), ("idle", idle)] {
        let declared = timeouts.and_then(|timeouts| timeouts.text(key));
        if let (Some((_, span)), true) = (declared, part > total) {
            let total = total.as_secs_f64();
            report.error(span, format!("`{key}` is longer than the `total` of {total} s"));
        }
    }
    // A short total shortens what is not declared.
    (connect.min(total), idle.min(total), total)
}

fn read_empty_status(table: &Table, report: &mut Report) -> Vec<u16> {
    let mut found = Vec::new();
    for item in table.list("empty_status").unwrap_or_default() {
        let Some((text, span)) = item.text() else { continue };
        let Ok(status) = text.parse::<u16>() else { continue };
        if matches!(status, 100..=199 | 300..=399 | 401 | 403 | 407 | 408 | 425 | 429 | 451 | 500..)
        {
            let help = "an answer that says that there is nothing is a 2xx, 400, 404 or 410";
            report.error_help(span, format!("the status {status} cannot prove emptiness"), help);
        } else if !found.contains(&status) {
            found.push(status);
        }
    }
    found
}

pub(crate) fn read_limit(table: Option<&Table>, report: &mut Report) -> LimitSpec {
    let count = |key: &str, default: u32| {
        table.and_then(|table| table.count(key)).map_or(default, |count| count as u32)
    };
    let learn = table.and_then(|table| table.flag("learn")).unwrap_or(true);
    let concurrency = if learn { CONCURRENCY } else { CONCURRENCY_UNLEARNED };
    LimitSpec {
        rate_per_second: table.and_then(|table| table.rate("rate")),
        burst: count("burst", 1),
        concurrency: count("concurrency", concurrency),
        crawl_delay: table.and_then(|table| read_crawl_delay(table, report)),
        scope: table.and_then(|table| read_scope(table, report)),
        learn,
        prefer_open_hours: table
            .and_then(|table| table.flag("prefer_open_hours"))
            .unwrap_or(PREFER_OPEN_HOURS),
    }
}

/// What a `robots.txt` calls `Crawl-delay`.
fn read_crawl_delay(limit: &Table, report: &mut Report) -> Option<SignedDuration> {
    let delay = limit.duration("crawl_delay")?;
    let (_, span) = limit.text("crawl_delay")?;
    if delay > CRAWL_DELAY_MAX {
        let help = "to look seldom, declare `look_every` in `[periods]`";
        report.error_help(span, "`crawl_delay` is longer than an hour", help);
    }
    if limit.count("burst").is_some_and(|burst| burst > 1) {
        let help = "leave out one of the two";
        report.error_help(span, "with a `crawl_delay` no `burst` leaves at once", help);
    }
    Some(delay)
}

/// A name as those of sources: one that is derived, with its `://`, cannot be meant.
fn read_scope(limit: &Table, report: &mut Report) -> Option<String> {
    let (text, span) = limit.text("scope")?;
    match SourceId::parse(text) {
        Ok(scope) => Some(scope.to_string()),
        Err(error) => {
            let help = format!("write `scope = \"{}\"`", fitting_name(text));
            report.error_help(span, format!("`{text}` cannot be a scope: {error}"), help);
            None
        }
    }
}
