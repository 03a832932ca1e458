//! From TOML to a tree that holds only what the keys allow; all else becomes a diagnostic.

use crate::{
    diagnostic::{Report, Span},
    keys::{Key, Kind, SETTINGS, SOURCE, Section},
    scalar::{form, scalar},
    units::{parse_duration, parse_size},
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
