//! The path expressions of a source file, and conditions over them.
//!
//! A subset of RFC 9535 that can be followed in one pass over a stream: member names, `[n]`, and
//! `[*]`. Filters, slices and `..` would need the whole document in memory and are refused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A member of an object: `.name` or `['name']`.
    Member(String),
    /// An element of an array: `[3]`.
    Index(usize),
    /// All elements of an array: `[*]`.
    Each,
}

/// A path from the root (`$`) of a document or of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The steps from the root, at most [`STEPS_LIMIT`].
    pub steps: Vec<Step>,
}

/// The most steps of a path.
pub const STEPS_LIMIT: usize = 32;

/// What is wrong with a path or a condition, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PathError {
    /// What is wrong and what is allowed.
    pub message: String,
    /// Byte offset in the text.
    pub offset: usize,
}

impl PathError {
    fn new(message: impl Into<String>, offset: usize) -> Self {
        Self { message: message.into(), offset }
    }
}

impl Path {
    /// Reads a path such as `$.data[*]`, `$.t`, `$['odd name'][0]`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let (path, end) = Self::parse_prefix(text)?;
        match text[end..].chars().next() {
            None => Ok(path),
            Some(found) => Err(PathError::new(
                format!(
                    "unexpected `{found}`: a path continues with `.name`, `['name']`, `[0]` or `[*]`"
                ),
                end,
            )),
        }
    }

    /// Reads a path at the start of `text`; returns it with the offset behind it.
    fn parse_prefix(text: &str) -> Result<(Self, usize), PathError> {
        if !text.starts_with('$') {
            return Err(PathError::new("a path starts with `$`, the root", 0));
        }
        let bytes = text.as_bytes();
        let mut steps = Vec::new();
        let mut at = 1;
        while at < bytes.len() {
            let (step, next) = match bytes[at] {
                b'.' if bytes.get(at + 1) == Some(&b'.') => {
                    return Err(PathError::new(
                        "`..` would need the whole document in memory: name each step",
                        at,
                    ));
                }
                b'.' => Self::parse_name(text, at + 1)?,
                b'[' => Self::parse_bracket(text, at + 1)?,
                _ => break,
            };
            steps.push(step);
            if steps.len() > STEPS_LIMIT {
                return Err(PathError::new(format!("a path has at most {STEPS_LIMIT} steps"), at));
            }
            at = next;
        }
        Ok((Self { steps }, at))
    }

    fn parse_name(text: &str, at: usize) -> Result<(Step, usize), PathError> {
        let rest = &text[at..];
        if rest.starts_with('*') {
            return Err(PathError::new("`.*` is not supported: write `[*]` for all elements", at));
        }
        let length = rest
            .char_indices()
            .find(|(_, c)| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '@')))
            .map_or(rest.len(), |(index, _)| index);
        if length == 0 {
            return Err(PathError::new(
                "a name is missing after `.`; write odd names as `['name']`",
                at,
            ));
        }
        Ok((Step::Member(rest[..length].to_owned()), at + length))
    }

    fn parse_bracket(text: &str, at: usize) -> Result<(Step, usize), PathError> {
        let rest = &text[at..];
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let body = &rest[1..];
            let Some(length) = body.find(quote) else {
                return Err(PathError::new(format!("the closing {quote} is missing"), at));
            };
            if !body[length + 1..].starts_with(']') {
                return Err(PathError::new("`]` is missing after the name", at + length + 2));
            }
            return Ok((Step::Member(body[..length].to_owned()), at + length + 3));
        }
        let Some(length) = rest.find(']') else {
            return Err(PathError::new("the closing `]` is missing", at));
        };
        let inside = &rest[..length];
        let step = match inside {
            "*" => Step::Each,
            _ if inside.starts_with('?') => {
                return Err(PathError::new(
                    "filters are not supported: take all with `[*]` and filter by an expectation",
                    at,
                ));
            }
            _ => Step::Index(inside.parse().map_err(|_| {
                PathError::new(format!("`[{inside}]` is not `[*]`, `[0]` or `['name']`"), at)
            })?),
        };
        Ok((step, at + length + 1))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Member(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                write!(f, ".{name}")
            }
            Step::Member(name) => write!(f, "['{name}']"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Each => f.write_str("[*]"),
        })
    }
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// The right side of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A quoted text.
    Text(String),
}

/// A condition on one scalar of a document: `$.total == 0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What is looked at; never contains `[*]`.
    pub path: Path,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub literal: Literal,
}

impl Condition {
    /// Reads a condition: a path, a comparison, a literal.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let start = text.len() - text.trim_start().len();
        let (path, end) = Path::parse_prefix(&text[start..])
            .map_err(|error| PathError { offset: error.offset + start, ..error })?;
        let end = end + start;
        if path.steps.contains(&Step::Each) {
            return Err(PathError::new(
                "a condition looks at one value: `[*]` is not allowed here",
                end,
            ));
        }
        let rest = text[end..].trim_start();
        let at = text.len() - rest.len();
        let (comparison, length) = if rest.starts_with("==") {
            (Comparison::Equal, 2)
        } else if rest.starts_with("!=") {
            (Comparison::NotEqual, 2)
        } else if rest.starts_with("<=") {
            (Comparison::LessOrEqual, 2)
        } else if rest.starts_with(">=") {
            (Comparison::GreaterOrEqual, 2)
        } else if rest.starts_with('<') {
            (Comparison::Less, 1)
        } else if rest.starts_with('>') {
            (Comparison::Greater, 1)
        } else {
            return Err(PathError::new(
                "a comparison is missing: `==`, `!=`, `<`, `<=`, `>` or `>=`",
                at,
            ));
        };
        let value = rest[length..].trim();
        let literal = match value {
            "null" => Literal::Null,
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            _ => Self::parse_literal(value).ok_or_else(|| {
                PathError::new("expected a number, a quoted text, true, false or null", at + length)
            })?,
        };
        Ok(Self { path, comparison, literal })
    }

    fn parse_literal(value: &str) -> Option<Literal> {
        for quote in ['\'', '"'] {
            if let Some(text) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote))
            {
                return Some(Literal::Text(text.to_owned()));
            }
        }
        value.parse().ok().filter(|number: &f64| number.is_finite()).map(Literal::Number)
    }

    /// Whether a found scalar meets the condition. A value of another type meets only `!=`.
    pub fn holds(&self, found: &Literal) -> bool {
        let ordering = match (found, &self.literal) {
            (Literal::Number(left), Literal::Number(right)) => left.partial_cmp(right),
            (Literal::Text(left), Literal::Text(right)) => Some(left.cmp(right)),
            (left, right) if left == right => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match self.comparison {
            Comparison::Equal => ordering.is_some_and(std::cmp::Ordering::is_eq),
            Comparison::NotEqual => !ordering.is_some_and(std::cmp::Ordering::is_eq),
            Comparison::Less => ordering.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessOrEqual => ordering.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => ordering.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterOrEqual => ordering.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_its_own_text() {
        for text in ["$", "$.data[*]", "$.a.b[0].c", "$['odd name'][*].x", "$[*]"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_path_says_where() {
        for (text, offset) in [
            ("data", 0),
            ("$..x", 1),
            ("$.a[?(@.x)]", 4),
            ("$.a[", 4),
            ("$.a b", 3),
            ("$.", 2),
            ("$.a[x]", 4),
            ("$é", 1),
        ] {
            assert_eq!(Path::parse(text).unwrap_err().offset, offset, "{text}");
        }
    }

    #[test]
    fn a_condition_compares_within_a_type_only() {
        let condition = Condition::parse("$.total == 0").unwrap();
        assert!(condition.holds(&Literal::Number(0.0)));
        assert!(!condition.holds(&Literal::Text("0".into())));
        assert!(!condition.holds(&Literal::Null));
        assert!(Condition::parse("$.status != \"ok\"").unwrap().holds(&Literal::Null));
        assert!(Condition::parse("$.a[*] == 1").is_err());
        assert!(Condition::parse("$.a = 1").is_err());
    }
}
