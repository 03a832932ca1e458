//! One helper for all tests: a spec from a line a field, a body in, rows as text out.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use extract::{ExtractedBatch, Extraction, Extractor};
use model::field::{ExtractSpec, FieldSpec, FieldType, Format};
use model::path::{Condition, Path};

pub(crate) fn field(line: &str) -> FieldSpec {
    let words: Vec<&str> = line.split_whitespace().collect();
    FieldSpec {
        name: words[0].to_owned(),
        path: Path::parse(words[1]).unwrap(),
        kind: FieldType::parse(words[2]).unwrap(),
        missing_values: words
            .iter()
            .filter_map(|word| word.strip_prefix("missing="))
            .map(str::to_owned)
            .collect(),
        optional: words.contains(&"optional"),
    }
}

pub(crate) fn spec(records: &str, empty: Option<&str>, fields: &[&str]) -> ExtractSpec {
    ExtractSpec {
        format: Format::Json,
        records: Path::parse(records).unwrap(),
        empty: empty.map(|text| Condition::parse(text).unwrap()),
        fields: fields.iter().map(|line| field(line)).collect(),
        record_limit_bytes: 1 << 20,
        depth_limit: 64,
    }
}

/// Everything an extraction gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) extraction: Extraction,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) ordinals: Vec<u64>,
    pub(crate) spans: Vec<(u64, u64)>,
}

pub(crate) fn extract(spec: &ExtractSpec, body: &[u8]) -> Table {
    gather(|sink| Extractor::new(spec).unwrap().extract_slice(body, sink))
}

type Sink<'s> = dyn FnMut(ExtractedBatch) -> Result<(), extract::SinkError> + 's;

pub(crate) fn gather(run: impl FnOnce(&mut Sink<'_>) -> Extraction) -> Table {
    let (mut rows, mut ordinals, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let extraction = run(&mut |found: ExtractedBatch| {
        assert_eq!(found.batch.num_rows(), found.ordinals.len());
        assert!((1..=extract::BATCH_ROWS_LIMIT).contains(&found.batch.num_rows()));
        for row in 0..found.batch.num_rows() {
            rows.push(found.batch.columns().iter().map(|column| cell(column, row)).collect());
        }
        ordinals.extend(found.ordinals);
        spans.extend(found.spans);
        Ok(())
    });
    assert_eq!(extraction.records, rows.len() as u64);
    Table { extraction, rows, ordinals, spans }
}

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => format!("{:?}", column.as_string::<i32>().value(row)),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Date32 => {
            let days = i64::from(column.as_primitive::<Date32Type>().value(row));
            jiff::Timestamp::from_second(days * 86_400).unwrap().strftime("%Y-%m-%d").to_string()
        }
        DataType::Timestamp(_, Some(zone)) => {
            assert_eq!(&**zone, "UTC");
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            jiff::Timestamp::from_microsecond(micros).unwrap().to_string()
        }
        other => panic!("unexpected type {other}"),
    }
}
