//! RSS and Atom feeds: the entries' titles, links or guids, and when they were published.
//!
//! Sources: RSS 2.0 (rssboard.org/rss-specification), Atom (RFC 4287).

use super::Listed;
use jiff::{Timestamp, fmt::rfc2822};
use model::listing::FeedField;
use quick_xml::{Reader, events::Event};
use regex::Regex;

/// Texts of an entry are read as far as this.
const TEXT_BYTES_LIMIT: usize = 16 * 1024;
/// Feeds nest no deeper.
const DEPTH_LIMIT: usize = 64;

#[derive(Debug, Default)]
struct Entry {
    text: String,
    published: Option<Timestamp>,
}

/// Adds the names that the entries of a feed have in a field.
pub(super) fn read(
    body: &[u8],
    field: FeedField,
    pattern: Option<&Regex>,
    listed: &mut Listed,
) -> Result<(), String> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().check_end_names = false;
    let mut buffer = Vec::new();
    let mut entry: Option<Entry> = None;
    let mut inside: Vec<String> = Vec::new();
    let mut is_feed = false;
    let mut text = String::new();
    loop {
        buffer.clear();
        let broken = |error: &dyn std::fmt::Display| format!("not a feed: {error}");
        match reader.read_event_into(&mut buffer).map_err(|error| broken(&error))? {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) if inside.len() > DEPTH_LIMIT => {
                return Err(format!("elements nest deeper than {DEPTH_LIMIT}: {:?}", tag.name()));
            }
            Event::Start(tag) => {
                let name = local(tag.local_name().as_ref());
                is_feed |= matches!(name.as_str(), "rss" | "feed" | "rdf");
                if matches!(name.as_str(), "item" | "entry") {
                    entry = Some(Entry::default());
                }
                link_of(&tag, &name, field, entry.as_mut());
                text.clear();
                inside.push(name);
            }
            Event::Empty(tag) => {
                let name = local(tag.local_name().as_ref());
                link_of(&tag, &name, field, entry.as_mut());
            }
            Event::Text(found) if text.len() < TEXT_BYTES_LIMIT => {
                text.push_str(&String::from_utf8_lossy(&found));
            }
            Event::CData(found) if text.len() < TEXT_BYTES_LIMIT => {
                text.push_str(&String::from_utf8_lossy(&found));
            }
            Event::GeneralRef(found) => text.push_str(&reference(&found)),
            Event::End(tag) => {
                let name = local(tag.local_name().as_ref());
                inside.pop();
                if matches!(name.as_str(), "item" | "entry") {
                    if let Some(entry) = entry.take() {
                        add(&entry, pattern, listed);
                    }
                } else if let Some(entry) = &mut entry {
                    take(entry, &name, &text, field);
                }
                text.clear();
            }
            _ => {}
        }
    }
    if is_feed { Ok(()) } else { Err("neither RSS nor Atom".to_owned()) }
}

fn local(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// One of the five entities of XML, or a character by its number.
fn reference(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let code = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => digits.parse().ok(),
        },
        None => match &*name {
            "amp" => Some('&'.into()),
            "lt" => Some('<'.into()),
            "gt" => Some('>'.into()),
            "quot" => Some('"'.into()),
            "apos" => Some('\''.into()),
            _ => None,
        },
    };
    code.and_then(char::from_u32).map(String::from).unwrap_or_default()
}

/// Atom keeps the link in an attribute.
fn link_of(
    tag: &quick_xml::events::BytesStart<'_>,
    name: &str,
    field: FeedField,
    entry: Option<&mut Entry>,
) {
    if name != "link" || field != FeedField::Link {
        return;
    }
    let href = tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == b"href");
    if let (Some(href), Some(entry)) = (href, entry)
        && entry.text.is_empty()
    {
        entry.text = String::from_utf8_lossy(&href.value).replace("&amp;", "&");
    }
}

fn take(entry: &mut Entry, name: &str, text: &str, field: FeedField) {
    let is_wanted = match field {
        FeedField::Title => name == "title",
        FeedField::Link => name == "link",
        FeedField::Guid => matches!(name, "guid" | "id"),
    };
    if is_wanted && entry.text.is_empty() {
        text.trim().clone_into(&mut entry.text);
    }
    let published = match name {
        "pubdate" => rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok(),
        "published" | "updated" | "date" => text.trim().parse().ok(),
        _ => None,
    };
    entry.published = entry.published.max(published);
}

fn add(entry: &Entry, pattern: Option<&Regex>, listed: &mut Listed) {
    if pattern.is_some() {
        listed.add_matched(&entry.text, pattern, entry.published);
        return;
    }
    // Any word may be a name; so may all of it.
    listed.add(&entry.text, entry.published);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '&' | '^' | '=');
    for word in entry.text.split(|c| !is_part(c)) {
        listed.add(word.trim_end_matches(['.', '-']), entry.published);
    }
}
