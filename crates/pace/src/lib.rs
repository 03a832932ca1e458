//! When the next request to one limit scope may leave.
//!
//! Pure: observations and the moment go in, permission comes out. Never sleeps, never reads a
//! clock. [`Pace`] is the port; [`FixedPace`] keeps to what a source file declares and to what the
//! server asks by `Retry-After`.

pub mod fixed;

pub use fixed::{FixedPace, FixedPaceSettings};

use env::Moment;
use std::{fmt::Debug, time::Duration};

/// Whether a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Now.
    Now,
    /// Not before this monotonic time.
    At(Duration),
    /// Not before one in flight has ended.
    WhenFreed,
}

/// How the server took a request, as far as its limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was served.
    Accepted,
    /// It was refused for being too much: 429, or 503 as a limit.
    Refused,
    /// The server or the network failed.
    Failed,
}

/// What one attempt tells about the limits. Taken per attempt, never per chain of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When the request left.
    pub sent_at: Moment,
    /// How it was taken.
    pub answer: Answer,
    /// From sending to the first byte of the answer.
    pub latency: Option<Duration>,
    /// What the server asked us to wait.
    pub retry_after: Option<Duration>,
}

/// The controller of one limit scope.
pub trait Pace: Send + Debug {
    /// Whether the next request may leave now, and if not, when to ask again.
    fn permit(&mut self, now: Moment) -> Permit;

    /// A request leaves; called right after [`Permit::Now`].
    fn sent(&mut self, now: Moment);

    /// An attempt has ended; called once for each [`Pace::sent`].
    fn observe(&mut self, observation: &Observation, now: Moment);

    /// A request that was permitted was not sent after all, or its end is unknown.
    fn forget(&mut self);

    /// Requests under way.
    fn in_flight(&self) -> u32;
}
