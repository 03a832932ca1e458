//! Latency against a baseline that load does not enter.
//!
//! The baseline is the median of answers to requests that had the server nearly to themselves. It
//! is taken anew only when latency stays up although load went down: then the server has become
//! slower, and it is not we who make it so. (Vegas' baseline is captured under load, Gradient2's
//! follows steady time-outs: Netflix/concurrency-limits, issues 165 and 137.)

/// Answers the present latency is judged by.
const RECENT: usize = 7;
/// Answers a baseline needs.
const BASELINE_MIN: u32 = 5;
/// A commit or a busy machine keeps us from reading answers for so long, seconds.
const STALL: f32 = 0.03;

/// See the module. Latencies in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    recent: [f32; RECENT],
    recent_count: u32,
    quiet: [f32; RECENT],
    quiet_count: u32,
    baseline: Option<f32>,
    /// Mean deviation from the baseline when quiet.
    spread: f32,
    /// Since when the last answers are raised.
    raised_since: Option<f32>,
}

impl Latency {
    /// Takes the latency of an accepted request; `quiet`: nothing that we did could have raised it.
    pub(crate) fn take(&mut self, seconds: f64, quiet: bool) {
        let seconds = seconds as f32;
        self.recent[self.recent_count as usize % RECENT] = seconds;
        self.recent_count = self.recent_count.saturating_add(1);
        if !quiet {
            return;
        }
        self.quiet[self.quiet_count as usize % RECENT] = seconds;
        self.quiet_count = self.quiet_count.saturating_add(1);
        match self.baseline {
            None if self.quiet_count < BASELINE_MIN => {}
            None => {
                // The least of the first: a queue may have begun to grow under them already.
                let quiet = taken(&self.quiet, self.quiet_count).iter().copied();
                let least = quiet.fold(f32::INFINITY, f32::min);
                self.spread = least * 0.25;
                self.baseline = Some(least);
            }
            Some(baseline) => {
                // Down at once, up slowly: one slow answer is no slow server.
                let step = if seconds < baseline { 0.2 } else { 0.02 };
                let reach = seconds.min(baseline * 2.0 + 0.005);
                self.baseline = Some(baseline + step * (reach - baseline));
                self.spread += 0.05 * ((reach - baseline).abs() - self.spread);
            }
        }
    }

    /// The server is slower with nothing of ours to do: this is what it is like now.
    pub(crate) fn rebase(&mut self) {
        if self.recent_count >= BASELINE_MIN {
            let recent = taken(&self.recent, self.recent_count);
            let middle = median(recent);
            self.baseline = Some(middle);
            self.spread = deviation(recent, middle);
        }
    }

    pub(crate) fn forget_recent(&mut self) {
        self.recent_count = 0;
    }

    /// The unloaded latency in seconds.
    pub(crate) fn baseline(&self) -> Option<f64> {
        self.baseline.map(f64::from)
    }

    /// By how much latency varies without load, in seconds.
    pub(crate) fn spread(&self) -> f64 {
        f64::from(self.spread)
    }

    pub(crate) fn set_baseline(&mut self, seconds: f64) {
        self.baseline = Some(seconds as f32);
        self.spread = seconds as f32 * 0.2;
    }

    /// The median of the last answers.
    pub(crate) fn recent(&self) -> Option<f64> {
        (self.recent_count >= BASELINE_MIN)
            .then(|| f64::from(median(taken(&self.recent, self.recent_count))))
    }

    /// Whether the last answers took so much longer than the baseline that a queue has formed.
    pub(crate) fn is_raised(&self) -> bool {
        match (self.baseline, self.recent()) {
            (Some(baseline), Some(recent)) => {
                recent > f64::from(baseline * 1.5 + 3.0 * self.spread + 0.004)
            }
            _ => false,
        }
    }

    /// Whether they have been so for long enough that it is no stall of our own: all that was under
    /// way meanwhile is late then, once. Times in seconds.
    pub(crate) fn stays_raised(&mut self, now: f64) -> bool {
        if !self.is_raised() {
            self.raised_since = None;
            return false;
        }
        // So that it keeps its precision.
        let now = (now % 4096.0) as f32;
        let since = *self.raised_since.get_or_insert(now);
        !(since..since + STALL).contains(&now)
    }

    /// Whether the last answers came as if nothing waited.
    pub(crate) fn is_low(&self) -> bool {
        match (self.baseline, self.recent()) {
            (Some(baseline), Some(recent)) => recent < f64::from(baseline * 1.25 + self.spread),
            _ => false,
        }
    }
}

/// Those of the last that were taken at all.
fn taken(last: &[f32; RECENT], count: u32) -> &[f32] {
    &last[..(count as usize).min(RECENT)]
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = [0.0_f32; RECENT];
    let sorted = &mut sorted[..values.len()];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f32::total_cmp);
    sorted.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn deviation(values: &[f32], middle: f32) -> f32 {
    values.iter().map(|value| (value - middle).abs()).sum::<f32>() / values.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_seen_and_a_single_slow_answer_is_not() {
        let mut latency = Latency::default();
        (0..20).for_each(|_| latency.take(0.010, true));
        latency.take(0.2, false);
        assert!(!latency.is_raised());
        (0..6).for_each(|_| latency.take(0.05, false));
        assert!(latency.is_raised());
        assert!((latency.baseline().unwrap() - 0.010).abs() < 0.001);
    }

    #[test]
    fn a_server_that_became_slower_gets_a_new_baseline() {
        let mut latency = Latency::default();
        (0..20).for_each(|_| latency.take(0.010, true));
        (0..8).for_each(|_| latency.take(0.1, false));
        latency.rebase();
        assert!(!latency.is_raised());
    }
}
