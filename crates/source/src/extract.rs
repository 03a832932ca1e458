//! `[extract]` and `[expect]`: what is taken from an answer, and what the records must be.

use crate::{
    diagnostic::{Report, Span},
    tree::{Entry, Item, Table, did_you_mean, quote_all},
};
use model::{
    Period,
    expect::{Check, ExpectSpec, RecordsPerCell},
    field::{ExtractSpec, FieldSpec, FieldType, Format},
    path::{Condition, Path, PathError, Step},
};

const RECORD_LIMIT_BYTES: usize = 16 << 20;
const DEPTH_LIMIT: usize = 64;
/// The most columns of a table.
const FIELDS_LIMIT: usize = 1000;
const TYPES: &str = "`text`, `int`, `float`, `decimal(18,6)`, `bool`, `date`, `timestamp`, `json`";

pub(crate) fn read(table: &Table, report: &mut Report) -> Option<ExtractSpec> {
    let format = read_format(table, report);
    let records = table.text("records").and_then(|(text, span)| {
        Path::parse(text).map_err(|error| report_path(&error, span, report)).ok()
    });
    let empty = table.text("empty").and_then(|(text, span)| {
        Condition::parse(text).map_err(|error| report_path(&error, span, report)).ok()
    });
    let fields = read_fields(table, report);
    Some(ExtractSpec {
        format: format?,
        records: records?,
        empty,
        fields,
        record_limit_bytes: table
            .size("record_limit")
            .map_or(RECORD_LIMIT_BYTES, |bytes| bytes as usize),
        depth_limit: table.count("depth_limit").map_or(DEPTH_LIMIT, |depth| depth as usize),
    })
}

fn report_path(error: &PathError, span: Span, report: &mut Report) {
    let place = report.inside(span, error.offset);
    report.error_help(
        place,
        &error.message,
        "a path is written like `$.data[*]`, `$.t` or `$['odd name'][0]`",
    );
}

fn read_format(table: &Table, report: &mut Report) -> Option<Format> {
    let (text, span) = table.text("format")?;
    match text {
        "json" => Some(Format::Json),
        "csv" | "ndjson" | "jsonl" | "html" | "xml" | "parquet" => {
            let message = format!("the format `{text}` is not in this version");
            report.error_help(span, message, "this version reads `json`");
            None
        }
        _ => {
            report.error_help(
                span,
                format!("`{text}` is not a format"),
                "this version reads `json`",
            );
            None
        }
    }
}

fn read_fields(table: &Table, report: &mut Report) -> Vec<FieldSpec> {
    let Some(fields) = table.table("fields") else { return Vec::new() };
    if fields.entries.is_empty() && fields.refused.is_empty() {
        let help = "write `close = { path = \"$.c\", type = \"decimal(18,6)\" }`";
        report.error_help(fields.span, "`[extract.fields]` has no field", help);
    }
    if fields.entries.len() > FIELDS_LIMIT {
        let message = format!("{} fields, at most {FIELDS_LIMIT} are read", fields.entries.len());
        report.error(fields.span, message);
    }
    fields.entries.iter().filter_map(|entry| read_field(entry, fields, report)).collect()
}

fn read_field(entry: &Entry, fields: &Table, report: &mut Report) -> Option<FieldSpec> {
    let name = check_field_name(entry, report);
    let field = fields.table(&entry.key)?;
    let kind = field.text("type").and_then(|(text, span)| read_type(text, span, report));
    let path = match field.text("path") {
        Some((text, span)) => read_field_path(text, span, report),
        None if field.has("path") => None,
        None => Some(Path { steps: vec![Step::Member(entry.key.clone())] }),
    };
    let missing_values = texts(field.list("missing_values"));
    Some(FieldSpec {
        name: name?,
        path: path?,
        kind: kind?,
        missing_values,
        optional: field.flag("optional").unwrap_or(false),
    })
}

fn texts(items: Option<&[Item]>) -> Vec<String> {
    let texts = items.unwrap_or_default().iter().filter_map(Item::text);
    texts.map(|(text, _)| text.to_owned()).collect()
}

fn check_field_name(entry: &Entry, report: &mut Report) -> Option<String> {
    let name = &entry.key;
    if matches!(name.as_str(), "entity" | "period") {
        let message = format!("a field cannot be named `{name}`: that stands for the cell's own");
        report.error_help(
            entry.key_span,
            message,
            "choose another name, such as `symbol` or `day`",
        );
        return None;
    }
    if name.starts_with('_') {
        let help = "names with `_` in front are the columns of Tidewatch itself";
        report.error_help(entry.key_span, format!("a field cannot be named `{name}`"), help);
        return None;
    }
    match model::TableName::parse(name) {
        Ok(_) => Some(name.clone()),
        Err(error) => {
            report.error(entry.key_span, format!("`{name}` cannot be a column: {error}"));
            None
        }
    }
}

fn read_type(text: &str, span: Span, report: &mut Report) -> Option<FieldType> {
    let found = FieldType::parse(text);
    if found.is_none() {
        let names = ["text", "int", "float", "decimal", "bool", "date", "timestamp", "json"];
        let help = match did_you_mean(text, &names) {
            Some("decimal") => {
                "write `decimal(18,6)`: 1 to 38 digits, of which so many behind the point"
                    .to_owned()
            }
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("known are {TYPES}"),
        };
        report.error_help(span, format!("`{text}` is not a type"), help);
    }
    found
}

fn read_field_path(text: &str, span: Span, report: &mut Report) -> Option<Path> {
    let path = Path::parse(text).map_err(|error| report_path(&error, span, report)).ok()?;
    if path.steps.contains(&Step::Each) {
        let place = text.find("[*]").map_or(span, |offset| report.inside(span, offset));
        report.error_help(
            place,
            "a field is one value: `[*]` is not allowed here",
            "take the elements as records: `records = \"$.data[*]\"`",
        );
        return None;
    }
    Some(path)
}

/// Reads the expectations; the fields are those that could be read.
pub(crate) fn read_expect(
    table: &Table,
    extract: &Table,
    fields: &[FieldSpec],
    report: &mut Report,
) -> ExpectSpec {
    let declared = declared_fields(extract);
    let known = Known { declared: &declared, fields };
    let mut key: Vec<String> = Vec::new();
    for item in table.list("key").unwrap_or_default() {
        let Some((text, span)) = item.text() else { continue };
        if key.iter().any(|field| field == text) {
            report.error(span, format!("`{text}` is there twice"));
        } else if matches!(text, "entity" | "period") || known.check(text, span, report) {
            key.push(text.to_owned());
        }
    }
    let checks = table.list("checks").unwrap_or_default();
    ExpectSpec {
        records_per_cell: read_records(table, report),
        key,
        checks: checks.iter().filter_map(|check| read_check(check, &known, report)).collect(),
    }
}

fn read_records(table: &Table, report: &mut Report) -> Option<RecordsPerCell> {
    if let Some(count) = table.count("records_per_cell") {
        return Some(RecordsPerCell { min: count, max: Some(count) });
    }
    let range = table.table("records_per_cell")?;
    let (min, max) = (range.count("min").unwrap_or(0), range.count("max"));
    let entry = table.entry("records_per_cell")?;
    if max.is_some_and(|max| max < min) {
        report.error(entry.item.span, "`max` is below `min`");
    } else if range.entries.is_empty() && range.refused.is_empty() {
        report.error(entry.item.span, "`records_per_cell` needs `min` or `max`");
    }
    Some(RecordsPerCell { min, max })
}

/// The names of all fields that stand in the file, also of those with mistakes.
fn declared_fields(extract: &Table) -> Vec<&str> {
    extract
        .table("fields")
        .map(|fields| {
            let names = fields.entries.iter().map(|entry| entry.key.as_str());
            names.chain(fields.refused.iter().map(String::as_str)).collect()
        })
        .unwrap_or_default()
}

/// The type of a field that another key names, if it exists and could be read.
pub(crate) fn field_kind(
    extract: &Table,
    fields: &[FieldSpec],
    (name, span): (&str, Span),
    report: &mut Report,
) -> Option<FieldType> {
    Known { declared: &declared_fields(extract), fields }.kind(name, span, report)
}

/// The fields a check may name.
struct Known<'a> {
    /// All names that stand in the file, also of fields with mistakes.
    declared: &'a [&'a str],
    fields: &'a [FieldSpec],
}

impl Known<'_> {
    fn check(&self, name: &str, span: Span, report: &mut Report) -> bool {
        if self.declared.contains(&name) {
            return true;
        }
        // Without any field the missing table is the mistake.
        if !self.declared.is_empty() {
            let help = match did_you_mean(name, self.declared) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("the fields are {}", quote_all(self.declared)),
            };
            report.error_help(span, format!("there is no field `{name}`"), help);
        }
        false
    }

    /// The type of a field, if it exists and could be read.
    fn kind(&self, name: &str, span: Span, report: &mut Report) -> Option<FieldType> {
        if !self.check(name, span, report) {
            return None;
        }
        self.fields.iter().find(|field| field.name == name).map(|field| field.kind)
    }
}

fn read_check(item: &Item, known: &Known<'_>, report: &mut Report) -> Option<Check> {
    let crate::tree::Value::Table(check) = &item.value else { return None };
    let [entry] = check.entries.as_slice() else {
        if check.entries.len() > 1 {
            report.error_help(
                item.span,
                "a check has one key",
                "write `{ not_null = \"close\" }, { ... }`",
            );
        } else if check.refused.is_empty() {
            report.error(item.span, "the check is empty");
        }
        return None;
    };
    let name = |key: &str| check.text(key).map(|(text, span)| (text.to_owned(), span));
    match entry.key.as_str() {
        "not_null" => {
            let (field, span) = name("not_null")?;
            known.kind(&field, span, report)?;
            Some(Check::NotNull { field })
        }
        "equals_entity" => {
            let (field, span) = name("equals_entity")?;
            let kind = known.kind(&field, span, report)?;
            require(
                matches!(kind, FieldType::Text | FieldType::Int),
                &field,
                kind,
                "text or int",
                span,
                report,
            )?;
            Some(Check::EqualsEntity { field })
        }
        "equals_period" => {
            let (field, span) = name("equals_period")?;
            let kind = known.kind(&field, span, report)?;
            let fits = matches!(kind, FieldType::Text | FieldType::Date | FieldType::Timestamp);
            require(fits, &field, kind, "date, timestamp or text", span, report)?;
            Some(Check::EqualsPeriod { field })
        }
        "between" => read_between(check.table("between")?, known, report),
        "one_of" => read_one_of(check.table("one_of")?, known, report),
        "matches" => read_matches(check.table("matches")?, known, report),
        _ => None,
    }
}

fn require(
    fits: bool,
    field: &str,
    kind: FieldType,
    wanted: &str,
    span: Span,
    report: &mut Report,
) -> Option<()> {
    if !fits {
        report.error(span, format!("`{field}` is {kind}, this check is for {wanted}"));
    }
    fits.then_some(())
}

fn read_between(table: &Table, known: &Known<'_>, report: &mut Report) -> Option<Check> {
    let (field, span) = table.text("field")?;
    let kind = known.kind(field, span, report)?;
    let fits = !matches!(kind, FieldType::Json | FieldType::Bool);
    require(fits, field, kind, "numbers, dates, timestamps and text", span, report)?;
    let mut bound = |key: &str| -> Option<String> {
        let (text, span) = table.text(key)?;
        check_value(text, kind, field, span, report).then(|| text.to_owned())
    };
    let (min, max) = (bound("min"), bound("max"));
    if !table.has("min") && !table.has("max") {
        report.error(span, "`between` needs `min` or `max`");
        return None;
    }
    if let (Some(low), Some(high)) = (&min, &max)
        && is_reversed(low, high, kind)
        && let Some((_, span)) = table.text("min")
    {
        report.error(span, format!("`min` {low} is above `max` {high}: no value lies between"));
    }
    Some(Check::Between { field: field.to_owned(), min, max })
}

fn read_one_of(table: &Table, known: &Known<'_>, report: &mut Report) -> Option<Check> {
    let (field, span) = table.text("field")?;
    let kind = known.kind(field, span, report)?;
    let items = table.list("values")?;
    if items.is_empty() {
        report.error(span, "`one_of` needs at least one value");
    }
    for (text, span) in items.iter().filter_map(Item::text) {
        check_value(text, kind, field, span, report);
    }
    Some(Check::OneOf { field: field.to_owned(), values: texts(Some(items)) })
}

fn read_matches(table: &Table, known: &Known<'_>, report: &mut Report) -> Option<Check> {
    let (field, span) = table.text("field")?;
    let kind = known.kind(field, span, report)?;
    require(kind == FieldType::Text, field, kind, "text", span, report)?;
    let (pattern, span) = table.text("pattern")?;
    if let Err(error) = regex::Regex::new(pattern) {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let help =
            "patterns are those of the `regex` crate; back references and look-around are not";
        report.error_help(span, format!("not a regular expression: {reason}"), help);
        return None;
    }
    Some(Check::Matches { field: field.to_owned(), pattern: pattern.to_owned() })
}

/// Whether a bound or a value can be one of the field's type.
fn check_value(text: &str, kind: FieldType, field: &str, span: Span, report: &mut Report) -> bool {
    let fits = match kind {
        FieldType::Text | FieldType::Json => true,
        FieldType::Int => text.parse::<i64>().is_ok(),
        FieldType::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
        FieldType::Decimal { .. } => decimal(text).is_some(),
        FieldType::Bool => matches!(text, "true" | "false"),
        FieldType::Date => Period::parse(text).is_ok_and(|period| matches!(period, Period::Day(_))),
        FieldType::Timestamp => text.parse::<jiff::Timestamp>().is_ok(),
    };
    if !fits {
        report.error(span, format!("`{text}` is not a value of `{field}`, which is {kind}"));
    }
    fits
}

/// A plain decimal number: negative, digits before the point, digits behind it. Exponents are
/// refused: a bound is written out.
fn decimal(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let sound = |part: &str| {
        !part.is_empty() && part.len() <= 38 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (sound(whole) && sound(fraction))
        .then(|| (negative, whole.trim_start_matches('0'), fraction.trim_end_matches('0')))
}

fn is_reversed(low: &str, high: &str, kind: FieldType) -> bool {
    match kind {
        FieldType::Decimal { .. } | FieldType::Int => {
            let (Some(low), Some(high)) = (decimal(low), decimal(high)) else { return false };
            let magnitude = |(_, whole, fraction): (bool, &str, &str)| {
                (whole.len(), whole.to_owned(), fraction.to_owned())
            };
            match (low.0, high.0) {
                (false, false) => magnitude(low) > magnitude(high),
                (true, true) => magnitude(low) < magnitude(high),
                // `0` and `-0` are equal.
                (false, true) => [low, high]
                    .iter()
                    .any(|(_, whole, fraction)| !whole.is_empty() || !fraction.is_empty()),
                (true, false) => false,
            }
        }
        FieldType::Float => low.parse::<f64>().ok() > high.parse::<f64>().ok(),
        FieldType::Timestamp => {
            low.parse::<jiff::Timestamp>().ok() > high.parse::<jiff::Timestamp>().ok()
        }
        _ => low > high,
    }
}
