//! A column by its type.

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

/// The most characters of a value in a message.
const FOUND_LIMIT: usize = 80;

/// The types that a declared field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Float,
    Decimal { scale: i8 },
    Bool,
    Date,
    Timestamp,
}

impl Kind {
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8 => Self::Text,
            DataType::Int64 => Self::Int,
            DataType::Float64 => Self::Float,
            DataType::Decimal128(_, scale) => Self::Decimal { scale: *scale },
            DataType::Boolean => Self::Bool,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Float => "float",
            Self::Decimal { .. } => "decimal",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A column, typed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'b> {
    Text(&'b StringArray),
    Int(&'b Int64Array),
    Float(&'b Float64Array),
    Decimal(&'b Decimal128Array),
    Bool(&'b BooleanArray),
    Date(&'b Date32Array),
    Timestamp(&'b TimestampMicrosecondArray),
}

impl<'b> View<'b> {
    pub(crate) fn of(column: &'b dyn Array) -> Option<Self> {
        Some(match Kind::of(column.data_type())? {
            Kind::Text => Self::Text(column.as_string_opt()?),
            Kind::Int => Self::Int(column.as_primitive_opt::<Int64Type>()?),
            Kind::Float => Self::Float(column.as_primitive_opt::<Float64Type>()?),
            Kind::Decimal { .. } => Self::Decimal(column.as_primitive_opt::<Decimal128Type>()?),
            Kind::Bool => Self::Bool(column.as_boolean_opt()?),
            Kind::Date => Self::Date(column.as_primitive_opt::<Date32Type>()?),
            Kind::Timestamp => {
                Self::Timestamp(column.as_primitive_opt::<TimestampMicrosecondType>()?)
            }
        })
    }

    pub(crate) fn is_null(self, row: usize) -> bool {
        match self {
            Self::Text(column) => column.is_null(row),
            Self::Int(column) => column.is_null(row),
            Self::Float(column) => column.is_null(row),
            Self::Decimal(column) => column.is_null(row),
            Self::Bool(column) => column.is_null(row),
            Self::Date(column) => column.is_null(row),
            Self::Timestamp(column) => column.is_null(row),
        }
    }

    /// The value of a type that is exact and ordered like integers: of a decimal its unscaled value.
    pub(crate) fn exact(self, row: usize) -> Option<i128> {
        match self {
            Self::Int(column) => Some(column.value(row).into()),
            Self::Decimal(column) => Some(column.value(row)),
            Self::Bool(column) => Some(column.value(row).into()),
            Self::Date(column) => Some(column.value(row).into()),
            Self::Timestamp(column) => Some(column.value(row).into()),
            Self::Text(_) | Self::Float(_) => None,
        }
    }

    /// The value for a message: at most some 80 characters, without control characters.
    pub(crate) fn shown(self, row: usize) -> String {
        if self.is_null(row) {
            return "null".to_owned();
        }
        match self {
            Self::Text(column) => bounded(column.value(row)),
            Self::Int(column) => column.value(row).to_string(),
            Self::Float(column) => column.value(row).to_string(),
            Self::Decimal(column) => column.value_as_string(row),
            Self::Bool(column) => column.value(row).to_string(),
            Self::Date(column) => shown_day(column.value(row)),
            Self::Timestamp(column) => {
                let micros = column.value(row);
                Timestamp::from_microsecond(micros)
                    .map_or_else(|_| format!("{micros} µs"), |instant| instant.to_string())
            }
        }
    }
}

fn shown_day(days: i32) -> String {
    let date = Date::constant(1970, 1, 1).checked_add(i64::from(days).days());
    date.map_or_else(|_| format!("day {days}"), |date| date.to_string())
}

/// A foreign text, cut and escaped.
pub(crate) fn bounded(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == FOUND_LIMIT {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
