//! Why a query has no result.

use datafusion::error::DataFusionError;
use lake::LakeError;

/// Why a query has no result, by what its writer can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is not SQL.
    #[error("the query cannot be read: {reason}")]
    Syntax {
        /// What was found, and where.
        reason: String,
    },
    /// No statement, or more than one.
    #[error("expected one statement, found {found}: ask one question at a time")]
    Statements {
        /// Statements found.
        found: usize,
    },
    /// A statement that is not a query.
    #[error(
        "`{statement}` is refused: tables are only read here; write SELECT, WITH, EXPLAIN, \
         SHOW TABLES or DESCRIBE"
    )]
    ReadOnly {
        /// The statement's first words, or the part of it that is refused.
        statement: String,
    },
    /// A table that does not exist.
    #[error("there is no table `{table}`; there are {tables}")]
    UnknownTable {
        /// The table asked for.
        table: String,
        /// All tables.
        tables: String,
    },
    /// The key of a table names a column that it does not have.
    #[error(
        "`latest.{table}` needs the key column `{column}`, which the table does not have (it has \
         {columns}): correct `key` in the source's `[expect]`"
    )]
    Key {
        /// The table.
        table: String,
        /// The missing column.
        column: String,
        /// The columns it has.
        columns: String,
    },
    /// A table without the time that `as_of` compares with.
    #[error("table `{table}` has no column `{column}`, so it cannot be shown as of a time")]
    AsOf {
        /// The table.
        table: String,
        /// The missing column.
        column: String,
    },
    /// The query is not possible over these tables.
    #[error("the query is not possible")]
    Plan {
        /// DataFusion's reason: an unknown column or function, types that do not fit.
        #[source]
        source: Box<DataFusionError>,
    },
    /// The query needs more memory than it may have.
    #[error(
        "the query needs more than {limit_bytes} bytes of memory: ask for fewer rows or columns, \
         or aggregate"
    )]
    Memory {
        /// The bound.
        limit_bytes: usize,
    },
    /// The query began and failed.
    #[error("the query failed while it ran")]
    Run {
        /// DataFusion's reason: a division by zero, a text that is no number, a damaged file.
        #[source]
        source: Box<DataFusionError>,
    },
    /// The lake cannot be read.
    #[error("the tables cannot be read")]
    Lake {
        /// The lake's reason.
        #[source]
        source: LakeError,
    },
}
