//! Hazard models: gradients, fitting, and the choice among them.

use plan::arrival::{
    Distribution,
    choice::{Kept, train},
    features::{FEATURES, Features},
    hazard::{Empirical, Example, Logistic, Model},
    network::Network,
};
use proptest::prelude::*;

use crate::habits::chance;

const SPANS: usize = 12;

/// A cell whose hazard depends on something that the experts do not know: `constant` features.
fn example(at: i32) -> Example {
    let is_late = chance(0, at, 20) < 0.5;
    let mut rows = vec![[0.0; FEATURES]; SPANS];
    for (span, row) in rows.iter_mut().enumerate() {
        row[0] = -2.0;
        row[7] = span as f32 / SPANS as f32 - 0.5;
        row[9] = f32::from(u8::from(is_late));
        row[FEATURES - 1] = 1.0;
    }
    let came = if is_late { 8.0 } else { 2.0 } + chance(0, at, 21) * 2.0;
    let ends = (1..=SPANS).map(|at| at as f64 * 60.0).collect();
    Example {
        period: at,
        features: Features(rows),
        ends,
        after: came.floor() * 60.0,
        by: came.ceil() * 60.0,
    }
}

proptest! {
    #[test]
    fn the_gradient_is_that_of_the_likelihood(
        odds in prop::collection::vec(-3.0..2.0_f64, SPANS),
        after in 0.0..600.0_f64,
        width in 1.0..400.0_f64,
        comes: bool,
    ) {
        let by = if comes { (after + width).min(720.0) } else { f64::INFINITY };
        let example = Example { after, by, ..example(1) };
        let hazards = |odds: &[f64]| -> Vec<f64> {
            odds.iter().map(|odds| 1.0 / (1.0 + (-odds).exp())).collect()
        };
        let (_, gradient) = example.gradient(&hazards(&odds));
        for at in 0..SPANS {
            let moved = |by: f64| {
                let mut odds = odds.clone();
                odds[at] += by;
                example.gradient(&hazards(&odds)).0
            };
            let numeric = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            prop_assert!((numeric - gradient[at]).abs() < 1e-4, "{numeric} and {}", gradient[at]);
        }
    }
}

#[test]
fn fitted_models_learn_what_the_experts_do_not_know() {
    let fitted: Vec<Example> = (0..600).map(example).collect();
    let held_back: Vec<Example> = (600..800).map(example).collect();
    let mut logistic = Logistic::default();
    logistic.fit(&fitted);
    let mut network = Network::new(1);
    network.fit(&fitted);
    let empirical = Empirical.score(&held_back);
    assert!(logistic.score(&held_back) > empirical + 0.05, "{}", logistic.score(&held_back));
    // Early or late is no line: only the network can say it.
    assert!(network.score(&held_back) > logistic.score(&held_back) + 0.05);
}

#[test]
fn the_best_on_what_was_held_back_is_chosen() {
    let examples: Vec<Example> = (0..800).map(example).collect();
    assert!(train(&examples[..20], 1, 0.0).is_none(), "nothing to learn from");
    let trained = train(&examples, 1, 0.0).unwrap();
    assert!(matches!(trained.model, Kept::Network(_)), "{:?}", trained.scores);
    assert_eq!(trained.scores.len(), 3);
    assert_eq!(trained.examples, (600, 200));
}

#[test]
fn a_distribution_keeps_its_probabilities_when_compressed() {
    let masses: Vec<f64> = (0..288).map(|at| chance(1, at, 22)).collect();
    let packed = Distribution::compress(&masses, 20.0, 10.0, 2880.0);
    let total: f64 = masses.iter().sum::<f64>() + 20.0;
    assert!((packed.masses().sum::<f64>() + packed.never() - 1.0).abs() < 1e-2);
    for at in [30.0, 700.0, 1500.0, 2880.0] {
        let exact: f64 = masses[..(at / 10.0) as usize].iter().sum::<f64>() / total;
        assert!((packed.by(at) - exact).abs() < 0.02, "{at}: {} and {exact}", packed.by(at));
    }
    let half = packed.quantile(0.5).unwrap();
    assert!((packed.by(half) - 0.5).abs() < 0.01);
    assert_eq!(packed.quantile(0.999), None);
}
