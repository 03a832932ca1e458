//! The port: what every engine of the lake promises.

use crate::{error::LakeError, table::TableRef};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Debug, path::PathBuf, pin::Pin};

/// What every method of the port returns: boxed, so that callers do not compile the engines again.
pub type LakeFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LakeError>> + Send + 'a>>;

/// The tables of one project.
///
/// Column types: `Utf8`, `Int64`, `Int32`, `Float64`, `Decimal128`, `Boolean`, `Date32`,
/// `Timestamp(us, "UTC")` (`"+00:00"` is taken for it), `Binary`. Every column is nullable.
///
/// One process writes to a lake; within it all methods may run at the same time.
pub trait Lake: Send + Sync + Debug {
    /// Creates a table, or adds the columns it does not have yet (null in all older rows).
    ///
    /// Columns that the table has and `schema` lacks stay. Idempotent, and cheap when nothing
    /// changes. A column whose type differs is refused: [`LakeError::Retyped`].
    fn ensure(&self, table: &TableRef, schema: SchemaRef) -> LakeFuture<'_, ()>;

    /// Writes rows durably (files and folders fsynced) without showing them to readers.
    ///
    /// Columns are matched by name: missing ones are null, unknown ones an error. No rows, no
    /// files. Until a commit names them, staged files belong to the caller, who announces them
    /// somewhere durable or leaves them to [`Lake::discard_orphans`].
    fn stage(&self, table: &TableRef, batches: Vec<RecordBatch>)
    -> LakeFuture<'_, Vec<StagedFile>>;

    /// Appends staged files to a table in one atomic, durable step, exactly once.
    ///
    /// `application` numbers its batches upwards. If the table has this batch or a later one of
    /// the application, nothing is written and `already` is true. `files` may be empty: the batch
    /// is then only noted. The files may have been staged by an earlier process.
    fn commit(
        &self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> LakeFuture<'_, Committed>;

    /// The highest batch of an application that the table has.
    fn last_batch(&self, table: &TableRef, application: &str) -> LakeFuture<'_, Option<i64>>;

    /// Reads rows, in the order in which they were appended; a missing table has none.
    fn scan(&self, table: &TableRef, request: Scan) -> LakeFuture<'_, Vec<RecordBatch>>;

    /// All tables, sorted.
    fn tables(&self) -> LakeFuture<'_, Vec<TableRef>>;

    /// The files of a table's newest version, for a query engine; `None` if there is no such table
    /// or the engine keeps no files.
    fn files(&self, table: &TableRef) -> LakeFuture<'_, Option<TableFiles>>;

    /// Compacts small files, writes a checkpoint, and deletes what no reader needs any more.
    ///
    /// Rows and batches stay as they are. `now` is compared with the times of files.
    fn maintain(
        &self,
        table: &TableRef,
        now: Timestamp,
        settings: &Maintenance,
    ) -> LakeFuture<'_, MaintenanceReport>;

    /// Deletes files in table folders that no version of the table names, that are not in `keep`
    /// (paths of staged files still announced) and that were last changed before `older_than`.
    /// Returns how many.
    ///
    /// Call it when nothing is being staged, as at a start. The memory engine has no file times
    /// and takes every file for old.
    fn discard_orphans(
        &self,
        keep: &BTreeSet<String>,
        older_than: Timestamp,
    ) -> LakeFuture<'_, usize>;
}

/// Rows that are written and not yet seen by readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The table it is staged for.
    pub table: TableRef,
    /// Its path below the lake's folder, `data/eod_prices/part-....parquet`: unique in the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its statistics as Delta keeps them: JSON with the smallest and largest value of a column.
    pub stats: String,
    /// When it was written, by the file system's clock, in milliseconds since the epoch.
    pub modified_ms: i64,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version that has the batch (the current one, if it was there before).
    pub version: i64,
    /// The table had the batch already; nothing was written.
    pub already: bool,
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// The columns, in this order; all if `None`.
    pub columns: Option<Vec<String>>,
    /// Text columns whose value must be in the set; all of them must hold. Null is in no set.
    pub equals: Vec<(String, BTreeSet<String>)>,
    /// Stop after so many rows.
    pub row_limit: Option<usize>,
}

/// The files of one version of a table.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// The columns; older files may lack the newer ones.
    pub schema: SchemaRef,
    /// The version.
    pub version: i64,
    /// Absolute paths of Parquet files, in the order in which they were appended.
    pub paths: Vec<PathBuf>,
    /// Size of each file in bytes, in the order of `paths`.
    pub sizes: Vec<u64>,
    /// All rows.
    pub rows: u64,
    /// All bytes.
    pub bytes: u64,
}

/// When a table is compacted and swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Compact when a table has this many small files.
    pub compact_at_files: usize,
    /// The size up to which compaction grows a file; one of at least half of it is left alone.
    pub target_bytes: u64,
    /// How long a file that compaction replaced stays for readers of older versions.
    pub keep_removed: SignedDuration,
    /// How long a log entry stays that a checkpoint has made superfluous.
    pub log_retention: SignedDuration,
    /// Write a checkpoint when the newest is this many versions old.
    pub checkpoint_every: u64,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            compact_at_files: 64,
            target_bytes: 128 << 20,
            keep_removed: SignedDuration::from_hours(1),
            log_retention: SignedDuration::from_hours(1),
            checkpoint_every: 32,
        }
    }
}

/// What maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintenanceReport {
    /// Small files that were replaced.
    pub files_replaced: usize,
    /// Larger files written in their place.
    pub files_written: usize,
    /// Bytes of the files written.
    pub bytes_written: u64,
    /// The version of the checkpoint written.
    pub checkpoint: Option<u64>,
    /// Log entries deleted.
    pub log_entries_deleted: usize,
    /// Replaced files deleted.
    pub files_deleted: usize,
}
