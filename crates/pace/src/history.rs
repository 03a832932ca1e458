//! How much was accepted when: exact totals, and counts by time for rates over the near past.

/// Width of a bin in milliseconds.
const BIN: u16 = 20;
/// Bins kept: 1.28 s.
const BINS: usize = 64;
/// Widths of windows that servers use, in seconds.
pub(crate) const WIDTHS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 3600.0];

/// Those of them for which it is known what left within them.
pub(crate) const USUAL: usize = 7;

/// The same for what was sent, over longer windows: 5 s, 60 s.
const MIDDLE: u16 = 50;
const MIDDLE_BINS: usize = 101;
const COARSE: u16 = 400;
const COARSE_BINS: usize = 152;

/// A window that opens with the first request after the last one closed.
#[derive(Debug, Clone, Copy, Default)]
struct FirstHit {
    opened_at: f64,
    /// Its answer came so many seconds later: the server met it in between.
    late: f32,
    accepted: u32,
}

/// Accepted requests by the time they left, in seconds on the monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct History {
    accepted_bins: Bins<BINS>,
    sent_bins: Bins<BINS>,
    sent_middle: Bins<MIDDLE_BINS>,
    sent_coarse: Bins<COARSE_BINS>,
    first_hits: [FirstHit; WIDTHS.len()],
    /// All that was ever accepted.
    pub(crate) accepted: u64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            accepted_bins: Bins::new(BIN),
            sent_bins: Bins::new(BIN),
            sent_middle: Bins::new(MIDDLE),
            sent_coarse: Bins::new(COARSE),
            first_hits: [FirstHit { opened_at: f64::NEG_INFINITY, ..FirstHit::default() };
                WIDTHS.len()],
            accepted: 0,
        }
    }

    /// One that left at `at` was accepted, `late` seconds later.
    pub(crate) fn accept(&mut self, at: f64, late: f64) {
        self.accepted += 1;
        self.accepted_bins.add(at);
        for (window, width) in self.first_hits.iter_mut().zip(WIDTHS) {
            if at < window.opened_at + width {
                window.accepted += 1;
            } else {
                *window = FirstHit { opened_at: at, late: late as f32, accepted: 1 };
            }
        }
    }

    /// Accepted requests a second over the last `span` seconds, at most 1.2 s.
    pub(crate) fn rate(&self, now: f64, span: f64) -> f64 {
        self.accepted_bins.rate(now, span)
    }

    pub(crate) fn send(&mut self, at: f64) {
        self.sent_bins.add(at);
        self.sent_middle.add(at);
        self.sent_coarse.add(at);
    }

    /// One that left at `at` was refused: it used nothing.
    pub(crate) fn refuse(&mut self, at: f64) {
        self.sent_bins.remove(at);
        self.sent_middle.remove(at);
        self.sent_coarse.remove(at);
    }

    /// How many left within the last `width` seconds and were not refused, rather more than fewer.
    pub(crate) fn sent_within(&self, now: f64, width: f64) -> u32 {
        if self.sent_bins.reach() >= width {
            self.sent_bins.count(now, width)
        } else if self.sent_middle.reach() >= width {
            self.sent_middle.count(now, width)
        } else {
            self.sent_coarse.count(now, width)
        }
    }

    /// The same, nearer: of the oldest bin as much as lies within.
    pub(crate) fn sent_about(&self, now: f64, width: f64) -> f64 {
        if self.sent_bins.reach() >= width {
            self.sent_bins.about(now, width)
        } else if self.sent_middle.reach() >= width {
            self.sent_middle.about(now, width)
        } else {
            self.sent_coarse.about(now, width)
        }
    }

    /// When the oldest of those is no longer among them.
    pub(crate) fn next_room(&self, now: f64, width: f64) -> f64 {
        if self.sent_bins.reach() >= width {
            self.sent_bins.next_room(now, width)
        } else if self.sent_middle.reach() >= width {
            self.sent_middle.next_room(now, width)
        } else {
            self.sent_coarse.next_room(now, width)
        }
    }

    /// When the window of this width that holds `at` ends, at the latest.
    pub(crate) fn window_end(&self, width: usize, at: f64) -> Option<f64> {
        let late = f64::from(self.first_hits[width].late);
        self.window(width, at).map(|(opened_at, _)| opened_at + late + WIDTHS[width])
    }

    /// What the window of this width held when `at` came, and when it opened.
    pub(crate) fn window(&self, width: usize, at: f64) -> Option<(f64, u32)> {
        let window = self.first_hits[width];
        (at < window.opened_at + WIDTHS[width]).then_some((window.opened_at, window.accepted))
    }
}

/// Whether the counts do not tell two times apart.
pub(crate) fn share_a_bin(one: f64, other: f64) -> bool {
    number(one, BIN) == number(other, BIN)
}

fn seconds(milliseconds: u16) -> f64 {
    f64::from(milliseconds) / 1000.0
}

/// The number of the bin of this width that holds a time.
fn number(at: f64, width: u16) -> i64 {
    (at / seconds(width)).floor() as i64
}

/// Counts by time in a ring.
#[derive(Debug, Clone)]
struct Bins<const N: usize> {
    /// Milliseconds.
    width: u16,
    counts: [u16; N],
    /// The number of the newest bin.
    newest: i64,
}

impl<const N: usize> Bins<N> {
    fn new(width: u16) -> Self {
        Self { width, counts: [0; N], newest: i64::MIN / 2 }
    }

    /// The longest span that can be asked for, seconds.
    fn reach(&self) -> f64 {
        seconds(self.width) * (N - 1) as f64
    }

    fn number(&self, at: f64) -> i64 {
        number(at, self.width)
    }

    fn add(&mut self, at: f64) {
        let bin = self.number(at);
        if bin > self.newest {
            for step in 0..(bin - self.newest).min(N as i64) {
                self.counts[(bin - step).rem_euclid(N as i64) as usize] = 0;
            }
            self.newest = bin;
        }
        if bin > self.newest - N as i64 {
            let count = &mut self.counts[bin.rem_euclid(N as i64) as usize];
            *count = count.saturating_add(1);
        }
    }

    fn remove(&mut self, at: f64) {
        let bin = self.number(at);
        if bin <= self.newest && bin > self.newest - N as i64 {
            let count = &mut self.counts[bin.rem_euclid(N as i64) as usize];
            *count = count.saturating_sub(1);
        }
    }

    fn get(&self, bin: i64) -> u32 {
        let known = bin <= self.newest && bin > self.newest - N as i64;
        if known { u32::from(self.counts[bin.rem_euclid(N as i64) as usize]) } else { 0 }
    }

    fn rate(&self, now: f64, span: f64) -> f64 {
        let bins = ((span / seconds(self.width)).ceil() as i64).clamp(1, N as i64 - 1);
        let newest = self.number(now);
        let count: u32 = (newest - bins..newest).map(|bin| self.get(bin)).sum();
        f64::from(count) / (bins as f64 * seconds(self.width))
    }

    fn count(&self, now: f64, span: f64) -> u32 {
        (self.number(now - span)..=self.number(now)).map(|bin| self.get(bin)).sum()
    }

    fn about(&self, now: f64, span: f64) -> f64 {
        let oldest = self.number(now - span);
        let outside = (now - span) / seconds(self.width) - oldest as f64;
        f64::from(self.count(now, span)) - outside * f64::from(self.get(oldest))
    }

    fn next_room(&self, now: f64, span: f64) -> f64 {
        let oldest = (self.number(now - span)..=self.number(now)).find(|bin| self.get(*bin) > 0);
        oldest.map_or(now, |bin| (bin + 1) as f64 * seconds(self.width) + span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_forget_what_is_older_than_their_span() {
        let mut history = History::new();
        (0..100).for_each(|step| history.accept(f64::from(step) * 0.01, 0.0));
        assert!((history.rate(1.0, 0.5) - 100.0).abs() < 5.0, "{}", history.rate(1.0, 0.5));
        assert!(history.rate(3.0, 0.5) < 0.1);
        assert_eq!(history.accepted, 100);
    }

    #[test]
    fn a_window_opens_with_its_first_request() {
        let mut history = History::new();
        [0.5, 0.6, 1.4, 1.6, 1.7].into_iter().for_each(|at| history.accept(at, 0.0));
        assert_eq!(history.window(0, 1.8), Some((1.6, 2)));
        assert_eq!(history.window(1, 1.8), Some((0.5, 5)));
        assert_eq!(history.window(0, 2.7), None);
    }
}
