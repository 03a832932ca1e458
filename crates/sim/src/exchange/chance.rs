//! Chance as a function: the same seed, purpose and place always draw the same number, whoever asks
//! first and however often.
//!
//! Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the
//! finalizer); FNV-1a for the purpose.

/// A number for a purpose and a place.
pub(super) fn draw(seed: u64, purpose: &str, place: [u64; 2]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in purpose.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut state = mix(seed ^ hash);
    for coordinate in place {
        state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(coordinate));
    }
    state
}

/// A number from 0 up to and without 1.
pub(super) fn fraction(seed: u64, purpose: &str, place: [u64; 2]) -> f64 {
    (draw(seed, purpose, place) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A whole number from `low` to `high`, both included.
pub(super) fn between(seed: u64, purpose: &str, place: [u64; 2], low: i64, high: i64) -> i64 {
    let span = high.abs_diff(low).saturating_add(1);
    low.saturating_add_unsigned(draw(seed, purpose, place) % span)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_differ_by_seed_purpose_and_place() {
        let first = draw(1, "a", [2, 3]);
        assert_eq!(first, draw(1, "a", [2, 3]));
        for other in [draw(2, "a", [2, 3]), draw(1, "b", [2, 3]), draw(1, "a", [3, 2])] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn draws_fill_their_range_evenly() {
        let mut counts = [0; 10];
        for place in 0..10_000 {
            counts[between(7, "even", [place, 0], 0, 9) as usize] += 1;
            assert!((0.0..1.0).contains(&fraction(7, "even", [place, 1])));
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
