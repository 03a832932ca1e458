//! What follows an attempt: the one table of looks and retries.
//!
//! A *look* asks whether a cell's data is there; a *retry* repeats a look that failed for a reason
//! that may be gone in seconds. Time nominates, evidence decides: past the deadline a cell is given
//! up when a complete observation showed that there is nothing, and without one only much later.
//!
//! Back-off: Brooker, "Exponential backoff and jitter" (AWS architecture blog, 2015), full jitter
//! above a shortest pause.

mod retry_budget;

pub use retry_budget::RetryBudget;

use crate::agenda::Priority;
use jiff::{SignedDuration, Timestamp};
use model::Outcome;

/// The longest pause a server can impose by `Retry-After`.
pub const RETRY_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The shortest look interval, whatever the policy says: a guard against asking without pause.
pub const LOOK_EVERY_MIN: SignedDuration = SignedDuration::from_secs(1);

/// How many looks without data double the look interval.
const LOOKS_PER_DOUBLING: u32 = 4;

/// How many times as patient as with other failures we are when we are told to slow down: it says
/// something about us, and nothing about the cell.
const THROTTLED_PATIENCE: u32 = 4;

/// When the cells of one source are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookPolicy {
    /// From one look without data to the next.
    pub look_every: SignedDuration,
    /// Up to which the interval doubles after each four looks without data.
    pub look_every_max: SignedDuration,
    /// After due: from then on a complete observation without data is final. Twice as late a cell
    /// is given up without one. `None`: never.
    pub give_up_after: Option<SignedDuration>,
    /// The shortest pause before a retry, such as 2 s.
    pub retry_first: SignedDuration,
    /// The longest pause before a retry, such as 15 min.
    pub retry_max: SignedDuration,
    /// Failures in a row after which a retry waits a whole look interval.
    pub retries: u32,
    /// Whether a refusal waits for its turn at the source's pace only; else it backs off like a
    /// failure.
    pub throttled_at_once: bool,
    /// Whether present cells are looked at again.
    pub revisit: Option<Revisit>,
}

/// When present cells are looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revisit {
    /// From one look to the next.
    pub every: SignedDuration,
    /// After due: no look later than this.
    pub until: SignedDuration,
}

/// What is known of a cell after an attempt, that attempt included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When its data could first exist. For `once`, whose period closed long ago: when the cell
    /// was first planned.
    pub due_at: Timestamp,
    /// Attempts made since due.
    pub looks: u32,
    /// The last attempts in a row that failed.
    pub failures: u32,
    /// Whether a complete observation was made after due.
    pub complete_since_due: bool,
    /// Whether the cell has usable records, from this attempt or an earlier one.
    pub has_data: bool,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Look again, not before this instant.
    LookAt(Timestamp, Priority),
    /// The cell has its data; no more looks.
    Settled,
    /// The cell has no data and will not be looked at again.
    GiveUp,
}

/// What an outcome asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    /// A complete observation: believe it.
    Believe,
    /// It does not heal by asking again at once: look again after the interval.
    LookLater,
    /// It may be over in seconds: back off, then ask again.
    Retry,
    /// We ask too much: back off, and count no failure of the cell.
    SlowDown,
    /// Nothing was sent, so nothing was learned.
    Postpone,
}

fn reaction(outcome: Outcome) -> Reaction {
    match outcome {
        Outcome::Ok | Outcome::NotModified | Outcome::EmptyProven => Reaction::Believe,
        Outcome::EmptyUnproven
        | Outcome::ParseError
        | Outcome::Invalid
        | Outcome::Blocked
        | Outcome::Unauthorized
        | Outcome::Gone => Reaction::LookLater,
        Outcome::Partial | Outcome::SourceError | Outcome::TransportError => Reaction::Retry,
        Outcome::RateLimited => Reaction::SlowDown,
        Outcome::Skipped => Reaction::Postpone,
    }
}

/// Decides what follows an attempt that ended at `now`.
///
/// `retry_after` is what the server asked for with any status: it is kept up to
/// [`RETRY_AFTER_MAX`]. `jitter` is a draw from 0 to 1.
///
/// Looks before the deadline are `live`, or `repair` after an answer that we could not use; looks
/// after it are `backfill`, looks at present cells `probe`.
pub fn next(
    policy: &LookPolicy,
    outcome: Outcome,
    progress: &Progress,
    retry_after: Option<SignedDuration>,
    jitter: f64,
    now: Timestamp,
) -> Next {
    let asked_for = retry_after.unwrap_or_default().clamp(SignedDuration::ZERO, RETRY_AFTER_MAX);
    let not_before = later(now, asked_for);
    let deadline = policy.give_up_after.map(|after| later(progress.due_at, after));
    let is_overdue = deadline.is_some_and(|deadline| now >= deadline);
    let live = if is_overdue { Priority::Backfill } else { Priority::Live };
    let repair = if is_overdue { Priority::Backfill } else { Priority::Repair };
    let pause = later(now, back_off(policy, progress.failures, jitter)).max(not_before);

    let reaction = reaction(outcome);
    let pause =
        if reaction == Reaction::SlowDown && policy.throttled_at_once { not_before } else { pause };
    let is_quick = match reaction {
        Reaction::Retry | Reaction::SlowDown => progress.failures <= policy.retries,
        Reaction::Believe | Reaction::LookLater | Reaction::Postpone => false,
    };
    if progress.has_data {
        return if is_quick {
            Next::LookAt(pause, Priority::Probe)
        } else {
            revisit(policy, progress.due_at, not_before, now)
        };
    }
    if is_quick {
        return Next::LookAt(pause, live);
    }
    if is_overdue && may_give_up(policy, reaction, progress, now) {
        return Next::GiveUp;
    }
    let interval = later(now, look_interval(policy, progress.looks));
    // The last look before the deadline is moved onto it, so that evidence is there to decide.
    let look = match deadline.filter(|deadline| now < *deadline) {
        Some(deadline) => interval.min(deadline).max(not_before),
        None => interval.max(not_before),
    };
    match reaction {
        Reaction::Believe => Next::LookAt(look, live),
        Reaction::LookLater | Reaction::Retry => Next::LookAt(look, repair),
        Reaction::SlowDown => Next::LookAt(pause, live),
        Reaction::Postpone => Next::LookAt(later(now, look_every(policy)).max(not_before), live),
    }
}

/// Whether a cell without data may be given up after its deadline: with the evidence of a complete
/// observation at once, without it at twice the age and after enough attempts (a backfill begins
/// at any age).
fn may_give_up(
    policy: &LookPolicy,
    reaction: Reaction,
    progress: &Progress,
    now: Timestamp,
) -> bool {
    let attempts_min = match reaction {
        Reaction::Believe => 0,
        Reaction::LookLater | Reaction::Retry => policy.retries.saturating_add(1),
        Reaction::SlowDown => policy.retries.saturating_add(1).saturating_mul(THROTTLED_PATIENCE),
        Reaction::Postpone => u32::MAX,
    };
    let is_past_hope = policy
        .give_up_after
        .is_some_and(|after| now >= later(progress.due_at, after.saturating_mul(2)));
    let is_shown =
        progress.complete_since_due || (reaction == Reaction::Believe && now >= progress.due_at);
    is_shown || (is_past_hope && progress.looks >= attempts_min)
}

/// The next look at a present cell.
fn revisit(policy: &LookPolicy, due_at: Timestamp, not_before: Timestamp, now: Timestamp) -> Next {
    let Some(revisit) = policy.revisit else { return Next::Settled };
    let at = later(now, revisit.every.max(LOOK_EVERY_MIN)).max(not_before);
    if at <= later(due_at, revisit.until) {
        Next::LookAt(at, Priority::Probe)
    } else {
        Next::Settled
    }
}

fn look_every(policy: &LookPolicy) -> SignedDuration {
    policy.look_every.max(LOOK_EVERY_MIN)
}

/// The pause after so many looks without data: the look interval, doubled after each four of them.
pub fn interval_after(policy: &LookPolicy, looks: u32) -> SignedDuration {
    look_interval(policy, looks)
}

/// The look interval after so many looks.
fn look_interval(policy: &LookPolicy, looks: u32) -> SignedDuration {
    let first = look_every(policy);
    doubled(first, looks / LOOKS_PER_DOUBLING).min(policy.look_every_max.max(first))
}

/// The pause after so many failures in a row: between `retry_first` and a ceiling that doubles
/// with each of them up to `retry_max`.
fn back_off(policy: &LookPolicy, failures: u32, jitter: f64) -> SignedDuration {
    let floor = policy.retry_first.max(SignedDuration::ZERO);
    let ceiling = doubled(floor, failures.max(1)).min(policy.retry_max.max(floor));
    let jitter = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
    floor + (ceiling - floor).mul_f64(jitter)
}

fn doubled(duration: SignedDuration, times: u32) -> SignedDuration {
    duration.saturating_mul(1 << times.min(30))
}

/// Adds, stopping at the end of time.
fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    instant.checked_add(by).unwrap_or(end)
}

#[cfg(test)]
mod tests;
