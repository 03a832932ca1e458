//! What each store promises, as cases that every engine passes.
//!
//! Each case uses names of its own, so that all can share one database. A failing case panics.
#![expect(clippy::unwrap_used, reason = "cases of tests")]

use crate::{
    error::StoreError,
    layout::{DEFAULT_EPOCH_MS, Layout},
    store::{BLOCK_MAX, IdStore, Lease, Space},
};
use std::{fmt, sync::Mutex, time::Duration};

/// A place with stores that share their rows.
pub struct Place<'a> {
    /// Opens one more store on the same rows.
    pub open: &'a (dyn Fn() -> Box<dyn IdStore> + Sync),
    /// Lets time pass, by the store's clock.
    pub pause: &'a (dyn Fn(Duration) + Sync),
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Place")
    }
}

const LONG: Duration = Duration::from_hours(1);
/// Long enough that a busy machine gets through what must happen within it.
const SHORT: Duration = Duration::from_millis(1_500);
/// A little longer.
const OVER: Duration = Duration::from_millis(1_550);
/// So short that leases lapse all the time.
const TINY: Duration = Duration::from_millis(150);

/// Runs all cases, one after the other.
pub fn all(place: &Place<'_>) {
    holders_have_different_nodes(place);
    exhausted_nodes_are_told_and_free_again_when_a_lease_is_over(place);
    a_renewal_moves_the_end_and_keeps_the_beginning(place);
    a_lost_lease_cannot_be_renewed(place);
    a_release_frees_at_once_and_not_into_the_past(place);
    a_space_keeps_its_layout(place);
    an_epoch_in_the_future_is_refused(place);
    what_is_out_of_bounds_is_refused(place);
    blocks_follow_each_other(place);
    the_end_of_the_last_block_can_be_given_back(place);
    a_counter_ends(place);
    windows_never_overlap_whoever_asks(place);
    blocks_never_overlap_whoever_asks(place);
}

fn space(name: &str, node_bits: u8) -> Space {
    let layout = Layout::new(DEFAULT_EPOCH_MS, 41, node_bits, 22 - node_bits).unwrap();
    Space { name: format!("contract {name}"), layout }
}

fn holders_have_different_nodes(place: &Place<'_>) {
    let (mut one, mut other) = ((place.open)(), (place.open)());
    let space = space("different", 10);
    let mut nodes: Vec<u64> = (0..5)
        .flat_map(|_| [&mut one, &mut other].map(|store| store.claim(&space, "h", LONG).unwrap()))
        .map(|lease| lease.node)
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, (0..10).collect::<Vec<_>>());
    let elsewhere = Space { name: "contract other".to_owned(), ..space };
    assert_eq!(one.claim(&elsewhere, "", LONG).unwrap().node, 0);
}

fn exhausted_nodes_are_told_and_free_again_when_a_lease_is_over(place: &Place<'_>) {
    let mut store = (place.open)();
    let space = space("exhausted", 1);
    let first = store.claim(&space, "first", SHORT).unwrap();
    let second = store.claim(&space, "second", LONG).unwrap();
    assert_eq!((first.node, second.node), (0, 1));
    assert_eq!(first.grant.until_ms, first.grant.now_ms + 1_500);
    match store.claim(&space, "third", LONG) {
        Err(error @ StoreError::NodesExhausted { nodes: 2, free_in_ms, .. }) => {
            assert!((1..=1_500).contains(&free_in_ms), "{error}");
            assert!(error.is_transient());
        }
        other => panic!("{other:?}"),
    }
    (place.pause)(OVER);
    let third = store.claim(&space, "third", LONG).unwrap();
    assert_eq!((third.node, third.grant.term), (0, first.grant.term + 1));
    assert!(third.grant.now_ms >= first.grant.until_ms, "{first:?} {third:?}");
}

fn a_renewal_moves_the_end_and_keeps_the_beginning(place: &Place<'_>) {
    let mut store = (place.open)();
    let space = space("renewal", 3);
    let Lease { node, grant } = store.claim(&space, "h", SHORT).unwrap();
    let longer = store.renew(&space, node, grant.term, LONG).unwrap().unwrap();
    assert_eq!(longer.term, grant.term);
    assert!(longer.now_ms >= grant.now_ms);
    assert_eq!(longer.until_ms, longer.now_ms + 3_600_000);
    let shorter = store.renew(&space, node, grant.term, SHORT).unwrap().unwrap();
    assert_eq!(shorter.until_ms, longer.until_ms, "a renewal never shortens");
    assert_eq!(store.renew(&space, node, grant.term + 1, LONG).unwrap(), None);
    assert_eq!(store.renew(&space, node + 1, grant.term, LONG).unwrap(), None);
}

fn a_lost_lease_cannot_be_renewed(place: &Place<'_>) {
    let (mut former, mut latter) = ((place.open)(), (place.open)());
    let space = space("lost", 0);
    let lost = former.claim(&space, "former", SHORT).unwrap();
    (place.pause)(OVER);
    // Late, but nobody has the node.
    let late = former.renew(&space, 0, lost.grant.term, SHORT).unwrap().unwrap();
    (place.pause)(OVER);
    let taken = latter.claim(&space, "latter", LONG).unwrap();
    assert!(taken.grant.now_ms >= late.until_ms);
    assert_eq!(former.renew(&space, 0, lost.grant.term, LONG).unwrap(), None);
    assert!(!former.release(&space, 0, lost.grant.term, lost.grant.now_ms).unwrap());
    let kept = latter.renew(&space, 0, taken.grant.term, SHORT).unwrap().unwrap();
    assert_eq!(kept.until_ms, taken.grant.until_ms);
}

fn a_release_frees_at_once_and_not_into_the_past(place: &Place<'_>) {
    let mut store = (place.open)();
    let space = space("release", 0);
    let lease = store.claim(&space, "h", LONG).unwrap();
    (place.pause)(Duration::from_millis(5));
    assert!(store.release(&space, 0, lease.grant.term, lease.grant.now_ms + 1).unwrap());
    let next = store.claim(&space, "h", LONG).unwrap();
    assert!(next.grant.now_ms > lease.grant.now_ms);
    // More than was granted is not granted by a release.
    assert!(store.release(&space, 0, next.grant.term, i64::MAX).unwrap());
    let renewed = store.renew(&space, 0, next.grant.term, SHORT).unwrap().unwrap();
    assert_eq!(renewed.until_ms, next.grant.until_ms);
}

fn a_space_keeps_its_layout(place: &Place<'_>) {
    let mut store = (place.open)();
    let narrow = space("layout", 10);
    let wide = Space { layout: space("", 9).layout, ..narrow.clone() };
    let later = Layout::new(DEFAULT_EPOCH_MS + 1, 41, 10, 12).unwrap();
    let later = Space { layout: later, ..narrow.clone() };
    store.claim(&narrow, "h", LONG).unwrap();
    for other in [wide, later] {
        let refused = store.claim(&other, "h", LONG).unwrap_err();
        assert!(matches!(refused, StoreError::OtherLayout { .. }), "{refused}");
        assert!(!refused.is_transient());
    }
    store.claim(&narrow, "h", LONG).unwrap();
}

fn an_epoch_in_the_future_is_refused(place: &Place<'_>) {
    let layout = Layout::new(i64::MAX / 2, 41, 10, 12).unwrap();
    let space = Space { name: "contract epoch".to_owned(), layout };
    let refused = (place.open)().claim(&space, "h", LONG).unwrap_err();
    assert!(matches!(refused, StoreError::Layout(_)), "{refused}");
}

fn what_is_out_of_bounds_is_refused(place: &Place<'_>) {
    let mut store = (place.open)();
    let good = space("bounds", 3);
    let named = |name: &str| Space { name: name.to_owned(), ..good.clone() };
    let second = Duration::from_secs(1);
    let refused = [
        store.claim(&named(""), "h", second).err(),
        store.claim(&named(&"x".repeat(101)), "h", second).err(),
        store.claim(&named("a\0b"), "h", second).err(),
        store.claim(&good, &"x".repeat(101), second).err(),
        store.claim(&good, "h", Duration::from_millis(99)).err(),
        store.claim(&good, "h", Duration::from_hours(25)).err(),
        store.renew(&good, 0, 1, Duration::ZERO).err(),
        store.take_block("", 1).err(),
        store.take_block("c", 0).err(),
        store.take_block("c", BLOCK_MAX + 1).err(),
    ];
    for (index, error) in refused.iter().enumerate() {
        assert!(matches!(error, Some(StoreError::Refused { .. })), "{index}: {error:?}");
    }
    // As names they are good: nothing is put together as text.
    for name in ["a'; DROP TABLE tidewatch_id_node; --", "größe", "%s"] {
        assert_eq!(store.claim(&named(name), name, second).unwrap().node, 0);
        assert_eq!(store.take_block(name, 1).unwrap().first, 1);
    }
}

fn blocks_follow_each_other(place: &Place<'_>) {
    let (mut one, mut other) = ((place.open)(), (place.open)());
    let counter = "contract follow";
    let first = one.take_block(counter, 10).unwrap();
    assert_eq!((first.first, first.count), (1, 10));
    let second = other.take_block(counter, 1).unwrap();
    assert_eq!(second.first, 11);
    assert!(second.term > first.term);
    assert_eq!(one.take_block(counter, 100).unwrap().first, 12);
    assert_eq!(one.take_block("contract Follow", 1).unwrap().first, 1);
}

fn the_end_of_the_last_block_can_be_given_back(place: &Place<'_>) {
    let mut store = (place.open)();
    let counter = "contract back";
    let first = store.take_block(counter, 10).unwrap();
    let last = store.take_block(counter, 10).unwrap();
    assert!(!store.return_block(counter, &first, 5).unwrap(), "a later block was given");
    assert!(store.return_block(counter, &last, 14).unwrap());
    assert!(!store.return_block(counter, &last, 14).unwrap(), "once is enough");
    assert_eq!(store.take_block(counter, 10).unwrap().first, 14);
}

fn a_counter_ends(place: &Place<'_>) {
    let mut store = (place.open)();
    let counter = "contract end";
    // No store can be counted to its end here; what it would say is the same rule.
    assert!(matches!(
        crate::store::block_at(counter, i64::MAX - 5, 10, 1),
        Err(StoreError::CounterFull { .. })
    ));
    assert_eq!(store.take_block(counter, BLOCK_MAX).unwrap().first, 1);
    assert_eq!(store.take_block(counter, 1).unwrap().first, i64::from(BLOCK_MAX) + 1);
}

/// Several holders claim, renew, lapse and release the two nodes of a space; of each node all windows
/// are kept, and must not overlap.
fn windows_never_overlap_whoever_asks(place: &Place<'_>) {
    const HOLDERS: u64 = 6;
    let space = space("overlap", 1);
    let windows: Mutex<Vec<(u64, i64, i64)>> = Mutex::new(Vec::new());
    let play = |seed: u64| {
        let mut store = (place.open)();
        let mut dice = Dice(seed);
        for _ in 0..12 {
            let Lease { node, grant } = match store.claim(&space, "racer", TINY) {
                Ok(lease) => lease,
                Err(StoreError::NodesExhausted { .. }) => {
                    (place.pause)(Duration::from_millis(30));
                    continue;
                }
                Err(other) => panic!("{other:?}"),
            };
            let mut until_ms = grant.until_ms;
            while dice.roll(3) > 0 {
                (place.pause)(Duration::from_millis(dice.roll(120)));
                match store.renew(&space, node, grant.term, TINY).unwrap() {
                    Some(renewed) => until_ms = renewed.until_ms,
                    None => break,
                }
            }
            if dice.roll(2) == 0 {
                let used = grant.now_ms + (until_ms - grant.now_ms) / 3;
                if store.release(&space, node, grant.term, used).unwrap() {
                    until_ms = used;
                }
            }
            windows.lock().unwrap().push((node, grant.now_ms, until_ms));
        }
    };
    race(HOLDERS, &play);
    let mut windows = windows.into_inner().unwrap();
    windows.sort_unstable();
    assert!(windows.len() > 5, "{windows:?}");
    for pair in windows.windows(2) {
        let ((node, _, until_ms), (next_node, from_ms, _)) = (pair[0], pair[1]);
        assert!(node != next_node || until_ms <= from_ms, "{pair:?}");
    }
}

fn blocks_never_overlap_whoever_asks(place: &Place<'_>) {
    let blocks: Mutex<Vec<(i64, i64)>> = Mutex::new(Vec::new());
    let play = |seed: u64| {
        let mut store = (place.open)();
        let mut dice = Dice(seed);
        for _ in 0..40 {
            let block = store.take_block("contract race", 1 + dice.roll(9) as u32).unwrap();
            let mut end = block.first + i64::from(block.count);
            if dice.roll(3) == 0 {
                let unused = block.first + dice.roll(u64::from(block.count)) as i64;
                if store.return_block("contract race", &block, unused).unwrap() {
                    end = unused;
                }
            }
            blocks.lock().unwrap().push((block.first, end));
        }
    };
    race(4, &play);
    let mut blocks = blocks.into_inner().unwrap();
    blocks.retain(|(first, end)| first < end);
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "dense and apart: {pair:?}");
    }
}

fn race(runners: u64, play: &(dyn Fn(u64) + Sync)) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (1..=runners).map(|seed| scope.spawn(move || play(seed))).collect();
        for run in runs {
            run.join().unwrap();
        }
    });
}

/// Chance that repeats: Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % below.max(1)
    }
}
