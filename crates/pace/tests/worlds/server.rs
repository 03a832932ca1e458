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
    #[serde(default)]
    pub(crate) window: f64,
    #[serde(default)]
    pub(crate) block: f64,
    /// `429`, `503`, `drop`, `timeout`.
    #[serde(default = "status")]
    pub(crate) refusal: String,
    #[serde(default)]
    pub(crate) headers: bool,
    #[serde(default)]
    pub(crate) retry_after: bool,
    /// Milliseconds of work for a request.
    #[serde(default)]
    pub(crate) service: f64,
    #[serde(default)]
    pub(crate) aligned: bool,
    /// From these shares of the job on, the limit is this share of itself.
    #[serde(default)]
    pub(crate) shifts: Vec<[f64; 2]>,
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
    blocked_until: f64,
    // queue and workers
    free_at: Vec<f64>,
    pub(crate) in_flight: u32,
}

impl Server {
    pub(crate) fn new(file: &ServerFile, rate: f64, job: f64) -> Self {
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
            blocked_until: f64::NEG_INFINITY,
            free_at: vec![0.0; workers],
            in_flight: 0,
        }
    }

    pub(crate) fn rate_at(&self, now: f64) -> f64 {
        let share = now / self.job;
        let shift = self.file.shifts.iter().rev().find(|shift| share >= shift[0]);
        self.rate * shift.map_or(1.0, |shift| shift[1])
    }

    fn refusal(&self, wait: f64) -> Reply {
        let (answer, after) = match self.file.refusal.as_str() {
            "503" => (Answer::Unavailable, 0.0),
            "drop" => (Answer::Dropped, 0.0),
            "timeout" => (Answer::TimedOut, 2.0),
            _ => (Answer::Refused, 0.0),
        };
        let mut advice = Advice::default();
        if self.file.retry_after {
            advice.retry_after = Some(Duration::from_secs_f64(wait.ceil().max(1.0)));
        }
        Reply { answer, after, advice }
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
                    self.refusal((1.0 - self.tokens) / rate)
                }
            }
            "queue" => {
                let start = self.free_at[0].max(now);
                if (start - now) * rate > burst {
                    return self.refusal(1.0);
                }
                self.free_at[0] = start + 1.0 / rate;
                Reply { after: start - now, ..self.accepted(rng) }
            }
            "fixed" | "penalty" => {
                if now < self.blocked_until {
                    return self.refusal(self.blocked_until - now);
                }
                let quota = (rate * window).round();
                if now >= self.opened_at + window {
                    self.count = 0.0;
                    self.opened_at =
                        if self.file.aligned { (now / window).floor() * window } else { now };
                }
                self.count += 1.0;
                let reset = self.opened_at + window - now;
                if self.count > quota && self.file.kind == "penalty" {
                    self.blocked_until = now + self.file.block;
                    return self.refusal(self.file.block);
                }
                let mut reply =
                    if self.count > quota { self.refusal(reset) } else { self.accepted(rng) };
                if self.file.headers {
                    reply.advice.quota = Some(quota as u64);
                    reply.advice.window = Some(Duration::from_secs_f64(window));
                    reply.advice.remaining = Some((quota - self.count).max(0.0) as u64);
                    reply.advice.reset_after = Some(Duration::from_secs_f64(reset.ceil()));
                }
                reply
            }
            "moving" | "counts_refused" => {
                let quota = (rate * window).round() as usize;
                while self.times.front().is_some_and(|time| *time <= now - window) {
                    self.times.pop_front();
                }
                if self.times.len() < quota {
                    self.times.push_back(now);
                    self.accepted(rng)
                } else {
                    if self.file.kind == "counts_refused" {
                        self.times.push_back(now);
                        self.times.pop_front();
                    }
                    let wait = self.times.front().map_or(1.0, |time| time + window - now);
                    self.refusal(wait)
                }
            }
            "concurrency" => {
                // The limit is a rate; the cap is what the service time makes of it.
                let cap = (rate * self.file.service / 1000.0).round().max(1.0) as u32;
                if self.in_flight > cap { self.refusal(1.0) } else { self.accepted(rng) }
            }
            // No limit at all, and every now and then a refusal or a failure all the same.
            "noise" => match between(rng, 0.0, 1.0) {
                draw if draw < 0.005 => self.refusal(1.0),
                draw if draw < 0.025 => {
                    Reply { answer: Answer::Failed, after: 0.001, advice: Advice::default() }
                }
                draw if draw < 0.035 => {
                    Reply { answer: Answer::Unavailable, after: 0.001, advice: Advice::default() }
                }
                _ => self.accepted(rng),
            },
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

/// A network's latency one way, in seconds.
pub(crate) fn one_way(rng: &mut Entropy, latency: f64) -> f64 {
    let tail = -between(rng, 0.001, 1.0).ln();
    latency / 2.0 * (1.0 + 0.15 * tail)
}

/// An even draw.
pub(crate) fn between(rng: &mut Entropy, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.unit()
}
