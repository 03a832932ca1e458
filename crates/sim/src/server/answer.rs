//! What a server answers, in bytes, and what a good client makes of it.

use super::Servers;
use crate::{
    scenario::Server,
    world::{Record, Truth},
};
use bytes::Bytes;
use fetch::{BodyStream, TransportError};
use futures::{StreamExt, stream};
use http::{Response, header};
use model::{CellKey, Outcome};
use std::{fmt::Write as _, sync::Arc};

/// What became of a request. Of answers with data, the number tells which version of the cell was
/// there; `None` that nothing had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The whole truth of the instant.
    Whole(Option<usize>),
    /// 304: the client has it already.
    NotModified(Option<usize>),
    /// 304 about a body in which something is called otherwise.
    StillRenamed(Option<usize>),
    /// A body that breaks off: by an error, too short, or by silence.
    Truncated(Option<usize>, u8),
    /// The field `c` is called otherwise.
    RenamedField(Option<usize>),
    /// The list of records is called otherwise.
    RenamedList(Option<usize>),
    /// 200, and no bytes.
    NoBytes,
    /// 429.
    Refused,
    /// A status of a server that fails.
    Failed(u16),
    /// 200, and a web page.
    BlockPage,
    /// No connection.
    Unreachable,
    /// Never an answer.
    Silent,
    /// The headers of an answer with or without data, true or not.
    Head(bool),
    /// 405.
    NoHead,
    /// A page of the entities whose data is there.
    Page,
}

impl Kind {
    /// The version of the cell that a client may take from it.
    pub fn version(self) -> Option<usize> {
        match self {
            Self::Whole(version) | Self::NotModified(version) => version,
            _ => None,
        }
    }

    /// Whether it answers a look that brings no data.
    pub fn is_cheap(self) -> bool {
        matches!(self, Self::Head(_) | Self::NoHead | Self::Page)
    }

    /// Whether a client may end an attempt that got this answer with this outcome.
    pub fn permits(self, outcome: Outcome, version_has_records: bool) -> bool {
        match self {
            Self::Whole(_) if version_has_records => outcome == Outcome::Ok,
            // With a renamed field the list is where it should be: an empty one proves itself.
            Self::Whole(_) | Self::RenamedField(None) => outcome == Outcome::EmptyProven,
            // It inherits the verdict on the body that it speaks of.
            Self::NotModified(_) if version_has_records => outcome == Outcome::NotModified,
            Self::NotModified(_) => {
                matches!(outcome, Outcome::NotModified | Outcome::EmptyProven)
            }
            Self::Truncated(..) => outcome == Outcome::Partial,
            Self::RenamedField(Some(_)) => {
                matches!(outcome, Outcome::ParseError | Outcome::EmptyUnproven)
                    || (outcome == Outcome::EmptyProven && !version_has_records)
            }
            Self::RenamedList(_) | Self::StillRenamed(_) if version_has_records => {
                matches!(outcome, Outcome::ParseError | Outcome::EmptyUnproven)
            }
            Self::RenamedList(_) | Self::StillRenamed(_) => matches!(
                outcome,
                Outcome::ParseError | Outcome::EmptyUnproven | Outcome::EmptyProven
            ),
            Self::NoBytes | Self::Head(false) => outcome == Outcome::EmptyUnproven,
            Self::Refused => outcome == Outcome::RateLimited,
            Self::Failed(_) | Self::NoHead => outcome == Outcome::SourceError,
            Self::BlockPage => outcome == Outcome::Blocked,
            Self::Unreachable | Self::Silent => outcome == Outcome::TransportError,
            Self::Head(true) | Self::Page => outcome == Outcome::Ok,
        }
    }
}

/// An answer to one request.
#[derive(Debug)]
pub struct Reply {
    cell: CellKey,
    kind: Kind,
    truth: Option<Arc<Truth>>,
    page: String,
}

impl Reply {
    pub(super) fn new(servers: &Servers, cell: &CellKey, kind: &Kind) -> Self {
        let page = String::new();
        Self { cell: cell.clone(), kind: *kind, truth: servers.world.truth(cell), page }
    }

    /// A page that names entities, and some that are none.
    pub(super) fn page(cell: &CellKey, names: &[String]) -> Self {
        let mut page = "<!doctype html><title>Ready</title><ul id=\"ready\">".to_owned();
        for name in names.iter().map(String::as_str).chain(["E9999", "../x", "&lt;b&gt;"]) {
            page.push_str("<li>");
            page.push_str(name);
        }
        page.push_str("</ul>");
        Self { cell: cell.clone(), kind: Kind::Page, truth: None, page }
    }

    fn records(&self, version: Option<usize>) -> &[Record] {
        let versions = self.truth.as_deref().map_or(&[][..], |truth| &truth.versions);
        version.and_then(|at| versions.get(at)).map_or(&[], |version| &version.records)
    }

    fn json(&self) -> String {
        let (version, list, field) = match self.kind {
            Kind::Whole(version) | Kind::NotModified(version) | Kind::Truncated(version, _) => {
                (version, "data", "c")
            }
            Kind::RenamedField(version) => (version, "data", "close"),
            Kind::RenamedList(version) => (version, "items", "c"),
            _ => return String::new(),
        };
        let (entity, records) = (self.cell.entity.as_str(), self.records(version));
        let mut text = format!(
            "{{\"symbol\":\"{entity}\",\"date\":\"{}\",\"total\":{},\"{list}\":[",
            self.cell.period,
            records.len()
        );
        for (at, record) in records.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (whole, fraction) =
                (record.close_micros / 1_000_000, record.close_micros % 1_000_000);
            // Writing into a text cannot fail.
            let _ = write!(
                text,
                "{comma}{{\"s\":\"{entity}\",\"n\":{},\"{field}\":{whole}.{fraction:06}}}",
                record.number
            );
        }
        text.push_str("]}");
        text
    }

    /// The `ETag` of the whole body; a broken one carries that of the whole, as servers send it
    /// before they break.
    pub(super) fn etag(&self) -> Option<String> {
        let text = self.json();
        (!text.is_empty()).then(|| format!("\"{:016x}\"", fnv(&text)))
    }

    /// The head and the body.
    pub(super) fn send(&self, server: &Server) -> Result<Response<BodyStream>, TransportError> {
        let mut response = Response::builder().header(header::CONTENT_TYPE, "application/json");
        if let Some(etag) = self.etag().filter(|_| server.etag) {
            response = response.header(header::ETAG, etag);
        }
        let whole =
            |text: String| -> BodyStream { Box::pin(stream::iter([Ok(Bytes::from(text))])) };
        let nothing = || -> BodyStream { Box::pin(stream::empty()) };
        let (status, body): (u16, BodyStream) = match self.kind {
            Kind::Unreachable => {
                let host = format!("{}.sim", self.cell.source);
                let cause = "connection refused".into();
                return Err(TransportError::Connect { host, cause });
            }
            Kind::Whole(_) | Kind::RenamedField(_) | Kind::RenamedList(_) => {
                (200, whole(self.json()))
            }
            Kind::NotModified(_) | Kind::StillRenamed(_) => (304, nothing()),
            Kind::Truncated(_, how) => {
                let text = self.json();
                response = response.header(header::CONTENT_LENGTH, text.len());
                (200, broken_off(&text, how))
            }
            Kind::Head(is_promised) => {
                response =
                    response.header(header::CONTENT_LENGTH, if is_promised { 512 } else { 2 });
                (200, nothing())
            }
            Kind::NoHead => (405, nothing()),
            Kind::Page => {
                response = Response::builder().header(header::CONTENT_TYPE, "text/html");
                (200, whole(self.page.clone()))
            }
            // A silent server never gets here.
            Kind::NoBytes | Kind::Silent => {
                response = response.header(header::CONTENT_LENGTH, 0);
                (200, nothing())
            }
            Kind::Refused => {
                if let Some(wait) = server.limiter.and_then(|limiter| limiter.retry_after) {
                    response = response.header(header::RETRY_AFTER, wait.0.as_secs());
                }
                (429, whole("{\"error\":\"too many requests\"}".to_owned()))
            }
            Kind::Failed(status) => (status, whole("{\"error\":\"internal\"}".to_owned())),
            Kind::BlockPage => {
                let page = "<!doctype html><title>Access denied</title><p>Are you a robot?";
                response = Response::builder().header(header::CONTENT_TYPE, "text/html");
                (200, whole(page.to_owned()))
            }
        };
        response
            .status(status)
            .body(body)
            .map_err(|error| TransportError::Protocol { cause: Box::new(error) })
    }
}

fn broken_off(text: &str, how: u8) -> BodyStream {
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let received_bytes = half.len() as u64;
    let start = stream::iter([Ok(half)]);
    match how {
        0 => Box::pin(start.chain(stream::iter([Err(TransportError::broken(received_bytes))]))),
        1 => Box::pin(start),
        _ => Box::pin(start.chain(stream::pending())),
    }
}

/// FNV-1a.
pub(crate) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
