//! How a limit is divided among those who live on it: one rule for every engine.
//!
//! Pure: takes what the others hold, gives what the caller may hold. A newcomer gets nothing until
//! the others have renewed and shrunk, and who leaves is replaced at the next renewal, so that at
//! no time more than the whole is granted, whoever asks in whatever order.

use jiff::{SignedDuration, Timestamp};

use crate::wire;

/// The whole, in parts. A power of two, so that a share is the same number as parts and as `f64`
/// and sums of shares are exact.
pub(crate) const WHOLE: i64 = 1 << 32;

/// One holder's share of one scope, as every engine keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Of [`WHOLE`].
    pub(crate) parts: i64,
    /// In nanoseconds since 1970. From here on it is as if it were not there.
    pub(crate) expires_at: i64,
}

/// What the caller is granted beside the other live holders' parts: its even share, unless they
/// still hold more than theirs.
pub(crate) fn granted(others: &[i64]) -> i64 {
    let held = others.iter().fold(0_i64, |sum, parts| sum.saturating_add((*parts).max(0)));
    let holders = i64::try_from(others.len()).unwrap_or(i64::MAX).saturating_add(1);
    (WHOLE / holders).min(WHOLE.saturating_sub(held)).max(0)
}

/// A share between 0 and 1.
pub(crate) fn share(parts: i64) -> f64 {
    parts as f64 / WHOLE as f64
}

/// When a lease that is renewed now expires.
pub(crate) fn expires_at(now: Timestamp, lasts: SignedDuration) -> i64 {
    let end = if lasts.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    wire::nanoseconds(now.checked_add(lasts).unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_even_unless_the_others_hold_more() {
        let quarter = WHOLE / 4;
        for (others, expected) in [
            (&[][..], WHOLE),
            (&[WHOLE], 0),
            (&[WHOLE / 2], WHOLE / 2),
            (&[quarter], WHOLE / 2),
            (&[WHOLE - 1], 1),
            (&[quarter, quarter, quarter], quarter),
            (&[quarter, WHOLE / 2, 0], quarter),
            // What no engine writes.
            (&[i64::MAX, i64::MAX], 0),
            (&[-WHOLE], WHOLE / 2),
        ] {
            assert_eq!(granted(others), expected, "{others:?}");
        }
    }

    #[test]
    fn a_time_beyond_all_times_is_the_last() {
        assert_eq!(expires_at(Timestamp::MAX, SignedDuration::from_secs(1)), i64::MAX);
        assert_eq!(expires_at(Timestamp::MIN, SignedDuration::MIN), i64::MIN);
    }

    proptest! {
        #[test]
        fn never_more_than_the_whole(others in prop::collection::vec(0..WHOLE, 0..40)) {
            let mut held = Vec::new();
            for _ in &others {
                held.push(granted(&held));
            }
            prop_assert!(held.iter().sum::<i64>() <= WHOLE);
            let granted = granted(&others);
            prop_assert!((0..=WHOLE / (others.len() as i64 + 1)).contains(&granted));
            prop_assert!(granted == 0 || others.iter().sum::<i64>() + granted <= WHOLE);
        }
    }
}
