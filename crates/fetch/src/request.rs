//! What an attempt is given and what it gives back.

use crate::{Url, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use model::{Outcome, Validators};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// One request as the source declares it.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// How to ask.
    pub method: Method,
    /// Where to ask: `http` or `https`. User info is not sent.
    pub url: Url,
    /// What to say. Values marked sensitive, and headers whose name says so
    /// ([`is_secret_header`](crate::is_secret_header)), never leave the first origin. `Accept`,
    /// `Accept-Encoding` and `User-Agent` have defaults.
    pub headers: Arc<HeaderMap>,
    /// What to ask "still the same?" with; sent with GET and HEAD, to the first origin only.
    pub validators: Option<Validators>,
    /// What to send along.
    pub body: Bytes,
    /// How long and how large the attempt may be.
    pub limits: Arc<FetchLimits>,
    /// Whether a web page would be the wrong answer.
    pub expects_json: bool,
}

/// The bounds of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// How long a connection may take; together with `idle_timeout` it bounds the wait for the head.
    pub connect_timeout: Duration,
    /// The longest silence of the server.
    pub idle_timeout: Duration,
    /// The whole attempt, redirects included.
    pub total_timeout: Duration,
    /// The most bytes of a body as received.
    pub body_limit_bytes: u64,
    /// The most bytes of a body after content decoding.
    pub decoded_limit_bytes: u64,
    /// The most bytes of a web page where JSON is due, and of the body of a refusal.
    pub html_limit_bytes: u64,
    /// Larger bodies go to a file below `spool_dir`.
    pub memory_limit_bytes: u64,
    /// The most bytes of all names and values of the answer's headers.
    pub header_limit_bytes: u64,
    /// The most redirects that are followed.
    pub redirects_max: u32,
    /// Statuses that this source declares to mean "there is nothing", besides 204.
    pub empty_status: Vec<u16>,
    /// Where bodies that do not fit in memory go; created when needed.
    pub spool_dir: PathBuf,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_mins(5),
            body_limit_bytes: 1 << 30,
            decoded_limit_bytes: 4 << 30,
            html_limit_bytes: 256 << 10,
            memory_limit_bytes: 1 << 20,
            header_limit_bytes: 64 << 10,
            redirects_max: 5,
            empty_status: Vec::new(),
            spool_dir: std::env::temp_dir().join("tidewatch-spool"),
        }
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Fetched {
    /// The status of the last answer; none if there was no answer.
    pub status: Option<u16>,
    /// Its headers as received: secrets such as `Set-Cookie` are still in
    /// ([`safe_headers`](crate::safe_headers) leaves them out).
    pub headers: HeaderMap,
    /// Its protocol version; HTTP/1.1 if there was no answer.
    pub version: Version,
    /// Where it came from, or would have.
    pub final_url: Url,
    /// How many redirects were followed.
    pub redirects: u32,
    /// Its body as received: after transfer decoding, before content decoding.
    pub body: Body,
    /// The bytes of `body`.
    pub received_bytes: u64,
    /// Whether and why `body` is not all of it.
    pub truncated: Option<Truncated>,
    /// From the start of the attempt until the head of the last answer was there.
    pub first_byte: Option<Duration>,
    /// The whole attempt.
    pub elapsed: Duration,
    /// What it means.
    pub verdict: FetchVerdict,
}

/// Why a body is not all of it; the words of WARC/1.1, section 5.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncated {
    /// Longer than we take (or than there is room for).
    Length,
    /// It took too long.
    Time,
    /// The connection broke.
    Disconnect,
}

impl Truncated {
    /// The word used in archives and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Time => "time",
            Self::Disconnect => "disconnect",
        }
    }
}

/// What an attempt means, as far as transport, status and the shape of the body can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchVerdict {
    /// The outcome; none for a complete, usable body, which must be extracted to know.
    pub outcome: Option<Outcome>,
    /// The evidence in a short line; no secrets and at most 80 characters of the body. Empty if
    /// there is nothing to say.
    pub detail: String,
    /// How long the server asks us to wait, if it refused: at most 24 h.
    pub retry_after: Option<Duration>,
    /// Whether the status alone says that there is nothing.
    pub empty_by_status: bool,
}
