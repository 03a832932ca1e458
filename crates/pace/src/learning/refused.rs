//! What a refusal says: of the rate, of the requests under way, of a quota.

use super::{
    Concurrency, LearningPace, Mode, RATE_MIN, Strict, USE_WIDTHS, Window, reopened::RARE,
};
use crate::{
    Observation,
    trace::{Kind, Why},
};

/// A wait that the server asks for, up to this, is just one of a bucket that knows its rate.
pub(super) const SHORT: f64 = 0.15;

/// The near past by which a limit is measured from below, seconds, and what a bucket takes beyond
/// its rate if nothing is known of it.
const LATELY: [f64; 2] = [0.2, 0.4];
pub(super) const BUCKETFUL: f64 = 6.0;

/// After a fall of the limit we stay well below what is left for so long: few requests have measured it.
const CAREFUL: f64 = 2.2;

/// A refusal that may be one by chance comes after so many that were taken.
const LONE_AFTER: u64 = 100;

/// With answers that take so long, two under way are not two that happened to leave together.
pub(super) const SLOW: f64 = 0.01;

/// A sure quota and what was met differ by less than this share: it may be one of a fixed window,
/// of which a probe is ahead by so much at most.
const LITTLE: f64 = 0.1;
const AHEAD_MAX: f64 = 0.3;

/// Where so few a second are taken, another refusal costs more than a little speed.
const FEW: f64 = 25.0;

/// The pause after the first refusal, seconds.
const PAUSE_FIRST: f64 = 0.03;

/// What is tried after it, as a share of what was taken a second until then, at least.
const MEAN_SHARE: f64 = 0.25;

/// Refused at so many times what was taken, and so many were.
const ROUGH: f64 = 2.5;
const ROUGH_MIN: u64 = 16;

/// Of so many under way one may have overtaken the others.
const OVERTAKEN: u32 = 16;

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

impl LearningPace {
    pub(super) fn refused(&mut self, observation: &Observation, now: f64) {
        let ticket = observation.ticket;
        let sent_at = ticket.sent_at.monotonic.as_secs_f64();
        let told = observation.advice.retry_after.map(|wait| wait.as_secs_f64());
        if self.kind != Kind::CountsRefused {
            self.history.refuse(sent_at);
        }
        let stated = self.quota.stated().is_some();
        if stated {
            if self.quota.refused(&observation.advice, sent_at, now) {
                self.tell(Why::StatementContradicted);
            } else {
                self.refused_in_row += 1;
                self.epoch = self.epoch.wrapping_add(1);
                if self.refused_in_row < 3 {
                    return;
                }
            }
        }
        if ticket.epoch != self.epoch {
            if let Mode::Blocked(blocked) = &mut self.mode {
                blocked.was_refused_too(sent_at);
            }
            if let (Mode::Blocked(blocked), Some(told)) = (&mut self.mode, told)
                && now + told > blocked.next_at
            {
                blocked.wait_until(now, told);
            }
            return;
        }
        let is_told = told.is_some_and(|told| told > 0.0);
        if (!is_told || self.signal.is_noisy())
            && self.rival_at(sent_at).is_none()
            && self.may_be_lone(now)
            && self.signal.is_lone(self.history.accepted)
        {
            self.lone_since_cut = true;
            self.next_at = self.next_at.max(now + 1.0 / self.rate);
            self.tell(Why::LoneRefusal(self.rate));
            return;
        }
        if self.is_groundless(now) && self.signal.is_chance(self.history.accepted) {
            self.regain();
            return;
        }
        if self.proven.is_refuted(self.history.accepted) {
            self.signal.no_chance();
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.refused_in_row == 0 {
            self.row_since = sent_at;
        }
        self.refused_in_row += 1;
        if let Mode::Blocked(blocked) = &mut self.mode {
            let wait = blocked.refused(&self.history, sent_at, now, told);
            self.tell(Why::AllRefused(wait));
            return;
        }
        if told.is_none() && self.blame_concurrency(ticket.in_flight) {
            return;
        }
        if told.is_some_and(|told| told > SHORT || self.ends_a_window(sent_at, now + told))
            || self.refused_in_row >= 2
            || self.rival_at(sent_at).is_some()
        {
            self.block(sent_at, now, told);
        } else {
            self.cut(sent_at, now);
        }
    }

    /// Whether a refusal comes at a time at which none is expected.
    fn may_be_lone(&self, now: f64) -> bool {
        let is_first = self.refused_in_row == 0 && !self.is_counted();
        let taken = self.last_refusal.map_or(0, |(_, accepted)| self.history.accepted - accepted);
        let is_known = self.mode == Mode::Hold && self.sure && now >= self.careful_until;
        let is_known = is_known && (taken >= LONE_AFTER || self.lone_since_cut);
        let has_begun = self.history.accepted >= 20 && !matches!(self.mode, Mode::Blocked(_));
        is_first && (is_known || (has_begun && self.signal.is_noisy()))
    }

    /// Whether the number of requests under way is, or may be, what is limited.
    pub(super) fn is_counted(&self) -> bool {
        self.concurrency.confirmed || self.concurrency.trial.is_some()
    }

    /// Whether a refusal is put down to the number of requests under way.
    pub(super) fn blame_concurrency(&mut self, in_flight: u32) -> bool {
        let round_trip = self.round_trip();
        let accepted = self.history.accepted as u32;
        let concurrency = &mut self.concurrency;
        match (concurrency.confirmed, concurrency.trial) {
            (true, _) => {
                let Some(cap) = concurrency.cap else { return false };
                if in_flight < cap {
                    return false;
                }
                let is_again = accepted.wrapping_sub(concurrency.moved_at) < 50;
                concurrency.misses = if is_again { concurrency.misses + 1 } else { 0 };
                concurrency.moved_at = accepted;
                if concurrency.misses >= 3 {
                    // Lower and lower, and refused all the same: it is the rate.
                    *concurrency = Concurrency::default();
                    self.kind = Kind::Bucket;
                    return false;
                }
                concurrency.cap = Some((cap - 1).max(1));
                concurrency.at_cap = 0;
                concurrency.raise_after = concurrency.raise_after.saturating_mul(2).min(2_000);
                self.refused_in_row = 0;
                self.tell(Why::InFlight(in_flight));
                true
            }
            (false, Some(_)) => {
                // Refused with fewer, too: it is the rate.
                concurrency.trial = None;
                concurrency.cap = None;
                false
            }
            (false, None)
                if (in_flight >= 4 || (in_flight >= 2 && round_trip > SLOW))
                    && matches!(self.kind, Kind::Unknown | Kind::Concurrency)
                    && matches!(self.mode, Mode::Seek | Mode::Settle) =>
            {
                // Requests overtake each other: of many, some fewer.
                concurrency.cap = Some(in_flight - 1 - in_flight / OVERTAKEN);
                concurrency.trial = Some(accepted);
                concurrency.at_cap = 0;
                self.refused_in_row = 0;
                true
            }
            (false, None) => false,
        }
    }

    /// A width within which the same number had been sent at the last refusal and at this one: then
    /// it is that number that is limited.
    pub(super) fn usual_use(&mut self, sent_at: f64) -> Option<Window> {
        let mut found = None;
        for (width, seconds) in USE_WIDTHS.into_iter().enumerate() {
            let used = self.history.sent_about(sent_at, seconds).round();
            let (at, before, rate) = self.uses[width];
            let (before, rate) = (f64::from(before), f64::from(rate));
            // Long enough after the last that most of it is other requests.
            if sent_at - at < 0.6 * seconds {
                continue;
            }
            self.uses[width] = (sent_at, used as f32, self.rate as f32);
            // At the same rate it is the same number in any case.
            let near = (used - before).abs() <= (0.025 * used).max(1.0)
                && (self.rate - rate).abs() > 0.05 * rate;
            if found.is_none() && near && used >= 2.0 && sent_at - at < 20.0 * seconds {
                found = Some(Window { width: seconds, quota: used.min(before) });
            }
        }
        found
    }

    /// Requests taken since the last refusal, and the seconds between the two.
    pub(super) fn since_refusal(&self, busy: f64) -> Option<(u64, f64)> {
        let (at, accepted) = self.last_refusal?;
        (busy > at).then(|| (self.history.accepted - accepted, busy - at))
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
        if let Some(window) = &mut self.window
            && matches!(self.mode, Mode::Hold | Mode::Probe { .. })
        {
            let width = window.width;
            // What was sent within the width, less what was refused, is the quota or near it.
            let used = f64::from(self.history.sent_within(sent_at, window.width));
            let estimate = between
                .filter(|it| it.0 >= 8 && it.1 >= window.width)
                .map(|(taken, seconds)| taken as f64 / seconds);
            let is_soon = busy < f64::from(self.episode_at) + window.width;
            let ahead = (1.0 - window.quota / used.max(1.0)).clamp(0.0, AHEAD_MAX);
            // One that is full takes as many as leave it, be they counted or their mean.
            let (taken, left) = match between {
                Some((taken, seconds)) if seconds < 0.7 * window.width => {
                    let older = self.history.sent_about(sent_at, window.width + seconds);
                    let left = older - self.history.sent_about(sent_at, window.width);
                    let left = left.min(window.quota * seconds / window.width);
                    (self.turnover.0 + taken as f32, self.turnover.1 + left as f32)
                }
                _ => (0.0, 0.0),
            };
            self.turnover = (taken, left);
            if left >= 8.0 && taken < 0.6 * left {
                self.turnover = (0.0, 0.0);
                self.limit = Some(window.quota / window.width * f64::from(taken / left).max(0.4));
                self.fell_from = self.fell_from.max(window.quota / window.width);
                self.window = None;
                self.kind = Kind::Bucket;
                self.sure = false;
                self.careful_until = now + CAREFUL;
            } else if estimate.is_some_and(|it| it < 0.8 * window.quota / window.width)
                && used < 0.8 * window.quota
            {
                // Refused with room left: it is no window, or it has shrunk.
                self.window = None;
                self.kind = Kind::Bucket;
                self.limit = estimate;
                self.sure = false;
            } else if is_soon {
                // It is as full as it was at the last refusal: room first.
                self.soon = self.soon.saturating_add(1);
            } else if estimate.is_none() && used < 0.9 * window.quota {
                self.window = None;
                self.kind = Kind::Bucket;
                self.limit = None;
                self.rate = (self.rate * 0.4).max(RATE_MIN);
            } else if self.sure
                && self.misses == 0
                && (0.9 * window.quota..=window.quota).contains(&used)
            {
                // Once is a matter of clocks, or of requests that came too close together.
                self.misses = 1;
                self.credit_fails = true;
            } else if used > 0.9 * window.quota {
                self.misses = 0;
                // A probe meets more within a width than the quota of a fixed window. What is sure
                // changes by a little only if the next probe meets it, too.
                let is_little = self.sure && (used - window.quota).abs() < LITTLE * window.quota;
                self.is_doubted = is_little && !self.is_doubted;
                if !self.is_doubted {
                    window.quota = used.max(1.0);
                    self.limit = Some((used / window.width).max(RATE_MIN));
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
            self.next_at = now + pause.max(ahead * width);
            self.tell(why);
            return;
        }
        if self.slides_full(between, sent_at, now) || self.rival_slides(sent_at, now) {
            self.tell(Why::RefusedAt(self.rate));
            return;
        }
        let estimate =
            between.filter(|(taken, _)| *taken >= 4).map(|(taken, seconds)| taken as f64 / seconds);
        // A penalty closes to all, and others were taken since.
        if matches!(self.kind, Kind::Unknown | Kind::Penalty) && self.refused_in_row < 2 {
            self.kind = Kind::Bucket;
            self.penalty = None;
        }
        let known = self.limit.filter(|_| self.sure);
        let believed = self.limit.or(self.settled);
        self.refusal_cost = (self.told_until - now).clamp(0.0, SHORT);
        let mut is_rough = false;
        let why = match between {
            Some((taken, seconds)) => Why::TakenBetweenRefusals(taken, seconds),
            None => Why::RefusedAt(self.rate),
        };
        match (self.mode, estimate) {
            (Mode::Seek, _) => {
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
            (Mode::Settle, Some(estimate)) => {
                // The first bucketful may have been cut short: the truth is between the two.
                let estimate = match self.settled {
                    Some(_) => estimate.max(self.taken_lately(sent_at).min(self.rate)),
                    None => estimate,
                };
                let near = self.rate < 1.5 * estimate;
                // Hardly anything gathers: what was taken while the rate was low was all that was asked.
                let taken = between.map_or(0, |(taken, _)| taken);
                is_rough = taken >= ROUGH_MIN && self.rate > ROUGH * estimate;
                let estimate = if near { f64::midpoint(estimate, self.rate) } else { estimate };
                self.limit = Some(estimate.min(self.rate));
                self.measured = false;
                // Where few are asked for, another refusal costs more than a little speed.
                if estimate < FEW && !is_rough { self.hold(now) } else { self.probe(true) }
            }
            (Mode::Settle, None) => self.rate = (self.rate * 0.4).max(RATE_MIN),
            (Mode::Probe { busy, taken, doublet }, Some(estimate)) => {
                let limit = self.limit.unwrap_or(self.rate);
                let probed = (self.history.accepted - taken) as f64;
                if doublet {
                    // Where the bucket is small, part of what it could have taken was never sent,
                    // and the rate at the refusal is nearer. Too high shows soon, too low does not.
                    let is_near =
                        self.rate < 1.3 * estimate && !self.measured && estimate > AGREED * limit;
                    let hopeful = if is_near { 0.97 * self.rate } else { estimate };
                    let hopeful = hopeful.max(self.taken_lately(sent_at).min(0.97 * self.rate));
                    self.limit = Some(estimate.max(hopeful).min(self.rate).max(limit * 0.5));
                } else {
                    // What fell may stay there: fewer and fewer attempts.
                    self.fell_from *= 0.92;
                    let excess = probed - limit * busy;
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
            (Mode::Hold | Mode::Drain { .. }, Some(estimate)) => {
                let taken = between.map_or(0, |(taken, _)| taken);
                if self.strict == Strict::Tried {
                    self.strict = Strict::Refuted;
                }
                // The ends are counted by halves.
                let most = estimate * (1.0 + 0.5 / taken.max(1) as f64);
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
            (Mode::Hold, None)
                if between.is_none() && self.sure && self.history.accepted >= SURE =>
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
}
