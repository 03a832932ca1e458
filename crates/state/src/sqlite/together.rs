//! Many rows by one statement: where they follow each other in a table, each but the first finds its
//! place at once.

use super::fault::Fault;
use rusqlite::{Error, ErrorCode, Statement};
use std::fmt::Write as _;

/// Rows of such a statement.
pub(super) const ROWS: usize = 32;

/// `VALUES` with the parameters of all rows, each with so many columns, one row behind the other.
pub(super) fn values(columns: usize) -> String {
    let mut text = String::from("VALUES ");
    for row in 0..ROWS {
        text.push_str(if row > 0 { ", (" } else { "(" });
        for column in 1..=columns {
            let between = if column > 1 { ", " } else { "" };
            let _ = write!(text, "{between}?{}", row * columns + column);
        }
        text.push(')');
    }
    text
}

/// Adds the rows bound to a statement; `false`: one of them is there already, and none was added.
pub(super) fn add(statement: &mut Statement<'_>) -> Result<bool, Fault> {
    match statement.raw_execute() {
        Ok(_) => Ok(true),
        Err(Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
