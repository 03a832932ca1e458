//! Statistics of data files, as Delta's log keeps them: written for all readers, read for pruning.
//!
//! A bound that is not certain is left out. Times are widened to milliseconds, as the protocol
//! asks. Decimals of more than 15 digits have none: some readers take the JSON numbers for floats.
//! Floats have none: parquet's bounds leave NaN out and readers sort it last.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Schema, TimeUnit,
        TimestampMicrosecondType,
    },
};
use jiff::Timestamp;
use parquet::{
    arrow::arrow_reader::statistics::StatisticsConverter, file::metadata::ParquetMetaData,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// Columns with statistics; beyond that they cost more than they save.
const COLUMNS_MAX: usize = 64;

const DECIMAL_DIGITS_MAX: u8 = 15;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    num_records: i64,
    min_values: BTreeMap<String, Box<RawValue>>,
    max_values: BTreeMap<String, Box<RawValue>>,
    null_count: BTreeMap<String, u64>,
}

/// The statistics of a file just written, as Delta's JSON.
pub(crate) fn of_file(schema: &Schema, file: &ParquetMetaData) -> String {
    let mut written = Written {
        num_records: file.file_metadata().num_rows(),
        min_values: BTreeMap::new(),
        max_values: BTreeMap::new(),
        null_count: BTreeMap::new(),
    };
    for field in schema.fields().iter().take(COLUMNS_MAX) {
        let name = field.name();
        let Some(column) = ColumnBounds::of(schema, file, name) else { continue };
        let nulls: u64 = column.nulls.iter().sum();
        written.null_count.insert(name.clone(), nulls);
        // A row group without a single value has no bounds and needs none.
        let bounded = (0..column.nulls.len())
            .filter(|&group| column.nulls[group] < column.rows[group])
            .collect::<Vec<_>>();
        let smallest = bound(&column.smallest, &bounded, End::Smallest);
        let largest = bound(&column.largest, &bounded, End::Largest);
        if let (Some(smallest), Some(largest)) = (smallest, largest) {
            written.min_values.insert(name.clone(), smallest);
            written.max_values.insert(name.clone(), largest);
        }
    }
    serde_json::to_string(&written)
        .unwrap_or_else(|_| format!("{{\"numRecords\":{}}}", written.num_records))
}

struct ColumnBounds {
    smallest: ArrayRef,
    largest: ArrayRef,
    nulls: Vec<u64>,
    rows: Vec<u64>,
}

impl ColumnBounds {
    fn of(schema: &Schema, file: &ParquetMetaData, column: &str) -> Option<Self> {
        let parquet_schema = file.file_metadata().schema_descr();
        let converter = StatisticsConverter::try_new(column, schema, parquet_schema).ok()?;
        let groups = file.row_groups();
        let nulls = converter.row_group_null_counts(groups).ok()?;
        (nulls.null_count() == 0).then_some(())?;
        Some(Self {
            smallest: converter.row_group_mins(groups).ok()?,
            largest: converter.row_group_maxes(groups).ok()?,
            nulls: nulls.values().to_vec(),
            rows: groups.iter().map(|group| group.num_rows() as u64).collect(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Smallest,
    Largest,
}

/// The outermost of the bounds of some row groups, if each has one.
fn bound(bounds: &ArrayRef, groups: &[usize], end: End) -> Option<Box<RawValue>> {
    if groups.is_empty() || groups.iter().any(|&group| bounds.is_null(group)) {
        return None;
    }
    macro_rules! primitive {
        ($kind:ty) => {{
            let array = bounds.as_primitive::<$kind>();
            outermost(groups.iter().map(|&group| array.value(group)), end)?
        }};
    }
    let json = match bounds.data_type() {
        DataType::Utf8 => {
            let array = bounds.as_string::<i32>();
            let value = outermost(groups.iter().map(|&group| array.value(group)), end)?;
            serde_json::to_string(value).ok()?
        }
        DataType::Int64 => primitive!(Int64Type).to_string(),
        DataType::Int32 => primitive!(Int32Type).to_string(),
        DataType::Date32 => {
            let days = primitive!(Date32Type);
            let date = jiff::civil::Date::constant(1970, 1, 1)
                .checked_add(jiff::Span::new().try_days(days).ok()?)
                .ok()?;
            (0..=9999).contains(&date.year()).then(|| format!("\"{date}\""))?
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = primitive!(TimestampMicrosecondType);
            let millis = match end {
                End::Smallest => micros.div_euclid(1_000),
                End::Largest => micros.div_euclid(1_000) + i64::from(micros.rem_euclid(1_000) > 0),
            };
            let time = Timestamp::from_millisecond(millis).ok()?;
            let year = time.to_zoned(jiff::tz::TimeZone::UTC).year();
            (0..=9999).contains(&year).then(|| format!("\"{time:.3}\""))?
        }
        DataType::Decimal128(precision, scale) if *precision <= DECIMAL_DIGITS_MAX => {
            decimal_text(primitive!(Decimal128Type), *scale)
        }
        _ => return None,
    };
    RawValue::from_string(json).ok()
}

fn outermost<T: Ord>(values: impl Iterator<Item = T>, end: End) -> Option<T> {
    if end == End::Smallest { values.min() } else { values.max() }
}

/// A decimal's exact digits as a JSON number.
fn decimal_text(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale.unsigned_abs());
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// What is read back of a file's statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileStatistics {
    /// Rows; `None` if the writer did not say.
    pub(crate) rows: Option<u64>,
    text_bounds: BTreeMap<String, (String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    num_records: Option<u64>,
    #[serde(default)]
    min_values: BTreeMap<String, Value>,
    #[serde(default)]
    max_values: BTreeMap<String, Value>,
}

impl FileStatistics {
    /// Reads Delta's JSON; what cannot be read is not known.
    pub(crate) fn parse(json: Option<&str>) -> Self {
        let Some(mut read) = json.and_then(|json| serde_json::from_str::<Read>(json).ok()) else {
            return Self::default();
        };
        let mut text_bounds = BTreeMap::new();
        for (column, smallest) in read.min_values {
            if let (Value::String(smallest), Some(Value::String(largest))) =
                (smallest, read.max_values.remove(&column))
            {
                text_bounds.insert(column, (smallest, largest));
            }
        }
        Self { rows: read.num_records, text_bounds }
    }

    /// Whether the file may have a row whose `column` is one of `values`.
    pub(crate) fn may_hold(&self, column: &str, values: &BTreeSet<String>) -> bool {
        match self.text_bounds.get(column) {
            Some((smallest, largest)) => any_within(values, smallest, largest),
            None => !values.is_empty(),
        }
    }
}

fn any_within(values: &BTreeSet<String>, smallest: &str, largest: &str) -> bool {
    let range = (Bound::Included(smallest), Bound::Included(largest));
    smallest <= largest && values.range::<str, _>(range).next().is_some()
}

/// The row groups of a file that may have a row whose `column` is one of `values`.
pub(crate) fn row_groups(
    schema: &Schema,
    file: &ParquetMetaData,
    column: &str,
    values: &BTreeSet<String>,
) -> Vec<usize> {
    let all = 0..file.num_row_groups();
    let Some(bounds) = ColumnBounds::of(schema, file, column) else { return all.collect() };
    if bounds.smallest.data_type() != &DataType::Utf8 {
        return all.collect();
    }
    let (smallest, largest) =
        (bounds.smallest.as_string::<i32>(), bounds.largest.as_string::<i32>());
    all.filter(|&group| {
        smallest.is_null(group)
            || largest.is_null(group)
            || any_within(values, smallest.value(group), largest.value(group))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn a_file_is_left_out_only_if_its_bounds_exclude_all_values() {
        let json = r#"{"numRecords":3,"minValues":{"e":"B","n":1},"maxValues":{"e":"D","n":9}}"#;
        let statistics = FileStatistics::parse(Some(json));
        assert_eq!(statistics.rows, Some(3));
        assert!(statistics.may_hold("e", &set(&["A", "C"])));
        assert!(statistics.may_hold("e", &set(&["D"])));
        assert!(!statistics.may_hold("e", &set(&["A", "E"])));
        assert!(statistics.may_hold("n", &set(&["anything"])), "unknown bounds exclude nothing");
        assert!(FileStatistics::parse(Some("{broken")).may_hold("e", &set(&["A"])));
        assert!(!FileStatistics::parse(None).may_hold("e", &set(&[])));
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal_text(-5, 4), "-0.0005");
        assert_eq!(decimal_text(123_456, 2), "1234.56");
        assert_eq!(decimal_text(7, 0), "7");
    }
}
