//! What delta-rs is asked for: its actions and schemas, and tables opened for their checkpoints.

use crate::{
    durable::DurableStore, entries::log_folder, error::LakeError, port::StagedFile, table::TableRef,
};
use arrow::datatypes::Schema;
use deltalake_core::{
    DeltaTable, DeltaTableBuilder, DeltaTableError,
    kernel::{
        Action, Add, StructType, engine::arrow_conversion::TryIntoKernel as _,
        transaction::CommitData,
    },
    protocol::DeltaOperation,
};
use std::{error::Error, io, path::Path, sync::Arc};
use url::Url;

/// Opens a table with delta-rs, at a version that has a checkpoint or entries up to it.
pub(crate) async fn open(
    table: &TableRef,
    folder: &Path,
    version: u64,
) -> Result<DeltaTable, LakeError> {
    let opened = async {
        // delta-rs decodes a location twice and would miss a folder with `%` in its path: it sees
        // the table as `/NAME/` in a store that begins just above it, and not as a file's location,
        // which it would look for on the disk.
        let above = folder.parent().unwrap_or(folder);
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let store = DurableStore::new(above)?;
        let location = Url::parse(&format!("memory:///{name}/"))
            .map_err(|error| DeltaTableError::InvalidTableLocation(error.to_string()))?;
        let builder = DeltaTableBuilder::from_url(location.clone())?
            .with_storage_backend(Arc::new(store), location);
        builder.with_version(version).load().await
    };
    opened.await.map_err(|error| delta(table, folder, error))
}

/// A table's folder as delta-rs names it.
pub(crate) fn location(table: &TableRef, folder: &Path) -> Result<Url, LakeError> {
    Url::from_directory_path(folder).map_err(|()| {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute");
        LakeError::io(table, folder, "open", reason)
    })
}

/// A log entry's bytes.
pub(crate) fn encode(
    table: &TableRef,
    actions: Vec<Action>,
    operation: DeltaOperation,
) -> Result<Vec<u8>, LakeError> {
    let mut bytes = CommitData::new(actions, operation, [].into(), Vec::new())
        .get_bytes()
        .map_err(|error| kernel(table, error))?
        .to_vec();
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The action that makes a file part of a table.
pub(crate) fn add_action(file: &StagedFile, data_change: bool) -> Add {
    Add {
        path: file_name(file).to_owned(),
        size: file.bytes as i64,
        modification_time: file.modified_ms,
        data_change,
        stats: Some(file.stats.clone()),
        ..Add::default()
    }
}

/// The path of a staged file below its table's folder.
pub(crate) fn file_name(file: &StagedFile) -> &str {
    file.path
        .strip_prefix(&file.table.to_string())
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(&file.path)
}

/// Delta's schema of Arrow's.
pub(crate) fn struct_type(table: &TableRef, schema: &Schema) -> Result<StructType, LakeError> {
    schema.try_into_kernel().map_err(|error| kernel(table, error))
}

/// A schema without columns.
pub(crate) fn empty_struct(table: &TableRef) -> Result<StructType, LakeError> {
    struct_type(table, &Schema::empty())
}

/// An error in describing something to delta-rs.
pub(crate) fn kernel(table: &TableRef, error: impl Error + Send + Sync + 'static) -> LakeError {
    LakeError::Rows { table: table.clone(), action: "describe the", source: Box::new(error) }
}

/// An error of delta-rs in reading a table.
pub(crate) fn delta(table: &TableRef, folder: &Path, error: DeltaTableError) -> LakeError {
    let folder = log_folder(folder);
    LakeError::io_within(table, &folder, "read", &error).unwrap_or_else(|| LakeError::Damaged {
        table: table.clone(),
        path: folder,
        reason: "its checkpoint cannot be read".into(),
        source: Some(Box::new(error)),
    })
}
