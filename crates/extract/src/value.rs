//! One value, from its text in the document to its declared type: exactly, or not at all.

use crate::follow::decode;
use crate::{civil, decimal};
use model::field::{FieldSpec, FieldType};

/// A value of a declared type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Also microseconds.
    Int(i64),
    Float(f64),
    Decimal(i128),
    Date(i32),
    /// A range of the record.
    Raw(usize, usize),
    /// A range of the texts whose escapes were resolved.
    Decoded(usize, usize),
}

impl Value {
    pub(crate) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            _ => None,
        }
    }
}

/// Why a value is not of its declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    WrongKind,
    Surrogate,
    NotNumber,
    Digits,
    FractionDigits,
    NotInteger,
    IntegerRange,
    NotFinite,
    NotDate,
    NotMidnight,
    NotTimestamp,
    NoOffset,
    BelowMicroseconds,
    EpochRange,
}

impl Misfit {
    /// In words.
    pub(crate) fn describe(self, kind: FieldType) -> String {
        match self {
            Self::WrongKind => format!("not of type {kind}"),
            Self::Surrogate => "an escape in it is half of a surrogate pair".to_owned(),
            Self::NotNumber => format!("not a number, due is {kind}"),
            Self::Digits => format!("more digits than {kind} has"),
            Self::FractionDigits => format!("more digits behind the point than {kind} has"),
            Self::NotInteger => "not an integer".to_owned(),
            Self::IntegerRange => "beyond the range of a 64-bit integer".to_owned(),
            Self::NotFinite => "not finite as a 64-bit float".to_owned(),
            Self::NotDate => "not a date such as 2026-11-19".to_owned(),
            Self::NotMidnight => "not a date: the time of day is not midnight".to_owned(),
            Self::NotTimestamp => {
                "not a timestamp such as 2026-11-19T20:15:00Z (RFC 3339)".to_owned()
            }
            Self::NoOffset => "a timestamp without an offset from UTC".to_owned(),
            Self::BelowMicroseconds => "a timestamp with digits below the microsecond".to_owned(),
            Self::EpochRange => "beyond the year 9999 as seconds or milliseconds".to_owned(),
        }
    }
}

/// Converts the text `raw` of a JSON value that stands at `start` in its record.
///
/// - null and the field's `missing_values` (compared with a text's content or a number as written)
///   are null, whatever the type;
/// - `text` also takes a number, as it is written;
/// - `int`, `float`, `decimal` also take a text that is a number;
/// - `timestamp` also takes an integer: see [`civil::epoch`];
/// - `json` takes anything, as it is written.
pub(crate) fn convert(
    field: &FieldSpec,
    raw: &str,
    start: usize,
    decoded: &mut String,
) -> Result<Value, Misfit> {
    let Some(&first) = raw.as_bytes().first() else { return Err(Misfit::WrongKind) };
    let (content, text) = match first {
        b'n' => return Ok(Value::Null),
        b'"' => {
            let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
            if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
                (inside, Value::Raw(start + 1, start + 1 + inside.len()))
            } else {
                let from = decoded.len();
                match decode(inside.as_bytes()) {
                    Some(content) => decoded.push_str(&content),
                    None if field.kind == FieldType::Json => decoded.push_str(inside),
                    None => return Err(Misfit::Surrogate),
                }
                (&decoded[from..], Value::Decoded(from, decoded.len()))
            }
        }
        b'-' | b'0'..=b'9' => (raw, Value::Raw(start, start + raw.len())),
        b't' | b'f' if field.kind == FieldType::Bool => return Ok(Value::Bool(first == b't')),
        _ if field.kind == FieldType::Json => return Ok(Value::Raw(start, start + raw.len())),
        _ => return Err(Misfit::WrongKind),
    };
    if field.missing_values.iter().any(|missing| missing == content) {
        return Ok(Value::Null);
    }
    Ok(match field.kind {
        FieldType::Text => text,
        FieldType::Json => Value::Raw(start, start + raw.len()),
        FieldType::Int => Value::Int(decimal::integer(content)?),
        FieldType::Float => Value::Float(decimal::float(content)?),
        FieldType::Decimal { precision, scale } => {
            Value::Decimal(decimal::unscaled(content, precision, scale)?)
        }
        FieldType::Bool => return Err(Misfit::WrongKind),
        FieldType::Date if first == b'"' => Value::Date(civil::date(content)?),
        FieldType::Date => return Err(Misfit::NotDate),
        FieldType::Timestamp if first == b'"' => Value::Int(civil::timestamp(content)?),
        FieldType::Timestamp => {
            let seconds = decimal::integer(content).map_err(|_| Misfit::NotTimestamp)?;
            Value::Int(civil::epoch(seconds)?)
        }
    })
}
