//! The lake's tables as DataFusion finds them: schemas `data` (the default), `latest`, `ledger`,
//! `quarantine`.
//!
//! A table is opened when a query names it, at its newest version.

use crate::{error::QueryError, files::FileTable, latest};
use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider},
    datasource::{MemTable, TableProvider},
    error::{DataFusionError, Result as DataFusionResult},
};
use jiff::Timestamp;
use lake::{Lake, Scan, TableRef};
use model::TableName;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The name of the catalog.
pub(crate) const CATALOG: &str = "tidewatch";
/// The schema of names that stand alone.
pub(crate) const DEFAULT_SCHEMA: &str = "data";

const SCHEMAS: [&str; 4] = [DEFAULT_SCHEMA, "latest", "ledger", "quarantine"];

/// What one query sees.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) lake: Arc<dyn Lake>,
    pub(crate) keys: Arc<BTreeMap<TableName, Vec<String>>>,
    pub(crate) tables: Vec<TableRef>,
    pub(crate) as_of: Option<Timestamp>,
    /// The files of the tables opened so far.
    pub(crate) opened: Mutex<Vec<PathBuf>>,
}

impl View {
    /// The table of the lake behind a name.
    pub(crate) fn find(&self, schema: &str, table: &str) -> Option<&TableRef> {
        self.tables.iter().find(|found| {
            let (in_schema, name) = place(found);
            name == table && (schema == in_schema || (schema == "latest" && in_schema == "data"))
        })
    }

    /// All names, as a person writes them.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for table in &self.tables {
            match place(table) {
                (DEFAULT_SCHEMA, name) => {
                    names.push(name.to_owned());
                    names.push(format!("latest.{name}"));
                }
                (schema, name) => names.push(format!("{schema}.{name}")),
            }
        }
        names.sort();
        names
    }

    /// Whether a file was deleted after the list of files was made: compaction replaced it.
    pub(crate) fn is_gone(&self) -> bool {
        self.opened().iter().any(|path| matches!(path.try_exists(), Ok(false)))
    }

    fn opened(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(
        &self,
        schema: &str,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, QueryError> {
        let Some(table) = self.find(schema, name) else { return Ok(None) };
        let Some(rows) = self.rows(table).await? else { return Ok(None) };
        let time = if matches!(table, TableRef::Ledger(_)) { "at" } else { "_observed_at" };
        let known = latest::known_at(name, rows, time, self.as_of)?;
        match table {
            TableRef::Data(data) if schema == "latest" => {
                let key = self.keys.get(data).map_or(&[][..], Vec::as_slice);
                latest::latest(name, known, key).map(Some)
            }
            _ => Ok(Some(known)),
        }
    }

    async fn rows(&self, table: &TableRef) -> Result<Option<Arc<dyn TableProvider>>, QueryError> {
        let lake = |source| QueryError::Lake { source };
        let plan = |error| QueryError::Plan { source: Box::new(error) };
        if let Some(files) = self.lake.files(table).await.map_err(lake)? {
            self.opened().extend(files.paths.iter().cloned());
            let rows = FileTable::new(files).map_err(plan)?;
            return Ok(Some(Arc::new(rows)));
        }
        let batches = self.lake.scan(table, Scan::default()).await.map_err(lake)?;
        let Some(first) = batches.first() else { return Ok(None) };
        let rows = MemTable::try_new(first.schema(), vec![batches]).map_err(plan)?;
        Ok(Some(Arc::new(rows)))
    }
}

/// The schema and the name of a table.
fn place(table: &TableRef) -> (&'static str, &str) {
    match table {
        TableRef::Data(name) => ("data", name.as_str()),
        TableRef::Quarantine(name) => ("quarantine", name.as_str()),
        TableRef::Ledger(book) => ("ledger", book.as_str()),
    }
}

/// The catalog of one query.
#[derive(Debug)]
pub(crate) struct LakeCatalog(pub(crate) Arc<View>);

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        SCHEMAS.map(str::to_owned).to_vec()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let name = SCHEMAS.into_iter().find(|schema| *schema == name)?;
        Some(Arc::new(LakeSchema { name, view: self.0.clone() }))
    }
}

#[derive(Debug)]
struct LakeSchema {
    name: &'static str,
    view: Arc<View>,
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let ours = self.view.tables.iter().map(place);
        ours.filter(|(_, name)| self.view.find(self.name, name).is_some())
            .filter(|(schema, _)| {
                *schema == self.name || (self.name == "latest" && *schema == DEFAULT_SCHEMA)
            })
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        self.view
            .open(self.name, name)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.view.find(self.name, name).is_some()
    }
}
