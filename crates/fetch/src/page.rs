//! Looks at the start of a body: is it a web page, is it a refusal, what does it say.

use crate::decode::{Encodings, decoded_start};
use http::{HeaderMap, header::CONTENT_TYPE};

/// The most of a body that is searched for marks.
pub(crate) const SEARCHED_BYTES_MAX: usize = 64 << 10;
/// The most characters of a body that are ever quoted.
const QUOTED_CHARS_MAX: usize = 80;
/// White space in front of a body beyond which nobody waits for its first character.
const BLANK_BYTES_MAX: usize = 4096;

/// What a body looks like by its first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing but white space so far.
    Undecided,
    /// A web page.
    Html,
    /// Not a web page.
    Other,
}

/// What a body that starts with `start` and goes on with `more` looks like.
///
/// Evidence outranks labels: JSON declared as `text/html` is common and is JSON.
pub(crate) fn look(headers: &HeaderMap, start: &[u8], more: &[u8]) -> Look {
    if let Ok(encodings) = Encodings::of(headers)
        && encodings.outermost().is_some()
    {
        // Only a body that does not claim to be JSON is worth unpacking twice.
        if media_type(headers).is_some_and(is_json) {
            return Look::Other;
        }
        let decoded = decoded_start(&[start, more].concat(), headers, 512);
        return look_at(&decoded, headers);
    }
    if start.is_empty() {
        look_at(more, headers)
    } else {
        look_at(&[start, more].concat(), headers)
    }
}

fn look_at(text: &[u8], headers: &HeaderMap) -> Look {
    let rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    let starts_with =
        |tag: &[u8]| rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    match rest.first() {
        None if text.len() < BLANK_BYTES_MAX => Look::Undecided,
        Some(b'<') if starts_with(b"<!doctype html") || starts_with(b"<html") => Look::Html,
        Some(b'<') if rest.len() < b"<!doctype html".len() => Look::Undecided,
        Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9') => Look::Other,
        _ if media_type(headers).is_some_and(is_html) => Look::Html,
        _ => Look::Other,
    }
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

fn is_html(media_type: &str) -> bool {
    ["text/html", "application/xhtml+xml"].iter().any(|html| media_type.eq_ignore_ascii_case(html))
}

fn is_json(media_type: &str) -> bool {
    let suffix = |end: &str| {
        media_type.len() >= end.len()
            && media_type.as_bytes()[media_type.len() - end.len()..]
                .eq_ignore_ascii_case(end.as_bytes())
    };
    suffix("/json") || suffix("+json")
}

/// The declared charset, if it is not UTF-8 or a part of it.
pub(crate) fn odd_charset(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })?;
    let is_usual = ["utf-8", "utf8", "us-ascii", "ascii"]
        .iter()
        .any(|usual| charset.eq_ignore_ascii_case(usual));
    (!is_usual).then(|| charset.chars().take(40).flat_map(char::escape_debug).collect())
}

/// Marks of a page that blocks us, wherever a person would read them.
const BLOCK_MARKS: [&str; 27] = [
    "captcha",
    "access denied",
    "access to this page has been denied",
    "attention required",
    "unusual traffic",
    "are you a robot",
    "not a robot",
    "are you human",
    "verify you are human",
    "bot detection",
    "automated access",
    "request blocked",
    "request has been blocked",
    "you have been blocked",
    "your ip has been",
    "cf-chl",
    "checking your browser",
    "just a moment...",
    "incident id",
    "_incapsula_resource",
    "the requested url was rejected",
    "pardon our interruption",
    "ddos protection",
    "web application firewall",
    "perimeterx",
    "datadome",
    "security check",
];

/// Marks of a challenge, which no ordinary error page has.
const CHALLENGE_MARKS: [&str; 8] = [
    "cf-chl",
    "attention required! | cloudflare",
    "unusual traffic",
    "are you a robot",
    "verify you are human",
    "_incapsula_resource",
    "px-captcha",
    "datadome",
];

/// Words of a server that refuses for being asked too often.
const LIMIT_MARKS: [&str; 9] = [
    "rate limit",
    "rate-limit",
    "rate_limit",
    "ratelimit",
    "too many requests",
    "throttl",
    "quota exceeded",
    "limit exceeded",
    "slow down",
];

/// The start of a body, to be searched.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    lower_case: String,
}

impl Page {
    pub(crate) fn new(start: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&start[..start.len().min(SEARCHED_BYTES_MAX)]);
        Self { lower_case: text.to_ascii_lowercase(), text: text.into_owned() }
    }

    pub(crate) fn block_mark(&self) -> Option<&'static str> {
        self.first_of(&BLOCK_MARKS)
    }

    pub(crate) fn challenge_mark(&self) -> Option<&'static str> {
        self.first_of(&CHALLENGE_MARKS)
    }

    pub(crate) fn limit_mark(&self) -> Option<&'static str> {
        self.first_of(&LIMIT_MARKS)
    }

    fn first_of(&self, marks: &[&'static str]) -> Option<&'static str> {
        marks.iter().copied().find(|mark| self.lower_case.contains(mark))
    }

    /// The title of a web page, or the first words of anything else; `whole` sees it before it is
    /// cut, so that a secret cannot hide half behind the cut.
    pub(crate) fn quote(&self, whole: impl FnOnce(&mut String)) -> String {
        let chosen = self.title().unwrap_or(&self.text);
        let mut words = String::new();
        for word in chosen.split_whitespace() {
            if words.len() > 8 * QUOTED_CHARS_MAX {
                break;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        whole(&mut words);
        let mut quoted = String::new();
        let mut chars = 0;
        for c in words.chars() {
            // Quotation marks need no escape here.
            let escaped: String =
                if matches!(c, '"' | '\'') { c.into() } else { c.escape_debug().collect() };
            chars += escaped.chars().count();
            if chars > QUOTED_CHARS_MAX {
                break;
            }
            quoted.push_str(&escaped);
        }
        quoted
    }

    fn title(&self) -> Option<&str> {
        // ASCII lower case keeps all offsets.
        let open = self.lower_case.find("<title")?;
        let start = open + self.lower_case[open..].find('>')? + 1;
        let end = start + self.lower_case[start..].find("</title")?;
        let title = self.text[start..end].trim();
        (!title.is_empty()).then_some(title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    #[test]
    fn a_web_page_is_known_by_its_start_before_its_label() {
        for (content_type, body, expected) in [
            ("application/json", "<!DOCTYPE html><title>x</title>", Look::Html),
            ("application/json", "\u{feff} \n<HTML lang=en><body>", Look::Html),
            ("application/json", "{\"a\": \"<html>\"}", Look::Other),
            ("text/html", "{\"a\": 1}", Look::Other),
            ("text/html; charset=utf-8", "Service is down", Look::Html),
            ("text/html", "<div>Service is down</div>", Look::Html),
            ("application/json", "<?xml version=\"1.0\"?>", Look::Other),
            ("application/json", " \r\n\t", Look::Undecided),
            ("application/json", "<!doc", Look::Undecided),
            ("application/json", "<html>", Look::Html),
        ] {
            assert_eq!(look(&typed(content_type), b"", body.as_bytes()), expected, "{body}");
            let (start, more) = body.as_bytes().split_at(1);
            assert_eq!(look(&typed(content_type), start, more), expected, "{body} in two parts");
        }
    }

    #[test]
    fn only_a_charset_that_is_not_utf_8_is_odd() {
        for (content_type, expected) in [
            ("application/json", None),
            ("application/json; charset=UTF-8", None),
            ("application/json;charset=\"us-ascii\"", None),
            ("application/json; charset=utf-16", Some("utf-16")),
            ("application/json; q=1; Charset=ISO-8859-1", Some("ISO-8859-1")),
        ] {
            assert_eq!(odd_charset(&typed(content_type)).as_deref(), expected);
        }
    }

    #[test]
    fn a_quotation_is_the_title_or_the_first_words_and_short() {
        let quote = |text: &str| Page::new(text.as_bytes()).quote(|_| ());
        assert_eq!(quote("<html><Title a=b>\n Access \n denied </TITLE>x"), "Access denied");
        assert_eq!(quote("<html><title></title> oops"), "<html><title></title> oops");
        assert_eq!(quote("bell\u{7} \u{1b}[31mred"), "bell\\u{7} \\u{1b}[31mred");
        assert_eq!(quote(&"x".repeat(500)).len(), 80);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let (start, more) = bytes.split_at(cut.min(bytes.len()));
            look(&HeaderMap::new(), start, more);
            let mut packed = typed("text/plain");
            packed.insert("content-encoding", "gzip, deflate".parse().unwrap());
            look(&packed, start, more);
            let quoted = Page::new(&bytes).quote(|_| ());
            prop_assert!(quoted.chars().count() <= 80);
            prop_assert!(!quoted.contains(char::is_control));
        }

        #[test]
        fn no_markup_panics(text in "(<title|<TITLE>|</title|>|é|İ| |x){0,30}") {
            Page::new(text.as_bytes()).quote(|_| ());
        }
    }
}
