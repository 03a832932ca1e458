//! Results on stdout: tables for people, JSON for programs.

use crate::failure::Failure;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::io::Write;

/// Writes a line to stdout. A reader that went away is no error.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line for people, to stderr.
pub(crate) fn tell(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes a value as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    line(text);
    Ok(())
}

/// A table without lines between rows; columns named in `right` are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for name in right {
        if let Some(column) =
            header.iter().position(|other| other == name).and_then(|index| table.column_mut(index))
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a table with no blanks behind its lines.
pub(crate) fn print(table: &Table) {
    for row in table.lines() {
        line(row.trim_end());
    }
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Control characters made visible, so that scraped text cannot steer a terminal.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                format!("{}", character.escape_default())
            } else {
                character.into()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn scraped_text_cannot_steer_a_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
