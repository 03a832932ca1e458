//! What a controller decided and why, for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, fmt};

/// Decisions kept; older ones are counted only.
const KEPT: usize = 8;

/// What limits requests, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing refused or slowed us yet.
    #[default]
    Unknown,
    /// A leaky or token bucket: refuses what is above a rate, and takes the next again.
    Bucket,
    /// A bucket that makes requests wait instead of refusing them.
    Queue,
    /// A quota by window, fixed or sliding: takes all, then nothing until room is there again.
    Window,
    /// A rate that counts refused requests too: it opens only to those who pause.
    CountsRefused,
    /// A box: one excess, and nothing is taken for a while.
    Penalty,
    /// So many requests under way, whatever their rate.
    Concurrency,
    /// No limiter at all: a server at its capacity.
    Overload,
}

impl Kind {
    /// In words, as in tables and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Bucket => "bucket",
            Self::Queue => "queue",
            Self::Window => "window",
            Self::CountsRefused => "counts_refused",
            Self::Penalty => "penalty",
            Self::Concurrency => "concurrency",
            Self::Overload => "overload",
        }
    }
}

/// What an answer's head says and is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It cannot be read, or is out of all bounds: negative, years away, far too long.
    Nonsense,
    /// A wait is asked for although the request was served.
    WaitOnServed,
    /// A quota of nothing, although requests are served.
    QuotaOfNothing,
    /// More is left than was granted.
    MoreThanGranted,
    /// The window ends later than it is long.
    EndsTooLate,
    /// Another quota with each answer.
    Changing,
    /// A quota without its window's width, which ends in a few seconds, rounded.
    Vague,
}

impl Ignored {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nonsense => "what it says of limits makes no sense",
            Self::WaitOnServed => "it asks to wait although it was served",
            Self::QuotaOfNothing => "it grants nothing although it was served",
            Self::MoreThanGranted => "more is left than was granted",
            Self::EndsTooLate => "its window ends later than it is long",
            Self::Changing => "it states another quota each time",
            Self::Vague => "its quota is for a window of unknown width",
        }
    }
}

/// Why a decision was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// Work began on what was remembered.
    Remembered,
    /// Requests were refused at this rate.
    RefusedAt(f64),
    /// A single one was refused at this rate, which was taken before: taken for chance.
    LoneRefusal(f64),
    /// Refused again: between two refusals the server took this many in so many seconds.
    TakenBetweenRefusals(u64, f64),
    /// Everything is refused; the next single request leaves after so many seconds.
    AllRefused(f64),
    /// The server asked to wait so many seconds.
    RetryAfter(f64),
    /// A request was taken again after so many seconds in which none was.
    Reopened(f64),
    /// Latency rose from and to so many seconds.
    LatencyRose(f64, f64),
    /// Refused while so many were under way, and taken below.
    InFlight(u32),
    /// The server failed or did not answer.
    ServerFailed,
    /// The answers state a quota: requests, seconds.
    StatedQuota(u64, f64),
    /// What the answers state does not hold: believed no longer.
    StatementContradicted,
    /// An answer's head was not believed; said once of each sort.
    Ignored(Ignored),
    /// The server asked to wait so many seconds, and is granted fewer.
    WaitBounded(f64, f64),
    /// No trouble for a while: a little more is tried.
    Probing,
    /// A faster rate held.
    HeldAbove(f64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remembered => write!(f, "remembered from earlier runs"),
            Self::RefusedAt(rate) => write!(f, "refused at {}/s", short(*rate)),
            Self::LoneRefusal(rate) => {
                write!(f, "a single one refused at {}/s, which is taken: by chance", short(*rate))
            }
            Self::TakenBetweenRefusals(taken, seconds) => {
                write!(f, "refused again: {taken} were taken in the {} s between", short(*seconds))
            }
            Self::AllRefused(seconds) => {
                write!(f, "everything is refused: the next single request in {} s", short(*seconds))
            }
            Self::RetryAfter(seconds) => {
                write!(f, "refused with Retry-After {} s", short(*seconds))
            }
            Self::Reopened(seconds) => {
                write!(f, "taken again after {} s in which nothing was", short(*seconds))
            }
            Self::LatencyRose(from, to) => {
                write!(f, "latency rose from {} to {} ms", short(from * 1000.0), short(to * 1000.0))
            }
            Self::InFlight(count) => write!(f, "refused with {count} under way"),
            Self::ServerFailed => write!(f, "the server failed, or did not answer"),
            Self::StatedQuota(quota, seconds) => {
                write!(f, "the answers state {quota} requests in {} s", short(*seconds))
            }
            Self::StatementContradicted => {
                write!(f, "refused within the quota that the answers state")
            }
            Self::Ignored(what) => write!(f, "an answer's head is ignored: {}", what.as_str()),
            Self::WaitBounded(asked, granted) => write!(
                f,
                "refused with Retry-After {} s: asked again after {} s all the same",
                short(*asked),
                short(*granted)
            ),
            Self::Probing => write!(f, "no refusal for a while: trying a little more"),
            Self::HeldAbove(rate) => write!(f, "{}/s were taken", short(*rate)),
        }
    }
}

/// A number with three digits that matter.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What is believed to limit us.
    pub kind: Kind,
    /// Requests per second allowed from now on; 0 while everything waits.
    pub rate: f64,
    /// Requests under way allowed from now on.
    pub concurrency: u32,
    /// On what evidence.
    pub why: Why,
}

/// The last decisions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    decisions: VecDeque<Decision>,
    /// Decisions made so far.
    pub(crate) total: u64,
}

impl Trace {
    pub(crate) fn push(&mut self, decision: Decision) {
        if self.decisions.len() == KEPT {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision);
        self.total += 1;
    }

    pub(crate) fn since(&self, total: u64) -> impl Iterator<Item = &Decision> {
        let new = self.total.saturating_sub(total).min(self.decisions.len() as u64) as usize;
        self.decisions.iter().skip(self.decisions.len() - new)
    }
}
