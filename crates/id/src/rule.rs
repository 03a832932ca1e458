//! What the next id may be: a plain function of the window, of what was given out last, and of the
//! time. Never sleeps, reads no clock, knows no store.
//!
//! # Why no id repeats
//!
//! 1. A store grants each node in *windows* of time, and the windows of a node never overlap
//!    ([`crate::lease`]). That rests on the store's transactions only, on no clock.
//! 2. [`take`] gives only ids whose time lies within the holder's window. So two holders of one node
//!    cannot make the same id, whatever their clocks do, and however long either is paused between
//!    the check and the use of an id.
//! 3. Within one holder, (time, sequence) only grows: each step replaces the last pair by a greater
//!    one, by compare-and-swap.
//!
//! Clocks decide only *whether* there is an id now, and how near to the truth its time is.

use crate::layout::Layout;

/// Nothing is given out after this one: the state of a generator that was closed.
pub const CLOSED: u64 = u64::MAX;

/// How far behind the clock time may stay after a millisecond was used up.
///
/// A generator that is asked for more than its layout gives sleeps until the next millisecond, and
/// the system wakes it late. What it slept through was given to nobody, so it may still be used.
pub const CATCH_UP_MS: u64 = 10;

/// The time that a holder may use, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The first millisecond.
    pub from_ms: u64,
    /// The first millisecond that is not the holder's any more.
    pub until_ms: u64,
}

/// What came of asking for ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// These are the caller's, if `last` is still what it was.
    Ids {
        /// The first pair of time and sequence, as in [`pack`].
        first: u64,
        /// How many, at least 1; they follow each other and share a millisecond.
        count: u32,
    },
    /// The millisecond is used up, or the clock is behind: none before this time.
    Wait {
        /// The clock has to show this, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// The window is over.
    Over,
    /// The layout's time is over.
    Full,
    /// The generator was closed.
    Closed,
}

/// A pair of time and sequence as one number that grows as the pair does.
#[inline]
pub fn pack(layout: &Layout, time_ms: u64, sequence: u64) -> u64 {
    (time_ms << layout.sequence_bits()) | sequence
}

/// The pair behind a packed number.
#[inline]
pub fn unpack(layout: &Layout, packed: u64) -> (u64, u64) {
    (packed >> layout.sequence_bits(), packed & (layout.ids_per_ms() - 1))
}

/// The next ids, up to `want` of them, at `now_ms` since the epoch, after `last` was given out.
///
/// `catch_up_to_ms` is the time at which a caller that had waited for a full millisecond woke up: up
/// to there no millisecond is skipped, if it is not too far behind.
#[inline]
pub fn take(
    layout: &Layout,
    window: Window,
    last: u64,
    catch_up_to_ms: u64,
    now_ms: u64,
    want: u32,
) -> Take {
    if last == CLOSED {
        return Take::Closed;
    }
    if now_ms > layout.time_max_ms() {
        return Take::Full;
    }
    if now_ms >= window.until_ms {
        return Take::Over;
    }
    let (last_ms, last_sequence) = unpack(layout, last);
    let used_up = last_sequence == layout.ids_per_ms() - 1;
    let catches_up = last_ms < catch_up_to_ms && last_ms.saturating_add(CATCH_UP_MS) >= now_ms;
    let (time_ms, sequence) = if now_ms > last_ms && !catches_up {
        (now_ms, 0)
    } else if !used_up {
        // The same millisecond, or a clock that is behind: what is left of the last one.
        (last_ms, last_sequence + 1)
    } else if now_ms > last_ms {
        (last_ms + 1, 0)
    } else {
        return Take::Wait { until_ms: last_ms + 1 };
    };
    let (time_ms, sequence) =
        if time_ms < window.from_ms { (window.from_ms, 0) } else { (time_ms, sequence) };
    // The clock is behind the window, or behind what another window gave.
    if time_ms >= window.until_ms {
        return Take::Wait { until_ms: last_ms + 1 };
    }
    if time_ms > now_ms && time_ms > last_ms {
        return Take::Wait { until_ms: time_ms };
    }
    let left = layout.ids_per_ms() - sequence;
    let count = u64::from(want.max(1)).min(left) as u32;
    Take::Ids { first: pack(layout, time_ms, sequence), count }
}

/// What is kept as `last` once these were given out.
#[inline]
pub fn last_of(first: u64, count: u32) -> u64 {
    first + u64::from(count) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn layout() -> Layout {
        Layout::new(0, 41, 20, 2).unwrap()
    }

    /// Plays the times of a clock; what each call gave: time and sequence, or why nothing.
    fn play(window: Window, times: &[u64]) -> Vec<String> {
        play_catching_up(window, 0, times)
    }

    fn play_catching_up(window: Window, catch_up_to_ms: u64, times: &[u64]) -> Vec<String> {
        let layout = layout();
        let mut last = 0;
        let mut step = |&now_ms| match take(&layout, window, last, catch_up_to_ms, now_ms, 1) {
            Take::Ids { first, count } => {
                last = last_of(first, count);
                let (time, sequence) = unpack(&layout, first);
                format!("{time}.{sequence}")
            }
            Take::Wait { until_ms } => format!("wait {until_ms}"),
            other => format!("{other:?}").to_lowercase(),
        };
        times.iter().map(&mut step).collect()
    }

    const WINDOW: Window = Window { from_ms: 10, until_ms: 100 };

    #[test]
    fn a_millisecond_has_its_sequence_and_no_more() {
        assert_eq!(
            play(WINDOW, &[20, 20, 20, 20, 20, 21]),
            ["20.0", "20.1", "20.2", "20.3", "wait 21", "21.0"]
        );
    }

    #[test]
    fn a_clock_that_runs_backwards_uses_what_is_left_and_then_waits() {
        assert_eq!(
            play(WINDOW, &[20, 15, 3, 20, 19, 21]),
            ["20.0", "20.1", "20.2", "20.3", "wait 21", "21.0"]
        );
    }

    #[test]
    fn what_was_slept_through_after_a_full_millisecond_is_used() {
        let woken = |to, times: &[u64]| play_catching_up(WINDOW, to, times);
        assert_eq!(
            woken(22, &[20, 20, 20, 20, 22, 22, 22, 22, 22, 23]),
            ["20.0", "20.1", "20.2", "20.3", "21.0", "21.1", "21.2", "21.3", "22.0", "23.0"]
        );
        // But not if it is long ago.
        assert_eq!(
            woken(50, &[20, 20, 20, 20, 31, 50]),
            ["20.0", "20.1", "20.2", "20.3", "31.0", "50.0"]
        );
    }

    #[test]
    fn nothing_outside_of_the_window() {
        assert_eq!(
            play(WINDOW, &[3, 10, 99, 100, 3_000, 99]),
            ["wait 10", "10.0", "99.0", "over", "over", "99.1"]
        );
    }

    #[test]
    fn a_new_window_that_lies_before_the_last_id_waits() {
        let last = pack(&layout(), 200, 1);
        assert_eq!(take(&layout(), WINDOW, last, 0, 50, 1), Take::Wait { until_ms: 201 });
    }

    #[test]
    fn the_layout_ends() {
        let max = layout().time_max_ms();
        let window = Window { from_ms: 0, until_ms: u64::MAX };
        assert_eq!(
            play(window, &[max, max + 1, u64::MAX]),
            [format!("{max}.0").as_str(), "full", "full"]
        );
    }

    #[test]
    fn closed_stays_closed() {
        assert_eq!(take(&layout(), WINDOW, CLOSED, 0, 50, 1), Take::Closed);
    }

    proptest! {
        /// Any clock whatever: ids only grow, and none leaves the window.
        #[test]
        fn ids_grow_and_stay_within_the_window_whatever_the_clock_does(
            sequence_bits in 0_u8..=4,
            from in 0_u64..50, length in 0_u64..60,
            times in proptest::collection::vec((0_u64..120, 1_u32..6, 0_u64..120), 0..300),
        ) {
            let layout = Layout::new(0, 41, 22 - sequence_bits, sequence_bits).unwrap();
            let window = Window { from_ms: from, until_ms: from + length };
            let mut last = 0;
            let mut seen = BTreeSet::new();
            for (now_ms, want, to) in times {
                let took = take(&layout, window, last, to, now_ms, want);
                if let Take::Ids { first, count } = took {
                    prop_assert!(first > last);
                    prop_assert!((1..=want).contains(&count));
                    for packed in first..=last_of(first, count) {
                        let (time, _) = unpack(&layout, packed);
                        prop_assert!((window.from_ms..window.until_ms).contains(&time));
                        prop_assert!(seen.insert(packed), "{packed} twice");
                    }
                    // One millisecond only.
                    let end = last_of(first, count);
                    prop_assert_eq!(unpack(&layout, first).0, unpack(&layout, end).0);
                    prop_assert!(end >= last);
                    last = end;
                }
            }
        }

        /// A clock that runs evenly is never made to wait while it has sequence left.
        #[test]
        fn an_even_clock_waits_only_for_a_full_millisecond(calls in 1_u64..400) {
            let layout = layout();
            let window = Window { from_ms: 1, until_ms: 10_000 };
            let mut last = 0;
            for call in 0..calls {
                let took = take(&layout, window, last, 0, 1 + call / 4, 1);
                let Take::Ids { first, count } = took else { panic!("{took:?}") };
                last = last_of(first, count);
            }
        }
    }
}
