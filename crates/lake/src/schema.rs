//! Rules on columns, shared by the engines: which types a table may have, how it grows, how rows
//! are fitted to it and filtered. Pure.

use crate::{error::LakeError, table::TableRef};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
    },
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most columns a table may have: each costs statistics in every log entry.
const COLUMNS_MAX: usize = 1_000;

/// The type a table keeps for a declared one; `None` if no table has such a column.
fn kept_type(declared: &DataType) -> Option<DataType> {
    match declared {
        DataType::Utf8
        | DataType::Int64
        | DataType::Int32
        | DataType::Float64
        | DataType::Boolean
        | DataType::Date32
        | DataType::Binary => Some(declared.clone()),
        DataType::Decimal128(precision, scale)
            if (1..=38).contains(precision) && *scale >= 0 && *scale as u8 <= *precision =>
        {
            Some(declared.clone())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone))
            if matches!(&**zone, "UTC" | "+00:00" | "Z") =>
        {
            Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
        _ => None,
    }
}

/// A type in the words of source files.
fn in_words(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Int64 => "int".into(),
        DataType::Int32 => "int32".into(),
        DataType::Float64 => "float".into(),
        DataType::Boolean => "bool".into(),
        DataType::Date32 => "date".into(),
        DataType::Binary => "binary".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
        other => other.to_string(),
    }
}

/// A declared schema as a table keeps it: every column nullable, no metadata.
pub(crate) fn checked(table: &TableRef, declared: &Schema) -> Result<SchemaRef, LakeError> {
    let refused = |column: &str, reason: String| LakeError::Column {
        table: table.clone(),
        column: column.to_owned(),
        reason,
    };
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut fields = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        let name = field.name();
        let forbidden = |character: char| character.is_control() || " ,;{}()=".contains(character);
        if name.is_empty() || name.chars().any(forbidden) {
            let reason = "a name has no spaces and none of `,;{}()=`".to_owned();
            return Err(refused(name, reason));
        }
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            return Err(refused(name, format!("`{other}` has the same name, but for case")));
        }
        let Some(kept) = kept_type(field.data_type()) else {
            let reason = format!("tables have no type `{}`", field.data_type());
            return Err(refused(name, reason));
        };
        fields.push(Field::new(name, kept, true));
    }
    if fields.is_empty() || fields.len() > COLUMNS_MAX {
        let reason = format!("a table has 1 to {COLUMNS_MAX} columns, found {}", fields.len());
        return Err(refused("*", reason));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The schema after declaring `declared` (already checked) on a table; `None` if it has all of it.
pub(crate) fn grown(
    table: &TableRef,
    existing: &Schema,
    declared: &Schema,
) -> Result<Option<SchemaRef>, LakeError> {
    let mut fields: Vec<_> = existing.fields().iter().cloned().collect();
    for field in declared.fields() {
        let same_name =
            existing.fields().iter().find(|other| other.name().eq_ignore_ascii_case(field.name()));
        match same_name {
            None => fields.push(field.clone()),
            Some(other) if other.name() != field.name() => {
                return Err(LakeError::Column {
                    table: table.clone(),
                    column: field.name().clone(),
                    reason: format!("the table has `{}`, the same but for case", other.name()),
                });
            }
            Some(other) if other.data_type() != field.data_type() => {
                return Err(LakeError::Retyped {
                    table: table.clone(),
                    column: field.name().clone(),
                    found: in_words(other.data_type()),
                    declared: in_words(field.data_type()),
                });
            }
            Some(_) => {}
        }
    }
    if fields.len() == existing.fields().len() {
        return Ok(None);
    }
    checked(table, &Schema::new(fields)).map(Some)
}

/// Rows fitted to a table's schema: columns by name, missing ones null, unknown ones refused.
pub(crate) fn conformed(
    table: &TableRef,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, LakeError> {
    for field in batch.schema_ref().fields() {
        known(table, schema, field.name())?;
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(column) = batch.column_by_name(field.name()) else {
            columns.push(new_null_array(field.data_type(), batch.num_rows()));
            continue;
        };
        if kept_type(column.data_type()).as_ref() != Some(field.data_type()) {
            return Err(LakeError::Retyped {
                table: table.clone(),
                column: field.name().clone(),
                found: in_words(field.data_type()),
                declared: in_words(column.data_type()),
            });
        }
        let column = if column.data_type() == field.data_type() {
            column.clone()
        } else {
            cast(column, field.data_type()).map_err(|error| unfit(table, error))?
        };
        columns.push(column);
    }
    assemble(schema, columns, batch.num_rows()).map_err(|error| unfit(table, error))
}

/// Rows read from a file fitted to (a projection of) the table's schema: a file that is older than
/// a column has null there, one of another writer may spell a type differently.
pub(crate) fn adapted(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    assemble(schema, columns, batch.num_rows())
}

fn assemble(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// The columns asked for, in the order asked for.
pub(crate) fn projected(
    table: &TableRef,
    schema: &SchemaRef,
    columns: Option<&[String]>,
) -> Result<SchemaRef, LakeError> {
    let Some(columns) = columns else { return Ok(schema.clone()) };
    let fields = columns
        .iter()
        .map(|column| known(table, schema, column).cloned())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// Checks the columns of a filter: they exist and hold text.
pub(crate) fn check_filter(
    table: &TableRef,
    schema: &SchemaRef,
    equals: &[(String, BTreeSet<String>)],
) -> Result<(), LakeError> {
    for (column, _) in equals {
        let field = known(table, schema, column)?;
        if field.data_type() != &DataType::Utf8 {
            return Err(LakeError::Column {
                table: table.clone(),
                column: column.clone(),
                reason: format!("it holds `{}`, a filter needs text", in_words(field.data_type())),
            });
        }
    }
    Ok(())
}

fn known<'schema>(
    table: &TableRef,
    schema: &'schema SchemaRef,
    column: &str,
) -> Result<&'schema Arc<Field>, LakeError> {
    schema.fields().find(column).map(|(_, field)| field).ok_or_else(|| LakeError::UnknownColumn {
        table: table.clone(),
        column: column.to_owned(),
        columns: schema
            .fields()
            .iter()
            .map(|field| format!("`{}`", field.name()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn unfit(table: &TableRef, error: ArrowError) -> LakeError {
    LakeError::Rows { table: table.clone(), action: "fit", source: Box::new(error) }
}

/// Which rows of a text column are in a set.
pub(crate) fn rows_in(column: &ArrayRef, values: &BTreeSet<String>) -> BooleanArray {
    let is_in = |value: Option<&str>| value.is_some_and(|value| values.contains(value));
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(|v| Some(is_in(v))).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(|v| Some(is_in(v))).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(|v| Some(is_in(v))).collect(),
        _ => BooleanArray::from(vec![false; column.len()]),
    }
}
