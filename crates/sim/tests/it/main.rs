//! The simulated world through its public interface.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test where it stands"
)]

mod exchange;
mod published;
mod world;

#[cfg(feature = "simulator")]
mod checkers;
#[cfg(feature = "simulator")]
mod histories;
#[cfg(feature = "simulator")]
mod open_hours;
#[cfg(feature = "simulator")]
mod repeating;
#[cfg(feature = "simulator")]
mod scenarios;
