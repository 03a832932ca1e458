//! What stops an engine.

use model::{SourceId, TableName};
use std::path::PathBuf;

/// An error that the engine cannot go on with. State and tables are intact: what was announced is
/// finished at the next start, what was not is asked for again.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another engine has the project.
    #[error("another engine holds this project (lock file `{}`)", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be made.
    #[error("cannot take the project's lock file `{}`", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A source's list of entities lost most of its lines.
    #[error(
        "the entities of `{source_id}` fell from {before} to {found}: this is not taken for a mass delisting, and \
         nothing was changed; restore the list, or give the entities a `listed_until`, or run with \
         `--accept-entities {source_id}`"
    )]
    EntitiesLost {
        /// Which source.
        source_id: SourceId,
        /// Entities known so far.
        before: u64,
        /// Entities found now.
        found: u64,
    },
    /// Tables exist that this state knows nothing of.
    #[error(
        "the state is new, but the lake already has tables (`{table}`): running would write their records twice; \
         rebuild the state from the tables by `tidewatch state rebuild`, or choose another folder for the lake"
    )]
    ForeignLake {
        /// One of the tables.
        table: String,
    },
    /// A definition cannot be run.
    #[error("the definition of `{source_id}` cannot be run: {message}")]
    Definition {
        /// Which source.
        source_id: SourceId,
        /// Why.
        message: String,
    },
    /// A table's stored bytes are not what the engine wrote.
    #[error("the announced batch {number} cannot be read: {message}")]
    Batch {
        /// Its number.
        number: i64,
        /// Why.
        message: String,
    },
    /// Rows could not be put together for a table.
    #[error("rows for table `{table}` could not be put together")]
    Rows {
        /// The table.
        table: TableName,
        /// Why.
        #[source]
        cause: arrow::error::ArrowError,
    },
    /// The state store failed.
    #[error("the state store failed")]
    State(#[from] state::StateError),
    /// The lake failed.
    #[error("the lake failed")]
    Lake(#[from] lake::LakeError),
    /// The archive failed.
    #[error("the archive failed")]
    Archive(#[from] archive::ArchiveError),
    /// A body too large for memory could not be put aside.
    #[error("a large body could not be put aside at `{}`", path.display())]
    Spool {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A task of the engine ended without an answer; a defect of this program.
    #[error("a task of the engine broke: {0}")]
    Task(String),
}
