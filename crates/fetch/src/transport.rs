//! The network port.
//!
//! A transport sends one request and gives back head and body stream. It follows no redirects,
//! decodes no content encodings and never sends a request twice.

use bytes::Bytes;
use futures::Stream;
use std::{fmt, io, pin::Pin};

pub use futures::future::BoxFuture;

/// The bytes of a body after transfer decoding, still content-encoded.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// Any error, as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The network: real ([`HyperTransport`](crate::HyperTransport)) or simulated.
///
/// A transport that knows where it was connected to puts the [`IpAddr`](std::net::IpAddr) into the
/// extensions of a redirect; without it, the host of the address alone tells public from private.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends one request, whose URI is absolute, and resolves when the head of the answer is there.
    fn send(
        &self,
        request: http::Request<Bytes>,
        reach: Reach,
    ) -> BoxFuture<'_, Result<http::Response<BodyStream>, TransportError>>;
}

/// Where a request may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To any address: the user named it.
    Any,
    /// To public addresses only ([`is_public`](crate::is_public)): a server named it. Checked after
    /// name resolution, on the addresses that are then connected to.
    PublicOnly,
}

/// What an attempt was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The name, the connection, TLS.
    Connect,
    /// The head of the answer.
    Head,
    /// More of the body.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Head => "the head of the answer",
            Self::Body => "more of the body",
        })
    }
}

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The host's name has no address.
    #[error("the name `{host}` could not be resolved")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        cause: io::Error,
    },
    /// Nobody answers there.
    #[error("no connection to `{host}`")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        #[source]
        cause: BoxError,
    },
    /// No trust, or no common version or cipher.
    #[error("no TLS session with `{host}`")]
    Tls {
        /// Host and port.
        host: String,
        /// What the handshake said.
        #[source]
        cause: BoxError,
    },
    /// There is nothing on this machine to check a server's certificate against.
    #[error(
        "no root certificates were found on this machine, so `https` cannot be used: install them \
         (on Debian the package `ca-certificates`) or configure an own authority"
    )]
    NoRootCertificates,
    /// The address is not public, and [`Reach::PublicOnly`] was asked for.
    #[error("`{host}` is at an address that is not public")]
    Refused {
        /// Host and port.
        host: String,
    },
    /// The connection broke.
    #[error("the connection broke after {received_bytes} bytes of the body")]
    Broken {
        /// Bytes of the body before it broke; 0 also if the head never came.
        received_bytes: u64,
        /// What the system said.
        #[source]
        cause: Option<BoxError>,
    },
    /// More or longer headers than the transport takes.
    #[error("the head of the answer is too large")]
    TooManyHeaders,
    /// Nothing came in time.
    #[error("timed out while waiting for {phase}")]
    Timeout {
        /// What was waited for.
        phase: Phase,
    },
    /// What came is not HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol {
        /// What is wrong with it.
        #[source]
        cause: BoxError,
    },
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent: {reason}")]
    Unsendable {
        /// What is wrong with it.
        reason: String,
    },
}

impl TransportError {
    /// A connection that broke for no known reason.
    pub fn broken(received_bytes: u64) -> Self {
        Self::Broken { received_bytes, cause: None }
    }

    /// The error and its causes in one line, for a verdict's detail.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            // Wrappers often repeat what they wrap.
            if !text.ends_with(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        text
    }
}
