//! What can go wrong with hot state, by what the caller can do about it.

use std::{error::Error, path::PathBuf};

/// What lies below an error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why an operation on the state did not happen. After each of these the store is as it was
/// before the operation, and usable.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another batch has been announced since the caller counted. Read the project again.
    #[error("batch `{found}` is stale: the next batch is `{expected}`")]
    StaleBatch {
        /// The number the caller gave.
        found: i64,
        /// The number that would have been taken.
        expected: i64,
    },
    /// A batch is to be settled that was never announced.
    #[error("batch `{number}` was never announced: the next batch is `{next_batch}`")]
    UnknownBatch {
        /// The number the caller gave.
        number: i64,
        /// The next number to be announced.
        next_batch: i64,
    },
    /// No backfill has this number.
    #[error("there is no backfill `{id}`")]
    UnknownBackfill {
        /// The number the caller gave.
        id: i64,
    },
    /// Rebuilt state may enter an empty store only.
    #[error("the state is not empty, so nothing was imported: move the state file away first")]
    NotEmpty,
    /// The store was opened for reading only.
    #[error("the state file `{path}` was opened for reading only")]
    OpenedReadOnly {
        /// The state file.
        path: PathBuf,
    },
    /// There is no state file.
    #[error("there is no state file `{path}`: `tidewatch run` creates it")]
    Missing {
        /// The state file.
        path: PathBuf,
    },
    /// The file was written by a later version of this program.
    #[error(
        "the state file `{path}` has format `{found}`, this program knows up to `{supported}`: \
         use the newer tidewatch that wrote it"
    )]
    NewerVersion {
        /// The format of the file.
        found: i64,
        /// The newest format this program knows.
        supported: i64,
        /// The state file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "`{path}` is not a state file of tidewatch: move it away; if there was one in its place, \
         `tidewatch state rebuild` makes it again from the ledger tables"
    )]
    NotAStateFile {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        cause: BoxError,
    },
    /// The file is truncated or damaged.
    #[error(
        "the state file `{path}` is damaged: run `tidewatch state rebuild` to make it again from \
         the ledger tables"
    )]
    Corrupt {
        /// The state file.
        path: PathBuf,
        /// What was found.
        #[source]
        cause: BoxError,
    },
    /// The file or its folder does not let itself be written.
    #[error(
        "the state file `{path}` cannot be written: check its permissions, its folder's and the disk's"
    )]
    NotWritable {
        /// The state file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: BoxError,
    },
    /// No space is left for the file to grow.
    #[error("no space is left on the disk of the state file `{path}`: free some and go on")]
    DiskFull {
        /// The state file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: BoxError,
    },
    /// Another process holds the file longer than the busy time-out.
    #[error("the state file `{path}` is locked by another process")]
    Busy {
        /// The state file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: BoxError,
    },
    /// Anything else between us and the file.
    #[error("the state file `{path}` could not be used")]
    Unavailable {
        /// The state file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: BoxError,
    },
}
