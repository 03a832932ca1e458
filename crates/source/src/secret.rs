//! Secrets by reference: `${NAME}` and `file:path`, only in header fields and in `auth`.

use crate::{
    diagnostic::{Report, Span},
    load::Surroundings,
};
use std::{fmt, io::Read as _, path::Path, sync::Arc};

/// A text that is never printed: `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself. Only for the request that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One part of a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text of the file.
    Literal(String),
    /// A secret and where it comes from.
    Reference {
        /// `${NAME}` or `file:path`.
        from: String,
        /// Its value; empty in a source that was read by [`crate::parse_definition`].
        secret: Secret,
    },
}

/// A header's value: literal text and secrets. `Display` shows the references, not the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderText {
    parts: Vec<Part>,
}

impl HeaderText {
    /// A value without secrets.
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Literal(text.to_owned())] }
    }

    /// The parts in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether a part of it is a secret.
    pub fn has_secret(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Reference { .. }))
    }

    /// Where its secrets come from: `${NAME}` or `file:path`.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Reference { from, .. } => Some(from.as_str()),
        })
    }

    /// The whole value as it is sent.
    pub fn resolve(&self) -> Secret {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Reference { secret, .. } => secret.reveal(),
        });
        Secret::new(parts.collect::<String>())
    }
}

impl fmt::Display for HeaderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Reference { from, .. } => f.write_str(from),
        })
    }
}

/// A file with a secret has at most this many bytes.
const SECRET_LIMIT_BYTES: u64 = 64 * 1024;

/// Reads a value with references; `None` if a reference is wrong, which is then reported.
pub(crate) fn read(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<HeaderText> {
    if let Some(path) = text.strip_prefix("file:") {
        let secret = match surroundings {
            Surroundings::None => Secret::default(),
            Surroundings::Project { dir, .. } => match read_file(dir, path) {
                Ok(secret) => secret,
                Err(problem) => {
                    let help = "the path counts from the project's folder";
                    report.error_help(span, format!("the secret `{text}` {problem}"), help);
                    return None;
                }
            },
        };
        return Some(HeaderText { parts: vec![Part::Reference { from: text.to_owned(), secret }] });
    }
    read_variables(text, span, surroundings, report)
}

fn read_variables(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<HeaderText> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    let mut sound = true;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        literal.push_str(&text[at..start]);
        if literal.ends_with('$') {
            // `$${` is a literal `${`.
            literal.push('{');
            at = start + 2;
            continue;
        }
        let here = report.inside(span, start);
        let Some(length) = text[start + 2..].find('}') else {
            report.error_help(
                here,
                "the closing `}` is missing",
                "write `${NAME}`, or `$${` for a literal `${`",
            );
            return None;
        };
        let name = &text[start + 2..start + 2 + length];
        at = start + length + 3;
        let here = Span { start: here.start, end: report.inside(span, at - 1).end };
        match variable(name, surroundings) {
            Ok(secret) => {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Reference { from: format!("${{{name}}}"), secret });
            }
            Err((problem, help)) => {
                report.error_help(here, problem, help);
                sound = false;
            }
        }
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    sound.then_some(HeaderText { parts })
}

fn variable(name: &str, surroundings: &Surroundings<'_>) -> Result<Secret, (String, String)> {
    let fits = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        let help = "write a variable of the environment as `${NAME}`";
        return Err((format!("`${{{name}}}` is not the name of a variable"), help.to_owned()));
    }
    let Surroundings::Project { environment, .. } = surroundings else {
        return Ok(Secret::default());
    };
    let help = format!("set it, for example with `export {name}=...`, or write `file:path`");
    let Some(value) = environment(name) else {
        return Err((format!("`${{{name}}}` is not set"), help));
    };
    match flaw(&value) {
        Some(flaw) => Err((format!("`${{{name}}}` is set, but its value {flaw}"), help)),
        None => Ok(Secret::new(value)),
    }
}

/// What makes a secret unusable in a header, without showing it.
fn flaw(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        Some("is empty")
    } else if value.chars().any(char::is_control) {
        Some("has a line break or another control character")
    } else {
        None
    }
}

fn read_file(dir: &Path, path: &str) -> Result<Secret, String> {
    if path.is_empty() {
        return Err("names no file".to_owned());
    }
    let open = dir.join(path);
    let file = std::fs::metadata(&open).and_then(|metadata| {
        if metadata.is_file() {
            std::fs::File::open(&open)
        } else {
            Err(std::io::Error::other("it is not a file"))
        }
    });
    let mut text = String::new();
    let read = file.and_then(|file| file.take(SECRET_LIMIT_BYTES + 1).read_to_string(&mut text));
    let size = read.map_err(|error| format!("cannot be read: {error}"))?;
    if size as u64 > SECRET_LIMIT_BYTES {
        return Err(format!("is larger than {SECRET_LIMIT_BYTES} bytes"));
    }
    let text = text.trim_end_matches(['\r', '\n']);
    match flaw(text) {
        Some(flaw) => Err(flaw.to_owned()),
        None => Ok(Secret::new(text)),
    }
}
