//! One refusal while others are taken: how far to come down, by what was being done.

use super::{
    LearningPace, Mode, RATE_MIN, Strict, Window,
    refused::{BUCKETFUL, SHORT, SLOW},
    reopened::RARE,
};
use crate::trace::{Kind, Why};

/// The near past by which a limit is measured from below, seconds.
const LATELY: [f64; 2] = [0.2, 0.4];

/// After a fall of the limit we stay well below what is left for so long: few requests have measured it.
const CAREFUL: f64 = 2.2;

/// A sure quota and what was met differ by less than this share: it may be one of a fixed window,
/// of which a probe is ahead by so much at most.
const LITTLE: f64 = 0.1;
const AHEAD_MAX: f64 = 0.3;

/// So many that left a window are enough to see that it takes fewer than leave it, if it takes less
/// than this share of them; and the share of the quota that is believed then at least.
const TURNED_OVER: f32 = 8.0;
const TURNED_OVER_SHARE: f32 = 0.6;
const TURNED_OVER_LEAST: f64 = 0.4;

/// Of so many something is left to be spent evenly.
const MANY: f64 = 40.0;

/// Where so few a second are taken, another refusal costs more than a little speed.
const FEW: f64 = 25.0;

/// The pause after the first refusal, seconds.
const PAUSE_FIRST: f64 = 0.03;

/// What is tried after it, as a share of what was taken a second until then, at least.
const MEAN_SHARE: f64 = 0.25;

/// Refused at so many times what was taken, and so many were.
const ROUGH: f64 = 2.5;
const ROUGH_MIN: u64 = 16;

/// Two estimates agree if one is at most so much higher.
const AGREED: f64 = 1.08;

/// A bucket of fewer is hardly one.
const BURST_FEW: f64 = 3.0;

/// What one refusal after many leaves of a limit, and the share of it that is taken at least if it
/// is not too high.
const RARE_SHARE: f64 = 0.97;
const TAKEN_MOST: f64 = 0.98;

/// So many between two refusals are no guess.
const SURE: u64 = 25;

/// Requests taken between two refusals, and the seconds.
type Between = Option<(u64, f64)>;

impl LearningPace {
    /// One refusal while others are taken.
    pub(super) fn cut(&mut self, sent_at: f64, now: f64) {
        let was_lone = std::mem::take(&mut self.lone_since_cut) && !self.signal.is_noisy();
        let busy = self.busy_at(now);
        let between = self.since_refusal(busy);
        let is_first = self.mode == Mode::Seek && self.last_refusal.is_none();
        if is_first {
            self.first_run = Some((self.history.accepted as u32, busy as f32));
        }
        // Too few in a long time to tell a rate: they are counted on.
        let is_counted_on = self.mode == Mode::Settle
            && between.is_some_and(|(taken, seconds)| taken < 4 && seconds > 0.5);
        if !is_counted_on {
            self.last_refusal = Some((busy, self.history.accepted));
        }
        if let Some(window) = self.window
            && matches!(self.mode, Mode::Hold | Mode::Probe { .. })
        {
            self.cut_in_window(window, between, sent_at, now);
            return;
        }
        let refused_at = Why::RefusedAt(self.rate);
        if self.slides_full(between, sent_at, now) || self.rival_slides(sent_at, now) {
            self.tell(refused_at);
            return;
        }
        // A penalty closes to all, and others were taken since.
        if matches!(self.kind, Kind::Unknown | Kind::Penalty) && self.refused_in_row < 2 {
            self.kind = Kind::Bucket;
            self.penalty = None;
        }
        let known = self.limit.filter(|_| self.sure);
        let believed = self.limit.or(self.settled);
        self.refusal_cost = (self.told_until - now).clamp(0.0, SHORT);
        let why = match between {
            Some((taken, seconds)) => Why::TakenBetweenRefusals(taken, seconds),
            None => refused_at,
        };
        let many = between.filter(|(taken, _)| *taken >= 4);
        let mut is_rough = false;
        match (self.mode, many) {
            (Mode::Seek, _) => self.sought_too_fast(is_first, busy, sent_at),
            (Mode::Settle, Some(many)) => is_rough = self.settle_between(many, sent_at, now),
            (Mode::Settle, None) => self.rate = (self.rate * 0.4).max(RATE_MIN),
            (Mode::Probe { doublet: true, .. }, Some(many)) => {
                self.measured_again(many, sent_at);
                self.hold(now);
            }
            (Mode::Probe { busy, taken, .. }, Some(many)) => {
                self.probed_too_far((taken, busy), many, was_lone);
                self.hold(now);
            }
            // What was remembered is right.
            (Mode::Probe { .. }, None) if between.is_none() => self.hold(now),
            (Mode::Probe { doublet, .. }, None) => {
                // A guess from few requests that is refused at once is none.
                let is_guess = doublet && !self.sure;
                self.limit = self.limit.filter(|_| !is_guess).map(|limit| limit * 0.9);
                self.rate = (self.rate * 0.5).max(RATE_MIN);
                self.mode = Mode::Settle;
            }
            (Mode::Hold | Mode::Drain { .. }, Some(many)) => self.held_too_high(many, now),
            // What was remembered may have been a little too much.
            (Mode::Hold, None)
                if between.is_none()
                    && self.sure
                    && !matches!(self.kind, Kind::Queue | Kind::Overload)
                    && self.history.accepted >= SURE =>
            {
                self.limit = self.limit.map(|limit| RARE_SHARE * limit);
                self.hold(now);
            }
            (Mode::Hold | Mode::Drain { .. }, None) => {
                self.fell_from = self.fell_from.max(self.limit.unwrap_or(0.0));
                self.careful_until = now + CAREFUL;
                self.rate = (self.rate * 0.5).max(RATE_MIN);
                self.limit = None;
                self.mode = Mode::Settle;
            }
            (Mode::Blocked(_), _) => {}
        }
        let least = self.limit_least(now);
        self.limit = self.limit.map(|limit| limit.max(least));
        let is_below_round = self.round_above.take().is_some() && self.mode == Mode::Hold;
        let is_as_known = |limit: f64| known.is_some_and(|it| (it - limit).abs() < 0.1 * it);
        self.sure = between.is_some_and(|(taken, _)| taken >= SURE && !is_rough)
            || self.limit.is_some_and(is_as_known)
            || is_below_round;
        self.stand_by(believed);
        if self.mode == Mode::Hold {
            self.resume_hold();
        }
        self.credit = 0.0;
        // A bucket has room by then, and what closes for longer is not asked once more.
        let least = if is_first { PAUSE_FIRST } else { 0.0 };
        self.next_at = now + least.max(1.0 / self.rate);
        self.tell(why);
    }

    /// At what a window is believed to allow, or above it.
    fn cut_in_window(&mut self, window: Window, between: Between, sent_at: f64, now: f64) {
        let Window { width, quota } = window;
        let busy = self.busy_at(now);
        // What was sent within the width, less what was refused, is the quota or near it.
        let used = f64::from(self.history.sent_within(sent_at, width));
        let estimate = between
            .filter(|it| it.0 >= 8 && it.1 >= width)
            .map(|(taken, seconds)| taken as f64 / seconds);
        let is_soon = busy < f64::from(self.episode_at) + width;
        if let Some(share) = self.turned_over(window, between, sent_at) {
            self.fell_from = self.fell_from.max(quota / width);
            self.careful_until = now + CAREFUL;
            self.is_no_window(Some(quota / width * share));
            self.sure = false;
        } else if let Some(estimate) = estimate
            && estimate < 0.8 * quota / width
            && used < 0.8 * quota
        {
            // Refused with room left: it is no window, or it has shrunk.
            self.is_no_window(Some(estimate));
            self.sure = false;
        } else if is_soon {
            // It is as full as it was at the last refusal: room first.
            self.soon = self.soon.saturating_add(1);
            if quota >= MANY {
                self.credit = 0.0;
                self.credit_fails = true;
            }
        } else if estimate.is_none() && used < 0.9 * quota {
            self.is_no_window(None);
            self.rate = (self.rate * 0.4).max(RATE_MIN);
        } else if self.sure && self.misses == 0 && (0.9 * quota..=quota).contains(&used) {
            // Once is a matter of clocks, or of requests that came too close together.
            self.misses = 1;
            self.credit_fails = true;
        } else if used > 0.9 * quota {
            self.misses = 0;
            // A probe meets more within a width than the quota of a fixed window. What is sure
            // changes by a little only if the next probe meets it, too.
            let is_little = self.sure && (used - quota).abs() < LITTLE * quota;
            self.is_doubted = is_little && !self.is_doubted;
            if !self.is_doubted {
                self.window = Some(Window { quota: used.max(1.0), ..window });
                self.limit = Some((used / width).max(RATE_MIN));
            }
        }
        if !is_soon {
            (self.episode_at, self.soon) = (busy as f32, 0);
        }
        let why = Why::RefusedAt(self.rate);
        self.hold(now);
        let pause = f64::from(2_u32 << self.soon.min(8)) / self.rate;
        let pause = pause.min((0.1 * width).max(2.0 / self.rate));
        // A fixed window that was spent too fast has room when it ends.
        let ahead = (1.0 - quota / used.max(1.0)).clamp(0.0, AHEAD_MAX);
        self.next_at = now + pause.max(ahead * width);
        self.tell(why);
    }

    fn is_no_window(&mut self, limit: Option<f64>) {
        self.window = None;
        self.kind = Kind::Bucket;
        self.limit = limit;
    }

    /// The share of a window's quota that is taken, if it takes fewer than leave it: one that is full
    /// takes as many, be they counted or their mean.
    fn turned_over(&mut self, window: Window, between: Between, sent_at: f64) -> Option<f64> {
        let (taken, left) = match between {
            Some((taken, seconds)) if seconds < 0.7 * window.width => {
                let older = self.history.sent_about(sent_at, window.width + seconds);
                let left = older - self.history.sent_about(sent_at, window.width);
                let left = left.min(window.quota * seconds / window.width);
                (self.turnover.0 + taken as f32, self.turnover.1 + left as f32)
            }
            _ => (0.0, 0.0),
        };
        let takes_fewer = left >= TURNED_OVER && taken < TURNED_OVER_SHARE * left;
        self.turnover = if takes_fewer { (0.0, 0.0) } else { (taken, left) };
        takes_fewer.then(|| f64::from(taken / left).max(TURNED_OVER_LEAST))
    }

    /// The first refusal, or the first after the limit was given up: it says little of the limit.
    fn sought_too_fast(&mut self, is_first: bool, busy: f64, sent_at: f64) {
        self.limit = None;
        let used = self.rate.min(1.5 * self.history.rate(sent_at, 0.2) + 5.0);
        // After few requests most of them were a burst.
        let share = match self.history.accepted {
            0..=11 => 0.1,
            12..=24 => 0.15,
            25..=59 => 0.25,
            _ => 0.5,
        };
        // Where answers are late hardly any has come.
        let mean = self.history.accepted as f64 / busy.max(self.round_trip());
        let is_late = is_first && self.latency.baseline().is_some_and(|it| it > SLOW);
        let least = if is_late { MEAN_SHARE * mean } else { 0.0 };
        self.rate = (used * share).max(least).max(RATE_MIN);
        self.mode = Mode::Settle;
    }

    /// The second refusal: what was taken since the first is a first measure; whether it is a rough one.
    fn settle_between(&mut self, (taken, seconds): (u64, f64), sent_at: f64, now: f64) -> bool {
        let estimate = taken as f64 / seconds;
        // The first bucketful may have been cut short: the truth is between the two.
        let estimate = match self.settled {
            Some(_) => estimate.max(self.taken_lately(sent_at).min(self.rate)),
            None => estimate,
        };
        let near = self.rate < 1.5 * estimate;
        // Hardly anything gathers: what was taken while the rate was low was all that was asked.
        let is_rough = taken >= ROUGH_MIN && self.rate > ROUGH * estimate;
        let estimate = if near { f64::midpoint(estimate, self.rate) } else { estimate };
        self.limit = Some(estimate.min(self.rate));
        self.measured = false;
        // Where few are asked for, another refusal costs more than a little speed.
        if estimate < FEW && !is_rough {
            self.hold(now);
        } else {
            self.probe(true);
        }
        is_rough
    }

    /// The refusal that was looked for right after the first measure.
    fn measured_again(&mut self, (taken, seconds): (u64, f64), sent_at: f64) {
        let estimate = taken as f64 / seconds;
        let limit = self.limit.unwrap_or(self.rate);
        // Where the bucket is small, part of what it could have taken was never sent,
        // and the rate at the refusal is nearer. Too high shows soon, too low does not.
        let is_near = self.rate < 1.3 * estimate && !self.measured && estimate > AGREED * limit;
        let hopeful = if is_near { 0.97 * self.rate } else { estimate };
        let hopeful = hopeful.max(self.taken_lately(sent_at).min(0.97 * self.rate));
        self.limit = Some(estimate.max(hopeful).min(self.rate).max(limit * 0.5));
    }

    /// A probe, begun when `taken` were accepted and `busy` seconds ago, has met the limit.
    fn probed_too_far(
        &mut self,
        (before, busy): (u64, f64),
        (taken, seconds): (u64, f64),
        was_lone: bool,
    ) {
        let estimate = taken as f64 / seconds;
        let limit = self.limit.unwrap_or(self.rate);
        // What fell may stay there: fewer and fewer attempts.
        self.fell_from *= 0.92;
        let excess = (self.history.accepted - before) as f64 - limit * busy;
        let usual = self.probe_excess.map_or(excess, f64::from);
        if excess > 1.3 * usual + 2.0 && busy > 0.0 {
            self.limit = Some((limit + (excess - usual) / busy).min(self.rate));
        }
        let is_strict = excess < BURST_FEW && self.burst() < BURST_FEW;
        if self.strict == Strict::Tried {
            // It held until now.
            self.strict = Strict::Unknown;
        }
        if is_strict && self.strict == Strict::Unknown && self.rate > 1.02 * limit {
            // Hardly any burst is taken: the rate at the refusal is near the limit.
            self.limit = Some(limit + 0.3 * (self.rate - limit));
            self.strict = Strict::Tried;
        }
        self.probe_excess = Some(f64::midpoint(usual, excess).max(0.0) as f32);
        let is_lower = was_lone && estimate < TAKEN_MOST * limit;
        self.limit = if is_lower {
            // Less was taken than was asked for while it was held.
            Some(estimate.max(RARE_SHARE * limit))
        } else {
            self.limit.map(|limit| limit.max(estimate.min(self.rate)))
        };
    }

    /// Refused at what was believed.
    fn held_too_high(&mut self, (taken, seconds): (u64, f64), now: f64) {
        if self.strict == Strict::Tried {
            self.strict = Strict::Refuted;
        }
        // The ends are counted by halves.
        let most = taken as f64 / seconds * (1.0 + 0.5 / taken as f64);
        let before = self.limit.unwrap_or(most);
        if let Some(limit) = self.limit.filter(|limit| most < 0.75 * limit) {
            self.fell_from = self.fell_from.max(limit);
            self.careful_until = now + CAREFUL;
        }
        // A rare one takes little away, and what is rare without a limit must not bring us
        // down step by step.
        let is_rare = taken >= RARE && self.measured;
        let least = if is_rare { RARE_SHARE * before } else { 0.0 };
        self.limit = Some(before.min(most).max(least));
        self.measured = taken >= 8;
        if self.mode == Mode::Hold && (is_rare || most > 0.97 * before) {
            self.resume_hold();
        } else {
            self.hold(now);
        }
        // Requests that come too close together are refused although the rate is right.
        self.slack = (self.slack / 2.0).max(if self.rate > 200.0 { 0.001 } else { 0.0002 });
    }

    /// What a bucket took in the near past, less a bucketful: the limit is above.
    fn taken_lately(&self, at: f64) -> f64 {
        let burst = self.burst().max(BUCKETFUL);
        let taken = |seconds: f64| self.history.rate(at, seconds) - burst / seconds;
        if self.kind == Kind::Bucket {
            LATELY.map(taken).into_iter().fold(0.0, f64::max)
        } else {
            0.0
        }
    }
}
