//! What load does to the server: latency, throughput, requests under way.

use super::{
    COMPLETIONS, HOLD_REQUESTS, LearningPace, Mode, RATE_MAX, RATE_MIN, Then, reopened::ends_usual,
};
use crate::{
    Observation,
    trace::{Kind, Why},
};

impl LearningPace {
    pub(super) fn judge_latency(&mut self, observation: &Observation, now: f64) {
        let Some(latency) = observation.latency.map(|latency| latency.as_secs_f64()) else {
            return;
        };
        // The one that had to wait for the answers before it, and the next, follow them closely.
        let before = (self.history.accepted as u32).saturating_sub(1);
        let is_next = self.mode == Mode::Seek && ends_usual(before);
        let quiet = match self.mode {
            Mode::Seek if is_next => false,
            Mode::Seek => observation.ticket.in_flight <= 1 || self.history.accepted <= 8,
            Mode::Hold | Mode::Settle | Mode::Blocked(_) => true,
            Mode::Probe { .. } | Mode::Drain { .. } => false,
        };
        let sent_at = observation.ticket.sent_at.monotonic.as_secs_f64();
        // A server that has just begun is slow with the first and lets the next ones wait for it.
        if sent_at < self.answered_at && self.latency.baseline().is_some() {
            return;
        }
        if let Mode::Drain { since, then } = self.mode {
            if sent_at < since {
                return;
            }
            self.latency.take(latency, false);
            let recent = self.latency.recent();
            let is_over = recent.is_some() && !self.latency.is_raised();
            if is_over {
                self.latency.forget_recent();
            }
            match recent {
                Some(_) if is_over => match then {
                    Then::Probe => self.probe(false),
                    Then::Hold => self.hold(now),
                    Then::Regain => self.mode = Mode::Settle,
                },
                Some(_) if now - since > 4.0 * self.round_trip() + 0.5 => {
                    // Slow although hardly anything is under way: it is the server.
                    self.latency.rebase();
                    self.hold(now);
                }
                _ => {}
            }
            return;
        }
        let raised_before = self.latency.is_raised();
        // One alone waits for nobody of ours.
        let queues = matches!(self.kind, Kind::Queue | Kind::Overload);
        let alone = observation.ticket.in_flight <= 1 && !queues && !is_next;
        self.latency.take(latency, (alone || quiet) && !raised_before);
        if !self.latency.stays_raised(now) || alone {
            return;
        }
        let (Some(baseline), Some(recent)) = (self.latency.baseline(), self.latency.recent())
        else {
            return;
        };
        let seeking = matches!(self.mode, Mode::Seek | Mode::Settle);
        let few = COMPLETIONS / 3;
        let last = match self.mode {
            Mode::Seek | Mode::Settle => few,
            // Before it began hardly anything waited.
            Mode::Probe { taken, .. } => {
                ((self.history.accepted - taken) as usize).clamp(few, COMPLETIONS)
            }
            _ => COMPLETIONS,
        };
        let Some(delivered) = self.delivered(last) else { return };
        let limit = match self.mode {
            // What was sent was served: it is not the load.
            Mode::Hold => self.limit.unwrap_or(delivered).min(delivered.max(self.rate * 0.8)),
            Mode::Probe { .. } => {
                let limit = self.limit.unwrap_or(self.rate);
                delivered.clamp(0.92 * limit, self.rate.max(0.92 * limit))
            }
            _ => delivered.min(self.rate),
        };
        if !matches!(self.kind, Kind::Bucket | Kind::Window | Kind::CountsRefused | Kind::Penalty) {
            self.kind = if recent > 3.0 * baseline && self.kind != Kind::Overload {
                Kind::Queue
            } else {
                Kind::Overload
            };
        }
        self.limit = Some(limit.clamp(RATE_MIN, RATE_MAX));
        let cap = (limit * baseline * 1.5).ceil() as u32 + 1;
        if !self.concurrency.confirmed {
            self.concurrency.cap = Some(cap);
        }
        self.rate = (limit * 0.5).max(RATE_MIN);
        self.latency.forget_recent();
        self.epoch = self.epoch.wrapping_add(1);
        let then = if seeking { Then::Probe } else { Then::Hold };
        self.mode = Mode::Drain { since: now, then };
        self.tell(Why::LatencyRose(baseline, recent));
    }

    /// Throughput under load: completions by time.
    pub(super) fn delivered(&self, last: usize) -> Option<f64> {
        let completed = self.completed as usize;
        let count = (self.completed.wrapping_sub(self.completed_before_pause) as usize).min(last);
        if count < last.min(6) {
            return None;
        }
        let newest = self.completions[(completed - 1) % COMPLETIONS];
        let oldest = self.completions[(completed - count) % COMPLETIONS];
        let seconds = f64::from(newest - oldest);
        (seconds > 0.0).then(|| (count - 1) as f64 / seconds)
    }

    /// A limit on requests under way is told from a rate by asking as fast with fewer under way.
    pub(super) fn judge_concurrency(&mut self, observation: &Observation) {
        let concurrency = &mut self.concurrency;
        let Some(cap) = concurrency.cap else { return };
        // What left before the cap was set says nothing of it.
        if concurrency.trial.is_some() && observation.ticket.epoch != self.epoch {
            concurrency.trial = Some(self.history.accepted as u32);
            return;
        }
        if observation.ticket.in_flight >= cap {
            concurrency.at_cap += 1;
        }
        if let Some(since) = concurrency.trial {
            // As fast as before, and not refused.
            if concurrency.at_cap >= 12 && (self.history.accepted as u32).wrapping_sub(since) >= 24
            {
                concurrency.trial = None;
                concurrency.confirmed = true;
                concurrency.at_cap = 0;
                concurrency.raise_after = HOLD_REQUESTS;
                self.kind = Kind::Concurrency;
                self.tell(Why::InFlight(cap + 1));
            }
        } else if concurrency.confirmed && concurrency.at_cap >= concurrency.raise_after {
            concurrency.at_cap = 0;
            concurrency.cap = Some(cap + 1);
            self.tell(Why::Probing);
        } else if !concurrency.confirmed
            && concurrency.at_cap >= 100
            && !self.latency.is_raised()
            && matches!(self.mode, Mode::Hold | Mode::Probe { .. } | Mode::Seek)
        {
            concurrency.at_cap = 0;
            if self.latency.is_low() {
                concurrency.cap = Some(cap + 1);
            }
        }
    }
}
