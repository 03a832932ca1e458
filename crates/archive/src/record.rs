//! From an answer to a WARC record.
//!
//! Pure. Everything that is not ours (headers, target URI) is made harmless on the way in: no value
//! can end its line, so no server can write fields of its own into a record.
//!
//! The payload is the body after transfer decoding, which the HTTP library has already done: a
//! `Transfer-Encoding` header is therefore kept under another name ([`KEPT_ASIDE`]), as readers
//! would decode a second time. `Content-Encoding` stays: it belongs to the body as given.
//!
//! Source: ISO 28500:2017, <https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/>.

use crate::{digest, gzip, reference::ArchiveRef};
use jiff::{Timestamp, civil::Date, tz::Offset};
use model::{AttemptId, Digest, SourceId};
use std::{borrow::Cow, cell::RefCell, fmt::Write as _};

/// Put before the name of a header that describes the transfer and no longer the body.
pub(crate) const KEPT_ASIDE: &str = "X-Archive-Orig-";

pub(crate) const IDENTICAL: &str =
    "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest";
pub(crate) const NOT_MODIFIED: &str = "http://netpreserve.org/warc/1.1/revisit/server-not-modified";

/// One answer, ready to be archived.
#[derive(Debug, Clone, Copy)]
pub struct ResponseRecord<'a> {
    /// Whose answer.
    pub source: &'a SourceId,
    /// What was asked for, redacted by the caller.
    pub target_uri: &'a str,
    /// When the answer began to arrive; kept to the microsecond.
    pub received_at: Timestamp,
    /// The attempt it belongs to.
    pub attempt: AttemptId,
    /// The HTTP status.
    pub status: u16,
    /// The HTTP version, as `1.1`, `2` or `HTTP/1.1`.
    pub http_version: &'a str,
    /// The answer's headers, without secrets.
    pub headers: &'a [(&'a str, Cow<'a, str>)],
    /// SHA-256 of the body as archived.
    pub digest: Digest,
    /// Why the body is not whole: `length`, `time` or `disconnect`.
    pub truncated: Option<&'a str>,
}

/// Why a record has no body of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisit {
    /// The same bytes are in the archive already.
    IdenticalDigest,
    /// The server answered 304: what it sent before still holds.
    ServerNotModified,
}

/// The record that holds the body a revisit record leaves out.
#[derive(Debug, Clone, Copy)]
pub struct RefersTo<'a> {
    /// Where it lies. Name the record with the body, not another revisit of it.
    pub at: &'a ArchiveRef,
    /// What was asked for then, redacted; `None` if it is not known any more.
    pub target_uri: Option<&'a str>,
    /// When it was received; `None` if it is not known any more.
    pub received_at: Option<Timestamp>,
}

/// A `response` record as one gzip member, ready for [`Archive::append`](crate::Archive::append).
///
/// `record.digest` must be the digest of `body`; a reader checks it.
pub fn member(record: &ResponseRecord<'_>, body: &[u8]) -> Vec<u8> {
    with_head(|head| {
        response_head(head, record, body.len() as u64);
        head.extend_from_slice(body);
        head.extend_from_slice(RECORD_END);
        gzip::member(head, mark(record))
    })
}

/// A `revisit` record as one gzip member: the answer's status and headers without a body.
///
/// `record.digest` is the digest of the body that `refers_to` holds.
pub fn revisit_member(
    record: &ResponseRecord<'_>,
    refers_to: &RefersTo<'_>,
    profile: Revisit,
) -> Vec<u8> {
    with_head(|head| {
        let http = http_head(record);
        let text = &mut String::with_capacity(1024 + http.len());
        let profile = match profile {
            Revisit::IdenticalDigest => IDENTICAL,
            Revisit::ServerNotModified => NOT_MODIFIED,
        };
        fields(text, record, "revisit");
        text.extend(["WARC-Profile: ", profile, "\r\n"]);
        if let Some(target_uri) = refers_to.target_uri {
            uri_line(text, "WARC-Refers-To-Target-URI", target_uri);
        }
        if let Some(received_at) = refers_to.received_at {
            text.push_str("WARC-Refers-To-Date: ");
            date_into(text, received_at);
            text.push_str("\r\n");
        }
        line(text, "WARC-Refers-To-Filename", &refers_to.at.file);
        text.push_str("WARC-Refers-To-File-Offset: ");
        number_into(text, refers_to.at.offset);
        text.push_str("\r\n");
        content_length(text, http.len() as u64);
        text.push_str(&http);
        head.extend_from_slice(text.as_bytes());
        head.extend_from_slice(RECORD_END);
        gzip::member(head, None)
    })
}

/// The `warcinfo` record that opens a file.
///
/// The archive has no clock, so it is dated by the first instant of the file's day.
pub(crate) fn warcinfo_member(file: &str, source: &SourceId, day: Date) -> Vec<u8> {
    let block = format!(
        "software: tidewatch/{}\r\nformat: WARC File Format 1.1\r\n\
         conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n\
         isPartOf: {source}\r\n",
        env!("CARGO_PKG_VERSION"),
    );
    let mut id = String::new();
    urn_into(&mut id, digest(file.as_bytes()));
    let text = format!(
        "WARC/1.1\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: {id}\r\nWARC-Date: {day}T00:00:00Z\r\n\
         WARC-Filename: {file}\r\nContent-Type: application/warc-fields\r\nContent-Length: {}\r\n\
         \r\n{block}\r\n\r\n",
        block.len(),
    );
    gzip::member(text.as_bytes(), None)
}

pub(crate) const RECORD_END: &[u8] = b"\r\n\r\n";

/// What an index may know this member by: a body that is not whole is nobody's duplicate.
pub(crate) fn mark(record: &ResponseRecord<'_>) -> Option<Digest> {
    record.truncated.is_none().then_some(record.digest)
}

/// Everything of a `response` record that stands before a body of `body_bytes`.
pub(crate) fn response_head(head: &mut Vec<u8>, record: &ResponseRecord<'_>, body_bytes: u64) {
    let http = http_head(record);
    let text = &mut String::with_capacity(512 + http.len());
    fields(text, record, "response");
    content_length(text, body_bytes + http.len() as u64);
    text.push_str(&http);
    head.extend_from_slice(text.as_bytes());
}

fn fields(text: &mut String, record: &ResponseRecord<'_>, kind: &str) {
    text.extend(["WARC/1.1\r\nWARC-Type: ", kind, "\r\nWARC-Record-ID: "]);
    let mut date = String::with_capacity(27);
    date_into(&mut date, record.received_at);
    urn_into(text, record_hash(record, kind, &date));
    text.extend(["\r\nWARC-Date: ", &date, "\r\n"]);
    uri_line(text, "WARC-Target-URI", record.target_uri);
    text.extend(["WARC-Payload-Digest: ", record.digest.text().as_str(), "\r\n"]);
    if let Some(reason) = record.truncated {
        line(text, "WARC-Truncated", reason);
    }
    if let Some(protocol) = multiplexed(record.http_version) {
        line(text, "WARC-Protocol", protocol);
    }
    text.push_str("Tidewatch-Attempt: ");
    if record.attempt.0 < 0 {
        text.push('-');
    }
    number_into(text, record.attempt.0.unsigned_abs());
    text.push_str("\r\nContent-Type: application/http;msgtype=response\r\n");
}

fn content_length(text: &mut String, bytes: u64) {
    text.push_str("Content-Length: ");
    number_into(text, bytes);
    text.push_str("\r\n\r\n");
}

const TRANSFER: &str = "transfer-encoding";

/// Status line and headers. Readers of WARC know HTTP/1 only; later versions are named in the
/// record's `WARC-Protocol`.
fn http_head(record: &ResponseRecord<'_>) -> String {
    let size: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let mut text = String::with_capacity(size + 64);
    let version = if record.http_version.ends_with("1.0") { "1.0" } else { "1.1" };
    text.extend(["HTTP/", version, " "]);
    number_into(&mut text, u64::from(record.status));
    text.push_str(" \r\n");
    for (name, value) in record.headers {
        if name.is_empty() {
            continue;
        }
        if name.len() == TRANSFER.len() && name.eq_ignore_ascii_case(TRANSFER) {
            text.push_str(KEPT_ASIDE);
        }
        if name.bytes().all(is_token) {
            text.push_str(name);
        } else {
            text.extend(name.chars().map(|c| match u8::try_from(c) {
                Ok(byte) if is_token(byte) => c,
                _ => '_',
            }));
        }
        text.push_str(": ");
        value_into(&mut text, value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

fn multiplexed(http_version: &str) -> Option<&'static str> {
    match http_version.strip_prefix("HTTP/").unwrap_or(http_version).split('.').next() {
        Some("2") => Some("h2"),
        Some("3") => Some("h3"),
        _ => None,
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(": ");
    value_into(text, value);
    text.push_str("\r\n");
}

/// A URI has neither spaces nor control characters; one that has is percent-encoded there.
fn uri_line(text: &mut String, name: &str, uri: &str) {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
    if uri.as_bytes().iter().fold(true, |plain, byte| plain & byte.is_ascii_graphic())
        || uri.chars().all(is_plain)
    {
        line(text, name, uri);
        return;
    }
    text.push_str(name);
    text.push_str(": ");
    let mut utf8 = [0; 4];
    for c in uri.chars() {
        if is_plain(c) {
            text.push(c);
        } else {
            for byte in c.encode_utf8(&mut utf8).bytes() {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text.push_str("\r\n");
}

/// Control characters become spaces: a value cannot end its line.
fn value_into(text: &mut String, value: &str) {
    if value.as_bytes().iter().fold(true, |plain, byte| plain & (b' '..0x7f).contains(byte)) {
        // Without a way out of the loop it goes by many bytes at once.
        text.push_str(value);
    } else if value.chars().any(char::is_control) {
        text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
    } else {
        text.push_str(value);
    }
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    TOKENS[byte as usize]
}

const TOKENS: [bool; 256] = {
    let mut tokens = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        tokens[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others = b"!#$%&'*+-.^_`|~".as_slice();
    while let [other, rest @ ..] = others {
        tokens[*other as usize] = true;
        others = rest;
    }
    tokens
};

/// RFC 3339 in UTC with six digits of the second, which every reader understands.
fn date_into(text: &mut String, at: Timestamp) {
    let utc = Offset::UTC.to_datetime(at);
    let (Ok(year), false) = (u32::try_from(utc.year()), utc.year() > 9999) else {
        let _ = write!(text, "{at:.6}");
        return;
    };
    let micros = utc.subsec_nanosecond().unsigned_abs() / 1000;
    decimal(text, year, 4);
    for (before, value) in [
        ('-', utc.month()),
        ('-', utc.day()),
        ('T', utc.hour()),
        (':', utc.minute()),
        (':', utc.second()),
    ] {
        text.push(before);
        decimal(text, u32::from(value.unsigned_abs()), 2);
    }
    text.push('.');
    decimal(text, micros, 6);
    text.push('Z');
}

/// The last `digits` digits of a number, at most ten.
fn decimal(text: &mut String, mut number: u32, digits: usize) {
    let mut bytes = [b'0'; 10];
    for byte in bytes[10 - digits..].iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.push_str(std::str::from_utf8(&bytes[10 - digits..]).unwrap_or_default());
}

/// A number without the way through the formatter.
pub(crate) fn number_into(text: &mut String, mut number: u64) {
    let mut bytes = [b'0'; 20];
    let mut start = bytes.len();
    while start == bytes.len() || number > 0 {
        start -= 1;
        bytes[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.push_str(std::str::from_utf8(&bytes[start..]).unwrap_or_default());
}

/// The same answer of the same attempt always has the same id.
fn record_hash(record: &ResponseRecord<'_>, kind: &str, date: &str) -> Digest {
    let mut running = digest::Running::default();
    running.update(&record.digest.0);
    running.update(&record.attempt.0.to_be_bytes());
    running.update(kind.as_bytes());
    running.update(date.as_bytes());
    running.update(record.target_uri.as_bytes());
    running.finish()
}

/// A UUID of version 8 (RFC 9562, section 5.8): our own hash.
fn urn_into(text: &mut String, hash: Digest) {
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.0[..16]);
    let bits = u128::from_be_bytes(bits) & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let digits = model::hexadecimal::<16, 32>(&bits.to_be_bytes());
    let digits = std::str::from_utf8(&digits).unwrap_or_default();
    text.push_str("<urn:uuid:");
    for (number, part) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
        if number > 0 {
            text.push('-');
        }
        text.push_str(&digits[part]);
    }
    text.push('>');
}

/// Lends a buffer that keeps its size from record to record, up to [`KEEP_BYTES`].
fn with_head<T>(build: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    const KEEP_BYTES: usize = 4 << 20;
    thread_local! {
        static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    HEAD.with_borrow_mut(|head| {
        head.clear();
        let built = build(head);
        if head.capacity() > KEEP_BYTES {
            *head = Vec::new();
        }
        built
    })
}
