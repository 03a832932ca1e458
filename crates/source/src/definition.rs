//! The normal form of a source file, and the version that stands for what decides its data.

use crate::{
    request::is_secret_header,
    tree::{Entry, Item, Table, Value},
};
use model::SourceVersion;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What decides which bytes are asked for and what is made of them. Time-outs, limits, prices and
/// the place of the data do not.
const DECIDING: [(&str, &[&str]); 3] = [
    ("request", &["url", "method", "body", "headers", "auth", "empty_status"]),
    ("extract", &["format", "records", "empty", "fields"]),
    ("expect", &["records_per_cell", "key", "checks"]),
];

/// 16 hexadecimal digits over the deciding parts, in an order of their own.
pub(crate) fn version(root: &Table) -> SourceVersion {
    let mut text = String::new();
    for (section, keys) in DECIDING {
        let Some(table) = root.table(section) else { continue };
        for key in keys {
            if let Some(entry) = table.entry(key) {
                let _ = write!(text, "{section}.{key}=");
                write_value(&mut text, &masked(entry, key), Order::Sorted);
                text.push('\n');
            }
        }
    }
    let digest = Sha256::digest(text.as_bytes());
    let mut digits = String::with_capacity(16);
    for byte in digest.iter().take(8) {
        let _ = write!(digits, "{byte:02x}");
    }
    SourceVersion(digits.into())
}

/// The file as normalised TOML: scalars first, one table after the other, fields in their order
/// (which is that of the columns), everything else sorted; no comment and no literal secret.
pub(crate) fn normalise(root: &Table, name: &str) -> String {
    let mut text = String::new();
    let _ = write!(text, "name = ");
    write_text(&mut text, name);
    text.push('\n');
    let (tables, scalars): (Vec<&Entry>, Vec<&Entry>) = sorted(&root.entries)
        .into_iter()
        .filter(|entry| entry.key != "name")
        .partition(|entry| matches!(entry.item.value, Value::Table(_)));
    for entry in scalars {
        write_entry(&mut text, entry);
    }
    for entry in tables {
        let Value::Table(table) = &entry.item.value else { continue };
        let _ = write!(text, "\n[{}]\n", entry.key);
        let has_rows = |entry: &Entry| entry.key == "fields" || entry.key == "headers";
        for inner in sorted(&table.entries).into_iter().filter(|inner| !has_rows(inner)) {
            write_entry(&mut text, inner);
        }
        for inner in table.entries.iter().filter(|inner| has_rows(inner)) {
            let Value::Table(rows) = masked(inner, &inner.key) else { continue };
            let _ = write!(text, "\n[{}.{}]\n", entry.key, inner.key);
            rows.entries.iter().for_each(|row| write_entry(&mut text, row));
        }
    }
    text
}

fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|left, right| left.key.cmp(&right.key));
    sorted
}

/// The value of an entry; of `headers`, without what looks like a secret.
fn masked(entry: &Entry, key: &str) -> Value {
    let Value::Table(table) = &entry.item.value else { return entry.item.value.clone() };
    if key != "headers" {
        return entry.item.value.clone();
    }
    let entries = table.entries.iter().map(|header| {
        let literal = header.item.text().is_some_and(|(text, _)| {
            !text.contains("${") && !text.starts_with("file:") && is_secret_header(&header.key)
        });
        let value = if literal { Value::Text("***".to_owned()) } else { header.item.value.clone() };
        Entry { item: Item { span: header.item.span, value }, ..header.clone() }
    });
    Value::Table(Table { entries: entries.collect(), ..Table::default() })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Sorted,
    AsWritten,
}

fn write_entry(out: &mut String, entry: &Entry) {
    write_key(out, &entry.key);
    out.push_str(" = ");
    write_value(out, &entry.item.value, Order::AsWritten);
    out.push('\n');
}

fn write_value(out: &mut String, value: &Value, order: Order) {
    match value {
        Value::Text(text) => write_text(out, text),
        Value::Number(digits) => out.push_str(digits),
        Value::Flag(flag) => {
            let _ = write!(out, "{flag}");
        }
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_value(out, &item.value, order);
            }
            out.push(']');
        }
        Value::Table(table) => {
            let entries = match order {
                Order::Sorted => sorted(&table.entries),
                Order::AsWritten => table.entries.iter().collect(),
            };
            out.push('{');
            for (index, entry) in entries.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { " " });
                write_key(out, &entry.key);
                out.push_str(" = ");
                write_value(out, &entry.item.value, order);
            }
            out.push_str(" }");
        }
    }
}

fn write_key(out: &mut String, key: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        out.push_str(key);
    } else {
        write_text(out, key);
    }
}

/// A basic string of TOML.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
