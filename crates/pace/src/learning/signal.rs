//! What answers mean for the pace, where one alone does not say.

use super::{LearningPace, Mode, RATE_MIN, Then};
use crate::{
    Answer, Meaning, Observation,
    trace::{Kind, Why},
};

/// Ambiguous answers at most so many answers apart belong together.
const NEAR: u32 = 10;
/// So many together are a sign, of a limiter that closes the door or of a server in trouble.
const SILENT_MIN: u32 = 2;
const FAILED_MIN: u32 = 3;
/// Single ones that keep coming at most so many answers apart are noise: no limiter that we stay
/// under refuses so often.
const NOISE: u32 = 40;
const NOISE_MIN: u32 = 6;
/// So many together are a sign even where there is noise.
const NOISY_MIN: u32 = 5;

/// Ambiguous answers of one sort.
#[derive(Debug, Clone, Copy, Default)]
struct Ambiguous {
    /// Answers since the last.
    since: Option<u32>,
    /// Near to each other, up to the last.
    together: u32,
    /// Alone, and yet not rare, up to the last.
    alone: u32,
    /// They came together once: since then one is enough, until they prove to be noise.
    known: bool,
}

impl Ambiguous {
    fn count(&mut self) {
        self.since = self.since.map(|count| count.saturating_add(1));
    }

    fn is_sign(&mut self, together_min: u32) -> bool {
        match self.since.replace(0) {
            Some(since) if since <= NEAR => {
                self.together += 1;
                self.known |= self.together >= together_min && self.alone < NOISE_MIN;
            }
            Some(since) if since <= NOISE => {
                self.together = 1;
                self.alone += 1;
            }
            _ => {
                self.together = 1;
                self.alone = 0;
            }
        }
        if self.alone >= NOISE_MIN {
            self.known = false;
            return self.together >= NOISY_MIN;
        }
        self.known || self.together >= together_min
    }
}

/// Tells noise from a limit that does not say its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Signal {
    silent: Ambiguous,
    failed: Ambiguous,
}

impl Signal {
    pub(super) fn remembering(silent: bool) -> Self {
        let mut signal = Self::default();
        signal.silent.known = silent;
        signal
    }

    /// Whether silent refusals were told from noise.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.known
    }

    pub(super) fn read(&mut self, answer: Answer) -> Meaning {
        self.silent.count();
        self.failed.count();
        match answer {
            Answer::Accepted => Meaning::Taken,
            Answer::Refused => Meaning::Refused,
            Answer::Unavailable | Answer::Dropped if self.silent.is_sign(SILENT_MIN) => {
                Meaning::Refused
            }
            Answer::Failed | Answer::TimedOut if self.failed.is_sign(FAILED_MIN) => {
                Meaning::Overloaded
            }
            _ => Meaning::Noise,
        }
    }
}

impl LearningPace {
    /// Failures in numbers: less of everything at once, since wasted work lowers what a server can.
    pub(super) fn overloaded(&mut self, observation: &Observation, now: f64) {
        if observation.ticket.epoch != self.epoch || matches!(self.mode, Mode::Blocked(_)) {
            return;
        }
        // One request alone, or much less than is allowed: it is not we who overload it.
        if observation.ticket.in_flight <= 1
            || f64::from(self.history.sent_within(now, 1.0)) < 0.5 * self.rate
        {
            return;
        }
        self.epoch = self.epoch.wrapping_add(1);
        let in_flight = observation.ticket.in_flight;
        if self.kind == Kind::Unknown {
            self.kind = Kind::Overload;
        }
        let limit = self.limit.map_or(0.8 * self.rate, |limit| 0.95 * limit);
        self.limit = Some(limit.max(RATE_MIN));
        if in_flight >= 2 && !self.concurrency.confirmed {
            self.concurrency.cap = Some((in_flight / 2).max(1));
            self.concurrency.at_cap = 0;
        }
        self.rate = (self.rate * 0.5).max(RATE_MIN);
        self.latency.forget_recent();
        self.mode = Mode::Drain { since: now, then: Then::Regain };
        self.tell(Why::ServerFailed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dropped_connection_is_noise_and_two_together_are_a_limit() {
        let mut signal = Signal::default();
        assert_eq!(signal.read(Answer::Dropped), Meaning::Noise);
        assert_eq!(signal.read(Answer::Accepted), Meaning::Taken);
        assert_eq!(signal.read(Answer::Dropped), Meaning::Refused);
        for _ in 0..500 {
            signal.read(Answer::Accepted);
        }
        assert_eq!(signal.read(Answer::Dropped), Meaning::Refused, "known by now");
    }

    #[test]
    fn drops_that_keep_coming_alone_are_noise() {
        let mut signal = Signal::default();
        signal.read(Answer::Dropped);
        signal.read(Answer::Dropped);
        let meanings: Vec<Meaning> = (0..20)
            .map(|_| {
                for _ in 0..25 {
                    signal.read(Answer::Accepted);
                }
                signal.read(Answer::Dropped)
            })
            .collect();
        assert!(meanings[6..].iter().all(|meaning| *meaning == Meaning::Noise), "{meanings:?}");
    }
}
