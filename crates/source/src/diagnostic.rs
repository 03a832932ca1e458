//! Mistakes in files: what is wrong, where, the line itself, and what to do.
//!
//! The first line of each has the form `sources/a.toml:3:1: error: ...`, which editors and
//! terminals know how to jump to. Nothing read from a file reaches a terminal unescaped, and a
//! secret that stands in a file, the password of an address always, is masked before the line is kept.

use serde::Serialize;
use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably not as meant.
    Warning,
}

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, relative to the project's folder.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line itself; of a very long line the part around the mistake.
    pub text: String,
    /// The column of the first character of `text`: 1 unless the line is clipped.
    pub text_column: u32,
    /// How many characters from `column` on are meant, at least 1.
    pub length: u32,
    /// How bad it is.
    pub severity: Severity,
}

/// All mistakes of all files, in the order of files and lines. `Display` renders them for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether one of them is an error rather than a warning.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|left, right| {
            let place = |d: &Diagnostic| (d.line, d.column);
            left.file.cmp(&right.file).then(place(left).cmp(&place(right)))
        });
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}:{}:{}: {severity}: {}",
            escape(&self.file.to_string_lossy()),
            self.line,
            self.column,
            escape(&self.message)
        )?;
        if !self.text.is_empty() {
            self.fmt_line(f)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {}", escape(help)),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// The line, and below it a mark under the mistake.
    fn fmt_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let before = self.column.saturating_sub(self.text_column) as usize;
        let shown: Vec<String> = self.text.chars().map(show).collect();
        let width = |cells: &[String]| -> usize {
            cells.iter().flat_map(|cell| cell.chars()).map(char_width).sum()
        };
        let start = before.min(shown.len());
        let end = (start + self.length as usize).min(shown.len());
        let clipped_left = if self.text_column > 1 { "…" } else { "" };
        write!(f, "\n  {number} | {clipped_left}{}", shown.concat().trim_end())?;
        let indent = width(&shown[..start]) + clipped_left.chars().count();
        let mark = "^".repeat(width(&shown[start..end]).max(1));
        write!(f, "\n  {} | {}{mark}", " ".repeat(number.len()), " ".repeat(indent))
    }
}

/// What a terminal is given for one character of a file.
fn show(character: char) -> String {
    match character {
        '\t' => "    ".to_owned(),
        c if is_unsafe(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    }
}

/// Control characters, and characters that reorder or hide others.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn escape(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { " ".to_owned() } else { show(c) }).collect()
}

/// How many columns of a terminal a character takes; close enough to put a mark under it.
fn char_width(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A place in a file, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

#[derive(Debug)]
struct Problem {
    span: Span,
    message: String,
    help: Option<String>,
    severity: Severity,
}

/// The most mistakes of one file that are shown; the rest is counted.
const PROBLEMS_LIMIT: usize = 50;
/// Lines with more characters are clipped around the mistake.
const LINE_LIMIT: usize = 200;
/// Characters shown left of a mistake in a clipped line.
const CLIP_BEFORE: usize = 60;
/// Characters of a message: values from files are part of it.
const MESSAGE_LIMIT: usize = 400;

/// Collects the mistakes of one file by byte position.
#[derive(Debug)]
pub(crate) struct Report {
    file: PathBuf,
    text: String,
    /// Where each line starts, in bytes.
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    unshown: usize,
    unshown_errors: bool,
    /// Whether the file is not quite TOML: what seems missing may be what could not be read.
    damaged: bool,
    /// Ranges never shown: secrets that stand in the file.
    masked: Vec<Span>,
}

/// The passwords of addresses (`scheme://user:password@host`), wherever they stand.
fn passwords(text: &str) -> Vec<Span> {
    let of = |(at, _): (usize, &str)| {
        let start = at + "://".len();
        let rest = &text[start..];
        let end =
            rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len());
        let user_end = rest[..end].rfind('@')?;
        let colon = rest[..user_end].find(':')?;
        Some(Span { start: start + colon + 1, end: start + user_end })
    };
    text.match_indices("://").filter_map(of).collect()
}

impl Report {
    pub(crate) fn new(file: &Path, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            line_starts: std::iter::once(0)
                .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
                .collect(),
            problems: Vec::new(),
            unshown: 0,
            unshown_errors: false,
            damaged: false,
            masked: passwords(text),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.add(Severity::Error, span, message.into(), None);
    }

    pub(crate) fn error_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, span, message.into(), Some(help.into()));
    }

    pub(crate) fn warning(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, span, message.into(), Some(help.into()));
    }

    /// An error about something that is missing: not told of a file that is not quite TOML.
    pub(crate) fn missing(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if !self.damaged {
            self.error_help(span, message, help);
        }
    }

    pub(crate) fn set_damaged(&mut self) {
        self.damaged = true;
    }

    pub(crate) fn mask(&mut self, span: Span) {
        self.masked.push(span);
    }

    fn add(&mut self, severity: Severity, span: Span, message: String, help: Option<String>) {
        let known = self.problems.iter().any(|p| p.span == span && p.message == message);
        if known {
            return;
        }
        if self.problems.len() >= PROBLEMS_LIMIT {
            self.unshown += 1;
            self.unshown_errors |= severity == Severity::Error;
            return;
        }
        self.problems.push(Problem { span, message, help, severity });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.unshown_errors || self.problems.iter().any(|p| p.severity == Severity::Error)
    }

    /// The line of a byte, counted from 0.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The lines on which a mistake was found so far, counted from 0.
    pub(crate) fn lines_with_problems(&self) -> Vec<usize> {
        self.problems.iter().map(|problem| self.line_of(problem.span.start)).collect()
    }

    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> =
            self.problems.iter().map(|problem| self.diagnostic(problem)).collect();
        if let (Some(last), true) = (found.last().cloned(), self.unshown > 0) {
            found.push(Diagnostic {
                message: format!("{} more mistakes in this file are not shown", self.unshown),
                help: Some("correct the ones above first".to_owned()),
                severity: if self.unshown_errors { Severity::Error } else { Severity::Warning },
                ..last
            });
        }
        found
    }

    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    fn diagnostic(&self, problem: &Problem) -> Diagnostic {
        let start = self.boundary(problem.span.start);
        let end = self.boundary(problem.span.end).max(start);
        let line_start = match self.text[..start].rfind('\n') {
            Some(at) => at + 1,
            // Editors do not count the byte order mark.
            None if self.text.starts_with('\u{feff}') => '\u{feff}'.len_utf8(),
            None => 0,
        };
        let (start, end) = (start.max(line_start), end.max(line_start));
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let column = self.text[line_start..start].chars().count();
        let length = self.text[start..end.min(line_end)].trim_end_matches('\r').chars().count();
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let long = line.chars().nth(LINE_LIMIT).is_some();
        let skip = if long { column.saturating_sub(CLIP_BEFORE) } else { 0 };
        let text: String = line
            .char_indices()
            .skip(skip)
            .take(LINE_LIMIT)
            .map(|(at, c)| if self.is_masked(line_start + at) { '*' } else { c })
            .collect();
        Diagnostic {
            file: self.file.clone(),
            line: self.line_of(start) as u32 + 1,
            column: column as u32 + 1,
            message: clip(&problem.message),
            help: problem.help.as_deref().map(clip),
            text,
            text_column: skip as u32 + 1,
            length: length.max(1) as u32,
            severity: problem.severity,
        }
    }

    fn is_masked(&self, offset: usize) -> bool {
        self.masked.iter().any(|span| (span.start..span.end).contains(&offset))
    }

    /// The place of a byte of a string's value: `offset` counts in the value, `span` is the string
    /// with its quotes as it stands in the file.
    pub(crate) fn inside(&self, span: Span, offset: usize) -> Span {
        let raw = self.text.get(span.start..span.end).unwrap_or_default();
        let at = span.start + raw_offset(raw, offset);
        let width = self.text[at.min(self.text.len())..].chars().next().map_or(0, char::len_utf8);
        Span { start: at, end: (at + width).min(span.end) }
    }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where byte `offset` of a TOML string's value stands in its raw text.
fn raw_offset(raw: &str, offset: usize) -> usize {
    let (quotes, escapes) = match raw.as_bytes() {
        [b'"', b'"', b'"', ..] => (3, true),
        [b'\'', b'\'', b'\'', ..] => (3, false),
        [b'"', ..] => (1, true),
        [b'\'', ..] => (1, false),
        _ => (0, false),
    };
    let mut at = quotes;
    if quotes == 3 {
        // A line break right behind the opening quotes is not part of the value.
        at += raw[at..].len() - raw[at..].trim_start_matches('\r').len();
        at += usize::from(raw[at..].starts_with('\n'));
    }
    let mut value = 0;
    while value < offset {
        let rest = &raw[at.min(raw.len())..];
        let Some(first) = rest.chars().next() else { break };
        let (taken, gives) = match (first, escapes) {
            ('\\', true) => escape_sequence(rest),
            _ => (first.len_utf8(), first.len_utf8()),
        };
        at += taken;
        value += gives;
    }
    at.min(raw.len().saturating_sub(quotes)).max(quotes.min(raw.len()))
}

/// How many bytes an escape takes in the file, and how many it gives.
fn escape_sequence(rest: &str) -> (usize, usize) {
    let hex = |digits: usize| {
        let code = rest.get(2..2 + digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    match rest.as_bytes().get(1) {
        Some(b'u') => hex(4),
        Some(b'U') => hex(8),
        Some(b'x') => hex(2),
        Some(byte) if byte.is_ascii_whitespace() => {
            (1 + rest[1..].len() - rest[1..].trim_start().len(), 0)
        }
        _ => (2, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_value_is_found_in_the_file() {
        for (raw, offset, expected) in [
            (r#""abc""#, 1, 2),
            (r"'abc'", 2, 3),
            ("\"\"\"\nabc\"\"\"", 1, 5),
            (r#""a\tb""#, 2, 4),
            (r#""\u00e9b""#, 2, 7),
            (r#""ab""#, 99, 3),
            ("", 3, 0),
        ] {
            assert_eq!(raw_offset(raw, offset), expected, "{raw} {offset}");
        }
    }
}
