//! SQL over the lake, read-only, by DataFusion.
//!
//! [`Query`] shows each table under its name with all rows ever written, `latest.<table>` with the
//! newest row of each key, `ledger.*` and `quarantine.*`; [`SqlOptions::as_of`] shows what was known
//! at a time. It plans over the exact list of files of a table's newest version, so that staged,
//! replaced and orphaned files are never seen.
//!
//! It does not write: statements other than queries are refused before they are planned.
//! DataFusion is compiled in this crate only.

pub mod error;
pub mod print;
pub mod query;

mod catalog;
mod files;
mod latest;
mod statement;

pub use error::QueryError;
pub use print::{write_csv, write_json, write_table};
pub use query::{Query, QueryFuture, QueryResult, SqlOptions};
