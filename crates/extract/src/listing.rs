//! The entities that a page or a feed names: whose data is there.
//!
//! What is read is a stranger's page: names are texts to be compared with those of the grid, bounded in
//! number and length, and nothing else is believed.

mod feed;

use model::{
    listing::{EntityFrom, Listing},
    path::{Path, Step},
};
use regex::{Regex, RegexBuilder};
use scraper::{Html, Selector};
use std::collections::BTreeMap;

use jiff::Timestamp;

/// The most names of one page.
pub const NAMES_LIMIT: usize = 200_000;
/// A longer text is no name.
const NAME_BYTES_LIMIT: usize = 256;
const PATTERN_SIZE_LIMIT: usize = 1 << 20;
/// The most open elements, one inside the other: the parser's work grows with their square.
const DEPTH_LIMIT: usize = 2_000;

/// Reads names off pages of one kind.
#[derive(Debug)]
pub struct Lister {
    how: How,
}

#[derive(Debug)]
enum How {
    Select { selector: Selector, attribute: Option<String>, pattern: Option<Regex> },
    Text { pattern: Regex },
    Json { path: Path },
    Feed { field: model::listing::FeedField, pattern: Option<Regex> },
}

/// What a page names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// It speaks for all entities.
    pub all: bool,
    /// The names, and when what names them was published, the latest; `None`: it does not say.
    pub names: BTreeMap<String, Option<Timestamp>>,
}

impl Listed {
    fn add(&mut self, name: &str, published: Option<Timestamp>) {
        let name = name.trim();
        let fits = !name.is_empty() && name.len() <= NAME_BYTES_LIMIT;
        if !fits || (self.names.len() >= NAMES_LIMIT && !self.names.contains_key(name)) {
            return;
        }
        match self.names.get_mut(name) {
            // One that says when counts more than one that does not.
            Some(known) => *known = (*known).max(published),
            None => drop(self.names.insert(name.to_owned(), published)),
        }
    }

    /// Adds what of a text is a name: by a pattern, its first group or all that it matches.
    fn add_matched(&mut self, text: &str, pattern: Option<&Regex>, published: Option<Timestamp>) {
        match pattern {
            None => self.add(text, published),
            Some(pattern) => {
                for captures in pattern.captures_iter(text) {
                    if let Some(found) = captures.get(1).or_else(|| captures.get(0)) {
                        self.add(found.as_str(), published);
                    }
                }
            }
        }
    }
}

impl Lister {
    /// A lister for what a source declares.
    ///
    /// # Errors
    /// A selector or an expression is none, in words.
    pub fn new(listing: &Listing) -> Result<Self, String> {
        let regex = |text: &String| {
            let built = RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build();
            built.map_err(|error| format!("`{text}` is not a regular expression: {error}"))
        };
        let how = match listing {
            Listing::Select { selector, entity, pattern } => How::Select {
                selector: Selector::parse(selector)
                    .map_err(|error| format!("`{selector}` is not a CSS selector: {error}"))?,
                attribute: match entity {
                    EntityFrom::Text => None,
                    EntityFrom::Attribute(name) => Some(name.clone()),
                },
                pattern: pattern.as_ref().map(regex).transpose()?,
            },
            Listing::Text { pattern } => How::Text { pattern: regex(pattern)? },
            Listing::Json { path } => How::Json { path: path.clone() },
            Listing::Feed { field, pattern } => {
                How::Feed { field: *field, pattern: pattern.as_ref().map(regex).transpose()? }
            }
        };
        Ok(Self { how })
    }

    /// The names on a page.
    ///
    /// # Errors
    /// It is not of the declared form, in words.
    pub fn read(&self, body: &[u8]) -> Result<Listed, String> {
        let mut listed = Listed::default();
        match &self.how {
            How::Select { selector, attribute, pattern } => {
                let text = String::from_utf8_lossy(body);
                check_depth(&text)?;
                let page = Html::parse_document(&text);
                for element in page.select(selector) {
                    match attribute {
                        Some(name) => {
                            if let Some(value) = element.attr(name) {
                                listed.add_matched(value, pattern.as_ref(), None);
                            }
                        }
                        None => {
                            let text = bounded_text(element.text());
                            listed.add_matched(&text, pattern.as_ref(), None);
                        }
                    }
                }
            }
            How::Text { pattern } => {
                let text = String::from_utf8_lossy(body);
                if pattern.captures_len() == 1 {
                    listed.all = pattern.is_match(&text);
                } else {
                    listed.add_matched(&text, Some(pattern), None);
                }
            }
            How::Json { path } => {
                let document: serde_json::Value =
                    serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
                json_names(&document, &path.steps, &mut listed);
            }
            How::Feed { field, pattern } => {
                feed::read(body, *field, pattern.as_ref(), &mut listed)?;
            }
        }
        Ok(listed)
    }
}

/// The text of an element, as far as a name can reach.
fn bounded_text<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(part);
        if text.len() > 16 * NAME_BYTES_LIMIT {
            break;
        }
    }
    text
}

/// Refuses pages that nest absurdly deep, by counting tags without reading them.
fn check_depth(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for at in memchr::memchr_iter(b'<', bytes) {
        match bytes.get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(first) if first.is_ascii_alphabetic() && !is_void(&bytes[at + 1..]) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            _ => {}
        }
    }
    // Elements may be left open: lists and tables often are.
    if deepest > DEPTH_LIMIT && depth > DEPTH_LIMIT / 2 {
        return Err(format!("{deepest} elements are open at once"));
    }
    Ok(())
}

/// Whether a tag never holds anything, or is one that pages leave open.
fn is_void(tag: &[u8]) -> bool {
    const OPEN: [&[u8]; 20] = [
        b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta",
        b"source", b"track", b"wbr", b"li", b"p", b"td", b"tr", b"th", b"option", b"dd",
    ];
    let length = tag.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(tag.len());
    OPEN.iter().any(|name| tag[..length].eq_ignore_ascii_case(name))
}

/// The texts, numbers and keys at a path. An object at its end gives its keys that are true.
fn json_names(value: &serde_json::Value, steps: &[Step], listed: &mut Listed) {
    use serde_json::Value;
    let Some((step, rest)) = steps.split_first() else {
        match value {
            Value::String(text) => listed.add(text, None),
            Value::Number(number) => listed.add(&number.to_string(), None),
            Value::Bool(true) => listed.all = true,
            Value::Object(members) => {
                for (name, _) in members.iter().filter(|(_, value)| **value == Value::Bool(true)) {
                    listed.add(name, None);
                }
            }
            Value::Null | Value::Bool(false) | Value::Array(_) => {}
        }
        return;
    };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            if let Some(inner) = members.get(name) {
                json_names(inner, rest, listed);
            }
        }
        (Step::Index(index), Value::Array(items)) => {
            if let Some(inner) = items.get(*index) {
                json_names(inner, rest, listed);
            }
        }
        (Step::Each, Value::Array(items)) => {
            items.iter().for_each(|inner| json_names(inner, rest, listed));
        }
        _ => {}
    }
}
