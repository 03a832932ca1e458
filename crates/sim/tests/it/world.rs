//! The world of a seed: repeatable, consistent, and as varied as the real one.

use crate::exchange::{at, settings};
use jiff::{SignedDuration, civil::Date};
use proptest::prelude::*;
use sim::exchange::{ExchangeSettings, Faults, Rename, Truth, World, WorldError};
use std::collections::BTreeSet;

fn truths(world: &World) -> Vec<Truth> {
    world.truth().collect()
}

#[test]
fn the_same_seed_makes_the_same_world_and_another_another() {
    let world = World::generate(&settings()).unwrap();
    let again = World::generate(&settings()).unwrap();
    assert_eq!(truths(&world), truths(&again));
    assert_eq!(world.tickers_csv(), again.tickers_csv());
    let other = World::generate(&ExchangeSettings { seed: 2, ..settings() }).unwrap();
    assert_ne!(truths(&world), truths(&other));
}

#[test]
fn the_truth_is_the_grid_of_the_listings() {
    let world = World::generate(&settings()).unwrap();
    let csv = world.tickers_csv();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("entity,listed_from,listed_until"));
    let sessions: BTreeSet<Date> = truths(&world).into_iter().map(|truth| truth.day).collect();
    assert_eq!(sessions.len(), 20);
    assert!(!sessions.contains(&"2026-11-26".parse().unwrap()), "Thanksgiving");
    let mut expected = BTreeSet::new();
    let mut delisted = 0;
    for line in lines {
        let cells: Vec<_> = line.split(',').collect();
        let from: Date = cells[1].parse().unwrap();
        let until: Option<Date> = (!cells[2].is_empty()).then(|| cells[2].parse().unwrap());
        delisted += usize::from(until.is_some());
        let listed = |day: &&Date| from <= **day && until.is_none_or(|until| **day <= until);
        let days = sessions.iter().filter(listed);
        expected.extend(days.map(|day| (cells[0].to_owned(), *day)));
    }
    let found: BTreeSet<_> = world.truth().map(|truth| (truth.entity, truth.day)).collect();
    assert_eq!(found, expected);
    assert!((3..40).contains(&delisted), "{delisted}");
    assert!(found.len() < 300 * 20 - 50, "some are listed later or delisted earlier");
}

#[test]
fn arrivals_vary_by_ticker_and_day_and_some_never_come() {
    let world = World::generate(&settings()).unwrap();
    let all = truths(&world);
    let never = all.iter().filter(|truth| truth.arrived_at.is_none()).count();
    assert!((5..80).contains(&never), "{never} of {}", all.len());
    assert!(all.iter().any(|truth| truth.correction.is_some()));
    let hours: Vec<f64> = all
        .iter()
        .filter_map(|truth| {
            let close = model::xnys::closes_at(truth.day).unwrap();
            Some(truth.arrived_at?.duration_since(close).as_secs_f64() / 3600.0)
        })
        .collect();
    assert!(hours.iter().all(|after| (0.08..36.0).contains(after)), "after the close, within 36 h");
    let share = |low: f64, high: f64| {
        hours.iter().filter(|after| (low..high).contains(*after)).count() as f64
            / hours.len() as f64
    };
    assert!(share(0.0, 1.0) > 0.4 && share(1.0, 4.0) > 0.15 && share(8.0, 40.0) > 0.003);
}

#[test]
fn nothing_is_seen_before_it_arrives_and_the_same_ever_after() {
    let settings = ExchangeSettings { faults: Faults::NONE, ..settings() };
    let world = World::generate(&settings).unwrap();
    let second = SignedDuration::from_secs(1);
    for truth in world.truth().step_by(7) {
        let arrived_at = truth.arrived_at.unwrap();
        let answer = |now| world.answer(&truth.entity, truth.day, now).unwrap();
        let before = answer(arrived_at - second);
        let nothing = format!(
            r#"{{"symbol":"{}","date":"{}","total":0,"data":[]}}"#,
            truth.entity, truth.day
        );
        assert_eq!((before.total, before.body), (0, nothing));
        let after = answer(arrived_at);
        assert_eq!(after.total, 1);
        assert!(after.body.contains(&truth.record), "{} in {}", truth.record, after.body);
        assert_eq!(after, answer(at("2030-01-01T00:00:00Z")));
    }
}

#[test]
fn a_correction_replaces_the_close_from_its_instant_on() {
    let faults = Faults { corrected: 0.5, ..Faults::NONE };
    let world = World::generate(&ExchangeSettings { faults, ..settings() }).unwrap();
    let corrected: Vec<_> = world.truth().filter(|truth| truth.correction.is_some()).collect();
    assert!(corrected.len() > 2000);
    for truth in corrected.into_iter().step_by(50) {
        let correction = truth.correction.unwrap();
        assert_ne!(correction.record, truth.record);
        assert!(correction.at > truth.arrived_at.unwrap());
        let body = |now| world.answer(&truth.entity, truth.day, now).unwrap().body;
        assert!(body(correction.at - SignedDuration::from_secs(1)).contains(&truth.record));
        assert!(body(correction.at).contains(&correction.record));
    }
}

#[test]
fn the_close_has_another_name_until_that_is_put_right() {
    let fixed_after = SignedDuration::from_hours(8);
    let rename = Some(Rename { first: 3, sessions: 2, fixed_after });
    let faults = Faults { rename, ..Faults::NONE };
    let world = World::generate(&ExchangeSettings { faults, ..settings() }).unwrap();
    // The fourth and fifth session from 2026-11-16 on.
    let fixed_at = at("2026-11-20T21:00:00Z") + fixed_after;
    let later = at("2030-01-01T00:00:00Z");
    let mut renamed = 0;
    for truth in world.truth().filter(|truth| truth.arrived_at.unwrap() < fixed_at) {
        let is_affected = ["2026-11-19", "2026-11-20"].contains(&truth.day.to_string().as_str());
        let now = world.answer(&truth.entity, truth.day, fixed_at - SignedDuration::from_secs(1));
        let now = now.unwrap();
        assert_eq!(now.is_renamed, is_affected);
        assert_eq!(now.body.contains("\"close_price\":"), is_affected, "{}", now.body);
        assert_eq!(now.body.contains("\"c\":"), !is_affected);
        renamed += usize::from(is_affected);
        let fixed = world.answer(&truth.entity, truth.day, fixed_at).unwrap();
        assert!(!fixed.is_renamed && fixed.body.contains(&truth.record));
        assert_eq!(fixed, world.answer(&truth.entity, truth.day, later).unwrap());
    }
    assert!(renamed > 400, "{renamed}");
}

#[test]
fn a_world_out_of_bounds_is_refused() {
    for (entities, days) in [(0, 1), (1, 0), (100_001, 1), (1, 5_001)] {
        let error =
            World::generate(&ExchangeSettings { entities, days, ..settings() }).unwrap_err();
        assert!(matches!(error, WorldError::OutOfBounds { .. }), "{error}");
    }
    let error = ExchangeSettings { from: "9999-12-30".parse().unwrap(), ..settings() };
    assert!(matches!(World::generate(&error), Err(WorldError::NoSessions { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_is_a_sound_bar(seed: u64, entities in 1..20_usize, days in 1..12_usize) {
        let settings = ExchangeSettings { seed, entities, days, ..settings() };
        let world = World::generate(&settings).unwrap();
        for truth in world.truth().filter(|truth| truth.arrived_at.is_some()) {
            let bar: serde_json::Value = serde_json::from_str(&truth.record).unwrap();
            let [open, high, low, close] = ["o", "h", "l", "c"].map(|name| {
                let text = bar[name].to_string();
                prop_assert_eq!(text.split_once('.').map(|(_, f)| f.len() <= 6), Some(true));
                Ok(text.parse::<f64>().unwrap())
            });
            let (open, high, low, close) = (open?, high?, low?, close?);
            prop_assert!(0.0 < low && low <= open.min(close) && open.max(close) <= high);
            prop_assert!(bar["v"].as_u64().unwrap() > 0);
            prop_assert_eq!(bar["t"].as_str().unwrap(), truth.day.to_string());
        }
        prop_assert!(world.answer("nobody", settings.from, at("2030-01-01T00:00:00Z")).is_none());
    }
}
