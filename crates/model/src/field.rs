//! What is taken from an answer: format, records, fields and their types.

use crate::path::{Condition, Path};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a field, exact where the data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FieldType {
    /// UTF-8 text.
    Text,
    /// 64-bit signed integer.
    Int,
    /// 64-bit float, for what is not exact by nature.
    Float,
    /// `decimal(precision,scale)`, precision 1 to 38, scale 0 to precision. Never by way of a float.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
    },
    /// `true` or `false`.
    Bool,
    /// A civil date, `2026-11-19`.
    Date,
    /// An instant, RFC 3339 with an offset; microseconds in UTC.
    Timestamp,
    /// Any JSON value, kept as its text.
    Json,
}

impl FieldType {
    /// Reads `text`, `int`, `float`, `decimal(18,6)`, `bool`, `date`, `timestamp`, `json`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "text" | "string" => Self::Text,
            "int" | "integer" => Self::Int,
            "float" => Self::Float,
            "bool" | "boolean" => Self::Bool,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            other => {
                let inside = other.strip_prefix("decimal(")?.strip_suffix(')')?;
                let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
                let precision: u8 = precision.trim().parse().ok()?;
                let scale: i8 = scale.trim().parse().ok()?;
                if !(1..=38).contains(&precision) || scale < 0 || scale as u8 > precision {
                    return None;
                }
                Self::Decimal { precision, scale }
            }
        })
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Bool => f.write_str("bool"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Json => f.write_str("json"),
        }
    }
}

/// One declared field of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldSpec {
    /// The column's name: an identifier that does not start with `_`.
    pub name: String,
    /// Where it stands in a record (`$` is the record). Never contains `[*]`.
    pub path: Path,
    /// Its type.
    pub kind: FieldType,
    /// Texts and numbers (as written) that mean "no value".
    pub missing_values: Vec<String>,
    /// Whether a record may lack the path. If not, a record without it is rejected with the reason.
    pub optional: bool,
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One JSON document.
    Json,
}

/// What is taken from an answer, and what proves that there is nothing to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractSpec {
    /// How the body is read.
    pub format: Format,
    /// Where the records stand.
    pub records: Path,
    /// What proves an empty answer, beside the rules that need no declaration.
    pub empty: Option<Condition>,
    /// The fields, in the order of the table's columns.
    pub fields: Vec<FieldSpec>,
    /// The most bytes of one record.
    pub record_limit_bytes: usize,
    /// The deepest nesting of a document.
    pub depth_limit: usize,
}
