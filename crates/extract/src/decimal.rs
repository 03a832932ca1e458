//! Numbers from their text, exactly.

use crate::value::Misfit;

/// The parts of a number's text. Accepts what JSON accepts, and in quoted numbers also a leading
/// `+`, leading zeros and a bare point (`.5`, `5.`): their value is beyond doubt.
struct Parts<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    /// Saturated: beyond any limit is beyond any limit.
    exponent: i64,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, bytes),
    };
    let (whole, rest) = digits(bytes);
    let (fraction, rest) = match rest.split_first() {
        Some((b'.', rest)) => digits(rest),
        _ => (&rest[..0], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest.split_first() {
        None => 0,
        Some((b'e' | b'E', rest)) => exponent(rest)?,
        Some(_) => return None,
    };
    Some(Parts { negative, whole, fraction, exponent })
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.split_at(length)
}

fn exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, bytes) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, bytes),
    };
    let (digits, rest) = digits(bytes);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let size = digits.iter().fold(0_i64, |size, digit| {
        (size.saturating_mul(10).saturating_add(i64::from(digit - b'0'))).min(1 << 48)
    });
    Some(if negative { -size } else { size })
}

/// The number times 10^`scale`, if it is an integer of at most `precision` digits.
pub(crate) fn unscaled(text: &str, precision: u8, scale: i8) -> Result<i128, Misfit> {
    let parts = split(text).ok_or(Misfit::NotNumber)?;
    let significant = parts.whole.iter().chain(parts.fraction);
    let Some(leading_zeros) = significant.clone().position(|&digit| digit != b'0') else {
        return Ok(0);
    };
    let count = parts.whole.len() + parts.fraction.len();
    let trailing_zeros =
        significant.clone().rev().position(|&digit| digit != b'0').unwrap_or_default();
    let kept = count - leading_zeros - trailing_zeros;
    let shift =
        parts.exponent - parts.fraction.len() as i64 + trailing_zeros as i64 + i64::from(scale);
    if shift < 0 {
        return Err(Misfit::FractionDigits);
    }
    if kept as i64 + shift > i64::from(precision) {
        return Err(Misfit::Digits);
    }
    // At most 38 digits from here on, so neither loop overflows.
    let value = significant
        .skip(leading_zeros)
        .take(kept)
        .fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = value * 10_i128.pow(shift as u32);
    Ok(if parts.negative { -value } else { value })
}

/// A 64-bit integer: `12`, `1e3` and `1.0` are, `1.5` is not.
pub(crate) fn integer(text: &str) -> Result<i64, Misfit> {
    match unscaled(text, 19, 0) {
        Ok(value) => i64::try_from(value).map_err(|_| Misfit::IntegerRange),
        Err(Misfit::FractionDigits) => Err(Misfit::NotInteger),
        Err(Misfit::Digits) => Err(Misfit::IntegerRange),
        Err(misfit) => Err(misfit),
    }
}

/// The nearest 64-bit float; beyond its range is a misfit, not infinity.
pub(crate) fn float(text: &str) -> Result<f64, Misfit> {
    // The standard library would also take `NaN` and `infinity`.
    split(text).ok_or(Misfit::NotNumber)?;
    let value: f64 = text.parse().map_err(|_| Misfit::NotNumber)?;
    if value.is_finite() { Ok(value) } else { Err(Misfit::NotFinite) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_exact_or_refused() {
        for (text, expected) in [
            ("1.5", Ok(1_500_000)),
            ("-0.000001", Ok(-1)),
            ("1.50000000000", Ok(1_500_000)),
            ("15e-1", Ok(1_500_000)),
            ("0.00015e4", Ok(1_500_000)),
            ("0e999999999999999999999", Ok(0)),
            ("-0", Ok(0)),
            ("999999999999.999999", Ok(999_999_999_999_999_999)),
            ("1000000000000", Err(Misfit::Digits)),
            ("1e999", Err(Misfit::Digits)),
            ("1e99999999999999999999999", Err(Misfit::Digits)),
            ("1.5e-8", Err(Misfit::FractionDigits)),
            ("1.23456789", Err(Misfit::FractionDigits)),
            ("1,5", Err(Misfit::NotNumber)),
            ("", Err(Misfit::NotNumber)),
            (".", Err(Misfit::NotNumber)),
            ("1e", Err(Misfit::NotNumber)),
            ("0x1", Err(Misfit::NotNumber)),
            (" 1", Err(Misfit::NotNumber)),
            ("NaN", Err(Misfit::NotNumber)),
        ] {
            assert_eq!(unscaled(text, 18, 6), expected, "{text}");
        }
        assert_eq!(unscaled("1.5e-8", 18, 9), Ok(15));
        let widest = "9".repeat(38);
        assert_eq!(unscaled(&widest, 38, 0), Ok(10_i128.pow(38) - 1));
        assert_eq!(unscaled(&format!("-0.{widest}"), 38, 38), Ok(1 - 10_i128.pow(38)));
    }

    #[test]
    fn an_integer_may_be_written_with_point_or_exponent() {
        assert_eq!(integer("1.0"), Ok(1));
        assert_eq!(integer("1e3"), Ok(1000));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("9223372036854775808"), Err(Misfit::IntegerRange));
        assert_eq!(integer("1e30"), Err(Misfit::IntegerRange));
        assert_eq!(integer("1.5"), Err(Misfit::NotInteger));
    }

    #[test]
    fn a_float_is_finite() {
        assert_eq!(float("1e308"), Ok(1e308));
        assert_eq!(float("1e999"), Err(Misfit::NotFinite));
        assert_eq!(float("NaN"), Err(Misfit::NotNumber));
        assert_eq!(float("inf"), Err(Misfit::NotNumber));
    }
}
