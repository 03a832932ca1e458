//! What was taken for long, against refusals that have nothing to do with the rate.
//!
//! What is taken between two refusals is the limit only if more was asked for. Where requests are
//! refused by chance it is what was asked for, and a rate that follows it falls and never comes
//! back. So what was taken over longer times, in which anything was wanted, is kept beside it.

use super::{LearningPace, Mode, reopened::RARE};
use crate::trace::{Kind, Why};

/// What is taken is counted anew after so many busy seconds.
const MILESTONE: f64 = 10.0;
/// What is left of the proven rate a milestone later.
const FADES: f32 = 0.98;
/// At less than this share of it a refusal is not one of the rate.
const GROUNDLESS: f64 = 0.6;
/// The share of it that is gone back to.
const REGAINED: f64 = 0.7;
/// What one refusal leaves of a limit where many come without a reason.
const NOISY_LEAST: f64 = 0.7;
/// What was taken in the near past is never believed to be more than this many limits.
const GOODPUT_MOST: f64 = 3.0;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Proven {
    /// Busy seconds and accepted requests at the last two milestones.
    milestones: [(f32, u32); 2],
    /// The most that was taken a second from one milestone to the next, twice in a row; fades.
    rate: f32,
    /// Accepted in total when it was gone back to; 0: not of late.
    regained_at: u32,
}

impl Proven {
    /// A request leaves after so many busy seconds and so many accepted ones.
    pub(super) fn pass(&mut self, busy: f64, accepted: u64) {
        let [before, last] = self.milestones;
        if busy < f64::from(last.0) + MILESTONE {
            return;
        }
        let now = (busy as f32, accepted as u32);
        let rate = |from: (f32, u32), to: (f32, u32)| {
            to.1.wrapping_sub(from.1) as f32 / (to.0 - from.0).max(1.0)
        };
        // Once may be a burst.
        let taken = rate(before, last).min(rate(last, now));
        self.rate = taken.max(FADES * self.rate);
        self.milestones = [last, now];
    }

    /// What was taken a second since the milestone before the last.
    fn lately(&self, busy: f64, accepted: u64) -> f64 {
        let (since, before) = self.milestones[0];
        let taken = (accepted as u32).wrapping_sub(before);
        f64::from(taken) / (busy - f64::from(since)).max(MILESTONE)
    }

    /// A refusal that counts: whether it came soon after the rate was gone back to, which was too
    /// far then.
    pub(super) fn is_refuted(&mut self, accepted: u64) -> bool {
        let since = (accepted as u32).wrapping_sub(self.regained_at);
        let is_soon = self.regained_at > 0 && u64::from(since) < RARE;
        if is_soon {
            (self.rate, self.regained_at) = (0.5 * self.rate, 0);
        }
        is_soon
    }
}

impl LearningPace {
    /// Whether a refusal comes at a rate far below one that was taken for long.
    pub(super) fn is_groundless(&self, now: f64) -> bool {
        self.refused_in_row == 0
            && self.mode == Mode::Hold
            && now >= self.careful_until
            && !self.is_counted()
            && self.kind != Kind::Penalty
            && self.rate < GROUNDLESS * f64::from(self.proven.rate)
    }

    /// Back to what was taken for long: lower rates are refused as often.
    pub(super) fn regain(&mut self) {
        let limit = REGAINED * f64::from(self.proven.rate);
        (self.limit, self.window, self.sure) = (Some(limit), None, false);
        self.rate = (0.5 * limit).max(self.rate);
        self.mode = Mode::Settle;
        self.proven.regained_at = self.history.accepted as u32;
        self.tell(Why::LoneRefusal(self.rate));
    }

    /// Where requests are refused without a reason one refusal takes little away from what was
    /// believed before.
    pub(super) fn stand_by(&mut self, before: Option<f64>) {
        let Some(before) = before.filter(|_| self.signal.is_noisy()) else { return };
        let least = before * NOISY_LEAST;
        if self.limit.is_some_and(|limit| limit < least) {
            (self.limit, self.window, self.sure) = (Some(least), None, false);
            self.rate = self.rate.max(least * self.share_of_limit());
        }
        self.rate = self.rate.max(0.5 * least);
    }

    /// Nobody is believed to take much less than what was taken in the last ten seconds, or the last
    /// minute, or of late while anything was wanted.
    pub(super) fn limit_least(&self, now: f64) -> f64 {
        if self.history.accepted < 20 {
            return 0.0;
        }
        let taken = |seconds: f64| self.history.sent_about(now, seconds) / seconds;
        let lately = self.proven.lately(self.busy_at(now), self.history.accepted);
        taken(10.0).max(taken(60.0)).max(lately) / GOODPUT_MOST
    }
}
