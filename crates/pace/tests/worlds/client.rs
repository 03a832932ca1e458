//! A client that asks for a number of items, each until it has it, paced by a controller.

use crate::server::{Reply, Server, between};
use env::{Entropy, Moment};
use jiff::{SignedDuration, Timestamp};
use pace::{Answer, LearningPace, Observation, Pace, Permit, Ticket};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

/// Gives up on a job after this many times its ideal duration.
const PATIENCE: f64 = 20.0;
/// Requests are numbered so that their answers find the engine.
const ENGINES_MAX: u64 = 8;

#[derive(Debug, Default, Clone)]
pub(crate) struct Score {
    pub(crate) items: u64,
    /// In which anything was wanted.
    pub(crate) seconds: f64,
    pub(crate) refused: u64,
    pub(crate) requests: u64,
    pub(crate) p50: f64,
    pub(crate) finished: bool,
    /// Accepted and refused requests by time of sending.
    pub(crate) log: Vec<(f64, bool)>,
    pub(crate) decisions: Vec<(f64, pace::Kind, f64, u32, String)>,
}

impl Score {
    pub(crate) fn ratio(&self, limit: f64) -> f64 {
        self.seconds / (self.items as f64 / limit)
    }

    pub(crate) fn refused_share(&self) -> f64 {
        self.refused as f64 / self.requests.max(1) as f64
    }

    /// The share refused in the second that begins a second after a fall of the limit.
    pub(crate) fn fallen(&self, fell_at: f64) -> f64 {
        let second = (fell_at + 1.0)..(fell_at + 2.0);
        let within = |it: &&(f64, bool)| second.contains(&it.0);
        let all = self.log.iter().filter(within).count();
        let refused = self.log.iter().filter(within).filter(|it| !it.1).count();
        refused as f64 / all.max(1) as f64
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// More is wanted.
    Polls,
    Arrives(u64),
    Leaves(u64),
    Returns(u64),
    Wakes,
}

struct Request {
    ticket: Ticket,
    left_at: f64,
    reply: Option<Reply>,
}

pub(crate) struct Settings {
    pub(crate) items: u64,
    /// So many are wanted at a time, once in so many seconds; else all at once.
    pub(crate) polls: Option<(u64, f64)>,
    pub(crate) ideal: f64,
    pub(crate) latency: f64,
    pub(crate) jitter: f64,
    pub(crate) stall_one_in: u32,
    pub(crate) seed: u64,
    /// Begins at this time of its clocks.
    pub(crate) begins: f64,
    /// From these seconds on so many engines share the scope; the rest have nothing.
    pub(crate) engines: Vec<(f64, usize)>,
    /// Limits that are known from these seconds on.
    pub(crate) known: Vec<(f64, f64)>,
    /// The wall clock is stepped by an hour to and fro.
    pub(crate) steps: bool,
}

fn moment(time: f64, settings: &Settings) -> Moment {
    let step = if settings.steps && (time as u64) % 7 > 3 { 3600 } else { 0 };
    let wall = Timestamp::from_second(1_767_225_600 + step).unwrap()
        + SignedDuration::from_micros((time * 1e6) as i64);
    Moment { monotonic: Duration::from_secs_f64(time), wall }
}

/// Runs a job to its end.
pub(crate) fn run(paces: &mut [LearningPace], server: &mut Server, settings: &Settings) -> Score {
    let mut rng = Entropy::from_seed(settings.seed);
    let mut events = BinaryHeap::new();
    let mut requests: BTreeMap<u64, Request> = BTreeMap::new();
    let mut score = Score { items: settings.items, ..Score::default() };
    let mut latencies = Vec::new();
    let mut told = vec![0; paces.len()];
    let (portion, every) = settings.polls.unwrap_or((settings.items, 0.0));
    let (mut waiting, mut done, mut number) = (0, 0, 0);
    let (mut wanted, mut wanted_since) = (0, settings.begins);
    let mut now = settings.begins;
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let mut shared = 0;
    let mut known = settings.known.iter().peekable();
    let mut wakes_at = u64::MAX;
    let polls = settings.items.div_ceil(portion);
    let polled = (0..polls).map(|poll| nanos(now + poll as f64 * every));
    events.extend(polled.map(|at| Reverse((at, Happening::Polls))));
    let end = now + polls as f64 * every + settings.ideal * PATIENCE + 60.0;
    while let Some(Reverse((at, happening))) = events.pop() {
        now = at as f64 / 1e9;
        if now > end {
            break;
        }
        match happening {
            Happening::Polls => {
                if done == wanted {
                    wanted_since = now;
                }
                let more = portion.min(settings.items - wanted);
                wanted += more;
                waiting += more;
            }
            Happening::Arrives(id) => {
                server.in_flight += 1;
                let reply = server.arrive(now - settings.begins, &mut rng);
                let at = nanos(now + reply.after);
                requests.get_mut(&id).unwrap().reply = Some(reply);
                events.push(Reverse((at, Happening::Leaves(id))));
                continue;
            }
            Happening::Leaves(id) => {
                server.in_flight -= 1;
                let at = nanos(now + one_way(&mut rng, settings));
                events.push(Reverse((at, Happening::Returns(id))));
                continue;
            }
            Happening::Returns(id) => {
                let request = requests.remove(&id).unwrap();
                let reply = request.reply.unwrap();
                let latency = (now - request.left_at).max(0.0);
                let engine = (id % ENGINES_MAX) as usize;
                paces[engine].observe(
                    &Observation {
                        ticket: request.ticket,
                        answer: reply.answer,
                        latency: Some(Duration::from_secs_f64(latency)),
                        advice: reply.advice,
                    },
                    moment(now, settings),
                );
                for decision in paces[engine].decisions_since(told[engine]) {
                    score.decisions.push((
                        now - settings.begins,
                        decision.kind,
                        decision.rate,
                        decision.concurrency,
                        decision.why.to_string(),
                    ));
                }
                told[engine] = paces[engine].decisions_total();
                score.requests += 1;
                let accepted = reply.answer == Answer::Accepted;
                score.log.push((request.left_at - settings.begins, accepted));
                if accepted {
                    done += 1;
                    latencies.push(latency);
                    if done == wanted {
                        score.seconds += now - wanted_since;
                    }
                } else {
                    waiting += 1;
                    score.refused += 1;
                }
                if done == settings.items {
                    score.finished = true;
                    break;
                }
            }
            Happening::Wakes => {
                if at != wakes_at {
                    continue;
                }
                wakes_at = u64::MAX;
            }
        }
        let sharing = settings.engines.iter().rev().find(|it| now - settings.begins >= it.0);
        if let Some((_, count)) = sharing.filter(|it| it.1 != shared) {
            shared = *count;
            for (engine, pace) in paces.iter_mut().enumerate() {
                pace.set_share(if engine < shared { 1.0 / shared as f64 } else { 0.0 });
            }
        }
        while let Some((_, limit)) = known.next_if(|it| now - settings.begins >= it.0) {
            for pace in paces.iter_mut() {
                pace.adopt(*limit, moment(now, settings));
            }
        }
        for (engine, pace) in paces.iter_mut().enumerate() {
            while waiting > 0 {
                match pace.permit(moment(now, settings)) {
                    Permit::Now => {
                        let ticket = pace.sent(moment(now, settings));
                        waiting -= 1;
                        number += 1;
                        let id = number * ENGINES_MAX + engine as u64;
                        requests.insert(id, Request { ticket, left_at: now, reply: None });
                        let at = nanos(now + one_way(&mut rng, settings));
                        events.push(Reverse((at, Happening::Arrives(id))));
                    }
                    Permit::At(at) => {
                        // Timers tick in milliseconds, and are late.
                        let late = (at.as_secs_f64() * 1000.0).ceil() / 1000.0
                            + between(&mut rng, 0.0, 0.0004);
                        let is_late = settings.stall_one_in > 0
                            && between(&mut rng, 0.0, f64::from(settings.stall_one_in)) < 1.0;
                        let stall = if is_late { between(&mut rng, 0.0, 0.02) } else { 0.0 };
                        let at = nanos((late + stall).max(now + 1e-6));
                        if at < wakes_at {
                            wakes_at = at;
                            events.push(Reverse((at, Happening::Wakes)));
                        }
                        break;
                    }
                    Permit::WhenFreed => break,
                }
            }
        }
    }
    if !score.finished {
        score.seconds += now - wanted_since;
    }
    latencies.sort_by(f64::total_cmp);
    score.p50 = latencies.get(latencies.len() / 2).copied().unwrap_or(0.0);
    score
}

/// The network's latency one way, in seconds.
fn one_way(rng: &mut Entropy, settings: &Settings) -> f64 {
    let tail = -between(rng, 0.001, 1.0).ln();
    settings.latency / 2.0 * (1.0 + settings.jitter * tail)
}

/// When half a second first took 90 % of what the limit allows.
pub(crate) fn reached(log: &[(f64, bool)], limit: f64, from: f64) -> Option<f64> {
    let mut times: Vec<f64> =
        log.iter().filter(|(at, accepted)| *accepted && *at >= from).map(|(at, _)| *at).collect();
    times.sort_by(f64::total_cmp);
    let span = 0.5_f64.max(4.0 / limit);
    let need = (0.9 * limit * span).floor().max(1.0) as usize;
    times
        .windows(need)
        .find(|window| window[need - 1] - window[0] <= span)
        .map(|w| w[need - 1] - from)
}
