//! What it is worth that backfill waits for the hours in which a server lets more through: the same
//! week with that, without it, and without a memory of the hours.

use jiff::{SignedDuration, Timestamp, civil::Date};
use sim::{
    runner::{Play, Played, play},
    scenario::{Accept, Scenario, WishKind},
    server::Kind,
};
use std::collections::BTreeMap;

/// Before it, the hours are learned.
const LEARNING: SignedDuration = SignedDuration::from_hours(36);

/// What a week came to.
#[derive(Debug, Clone, Copy)]
struct Week {
    requests: usize,
    refused: usize,
    /// From when live cells were due to their data, on the average.
    live_delay: SignedDuration,
    live_delay_most: SignedDuration,
    /// From a wish to its last cell, at most.
    to_finish_most: SignedDuration,
}

fn week(scenario: &Scenario, seed: u64) -> Week {
    let played = play(scenario, &Play::new("open-hours", seed));
    let Played { log, .. } = played.unwrap_or_else(|error| panic!("{error}"));
    let from = scenario.start + LEARNING;
    let first = scenario.sources().unwrap()[0].from.unwrap();
    let log: Vec<_> = log.into_iter().filter(|arrival| arrival.at >= from).collect();
    let wishes = || scenario.wishes.iter().filter(|it| it.wish == WishKind::Backfill);
    let mut live = Vec::new();
    let mut ended: BTreeMap<Timestamp, Timestamp> = BTreeMap::new();
    for arrival in log.iter().filter(|arrival| matches!(arrival.kind, Kind::Whole(_))) {
        let day: Date = arrival.cell.period.date().unwrap();
        if day >= first {
            let due = day.at(14, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
            live.push(arrival.at.duration_since(due));
        } else if let Some(wish) = wishes().find(|it| it.from <= Some(day) && Some(day) <= it.until)
        {
            let wished = scenario.start + wish.at.0;
            if wished >= from {
                ended.insert(wished, arrival.at);
            }
        }
    }
    let took: Vec<_> = ended.iter().map(|(wished, last)| last.duration_since(*wished)).collect();
    let mean = |all: &[SignedDuration]| all.iter().sum::<SignedDuration>() / all.len() as i32;
    let most = |all: &[SignedDuration]| all.iter().max().copied().unwrap();
    Week {
        requests: log.len(),
        refused: log.iter().filter(|arrival| arrival.kind == Kind::Refused).count(),
        live_delay: mean(&live),
        live_delay_most: most(&live),
        to_finish_most: most(&took),
    }
}

#[test]
fn a_week_of_backfill_is_cheaper_where_its_hours_are_known() {
    let mut known = Scenario::named("open-hours").unwrap();
    // What its file accepts holds for the first of the three.
    known.accept = Accept::default();
    let mut ignored = known.clone();
    let definition = &mut ignored.sources[0].definition;
    *definition = definition.replace("prefer_open_hours = true", "prefer_open_hours = false");
    let mut unknown = known.clone();
    unknown.wishes.drain(..24);
    let [known, ignored, unknown] = [&known, &ignored, &unknown].map(|scenario| week(scenario, 1));
    println!("waiting {known:?}\nnot waiting {ignored:?}\nnot taught {unknown:?}");
    assert!(known.live_delay.as_secs_f64() < 0.8 * ignored.live_delay.as_secs_f64());
    assert!(known.live_delay_most < ignored.live_delay_most);
    // A fifth of the refusals, if it is waited for what the days before taught.
    assert!(known.refused * 10 < unknown.refused * 9 && known.refused * 10 < ignored.refused * 9);
    assert!(known.requests < unknown.requests && known.requests < ignored.requests);
    // The price: a backfill of noon ends after midnight, and within its day.
    let night = SignedDuration::from_hours(10)..SignedDuration::from_hours(14);
    assert!(night.contains(&known.to_finish_most));
    assert!(ignored.to_finish_most < SignedDuration::from_hours(1));
    assert!(unknown.to_finish_most < SignedDuration::from_hours(1), "nothing is known to wait for");
}
