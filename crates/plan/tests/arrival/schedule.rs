//! The schedule of least cost, against all schedules there are.

use plan::arrival::schedule::{Question, next_look};
use proptest::prelude::*;

/// The least expected cost from `now` on over all schedules whose looks are at the ends of spans (the
/// last is forced), found by trying them all.
fn least(ends: &[f64], masses: &[f64], never: f64, price: f64, delay: f64) -> f64 {
    let inner = ends.len() - 1;
    (0..1_u32 << inner)
        .map(|chosen| {
            let is_look = |at: usize| at == inner || chosen >> at & 1 == 1;
            let mut cost = 0.0;
            let mut alive: f64 = masses.iter().sum::<f64>() + never;
            let mut waiting: Vec<(f64, f64)> = Vec::new();
            let mut begin = 0.0;
            for (at, end) in ends.iter().enumerate() {
                waiting.push((masses[at], f64::midpoint(begin, *end)));
                begin = *end;
                if is_look(at) {
                    cost += price * alive;
                    for (mass, middle) in waiting.drain(..) {
                        cost += delay * mass * (end - middle);
                        alive -= mass;
                    }
                }
            }
            cost
        })
        .fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn no_schedule_is_cheaper(
        masses in prop::collection::vec(0.0..1.0_f64, 1..9),
        widths in prop::collection::vec(1.0..200.0_f64, 9),
        never in 0.0..1.0_f64,
        delay in 0.001..0.2_f64,
    ) {
        let mut end = 0.0;
        let ends: Vec<f64> =
            widths.iter().take(masses.len()).map(|width| { end += width; end }).collect();
        let prices = vec![delay; masses.len()];
        let question = Question {
            ends: &ends,
            masses: &masses,
            delay_prices: &prices,
            there_now: 0.0,
            there_now_price: delay,
            never,
            now: 0.0,
            nothing_until: 0.0,
            may_look_now: false,
            look_price: 1.0,
        };
        let found = next_look(&question);
        let best = least(&ends, &masses, never, 1.0, delay);
        prop_assert!((found.cost - best).abs() < 1e-6, "{} found, {} is the least", found.cost, best);
        prop_assert!(ends.contains(&found.at));
    }

    #[test]
    fn looks_are_never_in_the_past_and_costs_are_numbers(
        masses in prop::collection::vec(0.0..1.0_f64, 1..30),
        now in 0.0..3000.0_f64,
        there_now in 0.0..1.0_f64,
        never in 0.0..1.0_f64,
        may_look_now: bool,
    ) {
        let ends: Vec<f64> = (1..=masses.len()).map(|at| at as f64 * 100.0).collect();
        let prices = vec![0.03; masses.len()];
        let found = next_look(&Question {
            ends: &ends,
            masses: &masses,
            delay_prices: &prices,
            there_now,
            there_now_price: 0.03,
            never,
            now,
            nothing_until: now / 2.0,
            may_look_now,
            look_price: 1.0,
        });
        prop_assert!(found.at >= now, "{found:?}");
        prop_assert!(found.cost.is_finite() && found.probability.is_finite(), "{found:?}");
    }
}

#[test]
fn news_is_worth_a_look_at_once() {
    let ends = [600.0, 1200.0, 2880.0];
    let question = Question {
        ends: &ends,
        masses: &[0.0, 0.05, 0.0],
        delay_prices: &[1.0 / 30.0; 3],
        there_now: 0.9,
        there_now_price: 1.0 / 30.0,
        never: 0.05,
        now: 700.0,
        nothing_until: 600.0,
        may_look_now: true,
        look_price: 1.0,
    };
    assert!((next_look(&question).at - 700.0).abs() < 1e-9);
    let doubtful = Question { there_now: 0.001, never: 0.949, ..question };
    assert!(next_look(&doubtful).at > 700.0);
}
