//! Simulated servers, each with a limiter of another kind.

use env::Entropy;
use pace::{Advice, Answer};
use serde::Deserialize;
use std::{collections::VecDeque, time::Duration};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerFile {
    pub(crate) kind: String,
    /// Requests beyond the rate, as a number or as seconds of the rate.
    #[serde(default)]
    pub(crate) burst: f64,
    #[serde(default)]
    pub(crate) burst_seconds: f64,
    /// Seconds.
    #[serde(default = "one")]
    pub(crate) window: f64,
    /// Seconds for which one excess closes it.
    #[serde(default)]
    pub(crate) block: f64,
    /// Requests under way; else what the service time makes of the rate.
    #[serde(default)]
    pub(crate) cap: u32,
    /// This limiter's part of the scenario's rate.
    #[serde(default = "one")]
    pub(crate) limit_share: f64,
    /// `429`, `503`, `drop`, `timeout`.
    #[serde(default = "status")]
    pub(crate) refusal: String,
    #[serde(default)]
    pub(crate) headers: Headers,
    /// How a refusal says when to come back.
    #[serde(default)]
    pub(crate) retry_after: RetryAfter,
    /// Milliseconds of work for a request.
    #[serde(default)]
    pub(crate) service: f64,
    #[serde(default)]
    pub(crate) aligned: bool,
    /// Refuses this share of all requests, whatever their rate, and fails at another.
    #[serde(default)]
    pub(crate) refuses: f64,
    #[serde(default)]
    pub(crate) fails: f64,
    /// Its answers' heads are full of nonsense.
    #[serde(default)]
    pub(crate) lies: bool,
    /// From these shares of the job on, the limit is this share of itself.
    #[serde(default)]
    pub(crate) shifts: Vec<[f64; 2]>,
    /// So many answers after so many idle seconds take so many milliseconds longer.
    #[serde(default)]
    pub(crate) wakes: Option<(u32, f64, f64)>,
    /// Further limiters behind this one.
    #[serde(default)]
    pub(crate) also: Vec<ServerFile>,
}

/// Whether answers state the quota, and how wide its window is: the older fields do not say that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Headers {
    #[default]
    None,
    WithWidth,
    WithoutWidth,
}

/// The forms of `Retry-After`, as `fetch` reads them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryAfter {
    #[default]
    None,
    /// Whole seconds, rounded up, at least 1.
    Seconds,
    /// With a fraction.
    Exact,
    /// Whole seconds, cut off: too early.
    Cut,
    /// A date, rounded up to a second, beside a `Date` that is cut off.
    Date,
    /// A date that is cut off as well.
    DateCut,
}

impl RetryAfter {
    fn seconds(self, now: f64, wait: f64) -> Option<f64> {
        let seconds = match self {
            Self::None => return None,
            Self::Seconds => wait.ceil().max(1.0),
            Self::Exact => wait,
            Self::Cut => wait.floor(),
            Self::Date => (now + wait).ceil() - now.floor(),
            Self::DateCut => (now + wait).floor() - now.floor(),
        };
        Some(seconds.max(0.0))
    }
}

fn one() -> f64 {
    1.0
}

fn status() -> String {
    "429".to_owned()
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// Seconds of work until it is sent.
    pub(crate) after: f64,
    pub(crate) advice: Advice,
}

#[derive(Debug)]
pub(crate) struct Server {
    file: ServerFile,
    rate: f64,
    job: f64,
    // bucket
    tokens: f64,
    filled_at: f64,
    // windows
    times: VecDeque<f64>,
    opened_at: f64,
    count: f64,
    before: f64,
    blocked_until: f64,
    // queue and workers
    free_at: Vec<f64>,
    /// By how much its clock's windows are shifted.
    phase: f64,
    asked_at: f64,
    slow_left: u32,
    also: Vec<Self>,
    pub(crate) in_flight: u32,
}

impl Server {
    pub(crate) fn new(file: &ServerFile, rate: f64, job: f64, seed: u64) -> Self {
        let also = file.also.iter().map(|it| Self::new(it, rate, job, seed)).collect();
        let rate = rate * file.limit_share;
        let burst = file.burst + file.burst_seconds * rate;
        let workers = ((rate * file.service / 1000.0).round() as usize).max(1);
        Self {
            file: file.clone(),
            rate,
            job,
            tokens: burst + 1.0,
            filled_at: 0.0,
            times: VecDeque::new(),
            opened_at: f64::NEG_INFINITY,
            count: 0.0,
            before: 0.0,
            blocked_until: f64::NEG_INFINITY,
            free_at: vec![0.0; workers],
            phase: file.window * Entropy::from_seed(seed).child("phase").unit(),
            also,
            asked_at: f64::NEG_INFINITY,
            slow_left: 0,
            in_flight: 0,
        }
    }

    pub(crate) fn rate_at(&self, now: f64) -> f64 {
        let share = now / self.job;
        let shift = self.file.shifts.iter().rev().find(|shift| share >= shift[0]);
        self.rate * shift.map_or(1.0, |shift| shift[1])
    }

    fn refusal(&self, now: f64, wait: f64) -> Reply {
        let (answer, after) = match self.file.refusal.as_str() {
            "503" => (Answer::Unavailable, 0.0),
            "drop" => (Answer::Dropped, 0.0),
            "timeout" => (Answer::TimedOut, 2.0),
            _ => (Answer::Refused, 0.0),
        };
        let told = self.file.retry_after.seconds(now + self.phase, wait);
        let retry_after = told.map(Duration::from_secs_f64);
        Reply { answer, after, advice: Advice { retry_after, ..Advice::default() } }
    }

    /// Says in an answer's head how much is left for how long, in whole seconds.
    fn state(&self, advice: &mut Advice, quota: f64, left: f64, reset: f64) {
        if self.file.headers != Headers::None {
            let is_wide = self.file.headers == Headers::WithWidth;
            advice.window = is_wide.then(|| Duration::from_secs_f64(self.file.window));
            advice.quota = Some(quota as u64);
            advice.remaining = Some(left.max(0.0) as u64);
            advice.reset_after = Some(Duration::from_secs_f64(reset.ceil()));
        }
    }

    fn accepted(&self, rng: &mut Entropy) -> Reply {
        let spread = between(rng, 0.9, 1.1);
        Reply {
            answer: Answer::Accepted,
            after: self.file.service / 1000.0 * spread,
            advice: Advice::default(),
        }
    }

    pub(crate) fn arrive(&mut self, now: f64, rng: &mut Entropy) -> Reply {
        let is_faulty = self.file.refuses + self.file.fails > 0.0;
        let draw = if is_faulty { between(rng, 0.0, 1.0) } else { 1.0 };
        if draw < self.file.refuses {
            return self.refusal(now, 1.0);
        }
        if draw < self.file.refuses + self.file.fails {
            let is_unavailable = between(rng, 0.0, 3.0) < 1.0;
            let answer = if is_unavailable { Answer::Unavailable } else { Answer::Failed };
            return Reply { answer, after: 0.001, advice: Advice::default() };
        }
        let mut reply = self.judge(now, rng);
        if let Some((answers, idle, slower)) = self.file.wakes {
            if now - self.asked_at > idle {
                self.slow_left = answers;
            }
            self.asked_at = now;
            if self.slow_left > 0 {
                self.slow_left -= 1;
                reply.after += slower / 1000.0;
            }
        }
        for limiter in &mut self.also {
            if reply.answer != Answer::Accepted {
                break;
            }
            limiter.in_flight = self.in_flight;
            let next = limiter.arrive(now, rng);
            reply = match next.answer {
                Answer::Accepted => Reply { after: reply.after.max(next.after), ..reply },
                _ => next,
            };
        }
        if self.file.lies {
            reply.advice = lie(rng, reply.advice);
        }
        reply
    }

    /// When the window that holds `now` opened.
    fn edge_before(&self, now: f64) -> f64 {
        let window = self.file.window;
        ((now + self.phase) / window).floor() * window - self.phase
    }

    fn judge(&mut self, now: f64, rng: &mut Entropy) -> Reply {
        let rate = self.rate_at(now);
        let burst = self.file.burst + self.file.burst_seconds * rate;
        let window = self.file.window;
        match self.file.kind.as_str() {
            "bucket" => {
                self.tokens = (self.tokens + (now - self.filled_at) * rate).min(burst + 1.0);
                self.filled_at = now;
                if self.tokens >= 1.0 {
                    self.tokens -= 1.0;
                    self.accepted(rng)
                } else {
                    self.refusal(now, (1.0 - self.tokens) / rate)
                }
            }
            "queue" => {
                let start = self.free_at[0].max(now);
                if (start - now) * rate > burst {
                    return self.refusal(now, 1.0);
                }
                self.free_at[0] = start + 1.0 / rate;
                Reply { after: start - now, ..self.accepted(rng) }
            }
            "fixed" | "penalty" => {
                if now < self.blocked_until {
                    return self.refusal(now, self.blocked_until - now);
                }
                let quota = (rate * window).round();
                if now >= self.opened_at + window {
                    self.count = 0.0;
                    self.opened_at = if self.file.aligned { self.edge_before(now) } else { now };
                }
                self.count += 1.0;
                let reset = self.opened_at + window - now;
                if self.count > quota && self.file.kind == "penalty" {
                    self.blocked_until = now + self.file.block;
                    return self.refusal(now, self.file.block);
                }
                let mut reply =
                    if self.count > quota { self.refusal(now, reset) } else { self.accepted(rng) };
                self.state(&mut reply.advice, quota, quota - self.count, reset);
                reply
            }
            // What the last window took fades as the present one passes; by the clock. `counter_counts_refused`:
            // as HAProxy's `http_req_rate`.
            "sliding_counter" | "counter_counts_refused" => {
                let quota = (rate * window).round();
                let edge = self.edge_before(now);
                if edge > self.opened_at {
                    let is_next = edge < self.opened_at + 1.5 * window;
                    self.before = if is_next { self.count } else { 0.0 };
                    (self.count, self.opened_at) = (0.0, edge);
                }
                let faded = |at: f64| self.before * (1.0 - (at - edge) / window);
                if self.count + faded(now) < quota {
                    self.count += 1.0;
                    self.accepted(rng)
                } else {
                    if self.file.kind == "counter_counts_refused" {
                        self.count += 1.0;
                    }
                    let most = (quota - self.count).max(0.0);
                    let wait = (1.0 - most / self.before.max(1.0)) * window - (now - edge);
                    self.refusal(now, wait.max(0.001))
                }
            }
            "moving" | "counts_refused" => {
                let quota = (rate * window).round() as usize;
                while self.times.front().is_some_and(|time| *time <= now - window) {
                    self.times.pop_front();
                }
                let is_taken = self.times.len() < quota;
                if is_taken || self.file.kind == "counts_refused" {
                    self.times.push_back(now);
                }
                if !is_taken && self.file.kind == "counts_refused" {
                    self.times.pop_front();
                }
                let wait = self.times.front().map_or(1.0, |time| time + window - now);
                let mut reply = if is_taken { self.accepted(rng) } else { self.refusal(now, wait) };
                let left = quota.saturating_sub(self.times.len());
                self.state(&mut reply.advice, quota as f64, left as f64, wait);
                reply
            }
            "concurrency" => {
                let cap = match self.file.cap {
                    0 => (rate * self.file.service / 1000.0).round().max(1.0) as u32,
                    cap => cap,
                };
                if self.in_flight > cap { self.refusal(now, 1.0) } else { self.accepted(rng) }
            }
            // No limit at all.
            "open" => self.accepted(rng),
            "overload" => {
                // Workers with a queue; whoever waits too long gets an error.
                let worker = (0..self.free_at.len())
                    .min_by(|a, b| self.free_at[*a].total_cmp(&self.free_at[*b]))
                    .unwrap_or(0);
                let start = self.free_at[worker].max(now);
                if start - now > 1.0 {
                    return Reply {
                        answer: Answer::Failed,
                        after: 0.001,
                        advice: Advice::default(),
                    };
                }
                let work = self.file.service / 1000.0 * between(rng, 0.7, 1.3);
                self.free_at[worker] = start + work;
                let done = self.accepted(rng);
                Reply { after: start - now + work, ..done }
            }
            other => panic!("no such kind of server: {other}"),
        }
    }
}

/// Negative, huge, of other centuries, contradictory: what `fetch` makes of it.
fn lie(rng: &mut Entropy, advice: Advice) -> Advice {
    let count = |draw: f64| Some((1e9_f64.powf(draw) - 1.0) as u64);
    let time = |draw: f64| Some(Duration::from_secs_f64(3e7_f64.powf(draw) - 1.0));
    let mut draw = || between(rng, 0.0, 1.0);
    Advice {
        retry_after: advice.retry_after,
        quota: count(draw()),
        window: time(draw()).filter(|it| it.as_millis() % 2 == 0),
        remaining: count(draw()),
        reset_after: time(draw()),
        nonsense: draw() < 0.5,
    }
}

/// An even draw.
pub(crate) fn between(rng: &mut Entropy, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.unit()
}
