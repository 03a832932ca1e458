//! One helper for all tests: columns by short names.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use model::expect::{Check, ExpectSpec};
use std::sync::Arc;
use validate::{ExpectError, Failure, Validator};

pub(crate) fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn int(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(crate) fn float(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// `decimal(18,2)` from hundredths.
pub(crate) fn cents(values: &[Option<i128>]) -> ArrayRef {
    let array = Decimal128Array::from(values.to_vec());
    Arc::new(array.with_precision_and_scale(18, 2).unwrap())
}

pub(crate) fn flag(values: &[Option<bool>]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

/// Days from 1970-01-01; 2026-11-19 is 20776.
pub(crate) fn date(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Date32Array::from(values.to_vec()))
}

pub(crate) fn instant(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC"))
}

pub(crate) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).unwrap()
}

pub(crate) fn check(check: Check) -> ExpectSpec {
    ExpectSpec { checks: vec![check], ..ExpectSpec::default() }
}

pub(crate) fn key(names: &[&str]) -> ExpectSpec {
    let key = names.iter().map(|name| (*name).to_owned()).collect();
    ExpectSpec { key, ..ExpectSpec::default() }
}

pub(crate) fn validator(spec: &ExpectSpec, schema: &Schema) -> Result<Validator, ExpectError> {
    Validator::new(spec, schema)
}

/// What fails of one column, as `row: found`.
pub(crate) fn failing(expected: Check, column: ArrayRef) -> Vec<String> {
    failing_in(expected, column, "ACME", "2026-11-19")
}

pub(crate) fn failing_in(
    expected: Check,
    column: ArrayRef,
    entity: &str,
    period: &str,
) -> Vec<String> {
    let label = expected.label();
    let batch = batch(&[("v", column)]);
    let validator = validator(&check(expected), batch.schema_ref()).unwrap();
    let shown = |failure: Failure| {
        assert_eq!(failure.check, label);
        format!("{}: {}", failure.row, failure.found)
    };
    validator.check(&batch, entity, period).into_iter().map(shown).collect()
}
