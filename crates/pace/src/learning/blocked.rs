//! Everything is refused: when to try again, and what the time that it took says.
//!
//! Windows are of usual widths, and open with the first request or at the turn of the clock. So a
//! single request leaves soon, and then at the times at which such windows would open, unless the
//! server said when to come back.

use super::{
    LearningPace, Mode, Window,
    reopened::{Cycle, PENALTY_MIN, round_below},
};
use crate::{
    COOL_DOWN_MAX, history,
    history::{History, USUAL, WIDTHS},
    trace::{Kind, Why},
};

/// The first wait, and the longest between two single requests.
const GAP_FIRST: f64 = 0.06;
const GAP_MAX: f64 = 900.0;
/// A usual end is waited for if it is no further than so many gaps.
const AHEAD: f64 = 4.2;
/// While they are short a sliding window may open in between.
const GAP_SHORT: f64 = 0.3;
const AHEAD_SHORT: f64 = 3.1;
/// Those of a stranger that took so many, at so many a second: what then closes to all is a window or
/// a penalty, and hardly a bucket.
const AHEAD_STRANGER: f64 = 9.0;
const MANY: f64 = 60.0;
/// Nor is it asked twice within such a time, seconds; a stranger not within a second, or such a share
/// of the time since it closed.
const APART: f64 = 0.05;
const APART_STRANGER: f64 = 0.45;
/// Later than a window's edge by this.
const MARGIN: f64 = 0.01;

/// See the module. Times in seconds on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "facts about one closing, each for itself")]
pub(super) struct Blocked {
    /// When the refused request left.
    pub(super) since: f64,
    /// Busy seconds until then, and the rate that was allowed.
    pub(super) busy: f64,
    pub(super) rate: f64,
    /// When the next single one may leave.
    pub(super) next_at: f64,
    gap: f64,
    /// When the last request that was refused left.
    pub(super) closed_at: f64,
    /// The quota by window that the use at this refusal and at an earlier one tells of.
    pub(super) recognised: Option<Window>,
    /// By usual width: requests that had left within it, less the refused, now and at the closing
    /// before.
    pub(super) used: [f32; USUAL],
    used_at: f64,
    /// Seconds until the oldest request within the shortest usual width falls out of it.
    pub(super) room: f32,
    pub(super) used_before: [f32; USUAL],
    /// More was taken since the closing before than was believed then.
    pub(super) has_risen: bool,
    /// More than what was believed had been tried, on purpose.
    pub(super) is_probed: bool,
    /// The refused request left on credit.
    pub(super) on_credit: bool,
    /// The server said itself when to come back, and how exactly.
    pub(super) told: bool,
    pub(super) told_until: f64,
    pub(super) slop: f32,
    /// Nothing of the server is known: it has not closed before.
    pub(super) is_stranger: bool,
    /// The same, and it took many in a short time.
    took_many: bool,
    /// The single request is under way.
    pub(super) is_out: bool,
}

impl Blocked {
    /// A single request was refused; returns the seconds until the next.
    pub(super) fn refused(
        &mut self,
        history: &History,
        sent_at: f64,
        now: f64,
        told: Option<f64>,
    ) -> f64 {
        self.is_out = false;
        self.closed_at = sent_at;
        // Late by a quarter of the time it was closed, at most.
        self.gap = (self.gap * 2.0).min((0.25 * (now - self.since)).max(1.0)).min(GAP_MAX);
        let ahead = match self.gap {
            gap if gap < GAP_SHORT => AHEAD_SHORT,
            _ if self.took_many => AHEAD_STRANGER,
            _ => AHEAD,
        };
        self.next_at = self.usual_edge(history, now, ahead).unwrap_or(now + self.gap);
        if let Some(told) = told.filter(|told| *told > 0.0) {
            self.wait_until(now, told);
        }
        self.next_at - now
    }

    /// Another one that had left before, or at about the same time, was refused as well: it was counted as used.
    pub(super) fn was_refused_too(&mut self, sent_at: f64) {
        if sent_at <= self.used_at || history::share_a_bin(self.used_at, sent_at) {
            self.used.iter_mut().for_each(|used| *used = (*used - 1.0).max(0.0));
        }
    }

    pub(super) fn wait_until(&mut self, now: f64, told: f64) {
        self.told = true;
        self.told_until = now + told;
        // Whole seconds are rounded up, and the answer was late.
        let late = (now - self.closed_at).clamp(0.0, 0.25);
        self.slop = late as f32 + if told.fract() == 0.0 { 1.0 } else { 0.02 };
        self.next_at = now + told.min(COOL_DOWN_MAX.as_secs_f64());
    }

    /// The first time near the next gap at which a usual window would open.
    fn usual_edge(&self, history: &History, now: f64, ahead: f64) -> Option<f64> {
        let opened = (0..WIDTHS.len())
            .filter_map(|width| Some(history.window_end(width, self.since)? + MARGIN));
        let penalties = WIDTHS.iter().filter(|width| **width >= PENALTY_MIN);
        let since = penalties.map(|width| self.since + width + MARGIN);
        let soonest = now + if self.took_many { MARGIN } else { APART };
        let edges = opened.chain(since).filter(|at| *at >= soonest);
        let first = edges.clone().min_by(f64::total_cmp)?;
        // Of some that are close together the last: one request for all of them. A stranger is asked
        // once for a window and a penalty of the same width.
        let opened = history.window(USUAL - 1, self.since).map_or(self.since, |it| it.0);
        let after = first - self.since;
        let is_far = self.is_stranger && after > WIDTHS[0];
        let apart_most = (APART_STRANGER * after).max(WIDTHS[0]);
        let apart =
            if is_far { (self.since - opened + 2.0 * MARGIN).min(apart_most) } else { APART };
        let last = edges.filter(|at| *at <= first + apart).max_by(f64::total_cmp)?;
        (first <= now + ahead * self.gap).then_some(last)
    }
}

impl LearningPace {
    /// Whether nothing is known of how the server closes. What latency tells is no limit that does.
    pub(super) fn is_stranger(&self) -> bool {
        let is_unknown = self.limit.is_none() || matches!(self.kind, Kind::Queue | Kind::Overload);
        self.cycle == Cycle::NONE && is_unknown
    }

    /// Nothing is taken any more.
    pub(super) fn block(&mut self, sent_at: f64, now: f64, told: Option<f64>) {
        let used = std::array::from_fn(|it| self.history.sent_about(sent_at, WIDTHS[it]) as f32);
        let used_before = std::mem::replace(&mut self.used_before, used);
        let is_stranger = self.is_stranger();
        // A slow bucket opens soon, and one that takes some in between has not closed; later than that
        // the shortest usual window may slide, and open at any time.
        let accepted = self.history.accepted;
        let (taken, first) = match self.first_run {
            Some((taken, seconds)) => (u64::from(taken), f64::from(seconds)),
            None => (accepted, self.busy_at(now)),
        };
        let is_closed = accepted <= taken + 1;
        let took_many = is_stranger && is_closed && taken as f64 >= MANY * first.max(WIDTHS[0]);
        let (gap, ahead) = if took_many && first < WIDTHS[0] {
            (2.0 * GAP_FIRST, AHEAD_STRANGER)
        } else {
            (GAP_FIRST, AHEAD_SHORT)
        };
        let gap = gap.max(2.0 * self.round_trip()).max(3.0 / self.rate).min(GAP_MAX);
        let on_credit = sent_at <= self.credit_at + 0.02;
        // Soon after the last refusal the window is still as full as it was then.
        let width = self.window.map_or(0.0, |window| window.width);
        let is_soon = self.since_refusal(self.busy_at(now)).is_some_and(|it| it.1 < width);
        let is_probed = on_credit || is_soon || !matches!(self.mode, Mode::Hold);
        if self.last_refusal.is_none() && self.mode == Mode::Seek {
            self.first_run = Some((self.history.accepted as u32, self.busy_at(now) as f32));
        }
        self.window_before = self.window;
        let rival = self.rival_at(sent_at);
        self.rival = None;
        let recognised = match self.window {
            _ if rival.is_some() => rival.map(|it| it.0),
            Some(window) => {
                let used = self.history.sent_about(sent_at, window.width).round();
                self.window = None;
                let quota = used.min(window.quota);
                // Refused at what was believed: such a window began earlier than a sliding one.
                // Once is a matter of clocks.
                let is_kept = is_probed || (self.sure && self.misses == 0);
                let quota = if is_kept { quota } else { round_below(quota, self.misses) };
                // With room left soon after it opened: it has shrunk to what it took.
                let has_room = used < 0.8 * window.quota;
                let has_shrunk = has_room && is_soon && self.sure && used >= 2.0;
                if has_shrunk {
                    self.fell_from = self.fell_from.max(window.quota / window.width);
                }
                let fits = !has_room || has_shrunk;
                fits.then_some(Window { quota: quota.max(1.0), ..window })
            }
            None => self.usual_use(sent_at),
        };
        let mut blocked = Blocked {
            since: self.row_since,
            busy: self.busy_at(now),
            rate: self.rate,
            next_at: now + gap,
            gap,
            closed_at: sent_at,
            recognised,
            used,
            used_at: sent_at,
            room: (self.history.next_room(sent_at, WIDTHS[0]) - sent_at) as f32,
            used_before,
            has_risen: std::mem::take(&mut self.has_risen),
            is_probed,
            on_credit,
            told: false,
            told_until: 0.0,
            slop: 0.0,
            is_stranger,
            took_many,
            is_out: false,
        };
        let why = match told.filter(|told| *told > 0.0) {
            Some(told) => {
                blocked.wait_until(now, told);
                Why::RetryAfter(told)
            }
            None => {
                let edge = blocked.usual_edge(&self.history, now, ahead);
                let edge = rival.map(|it| it.1 + MARGIN).or(edge);
                blocked.next_at = edge.unwrap_or(blocked.next_at);
                Why::AllRefused(blocked.next_at - now)
            }
        };
        self.credit = 0.0;
        self.mode = Mode::Blocked(blocked);
        self.tell(why);
    }
}
