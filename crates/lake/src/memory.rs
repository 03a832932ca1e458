//! The lake in memory: the simulator's engine.
//!
//! Clones share the tables. Every future is ready at once, names of files are counted, and nothing
//! asks for time or chance, so that a run repeats exactly.

use crate::{
    error::LakeError,
    port::{
        Committed, Lake, LakeFuture, Maintenance, MaintenanceReport, Scan, StagedFile, TableFiles,
    },
    schema,
    table::TableRef,
};
use arrow::{
    array::RecordBatch,
    compute::{concat_batches, filter_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A lake that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryLake {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: BTreeMap<TableRef, Table>,
    staged: BTreeMap<String, RecordBatch>,
    named: u64,
}

#[derive(Debug)]
struct Table {
    schema: SchemaRef,
    version: i64,
    files: Vec<(String, RecordBatch)>,
    batches: BTreeMap<String, i64>,
}

impl MemoryLake {
    /// An empty lake.
    pub fn new() -> Self {
        Self::default()
    }

    /// All rows of a table in the order of their commits, each batch in the table's schema; none
    /// if there is no such table.
    pub fn rows(&self, table: &TableRef) -> Vec<RecordBatch> {
        let shared = self.lock();
        let Some(found) = shared.tables.get(table) else { return Vec::new() };
        found
            .files
            .iter()
            .filter_map(|(_, rows)| schema::adapted(&found.schema, rows).ok())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn ensure(&mut self, table: &TableRef, declared: &SchemaRef) -> Result<(), LakeError> {
        let declared = schema::checked(table, declared)?;
        match self.tables.get_mut(table) {
            None => {
                let new = Table {
                    schema: declared,
                    version: 0,
                    files: Vec::new(),
                    batches: BTreeMap::new(),
                };
                self.tables.insert(table.clone(), new);
            }
            Some(found) => {
                if let Some(grown) = schema::grown(table, &found.schema, &declared)? {
                    found.schema = grown;
                    found.version += 1;
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, table: &TableRef) -> String {
        self.named += 1;
        format!("{table}/part-{:012}.parquet", self.named)
    }

    fn stage(
        &mut self,
        table: &TableRef,
        batches: &[RecordBatch],
    ) -> Result<Vec<StagedFile>, LakeError> {
        let found = self.table(table)?;
        let schema = found.schema.clone();
        let rows = batches
            .iter()
            .map(|batch| schema::conformed(table, &schema, batch))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = concat_batches(&schema, &rows).map_err(|error| unfit(table, error))?;
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let file = StagedFile {
            table: table.clone(),
            path: self.name(table),
            bytes: rows.get_array_memory_size() as u64,
            rows: rows.num_rows() as u64,
            stats: format!("{{\"numRecords\":{}}}", rows.num_rows()),
            modified_ms: 0,
        };
        self.staged.insert(file.path.clone(), rows);
        Ok(vec![file])
    }

    fn table(&self, table: &TableRef) -> Result<&Table, LakeError> {
        self.tables.get(table).ok_or_else(|| LakeError::MissingTable { table: table.clone() })
    }

    fn commit(
        &mut self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> Result<Committed, LakeError> {
        let found = self.table(table)?;
        if found.batches.get(application).is_some_and(|&last| last >= batch) {
            return Ok(Committed { version: found.version, already: true });
        }
        for file in files {
            if file.table != *table || !self.staged.contains_key(&file.path) {
                return Err(LakeError::StagedFile {
                    table: table.clone(),
                    path: PathBuf::from(&file.path),
                    found: "is not staged for it".into(),
                    expected_bytes: file.bytes,
                });
            }
        }
        let Self { tables, staged, .. } = self;
        let found = tables
            .get_mut(table)
            .ok_or_else(|| LakeError::MissingTable { table: table.clone() })?;
        for file in files {
            if let Some(rows) = staged.remove(&file.path) {
                found.files.push((file.path.clone(), rows));
            }
        }
        found.batches.insert(application.to_owned(), batch);
        found.version += 1;
        Ok(Committed { version: found.version, already: false })
    }

    fn scan(&self, table: &TableRef, request: &Scan) -> Result<Vec<RecordBatch>, LakeError> {
        let Some(found) = self.tables.get(table) else { return Ok(Vec::new()) };
        let wanted = schema::projected(table, &found.schema, request.columns.as_deref())?;
        schema::check_filter(table, &found.schema, &request.equals)?;
        let mut left = request.row_limit.unwrap_or(usize::MAX);
        let mut result = Vec::new();
        for (_, rows) in &found.files {
            if left == 0 {
                break;
            }
            let mut rows =
                schema::adapted(&found.schema, rows).map_err(|error| unfit(table, error))?;
            for (column, values) in &request.equals {
                if let Some(column) = rows.column_by_name(column) {
                    let mask = schema::rows_in(column, values);
                    rows = filter_record_batch(&rows, &mask).map_err(|e| unfit(table, e))?;
                }
            }
            let rows = schema::adapted(&wanted, &rows).map_err(|error| unfit(table, error))?;
            let rows = rows.slice(0, rows.num_rows().min(left));
            left -= rows.num_rows();
            if rows.num_rows() > 0 {
                result.push(rows);
            }
        }
        Ok(result)
    }

    fn maintain(
        &mut self,
        table: &TableRef,
        settings: &Maintenance,
    ) -> Result<MaintenanceReport, LakeError> {
        let name = self.name(table);
        let Some(found) = self.tables.get_mut(table) else {
            return Ok(MaintenanceReport::default());
        };
        if found.files.len() < settings.compact_at_files.max(2) {
            return Ok(MaintenanceReport::default());
        }
        let rows = found
            .files
            .iter()
            .map(|(_, rows)| schema::adapted(&found.schema, rows))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|rows| concat_batches(&found.schema, &rows))
            .map_err(|error| unfit(table, error))?;
        let report = MaintenanceReport {
            files_replaced: found.files.len(),
            files_written: 1,
            bytes_written: rows.get_array_memory_size() as u64,
            files_deleted: found.files.len(),
            ..MaintenanceReport::default()
        };
        found.files = vec![(name, rows)];
        found.version += 1;
        Ok(report)
    }
}

fn unfit(table: &TableRef, error: ArrowError) -> LakeError {
    LakeError::Rows { table: table.clone(), action: "fit", source: Box::new(error) }
}

fn ready<'a, T: Send + 'a>(result: Result<T, LakeError>) -> LakeFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

impl Lake for MemoryLake {
    fn ensure(&self, table: &TableRef, schema: SchemaRef) -> LakeFuture<'_, ()> {
        ready(self.lock().ensure(table, &schema))
    }

    fn stage(
        &self,
        table: &TableRef,
        batches: Vec<RecordBatch>,
    ) -> LakeFuture<'_, Vec<StagedFile>> {
        ready(self.lock().stage(table, &batches))
    }

    fn commit(
        &self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> LakeFuture<'_, Committed> {
        ready(self.lock().commit(table, application, batch, files))
    }

    fn last_batch(&self, table: &TableRef, application: &str) -> LakeFuture<'_, Option<i64>> {
        let shared = self.lock();
        let found = shared.tables.get(table);
        ready(Ok(found.and_then(|found| found.batches.get(application).copied())))
    }

    fn scan(&self, table: &TableRef, request: Scan) -> LakeFuture<'_, Vec<RecordBatch>> {
        ready(self.lock().scan(table, &request))
    }

    fn tables(&self) -> LakeFuture<'_, Vec<TableRef>> {
        ready(Ok(self.lock().tables.keys().cloned().collect()))
    }

    fn files(&self, _table: &TableRef) -> LakeFuture<'_, Option<TableFiles>> {
        ready(Ok(None))
    }

    fn maintain(
        &self,
        table: &TableRef,
        _now: Timestamp,
        settings: &Maintenance,
    ) -> LakeFuture<'_, MaintenanceReport> {
        ready(self.lock().maintain(table, settings))
    }

    fn discard_orphans(
        &self,
        keep: &BTreeSet<String>,
        _older_than: Timestamp,
    ) -> LakeFuture<'_, usize> {
        let mut shared = self.lock();
        let before = shared.staged.len();
        shared.staged.retain(|path, _| keep.contains(path));
        ready(Ok(before - shared.staged.len()))
    }
}
