//! Attempts against a server that speaks bytes by hand, on loopback.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod bodies;
mod connections;
mod decoding;
mod patience;
mod redirects;
mod server;
mod statuses;
