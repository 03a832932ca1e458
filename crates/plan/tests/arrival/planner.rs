//! The planner by its calls.

use crate::habits::{COSTS, PRICES, calendar, cases, chance};
use plan::arrival::{
    Ingredients, Opening, Planner, Prices,
    external::{External, INPUTS},
    planner::Lateness,
    replay::play_planner,
};
use std::sync::Arc;

fn opening(entity: u32, day: i32) -> Opening {
    let midnight = f64::from(day) * 1440.0;
    Opening {
        entity,
        period: day,
        day: calendar(day),
        opens_at: midnight,
        deadline: midnight + 2880.0,
        reference: midnight,
    }
}

/// A planner that has seen sixty days of two entities.
fn learned() -> Planner {
    let mut planner = Planner::new(PRICES, Ingredients::default());
    let cases = cases(2, 60, |entity, day| {
        Some(600.0 + f64::from(entity) * 300.0 + 10.0 * chance(entity, day, 30))
    });
    play_planner(&mut planner, &cases, &COSTS);
    planner
}

const NAMES: [&str; 2] = ["one", "two"];

fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_was_learned_survives_a_restart() {
    let mut planner = learned();
    let saved = planner.save(&names());
    let mut restored = Planner::new(PRICES, Ingredients::default());
    assert!(restored.restore(&saved, &names()));
    for planner in [&mut planner, &mut restored] {
        planner.open(opening(0, 60));
    }
    let now = 60.0 * 1440.0;
    assert_eq!(restored.next_look(60, 0, now), planner.next_look(60, 0, now));
    assert_eq!(restored.trained(), planner.trained());
}

#[test]
fn entities_keep_what_was_learned_when_others_come_before_them() {
    let planner = learned();
    let saved = planner.save(&names());
    let mut restored = Planner::new(PRICES, Ingredients::default());
    let more: Vec<String> = ["new", "two", "one"].map(str::to_owned).to_vec();
    assert!(restored.restore(&saved, &more));
    assert_eq!(restored.history(2), planner.history(0));
    assert_eq!(restored.history(1), planner.history(1));
    assert!(restored.history(0).unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let mut planner = learned();
    let before = planner.history(0).cloned();
    assert!(!planner.restore(b"not a planner", &names()));
    assert_eq!(planner.history(0).cloned(), before);
}

#[test]
fn answers_about_unknown_cells_are_ignored() {
    let mut planner = learned();
    planner.sent(99, 7, 0.0);
    planner.answered(99, 7, 0.0, true);
    planner.close((99, 7));
    assert_eq!(planner.next_look(99, 7, 0.0), None);
}

#[test]
fn a_cell_without_time_is_looked_at_once() {
    let mut planner = Planner::new(PRICES, Ingredients::default());
    let wrong = Opening { deadline: 1440.0, ..opening(0, 1) };
    for opening in [wrong, Opening { deadline: -5.0, ..wrong }] {
        planner.open(opening);
        let planned = planner.next_look(1, 0, 1440.0).unwrap();
        assert!((planned.at - 1440.0).abs() < 1e-9, "{planned:?}");
        planner.answered(1, 0, 1440.0, false);
        assert_eq!(planner.next_look(1, 0, 1441.0), None, "it is over");
    }
}

#[test]
fn a_clock_that_runs_backwards_does_no_harm() {
    let mut planner = learned();
    planner.open(opening(0, 60));
    let start = 60.0 * 1440.0;
    planner.answered(60, 0, start + 500.0, false);
    planner.answered(60, 0, start + 100.0, false);
    let planned = planner.next_look(60, 0, start - 50.0).unwrap();
    assert!(planned.at.is_finite() && planned.at <= start + 2880.0, "{planned:?}");
    planner.answered(60, 0, start + 90.0, true);
    assert_eq!(planner.next_look(60, 0, start + 91.0), None);
}

#[test]
fn lateness_follows_the_learned_distribution() {
    let mut planner = learned();
    planner.open(opening(0, 60));
    let start = 60.0 * 1440.0;
    let times = planner.late_times(60, 0).unwrap();
    let at = |minutes: f64| times.at(start + minutes);
    assert_eq!(at(200.0), Lateness::OnTime);
    assert!(at(2800.0) == Lateness::Overdue);
    let levels: Vec<Lateness> = (0..48).map(|hour| at(f64::from(hour) * 60.0)).collect();
    assert!(levels.is_sorted(), "{levels:?}");
    let came = |at: f64| {
        let known = planner.distribution(60, 0).unwrap();
        known.by(at - start) / (1.0 - known.never())
    };
    for (at, share) in [(times.usual, 0.5), (times.watch, 0.9), (times.overdue, 0.99)] {
        assert!((came(at) - share).abs() < 1e-3, "{share}: {}", came(at));
    }
}

#[test]
fn who_has_seen_nothing_does_not_say_what_is_late() {
    let mut planner = Planner::new(PRICES, Ingredients::default());
    planner.open(opening(0, 1));
    assert_eq!(planner.late_times(1, 0), None);
    assert_eq!(planner.late_times(1, 9), None, "not open");
}

#[test]
fn a_dearer_look_is_made_less_often() {
    let looks = |price: f64| {
        let prices = Prices { look: price, ..PRICES };
        let mut planner = Planner::new(prices, Ingredients::default());
        let cases = cases(3, 40, |entity, day| Some(300.0 + 900.0 * chance(entity, day, 31)));
        let spent = play_planner(&mut planner, &cases, &COSTS);
        spent.iter().map(|spent| spent.looks).sum::<u32>()
    };
    assert!(looks(0.2) > looks(1.0));
    assert!(looks(1.0) > looks(5.0));
}

#[derive(Debug)]
struct Rates(f64);

impl External for Rates {
    fn rates(&self, rows: &[[f32; INPUTS]]) -> Result<Vec<f64>, String> {
        Ok(rows.iter().map(|row| if row[0] > 10.0 { self.0 } else { 0.0 }).collect())
    }
}

#[test]
fn a_model_from_elsewhere_decides_and_one_that_fails_does_not() {
    let mut planner = learned();
    planner.set_model(Arc::new(Rates(2.0)));
    planner.open(opening(0, 60));
    let distribution = planner.distribution(60, 0).unwrap();
    assert!(distribution.by(590.0) < 0.01, "nothing before ten hours");
    assert!(distribution.by(1440.0) > 0.95);
    assert_eq!(planner.model_failure(), None);

    planner.set_model(Arc::new(Rates(f64::NAN)));
    planner.open(opening(0, 61));
    assert!(planner.distribution(61, 0).unwrap().by(900.0) > 0.5, "its own habit");
    let failure = planner.model_failure().unwrap();
    assert!(failure.contains("NaN"), "{failure}");
    assert_eq!(planner.model_failure(), None, "told once");
}

#[test]
fn waiting_for_anothers_look_ends_at_the_deadline() {
    let mut planner = Planner::new(PRICES, Ingredients::default());
    for entity in 0..3 {
        planner.open(opening(entity, 1));
    }
    let deadline = 1440.0 + 2880.0;
    for before in [0.5, 0.01, 0.002] {
        let now = deadline - before;
        planner.sent(1, 0, now);
        let planned = planner.next_look(1, 1, now).unwrap();
        assert!(planned.at >= now && planned.at <= deadline, "{planned:?}");
    }
}
