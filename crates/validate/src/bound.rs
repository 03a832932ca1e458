//! The bounds and values of a spec, read in the type of their field.

use jiff::Timestamp;
use jiff::civil::{Date, date};

/// Which way a bound that lies between two values of the type is moved: no value of the type lies
/// between, so this changes no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// It must be a value of the type.
    None,
    /// To the next value above: of a lower bound.
    Up,
    /// To the next value below: of an upper bound.
    Down,
}

/// A decimal number times 10^`scale`, exactly or rounded as told; beyond 38 digits as far as
/// possible. None if the text is no number.
pub(crate) fn decimal(text: &str, scale: i8, rounding: Rounding) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if all().next().is_none() || !all().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // The digits before `point` are the integer part of the scaled number.
    let point = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut size = Some(0_i128);
    let mut below = false;
    for (index, digit) in all().enumerate() {
        let digit = i128::from(digit - b'0');
        if (index as i64) < point {
            size = size.and_then(|size| size.checked_mul(10)?.checked_add(digit));
        } else {
            below |= digit != 0;
        }
    }
    // Forty zeros are beyond any number but 0.
    for _ in (all().count() as i64..point).take(40) {
        size = size.and_then(|size| size.checked_mul(10));
    }
    let Some(size) = size else {
        return match (rounding, negative) {
            (Rounding::None, _) => None,
            (_, true) => Some(i128::MIN),
            (_, false) => Some(i128::MAX),
        };
    };
    let value = if negative { -size } else { size };
    match (below, rounding) {
        (false, _) => Some(value),
        (true, Rounding::None) => None,
        (true, Rounding::Up) => Some(if negative { value } else { value.saturating_add(1) }),
        (true, Rounding::Down) => Some(if negative { value.saturating_sub(1) } else { value }),
    }
}

/// A finite float.
pub(crate) fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// `2026-11-19` as days from 1970-01-01.
pub(crate) fn day(text: &str) -> Option<i32> {
    // The parser would also take a date and time, and drop the time.
    if text.len() != 10 {
        return None;
    }
    text.parse().ok().and_then(days_of)
}

/// Days from 1970-01-01.
pub(crate) fn days_of(day: Date) -> Option<i32> {
    day.since((jiff::Unit::Day, date(1970, 1, 1))).ok().map(|span| span.get_days())
}

/// An RFC 3339 text as microseconds from 1970-01-01T00:00:00Z.
pub(crate) fn micros(text: &str, rounding: Rounding) -> Option<i64> {
    let instant: Timestamp = text.parse().ok()?;
    let nanos = instant.as_nanosecond();
    let micros = match rounding {
        Rounding::None if nanos % 1000 != 0 => return None,
        Rounding::None | Rounding::Down => nanos.div_euclid(1000),
        Rounding::Up => -(-nanos).div_euclid(1000),
    };
    i64::try_from(micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_between_two_values_moves_towards_the_inside() {
        use Rounding::{Down, None as Exact, Up};
        for (text, rounding, expected) in [
            ("0", Exact, Some(0)),
            ("1.5", Exact, Some(150)),
            ("15e-1", Exact, Some(150)),
            ("1.5e2", Exact, Some(15_000)),
            ("+.5", Exact, Some(50)),
            ("1.234", Exact, None),
            ("1.230", Exact, Some(123)),
            ("1.234", Up, Some(124)),
            ("1.234", Down, Some(123)),
            ("-1.234", Up, Some(-123)),
            ("-1.234", Down, Some(-124)),
            ("1e-9", Up, Some(1)),
            ("1e-9", Down, Some(0)),
            ("1e99", Down, Some(i128::MAX)),
            ("-1e2000000000", Up, Some(i128::MIN)),
            ("0e2000000000", Up, Some(0)),
            ("1e99", Exact, None),
            ("", Up, None),
            (".", Up, None),
            ("1,5", Up, None),
            ("x", Up, None),
            ("--1", Up, None),
            ("1e", Up, None),
        ] {
            assert_eq!(decimal(text, 2, rounding), expected, "{text} {rounding:?}");
        }
    }

    #[test]
    fn days_and_instants_are_read_strictly() {
        assert_eq!(day("1970-01-02"), Some(1));
        assert_eq!(day("2026-11-19"), Some(20_776));
        assert_eq!(day("2026-11-19T05:00"), None);
        assert_eq!(micros("1970-01-01T00:00:01Z", Rounding::None), Some(1_000_000));
        assert_eq!(micros("1970-01-01T00:00:00.0000015Z", Rounding::Up), Some(2));
        assert_eq!(micros("1970-01-01T00:00:00.0000015Z", Rounding::Down), Some(1));
        assert_eq!(micros("1970-01-01T00:00:00.0000015Z", Rounding::None), None);
        assert_eq!(micros("1970-01-01T00:00:00", Rounding::Up), None);
    }
}
