//! One column of a batch while it grows.

use crate::value::Value;
use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};
use model::field::FieldType;
use std::sync::Arc;

/// Most answers have one record: more room is made as it is needed.
const ROWS_AT_FIRST: usize = 4;
const BYTES_AT_FIRST: usize = 64;

#[derive(Debug)]
pub(crate) enum Column {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Bool(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// The Arrow type of a declared type.
pub(crate) fn data_type(kind: FieldType) -> DataType {
    match kind {
        FieldType::Text | FieldType::Json => DataType::Utf8,
        FieldType::Int => DataType::Int64,
        FieldType::Float => DataType::Float64,
        FieldType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        FieldType::Bool => DataType::Boolean,
        FieldType::Date => DataType::Date32,
        FieldType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

impl Column {
    pub(crate) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(ROWS_AT_FIRST)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(ROWS_AT_FIRST)),
            DataType::Decimal128(..) => Self::Decimal(
                Decimal128Builder::with_capacity(ROWS_AT_FIRST).with_data_type(data_type.clone()),
            ),
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(ROWS_AT_FIRST)),
            DataType::Date32 => Self::Date(Date32Builder::with_capacity(ROWS_AT_FIRST)),
            DataType::Timestamp(..) => Self::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(ROWS_AT_FIRST)
                    .with_data_type(data_type.clone()),
            ),
            _ => Self::Text(StringBuilder::with_capacity(ROWS_AT_FIRST, BYTES_AT_FIRST)),
        }
    }

    /// Adds a value of the column's type; anything else is null.
    pub(crate) fn push(&mut self, value: Value, record: &str, decoded: &str) {
        match (self, value) {
            (Self::Text(to), Value::Raw(start, end)) => to.append_option(record.get(start..end)),
            (Self::Text(to), Value::Decoded(start, end)) => {
                to.append_option(decoded.get(start..end));
            }
            (Self::Text(to), _) => to.append_null(),
            (Self::Int(to), Value::Int(value)) => to.append_value(value),
            (Self::Int(to), _) => to.append_null(),
            (Self::Float(to), Value::Float(value)) => to.append_value(value),
            (Self::Float(to), _) => to.append_null(),
            (Self::Decimal(to), Value::Decimal(value)) => to.append_value(value),
            (Self::Decimal(to), _) => to.append_null(),
            (Self::Bool(to), Value::Bool(value)) => to.append_value(value),
            (Self::Bool(to), _) => to.append_null(),
            (Self::Date(to), Value::Date(value)) => to.append_value(value),
            (Self::Date(to), _) => to.append_null(),
            (Self::Timestamp(to), Value::Int(value)) => to.append_value(value),
            (Self::Timestamp(to), _) => to.append_null(),
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(from) => Arc::new(from.finish()),
            Self::Int(from) => Arc::new(from.finish()),
            Self::Float(from) => Arc::new(from.finish()),
            Self::Decimal(from) => Arc::new(from.finish()),
            Self::Bool(from) => Arc::new(from.finish()),
            Self::Date(from) => Arc::new(from.finish()),
            Self::Timestamp(from) => Arc::new(from.finish()),
        }
    }
}
