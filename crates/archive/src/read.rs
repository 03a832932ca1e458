//! From a gzip member back to a record, in one pass and bounded memory.
//!
//! A member that ends too soon, or bytes that are no member, are [`Torn`](ArchiveError::Torn): a
//! crash leaves that, and nothing after it can be found. A whole member with wrong contents is an
//! error of its own, and the next member is where it should be.

mod member;

use crate::{
    port::ArchiveError,
    record::{IDENTICAL, KEPT_ASIDE, NOT_MODIFIED, Revisit},
    reference::{ArchiveRef, relative_name},
};
use jiff::Timestamp;
use member::{Counted, read_member};
use model::{AttemptId, Digest};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

/// How much of a body [`Records`] keeps unless told otherwise.
const RECORD_BODY_BYTES: u64 = 64 << 20;
/// How many records a revisit may lead through. We write revisits of responses only: one.
const HOPS_MAX: usize = 4;

/// A response as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedResponse {
    /// What was asked for, redacted.
    pub target_uri: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The attempt that received it.
    pub attempt: Option<AttemptId>,
    /// The HTTP status that came with the body: of a 304, that of the response it confirms.
    pub status: u16,
    /// The headers that came with the body: of a 304, those of the response it confirms.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Vec<u8>,
    /// SHA-256 of the body, checked.
    pub digest: Digest,
    /// Why the body is not whole: `length`, `time` or `disconnect`.
    pub truncated: Option<String>,
    /// Whether the body was taken from an earlier record, and why.
    pub revisit: Option<Revisit>,
}

/// One record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub at: ArchiveRef,
    /// The WARC fields, in their order.
    pub fields: Vec<(String, String)>,
    /// The archived HTTP status and headers, of a record that has them.
    pub http: Option<(u16, Vec<(String, String)>)>,
    /// What follows the HTTP headers, or the whole block of a record without; cut at the limit.
    pub body: Vec<u8>,
    /// The body's length in the archive, which is more than is in `body` when that was cut.
    pub body_bytes: u64,
}

impl Record {
    /// The value of a WARC field; names are compared without case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `response`, `revisit`, `warcinfo`, ...
    pub fn kind(&self) -> &str {
        self.field("WARC-Type").unwrap_or_default()
    }

    /// Whether and why the body is left to another record.
    pub fn revisit(&self) -> Option<Revisit> {
        match (self.kind(), self.field("WARC-Profile")) {
            ("revisit", Some(NOT_MODIFIED)) => Some(Revisit::ServerNotModified),
            ("revisit", Some(IDENTICAL)) => Some(Revisit::IdenticalDigest),
            _ => None,
        }
    }

    /// The response in this record. A revisit gives its own status and headers and no body.
    pub fn response(self) -> Result<ArchivedResponse, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { at: self.at.clone(), reason };
        let required = |name, reason| self.field(name).ok_or_else(|| malformed(reason));
        let target_uri = required("WARC-Target-URI", "it has no target URI")?.to_owned();
        let received_at = required("WARC-Date", "it has no date")?.parse();
        let digest = required("WARC-Payload-Digest", "it has no payload digest")?.parse();
        let received_at = received_at.map_err(|_| malformed("its date cannot be read"))?;
        let digest = digest.map_err(|_| malformed("its payload digest cannot be read"))?;
        let attempt = self.field("Tidewatch-Attempt").and_then(|text| text.parse().ok());
        let truncated = self.field("WARC-Truncated").map(str::to_owned);
        let revisit = self.revisit();
        let (status, mut headers) = self
            .http
            .ok_or(ArchiveError::Malformed { at: self.at, reason: "it has no response" })?;
        for (name, _) in &mut headers {
            if name.get(..KEPT_ASIDE.len()).is_some_and(|p| p.eq_ignore_ascii_case(KEPT_ASIDE)) {
                name.drain(..KEPT_ASIDE.len());
            }
        }
        Ok(ArchivedResponse {
            target_uri,
            received_at,
            attempt: attempt.map(AttemptId),
            status,
            headers,
            body: self.body,
            digest,
            truncated,
            revisit,
        })
    }

    /// Where the record with the body lies. Its length is not known (0).
    pub(crate) fn refers_to(&self) -> Result<ArchiveRef, ArchiveError> {
        let place = || {
            let file = self.field("WARC-Refers-To-Filename")?.to_owned();
            let offset = self.field("WARC-Refers-To-File-Offset")?.parse().ok()?;
            let at = ArchiveRef { file, offset, length: 0 };
            at.is_inside().then_some(at)
        };
        place().ok_or_else(|| ArchiveError::Malformed {
            at: self.at.clone(),
            reason: "it does not say where the record lies that it refers to",
        })
    }
}

/// The records of one file in their order. After an error that tells of one record the iteration goes
/// on; after [`Torn`](ArchiveError::Torn) and [`Io`](ArchiveError::Io) it is over.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    name: String,
    input: Counted<BufReader<File>>,
    body_limit_bytes: u64,
    is_over: bool,
}

/// Opens a file of records. The records' [`at`](Record::at) names it by the last three parts of the
/// path, which is how it is called in the archive. Blocks.
pub fn records(path: impl AsRef<Path>) -> Result<Records, ArchiveError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(ArchiveError::io("open", path))?;
    Ok(Records {
        path: path.to_owned(),
        name: relative_name(path),
        input: Counted::new(BufReader::with_capacity(256 << 10, file)),
        body_limit_bytes: RECORD_BODY_BYTES,
        is_over: false,
    })
}

impl Records {
    /// Keeps at most this much of each body in memory; it is checked whole all the same.
    pub fn with_body_limit(self, body_limit_bytes: u64) -> Self {
        Self { body_limit_bytes, ..self }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.input.fill_buf() {
            Ok([]) => {
                self.is_over = true;
                return None;
            }
            Ok(_) => {}
            Err(cause) => {
                self.is_over = true;
                return Some(Err(ArchiveError::io("read", &self.path)(cause)));
            }
        }
        let record = read_member(&mut self.input, &self.name, self.body_limit_bytes);
        self.is_over = matches!(record, Err(ArchiveError::Torn { .. } | ArchiveError::Io { .. }));
        Some(record)
    }
}

/// Gives the bytes of an archive from a place on.
pub(crate) type Open<'a> = dyn Fn(&ArchiveRef) -> Result<Box<dyn BufRead>, ArchiveError> + 'a;

/// Reads the response at a place, through revisit records to the body.
pub(crate) fn read_response(
    at: &ArchiveRef,
    body_limit_bytes: u64,
    open: &Open<'_>,
) -> Result<ArchivedResponse, ArchiveError> {
    let read = |at: &ArchiveRef| {
        if !at.is_inside() {
            let text = at.to_string();
            return Err(crate::ArchiveRefError { text }.into());
        }
        let mut input = Counted::starting_at(open(at)?, at.offset);
        let record = read_member(&mut input, &at.file, body_limit_bytes)?;
        if at.length != 0 && at.length != record.at.length {
            let reason = "the reference to it gives another length";
            return Err(ArchiveError::Malformed { at: at.clone(), reason });
        }
        if record.body_bytes > body_limit_bytes {
            return Err(ArchiveError::BodyTooLarge {
                at: at.clone(),
                limit_bytes: body_limit_bytes,
            });
        }
        Ok(record)
    };
    let record = read(at)?;
    let Some(revisit) = record.revisit() else {
        return record.response();
    };
    let mut holder = read(&record.refers_to()?)?;
    for _ in 1..HOPS_MAX {
        if holder.revisit().is_none() {
            return resolve(at, record.response()?, revisit, holder.response()?);
        }
        holder = read(&holder.refers_to()?)?;
    }
    Err(ArchiveError::EndlessRevisit { at: at.clone() })
}

fn resolve(
    at: &ArchiveRef,
    visit: ArchivedResponse,
    revisit: Revisit,
    holder: ArchivedResponse,
) -> Result<ArchivedResponse, ArchiveError> {
    if visit.digest != holder.digest {
        return Err(ArchiveError::DigestMismatch {
            at: at.clone(),
            expected: visit.digest,
            found: holder.digest,
        });
    }
    let (status, headers) = match revisit {
        Revisit::IdenticalDigest => (visit.status, visit.headers),
        Revisit::ServerNotModified => (holder.status, holder.headers),
    };
    Ok(ArchivedResponse {
        status,
        headers,
        body: holder.body,
        truncated: visit.truncated.or(holder.truncated),
        ..visit
    })
}
