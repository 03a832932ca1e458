//! A controller that finds a server's limit and runs just under it.
//!
//! Two actuators, always both: a paced rate and a number of requests under way. It begins slowly
//! and doubles (`Mode::Seek`) until the server refuses, or latency shows a queue. What the server
//! *took* between two refusals is its rate, whatever was sent: the two-point estimate of a policer
//! (Flach et al., "An Internet-Wide Analysis of Traffic Policing", SIGCOMM 2016; BBR uses the same,
//! `net/ipv4/tcp_bbr.c`). It then holds just below (`Mode::Hold`) and now and then creeps above,
//! ever faster while nothing happens (`Mode::Probe`; the convex half of CUBIC: Ha, Rhee and Xu,
//! ACM SIGOPS Operating Systems Review 42(5), 2008).
//!
//! One cut an episode: answers to requests that left before a decision say nothing new (TCP's one
//! cut a round trip). When everything is refused nothing leaves but single requests, first soon,
//! then at the times at which usual windows would open (`Mode::Blocked`). Time that passes while
//! nobody wants to send teaches nothing: all growth is by requests that left. What a source file
//! allows is not known here: [`crate::FixedPace`] stands before it.

mod blocked;
mod cut;
mod load;
mod proven;
mod rate;
mod refused;
mod remembered;
mod reopened;
mod signal;

use crate::{
    Answer, COOL_DOWN_MAX, Ignored, Meaning, Observation, Pace, Permit, Ticket,
    history::{History, USUAL},
    latency::Latency,
    trace::{Decision, Kind, Trace, Why},
    window::{Grant, Quota},
};
use blocked::Blocked;
use env::Moment;
use std::{num::NonZeroU16, time::Duration};

/// The rate at which a stranger is asked first, requests per second.
const RATE_FIRST: f64 = 20.0;
/// Requests under way before any latency is known.
const IN_FLIGHT_FIRST: u32 = 4;
/// What an answer states is believed at once up to this rate; beyond, it has to show.
const RATE_STATED_MAX: f64 = 500.0;
/// Never slower than this while anything is taken.
const RATE_MIN: f64 = 0.05;
/// Never faster: beyond any server that counts.
const RATE_MAX: f64 = 1e6;
/// In this time, or a round trip, the rate doubles while no limit is known.
const DOUBLING: f64 = 0.13;
/// The same beyond a rate at which many are under way when the first is refused.
const DOUBLING_FAST: f64 = 0.2;
const RATE_QUICK: f64 = 500.0;
/// The same after the first refusal.
const DOUBLING_SETTLE: f64 = 0.4;
/// The share of the limit at which we stay.
const SHARE: f64 = 0.985;
/// The same, at most, for a quota that is known.
const SHARE_WINDOW: f64 = 0.998;
/// The share of it that is used after a fall.
const SHARE_CAREFUL: f64 = 0.92;
/// With room in a window that is known, this much faster.
const CATCH_UP: f64 = 1.5;
/// The same for a limiter that closes for long after one excess.
const SHARE_PENALTY: f64 = 0.96;
/// From one attempt to go above the limit to the next: seconds, and requests.
const HOLD_SECONDS: f64 = 3.0;
const HOLD_REQUESTS: u32 = 250;
/// After so long a few requests are enough.
const HOLD_SECONDS_MAX: f64 = 60.0;
/// The time in which a probe's excess doubles.
const PROBE_DOUBLING: f64 = 0.35;
/// The first excess of a probe.
const PROBE_EXCESS: f64 = 0.015;
/// A crowded server is asked at so many times smaller a rate.
const CROWDED: f64 = 8.0;
/// A request may go alone where answers come so soon, seconds. Those under way are waited for before
/// and after it, so long at most: the first refusal may take a server longer than what it serves.
const ALONE_ROUND_TRIP: f64 = 0.005;
const ALONE_SECONDS: f64 = 0.05;
/// How late a timer may be without slowing us down.
const SLACK: f32 = 0.0015;
/// When to ask again without any share of the scope.
const SHARELESS: Duration = Duration::from_secs(1);
/// What came before so many seconds without a request says nothing of throughput.
const PAUSE: f64 = 0.5;
/// Completions by which throughput under load is measured.
const COMPLETIONS: usize = 24;

/// Widths of windows that are recognised by their use.
const USE_WIDTHS: [f64; 3] = [1.0, 2.0, 5.0];

/// What follows when a queue is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The first measure of the limit was a rough one.
    Probe,
    /// Throughput under load was measured.
    Hold,
    /// The server was in trouble: slowly back to what it took.
    Regain,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// No limit is known: faster and faster.
    Seek,
    /// Refused for the first time: where is it?
    Settle,
    /// At the limit's share.
    Hold,
    /// Above the limit, a little more with each request. `doublet`: a refusal began it, so that
    /// the next one measures the limit.
    Probe { busy: f64, taken: u64, doublet: bool },
    /// Below the limit until a queue is gone.
    Drain { since: f64, then: Then },
    /// Everything is refused.
    Blocked(Blocked),
}

/// See the module.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts about the server, each for itself")]
pub struct LearningPace {
    /// Requests under way, whatever was learned.
    concurrency_max: u32,
    /// A share of the scope is ours; others have the rest.
    has_share: bool,
    /// The share by which all that is believed is scaled: the last that was not nothing.
    scale: f64,
    /// Seconds from one request to the next, at least.
    interval_min: f64,
    /// Nothing leaves before: the server said so.
    told_until: f64,
    /// Since when nothing was taken, if the last answers were refusals.
    closed_since: Option<f64>,
    mode: Mode,
    kind: Kind,
    /// Requests per second now.
    rate: f64,
    /// Requests per second that the server takes, as far as is known.
    limit: Option<f64>,
    /// The limit was measured between two refusals while more was asked for.
    measured: bool,
    /// The limit is more than a guess from few requests.
    sure: bool,
    /// For how long the last refusal stopped everything, seconds.
    refusal_cost: f64,
    /// The rate at which everything was refused last.
    rate_refused: f32,
    /// The last closing's length, and by usual width what had left within it.
    closed_before: Option<f32>,
    used_before: [f32; USUAL],
    has_risen: bool,
    cycle: reopened::Cycle,
    /// The limit before it became much lower; 0 if it did not.
    fell_from: f64,
    /// One was refused by chance since the last that counted.
    lone_since_cut: bool,
    /// Until then we stay further below what is left.
    careful_until: f64,
    /// The last limit that held for a while.
    settled: Option<f64>,
    /// What it took before the first refusal, in how many seconds.
    first_run: Option<(u32, f32)>,
    /// What it takes beyond the rate after a pause, as remembered.
    burst: f32,
    /// Credit to spend at once, beyond the rate.
    credit: f64,
    /// It was shown to gather while it was closed.
    gathers: bool,
    /// When a request left on credit last, and whether that was refused.
    credit_at: f64,
    credit_fails: bool,
    concurrency: Concurrency,
    window: Option<Window>,
    /// The same before everything was refused.
    window_before: Option<Window>,
    /// By width: when something was last refused, how much had been sent within the width, and at
    /// which rate.
    uses: [(f64, f32, f32); USE_WIDTHS.len()],
    /// Taken and fallen out of the believed window between refusals that came soon after each other.
    turnover: (f32, f32),
    /// Busy seconds when a refusal last changed the window's quota, and refusals within a width since.
    episode_at: f32,
    soon: u8,
    /// Refusals in a row at what a window was believed to allow.
    misses: u8,
    /// The last probe met another quota than the one that is sure, by a little.
    is_doubted: bool,
    penalty: Option<f32>,
    rival: Option<reopened::Rival>,
    /// The round rate that is being tried.
    round_above: Option<NonZeroU16>,
    /// The excess, in requests, that the last failed probe needed.
    probe_excess: Option<f32>,
    strict: Strict,
    /// Busy seconds and accepted requests at the last refusal that counted.
    last_refusal: Option<(f64, u64)>,
    proven: proven::Proven,
    /// Seconds in which requests left or had to wait for us: time in which nobody wanted anything
    /// says nothing of the server.
    busy: f64,
    /// A request had to wait since the last one left.
    limited: bool,
    refused_in_row: u32,
    /// When the first of them left.
    row_since: f64,
    epoch: u32,
    in_flight: u32,
    next_at: f64,
    sent_at: f64,
    slack: f32,
    /// A request had to wait for one under way since the last that left.
    capped: bool,
    completions: [f32; COMPLETIONS],
    completed: u32,
    /// So many of them before nothing left for a while.
    completed_before_pause: u32,
    /// When the first answer came.
    answered_at: f64,
    history: History,
    latency: Latency,
    quota: Quota,
    signal: signal::Signal,
    held: f32,
    /// Since when, and for how many requests, the limit is held.
    held_since: f64,
    held_sent: u32,
    trace: Trace,
    /// Of what was ignored, as bits, what has been said.
    ignored: u8,
    wall: jiff::Timestamp,
}

/// Whether a probe is refused for its rate, and not for what it took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strict {
    Unknown,
    /// The limit was raised accordingly.
    Tried,
    /// That did not hold.
    Refuted,
}

/// A quota by window that nobody stated: at most so many within any so many seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    width: f64,
    quota: f64,
}

/// What is known of a limit on requests under way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Concurrency {
    /// At most so many.
    cap: Option<u32>,
    /// The cap is a guess since so many were accepted in total.
    trial: Option<u32>,
    confirmed: bool,
    /// Accepted requests at the cap since it was last moved.
    at_cap: u32,
    /// Accepted ones that a raise of the cap waits for.
    raise_after: u32,
    /// Accepted in total when it was lowered last, and how often that came soon after the time
    /// before.
    moved_at: u32,
    misses: u8,
}

impl LearningPace {
    /// A controller that knows nothing of its server; `concurrency_max` is at least 1.
    pub fn new(concurrency_max: u32, now: Moment) -> Self {
        Self {
            concurrency_max: concurrency_max.max(1),
            has_share: true,
            scale: 1.0,
            interval_min: 0.0,
            told_until: 0.0,
            closed_since: None,
            mode: Mode::Seek,
            kind: Kind::Unknown,
            rate: RATE_FIRST,
            limit: None,
            measured: false,
            sure: false,
            refusal_cost: 0.0,
            rate_refused: 0.0,
            closed_before: None,
            used_before: [0.0; USUAL],
            has_risen: false,
            cycle: reopened::Cycle::NONE,
            fell_from: 0.0,
            lone_since_cut: false,
            careful_until: f64::NEG_INFINITY,
            settled: None,
            first_run: None,
            burst: 0.0,
            credit: 0.0,
            gathers: false,
            credit_at: f64::NEG_INFINITY,
            credit_fails: false,
            concurrency: Concurrency::default(),
            window: None,
            window_before: None,
            uses: [(f64::NEG_INFINITY, 0.0, 0.0); USE_WIDTHS.len()],
            turnover: (0.0, 0.0),
            episode_at: f32::NEG_INFINITY,
            soon: 0,
            misses: 0,
            is_doubted: false,
            penalty: None,
            rival: None,
            round_above: None,
            probe_excess: None,
            strict: Strict::Unknown,
            last_refusal: None,
            proven: proven::Proven::default(),
            busy: 0.0,
            limited: false,
            refused_in_row: 0,
            row_since: 0.0,
            epoch: 0,
            in_flight: 0,
            next_at: 0.0,
            sent_at: f64::NEG_INFINITY,
            slack: SLACK,
            capped: false,
            completions: [0.0; COMPLETIONS],
            completed: 0,
            completed_before_pause: 0,
            answered_at: f64::INFINITY,
            history: History::new(),
            latency: Latency::default(),
            quota: Quota::default(),
            signal: signal::Signal::default(),
            held: 0.0,
            held_since: 0.0,
            held_sent: 0,
            trace: Trace::default(),
            ignored: 0,
            wall: now.wall,
        }
    }

    /// Says which share of the scope is ours, from 0 to 1; others have the rest. What is believed
    /// of the whole stays, so our part grows or shrinks at once. With nothing we wait.
    pub fn set_share(&mut self, share: f64) {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        if share > 0.0 {
            let factor = share / self.scale;
            self.scale = share;
            self.rate = (self.rate * factor).clamp(RATE_MIN, RATE_MAX);
            self.limit = self.limit.map(|limit| (limit * factor).clamp(RATE_MIN, RATE_MAX));
            self.settled = self.settled.map(|limit| (limit * factor).clamp(RATE_MIN, RATE_MAX));
            if let Some(window) = &mut self.window {
                window.quota = (window.quota * factor).max(1.0);
            }
            self.concurrency.cap =
                self.concurrency.cap.map(|cap| ((f64::from(cap) * factor).floor() as u32).max(1));
            self.credit *= factor.min(1.0);
        }
        self.has_share = share > 0.0;
    }

    /// The least time from one request to the next, such as a `crawl-delay`.
    pub fn set_interval_min(&mut self, interval: Duration) {
        self.interval_min = interval.as_secs_f64();
    }

    /// For how long nothing was taken, if all that was asked was refused.
    pub fn closed_for(&self, now: Moment) -> Option<Duration> {
        let since = self.closed_since?;
        Duration::try_from_secs_f64(now.monotonic.as_secs_f64() - since).ok()
    }

    /// What is believed to limit us.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Requests per second allowed now; 0 while nothing but a single probe may leave.
    pub fn rate(&self) -> f64 {
        match self.mode {
            Mode::Blocked(_) => 0.0,
            _ => self.rate,
        }
    }

    /// Requests per second that the server is believed to take.
    pub fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// The highest rate that was accepted for a second.
    pub fn rate_held(&self) -> f64 {
        f64::from(self.held) / self.scale
    }

    /// The same as [`LearningPace::limit`], if it has held for a while under requests that wanted more.
    pub fn limit_held(&self) -> Option<f64> {
        let limit = self.limit?;
        self.settled.filter(|settled| (settled - limit).abs() <= 0.05 * limit)
    }

    /// Requests under way allowed now.
    pub fn concurrency(&self) -> u32 {
        let stranger = self.latency.baseline().is_none();
        let cap = self.concurrency.cap.unwrap_or(if stranger { IN_FLIGHT_FIRST } else { u32::MAX });
        self.concurrency_max.min(cap)
    }

    /// Decisions made so far.
    pub fn decisions_total(&self) -> u64 {
        self.trace.total
    }

    /// The decisions after the first `total`, as far as they are kept.
    pub fn decisions_since(&self, total: u64) -> impl Iterator<Item = &Decision> {
        self.trace.since(total)
    }

    fn tell(&mut self, why: Why) {
        let decision = Decision {
            at: self.wall,
            kind: self.kind,
            rate: self.rate(),
            concurrency: self.concurrency(),
            why,
        };
        self.trace.push(decision);
    }

    /// Reads what an answer's head says of limits, and says what of it is ignored. True: it states
    /// a quota for the first time, or another one.
    fn read_head(&mut self, observation: &Observation, sent_at: f64, now: f64) -> bool {
        let advice = &observation.advice;
        let is_served = observation.answer == Answer::Accepted;
        let found = self.window.filter(|_| self.sure).map(|window| (window.quota, window.width));
        let taken = self.quota.take(advice, sent_at, now, self.in_flight, found);
        let found = [
            advice.nonsense.then_some(Ignored::Nonsense),
            advice.retry_after.filter(|_| is_served).map(|_| Ignored::WaitOnServed),
            taken.err(),
        ];
        for ignored in found.into_iter().flatten() {
            let bit = 1 << ignored as u8;
            if self.ignored & bit == 0 {
                self.ignored |= bit;
                self.tell(Why::Ignored(ignored));
            }
        }
        taken.unwrap_or(false)
    }

    /// Busy seconds up to now.
    fn busy_at(&self, now: f64) -> f64 {
        let since = (now - self.sent_at).max(0.0);
        let most = if self.limited { since } else { since.min(1.0 / self.rate) };
        if self.sent_at.is_finite() { self.busy + most } else { 0.0 }
    }

    /// Whether more is under way than the rate and the round trip explain (Little's law): the server
    /// has fallen silent, and if it is about to refuse, it will refuse all of them.
    fn is_crowded(&self) -> bool {
        let Some(round_trip) = self.latency.baseline() else { return false };
        f64::from(self.in_flight) >= 8.0 + 2.0 * self.rate * round_trip
    }

    /// Whether a request that is answered soon goes alone, so that no others are refused with it: the
    /// one after as many as somebody may have chosen as a quota, and the one after the first refusal.
    fn goes_alone(&self) -> bool {
        let accepted = self.history.accepted as u32;
        let is_awaited = match self.mode {
            Mode::Seek => {
                self.last_refusal.is_none() && reopened::ends_usual(accepted + self.in_flight)
            }
            Mode::Settle => self.first_run.is_some_and(|(taken, _)| taken == accepted),
            _ => false,
        };
        self.in_flight > 0
            && is_awaited
            && self.latency.baseline().is_some_and(|it| it < ALONE_ROUND_TRIP)
            && self.cycle == reopened::Cycle::NONE
            && !self.is_counted()
            && self.quota.stated().is_none()
    }

    /// A round trip without load in seconds.
    fn round_trip(&self) -> f64 {
        self.latency.baseline().unwrap_or(0.05)
    }

    fn share_of_limit(&self) -> f64 {
        match self.window.filter(|_| self.sure) {
            _ if self.kind == Kind::Penalty => SHARE_PENALTY,
            // What is under way arrives in another rhythm than it left in.
            Some(window) if self.kind == Kind::Window => {
                let rate = window.quota / window.width;
                let bunched = 2.0 * (rate * self.latency.spread()).sqrt();
                (1.0 - bunched / window.quota).clamp(0.9, SHARE_WINDOW)
            }
            _ => SHARE,
        }
    }

    fn accepted(&mut self, observation: &Observation, now: f64) {
        let sent_at = observation.ticket.sent_at.monotonic.as_secs_f64();
        if let Mode::Blocked(blocked) = self.mode
            && observation.ticket.epoch == self.epoch
        {
            self.reopened(&blocked, sent_at, now);
        }
        self.history.accept(sent_at, now - sent_at);
        self.refute_rival(now);
        if observation.ticket.epoch == self.epoch {
            self.refused_in_row = 0;
        }
        if self.history.accepted.is_multiple_of(16) {
            self.held = self.held.max(self.history.rate(now, 1.0) as f32);
        }
        // So that they keep their precision as f32.
        self.completions[self.completed as usize % COMPLETIONS] =
            (self.busy_at(now) % 4096.0) as f32;
        if self.completed == 0 {
            self.answered_at = now;
        }
        self.completed = self.completed.wrapping_add(1);
        self.judge_concurrency(observation);
        self.judge_latency(observation, now);
    }
}

impl Pace for LearningPace {
    fn permit(&mut self, now: Moment) -> Permit {
        let time = now.monotonic.as_secs_f64();
        if self.in_flight >= self.concurrency() {
            self.capped = true;
            self.limited = true;
            return Permit::WhenFreed;
        }
        let mut at = match &self.mode {
            Mode::Blocked(blocked) if blocked.is_out => {
                self.limited = true;
                return Permit::WhenFreed;
            }
            Mode::Blocked(blocked) => blocked.next_at,
            _ if self.goes_alone() => self.next_at.max(self.sent_at + ALONE_SECONDS),
            _ if self.credit >= 1.0 && !self.is_crowded() => {
                self.next_at.min(self.sent_at + 0.1 / self.rate)
            }
            Mode::Seek if self.is_crowded() => self.next_at.max(self.sent_at + CROWDED / self.rate),
            _ => self.next_at,
        };
        if !self.has_share {
            self.limited = true;
            return Permit::At(now.monotonic + SHARELESS);
        }
        at = at.max(self.sent_at + self.interval_min).max(self.told_until);
        match self.quota.grant(time) {
            Grant::Silent => at = self.caught_up(at, time).max(self.window_room(time)),
            Grant::Within(None) => {}
            Grant::Within(Some(rate)) => at = at.max(self.sent_at + 1.0 / rate),
            Grant::At(edge) => at = at.max(edge),
        }
        if time >= at {
            Permit::Now
        } else {
            self.limited = true;
            // Rounded up, so that a sleeper is never woken just too early.
            let at = Duration::try_from_secs_f64(at.min(time + 3600.0)).unwrap_or(now.monotonic);
            Permit::At(at.max(now.monotonic) + Duration::from_nanos(1))
        }
    }

    fn sent(&mut self, now: Moment) -> Ticket {
        self.wall = now.wall;
        let time = now.monotonic.as_secs_f64();
        self.history.send(time);
        self.quota.sent(time);
        if self.sent_at.is_finite() {
            self.busy = self.busy_at(time);
        }
        self.proven.pass(self.busy, self.history.accepted);
        self.limited = false;
        let interval = 1.0 / self.rate;
        let busy = (time - self.sent_at).clamp(0.0, 1.5 * interval);
        if time - self.sent_at > PAUSE.max(5.0 * interval) {
            self.completed_before_pause = self.completed;
        }
        let early = self.next_at - time;
        if early > 0.0 {
            self.credit -= early / interval;
            self.credit_at = time;
        }
        // A late timer is made up for, but only a little: requests must not bunch.
        self.next_at = self.next_at.max(time - f64::from(self.slack)) + interval;
        if early > 0.0 {
            self.next_at = time + interval;
        }
        self.sent_at = time;
        if let Mode::Blocked(blocked) = &mut self.mode {
            blocked.is_out = true;
        }
        self.grow(time, busy);
        self.in_flight += 1;
        Ticket { sent_at: now, in_flight: self.in_flight, epoch: self.epoch }
    }

    fn observe(&mut self, observation: &Observation, now: Moment) -> Meaning {
        self.forget(observation.ticket);
        self.wall = now.wall;
        let time = now.monotonic.as_secs_f64();
        let sent_at = observation.ticket.sent_at.monotonic.as_secs_f64();
        if self.read_head(observation, sent_at, time)
            && let Some((quota, width)) = self.quota.stated()
        {
            self.kind = Kind::Window;
            self.window = None;
            self.limit = None;
            self.mode = Mode::Seek;
            self.rate = self.rate.max((quota as f64 / width).min(RATE_STATED_MAX));
            self.tell(Why::StatedQuota(quota, width));
        }
        let meaning = match self.signal.read(observation.answer) {
            // One request alone overloads nothing: what fails is the request.
            Meaning::Overloaded if observation.ticket.in_flight <= 1 => Meaning::Noise,
            meaning => meaning,
        };
        match meaning {
            Meaning::Taken => {
                self.closed_since = None;
                self.accepted(observation, time);
            }
            Meaning::Noise => {}
            Meaning::Refused => {
                self.closed_since.get_or_insert(time);
                if let Some(told) = observation.advice.retry_after {
                    // Whatever else it means: the whole scope waits.
                    let until = time + told.min(COOL_DOWN_MAX).as_secs_f64();
                    self.told_until = self.told_until.max(until);
                    if told > COOL_DOWN_MAX {
                        let (asked, granted) = (told.as_secs_f64(), COOL_DOWN_MAX.as_secs_f64());
                        self.tell(Why::WaitBounded(asked, granted));
                    }
                }
                self.refused(observation, time);
            }
            Meaning::Overloaded => self.overloaded(observation, time),
        }
        meaning
    }

    fn forget(&mut self, ticket: Ticket) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Mode::Blocked(blocked) = &mut self.mode
            && ticket.epoch == self.epoch
        {
            blocked.is_out = false;
        }
    }

    fn in_flight(&self) -> u32 {
        self.in_flight
    }
}
