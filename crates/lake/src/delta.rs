//! The lake as Delta tables on the local disk.
//!
//! Each table's log is read once and kept in memory; before each use a look at the next entry's
//! name tells whether another program has committed. Data files are written under random names and
//! exist for readers when a log entry names them.

use crate::{
    compact, durable, entries,
    error::LakeError,
    kernel,
    log::{self, Appended, LiveFile, TableLog, blocking},
    parquet_file,
    port::{
        Committed, Lake, LakeFuture, Maintenance, MaintenanceReport, Scan, StagedFile, TableFiles,
    },
    schema, sweep,
    table::TableRef,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

/// How often a commit is tried when others take its version.
const COMMIT_TRIES: usize = 16;

/// A lake in a folder of the local disk. Clones share what is known of its tables.
#[derive(Debug, Clone)]
pub struct DeltaLake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    tables: Mutex<BTreeMap<TableRef, Arc<AsyncMutex<Slot>>>>,
}

/// What is known of a table. While a method works on it the log is taken out, so that a method
/// that fails or is dropped half-way leaves it unknown, to be read again.
#[derive(Debug, Default)]
struct Slot(Option<TableLog>);

impl DeltaLake {
    /// Opens the lake in `dir`, which is created if it is missing. Blocks for a moment.
    ///
    /// Tables are read when they are first used.
    pub fn open(dir: &Path) -> Result<Self, LakeError> {
        let absolute = std::path::absolute(dir)
            .and_then(|dir| durable::create_folders(&dir).map(|()| dir))
            .and_then(fs::canonicalize)
            .map_err(|error| LakeError::io("*", dir, "create", error))?;
        let shared = Shared { root: absolute, tables: Mutex::new(BTreeMap::new()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.shared.root
    }

    fn slot(&self, table: &TableRef) -> Arc<AsyncMutex<Slot>> {
        let mut tables = self.shared.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(table.clone()).or_default().clone()
    }

    fn folder(&self, table: &TableRef) -> PathBuf {
        self.shared.root.join(table.to_string())
    }

    /// The log as it is on the disk now; `None` if there is no table.
    async fn current(
        &self,
        slot: &mut MutexGuard<'_, Slot>,
        table: &TableRef,
    ) -> Result<Option<TableLog>, LakeError> {
        match slot.0.take() {
            Some(mut log) => {
                log.refresh().await?;
                Ok(Some(log))
            }
            None => TableLog::load(table, &self.folder(table)).await,
        }
    }

    async fn declare(self, table: TableRef, declared: SchemaRef) -> Result<(), LakeError> {
        let declared = schema::checked(&table, &declared)?;
        let slot = self.slot(&table);
        let mut slot = slot.lock().await;
        if let Some(log) = &slot.0
            && schema::grown(&table, &log.schema, &declared)?.is_none()
        {
            return Ok(());
        }
        for _ in 0..COMMIT_TRIES {
            let Some(mut log) = self.current(&mut slot, &table).await? else {
                slot.0 = Some(TableLog::create(&table, &self.folder(&table), &declared).await?);
                continue;
            };
            let done = match schema::grown(&table, &log.schema, &declared) {
                Ok(None) => true,
                Ok(Some(grown)) => log.append_schema(&grown).await? == Appended::Yes,
                Err(error) => {
                    slot.0 = Some(log);
                    return Err(error);
                }
            };
            slot.0 = Some(log);
            if done {
                return Ok(());
            }
        }
        Err(LakeError::Contended { table, tries: COMMIT_TRIES })
    }

    async fn write_rows(
        self,
        table: TableRef,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<StagedFile>, LakeError> {
        let schema = {
            let slot = self.slot(&table);
            let mut slot = slot.lock().await;
            if slot.0.is_none() {
                slot.0 = self.current(&mut slot, &table).await?;
            }
            let Some(log) = &slot.0 else { return Err(LakeError::MissingTable { table }) };
            log.schema.clone()
        };
        blocking(&table.clone(), move || {
            let conformed = batches.iter().map(|batch| schema::conformed(&table, &schema, batch));
            // All columns are checked before the first file is created.
            let conformed = conformed.collect::<Result<Vec<_>, _>>()?;
            parquet_file::write(&self.shared.root, &table, &schema, conformed.into_iter().map(Ok))
        })
        .await
    }

    async fn append(
        self,
        table: TableRef,
        application: String,
        batch: i64,
        files: Vec<StagedFile>,
    ) -> Result<Committed, LakeError> {
        let slot = self.slot(&table);
        let mut slot = slot.lock().await;
        for _ in 0..COMMIT_TRIES {
            let Some(mut log) = self.current(&mut slot, &table).await? else {
                return Err(LakeError::MissingTable { table });
            };
            if log.last_batch(&application).await?.is_some_and(|last| last >= batch) {
                let version = log.version as i64;
                slot.0 = Some(log);
                return Ok(Committed { version, already: true });
            }
            let checked = self.check_staged(&log, &files).await;
            let appended = match checked {
                Ok(()) => log.append_batch(&application, batch, &files).await?,
                Err(error) => {
                    slot.0 = Some(log);
                    return Err(error);
                }
            };
            let version = log.version as i64;
            slot.0 = Some(log);
            if appended == Appended::Yes {
                return Ok(Committed { version, already: false });
            }
        }
        Err(LakeError::Contended { table, tries: COMMIT_TRIES })
    }

    /// A log entry that names a file which is not there would break the table for every reader.
    async fn check_staged(&self, log: &TableLog, files: &[StagedFile]) -> Result<(), LakeError> {
        let refused = |file: &StagedFile, path: PathBuf, found: String| LakeError::StagedFile {
            table: log.table.clone(),
            path,
            found,
            expected_bytes: file.bytes,
        };
        for file in files {
            let path = self.shared.root.join(&file.path);
            if file.table != log.table {
                return Err(refused(file, path, format!("is staged for `{}`", file.table)));
            }
            if log.refers_to(kernel::file_name(file)) {
                return Err(refused(file, path, "is part of the table already".into()));
            }
        }
        let table = log.table.clone();
        let expected: Vec<_> =
            files.iter().map(|file| (self.shared.root.join(&file.path), file.bytes)).collect();
        blocking(&table.clone(), move || {
            for (path, expected_bytes) in expected {
                let found = match fs::metadata(&path) {
                    Ok(stored) if stored.len() == expected_bytes => continue,
                    Ok(stored) => format!("has {} bytes", stored.len()),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        "is missing".into()
                    }
                    Err(error) => return Err(LakeError::io(&table, &path, "read", error)),
                };
                return Err(LakeError::StagedFile { table, path, found, expected_bytes });
            }
            Ok(())
        })
        .await
    }

    async fn find_batch(
        self,
        table: TableRef,
        application: String,
    ) -> Result<Option<i64>, LakeError> {
        let slot = self.slot(&table);
        let mut slot = slot.lock().await;
        let Some(mut log) = self.current(&mut slot, &table).await? else { return Ok(None) };
        let last = log.last_batch(&application).await?;
        slot.0 = Some(log);
        Ok(last)
    }

    /// Columns and files of the newest version; `None` if there is no table.
    async fn snapshot(&self, table: &TableRef) -> Result<Option<Snapshot>, LakeError> {
        let slot = self.slot(table);
        let mut slot = slot.lock().await;
        let Some(log) = self.current(&mut slot, table).await? else { return Ok(None) };
        let snapshot =
            Snapshot { schema: log.schema.clone(), version: log.version, files: log.files() };
        slot.0 = Some(log);
        Ok(Some(snapshot))
    }

    async fn read_rows(
        self,
        table: TableRef,
        request: Scan,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let Some(snapshot) = self.snapshot(&table).await? else { return Ok(Vec::new()) };
        let wanted = schema::projected(&table, &snapshot.schema, request.columns.as_deref())?;
        schema::check_filter(&table, &snapshot.schema, &request.equals)?;
        let folder = self.folder(&table);
        blocking(&table.clone(), move || {
            let mut request = request;
            let mut rows = Vec::new();
            for file in snapshot.files {
                if request.row_limit == Some(0) {
                    break;
                }
                let possible = request
                    .equals
                    .iter()
                    .all(|(column, values)| file.statistics.may_hold(column, values));
                if !possible {
                    continue;
                }
                let path = folder.join(&file.path);
                let batches = parquet_file::read(&path, &wanted, &request)
                    .map_err(|error| error.of(&table, &path))?;
                for batch in batches {
                    let batch = batch.map_err(|error| error.of(&table, &path))?;
                    if let Some(left) = &mut request.row_limit {
                        *left = left.saturating_sub(batch.num_rows());
                    }
                    if batch.num_rows() > 0 {
                        rows.push(batch);
                    }
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn list_files(self, table: TableRef) -> Result<Option<TableFiles>, LakeError> {
        let Some(snapshot) = self.snapshot(&table).await? else { return Ok(None) };
        let folder = self.folder(&table);
        blocking(&table.clone(), move || {
            let mut files = TableFiles {
                schema: snapshot.schema,
                version: snapshot.version as i64,
                paths: Vec::with_capacity(snapshot.files.len()),
                sizes: Vec::with_capacity(snapshot.files.len()),
                rows: 0,
                bytes: 0,
            };
            for file in snapshot.files {
                files.rows += log::rows_of(&table, &folder, &file)?;
                files.bytes += file.bytes;
                files.sizes.push(file.bytes);
                files.paths.push(folder.join(&file.path));
            }
            Ok(Some(files))
        })
        .await
    }

    async fn list_tables(self) -> Result<Vec<TableRef>, LakeError> {
        blocking("*", move || {
            let mut tables = Vec::new();
            for area in ["data", "quarantine", "ledger"] {
                let folder = self.shared.root.join(area);
                let failed = |error| LakeError::io(area, &folder, "read", error);
                let entries = match fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(error)),
                };
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name();
                    let table =
                        name.to_str().and_then(|name| TableRef::parse(&format!("{area}/{name}")));
                    let Some(table) = table else { continue };
                    let listing = entries::list(&self.folder(&table)).map_err(failed)?;
                    if !listing.entries.is_empty() || !listing.checkpoints.is_empty() {
                        tables.push(table);
                    }
                }
            }
            tables.sort();
            Ok(tables)
        })
        .await
    }

    async fn tend(
        self,
        table: TableRef,
        now: Timestamp,
        settings: Maintenance,
    ) -> Result<MaintenanceReport, LakeError> {
        let mut report = MaintenanceReport::default();
        let Some(snapshot) = self.snapshot(&table).await? else { return Ok(report) };
        for group in compact::groups(&snapshot.files, &settings) {
            self.compact(&table, &snapshot.schema, group, now, &settings, &mut report).await?;
        }
        let slot = self.slot(&table);
        let mut slot = slot.lock().await;
        let Some(mut log) = self.current(&mut slot, &table).await? else { return Ok(report) };
        // Version 0 counts as one: a table that is never written to needs no checkpoint.
        if log.version - log.checkpoint.unwrap_or(0) >= settings.checkpoint_every.max(1) {
            report.checkpoint = Some(log.write_checkpoint().await?);
        }
        let removed_before = before(now, settings.keep_removed);
        let due = log.removed.iter().filter(|(_, at)| **at <= removed_before);
        let due: Vec<_> = due.map(|(path, _)| path.clone()).collect();
        let folder = log.folder.clone();
        let (log_before, swept) = (before(now, settings.log_retention), table.clone());
        let (gone, files_deleted, log_entries_deleted) = blocking(&table, move || {
            let (gone, deleted) = sweep::delete_removed(&swept, &folder, due)?;
            let entries = sweep::delete_log_entries(&swept, &folder, log_before)?;
            Ok((gone, deleted, entries))
        })
        .await?;
        for path in gone {
            log.removed.remove(&path);
        }
        slot.0 = Some(log);
        Ok(MaintenanceReport { log_entries_deleted, files_deleted, ..report })
    }

    /// Rewrites a group of files. Others may read and commit meanwhile; if one of them took a file
    /// of the group out of the table, the work is dropped.
    async fn compact(
        &self,
        table: &TableRef,
        schema: &SchemaRef,
        group: Vec<Arc<LiveFile>>,
        now: Timestamp,
        settings: &Maintenance,
        report: &mut MaintenanceReport,
    ) -> Result<(), LakeError> {
        let written = {
            let (lake, table, schema) = (self.clone(), table.clone(), schema.clone());
            let group = group.clone();
            blocking(&table.clone(), move || {
                compact::rewrite(&lake.shared.root, &table, &schema, &group)
            })
            .await?
        };
        let slot = self.slot(table);
        let mut slot = slot.lock().await;
        for _ in 0..COMMIT_TRIES {
            let Some(mut log) = self.current(&mut slot, table).await? else { break };
            if !group.iter().all(|file| log.is_live(&file.path)) {
                slot.0 = Some(log);
                break;
            }
            let now_ms = now.as_millisecond();
            let appended =
                log.append_rewrite(&group, &written, now_ms, settings.target_bytes).await?;
            slot.0 = Some(log);
            if appended == Appended::Yes {
                report.files_replaced += group.len();
                report.files_written += written.len();
                report.bytes_written += written.iter().map(|file| file.bytes).sum::<u64>();
                return Ok(());
            }
        }
        let (lake, table) = (self.clone(), table.clone());
        blocking(&table.clone(), move || {
            for file in written {
                sweep::delete(&table, &lake.shared.root.join(&file.path))?;
            }
            Ok(())
        })
        .await
    }

    async fn discard(
        self,
        keep: BTreeSet<String>,
        older_than: Timestamp,
    ) -> Result<usize, LakeError> {
        let mut deleted = 0;
        for table in self.clone().list_tables().await? {
            let slot = self.slot(&table);
            let mut slot = slot.lock().await;
            let Some(log) = self.current(&mut slot, &table).await? else { continue };
            let (folder, swept) = (log.folder.clone(), table.clone());
            let strays = blocking(&table.clone(), move || {
                sweep::strays(&swept, &folder, older_than.as_millisecond())
            })
            .await?;
            let orphans: Vec<_> = strays
                .into_iter()
                .filter(|name| !log.refers_to(name) && !keep.contains(&format!("{table}/{name}")))
                .collect();
            let folder = log.folder.clone();
            slot.0 = Some(log);
            deleted += blocking(&table.clone(), move || {
                let mut deleted = 0;
                for name in orphans {
                    deleted += usize::from(sweep::delete(&table, &folder.join(name))?);
                }
                Ok(deleted)
            })
            .await?;
        }
        Ok(deleted)
    }
}

struct Snapshot {
    schema: SchemaRef,
    version: u64,
    files: Vec<Arc<LiveFile>>,
}

fn before(now: Timestamp, age: jiff::SignedDuration) -> i64 {
    now.checked_sub(age).map_or(i64::MIN, Timestamp::as_millisecond)
}

impl Lake for DeltaLake {
    fn ensure(&self, table: &TableRef, schema: SchemaRef) -> LakeFuture<'_, ()> {
        Box::pin(self.clone().declare(table.clone(), schema))
    }

    fn stage(
        &self,
        table: &TableRef,
        batches: Vec<RecordBatch>,
    ) -> LakeFuture<'_, Vec<StagedFile>> {
        Box::pin(self.clone().write_rows(table.clone(), batches))
    }

    fn commit(
        &self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> LakeFuture<'_, Committed> {
        let (table, application) = (table.clone(), application.to_owned());
        Box::pin(self.clone().append(table, application, batch, files.to_vec()))
    }

    fn last_batch(&self, table: &TableRef, application: &str) -> LakeFuture<'_, Option<i64>> {
        Box::pin(self.clone().find_batch(table.clone(), application.to_owned()))
    }

    fn scan(&self, table: &TableRef, request: Scan) -> LakeFuture<'_, Vec<RecordBatch>> {
        Box::pin(self.clone().read_rows(table.clone(), request))
    }

    fn tables(&self) -> LakeFuture<'_, Vec<TableRef>> {
        Box::pin(self.clone().list_tables())
    }

    fn files(&self, table: &TableRef) -> LakeFuture<'_, Option<TableFiles>> {
        Box::pin(self.clone().list_files(table.clone()))
    }

    fn maintain(
        &self,
        table: &TableRef,
        now: Timestamp,
        settings: &Maintenance,
    ) -> LakeFuture<'_, MaintenanceReport> {
        Box::pin(self.clone().tend(table.clone(), now, settings.clone()))
    }

    fn discard_orphans(
        &self,
        keep: &BTreeSet<String>,
        older_than: Timestamp,
    ) -> LakeFuture<'_, usize> {
        Box::pin(self.clone().discard(keep.clone(), older_than))
    }
}
