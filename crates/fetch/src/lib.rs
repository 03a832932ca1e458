//! One attempt over HTTP(S): streamed, bounded, ending in exactly one transport-level verdict.
//!
//! [`fetch()`] sends one [`FetchRequest`] through a [`Transport`] and follows redirects itself, so
//! that neither credentials nor validators reach another origin and no public server can point
//! us at a private address. What came back, whole or broken off, is a [`Fetched`]: the bytes as
//! received, and a [`FetchVerdict`] decided by evidence in [`classify`](FetchVerdict).
//!
//! It deliberately does not retry, does not parse records, and knows neither cells nor causes:
//! a complete, usable body has no outcome yet, only extraction can tell.

mod transport;

mod request;

mod attempt;
mod deadline;
mod redirect;

mod body;
mod decode;
mod spool;

mod classify;
mod page;
mod retry_after;
mod stated_limit;

mod redact;

mod address;
mod connections;
mod hyper_transport;

pub use address::is_public;
pub use attempt::fetch;
pub use body::Body;
pub use decode::{DecodeError, Decoded, decode};
pub use hyper_transport::{HyperTransport, TransportSettings, TransportSetupError};
pub use redact::{is_secret_header, redact, safe_headers};
pub use request::{FetchLimits, FetchRequest, FetchVerdict, Fetched, Truncated};
pub use retry_after::{RETRY_AFTER_MAX, retry_after};
pub use spool::{SpoolFile, clear_spool};
pub use stated_limit::{StatedLimit, stated_limit};
pub use transport::{BodyStream, BoxError, BoxFuture, Phase, Reach, Transport, TransportError};
pub use url::Url;
