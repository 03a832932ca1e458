//! Values with a unit, as they are written in a file: `30m`, `64MiB`.

use jiff::SignedDuration;

/// How a duration is written, for messages.
pub(crate) const DURATION_FORM: &str =
    "write it like \"500ms\", \"2s\", \"30m\", \"36h\" or \"7d\"";
/// How a size is written, for messages.
pub(crate) const SIZE_FORM: &str = "write it like \"500KiB\", \"64MiB\" or \"1GiB\"";

/// No duration of a file is longer: a hundred years.
const DURATION_LIMIT_SECONDS: i64 = 100 * 366 * 86_400;

/// Reads `500ms`, `2s`, `30m`, `36h`, `7d` and sums such as `1h30m`. Exact: whole numbers only.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut sum_ms: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..]
            .find(|c: char| !c.is_ascii_lowercase())
            .map_or(rest.len(), |length| digits + length);
        let unit_ms: i64 = match &rest[digits..unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        sum_ms = sum_ms.checked_add(count.checked_mul(unit_ms)?)?;
        rest = rest[unit_end..].trim_start();
    }
    (sum_ms <= DURATION_LIMIT_SECONDS * 1000).then(|| SignedDuration::from_millis(sum_ms))
}

/// Reads a number of bytes: `1GiB` (powers of 1,024), `1GB` (powers of 1,000), `500`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    count.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_or_refused() {
        for (text, expected_ms) in [
            ("500ms", Some(500)),
            ("2s", Some(2000)),
            ("30m", Some(1_800_000)),
            ("36h", Some(129_600_000)),
            ("7d", Some(604_800_000)),
            ("1h30m", Some(5_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("m", None),
            ("-1s", None),
            ("1.5h", None),
            ("30 minutes", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
            ("200000d", None),
        ] {
            let found = parse_duration(text).map(|duration| duration.as_millis());
            assert_eq!(found, expected_ms, "{text}");
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_prefix() {
        for (text, expected) in [
            ("1GiB", Some(1 << 30)),
            ("64 MiB", Some(64 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("12", Some(12)),
            ("", None),
            ("GiB", None),
            ("1XB", None),
            ("99999999999999TiB", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
