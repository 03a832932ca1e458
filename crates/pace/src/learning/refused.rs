//! What a refusal says: of the rate, of the requests under way, of a quota.

use super::{Concurrency, LearningPace, Mode, USE_WIDTHS, Window};
use crate::{
    Observation,
    trace::{Kind, Why},
};

/// A wait that the server asks for, up to this, is just one of a bucket that knows its rate.
pub(super) const SHORT: f64 = 0.15;

/// What a bucket takes beyond its rate if nothing is known of it.
pub(super) const BUCKETFUL: f64 = 6.0;

/// A refusal that may be one by chance comes after so many that were taken.
const LONE_AFTER: u64 = 100;

/// With answers that take so long, two under way are not two that happened to leave together.
pub(super) const SLOW: f64 = 0.01;

/// Of so many under way one may have overtaken the others.
const OVERTAKEN: u32 = 16;

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
}
