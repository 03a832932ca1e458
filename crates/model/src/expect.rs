//! What a source's records are expected to be.

use serde::{Deserialize, Serialize};

/// One check of records or fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The field has a value.
    NotNull {
        /// The field.
        field: String,
    },
    /// The field's number, date or text lies between two bounds, both included; nulls pass.
    Between {
        /// The field.
        field: String,
        /// The lower bound as written, in the field's own type.
        min: Option<String>,
        /// The upper bound as written.
        max: Option<String>,
    },
    /// The field's value is one of a list; nulls pass.
    OneOf {
        /// The field.
        field: String,
        /// The values as written.
        values: Vec<String>,
    },
    /// The field's text matches a regular expression (all of it); nulls pass.
    Matches {
        /// The field.
        field: String,
        /// The expression, in the syntax of the `regex` crate.
        pattern: String,
    },
    /// The field's text is the cell's entity, or its date the cell's period: the answer is to the
    /// question that was asked.
    EqualsEntity {
        /// The field.
        field: String,
    },
    /// See [`Check::EqualsEntity`].
    EqualsPeriod {
        /// The field.
        field: String,
    },
}

impl Check {
    /// The field a check looks at.
    pub fn field(&self) -> &str {
        match self {
            Self::NotNull { field }
            | Self::Between { field, .. }
            | Self::OneOf { field, .. }
            | Self::Matches { field, .. }
            | Self::EqualsEntity { field }
            | Self::EqualsPeriod { field } => field,
        }
    }

    /// The check as a short text for reasons: `not_null(close)`.
    pub fn label(&self) -> String {
        match self {
            Self::NotNull { field } => format!("not_null({field})"),
            Self::Between { field, min, max } => format!(
                "between({field}, {}, {})",
                min.as_deref().unwrap_or("-"),
                max.as_deref().unwrap_or("-")
            ),
            Self::OneOf { field, .. } => format!("one_of({field})"),
            Self::Matches { field, .. } => format!("matches({field})"),
            Self::EqualsEntity { field } => format!("equals_entity({field})"),
            Self::EqualsPeriod { field } => format!("equals_period({field})"),
        }
    }
}

/// How many records a cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsPerCell {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: Option<u64>,
}

/// All that is expected of a source's records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpectSpec {
    /// How many records a cell has, where it is known.
    pub records_per_cell: Option<RecordsPerCell>,
    /// The fields (or `entity`, `period`) that tell one record of a table from another.
    /// Empty: the record's ordinal within its cell.
    pub key: Vec<String>,
    /// The checks, in the order of the file.
    pub checks: Vec<Check>,
}

impl ExpectSpec {
    /// Whether each cell is expected to have at least one record.
    pub fn expects_records(&self) -> bool {
        self.records_per_cell.is_some_and(|records| records.min > 0)
    }
}
