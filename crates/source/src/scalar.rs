//! One value of TOML as a value of a kind, or why not.

use crate::{
    keys::Kind,
    tree::Value,
    units::{DURATION_FORM, SIZE_FORM, parse_duration, parse_size},
};
use jiff::{
    SignedDuration,
    civil::{Date, Time},
};
use model::Money;
use toml::de::DeValue;

/// How a value of a kind is written.
pub(crate) fn form(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Duration | Kind::DurationOrZero => Some(DURATION_FORM),
        Kind::Size => Some(SIZE_FORM),
        Kind::Date => Some("write it like \"2026-01-02\""),
        Kind::Time => Some("write it like \"16:00\" or \"16:00:30\""),
        Kind::Flag => Some("write true or false"),
        _ => None,
    }
}

/// Why a value is not of its kind.
pub(crate) struct Refusal {
    /// What follows the key's name.
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

fn refuse<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal { message, help: None })
}

/// The value, if it is of the kind.
pub(crate) fn scalar(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Refusal> {
    match (kind, value) {
        (Kind::Text | Kind::Scalar, DeValue::String(text)) => {
            Ok(Value::Text(text.clone().into_owned()))
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Count { min, max }, DeValue::Integer(digits)) => {
            count(&digits.to_string(), *min, *max)
        }
        (Kind::CountOr(_), DeValue::Integer(digits)) => count(&digits.to_string(), 0, i64::MAX),
        (Kind::Rate | Kind::Amount | Kind::Scalar, DeValue::Integer(_) | DeValue::Float(_)) => {
            number(kind, value)
        }
        (Kind::Duration | Kind::DurationOrZero, DeValue::String(text)) => {
            match (parse_duration(text), kind) {
                (None, _) => refuse(format!("is not a duration: `{text}`")),
                (Some(SignedDuration::ZERO), Kind::Duration) => {
                    refuse("must be longer than 0".to_owned())
                }
                _ => Ok(Value::Text(text.clone().into_owned())),
            }
        }
        (Kind::Size, DeValue::String(text)) => match parse_size(text) {
            None => refuse(format!("is not a size: `{text}`")),
            Some(0) => refuse("must be above 0".to_owned()),
            Some(_) => Ok(Value::Text(text.clone().into_owned())),
        },
        (Kind::Size, DeValue::Integer(digits)) => count(&digits.to_string(), 1, i64::MAX),
        (Kind::Date, DeValue::String(text)) => date(text),
        (Kind::Date, DeValue::Datetime(found)) => date(&found.to_string()),
        (Kind::Time, DeValue::String(text)) => time(text),
        (Kind::Time, DeValue::Datetime(found)) => time(&found.to_string()),
        (Kind::Scalar, DeValue::Datetime(found)) => Ok(Value::Text(found.to_string())),
        (kind, value) => refuse(format!("must be {}, found {}", wanted(kind), found(value))),
    }
}

fn date(text: &str) -> Result<Value, Refusal> {
    match text.parse::<Date>() {
        Ok(_) if text.len() == 10 => Ok(Value::Text(text.to_owned())),
        _ => refuse(format!("is not a day of the calendar: `{text}`")),
    }
}

fn time(text: &str) -> Result<Value, Refusal> {
    if matches!(text, "24:00" | "24:00:00") {
        return Ok(Value::Text(text.to_owned()));
    }
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == ':');
    match text.parse::<Time>() {
        Ok(_) if plain && text.contains(':') => Ok(Value::Text(text.to_owned())),
        _ => refuse(format!("is not a time of day: `{text}`")),
    }
}

fn count(digits: &str, min: i64, max: i64) -> Result<Value, Refusal> {
    let value = digits.parse::<i64>().ok().or_else(|| {
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
        radix.iter().find_map(|(prefix, radix)| {
            i64::from_str_radix(digits.strip_prefix(prefix)?, *radix).ok()
        })
    });
    match value {
        Some(value) if value < min => refuse(format!("must be at least {min}, found {value}")),
        Some(value) if value > max => refuse(format!("must be at most {max}, found {value}")),
        Some(value) => Ok(Value::Number(value.to_string())),
        None => refuse(format!("is too large: `{digits}`")),
    }
}

fn number(kind: &Kind, value: &DeValue<'_>) -> Result<Value, Refusal> {
    let digits = match value {
        DeValue::Integer(digits) if digits.radix() == 10 => digits.as_str(),
        DeValue::Float(digits) => digits.as_str(),
        _ => return refuse("must be a decimal number".to_owned()),
    };
    let approximate: f64 = digits.parse().unwrap_or(f64::NAN);
    match kind {
        _ if !approximate.is_finite() => refuse(format!("must be a finite number, found {digits}")),
        Kind::Rate if approximate <= 0.0 => Err(Refusal {
            message: format!("must be above 0, found {digits}"),
            help: Some("to stop asking a source, set `enabled = false`".to_owned()),
        }),
        Kind::Amount if Money::from_units(approximate).is_none() => {
            refuse(format!("must be between 0 and 10^12, found {digits}"))
        }
        Kind::Amount if fraction_digits(digits) > 6 => {
            refuse(format!("is exact to 6 digits behind the point, found {digits}"))
        }
        // `+5` and `5` are the same number; the sign is not part of a value as data has it.
        _ => Ok(Value::Number(digits.trim_start_matches('+').to_owned())),
    }
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "text in quotes",
        Kind::Flag => "true or false",
        Kind::Count { .. } => "a whole number",
        Kind::Rate | Kind::Amount => "a number",
        Kind::Duration | Kind::DurationOrZero => "a duration in quotes",
        Kind::Size => "a size",
        Kind::Date => "a date",
        Kind::Time => "a time of day",
        Kind::Scalar => "text or a number",
        Kind::List(_) => "a list in `[...]`",
        Kind::Section(_) | Kind::Named(_) => "a table",
        Kind::CountOr(_) => "a whole number or a table",
        Kind::Later => "absent",
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Digits behind the point, without closing zeros.
fn fraction_digits(digits: &str) -> usize {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let fraction = mantissa.split_once('.').map_or("", |(_, fraction)| fraction);
    let shift: i64 = exponent.parse().unwrap_or(0);
    let length = fraction.trim_end_matches('0').len() as i64;
    (length - shift).max(0) as usize
}
