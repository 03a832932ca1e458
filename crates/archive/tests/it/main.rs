//! The archive through its public interface: one contract for both engines, then the disk.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test where it stands"
)]

mod contract;
mod crash;
mod disk;
mod hostile;
mod warcio;

use archive::{Archive, ArchiveRef, ResponseRecord, digest, member};
use jiff::{Timestamp, civil::Date};
use model::{AttemptId, SourceId};
use std::borrow::Cow;

const DAY: Date = jiff::civil::date(2026, 11, 19);

fn source() -> SourceId {
    SourceId::parse("prices").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn headers<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, Cow<'a, str>)> {
    pairs.iter().map(|(name, value)| (*name, (*value).into())).collect()
}

/// Headers as they are read back.
fn owned(headers: &[(&str, Cow<'_, str>)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
}

/// An ordinary answer; tests change what they are about.
fn record<'a>(
    source: &'a SourceId,
    headers: &'a [(&'a str, Cow<'a, str>)],
    body: &[u8],
) -> ResponseRecord<'a> {
    ResponseRecord {
        source,
        target_uri: "https://api.example.com/eod/AAPL?date=2026-11-19",
        received_at: at("2026-11-19T21:00:00.123456Z"),
        attempt: AttemptId(7),
        status: 200,
        http_version: "1.1",
        headers,
        digest: digest(body),
        truncated: None,
    }
}

/// Appends an ordinary answer with this body.
fn append(archive: &dyn Archive, body: &[u8]) -> ArchiveRef {
    let source = source();
    let headers = headers(&[("Content-Type", "application/json")]);
    archive.append(&source, DAY, member(&record(&source, &headers, body), body)).unwrap()
}

async fn body_at(archive: &dyn Archive, at: &ArchiveRef) -> Vec<u8> {
    archive.read(at).await.unwrap().body
}
