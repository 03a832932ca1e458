//! When the next request to one limit scope may leave.
//!
//! Pure: observations and the moment go in, permission comes out. Never sleeps, never reads a
//! clock. [`Pace`] is the port: [`FixedPace`] keeps to what a source file declares,
//! [`LearningPace`] finds the server's own limit beneath that and remembers it in a [`Memory`].

pub mod fixed;

pub mod learning;

mod history;
mod latency;
mod window;

pub mod hours;
pub mod memory;
pub mod trace;

pub use fixed::{COOL_DOWN_MAX, FixedPace, FixedPaceSettings};
pub use hours::{Backlog, Wait, wait_for_hours};
pub use learning::LearningPace;
pub use memory::{HOURS, HourOfWeek, Hourly, Memory, Profile};
pub use trace::{Decision, Ignored, Kind, Why};

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
    /// It was refused for being too much: 429, or another status that says so.
    Refused,
    /// It was refused without a reason: 503.
    Unavailable,
    /// The server failed at it: another 5xx, a body cut short.
    Failed,
    /// The connection was closed without an answer.
    Dropped,
    /// No answer came in time.
    TimedOut,
}

/// What an answer's head says of the limits behind it; every part may be missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Advice {
    /// How long to wait, from `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Requests granted in a window.
    pub quota: Option<u64>,
    /// How long such a window is.
    pub window: Option<Duration>,
    /// Requests left in the present window.
    pub remaining: Option<u64>,
    /// Until the window ends, counted from the answer; whole seconds on most servers.
    pub reset_after: Option<Duration>,
    /// The head said something of limits that makes no sense, and that was left out.
    pub nonsense: bool,
}

/// A request that left; given back with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// When it left.
    pub sent_at: Moment,
    /// How many were under way with it, itself included.
    pub in_flight: u32,
    /// Changes with each decision to slow down: an answer to an older request says nothing new.
    pub epoch: u32,
}

/// What one attempt tells about the limits. Taken per attempt, never per chain of retries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// What [`Pace::sent`] returned.
    pub ticket: Ticket,
    /// How it was taken.
    pub answer: Answer,
    /// From sending to the first byte of the answer.
    pub latency: Option<Duration>,
    /// What its head says.
    pub advice: Advice,
}

/// What an answer meant for the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The request was taken.
    Taken,
    /// A failure of this one request, which says nothing of limits.
    Noise,
    /// It was one too many; asked again in its turn it will be taken.
    Refused,
    /// The server was in trouble.
    Overloaded,
}

/// The controller of one limit scope.
pub trait Pace: Send + Debug {
    /// Whether the next request may leave now, and if not, when to ask again.
    fn permit(&mut self, now: Moment) -> Permit;

    /// A request leaves; called right after [`Permit::Now`].
    fn sent(&mut self, now: Moment) -> Ticket;

    /// An attempt has ended; this or [`Pace::forget`] is called once for each ticket.
    fn observe(&mut self, observation: &Observation, now: Moment) -> Meaning;

    /// A request that was permitted was not sent after all, or its end is unknown.
    fn forget(&mut self, ticket: Ticket);

    /// Requests under way.
    fn in_flight(&self) -> u32;
}
