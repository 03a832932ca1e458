//! From TOML to a tree that holds only what the keys allow; all else becomes a diagnostic.

use crate::{
    diagnostic::{Report, Span},
    keys::{Key, Kind, SETTINGS, SOURCE, Section},
    units::{DURATION_FORM, SIZE_FORM, parse_duration, parse_size},
};
use jiff::{
    SignedDuration,
    civil::{Date, Time},
};
use model::Money;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value of the right kind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// A number as written.
    Number(String),
    Flag(bool),
    List(Vec<Item>),
    Table(Table),
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) item: Item,
}

/// A table in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
    /// Keys that are there but could not be used: not missing, but wrong.
    pub(crate) refused: Vec<String>,
    /// Where to point at when something is missing.
    pub(crate) span: Span,
}

/// Reads a file by a section's keys.
pub(crate) fn read(section: &Section, report: &mut Report) -> Table {
    let text = report.text().trim_start_matches('\u{feff}').to_owned();
    let skipped = report.text().len() - text.len();
    let shift = |span: std::ops::Range<usize>| Span {
        start: span.start + skipped,
        end: span.end + skipped,
    };
    let (root, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let span = error.span().map_or(Span::default(), shift);
        report.error(span, syntax_message(error.message()));
    }
    if !errors.is_empty() {
        report.set_damaged();
    }
    let broken_lines = report.lines_with_problems();
    let mut reader = Reader { report, skipped, broken_lines };
    reader.table(section, "", root.get_ref(), Span::default())
}

/// One line, in the words of the other messages.
fn syntax_message(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    if line == "duplicate key" {
        return "this key is there twice".to_owned();
    }
    format!("not TOML: {line}")
}

struct Reader<'a> {
    report: &'a mut Report,
    /// Bytes of a byte order mark before the text that was parsed.
    skipped: usize,
    /// Lines that are no TOML: what was guessed from them is not worth a second message.
    broken_lines: Vec<usize>,
}

impl Reader<'_> {
    fn span<T>(&self, spanned: &Spanned<T>) -> Span {
        let span = spanned.span();
        Span { start: span.start + self.skipped, end: span.end + self.skipped }
    }

    fn is_broken(&self, span: Span) -> bool {
        !self.broken_lines.is_empty()
            && self.broken_lines.contains(&self.report.line_of(span.start))
    }

    fn table(&mut self, section: &Section, path: &str, table: &DeTable<'_>, span: Span) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut found = Table { span, ..Table::default() };
        for (key, value) in entries {
            let key_span = self.span(key);
            let name: &str = key.get_ref();
            let Some(known) = section.keys.iter().find(|known| known.name == name) else {
                if !self.is_broken(key_span) {
                    let meant = self.unknown(section, path, name, key_span);
                    // One mistake, one message: what was meant is not missing.
                    found.refused.extend(meant.map(str::to_owned));
                }
                continue;
            };
            self.entry(&known.kind, path, name, key_span, value, &mut found);
        }
        self.missing(section, path, &found);
        found
    }

    fn entry(
        &mut self,
        kind: &Kind,
        path: &str,
        name: &str,
        key_span: Span,
        value: &Spanned<DeValue<'_>>,
        found: &mut Table,
    ) {
        let inner = join(path, name);
        match self.value(kind, &inner, key_span, value) {
            Some(item) => {
                found.entries.push(Entry { key: name.to_owned(), key_span, item });
            }
            None => found.refused.push(name.to_owned()),
        }
    }

    fn missing(&mut self, section: &Section, path: &str, found: &Table) {
        for key in section.keys.iter().filter(|key| key.required && !found.has(key.name)) {
            let name = key.name;
            let message = match (&key.kind, path) {
                (Kind::Section(_) | Kind::Named(_), _) => {
                    format!("the table `[{}]` is missing", join(path, name))
                }
                (_, "") => format!("`{name}` is missing"),
                _ => format!("`{name}` is missing in `[{path}]`"),
            };
            self.report.missing(found.span, message, format!("`{name}`: {}", key.about));
        }
    }

    fn value(
        &mut self,
        kind: &Kind,
        path: &str,
        key_span: Span,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Item> {
        let span = self.span(value);
        if matches!(kind, Kind::Later) {
            self.report.error_help(
                key_span,
                format!("`{path}` is not in this version"),
                "remove it; the changelog tells when it comes",
            );
            return None;
        }
        let read = match (kind, value.get_ref()) {
            (Kind::Section(section) | Kind::CountOr(section), DeValue::Table(table)) => {
                return Some(Item {
                    span,
                    value: Value::Table(self.table(section, path, table, key_span)),
                });
            }
            (Kind::Named(inner), DeValue::Table(table)) => {
                return Some(Item { span, value: self.named(inner, path, table, key_span) });
            }
            (Kind::List(inner), DeValue::Array(list)) => {
                let items =
                    list.iter().filter_map(|item| self.value(inner, path, self.span(item), item));
                return Some(Item { span, value: Value::List(items.collect()) });
            }
            (kind, value) => scalar(kind, value),
        };
        match read {
            Ok(value) => Some(Item { span, value }),
            Err(problem) => {
                if !self.is_broken(span) {
                    let help = problem.help.or_else(|| form(kind).map(str::to_owned));
                    let message = format!("`{path}` {}", problem.message);
                    // A whole table is a long mark: its first line says enough.
                    match help {
                        Some(help) => self.report.error_help(span, message, help),
                        None => self.report.error(span, message),
                    }
                }
                None
            }
        }
    }

    fn named(&mut self, inner: &Kind, path: &str, table: &DeTable<'_>, span: Span) -> Value {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut found = Table { span, ..Table::default() };
        for (key, value) in entries {
            let key_span = self.span(key);
            self.entry(inner, path, key.get_ref(), key_span, value, &mut found);
        }
        Value::Table(found)
    }

    /// Reports an unknown key and returns the one that was probably meant.
    fn unknown(
        &mut self,
        section: &Section,
        path: &str,
        name: &str,
        span: Span,
    ) -> Option<&'static str> {
        let message = match path {
            "" => format!("unknown key `{name}`"),
            _ => format!("unknown key `{name}` in `[{path}]`"),
        };
        let names = section.keys.iter().filter(|key| !matches!(key.kind, Kind::Later));
        let names: Vec<&'static str> = names.map(|key| key.name).collect();
        let meant = did_you_mean(name, &names);
        let help = match (meant, home_of(name, section)) {
            (Some(close), _) => format!("did you mean `{close}`?"),
            (None, Some(home)) => format!("`{name}` belongs into `[{home}]`"),
            (None, None) => format!("known here: {}", quote_all(&names)),
        };
        self.report.error_help(span, message, help);
        meant
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Names in backticks, with commas between.
pub(crate) fn quote_all(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The known name that was probably meant.
pub(crate) fn did_you_mean<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase();
    let length = found.chars().count();
    if length > 100 {
        return None;
    }
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), *name))
        .filter(|(distance, name)| {
            let starts = length >= 3 && (name.starts_with(&found) || found.starts_with(name));
            *distance <= (length.max(name.len()) / 3).max(1) || starts
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The table into which a key belongs that stands in the wrong one.
fn home_of(name: &str, here: &Section) -> Option<String> {
    fn search(section: &Section, path: &str, name: &str, here: &Section) -> Option<String> {
        for key in section.keys {
            let inner = join(path, key.name);
            let (Kind::Section(next) | Kind::CountOr(next)) = key.kind else { continue };
            let known = next.keys.iter().any(|k| k.name == name && !matches!(k.kind, Kind::Later));
            if known && !std::ptr::eq(next, here) {
                return Some(inner);
            }
            if let Some(found) = search(next, &inner, name, here) {
                return Some(found);
            }
        }
        None
    }
    let root = if std::ptr::eq(here, &raw const SETTINGS) { &SETTINGS } else { &SOURCE };
    search(root, "", name, here)
}

/// How a value of a kind is written.
fn form(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Duration | Kind::DurationOrZero => Some(DURATION_FORM),
        Kind::Size => Some(SIZE_FORM),
        Kind::Date => Some("write it like \"2026-01-02\""),
        Kind::Time => Some("write it like \"16:00\" or \"16:00:30\""),
        Kind::Flag => Some("write true or false"),
        _ => None,
    }
}

struct Refusal {
    message: String,
    help: Option<String>,
}

fn refuse<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal { message, help: None })
}

fn scalar(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Refusal> {
    match (kind, value) {
        (Kind::Text | Kind::Scalar, DeValue::String(text)) => {
            Ok(Value::Text(text.clone().into_owned()))
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Count { min, max }, DeValue::Integer(digits)) => {
            count(&digits.to_string(), *min, *max)
        }
        (Kind::CountOr(_), DeValue::Integer(digits)) => count(&digits.to_string(), 0, i64::MAX),
        (Kind::Rate | Kind::Amount | Kind::Scalar, DeValue::Integer(_) | DeValue::Float(_)) => {
            number(kind, value)
        }
        (Kind::Duration | Kind::DurationOrZero, DeValue::String(text)) => {
            match (parse_duration(text), kind) {
                (None, _) => refuse(format!("is not a duration: `{text}`")),
                (Some(SignedDuration::ZERO), Kind::Duration) => {
                    refuse("must be longer than 0".to_owned())
                }
                _ => Ok(Value::Text(text.clone().into_owned())),
            }
        }
        (Kind::Size, DeValue::String(text)) => match parse_size(text) {
            None => refuse(format!("is not a size: `{text}`")),
            Some(0) => refuse("must be above 0".to_owned()),
            Some(_) => Ok(Value::Text(text.clone().into_owned())),
        },
        (Kind::Size, DeValue::Integer(digits)) => count(&digits.to_string(), 1, i64::MAX),
        (Kind::Date, DeValue::String(text)) => date(text),
        (Kind::Date, DeValue::Datetime(found)) => date(&found.to_string()),
        (Kind::Time, DeValue::String(text)) => time(text),
        (Kind::Time, DeValue::Datetime(found)) => time(&found.to_string()),
        (Kind::Scalar, DeValue::Datetime(found)) => Ok(Value::Text(found.to_string())),
        (kind, value) => refuse(format!("must be {}, found {}", wanted(kind), found(value))),
    }
}

fn date(text: &str) -> Result<Value, Refusal> {
    match text.parse::<Date>() {
        Ok(_) if text.len() == 10 => Ok(Value::Text(text.to_owned())),
        _ => refuse(format!("is not a day of the calendar: `{text}`")),
    }
}

fn time(text: &str) -> Result<Value, Refusal> {
    if matches!(text, "24:00" | "24:00:00") {
        return Ok(Value::Text(text.to_owned()));
    }
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == ':');
    match text.parse::<Time>() {
        Ok(_) if plain && text.contains(':') => Ok(Value::Text(text.to_owned())),
        _ => refuse(format!("is not a time of day: `{text}`")),
    }
}

fn count(digits: &str, min: i64, max: i64) -> Result<Value, Refusal> {
    let value = digits.parse::<i64>().ok().or_else(|| {
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
        radix.iter().find_map(|(prefix, radix)| {
            i64::from_str_radix(digits.strip_prefix(prefix)?, *radix).ok()
        })
    });
    match value {
        Some(value) if value < min => refuse(format!("must be at least {min}, found {value}")),
        Some(value) if value > max => refuse(format!("must be at most {max}, found {value}")),
        Some(value) => Ok(Value::Number(value.to_string())),
        None => refuse(format!("is too large: `{digits}`")),
    }
}

fn number(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Refusal> {
    let digits = match value {
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
        DeValue::Float(digits) => digits.as_str(),
        _ => return refuse("must be a decimal number".to_owned()),
    };
    let approximate: f64 = digits.parse().unwrap_or(f64::NAN);
    match kind {
        _ if !approximate.is_finite() => refuse(format!("must be a finite number, found {digits}")),
        Kind::Rate if approximate <= 0.0 => Err(Refusal {
            message: format!("must be above 0, found {digits}"),
            help: Some("to stop asking a source, set `enabled = false`".to_owned()),
        }),
        Kind::Amount if Money::from_units(approximate).is_none() => {
            refuse(format!("must be between 0 and 10^12, found {digits}"))
        }
        // `+5` and `5` are the same number; the sign is not part of a value as data has it.
        _ => Ok(Value::Number(digits.trim_start_matches('+').to_owned())),
    }
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "text in quotes",
        Kind::Flag => "true or false",
        Kind::Count { .. } => "a whole number",
        Kind::Rate | Kind::Amount => "a number",
        Kind::Duration | Kind::DurationOrZero => "a duration in quotes",
        Kind::Size => "a size",
        Kind::Date => "a date",
        Kind::Time => "a time of day",
        Kind::Scalar => "text or a number",
        Kind::List(_) => "a list in `[...]`",
        Kind::Section(_) | Kind::Named(_) => "a table",
        Kind::CountOr(_) => "a whole number or a table",
        Kind::Later => "absent",
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some() || self.refused.iter().any(|refused| refused == key)
    }

    pub(crate) fn table(&self, key: &str) -> Option<&Table> {
        match &self.entry(key)?.item.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A text (or a size, date, time, scalar) as written, and where it stands.
    pub(crate) fn text(&self, key: &str) -> Option<(&str, Span)> {
        self.entry(key)?.item.text()
    }

    pub(crate) fn list(&self, key: &str) -> Option<&[Item]> {
        match &self.entry(key)?.item.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.entry(key)?.item.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn count(&self, key: &str) -> Option<u64> {
        self.text(key)?.0.parse().ok()
    }

    pub(crate) fn rate(&self, key: &str) -> Option<f64> {
        self.text(key)?.0.parse().ok()
    }

    pub(crate) fn amount(&self, key: &str) -> Option<Money> {
        Money::from_units(self.text(key)?.0.parse().ok()?)
    }

    pub(crate) fn size(&self, key: &str) -> Option<u64> {
        parse_size(self.text(key)?.0)
    }

    pub(crate) fn duration(&self, key: &str) -> Option<SignedDuration> {
        parse_duration(self.text(key)?.0)
    }

    pub(crate) fn date(&self, key: &str) -> Option<Date> {
        self.text(key)?.0.parse().ok()
    }

    pub(crate) fn time(&self, key: &str) -> Option<Time> {
        self.text(key)?.0.parse().ok()
    }
}

impl Item {
    pub(crate) fn text(&self) -> Option<(&str, Span)> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some((text, self.span)),
            _ => None,
        }
    }
}

impl Key {
    /// Whether this version reads the key.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self.kind, Kind::Later)
    }
}
