//! The log of one Delta table: what it says now, and one more entry.
//!
//! Entries are read and written here, so that a commit costs the same at 10 and at 10,000 versions
//! and each line is checked; delta-rs reads and writes the checkpoints. An entry is created under
//! its number or not at all, so two writers never get the same version.
//!
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>.

use crate::{
    durable,
    entries::{Newer, entry_path, newer, read_log},
    error::LakeError,
    kernel::{add_action, delta, empty_struct, encode, kernel, location, open, struct_type},
    parquet_file,
    port::StagedFile,
    statistics::FileStatistics,
    table::TableRef,
};
use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::{
    DeltaTable,
    kernel::{
        Action, Metadata, MetadataExt as _, Protocol, Remove, Transaction,
        engine::arrow_conversion::TryIntoArrow as _, new_metadata,
    },
    protocol::{DeltaOperation, SaveMode},
};
use futures::TryStreamExt as _;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The highest versions of the protocol that this program reads and writes.
const READER_VERSION: i32 = 1;
const WRITER_VERSION: i32 = 2;

/// A data file of the newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveFile {
    /// Its path below the table's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) modified_ms: i64,
    pub(crate) statistics: FileStatistics,
}

/// What the log says.
#[derive(Debug)]
pub(crate) struct TableLog {
    pub(crate) table: TableRef,
    pub(crate) folder: PathBuf,
    pub(crate) version: u64,
    pub(crate) schema: SchemaRef,
    /// The version of the newest checkpoint known.
    pub(crate) checkpoint: Option<u64>,
    /// Files taken out of the table and perhaps still on the disk, with the time in milliseconds.
    pub(crate) removed: BTreeMap<String, i64>,
    metadata: Metadata,
    files: BTreeMap<String, Arc<LiveFile>>,
    // The last batch of each application, as far as known: entries fill it, and what they do not
    // say is asked of `base`.
    batches: BTreeMap<String, Option<i64>>,
    base: Option<Box<DeltaTable>>,
}

/// Whether an entry was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    Yes,
    /// Another writer has that version.
    Taken,
}

/// Runs file system calls where they may block.
pub(crate) async fn blocking<T: Send + 'static>(
    table: &(impl fmt::Display + ?Sized),
    call: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
) -> Result<T, LakeError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(source) => Err(LakeError::Broken { table: table.to_string(), source }),
    }
}

impl TableLog {
    /// Reads a table's log; `None` if there is no table.
    pub(crate) async fn load(table: &TableRef, folder: &Path) -> Result<Option<Self>, LakeError> {
        let (listing, entries) = {
            let (table, folder) = (table.clone(), folder.to_path_buf());
            blocking(&table.clone(), move || read_log(&table, &folder)).await?
        };
        let mut log = match listing.checkpoints.last() {
            Some(&checkpoint) => Self::of_checkpoint(table, folder, checkpoint).await?,
            None if entries.is_empty() => return Ok(None),
            None => Self {
                table: table.clone(),
                folder: folder.to_path_buf(),
                version: 0,
                schema: Arc::new(Schema::empty()),
                checkpoint: None,
                removed: BTreeMap::new(),
                metadata: new_metadata(&empty_struct(table)?, [""; 0], [("", ""); 0])
                    .map_err(|error| kernel(table, error))?,
                files: BTreeMap::new(),
                batches: BTreeMap::new(),
                base: None,
            },
        };
        for (version, bytes) in entries {
            log.apply_entry(version, &bytes)?;
        }
        if log.schema.fields().is_empty() {
            return Err(log.damaged(0, "it declares no columns".into()));
        }
        Ok(Some(log))
    }

    async fn of_checkpoint(
        table: &TableRef,
        folder: &Path,
        checkpoint: u64,
    ) -> Result<Self, LakeError> {
        let base = open(table, folder, checkpoint).await?;
        let failed = |error| delta(table, folder, error);
        let state = base.snapshot().map_err(failed)?;
        let mut log = Self {
            table: table.clone(),
            folder: folder.to_path_buf(),
            version: checkpoint,
            schema: Arc::new(Schema::empty()),
            checkpoint: Some(checkpoint),
            removed: BTreeMap::new(),
            metadata: state.metadata().clone(),
            files: BTreeMap::new(),
            batches: BTreeMap::new(),
            base: None,
        };
        log.check_protocol(state.protocol())?;
        log.take_metadata(state.metadata().clone())?;
        for file in state.log_data().iter() {
            if file.deletion_vector_descriptor().is_some() {
                return Err(log.unsupported("deletion vectors"));
            }
            let stats = file.stats();
            let path = file.path().into_owned();
            log.add(path, file.size(), file.modification_time(), stats.as_deref());
        }
        let store = base.log_store();
        let mut tombstones = state.all_tombstones(store.as_ref());
        while let Some(tombstone) = tombstones.try_next().await.map_err(failed)? {
            let at = tombstone.deletion_timestamp().unwrap_or(0);
            log.removed.insert(tombstone.path().into_owned(), at);
        }
        drop(tombstones);
        log.base = Some(Box::new(base));
        Ok(log)
    }

    /// Creates a table with these columns, or reads it if another was faster.
    pub(crate) async fn create(
        table: &TableRef,
        folder: &Path,
        schema: &SchemaRef,
    ) -> Result<Self, LakeError> {
        let protocol = json!({
            "minReaderVersion": READER_VERSION,
            "minWriterVersion": WRITER_VERSION,
        });
        let protocol: Protocol =
            serde_json::from_value(protocol).map_err(|error| kernel(table, error))?;
        let columns = struct_type(table, schema)?;
        // Readers of other programs clean and look back by these; maintenance has its own settings.
        let configuration = [("delta.deletedFileRetentionDuration", "interval 1 hours")];
        let metadata =
            new_metadata(&columns, [""; 0], configuration).map_err(|error| kernel(table, error))?;
        let location = location(table, folder)?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location,
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let actions = vec![Action::Protocol(protocol), Action::Metadata(metadata)];
        let bytes = encode(table, actions, operation)?;
        let path = entry_path(folder, 0);
        blocking(&table.clone(), {
            let table = table.clone();
            move || {
                let parent = path.parent().unwrap_or(&path);
                durable::create_folders(parent)
                    .map_err(|error| LakeError::io(&table, parent, "create", error))?;
                durable::create_new(&path, &[&bytes])
                    .map_err(|error| LakeError::io(&table, &path, "create", error))
            }
        })
        .await?;
        Self::load(table, folder)
            .await?
            .ok_or_else(|| LakeError::MissingTable { table: table.clone() })
    }

    /// Takes in what other programs have committed since.
    pub(crate) async fn refresh(&mut self) -> Result<(), LakeError> {
        let found = {
            let (table, folder, version) = (self.table.clone(), self.folder.clone(), self.version);
            blocking(&self.table.clone(), move || {
                newer(&folder, version)
                    .map_err(|(path, error)| LakeError::io(&table, &path, "read", error))
            })
            .await?
        };
        match found {
            Newer::Entries(entries) => {
                for (version, bytes) in entries {
                    self.apply_entry(version, &bytes)?;
                }
            }
            Newer::Behind => {
                let reloaded = Self::load(&self.table, &self.folder).await?;
                *self = reloaded
                    .ok_or_else(|| LakeError::MissingTable { table: self.table.clone() })?;
            }
        }
        Ok(())
    }

    /// The last batch of an application.
    pub(crate) async fn last_batch(&mut self, application: &str) -> Result<Option<i64>, LakeError> {
        if let Some(&known) = self.batches.get(application) {
            return Ok(known);
        }
        let last = match &self.base {
            None => None,
            Some(base) => {
                let failed = |error| delta(&self.table, &self.folder, error);
                let store = base.log_store();
                let state = base.snapshot().map_err(failed)?;
                state.transaction_version(store.as_ref(), application).await.map_err(failed)?
            }
        };
        self.batches.insert(application.to_owned(), last);
        Ok(last)
    }

    /// The live files in the order in which they were written.
    pub(crate) fn files(&self) -> Vec<Arc<LiveFile>> {
        let mut files: Vec<_> = self.files.values().cloned().collect();
        files.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
        files
    }

    /// Whether a file is in the newest version.
    pub(crate) fn is_live(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether the log still speaks of a file: live, or removed and perhaps on the disk.
    pub(crate) fn refers_to(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.removed.contains_key(path)
    }

    /// Appends rows: files and the batch that they are.
    pub(crate) async fn append_batch(
        &mut self,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> Result<Appended, LakeError> {
        let mut actions: Vec<Action> =
            files.iter().map(|file| Action::Add(add_action(file, true))).collect();
        actions.push(Action::Txn(Transaction::new(application, batch)));
        let operation =
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        self.append(actions, operation).await
    }

    /// Replaces files by others with the same rows.
    pub(crate) async fn append_rewrite(
        &mut self,
        old: &[Arc<LiveFile>],
        new: &[StagedFile],
        now_ms: i64,
        target_bytes: u64,
    ) -> Result<Appended, LakeError> {
        let removed = old.iter().map(|file| {
            Action::Remove(Remove {
                path: file.path.clone(),
                data_change: false,
                deletion_timestamp: Some(now_ms),
                extended_file_metadata: Some(true),
                partition_values: Some([].into()),
                size: Some(file.bytes as i64),
                ..Remove::default()
            })
        });
        let added = new.iter().map(|file| Action::Add(add_action(file, false)));
        let actions = removed.chain(added).collect();
        let operation =
            DeltaOperation::Optimize { predicate: None, target_size: target_bytes as i64 };
        self.append(actions, operation).await
    }

    /// Declares columns.
    pub(crate) async fn append_schema(&mut self, grown: &Schema) -> Result<Appended, LakeError> {
        let columns = struct_type(&self.table, grown)?;
        let metadata = self
            .metadata
            .clone()
            .with_schema(&columns)
            .map_err(|error| kernel(&self.table, error))?;
        let fields = columns
            .fields()
            .filter(|field| self.schema.fields().find(field.name()).is_none())
            .cloned()
            .collect();
        self.append(vec![Action::Metadata(metadata)], DeltaOperation::AddColumn { fields }).await
    }

    async fn append(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<Appended, LakeError> {
        let version = self.version + 1;
        let bytes = encode(&self.table, actions.clone(), operation)?;
        let (table, path) = (self.table.clone(), entry_path(&self.folder, version));
        let created = blocking(&self.table.clone(), move || {
            durable::create_new(&path, &[&bytes])
                .map_err(|error| LakeError::io(&table, &path, "write", error))
        })
        .await?;
        if !created {
            return Ok(Appended::Taken);
        }
        for action in actions {
            self.apply(action)?;
        }
        self.version = version;
        Ok(Appended::Yes)
    }

    /// Writes a checkpoint of the newest version and goes on from it.
    pub(crate) async fn write_checkpoint(&mut self) -> Result<u64, LakeError> {
        let failed = |error| delta(&self.table, &self.folder, error);
        let base = open(&self.table, &self.folder, self.version).await?;
        deltalake_core::checkpoints::create_checkpoint(&base, None).await.map_err(failed)?;
        // Batches not asked for yet are asked of the new base: the old one's files may go away.
        self.base = Some(Box::new(base));
        self.checkpoint = Some(self.version);
        Ok(self.version)
    }

    fn apply_entry(&mut self, version: u64, bytes: &[u8]) -> Result<(), LakeError> {
        let mut empty = true;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            empty = false;
            let action = serde_json::from_slice(line)
                .map_err(|error| self.damaged(version, format!("line {}: {error}", index + 1)))?;
            self.apply(action)?;
        }
        if empty {
            return Err(self.damaged(version, "it is empty".into()));
        }
        self.version = version;
        Ok(())
    }

    fn apply(&mut self, action: Action) -> Result<(), LakeError> {
        match action {
            Action::Add(add) => {
                if add.deletion_vector.is_some() {
                    return Err(self.unsupported("deletion vectors"));
                }
                self.removed.remove(&add.path);
                self.add(add.path, add.size, add.modification_time, add.stats.as_deref());
            }
            Action::Remove(remove) => {
                self.files.remove(&remove.path);
                self.removed.insert(remove.path, remove.deletion_timestamp.unwrap_or(0));
            }
            Action::Txn(batch) => {
                self.batches.insert(batch.app_id, Some(batch.version));
            }
            Action::Metadata(metadata) => self.take_metadata(metadata)?,
            Action::Protocol(protocol) => self.check_protocol(&protocol)?,
            Action::Cdc(_) | Action::CommitInfo(_) | Action::DomainMetadata(_) => {}
        }
        Ok(())
    }

    fn add(&mut self, path: String, bytes: i64, modified_ms: i64, stats: Option<&str>) {
        let file = LiveFile {
            bytes: bytes.max(0) as u64,
            modified_ms,
            statistics: FileStatistics::parse(stats),
            path: path.clone(),
        };
        self.files.insert(path, Arc::new(file));
    }

    fn take_metadata(&mut self, metadata: Metadata) -> Result<(), LakeError> {
        if !metadata.partition_columns().is_empty() {
            return Err(self.unsupported("partition columns"));
        }
        let columns = metadata.parse_schema().map_err(|error| kernel(&self.table, error))?;
        let schema: Schema =
            (&columns).try_into_arrow().map_err(|error| kernel(&self.table, error))?;
        let fields: Vec<_> =
            schema.fields().iter().map(|f| f.as_ref().clone().with_metadata([].into())).collect();
        self.schema = Arc::new(Schema::new(fields));
        self.metadata = metadata;
        Ok(())
    }

    fn check_protocol(&self, protocol: &Protocol) -> Result<(), LakeError> {
        let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
        if reader > READER_VERSION || writer > WRITER_VERSION {
            let feature = format!("Delta reader version {reader} and writer version {writer}");
            return Err(self.unsupported(&feature));
        }
        Ok(())
    }

    fn unsupported(&self, feature: &str) -> LakeError {
        LakeError::Unsupported { table: self.table.clone(), feature: feature.to_owned() }
    }

    fn damaged(&self, version: u64, reason: String) -> LakeError {
        LakeError::Damaged {
            table: self.table.clone(),
            path: entry_path(&self.folder, version),
            reason,
            source: None,
        }
    }
}

/// The rows of a live file; its footer is read if its writer left no statistics. Blocking.
pub(crate) fn rows_of(table: &TableRef, folder: &Path, file: &LiveFile) -> Result<u64, LakeError> {
    file.statistics.rows.map_or_else(
        || {
            let path = folder.join(&file.path);
            parquet_file::rows_of(&path).map_err(|error| error.of(table, &path))
        },
        Ok,
    )
}
