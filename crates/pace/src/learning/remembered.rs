//! What an earlier run leaves to the next.

use super::{
    Concurrency, DOUBLING, HOLD_REQUESTS, LearningPace, Mode, RATE_FIRST, RATE_MAX, RATE_MIN,
    Window, reopened::Rival, signal::Signal,
};
use crate::{
    memory::Memory,
    trace::{Kind, Why},
};
use env::Moment;
use std::{f64::consts::LN_2, time::Duration};

impl LearningPace {
    /// A controller that begins where an earlier one ended.
    pub fn remembering(concurrency_max: u32, memory: &Memory, now: Moment) -> Self {
        let mut pace = Self::new(concurrency_max, now);
        pace.kind = memory.kind;
        pace.burst = memory.burst.clamp(0.0, RATE_MAX) as f32;
        pace.signal = Signal::remembering(memory.silent);
        pace.penalty = memory.penalty.map(|penalty| penalty.as_secs_f32());
        pace.window = memory
            .window
            .map(|(quota, width)| Window { quota, width: width.as_secs_f64() })
            .filter(|window| window.quota >= 1.0 && window.width > 0.0);
        if let Some(baseline) = memory.baseline {
            pace.latency.set_baseline(baseline.as_secs_f64());
        }
        if let Some(cap) = memory.concurrency {
            pace.concurrency =
                Concurrency { cap: Some(cap.max(1)), confirmed: true, ..Concurrency::default() };
            pace.concurrency.raise_after = HOLD_REQUESTS;
        }
        match memory.limit.filter(|limit| limit.is_finite() && *limit > 0.0) {
            Some(limit) => {
                pace.limit = Some(limit.clamp(RATE_MIN, RATE_MAX));
                pace.credit = f64::from(pace.burst) * 0.9;
                pace.sure = memory.sure;
                pace.settled = pace.limit.filter(|_| memory.sure);
                pace.refusal_cost = memory.refusal_cost.as_secs_f64().min(3600.0);
                pace.hold(now.monotonic.as_secs_f64());
            }
            None => pace.rate = memory.held.clamp(RATE_FIRST, RATE_MAX),
        }
        pace.tell(Why::Remembered);
        pace
    }

    /// What to keep for the next run.
    pub fn memory(&self) -> Memory {
        let whole = |ours: f64| ours / self.scale;
        // More was taken at first than any window of that width would have.
        let is_burst = |window: &Window| self.burst() > 1.1 * window.quota;
        let rival = self.rival.map(Rival::window);
        // Whether it was a window is not known yet: that is the careful reading.
        let window = self.window.or(rival).filter(|window| !is_burst(window));
        let stated =
            self.quota.stated().map(|(quota, width)| Window { quota: quota as f64, width });
        let window = window.or(stated);
        let kind = match self.kind {
            _ if self.rival.is_some() => Kind::Window,
            Kind::Window if window.is_none() && self.window.is_some() => Kind::Bucket,
            kind => kind,
        };
        // A guess far above what the whole time took is not remembered.
        let taken = self.history.accepted as f64 / self.busy.max(1.0);
        let sure = self.sure || stated.is_some() || self.rival.is_some_and(Rival::is_round);
        let is_wild = |limit: &f64| !sure && *limit > 2.0 * taken;
        let limit = stated.or(rival).map(|it| it.quota / it.width).or(self.limit).or(self.settled);
        let limit = limit.map(|limit| if is_wild(&limit) { taken } else { limit });
        // Nor is it forgotten that it was refused.
        let refused = self.last_refusal.filter(|_| !self.concurrency.confirmed);
        let limit = limit.or(refused.map(|_| taken)).map(|limit| limit.max(RATE_MIN));
        let burst = limit.map_or(f64::from(self.burst), |limit| self.burst_beyond(limit));
        Memory {
            kind,
            limit: limit.map(whole),
            sure,
            burst: if kind == Kind::Bucket { burst } else { 0.0 },
            concurrency: self
                .concurrency
                .cap
                .filter(|_| self.concurrency.confirmed)
                .map(|cap| whole(f64::from(cap)).round() as u32),
            baseline: self.latency.baseline().and_then(|it| Duration::try_from_secs_f64(it).ok()),
            window: window.and_then(|window| {
                Some((whole(window.quota), Duration::try_from_secs_f64(window.width).ok()?))
            }),
            penalty: self.penalty.and_then(|it| Duration::try_from_secs_f32(it).ok()),
            silent: self.signal.is_silent(),
            refusal_cost: Duration::try_from_secs_f64(self.refusal_cost).unwrap_or_default(),
            held: whole(f64::from(self.held)),
            learned_at: self.wall,
        }
    }

    /// Takes a limit that is known for this time of day, in place of the present one.
    pub fn adopt(&mut self, limit: f64, now: Moment) {
        let ours = limit * self.scale;
        if ours.is_finite() && ours > 0.0 && !matches!(self.mode, Mode::Blocked(_)) {
            self.wall = now.wall;
            self.window = None;
            self.sure = true;
            self.fell_from = 0.0;
            self.probe_excess = None;
            self.limit = Some(ours.clamp(RATE_MIN, RATE_MAX));
            self.hold(now.monotonic.as_secs_f64());
            self.tell(Why::Remembered);
        }
    }

    /// What the server takes at once beyond its rate.
    pub(super) fn burst(&self) -> f64 {
        self.limit.or(self.settled).map_or(f64::from(self.burst), |limit| self.burst_beyond(limit))
    }

    /// The same, by the run before the first refusal, were the limit this one.
    pub(super) fn burst_beyond(&self, limit: f64) -> f64 {
        let Some((taken, seconds)) = self.first_run else { return f64::from(self.burst) };
        let (taken, seconds) = (f64::from(taken) - 1.0, f64::from(seconds));
        let least = taken - limit * seconds;
        // While the rate doubled its way up to the limit the bucket stayed full.
        let doubling = DOUBLING.max(self.round_trip());
        let rate = RATE_FIRST + taken * LN_2 / doubling;
        let below = (limit - RATE_FIRST).max(0.0) * doubling / LN_2;
        let above = limit * doubling * ((rate / limit).max(1.0).log2() + 1.0);
        let most = if self.gathers { taken - below - above } else { 0.0 };
        least.max(most).max(0.0)
    }
}
