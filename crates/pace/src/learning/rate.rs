//! The rate while nothing goes wrong: held, crept above, grown.

use super::{
    CATCH_UP, DOUBLING, DOUBLING_FAST, DOUBLING_SETTLE, HOLD_REQUESTS, HOLD_SECONDS,
    HOLD_SECONDS_MAX, LearningPace, Mode, PROBE_DOUBLING, PROBE_EXCESS, RATE_FIRST, RATE_MAX,
    RATE_MIN, RATE_QUICK, SHARE_CAREFUL, SLACK, Strict,
    refused::{BUCKETFUL, SHORT, SLOW},
};
use crate::trace::{Kind, Why};
use std::num::NonZeroU16;

/// How often a window's quota is taken whole before one more is asked for.
const WHOLES: f64 = 8.0;

/// A limit that fell is tried upward as often, if a refusal costs no more seconds.
const FALLEN_SECONDS: f64 = 2.0;
const FALLEN_COST: f64 = 1.5;

/// So fast anything may be asked, however little was of late.
const USED_LEAST: f64 = 20.0;

/// The first requests arrive up to so much later than they left, seconds, as connections are made: a
/// window holds them for longer than we would count them.
const FIRST_LATE: f64 = 0.08;

/// Up to this a guess is tried upward by round numbers.
const ROUND_MAX: f64 = 25.0;

impl LearningPace {
    pub(super) fn hold(&mut self, now: f64) {
        if self.limit.is_some() {
            self.resume_hold();
            self.held_since = now;
            self.held_sent = 0;
        } else {
            self.mode = Mode::Settle;
        }
    }

    /// Goes on holding: what came between says nothing of the limit, and the next attempt to go
    /// above it comes when it would have come.
    pub(super) fn resume_hold(&mut self) {
        let limit = self.limit.unwrap_or(self.rate);
        self.rate = (limit * self.share_of_limit()).clamp(RATE_MIN, RATE_MAX);
        self.mode = Mode::Hold;
    }

    /// When the believed window has room for one more. A sliding window is the strictest: what fits
    /// it fits a fixed one.
    pub(super) fn window_room(&self, now: f64) -> f64 {
        let Some(window) =
            self.window.filter(|_| matches!(self.mode, Mode::Hold | Mode::Probe { .. }))
        else {
            return now;
        };
        let above = self.limit.map_or(1.0, |limit| (self.rate / limit).max(1.0));
        let is_new = now < self.answered_at + window.width + FIRST_LATE;
        let width = if is_new { window.width + FIRST_LATE } else { window.width };
        if f64::from(self.history.sent_within(now, width)) + 1.0 <= window.quota * above {
            now
        } else {
            self.history.next_room(now, width)
        }
    }

    /// Sooner than the rate has it if much of a known window's quota is unused: nothing that a
    /// sliding window allows is lost by a wait.
    pub(super) fn caught_up(&self, at: f64, now: f64) -> f64 {
        let is_held = self.kind == Kind::Window && self.sure && self.mode == Mode::Hold;
        match self.window.filter(|_| is_held && !self.credit_fails) {
            Some(window) if self.history.sent_about(now, window.width) < 0.96 * window.quota => {
                at.min(self.sent_at + 1.0 / (CATCH_UP * self.rate))
            }
            _ => at,
        }
    }

    pub(super) fn probe(&mut self, doublet: bool) {
        self.rate = self.limit.unwrap_or(self.rate).clamp(RATE_MIN, RATE_MAX);
        // A guess from few requests: somebody chose a round number near it.
        let is_guess = !self.sure && self.kind == Kind::Bucket && self.refusal_cost < SHORT;
        let found = self.limit.filter(|limit| is_guess && (1.0..ROUND_MAX).contains(limit));
        self.round_above = found.and_then(|limit| {
            let step = if limit < 9.9 { 1.0 } else { 5.0 };
            NonZeroU16::new((step * ((1.02 * limit / step).floor() + 1.0)) as u16)
        });
        self.mode = Mode::Probe { busy: 0.0, taken: self.history.accepted, doublet };
    }

    /// Grows with a request that leaves, `busy` seconds of sending after the last one.
    pub(super) fn grow(&mut self, now: f64, busy: f64) {
        let round_trip = self.round_trip();
        // Where the requests under way are what limits, a higher rate changes nothing.
        let is_capped = std::mem::take(&mut self.capped);
        match &mut self.mode {
            Mode::Seek | Mode::Settle | Mode::Probe { .. } if is_capped => {}
            Mode::Seek | Mode::Settle => {
                // Not faster than it is used: what was never sent was never taken either.
                let least = if self.last_refusal.is_none() { 2.0 * RATE_FIRST } else { USED_LEAST };
                if self.rate > 3.0 * self.history.rate(now, 0.4 + round_trip) + least {
                    return;
                }
                // Not before some requests have shown that the present rate is taken.
                let doubling = match self.mode {
                    Mode::Seek if self.rate > RATE_QUICK => DOUBLING_FAST.max(round_trip),
                    Mode::Seek => DOUBLING.max(round_trip).max(3.0 / self.rate),
                    _ => DOUBLING_SETTLE.max(2.0 * round_trip).max(3.0 / self.rate),
                };
                self.rate = (self.rate * (busy / doubling).exp2()).min(RATE_MAX);
                // Back at what is known.
                if self.mode == Mode::Settle
                    && self.limit.is_some_and(|limit| self.rate >= limit * self.share_of_limit())
                {
                    self.hold(now);
                }
            }
            Mode::Hold if self.careful_until > now => {
                let limit = self.limit.unwrap_or(self.rate);
                self.rate = (limit * SHARE_CAREFUL).clamp(RATE_MIN, RATE_MAX);
            }
            Mode::Hold => {
                if self.careful_until > f64::NEG_INFINITY {
                    self.careful_until = f64::NEG_INFINITY;
                    self.resume_hold();
                }
                self.held_sent = self.held_sent.saturating_add(1);
                let (since, sent) = (self.held_since, self.held_sent);
                // A probe costs a refusal, and what that costs is known.
                let is_cheap = self.refusal_cost < SHORT;
                let (patience, few) = match (self.sure, is_cheap) {
                    (true, _) => (0.03, HOLD_REQUESTS),
                    (false, true) => (0.1, 15),
                    (false, false) => (0.1, 50),
                };
                let most =
                    if self.kind == Kind::Penalty { f64::INFINITY } else { HOLD_SECONDS_MAX };
                let wait = (self.refusal_cost / patience).min(most);
                let (seconds, requests) = match self.kind {
                    // Here it costs some latency only.
                    Kind::Queue | Kind::Overload => (4.0, 100),
                    // It may well come back.
                    _ if self.rate < 0.9 * self.fell_from && self.refusal_cost < FALLEN_COST => {
                        (1.0_f64.max(wait.min(FALLEN_SECONDS)), self.rate.clamp(30.0, 250.0) as u32)
                    }
                    _ => (HOLD_SECONDS.max(wait), few),
                };
                if now - since >= 1.0 && sent >= 20 {
                    self.settled = self.limit;
                }
                let is_long = now - since >= HOLD_SECONDS_MAX.max(seconds) && sent >= 3;
                if (now - since >= seconds && sent >= requests) || is_long {
                    self.probe(false);
                }
            }
            Mode::Probe { busy: total, doublet, taken } => {
                *total += busy;
                let limit = self.limit.unwrap_or(self.rate);
                let quickest = if *doublet { PROBE_DOUBLING * 0.7 } else { PROBE_DOUBLING };
                let doubling = quickest.max(2.0 * round_trip).max(3.0 / limit);
                // Room in a window that is not used says nothing of its quota.
                if let Some(window) = self.window
                    && f64::from(self.history.sent_within(now, window.width))
                        < 0.97 * window.quota - 1.0
                {
                    *total -= busy;
                    return;
                }
                if let Some(round) = self.round_above.filter(|_| !*doublet) {
                    let round = f64::from(round.get());
                    self.rate = 0.995 * round;
                    // What a bucket has gathered hides that it is too much, for so many requests.
                    let few = (BUCKETFUL * round / (round - limit)).clamp(12.0, 24.0);
                    if self.history.accepted - *taken >= few as u64 {
                        self.limit = Some(round);
                        self.probe(false);
                    }
                    return;
                }
                let has_fallen = limit < 0.9 * self.fell_from;
                let excess = if has_fallen { 6.0 } else { 1.0 } * PROBE_EXCESS;
                let above = excess * ((*total / doubling).exp2() - 1.0);
                // A small quota grows by one request at least, after it was taken whole some times;
                // one that fell may come back, and grows more with each time.
                let turns = self.window.map_or(0.0, |window| {
                    let wholes = (self.history.accepted - *taken) as f64 / window.quota;
                    let grown = wholes.floor().min(16.0).exp2() - 1.0;
                    let more = if has_fallen { grown } else { (wholes / WHOLES).floor() };
                    more / window.quota
                });
                let above = above.max(turns);
                // What a bucket had gathered is no sign that it takes more.
                let beyond = (self.history.accepted - *taken) as f64 - limit * *total;
                let most = if beyond > BUCKETFUL { 1.6 } else { 1.5 };
                let above = (1.0 + above).min(most);
                // Not faster than it is used, and never slower than what is believed for that.
                let used = 3.0 * self.history.rate(now, 0.4 + round_trip) + USED_LEAST;
                if limit * above > used {
                    *total -= busy;
                    self.rate = self.rate.max(used.min(limit));
                    return;
                }
                self.rate = (limit * above).clamp(RATE_MIN, RATE_MAX);
                if above > 1.5 {
                    // Far above what was believed, and still taken.
                    if self.rate > 0.9 * self.fell_from {
                        self.fell_from = 0.0;
                    }
                    let was_held = self.limit_held().is_some();
                    self.window = None;
                    self.limit = None;
                    self.probe_excess = None;
                    self.has_risen = true;
                    self.strict = Strict::Unknown;
                    self.slack = SLACK;
                    // Where answers are late, so are refusals.
                    let is_slow = round_trip > SLOW && self.last_refusal.is_some();
                    // What was taken while the limit was lower says nothing of the present one.
                    if was_held && self.last_refusal.is_some() {
                        self.last_refusal = Some((self.busy, self.history.accepted));
                    }
                    self.mode = if is_slow { Mode::Settle } else { Mode::Seek };
                    let rate = self.rate;
                    self.tell(Why::HeldAbove(rate));
                }
            }
            Mode::Drain { .. } | Mode::Blocked(_) => {}
        }
    }
}
