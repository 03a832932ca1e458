//! What a closing and its end say of the limit.
//!
//! The counts at the closing and the time of its end are held against each kind of limiter: a quota
//! by window, whose end the server tells to the second or the single requests find; a penalty,
//! closed for a usual time since the excess; a bucket. One closing fits several. So a fit is sure
//! only if its quota is a round number, as people choose them, or if an earlier closing had the
//! same; until then the next attempt to go above it comes soon. What a closing before refutes is
//! not believed.

use super::{LearningPace, Mode, RATE_MAX, RATE_MIN, Window, blocked::Blocked, refused::SHORT};
use crate::{
    history::{USUAL, WIDTHS},
    trace::{Kind, Why},
};
use std::num::NonZeroU32;

/// No shorter penalty is known.
pub(super) const PENALTY_MIN: f64 = 2.0;
/// A refusal after so many that were taken is a rare one.
pub(super) const RARE: u64 = 50;

/// A window that was believed has shrunk if it was closed for such a share of its width, and less
/// than this share of its quota was taken meanwhile.
const SHRUNKEN_MIN: f64 = 0.12;
const SHRUNKEN_MAX: f64 = 0.9;
const SHRUNKEN: f64 = 0.92;

/// More a second than any server grants that counts each request of a second.
const SLIDES_MAX: u32 = 2_000;

/// The pause after a window that slides was found full, seconds.
const PAUSE_SLID: f64 = 0.03;

/// From one closing to the next. A bucket that gathers while it is closed takes its own rate over
/// such a time, at whatever rate it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cycle {
    /// Busy seconds at its end, and accepted requests until then.
    ended_at: f64,
    accepted: u32,
    /// Accepted in it, in all and a second.
    taken: u32,
    took: f32,
    /// The rate at its end.
    rate: f32,
}

impl Cycle {
    /// Before the first closing.
    pub(super) const NONE: Self =
        Self { ended_at: f64::INFINITY, accepted: 0, taken: 0, took: 0.0, rate: 0.0 };

    fn next(&self, blocked: &Blocked, accepted: u64) -> Self {
        let seconds = blocked.busy - self.ended_at;
        let accepted = accepted as u32;
        let taken = if seconds > 0.0 { accepted.wrapping_sub(self.accepted) } else { 0 };
        let took = (f64::from(taken) / seconds.max(0.001)) as f32;
        Self { ended_at: blocked.busy, accepted, taken, took, rate: blocked.rate as f32 }
    }

    /// Both took the same, though asked for at different rates.
    fn is_as(&self, before: &Self) -> bool {
        self.taken.min(before.taken) >= 8
            && (self.took - before.took).abs() < 0.1 * before.took
            && (self.rate - before.rate).abs() > 0.1 * before.rate
            && self.took > 0.1 * self.rate.min(before.rate)
    }
}

/// What one closing fits.
#[derive(Debug, Clone, Copy)]
struct Fit {
    kind: Kind,
    limit: f64,
    window: Option<Window>,
    sure: bool,
}

impl Fit {
    fn window(width: usize, quota: f64, sure: bool) -> Self {
        let window = Window { width: WIDTHS[width], quota: quota.max(1.0) };
        Self::of(Kind::Window, window, sure)
    }

    fn of(kind: Kind, window: Window, sure: bool) -> Self {
        Self { kind, limit: window.quota / window.width, window: Some(window), sure }
    }
}

/// A window, by the number of its usual width, that fits the first closing as well as the penalty that
/// is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    width: u8,
    quota: NonZeroU32,
}

impl Rival {
    pub(super) fn window(self) -> Window {
        Window { width: WIDTHS[usize::from(self.width)], quota: self.quota() }
    }

    /// Its quota is a number that somebody chose.
    pub(super) fn is_round(self) -> bool {
        is_round(self.quota.get())
    }

    fn quota(self) -> f64 {
        f64::from(self.quota.get())
    }

    /// The quota is met by about so many.
    fn slack(self) -> f64 {
        (0.02 * self.quota()).max(1.0)
    }
}

impl LearningPace {
    /// A request was taken again; it is not yet in the books.
    pub(super) fn reopened(&mut self, blocked: &Blocked, sent_at: f64, now: f64) {
        let closed_for = sent_at - blocked.since;
        let between = self.since_refusal(blocked.busy).filter(|(taken, _)| *taken >= 4);
        // All that were under way may be among them.
        let least = self.round_trip();
        let cycle = between.map(|(taken, seconds)| taken as f64 / seconds.max(least));
        let whole = self.cycle.next(blocked, self.history.accepted);
        let took = f64::from(whole.took);
        let gathered = blocked.told
            && self.kind == Kind::Bucket
            && whole.is_as(&self.cycle)
            && self.burst_beyond(took) > took * closed_for;
        self.last_refusal = Some((blocked.busy, self.history.accepted));
        (self.episode_at, self.soon) = (blocked.busy as f32, 0);
        self.refused_in_row = 0;
        self.refusal_cost = closed_for;
        self.misses = if blocked.is_probed { 0 } else { self.misses.saturating_add(1) };
        if !blocked.on_credit {
            self.rate_refused = blocked.rate as f32;
        }
        // One refusal after many that were taken: what was proven before is worth more than what
        // one closing tells.
        let is_remembered = self.first_run.is_none()
            && self.cycle == Cycle::NONE
            && self.kind == Kind::Bucket
            && !blocked.told;
        let is_rare = between.is_some_and(|(taken, _)| taken >= RARE)
            || (is_remembered && self.history.accepted >= RARE);
        let held = self.limit_held();
        let before = self.limit.or(self.settled);
        if blocked.on_credit && self.limit.is_some() {
            self.reopened_after_credit(blocked);
            self.last_refusal = Some((self.busy_at(now), self.history.accepted));
            self.hold(now);
        } else if let Some(window) = self.shrunken(blocked, sent_at) {
            self.fell_from = self.fell_from.max(before.unwrap_or(0.0));
            (self.kind, self.sure) = (Kind::Window, false);
            self.limit = Some((window.quota / window.width).clamp(RATE_MIN, RATE_MAX));
            self.window = Some(window);
            self.used_before = [0.0; USUAL];
            self.hold(now);
        } else if let Some(limit) = held.filter(|_| is_rare) {
            self.reopened_as_known(blocked, limit, cycle, closed_for);
        } else if gathered {
            self.kind = Kind::Bucket;
            self.window = None;
            self.sure = true;
            (self.gathers, self.credit_fails) = (true, false);
            self.limit = Some(took.clamp(RATE_MIN, RATE_MAX));
            self.spend_what_gathered();
            self.hold(now);
        } else if let Some(fit) = self.fit(blocked, sent_at, cycle) {
            self.adopt_fit(fit, held, cycle, now);
        } else {
            self.reopened_unexplained(blocked, held, cycle, now);
        }
        self.stand_by(before);
        self.closed_before = Some(closed_for as f32);
        self.cycle = whole;
        self.next_at = now + 1.0 / self.rate;
        self.tell(Why::Reopened(closed_for));
    }

    /// What is left of the window that was believed, if it has shrunk: whether it is a fixed one that
    /// ended now or a sliding one that has room again, what was taken within its width is its quota,
    /// or a little less.
    fn shrunken(&self, blocked: &Blocked, sent_at: f64) -> Option<Window> {
        let before = self.window_before.filter(|_| !blocked.told)?;
        let closed_for = (sent_at - blocked.since) / before.width;
        let taken = self.history.sent_about(sent_at, before.width).floor();
        let is_shrunken = (SHRUNKEN_MIN..SHRUNKEN_MAX).contains(&closed_for)
            && (2.0..SHRUNKEN * before.quota).contains(&taken);
        // It was full still when the last one was refused; where that says little it is between the two.
        let most = self.history.sent_about(blocked.closed_at, before.width).max(1.2 * taken);
        let least = if most > 2.0 * taken { 0.8 * (taken * most).sqrt() } else { 0.96 * taken };
        let round = (least as u32..=most as u32).find(|it| is_round(*it));
        let quota = round.map_or(taken, f64::from);
        is_shrunken.then_some(Window { quota, ..before })
    }

    /// What had gathered was too much at once: a window has less, or nothing gathers.
    fn reopened_after_credit(&mut self, blocked: &Blocked) {
        let width = self.window_before.and_then(|window| {
            let width =
                WIDTHS[..USUAL].iter().position(|width| (*width - window.width).abs() < 1e-6)?;
            Some((width, window)).filter(|_| window.width <= self.refusal_cost + 0.1)
        });
        // Nothing was left of the time before, so that the count is the quota.
        match width.and_then(|(width, window)| Some((window, Self::quota_of(blocked, width)?))) {
            Some((window, (quota, _))) if quota >= 0.6 * window.quota => {
                self.window = Some(Window { quota, ..window });
                self.limit = Some((quota / window.width).clamp(RATE_MIN, RATE_MAX));
                self.sure = true;
            }
            _ => {
                self.credit_fails = true;
                self.kind = Kind::Bucket;
                self.sure = false;
                // What was taken in the second before the first refusal was less than was refused.
                self.limit = self.limit.map(|limit| {
                    (limit * f64::from(self.rate_refused).clamp(limit, 4.0 * limit)).sqrt()
                });
            }
        }
    }

    /// The limit has held for long: it is lowered a little, or raised if that was tried.
    fn reopened_as_known(
        &mut self,
        blocked: &Blocked,
        limit: f64,
        cycle: Option<f64>,
        closed_for: f64,
    ) {
        let is_probed = blocked.is_probed;
        let lowered = if self.kind == Kind::Penalty { 0.93 } else { 0.97 };
        let is_lone = self.misses == 1 && self.signal.is_noisy();
        let lowered = if is_lone { 1.0 } else { lowered };
        let least = limit * f64::powi(lowered, i32::from(self.misses.clamp(1, 4)));
        self.window = blocked.recognised;
        let found = match blocked.recognised {
            Some(window) => {
                self.kind = Kind::Window;
                window.quota / window.width
            }
            // Hardly any burst is taken: the rate at the refusal is near the limit.
            None if is_probed && blocked.told && self.kind == Kind::Bucket => {
                limit + 0.5 * (blocked.rate.min(1.5 * limit) - limit)
            }
            None => cycle.map_or(least, |cycle| cycle.clamp(least, limit)),
        };
        self.limit = Some(found);
        self.sure = true;
        if closed_for < 2.0 {
            self.resume_hold();
        } else {
            self.rate = (0.25 * limit).max(RATE_MIN);
            self.mode = Mode::Settle;
        }
    }

    /// Refused again soon after the first refusal, with a number within the shortest usual window that
    /// somebody chose: what was taken in between is what slid out of it. A guess.
    pub(super) fn slides_full(
        &mut self,
        between: Option<(u64, f64)>,
        sent_at: f64,
        now: f64,
    ) -> bool {
        let first = self.first_run.filter(|it| f64::from(it.1) > WIDTHS[0]);
        let Some(((first, _), (taken, seconds))) = first.zip(between) else { return false };
        let used = self.history.sent_about(sent_at, WIDTHS[0]).ceil();
        let left = self.history.sent_about(sent_at, WIDTHS[0] + seconds) - used;
        let is_second = self.history.accepted == u64::from(first) + taken;
        let slid = is_second && taken as f64 <= left + together(used);
        let quota =
            chosen_below(used).filter(|quota| slid && *quota <= SLIDES_MAX && is_usual(*quota));
        let Some(quota) = quota else { return false };
        let window = Window { width: WIDTHS[0], quota: f64::from(quota) };
        self.adopt_sliding(window, now);
        true
    }

    /// A guess: what was taken earlier slides or fades out of this window.
    fn adopt_sliding(&mut self, window: Window, now: f64) {
        self.adopt_fit(Fit::of(Kind::CountsRefused, window, false), None, None, now);
        self.next_at = now + PAUSE_SLID;
    }

    fn adopt_fit(&mut self, fit: Fit, held: Option<f64>, cycle: Option<f64>, now: f64) {
        // Nothing that was proven is halved twice by one closing.
        let mut limit = match held.or_else(|| self.settled.take()) {
            Some(held) if fit.kind != Kind::Penalty => fit.limit.max(0.5 * held),
            _ => fit.limit,
        };
        if fit.window.is_none_or(|window| window.width <= 10.0) {
            limit = limit.max(self.limit_least(now));
        }
        if let Some(held) = held
            && limit < 0.75 * held
        {
            self.fell_from = self.fell_from.max(held);
        }
        self.kind = fit.kind;
        self.sure = fit.sure;
        self.window = fit.window.map(|it| Window { quota: (limit * it.width).max(1.0), ..it });
        if fit.kind == Kind::Penalty {
            self.window = None;
        }
        self.limit = Some(limit.clamp(RATE_MIN, RATE_MAX));
        // A long window is a bold guess: a shorter one would take more.
        let is_bold =
            cycle.is_none() && !fit.sure && fit.window.is_some_and(|it| it.width > WIDTHS[0]);
        self.spend_what_gathered();
        if is_bold && fit.kind != Kind::Penalty && self.refusal_cost < 0.3 {
            self.probe(false);
        } else {
            self.hold(now);
        }
    }

    fn reopened_unexplained(
        &mut self,
        blocked: &Blocked,
        held: Option<f64>,
        cycle: Option<f64>,
        now: f64,
    ) {
        self.window = None;
        if blocked.told {
            self.kind = Kind::Bucket;
        }
        let whole = self.history.accepted as f64 / self.busy_at(now).max(0.1);
        // Nothing gathers while we wait: faster than this, slower than what was refused.
        let is_between = self.credit_fails && blocked.told;
        let between = if is_between { f64::from(blocked.used[0]) } else { 0.0 };
        let between = (between * blocked.rate).sqrt();
        let found = cycle.unwrap_or(whole).max(between).min(blocked.rate);
        let found = match held {
            Some(held) => found.clamp(0.5 * held, held.max(between)),
            None => found.max(self.limit.map_or(0.0, |limit| 0.5 * limit)),
        };
        self.limit = Some(found.clamp(RATE_MIN, RATE_MAX));
        self.sure = false;
        self.spend_what_gathered();
        // What was taken in a whole cycle is the limit; else it is still to be found.
        if cycle.is_some() { self.hold(now) } else { self.probe(true) }
    }

    /// What a bucket or a window has gathered while we waited may be taken at once, unless that was
    /// refused before.
    fn spend_what_gathered(&mut self) {
        let is_fit = matches!(self.kind, Kind::Bucket | Kind::Window);
        if is_fit && !self.credit_fails {
            let gathered = self.window.map_or(1.0, |window| window.width);
            self.credit = 0.9 * self.refusal_cost.min(gathered) * self.limit.unwrap_or(0.0);
        }
    }

    fn fit(&mut self, blocked: &Blocked, sent_at: f64, cycle: Option<f64>) -> Option<Fit> {
        if let Some(window) = blocked.recognised {
            return Some(Fit::of(Kind::Window, window, self.misses == 0));
        }
        let is_long = blocked.told && sent_at - blocked.since > SHORT;
        if is_long || (blocked.told && self.ends_a_window(blocked.since, blocked.told_until)) {
            self.fit_told(blocked, sent_at)
        } else {
            self.fit_found(blocked, sent_at, cycle)
        }
    }

    /// The quota of a width, as the closing has it, unless an earlier closing refutes it.
    fn quota_of(blocked: &Blocked, width: usize) -> Option<(f64, bool)> {
        let used = f64::from(*blocked.used.get(width)?).ceil();
        let before = f64::from(blocked.used_before[width]);
        let most = if blocked.has_risen { f64::INFINITY } else { 1.2 * before + 2.0 };
        let is_refuted = before > 0.0 && !(0.75 * before..most).contains(&used);
        if used < 2.0 || is_refuted {
            return None;
        }
        let round = chosen_below(used);
        Some((round.map_or(used, f64::from), round.is_some()))
    }

    /// The server said when to come back; in whole seconds, most of them.
    fn fit_told(&mut self, blocked: &Blocked, sent_at: f64) -> Option<Fit> {
        let waited = sent_at - blocked.since;
        let fits = |width: usize| {
            let reach = 0.03 + self.round_trip();
            let is_in = |end: f64| {
                end > blocked.told_until - f64::from(blocked.slop) - reach
                    && end <= blocked.told_until + reach
            };
            let opened = self.history.window(width, blocked.since).filter(|it| it.1 >= 2);
            let is_fixed = opened.is_some_and(|it| is_in(it.0 + WIDTHS[width]));
            let is_sliding = width == 0 && is_in(blocked.since + f64::from(blocked.room));
            (is_fixed || is_sliding).then(|| Self::quota_of(blocked, width)).flatten()
        };
        let windows = || (0..USUAL).filter_map(|width| fits(width).map(|it| (width, it.0, it.1)));
        if let Some(penalty) = self.penalty_width(waited, 0.1) {
            self.penalty = Some(WIDTHS[penalty] as f32);
            let limit = self.before_penalty(blocked)?;
            return Some(Fit { kind: Kind::Penalty, limit, window: None, sure: true });
        }
        let found = windows().find(|it| it.2).or_else(|| windows().next())?;
        Some(Fit::window(found.0, found.1, found.2 || blocked.slop < 0.1))
    }

    /// Whether the server tells of a moment at which a window of usual width ends that had opened
    /// with its first request.
    pub(super) fn ends_a_window(&self, sent_at: f64, end: f64) -> bool {
        (0..USUAL).any(|width| {
            let window = self.history.window(width, sent_at).filter(|it| it.1 >= 4);
            window.is_some_and(|it| (it.0 + WIDTHS[width] - end).abs() < 0.005 + self.round_trip())
        })
    }

    /// Whether what was taken by then is the quota of the window that a penalty was preferred to; when
    /// it ends.
    pub(super) fn rival_at(&self, sent_at: f64) -> Option<(Window, f64)> {
        let (rival, over) = self.rival_use(sent_at)?;
        let end = self.history.window_end(usize::from(rival.width), sent_at)?;
        (over.abs() <= rival.slack()).then_some((rival.window(), end))
    }

    /// Refused before that window's quota was taken: what was taken before it closed still counts, and
    /// fades or slides out of it.
    pub(super) fn rival_slides(&mut self, sent_at: f64, now: f64) -> bool {
        let Some((rival, over)) = self.rival_use(sent_at) else { return false };
        if over > -rival.slack() {
            return false;
        }
        (self.rival, self.penalty) = (None, None);
        self.adopt_sliding(rival.window(), now);
        true
    }

    /// More was taken than that window has: it was a penalty.
    pub(super) fn refute_rival(&mut self, now: f64) {
        if self.rival_use(now).is_some_and(|(rival, over)| over > rival.slack() + 1.0) {
            (self.rival, self.sure) = (None, true);
        }
    }

    /// That window, and by how much more was taken in the present one than it has.
    fn rival_use(&self, at: f64) -> Option<(Rival, f64)> {
        let rival = self.rival?;
        let (_, taken) = self.history.window(usize::from(rival.width), at)?;
        Some((rival, f64::from(taken) - rival.quota()))
    }

    /// The usual time for which it was closed, if a closing before was not another one.
    fn penalty_width(&self, waited: f64, late: f64) -> Option<usize> {
        let is_other = self
            .closed_before
            .is_some_and(|before| (f64::from(before) - waited).abs() > 0.2 * waited);
        let is_as_long = |width: &usize| {
            WIDTHS[*width] >= PENALTY_MIN
                && waited >= WIDTHS[*width] - 0.01
                && waited < WIDTHS[*width] + late
        };
        (0..WIDTHS.len()).find(is_as_long).filter(|_| !is_other)
    }

    /// Nothing was said: the times tell.
    fn fit_found(&mut self, blocked: &Blocked, sent_at: f64, cycle: Option<f64>) -> Option<Fit> {
        let opened_between = |at: f64| at > blocked.closed_at - 0.005 && at <= sent_at + 0.005;
        let over = |width: usize| {
            let (opened, taken) = self.history.window(width, blocked.since)?;
            // Nobody wanted more: then what was taken is no quota.
            let wanted = 0.1 * blocked.rate * (blocked.since - opened);
            let is_used = taken >= 2 && f64::from(taken) >= wanted;
            is_used.then_some((opened + WIDTHS[width], taken))
        };
        let edge = (0..WIDTHS.len()).find_map(|width| {
            let taken = over(width).filter(|(at, _)| opened_between(*at))?.1;
            let is_refuted = width < USUAL && Self::quota_of(blocked, width).is_none();
            (!is_refuted).then_some((width, taken))
        });
        // A shorter window may have ended before, had the refused requests not counted too.
        let shortest = Self::quota_of(blocked, 0);
        let is_rounder = shortest.is_some_and(|it| it.1);
        let is_doubtful = |it: (usize, u32)| it.0 > 0 || (is_rounder && !is_round(it.1));
        if cycle.is_none()
            && edge.is_some_and(is_doubtful)
            && blocked.closed_at - blocked.since > 0.1
            && sent_at - blocked.since < 2.5
            && let Some((quota, _)) = shortest
        {
            let window = Window { width: WIDTHS[0], quota };
            return Some(Fit::of(Kind::CountsRefused, window, false));
        }
        let late = sent_at - blocked.closed_at;
        if let Some((width, taken)) = edge {
            let window = self.fit_taken(width, taken, cycle);
            let is_either =
                blocked.is_stranger && self.penalty_width(sent_at - blocked.since, late).is_some();
            let limit = self.before_penalty(blocked).filter(|it| is_either && *it > window.limit);
            // A window that is taken whole once more before it closes again has lost nothing.
            return Some(match limit {
                Some(limit) => {
                    self.rival =
                        NonZeroU32::new(taken).map(|quota| Rival { width: width as u8, quota });
                    Fit { kind: Kind::Penalty, limit, window: None, sure: false }
                }
                None => window,
            });
        }
        if let Some(penalty) = self.penalty_width(sent_at - blocked.since, late) {
            self.penalty = Some(WIDTHS[penalty] as f32);
            let limit = self.before_penalty(blocked)?;
            return Some(Fit { kind: Kind::Penalty, limit, window: None, sure: true });
        }
        if sent_at - blocked.since < 0.3 + 4.0 * self.round_trip() {
            if let Some(limit) = cycle {
                let kind = Kind::CountsRefused;
                return Some(Fit { kind, limit, window: None, sure: limit > 25.0 });
            }
            // A guess: the usual width.
            let (quota, sure) = Self::quota_of(blocked, 0)?;
            let window = Window { width: WIDTHS[0], quota };
            return Some(Fit::of(Kind::CountsRefused, window, sure));
        }
        // Later than the window's end, since refused ones counted too.
        let (width, taken) = (0..USUAL).rev().find_map(|width| {
            over(width).filter(|(at, _)| *at <= sent_at).map(|it| (width, it.1))
        })?;
        Some(Fit { kind: Kind::CountsRefused, ..self.fit_taken(width, taken, cycle) })
    }

    fn fit_taken(&self, width: usize, taken: u32, cycle: Option<f64>) -> Fit {
        match cycle.filter(|_| self.kind == Kind::Window) {
            Some(cycle) => Fit::window(width, cycle * WIDTHS[width], false),
            None => Fit::window(width, f64::from(taken), is_round(taken)),
        }
    }

    /// The rate that a penalty punished: by the usual width whose count is the roundest number.
    fn before_penalty(&self, blocked: &Blocked) -> Option<f64> {
        let counted = WIDTHS.iter().enumerate().filter_map(|(width, seconds)| {
            let (opened, taken) = self.history.window(width, blocked.since)?;
            // A window hardly begun says nothing, one much longer than we were there neither.
            (taken >= 2 && blocked.since - opened > 0.1 * seconds).then_some((taken, *seconds))
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

/// A number that somebody chose: 20, 25, 100, 150, 1000; of those below 10 all are as likely.
fn is_round(number: u32) -> bool {
    number >= 10
        && (digits(number) == 1 || number.is_multiple_of(if number < 200 { 25 } else { 50 }))
}

/// Requests that were under way together are counted by so many too many.
fn together(used: f64) -> f64 {
    (0.01 * used).floor().min(8.0)
}

/// The number that somebody chose, if so many were used.
fn chosen_below(used: f64) -> Option<u32> {
    ((used - together(used)) as u32..=used as u32).rev().find(|it| is_round(*it))
}

/// A quota that many limiters have.
fn is_usual(number: u32) -> bool {
    let step = 10_u32.pow(number.max(10).ilog10() - 1);
    is_round(number) && number.is_multiple_of(5 * step)
}

/// Whether so many, or all but the last of them, are such a quota.
pub(super) fn ends_usual(number: u32) -> bool {
    is_usual(number) || is_usual(number.saturating_sub(1))
}

/// The next number below that somebody may have chosen, or a little less: further down with each
/// time that the last one did not hold.
pub(super) fn round_below(number: f64, times: u8) -> f64 {
    let reach = f64::from(1_u32 << times.min(3));
    let least = (1.0 - 0.1 * reach).max(0.3) * number;
    let found = (least.ceil() as u32..number.ceil() as u32).rev().find(|it| is_round(*it));
    found.map_or((1.0 - 0.03 * reach) * number, f64::from)
}
