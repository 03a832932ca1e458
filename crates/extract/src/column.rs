//! One column of a batch while it grows.

use crate::value::Value;
use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use model::field::FieldType;
use std::sync::Arc;

/// A growing column. Plain vectors, because most answers have one record: Arrow's builders cost
/// twice as much for one row, and begin with room for a thousand.
#[derive(Debug)]
pub(crate) enum Column {
    Text(Texts),
    Int(Fixed<Int64Type>),
    Float(Fixed<Float64Type>),
    Decimal(Fixed<Decimal128Type>, DataType),
    Bool { values: Vec<bool>, valid: Validity },
    Date(Fixed<Date32Type>),
    Timestamp(Fixed<TimestampMicrosecondType>, DataType),
}

/// Which rows have a value; empty as long as all have.
#[derive(Debug, Default)]
pub(crate) struct Validity(Vec<bool>);

impl Validity {
    /// Adds row number `row`.
    fn push(&mut self, row: usize, valid: bool) {
        if !valid && self.0.is_empty() {
            self.0.resize(row, true);
        }
        if !valid || !self.0.is_empty() {
            self.0.push(valid);
        }
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        let valid = std::mem::take(&mut self.0);
        if valid.is_empty() { None } else { Some(NullBuffer::from(valid)) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// Where each text ends in `bytes`; batches are far smaller than 2 GB.
    ends: Vec<i32>,
    bytes: Vec<u8>,
    valid: Validity,
}

impl Texts {
    fn push(&mut self, text: Option<&str>) {
        self.valid.push(self.ends.len(), text.is_some());
        self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.ends.push(self.bytes.len() as i32);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut offsets = std::mem::take(&mut self.ends);
        offsets.insert(0, 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
        Ok(Arc::new(StringArray::try_new(offsets, bytes, self.valid.finish())?))
    }
}

#[derive(Debug)]
pub(crate) struct Fixed<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Validity,
}

impl<T: ArrowPrimitiveType> Default for Fixed<T> {
    fn default() -> Self {
        Self { values: Vec::new(), valid: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> Fixed<T> {
    fn push(&mut self, value: Option<T::Native>) {
        self.valid.push(self.values.len(), value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    fn finish(&mut self) -> Result<PrimitiveArray<T>, ArrowError> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        PrimitiveArray::try_new(values, self.valid.finish())
    }
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
            DataType::Int64 => Self::Int(Fixed::default()),
            DataType::Float64 => Self::Float(Fixed::default()),
            DataType::Decimal128(..) => Self::Decimal(Fixed::default(), data_type.clone()),
            DataType::Boolean => Self::Bool { values: Vec::new(), valid: Validity::default() },
            DataType::Date32 => Self::Date(Fixed::default()),
            DataType::Timestamp(..) => Self::Timestamp(Fixed::default(), data_type.clone()),
            _ => Self::Text(Texts::default()),
        }
    }

    /// Adds a value of the column's type; anything else is null.
    pub(crate) fn push(&mut self, value: Value, record: &str, decoded: &str) {
        match self {
            Self::Text(to) => to.push(match value {
                Value::Raw(start, end) => record.get(start..end),
                Value::Decoded(start, end) => decoded.get(start..end),
                _ => None,
            }),
            Self::Int(to) => to.push(value.int()),
            Self::Timestamp(to, _) => to.push(value.int()),
            Self::Float(to) => to.push(match value {
                Value::Float(value) => Some(value),
                _ => None,
            }),
            Self::Decimal(to, _) => to.push(match value {
                Value::Decimal(value) => Some(value),
                _ => None,
            }),
            Self::Date(to) => to.push(match value {
                Value::Date(value) => Some(value),
                _ => None,
            }),
            Self::Bool { values, valid } => {
                valid.push(values.len(), matches!(value, Value::Bool(_)));
                values.push(matches!(value, Value::Bool(true)));
            }
        }
    }

    /// The column so far; it begins anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(from) => from.finish()?,
            Self::Int(from) => Arc::new(from.finish()?),
            Self::Float(from) => Arc::new(from.finish()?),
            Self::Decimal(from, data_type) => {
                Arc::new(from.finish()?.with_data_type(data_type.clone()))
            }
            Self::Bool { values, valid } => {
                let values = BooleanBuffer::from(std::mem::take(values));
                Arc::new(BooleanArray::new(values, valid.finish()))
            }
            Self::Date(from) => Arc::new(from.finish()?),
            Self::Timestamp(from, data_type) => {
                Arc::new(from.finish()?.with_data_type(data_type.clone()))
            }
        })
    }
}
