//! Stable hashes of a record's key and content.
//!
//! The first 16 bytes of SHA-256 over, for each part in the order of names: length and bytes of the
//! name, a tag of the type, the value. These bytes are kept in tables for years: what is hashed must
//! never change (a test holds it). SHA-256 and not a faster hash: two contents that collide would
//! be taken for an unchanged record, and the data comes from strangers.

use crate::compile::KeyPart;
use crate::view::{View, bounded};
use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sha2::{Digest, Sha256};

/// A hash of each row's values in `columns`, the same for equal values whatever the batch's bounds
/// and layout.
///
/// Nulls are left out, so that a new column in which a record has no value does not make it another
/// record; hence a value that becomes null does. Of floats, -0 is hashed as 0. A number of
/// `columns` that the batch does not have is left out like a null.
pub fn content_hash(batch: &RecordBatch, columns: &[usize]) -> Vec<[u8; 16]> {
    let mut hasher = RowHasher::of_content(batch, columns);
    (0..batch.num_rows()).map(|row| hasher.hash(row)).collect()
}

/// The key of a record without a declared key.
pub(crate) fn ordinal_key(ordinal: u64) -> [u8; 16] {
    let mut bytes = vec![TAG_ORDINAL];
    bytes.extend_from_slice(&ordinal.to_le_bytes());
    digest(&bytes)
}

const TAG_NULL: u8 = 0;
const TAG_TEXT: u8 = 1;
const TAG_INT: u8 = 2;
const TAG_FLOAT: u8 = 3;
const TAG_DECIMAL: u8 = 4;
const TAG_BOOL: u8 = 5;
const TAG_DATE: u8 = 6;
const TAG_TIMESTAMP: u8 = 7;
/// A type that no declared field has, by its name and text.
const TAG_OTHER: u8 = 8;
const TAG_ORDINAL: u8 = 9;

/// Room for the parts of an ordinary record: most hashers see one record only.
const BUFFER_BYTES: usize = 256;

enum Value<'b> {
    Column(View<'b>),
    Other(&'b dyn Array),
    /// The same in each row.
    Text(&'b str),
    Missing,
}

/// Hashes row after row, with one buffer.
pub(crate) struct RowHasher<'b> {
    /// Sorted by name.
    parts: Vec<(&'b str, Value<'b>)>,
    nulls: bool,
    buffer: Vec<u8>,
}

impl<'b> RowHasher<'b> {
    pub(crate) fn of_key(
        key: &'b [(String, KeyPart)],
        batch: &'b RecordBatch,
        entity: &'b str,
        period: &'b str,
    ) -> Self {
        let value = |part: &KeyPart| match part {
            KeyPart::Entity => Value::Text(entity),
            KeyPart::Period => Value::Text(period),
            KeyPart::Column(column) => value(batch, *column),
        };
        let parts = key.iter().map(|(name, part)| (name.as_str(), value(part))).collect();
        Self { parts, nulls: true, buffer: Vec::with_capacity(BUFFER_BYTES) }
    }

    fn of_content(batch: &'b RecordBatch, columns: &[usize]) -> Self {
        let schema = batch.schema_ref();
        let mut parts: Vec<(&str, Value<'b>)> = columns
            .iter()
            .filter_map(|column| {
                let field = schema.fields().get(*column)?;
                Some((field.name().as_str(), value(batch, *column)))
            })
            .collect();
        parts.sort_by_key(|(name, _)| *name);
        Self { parts, nulls: false, buffer: Vec::with_capacity(BUFFER_BYTES) }
    }

    pub(crate) fn hash(&mut self, row: usize) -> [u8; 16] {
        self.buffer.clear();
        for (name, value) in &self.parts {
            if value.is_null(row) && !self.nulls {
                continue;
            }
            push_sized(&mut self.buffer, name.as_bytes());
            value.push(row, &mut self.buffer);
        }
        digest(&self.buffer)
    }

    /// The row's parts for a message.
    pub(crate) fn shown(&self, row: usize) -> String {
        let shown = self.parts.iter().map(|(name, value)| {
            let value = match value {
                Value::Column(view) => view.shown(row),
                Value::Text(text) => bounded(text),
                Value::Other(column) => bounded(&text_of(*column, row)),
                Value::Missing => "null".to_owned(),
            };
            format!("{name}={value}")
        });
        shown.take(8).collect::<Vec<_>>().join(", ")
    }
}

fn value(batch: &RecordBatch, column: usize) -> Value<'_> {
    match batch.columns().get(column) {
        Some(column) => View::of(column).map_or(Value::Other(column), Value::Column),
        None => Value::Missing,
    }
}

impl Value<'_> {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Column(view) => view.is_null(row),
            Self::Other(column) => column.is_null(row),
            Self::Text(_) => false,
            Self::Missing => true,
        }
    }

    fn push(&self, row: usize, to: &mut Vec<u8>) {
        if self.is_null(row) {
            to.push(TAG_NULL);
            return;
        }
        match self {
            Self::Text(text) => push_tagged(to, TAG_TEXT, text.as_bytes()),
            Self::Missing => to.push(TAG_NULL),
            Self::Other(column) => {
                push_tagged(to, TAG_OTHER, column.data_type().to_string().as_bytes());
                push_sized(to, text_of(*column, row).as_bytes());
            }
            Self::Column(view) => push_view(*view, row, to),
        }
    }
}

fn push_view(view: View<'_>, row: usize, to: &mut Vec<u8>) {
    match view {
        View::Text(column) => push_tagged(to, TAG_TEXT, column.value(row).as_bytes()),
        View::Int(column) => {
            to.push(TAG_INT);
            to.extend_from_slice(&column.value(row).to_le_bytes());
        }
        View::Float(column) => {
            to.push(TAG_FLOAT);
            // Adding 0 turns -0 into 0 and nothing else.
            to.extend_from_slice(&(column.value(row) + 0.0).to_bits().to_le_bytes());
        }
        View::Decimal(column) => {
            to.extend_from_slice(&[TAG_DECIMAL, column.scale() as u8]);
            to.extend_from_slice(&column.value(row).to_le_bytes());
        }
        View::Bool(column) => to.extend_from_slice(&[TAG_BOOL, u8::from(column.value(row))]),
        View::Date(column) => {
            to.push(TAG_DATE);
            to.extend_from_slice(&column.value(row).to_le_bytes());
        }
        View::Timestamp(column) => {
            to.push(TAG_TIMESTAMP);
            to.extend_from_slice(&column.value(row).to_le_bytes());
        }
    }
}

fn push_tagged(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    to.push(tag);
    push_sized(to, bytes);
}

fn push_sized(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn text_of(column: &dyn Array, row: usize) -> String {
    match ArrayFormatter::try_new(column, &FormatOptions::default()) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    }
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(bytes);
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}
