//! Retries are paid for by first attempts, so that a failing source is not asked many times as
//! much as a healthy one.
//!
//! Source: the "retry budget" of Finagle and Linkerd; here without time, so that it repeats in
//! every replay.

/// Retries that need no first attempt, so that a source with few cells is retried at all.
const FLOOR: u32 = 10;

/// How far the balance may grow beyond the floor, in retries: a long healthy time does not pay for
/// a storm.
const SAVED_MAX: f64 = 100.0;

/// The retries one source may make: never more than `ratio` of its first attempts, plus a floor.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    ratio: f64,
    floor: f64,
    // Invariant: between 0 and `floor + SAVED_MAX`; in retries.
    balance: f64,
}

impl RetryBudget {
    /// A budget of ten retries at once and `ratio` (0 to 1) more for each first attempt.
    pub fn new(ratio: f64) -> Self {
        Self::with_floor(ratio, FLOOR)
    }

    /// A budget of `floor` retries at once and `ratio` (0 to 1) more for each first attempt.
    pub fn with_floor(ratio: f64, floor: u32) -> Self {
        let floor = f64::from(floor);
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Self { ratio, floor, balance: floor }
    }

    /// A first attempt at a look was made.
    pub fn note_first_attempt(&mut self) {
        self.balance = (self.balance + self.ratio).min(self.floor + SAVED_MAX);
    }

    /// Whether a retry may be made now; if so, it is paid for.
    pub fn allow(&mut self) -> bool {
        // A hair below 1, so that five times a fifth is one.
        let allowed = self.balance >= 1.0 - 1e-9;
        if allowed {
            self.balance = (self.balance - 1.0).max(0.0);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays `f` (first attempt) and `r` (a wish to retry); counts allowed retries.
    fn play(budget: &mut RetryBudget, events: &str) -> usize {
        let allowed = |event| match event {
            'f' => {
                budget.note_first_attempt();
                false
            }
            _ => budget.allow(),
        };
        events.chars().map(allowed).filter(|allowed| *allowed).count()
    }

    #[test]
    fn five_first_attempts_pay_for_one_retry() {
        let mut budget = RetryBudget::with_floor(0.2, 0);
        assert_eq!(play(&mut budget, "ffffr"), 0);
        assert_eq!(play(&mut budget, "frr"), 1);
    }

    #[test]
    fn the_floor_is_there_without_any_first_attempt() {
        assert_eq!(play(&mut RetryBudget::with_floor(0.2, 3), "rrrrr"), 3);
    }

    #[test]
    fn a_long_healthy_time_does_not_pay_for_a_storm() {
        let mut budget = RetryBudget::new(0.2);
        play(&mut budget, &"f".repeat(100_000));
        assert_eq!(play(&mut budget, &"r".repeat(1_000)), 110);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_ratio_and_floor(events in "[fr]{0,300}", floor in 0_u32..5) {
            let first = events.chars().filter(|event| *event == 'f').count();
            let allowed = play(&mut RetryBudget::with_floor(0.2, floor), &events);
            prop_assert!(allowed <= first / 5 + floor as usize);
        }
    }
}
