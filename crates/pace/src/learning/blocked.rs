//! Everything is refused: when to try again, and what the time that it took says.
//!
//! Windows are of usual widths, and open with the first request or at the turn of the clock. So a
//! single request leaves soon, and then at the times at which such windows would open. The time at
//! which one is taken again tells a quota (as much as was taken since its window opened) from a
//! penalty (closed for a usual time since the excess).

use super::{LearningPace, Mode, RATE_MAX, RATE_MIN, Window};
use crate::{
    COOL_DOWN_MAX,
    history::WIDTHS,
    trace::{Kind, Why},
};

/// The first wait, and the longest between two single requests.
const GAP_FIRST: f64 = 0.06;
const GAP_MAX: f64 = 900.0;
/// No shorter penalty is known.
const PENALTY_MIN: f64 = 2.0;
/// A refusal after so many that were taken is a rare one.
pub(super) const RARE: u64 = 50;
/// Later than a window's edge by this.
const MARGIN: f64 = 0.01;

/// See the module. Times in seconds on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Blocked {
    /// When the refused request left.
    since: f64,
    /// Busy seconds until then, and the rate that was allowed.
    busy: f64,
    rate: f64,
    /// When the next single one may leave.
    pub(super) next_at: f64,
    gap: f64,
    /// When the last request that was refused left.
    closed_at: f64,
    /// The quota by window that the use at this refusal and at an earlier one tells of.
    recognised: Option<Window>,
    /// Requests that had left in the second before, less the refused.
    used: f64,
    /// The server said itself when to come back.
    told: bool,
    /// The single request is under way.
    pub(super) is_out: bool,
    /// By usual width: when the window that was open opened.
    opened: [f64; WIDTHS.len()],
}

impl Blocked {
    /// A single request was refused; returns the seconds until the next.
    pub(super) fn refused(&mut self, sent_at: f64, now: f64, told: Option<f64>) -> f64 {
        self.is_out = false;
        self.closed_at = sent_at;
        // Late by a quarter of the time it was closed, at most.
        self.gap = (self.gap * 2.0).min((0.25 * (now - self.since)).max(1.0)).min(GAP_MAX);
        self.next_at = self.usual_edge(now).unwrap_or(now + self.gap);
        if let Some(told) = told.filter(|told| *told > 0.0) {
            self.told = true;
            self.next_at = now + told.min(COOL_DOWN_MAX.as_secs_f64());
        }
        self.next_at - now
    }

    pub(super) fn wait_until(&mut self, at: f64) {
        self.told = true;
        self.next_at = self.next_at.max(at.min(self.since + COOL_DOWN_MAX.as_secs_f64()));
    }

    /// The first time near the next gap at which a usual window would open.
    fn usual_edge(&self, now: f64) -> Option<f64> {
        let opened = WIDTHS.iter().zip(&self.opened).map(|(width, opened)| opened + width + MARGIN);
        let penalties = WIDTHS.iter().filter(|width| **width >= PENALTY_MIN);
        let since = penalties.map(|width| self.since + width + MARGIN);
        opened
            .chain(since)
            .filter(|at| (now + 0.05..=now + 2.0 * self.gap).contains(at))
            .min_by(f64::total_cmp)
    }
}

impl LearningPace {
    /// Requests that had left within a width, less those of them that were refused just now.
    fn used(&self, sent_at: f64, width: f64) -> f64 {
        f64::from(self.history.sent_within(sent_at, width).saturating_sub(self.refused_in_row))
    }

    /// Nothing is taken any more.
    pub(super) fn block(&mut self, sent_at: f64, now: f64, told: Option<f64>) {
        let mut opened = [f64::NEG_INFINITY; WIDTHS.len()];
        for (width, opened) in opened.iter_mut().enumerate() {
            *opened = self.history.window(width, sent_at).map_or(*opened, |(at, _)| at);
        }
        let gap = GAP_FIRST.max(2.0 * self.round_trip()).max(3.0 / self.rate).min(GAP_MAX);
        let recognised = match self.window {
            Some(window) => {
                let used = self.used(sent_at, window.width);
                self.window = None;
                (used >= 0.8 * window.quota)
                    .then(|| Window { quota: used.min(window.quota), ..window })
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
            used: self.used(sent_at, WIDTHS[0]),
            told: false,
            is_out: false,
            opened,
        };
        let why = match told.filter(|told| *told > 0.0) {
            Some(told) => {
                blocked.wait_until(now + told);
                Why::RetryAfter(told)
            }
            None => {
                blocked.next_at = blocked.usual_edge(now).unwrap_or(blocked.next_at);
                Why::AllRefused(blocked.next_at - now)
            }
        };
        self.credit = 0.0;
        self.mode = Mode::Blocked(blocked);
        self.tell(why);
    }

    /// A request was taken again; it is not yet in the books.
    pub(super) fn reopened(&mut self, blocked: Blocked, sent_at: f64, now: f64) {
        let closed_for = sent_at - blocked.since;
        let between = self.since_refusal(blocked.busy).filter(|(taken, _)| *taken >= 4);
        self.last_refusal = Some((blocked.busy, self.history.accepted));
        let cycle = between.map(|(taken, seconds)| taken as f64 / seconds);
        // One refusal after many that were taken: what was proven before is worth more than what
        // one closing tells.
        let is_rare = between.is_some_and(|(taken, _)| taken >= RARE);
        let held = self.limit_held();
        let known = held.filter(|_| is_rare);
        let found = if known.is_some() {
            None
        } else if blocked.told {
            self.after_wait(&blocked, sent_at, cycle)
        } else {
            self.after_single_requests(&blocked, sent_at, cycle)
        };
        self.refused_in_row = 0;
        if let Some(limit) = known {
            let lowered = if self.kind == Kind::Penalty { 0.93 } else { 0.97 };
            let least = lowered * limit;
            self.limit = Some(match blocked.recognised {
                Some(window) => window.quota / window.width,
                None => cycle.map_or(least, |cycle| cycle.clamp(least, limit)),
            });
            self.window = blocked.recognised;
            if closed_for < 2.0 {
                self.resume_hold();
            } else {
                self.rate = (0.25 * limit).max(RATE_MIN);
                self.mode = Mode::Settle;
            }
            self.next_at = now + 1.0 / self.rate;
            self.tell(Why::Reopened(closed_for));
            return;
        }
        // Nothing that was proven is halved twice by one closing.
        let found = match (found, held) {
            (Some((kind, limit)), Some(held)) if kind != Kind::Penalty => {
                Some((kind, limit.max(0.5 * held)))
            }
            (None, Some(held)) => Some((self.kind, cycle.unwrap_or(held).clamp(0.5 * held, held))),
            (found, _) => found,
        };
        if let (Some((_, limit)), Some(held)) = (found, held)
            && limit < 0.75 * held
        {
            self.fell_from = self.fell_from.max(held);
        }
        match found {
            Some((kind, limit)) => {
                self.kind = kind;
                self.limit = Some(limit.clamp(RATE_MIN, RATE_MAX));
                // A long window is a bold guess: a shorter one would take more.
                let is_bold = cycle.is_none() && self.window.is_some_and(|it| it.width > WIDTHS[0]);
                if is_bold && kind != Kind::Penalty { self.probe(false) } else { self.hold(now) }
            }
            None => {
                let whole = self.history.accepted as f64 / self.busy_at(now).max(0.1);
                let limit = cycle.unwrap_or(whole).min(self.rate).max(RATE_MIN);
                self.limit = Some(limit);
                // What gathered while we waited may be taken at once.
                self.credit = 0.9 * std::mem::take(&mut self.refilled) * limit;
                // What was taken in a whole cycle is the limit; else it is still to be found.
                if cycle.is_some() { self.hold(now) } else { self.probe(true) }
            }
        }
        self.next_at = now + 1.0 / self.rate;
        self.tell(Why::Reopened(closed_for));
    }

    /// Nothing was said: the times tell.
    fn after_single_requests(
        &mut self,
        blocked: &Blocked,
        sent_at: f64,
        cycle: Option<f64>,
    ) -> Option<(Kind, f64)> {
        let opened_between = |at: f64| at > blocked.closed_at - 0.005 && at <= sent_at + 0.005;
        let over = |width: usize| {
            let (opened, taken) = self.history.window(width, blocked.since)?;
            // Nobody wanted more: then what was taken is no quota.
            let wanted = 0.1 * blocked.rate * (blocked.since - opened);
            let is_used = taken >= 2 && f64::from(taken) >= wanted;
            is_used.then_some((opened + WIDTHS[width], taken))
        };
        let edge = (0..WIDTHS.len()).find_map(|width| {
            over(width).filter(|(at, _)| opened_between(*at)).map(|it| (width, it.1))
        });
        if let Some((width, taken)) = edge {
            return Some(self.believe_window(width, taken, cycle));
        }
        let penalty = WIDTHS
            .into_iter()
            .find(|width| *width >= PENALTY_MIN && opened_between(blocked.since + width));
        if let Some(width) = penalty {
            self.penalty = Some(width);
            return self.before_penalty(blocked).map(|limit| (Kind::Penalty, limit));
        }
        if let Some(window) = blocked.recognised {
            self.window = Some(window);
            return Some((Kind::Window, window.quota / window.width));
        }
        if sent_at - blocked.since < 0.3 + 4.0 * self.round_trip() {
            if let Some(limit) = cycle {
                return Some((Kind::CountsRefused, limit));
            }
            // A guess: the usual width.
            self.window = Some(Window { width: WIDTHS[0], quota: blocked.used.max(1.0) });
            return Some((Kind::CountsRefused, blocked.used / WIDTHS[0]));
        }
        // Later than the window's end, since refused ones counted too.
        let latest = (0..WIDTHS.len())
            .rev()
            .find_map(|width| over(width).filter(|(at, _)| *at <= sent_at).map(|it| (width, it.1)));
        let (width, taken) = latest?;
        let (_, limit) = self.believe_window(width, taken, cycle);
        Some((Kind::CountsRefused, limit))
    }

    /// The server said when to come back; whole seconds, rounded up.
    fn after_wait(
        &mut self,
        blocked: &Blocked,
        sent_at: f64,
        cycle: Option<f64>,
    ) -> Option<(Kind, f64)> {
        let waited = sent_at - blocked.since;
        if let Some(window) = blocked.recognised {
            self.window = Some(window);
            return Some((Kind::Window, window.quota / window.width));
        }
        if waited < 1.5 {
            // A bucket that rounds up, or the end of a short window.
            self.kind = Kind::Bucket;
            self.refilled = waited;
            return None;
        }
        let edge = (0..WIDTHS.len()).find_map(|width| {
            let (opened, taken) = self.history.window(width, blocked.since)?;
            let at = opened + WIDTHS[width];
            (taken >= 2 && at > sent_at - 1.1 && at <= sent_at + 0.03).then_some((width, taken))
        });
        let penalty = WIDTHS
            .into_iter()
            .find(|width| *width >= PENALTY_MIN && waited >= *width - 0.01 && waited < width + 0.1);
        if let Some(width) = penalty {
            self.penalty = Some(width);
        }
        match (penalty, edge) {
            // Either may be, and only one of the two is expensive to be wrong about.
            (Some(_), _) => self.before_penalty(blocked).map(|limit| (Kind::Penalty, limit)),
            (None, Some((width, taken))) => Some(self.believe_window(width, taken, cycle)),
            (None, None) => None,
        }
    }

    fn believe_window(&mut self, width: usize, taken: u32, cycle: Option<f64>) -> (Kind, f64) {
        let limit = match cycle.filter(|_| self.kind == Kind::Window) {
            Some(cycle) => cycle,
            None => f64::from(taken) / WIDTHS[width],
        };
        self.window = Some(Window { width: WIDTHS[width], quota: limit * WIDTHS[width] });
        (Kind::Window, limit)
    }

    /// The rate that a penalty punished: by the usual width whose count is the roundest number.
    pub(super) fn before_penalty(&self, blocked: &Blocked) -> Option<f64> {
        let counted = WIDTHS.iter().enumerate().filter_map(|(width, seconds)| {
            let (opened, taken) = self.history.window(width, blocked.since)?;
            // A window hardly begun says nothing, one much longer than we were there neither.
            (taken >= 2 && blocked.since - opened > 0.2 * seconds).then_some((taken, *seconds))
        });
        counted
            .min_by_key(|(taken, seconds)| (digits(*taken), *seconds as u64))
            .map(|(taken, seconds)| f64::from(taken) / seconds)
    }
}

/// Digits up to the last that is not zero: 100 has one, 148 three.
fn digits(mut number: u32) -> u32 {
    while number > 0 && number.is_multiple_of(10) {
        number /= 10;
    }
    number.checked_ilog10().unwrap_or(0) + 1
}
