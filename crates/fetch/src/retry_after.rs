//! How long a server asks us to wait.
//!
//! RFC 9110, 10.2.3 knows seconds and a date; seconds with a fraction and seconds or
//! milliseconds since 1970 are sent too. Points in time are measured against the server's own
//! clock, its `Date`, where it tells it.

use http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};
use jiff::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest wait that is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Above, a number is a point in time, in seconds: no server asks for a wait of 30 years.
const EPOCH_SECONDS_MIN: f64 = 1e9;
/// Above, it is one in milliseconds.
const EPOCH_MILLISECONDS_MIN: f64 = 1e12;

/// Reads `Retry-After`: none if it is missing or makes no sense, else between 0 and
/// [`RETRY_AFTER_MAX`].
pub fn retry_after(headers: &HeaderMap, wall_now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match number(text) {
        Some(number) => seconds_of(number, headers, wall_now),
        None => seconds_until(httpdate::parse_http_date(text).ok()?, headers, wall_now),
    };
    let bounded = seconds.clamp(0.0, RETRY_AFTER_MAX.as_secs_f64());
    Some(Duration::try_from_secs_f64(bounded).unwrap_or(RETRY_AFTER_MAX))
}

/// Whether there is a `Retry-After` that makes no sense or is bounded: garbage, more than a day ahead,
/// or a time that is over for longer than clocks differ.
pub(crate) fn is_absurd(headers: &HeaderMap, wall_now: Timestamp) -> bool {
    let Some(value) = headers.get(RETRY_AFTER) else { return false };
    let seconds = value.to_str().ok().map(str::trim).and_then(|text| match number(text) {
        Some(number) if number < 0.0 => None,
        Some(number) => Some(seconds_of(number, headers, wall_now)),
        None => Some(seconds_until(httpdate::parse_http_date(text).ok()?, headers, wall_now)),
    });
    let day = RETRY_AFTER_MAX.as_secs_f64();
    seconds.is_none_or(|seconds| !(-day..=day).contains(&seconds))
}

/// Digits with at most one point and perhaps a minus before them: no exponent, no `NaN`.
pub(crate) fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| byte.is_ascii_digit() || byte == b'.' || (at == 0 && byte == b'-'));
    if is_number { text.parse().ok() } else { None }
}

/// The seconds that a number means: itself, or the time until it if it is a point in time.
pub(crate) fn seconds_of(number: f64, headers: &HeaderMap, wall_now: Timestamp) -> f64 {
    if number > EPOCH_MILLISECONDS_MIN {
        number / 1e3 - server_now(headers, wall_now)
    } else if number > EPOCH_SECONDS_MIN {
        number - server_now(headers, wall_now)
    } else {
        number
    }
}

/// The seconds until a point in time; negative if it is over.
pub(crate) fn seconds_until(time: SystemTime, headers: &HeaderMap, wall_now: Timestamp) -> f64 {
    epoch_seconds(time) - server_now(headers, wall_now)
}

/// The server's clock, in seconds since 1970.
fn server_now(headers: &HeaderMap, wall_now: Timestamp) -> f64 {
    headers
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date.trim()).ok())
        .map_or_else(|| wall_now.as_millisecond() as f64 / 1e3, epoch_seconds)
}

fn epoch_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOW: &str = "2026-11-19T12:00:00Z";

    fn read(value: &[u8], date: Option<&str>) -> Option<f64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).ok()?);
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, NOW.parse().unwrap()).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn all_forms_seen_in_the_field_are_read() {
        let day = 86_400.0;
        for (text, date, expected) in [
            ("0", None, Some(0.0)),
            ("120", None, Some(120.0)),
            (" 7 ", None, Some(7.0)),
            ("1.5", None, Some(1.5)),
            // a date, by our clock and by the server's
            ("Thu, 19 Nov 2026 12:00:30 GMT", None, Some(30.0)),
            ("Thu, 19 Nov 2026 12:00:30 GMT", Some("Thu, 19 Nov 2026 12:00:20 GMT"), Some(10.0)),
            ("Thu, 19 Nov 2026 12:00:30 GMT", Some("yesterday"), Some(30.0)),
            ("Thu, 19 Nov 2026 11:00:00 GMT", None, Some(0.0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None, Some(0.0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None, Some(day)),
            // seconds and milliseconds since 1970
            ("1795089605", None, Some(5.0)),
            ("1795089605500", None, Some(5.5)),
            ("1795089605", Some("Thu, 19 Nov 2026 12:00:02 GMT"), Some(3.0)),
            // absurd
            ("-30", None, Some(0.0)),
            ("90000", None, Some(day)),
            ("999999999", None, Some(day)),
            ("99999999999999999999999999999999", None, Some(day)),
            // garbage
            ("", None, None),
            ("soon", None, None),
            ("-", None, None),
            ("1.2.3", None, None),
            ("1e5", None, None),
            ("inf", None, None),
            ("NaN", None, None),
            ("12 s", None, None),
        ] {
            assert_eq!(read(text.as_bytes(), date), expected, "`{text}` with Date {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), NOW.parse().unwrap()), None);
    }

    #[test]
    fn what_was_left_out_or_bounded_is_known() {
        let absurd = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            is_absurd(&headers, NOW.parse().unwrap())
        };
        for text in ["0", "120", "86400", "1795089605", "Thu, 19 Nov 2026 11:59:00 GMT"] {
            assert!(!absurd(text), "`{text}`");
        }
        let long = "9".repeat(10_240);
        for text in ["", "soon", "-30", "90000", "Thu, 01 Jan 1970 00:00:00 GMT", &long] {
            assert!(absurd(text), "`{text}`");
        }
        assert!(absurd("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert!(!is_absurd(&HeaderMap::new(), NOW.parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_value_panics_or_leaves_the_bounds(
            value in prop::collection::vec(any::<u8>(), 0..40),
            date in "[ -~]{0,40}",
        ) {
            if let Some(wait) = read(&value, Some(&date)) {
                prop_assert!((0.0..=86_400.0).contains(&wait));
            }
        }

        #[test]
        fn no_number_panics_or_leaves_the_bounds(value in "-?[0-9]{1,40}(\\.[0-9]{0,5})?") {
            prop_assert!((0.0..=86_400.0).contains(&read(value.as_bytes(), None).unwrap()));
        }
    }
}
