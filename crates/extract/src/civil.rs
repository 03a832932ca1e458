//! Dates and instants from their text, exactly.
//!
//! Written out, because the parsers at hand accept more than RFC 3339 and drop what they do not need
//! (a date taken from any date and time, digits below the unit).

use crate::value::Misfit;

const MICROS: i64 = 1_000_000;

/// Days from 1970-01-01 of a civil date, years 1 to 9999.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms" (2013), `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// `2026-11-19` as days from 1970-01-01.
fn day(text: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text else { return None };
    let year = number(&[y0, y1, y2, y3])?;
    let month = number(&[m0, m1])?;
    let day = number(&[d0, d1])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (year > 0 && (1..=last).contains(&day)).then(|| days_from_civil(year, month, day))
}

struct Instant {
    day: i64,
    /// Since midnight.
    micros: i64,
    offset_seconds: Option<i64>,
}

/// RFC 3339, the offset aside: `2026-11-19T20:15:00.25Z`, `2026-11-19 20:15:00+01:00`.
fn instant(text: &str) -> Result<Instant, Misfit> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10).ok_or(Misfit::NotTimestamp)?;
    let day = day(date).ok_or(Misfit::NotTimestamp)?;
    let (time, rest) = rest.split_at_checked(9).ok_or(Misfit::NotTimestamp)?;
    let [b'T' | b't' | b' ', h0, h1, b':', m0, m1, b':', s0, s1] = *time else {
        return Err(Misfit::NotTimestamp);
    };
    let clock = [(h0, h1, 23), (m0, m1, 59), (s0, s1, 59)];
    let mut seconds = 0;
    for (tens, ones, most) in clock {
        let value = number(&[tens, ones]).filter(|value| *value <= most);
        seconds = seconds * 60 + value.ok_or(Misfit::NotTimestamp)?;
    }
    let (fraction, rest) = fraction(rest)?;
    let offset_seconds = offset(rest)?;
    Ok(Instant { day, micros: seconds * MICROS + fraction, offset_seconds })
}

fn fraction(bytes: &[u8]) -> Result<(i64, &[u8]), Misfit> {
    let Some((b'.', rest)) = bytes.split_first() else { return Ok((0, bytes)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(length);
    if digits.is_empty() {
        return Err(Misfit::NotTimestamp);
    }
    let (kept, below) = digits.split_at(length.min(6));
    if below.iter().any(|digit| *digit != b'0') {
        return Err(Misfit::BelowMicroseconds);
    }
    let value = number(kept).ok_or(Misfit::NotTimestamp)?;
    Ok((value * 10_i64.pow(6 - kept.len() as u32), rest))
}

fn offset(bytes: &[u8]) -> Result<Option<i64>, Misfit> {
    match *bytes {
        [] => Ok(None),
        [b'Z' | b'z'] => Ok(Some(0)),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let hours = number(&[h0, h1]).filter(|hours| *hours < 24);
            let minutes = number(&[m0, m1]).filter(|minutes| *minutes < 60);
            let (Some(hours), Some(minutes)) = (hours, minutes) else {
                return Err(Misfit::NotTimestamp);
            };
            let seconds = hours * 3600 + minutes * 60;
            Ok(Some(if sign == b'-' { -seconds } else { seconds }))
        }
        _ => Err(Misfit::NotTimestamp),
    }
}

/// A date, or the date of a date and time that is exactly midnight where it was written.
pub(crate) fn date(text: &str) -> Result<i32, Misfit> {
    if let Some(day) = day(text.as_bytes()) {
        return Ok(day as i32);
    }
    let instant = instant(text).map_err(|_| Misfit::NotDate)?;
    if instant.micros == 0 { Ok(instant.day as i32) } else { Err(Misfit::NotMidnight) }
}

/// An instant with an offset, as microseconds from 1970-01-01T00:00:00Z.
pub(crate) fn timestamp(text: &str) -> Result<i64, Misfit> {
    let instant = instant(text)?;
    let offset_seconds = instant.offset_seconds.ok_or(Misfit::NoOffset)?;
    Ok((instant.day * 86_400 - offset_seconds) * MICROS + instant.micros)
}

/// An instant written as a number: milliseconds from 1970-01-01T00:00:00Z if it is beyond 10^11 (as
/// seconds the year 5138), else seconds. Milliseconds before March 1973 are taken for seconds.
pub(crate) fn epoch(value: i64) -> Result<i64, Misfit> {
    const MILLIS_FROM: u64 = 100_000_000_000;
    const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;
    if value.unsigned_abs() >= YEAR_10000_MILLIS {
        Err(Misfit::EpochRange)
    } else if value.unsigned_abs() > MILLIS_FROM {
        Ok(value * 1000)
    } else {
        Ok(value * MICROS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_a_day_or_an_exact_midnight() {
        assert_eq!(date("1970-01-01"), Ok(0));
        assert_eq!(date("2026-11-19"), Ok(20_776));
        assert_eq!(date("2026-11-19T00:00:00"), date("2026-11-19"));
        assert_eq!(date("2026-11-19 00:00:00.000"), date("2026-11-19"));
        assert_eq!(date("2026-11-19T00:00:00-05:00"), date("2026-11-19"));
        assert_eq!(date("2026-11-19T16:00:00Z"), Err(Misfit::NotMidnight));
        for text in
            ["2026-02-29", "2026-13-01", "20261119", "2026-1-9", "", "19.11.2026", "0000-01-01"]
        {
            assert_eq!(date(text), Err(Misfit::NotDate), "{text}");
        }
        assert!(date("2024-02-29").is_ok() && date("2000-02-29").is_ok());
        assert!(date("1900-02-29").is_err());
    }

    #[test]
    fn a_timestamp_has_an_offset_and_no_digit_is_lost() {
        let expected = Ok(1_795_119_300_250_000);
        assert_eq!(timestamp("2026-11-19T20:15:00.25Z"), expected);
        assert_eq!(timestamp("2026-11-19t15:15:00.250000000-05:00"), expected);
        assert_eq!(timestamp("2026-11-19T20:15:00"), Err(Misfit::NoOffset));
        assert_eq!(timestamp("2026-11-19T20:15:00.1234567Z"), Err(Misfit::BelowMicroseconds));
        for text in [
            "2026-11-19",
            "2026-11-19T24:00:00Z",
            "2026-11-19T20:15:60Z",
            "2026-11-19T20:15Z",
            "2026-11-19T20:15:00.Z",
            "2026-11-19T20:15:00+1:00",
            "é026-11-19T20:15:00Z",
        ] {
            assert_eq!(timestamp(text), Err(Misfit::NotTimestamp), "{text}");
        }
        assert_eq!(epoch(1_700_000_000), epoch(1_700_000_000_000));
        assert_eq!(epoch(i64::MIN), Err(Misfit::EpochRange));
    }

    proptest! {
        #[test]
        fn an_instant_is_what_jiff_says(second in -62_000_000_000_i64..253_000_000_000, micro in 0..1_000_000_i64) {
            let instant = jiff::Timestamp::from_microsecond(second * MICROS + micro).unwrap();
            prop_assert_eq!(timestamp(&instant.to_string()), Ok(instant.as_microsecond()));
            let day = instant.to_zoned(jiff::tz::TimeZone::UTC).date();
            prop_assert_eq!(date(&day.to_string()), Ok(second.div_euclid(86_400) as i32));
        }
    }
}
