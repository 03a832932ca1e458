//! Tables by a list of their columns: the list gives the schema, the builders, and the batch.

use arrow::{
    array::{
        Decimal128Builder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use model::hexadecimal;
use std::{fmt, sync::Arc};

/// Rows of one batch in memory. Many of this size are cheaper than one that grows: nothing is copied
/// to make room, and pages are used again.
pub(crate) const CHUNK_ROWS: usize = 1024;

/// Rows under construction.
pub(crate) trait Rows {
    /// No rows yet, with room for a chunk.
    fn new() -> Self;
    /// The rows as one batch.
    fn finish(self) -> Result<RecordBatch, ArrowError>;
}

/// Rows gathered into batches of [`CHUNK_ROWS`].
#[derive(Debug)]
pub(crate) struct Chunks<R> {
    open: Option<R>,
    open_rows: usize,
    full: Vec<Result<RecordBatch, ArrowError>>,
}

impl<R: Rows> Chunks<R> {
    pub(crate) fn new() -> Self {
        Self { open: None, open_rows: 0, full: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.full.is_empty()
    }

    /// Where the next `rows` rows are to be written.
    pub(crate) fn next(&mut self, rows: usize) -> &mut R {
        if self.open_rows >= CHUNK_ROWS {
            self.close();
        }
        self.open_rows += rows;
        self.open.get_or_insert_with(R::new)
    }

    fn close(&mut self) {
        self.full.extend(self.open.take().map(R::finish));
        self.open_rows = 0;
    }

    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.close();
        self.full.into_iter().collect()
    }
}

/// A kind of column.
pub(crate) trait Column {
    /// Its type in tables.
    fn data_type() -> DataType;
    /// What its values are put into.
    type Builder;
    /// One with room for a chunk.
    fn builder() -> Self::Builder;
}

/// Text of about so many bytes a row.
pub(crate) struct Text<const BYTES: usize>;
/// A number.
pub(crate) struct Long;
/// A small number.
pub(crate) struct Int;
/// A number with a fraction.
pub(crate) struct Real;
/// An instant, to the microsecond.
pub(crate) struct Time;
/// An amount of money, to a millionth.
pub(crate) struct Price;

impl<const BYTES: usize> Column for Text<BYTES> {
    type Builder = StringBuilder;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn builder() -> StringBuilder {
        texts(CHUNK_ROWS, BYTES)
    }
}

impl Column for Long {
    type Builder = Int64Builder;
    fn data_type() -> DataType {
        DataType::Int64
    }
    fn builder() -> Int64Builder {
        Int64Builder::with_capacity(CHUNK_ROWS)
    }
}

impl Column for Int {
    type Builder = Int32Builder;
    fn data_type() -> DataType {
        DataType::Int32
    }
    fn builder() -> Int32Builder {
        Int32Builder::with_capacity(CHUNK_ROWS)
    }
}

impl Column for Real {
    type Builder = Float64Builder;
    fn data_type() -> DataType {
        DataType::Float64
    }
    fn builder() -> Float64Builder {
        Float64Builder::with_capacity(CHUNK_ROWS)
    }
}

impl Column for Time {
    type Builder = TimestampMicrosecondBuilder;
    fn data_type() -> DataType {
        timestamp_type()
    }
    fn builder() -> TimestampMicrosecondBuilder {
        timestamps(CHUNK_ROWS)
    }
}

impl Column for Price {
    type Builder = Decimal128Builder;
    fn data_type() -> DataType {
        DataType::Decimal128(18, 6)
    }
    fn builder() -> Decimal128Builder {
        Decimal128Builder::with_capacity(CHUNK_ROWS).with_data_type(Self::data_type())
    }
}

/// Rows of a table, by a list of its columns: a field, the column's name if it is another, its kind.
macro_rules! table_rows {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (
        $(#[$of_schema:meta])* $schema:ident
        $(#[$of_rows:meta])* $rows:ident
        { $($field:ident $([$name:literal])?: $kind:ty,)+ }
    ) => {
        $(#[$of_schema])*
        pub fn $schema() -> SchemaRef {
            schema_of(&[
                $((table_rows!(@name $field $($name)?), <$kind as Column>::data_type())),+
            ])
        }

        $(#[$of_rows])*
        #[derive(Debug)]
        pub(crate) struct $rows { $($field: <$kind as Column>::Builder),+ }

        impl Rows for $rows {
            fn new() -> Self {
                Self { $($field: <$kind as Column>::builder()),+ }
            }

            fn finish(mut self) -> Result<RecordBatch, ArrowError> {
                RecordBatch::try_new($schema(), vec![$(Arc::new(self.$field.finish())),+])
            }
        }
    };
}
pub(crate) use table_rows;

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

pub(crate) fn schema_of(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(crate) fn timestamps(capacity: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone("UTC")
}

pub(crate) fn texts(rows: usize, bytes_each: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows * bytes_each)
}

/// Writes a displayed value without an intermediate text.
pub(crate) fn append_display(builder: &mut StringBuilder, value: impl fmt::Display) {
    use fmt::Write;
    // Writing into a builder cannot fail; the value is completed by the empty append.
    let _ = write!(builder, "{value}");
    builder.append_value("");
}

/// Writes a hash as hexadecimal digits.
pub(crate) fn append_hexadecimal(builder: &mut StringBuilder, hash: &[u8; 16]) {
    let digits = hexadecimal::<16, 32>(hash);
    builder.append_value(std::str::from_utf8(&digits).unwrap_or_default());
}
