//! Answers as a table for people, JSON and CSV for programs.
//!
//! Numbers keep their digits: a decimal is a JSON number with all of them, never a float's. Dates and
//! times are ISO 8601, times in UTC; bytes are lower-case hexadecimal.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float16Type, Float32Type, Float64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use std::io::{self, Write};

/// Writes rows as one JSON array of objects and a line end; `[]` if there are none.
///
/// A float that is not finite is null, for JSON has none.
pub fn write_json(
    rows: &(impl AsRef<[RecordBatch]> + ?Sized),
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"[")?;
    let mut first = true;
    for batch in rows.as_ref() {
        for row in 0..batch.num_rows() {
            out.write_all(if first { b"\n" } else { b",\n" })?;
            first = false;
            out.write_all(b"{")?;
            for (index, field) in batch.schema_ref().fields().iter().enumerate() {
                if index > 0 {
                    out.write_all(b",")?;
                }
                serde_json::to_writer(&mut *out, field.name())?;
                out.write_all(b":")?;
                write_json_value(batch.column(index), row, out)?;
            }
            out.write_all(b"}")?;
        }
    }
    out.write_all(if first { b"]\n" } else { b"\n]\n" })
}

fn write_json_value(column: &ArrayRef, row: usize, out: &mut dyn Write) -> io::Result<()> {
    if column.is_null(row) {
        return out.write_all(b"null");
    }
    let floating = |value: f64, out: &mut dyn Write| match serde_json::Number::from_f64(value) {
        Some(number) => write!(out, "{number}"),
        None => out.write_all(b"null"),
    };
    match column.data_type() {
        DataType::Boolean => write!(out, "{}", column.as_boolean().value(row)),
        kind if kind.is_integer() => out.write_all(text(column, row)?.as_bytes()),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => out.write_all(text(column, row)?.as_bytes()),
        DataType::Float64 => floating(column.as_primitive::<Float64Type>().value(row), out),
        // By way of its text, so that 0.1 stays 0.1.
        DataType::Float32 if column.as_primitive::<Float32Type>().value(row).is_finite() => {
            out.write_all(text(column, row)?.as_bytes())
        }
        DataType::Float16 if column.as_primitive::<Float16Type>().value(row).is_finite() => {
            out.write_all(text(column, row)?.as_bytes())
        }
        DataType::Float32 | DataType::Float16 | DataType::Null => out.write_all(b"null"),
        DataType::List(_) => write_json_list(&column.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => write_json_list(&column.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(..) => {
            write_json_list(&column.as_fixed_size_list().value(row), out)
        }
        DataType::Struct(fields) => {
            out.write_all(b"{")?;
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.write_all(b",")?;
                }
                serde_json::to_writer(&mut *out, field.name())?;
                out.write_all(b":")?;
                write_json_value(column.as_struct().column(index), row, out)?;
            }
            out.write_all(b"}")
        }
        DataType::Dictionary(_, values) => {
            let plain = arrow::compute::cast(column, values).map_err(unprintable)?;
            write_json_value(&plain, row, out)
        }
        _ => Ok(serde_json::to_writer(out, &text(column, row)?)?),
    }
}

fn write_json_list(values: &ArrayRef, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"[")?;
    for index in 0..values.len() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_json_value(values, index, out)?;
    }
    out.write_all(b"]")
}

/// Writes rows as CSV (RFC 4180) with a header. Null is an empty field, an empty text is `""`.
pub fn write_csv(
    rows: &(impl AsRef<[RecordBatch]> + ?Sized),
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(first) = rows.as_ref().first() else { return Ok(()) };
    for (index, field) in first.schema_ref().fields().iter().enumerate() {
        out.write_all(if index > 0 { b"," } else { b"" })?;
        out.write_all(csv_field(field.name()).as_bytes())?;
    }
    out.write_all(b"\r\n")?;
    for batch in rows.as_ref() {
        let columns = formatters(batch)?;
        for row in 0..batch.num_rows() {
            for (index, formatter) in columns.iter().enumerate() {
                out.write_all(if index > 0 { b"," } else { b"" })?;
                if batch.column(index).is_valid(row) {
                    let text = formatter.value(row).try_to_string().map_err(unprintable)?;
                    out.write_all(csv_field(&text).as_bytes())?;
                }
            }
            out.write_all(b"\r\n")?;
        }
    }
    Ok(())
}

fn csv_field(text: &str) -> String {
    let quoted = text.is_empty() || text.contains([',', '"', '\r', '\n']);
    if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Writes rows as aligned text for people. Control characters, and those that turn the direction of
/// text, are written as escapes, so that data cannot steer a terminal.
pub fn write_table(
    rows: &(impl AsRef<[RecordBatch]> + ?Sized),
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(first) = rows.as_ref().first() else { return Ok(()) };
    let fields = first.schema_ref().fields().clone();
    let mut cells: Vec<Vec<String>> =
        vec![fields.iter().map(|field| escaped(field.name())).collect()];
    for batch in rows.as_ref() {
        let columns = formatters(batch)?;
        for row in 0..batch.num_rows() {
            let mut line = Vec::with_capacity(columns.len());
            for formatter in &columns {
                let text = formatter.value(row).try_to_string().map_err(unprintable)?;
                line.push(escaped(&text));
            }
            cells.push(line);
        }
    }
    let width = |index: usize| {
        cells.iter().filter_map(|line| line.get(index)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..fields.len()).map(|index| width(index).unwrap_or(0)).collect();
    for (number, line) in cells.iter().enumerate() {
        let aligned = line.iter().zip(&widths).zip(fields.iter()).map(|((cell, width), field)| {
            if field.data_type().is_numeric() {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let printed = aligned.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", printed.trim_end())?;
        if number == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            writeln!(out, "{}", rule.join("  "))?;
        }
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(
            character,
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        );
        if character.is_control() || turns {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn formatters(batch: &RecordBatch) -> io::Result<Vec<ArrayFormatter<'_>>> {
    let formatter = |column| ArrayFormatter::try_new(column, &OPTIONS).map_err(unprintable);
    batch.columns().iter().map(|column| formatter(column.as_ref())).collect()
}

const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

fn text(column: &ArrayRef, row: usize) -> io::Result<String> {
    let formatter = ArrayFormatter::try_new(column.as_ref(), &OPTIONS).map_err(unprintable)?;
    formatter.value(row).try_to_string().map_err(unprintable)
}

fn unprintable(error: ArrowError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
