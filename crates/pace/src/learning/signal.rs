//! What answers mean for the pace, where one alone does not say.

use super::{LearningPace, Mode, RATE_MIN, Then};
use crate::{
    Answer, Meaning, Observation,
    trace::{Kind, Why},
};

/// A sum of evidence that forgets what speaks against it: Page's CUSUM ("Continuous inspection
/// schemes", Biometrika 41, 1954), whose steps are the logarithms of likelihood ratios as in Wald's
/// sequential test.
#[derive(Debug, Clone, Copy, Default)]
struct Cusum(f32);

impl Cusum {
    /// Takes an event after so many answers that were none; `weight` speaks for a cause, each of
    /// the others with `against` for chance.
    fn take(&mut self, others: f32, weight: f32, against: f32) -> f32 {
        self.0 = (self.0 - against * others).max(0.0) + weight;
        self.0
    }
}

/// Of the answers around a sign, so large a share is ambiguous.
const SHARE_OF_SIGN: f32 = 0.5;
/// Evidence that is enough for a limiter that closes the door, and for a server in trouble.
const SILENT_ENOUGH: f32 = 4.5;
const FAILED_ENOUGH: f32 = 6.5;
/// The share of answers that is ambiguous for no reason: at least and at most, and its memory.
const NOISE_MIN: f32 = 0.02;
const NOISE_MAX: f32 = 0.15;
const NOISE_ANSWERS: f32 = 128.0;
/// Single ones that keep coming at most so many answers apart are noise: no limiter that we stay
/// under refuses so often.
const NEAR: u32 = 10;
const OFTEN: u32 = 40;
const ALONE_MIN: u32 = 6;

/// Ambiguous answers of one sort.
#[derive(Debug, Clone, Copy, Default)]
struct Ambiguous {
    /// Answers since the last.
    since: u32,
    evidence: Cusum,
    /// Their share among the answers.
    share: f32,
    /// Alone, and yet not rare, up to the last.
    alone: u32,
    /// They came together once: since then one is enough, until they prove to be noise.
    known: bool,
}

impl Ambiguous {
    fn count(&mut self) {
        self.since = self.since.saturating_add(1);
    }

    fn is_sign(&mut self, enough: f32) -> bool {
        let others = self.since.saturating_sub(1);
        self.since = 0;
        self.share = self.share * (1.0 - 1.0 / NOISE_ANSWERS).powi(others.min(10_000) as i32)
            + 1.0 / NOISE_ANSWERS;
        self.alone = match others {
            0..=NEAR => self.alone,
            _ if others <= OFTEN => self.alone + 1,
            _ => 0,
        };
        let noise = self.share.clamp(NOISE_MIN, NOISE_MAX);
        let weight = (SHARE_OF_SIGN / noise).ln();
        let against = ((1.0 - noise) / (1.0 - SHARE_OF_SIGN)).ln();
        let is_sign = self.evidence.take(others as f32, weight, against) >= enough;
        self.known |= is_sign && self.alone < ALONE_MIN;
        if self.alone >= ALONE_MIN {
            self.known = false;
        }
        self.known || is_sign
    }
}

/// Explicit refusals below a limit that has held: the weight of each, what each request between
/// them takes away, and how much is enough. A limit that fell refuses many at once; one that is
/// a little too high refuses a few in a hundred.
const FALL: (f32, f32, f32) = (3.0, 0.2, 5.5);
const EXCESS: (f32, f32, f32) = (1.9, 0.017, 3.6);
/// The same where refusals have come without a reason before.
const EXCESS_NOISY: (f32, f32, f32) = (1.2, 0.036, 5.0);
/// The same for refusals far below a rate that was taken for long: they are by chance.
const CHANCE: (f32, f32, f32) = (1.0, 0.004, 2.5);
/// After so many without a reason.
const NOISY_MIN: u8 = 12;

/// How many were accepted since the last event, which is now the one that comes after so many in total.
fn others_since(last: &mut u32, accepted: u64) -> f32 {
    let accepted = accepted as u32;
    let others = accepted.wrapping_sub(std::mem::replace(last, accepted));
    others.min(1 << 20) as f32
}

/// Tells noise from a limit that does not say its name.
#[derive(Debug, Clone, Default)]
pub(super) struct Signal {
    silent: Ambiguous,
    failed: Ambiguous,
    fall: Cusum,
    excess: Cusum,
    /// Refusals that no rate explains: when in total the last came, and whether they are told from a limit.
    chance: Cusum,
    chance_at: u32,
    by_chance: bool,
    /// Accepted in total at the last lone refusal, and how many there were.
    lone_at: u32,
    lone: u8,
}

impl Signal {
    pub(super) fn remembering(silent: bool) -> Self {
        let mut signal = Self::default();
        signal.silent.known = silent;
        signal
    }

    /// Whether a refusal at a rate that was taken for long is one by chance: nothing follows it.
    pub(super) fn is_lone(&mut self, accepted: u64) -> bool {
        let others = others_since(&mut self.lone_at, accepted);
        let is_noisy = self.lone >= NOISY_MIN || self.is_noisy();
        let excess = if is_noisy { EXCESS_NOISY } else { EXCESS };
        let is_fall = self.fall.take(others, FALL.0, FALL.1) >= FALL.2;
        let is_excess = self.excess.take(others, excess.0, excess.1) >= excess.2;
        if is_fall || is_excess {
            (self.fall, self.excess) = (Cusum(0.0), Cusum(0.0));
            self.lone = 0;
            return false;
        }
        self.lone = self.lone.saturating_add(1);
        true
    }

    /// Whether a refusal far below a rate that was taken for long is one of many.
    pub(super) fn is_chance(&mut self, accepted: u64) -> bool {
        let others = others_since(&mut self.chance_at, accepted);
        if self.chance.take(others, CHANCE.0, CHANCE.1) < CHANCE.2 {
            return false;
        }
        (self.chance, self.by_chance) = (Cusum(0.0), true);
        true
    }

    /// They were of the rate after all.
    pub(super) fn no_chance(&mut self) {
        self.by_chance = false;
    }

    /// Whether requests fail or are refused without a reason, as no limiter does.
    pub(super) fn is_noisy(&self) -> bool {
        self.by_chance || !self.failed.known && self.failed.share > 1.5 / NOISE_ANSWERS
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
            Answer::Unavailable | Answer::Dropped if self.silent.is_sign(SILENT_ENOUGH) => {
                Meaning::Refused
            }
            Answer::Failed | Answer::TimedOut if self.failed.is_sign(FAILED_ENOUGH) => {
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
        if in_flight >= 4 && !self.concurrency.confirmed {
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
