//! The generators on a store: what they do when clocks and stores misbehave.

use id::{
    Blocks, Clock, Flake, FlakeSettings, IdError, Layout, MemoryStore, Space, StoreError,
    SystemClock, Uuids, block::BURST, clock::ManualClock, layout::DEFAULT_EPOCH_MS,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

type Manual = Arc<ManualClock>;

const NOW_MS: i64 = DEFAULT_EPOCH_MS + 1_000_000;
const LEASE: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

fn clock() -> Manual {
    Arc::new(ManualClock::at(NOW_MS))
}

fn settings(layout: Layout) -> FlakeSettings {
    FlakeSettings { space: Space { name: "test".to_owned(), layout }, ..FlakeSettings::default() }
}

fn narrow() -> Layout {
    Layout::new(DEFAULT_EPOCH_MS, 41, 20, 2).unwrap()
}

fn open(store: &MemoryStore<Manual>, clock: &Manual, layout: Layout) -> Flake<Manual> {
    Flake::open_with_clock(store.clone(), settings(layout), Arc::clone(clock)).unwrap()
}

#[test]
fn ids_are_positive_grow_and_say_time_and_node() {
    let clock = clock();
    let flake = open(&MemoryStore::new(Arc::clone(&clock)), &clock, narrow());
    let ids: Vec<i64> = (0..10).map(|_| flake.next_id().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    let parts: Vec<_> = ids.iter().map(|id| flake.layout().parts(*id)).collect();
    assert_eq!(parts[0], id::Parts { unix_ms: NOW_MS, node: 0, sequence: 0 });
    // Four a millisecond; the clock was waited for.
    assert_eq!(parts[9], id::Parts { unix_ms: NOW_MS + 2, node: 0, sequence: 1 });
}

#[test]
fn filling_gives_the_same_as_one_by_one() {
    let fill = |sizes: &[usize]| {
        let clock = clock();
        let flake = open(&MemoryStore::new(Arc::clone(&clock)), &clock, narrow());
        let mut all = Vec::new();
        for size in sizes {
            let mut ids = vec![0; *size];
            flake.fill(&mut ids).unwrap();
            all.extend(ids);
        }
        all
    };
    assert_eq!(fill(&[23]), fill(&[1; 23]));
    assert_eq!(fill(&[3, 0, 20]), fill(&[23]));
}

#[test]
fn a_lease_is_renewed_by_the_way_and_the_node_kept() {
    let clock = clock();
    let flake = open(&MemoryStore::new(Arc::clone(&clock)), &clock, narrow());
    for _ in 0..1000 {
        flake.next_id().unwrap();
        clock.advance(Duration::from_secs(1));
    }
    let counts = flake.counts();
    assert_eq!((counts.claimed, counts.lost, counts.failed), (1, 0, 0));
    assert!((80..=101).contains(&counts.renewed), "{counts:?}");
    assert_eq!(flake.lease().node, 0);
}

#[test]
fn a_store_that_goes_away_is_missed_only_when_the_lease_is_over() {
    let clock = clock();
    let store = MemoryStore::new(Arc::clone(&clock));
    let flake = open(&store, &clock, narrow());
    store.set_broken(true);
    // 30 s less the margin of 3 s.
    let mut given = 0;
    let error = loop {
        match flake.next_id() {
            Ok(_) => given += 1,
            Err(error) => break error,
        }
        clock.advance(Duration::from_secs(1));
    };
    assert_eq!(given, 27);
    assert!(matches!(error, IdError::LeaseOver { node: 0, .. }), "{error}");
    assert!(flake.counts().failed >= 3, "{:?}", flake.counts());
    store.set_broken(false);
    clock.advance(Duration::from_secs(2));
    flake.next_id().unwrap();
}

#[test]
fn a_paused_process_stops_before_another_has_its_node() {
    let clock = clock();
    let store = MemoryStore::new(Arc::clone(&clock));
    let layout = Layout::for_nodes(1).unwrap();
    let paused = open(&store, &clock, layout);
    let before = paused.next_id().unwrap();
    let refused = Flake::open_with_clock(store.clone(), settings(layout), Arc::clone(&clock));
    assert!(matches!(
        refused,
        Err(IdError::Store(StoreError::NodesExhausted { free_in_ms: 30_000, .. }))
    ));
    clock.advance(LEASE);
    let next = open(&store, &clock, layout);
    assert!(next.next_id().unwrap() > before);
    let error = paused.next_id().unwrap_err();
    let chain = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(chain.contains("all 1 nodes of the space `test` are held"), "{chain}");
    // The other one ends; the first goes on with the node, under a new term.
    next.close().unwrap();
    clock.advance(LEASE / 10);
    paused.next_id().unwrap();
    assert_eq!(paused.lease().grant.term, 3);
    assert_eq!(paused.counts().lost, 2);
}

#[test]
fn a_clock_a_little_behind_is_waited_for_and_one_far_behind_is_told() {
    let clock = clock();
    let flake = open(&MemoryStore::new(Arc::clone(&clock)), &clock, narrow());
    clock.advance(Duration::from_secs(5));
    let before = [(); 4].map(|()| flake.next_id().unwrap());
    clock.turn_back(Duration::from_millis(300));
    assert!(flake.next_id().unwrap() > before[3]);
    while flake.next_id().is_ok_and(|id| flake.layout().parts(id).sequence < 3) {}
    clock.turn_back(Duration::from_secs(3));
    let error = flake.next_id().unwrap_err();
    assert!(matches!(error, IdError::ClockBehind { behind_ms: 3001, waited_ms: 0 }), "{error}");
    clock.advance(Duration::from_secs(3));
    assert!(flake.next_id().unwrap() > before[3]);
}

#[test]
fn a_store_whose_clock_is_set_back_is_told_and_a_new_generator_goes_on() {
    let clock = Arc::new(ManualClock::at(NOW_MS + 100_000_000));
    let store = MemoryStore::new(Arc::clone(&clock));
    let flake = open(&store, &clock, narrow());
    let before = flake.next_id().unwrap();
    clock.step(-3_600_000);
    // Until the next renewal nobody notices, and nothing is wrong.
    flake.next_id().unwrap();
    clock.advance(Duration::from_secs(11));
    // The renewal brings the store's time; what is left of the last millisecond is still given.
    let error = (0..10).find_map(|_| flake.next_id().err()).unwrap();
    assert!(matches!(error, IdError::ClockBehind { behind_ms: 3_588_000.., .. }), "{error}");
    let fresh = open(&store, &clock, narrow());
    assert!(fresh.next_id().unwrap() < before, "unique, but it sorts before");
    assert_ne!(flake.lease().node, fresh.lease().node);
}

#[test]
fn the_layout_ends_with_an_error_that_says_when() {
    let layout = Layout::new(NOW_MS - (1 << 32) + 10_000, 32, 20, 11).unwrap();
    let clock = clock();
    let flake = open(&MemoryStore::new(Arc::clone(&clock)), &clock, layout);
    flake.next_id().unwrap();
    clock.advance(Duration::from_millis(9_999));
    assert_eq!(flake.layout().parts(flake.next_id().unwrap()).unix_ms, NOW_MS + 9_999);
    clock.advance(MS);
    let error = flake.next_id().unwrap_err();
    assert!(matches!(error, IdError::LayoutOver { ends_at_ms } if ends_at_ms == NOW_MS + 10_000));
}

#[test]
fn bad_settings_are_refused() {
    let clock = clock();
    let store = MemoryStore::new(Arc::clone(&clock));
    let open =
        |settings| Flake::open_with_clock(store.clone(), settings, Arc::clone(&clock)).unwrap_err();
    let good = settings(narrow());
    let wide = FlakeSettings { margin: LEASE / 2, ..good.clone() };
    assert!(matches!(open(wide), IdError::Settings { .. }));
    let short = FlakeSettings { lease: MS, margin: Duration::ZERO, ..good.clone() };
    assert!(matches!(open(short), IdError::Store(StoreError::Refused { .. })));
    let future = Layout::new(NOW_MS + 1, 41, 10, 12).unwrap();
    assert!(matches!(open(settings(future)), IdError::Store(StoreError::Layout(_))));
}

#[test]
fn closed_is_closed_and_the_node_free_at_once() {
    let clock = clock();
    let store = MemoryStore::new(Arc::clone(&clock));
    let flake = open(&store, &clock, narrow());
    flake.next_id().unwrap();
    flake.close().unwrap();
    assert!(matches!(flake.next_id(), Err(IdError::Closed)));
    clock.advance(MS);
    let next = open(&store, &clock, narrow());
    assert_eq!((next.lease().node, next.lease().grant.term), (0, 2));
    drop(flake);
    next.next_id().unwrap();
}

#[test]
fn threads_share_a_generator_and_no_id_comes_twice() {
    let store = MemoryStore::new(SystemClock);
    let short = FlakeSettings {
        lease: Duration::from_millis(200),
        margin: Duration::from_millis(20),
        ..settings(Layout::default())
    };
    let flake = Flake::open(store.clone(), short).unwrap();
    let blocks = Blocks::new(store, "test", 1000);
    let uuids = Uuids::default();
    let work = || {
        let mut taken = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..40_000_u32 {
            taken.0.push(flake.next_id().unwrap());
            taken.1.push(blocks.next_id().unwrap());
            if round % 100 == 0 {
                let mut some = [0; 33];
                flake.fill(&mut some).unwrap();
                taken.0.extend(some);
                for (first, count) in blocks.ranges(33).unwrap() {
                    taken.1.extend(first..first + i64::from(count));
                }
                taken.2.push(uuids.next_id().unwrap());
            }
        }
        assert!(taken.0.is_sorted_by(|a, b| a < b));
        assert!(taken.1.is_sorted_by(|a, b| a < b));
        assert!(taken.2.is_sorted_by(|a, b| a < b));
        taken
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let per_thread = 40_000 + 400 * 33;
    let ints: BTreeSet<i64> = all.iter().flat_map(|taken| taken.0.iter().copied()).collect();
    assert_eq!(ints.len(), 4 * per_thread);
    let dense: BTreeSet<i64> = all.iter().flat_map(|taken| taken.1.iter().copied()).collect();
    assert_eq!(dense.len(), 4 * per_thread);
    let unused = 1000 * i64::from(BURST);
    assert!(*dense.last().unwrap() <= 4 * per_thread as i64 + unused, "{:?}", dense.last());
    assert_eq!(all.iter().flat_map(|taken| &taken.2).collect::<BTreeSet<_>>().len(), 1600);
}

#[test]
fn a_block_that_was_closed_leaves_no_gap_and_one_that_was_lost_leaves_its_rest() {
    let store = MemoryStore::new(SystemClock);
    let take = |count: u32, close: bool| {
        let blocks = Blocks::with_burst(store.clone(), "gaps", 100, 1, SystemClock);
        let first = blocks.next_id().unwrap();
        for _ in 1..count {
            blocks.next_id().unwrap();
        }
        if close {
            blocks.close().unwrap();
            assert!(matches!(blocks.next_id(), Err(IdError::Closed)));
        } else {
            // As if killed.
            std::mem::forget(blocks);
        }
        first
    };
    assert_eq!(take(7, true), 1);
    assert_eq!(take(100, true), 8);
    assert_eq!(take(150, false), 108);
    assert_eq!(take(1, true), 308);
}

/// What a clock and a store can do to a generator.
#[derive(Debug, Clone)]
enum Event {
    Take(u8),
    Pass(u32),
    TurnBack(u32),
    Step(i32),
    Break(bool),
    Restart,
    Other,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_u8..20).prop_map(Event::Take),
        4 => (0_u32..40_000).prop_map(Event::Pass),
        1 => (0_u32..5_000).prop_map(Event::TurnBack),
        1 => (-4_000_000..4_000_000).prop_map(Event::Step),
        1 => any::<bool>().prop_map(Event::Break),
        1 => Just(Event::Restart),
        2 => Just(Event::Other),
    ]
}

proptest! {
    /// Two generators on a store with two nodes, whose clock jumps, stalls and runs backwards; leases
    /// that lapse and get lost, a store that fails, processes that die. No id comes twice, and each
    /// generator's own only grow.
    #[test]
    fn no_id_comes_twice_whatever_happens(
        events in proptest::collection::vec((0_usize..2, event()), 1..200)
    ) {
        let clock = Arc::new(ManualClock::at(NOW_MS + 100_000_000));
        let store = MemoryStore::new(Arc::clone(&clock));
        let layout = Layout::new(DEFAULT_EPOCH_MS, 41, 1, 21).unwrap();
        let open = || {
            Flake::open_with_clock(store.clone(), settings(layout), Arc::clone(&clock)).ok()
        };
        let mut flakes = [open(), open()];
        let mut last = [0, 0];
        let mut seen = BTreeSet::new();
        for (index, event) in events {
            match event {
                Event::Take(count) => {
                    let Some(flake) = &flakes[index] else { continue };
                    let mut ids = vec![0; usize::from(count)];
                    if flake.fill(&mut ids).is_ok() {
                        for id in ids {
                            prop_assert!(id > last[index]);
                            last[index] = id;
                            prop_assert!(seen.insert(id), "{id} twice");
                        }
                    }
                }
                Event::Pass(ms) => clock.advance(Duration::from_millis(ms.into())),
                Event::TurnBack(ms) => clock.turn_back(Duration::from_millis(ms.into())),
                Event::Step(ms) => clock.step(ms.into()),
                Event::Break(broken) => store.set_broken(broken),
                // Killed: nothing is given back.
                Event::Restart => {
                    if let Some(flake) = flakes[index].take() {
                        std::mem::forget(flake);
                    }
                    last[index] = 0;
                }
                Event::Other => {
                    if flakes[index].is_none() {
                        flakes[index] = open();
                    } else {
                        drop(flakes[index].take());
                        last[index] = 0;
                    }
                }
            }
        }
    }
}

#[test]
fn the_system_clock_passes() {
    let before = (SystemClock.elapsed_ns(), SystemClock.wall_ms());
    SystemClock.pause(MS);
    assert!(SystemClock.elapsed_ns() >= before.0 + 1_000_000);
    assert!(SystemClock.wall_ms() > 1_767_225_600_000);
    assert_eq!(SystemClock.scale(), SystemClock.scale());
}
