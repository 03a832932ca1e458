//! One Parquet file of a table: written whole and durable, read with as little as needed.

use crate::{
    durable,
    error::LakeError,
    port::{Scan, StagedFile},
    schema, statistics,
    table::TableRef,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::and,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter},
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::ParquetMetaDataReader, properties::WriterProperties},
    schema::types::ColumnPath,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use uuid::Uuid;

/// Rows of a row group, the unit of pruning within a file and of memory while writing.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Bytes after which staged rows go on in another file.
const STAGED_FILE_BYTES_MAX: u64 = 256 << 20;

/// Rows of a batch while reading.
const BATCH_ROWS: usize = 8 << 10;

/// How a file is written that begins with `first`.
fn properties(first: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(concat!("tidewatch ", env!("CARGO_PKG_VERSION")).into());
    for (field, column) in first.schema_ref().fields().iter().zip(first.columns()) {
        if is_mostly_unique(column) {
            let path = ColumnPath::from(field.name().as_str());
            builder = builder.set_column_dictionary_enabled(path, false);
        }
    }
    Ok(builder.build())
}

/// Whether a dictionary of a column's values would be about as long as the column: the writer would
/// hash and copy each value, and write it plain in the end.
fn is_mostly_unique(column: &ArrayRef) -> bool {
    const SAMPLE_ROWS: usize = 256;
    let sample = column.slice(0, column.len().min(SAMPLE_ROWS));
    let valid = sample.len() - sample.null_count();
    let distinct = if let Some(texts) = sample.as_string_opt::<i32>() {
        texts.iter().flatten().collect::<BTreeSet<_>>().len()
    } else if let Some(width) = sample.data_type().primitive_width() {
        let data = sample.to_data();
        let start = data.offset() * width;
        let bytes = data.buffers().first().map_or(&[][..], |buffer| buffer.as_slice());
        let bytes = bytes.get(start..start + sample.len() * width).unwrap_or_default();
        bytes.chunks_exact(width).collect::<BTreeSet<_>>().len()
    } else {
        0
    };
    valid > 16 && distinct * 2 > valid
}

/// Writes rows that are already in the table's schema into new, durable files. Blocking.
///
/// On an error no file stays.
pub(crate) fn write(
    root: &Path,
    table: &TableRef,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, LakeError>>,
) -> Result<Vec<StagedFile>, LakeError> {
    let mut done = Vec::new();
    let mut written = write_all(root, table, schema, batches, &mut done);
    if written.is_ok() && !done.is_empty() {
        let folder = root.join(table.to_string());
        written = durable::sync_folder(&folder)
            .map_err(|error| LakeError::io(table, &folder, "sync", error));
    }
    if let Err(error) = written {
        for file in &done {
            drop(fs::remove_file(root.join(&file.path)));
        }
        return Err(error);
    }
    Ok(done)
}

fn write_all(
    root: &Path,
    table: &TableRef,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, LakeError>>,
    done: &mut Vec<StagedFile>,
) -> Result<(), LakeError> {
    let mut open: Option<OpenFile> = None;
    for batch in batches {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let mut file = match open.take() {
            Some(file) => file,
            None => OpenFile::create(root, table, schema, &batch)?,
        };
        file.write(&batch)?;
        if file.bytes() >= STAGED_FILE_BYTES_MAX {
            done.push(file.finish()?);
        } else {
            open = Some(file);
        }
    }
    if let Some(file) = open {
        done.push(file.finish()?);
    }
    Ok(())
}

/// A file being written; removed if it is dropped before it is finished.
struct OpenFile {
    table: TableRef,
    schema: SchemaRef,
    path: String,
    absolute: PathBuf,
    // The same open file as the writer's, which keeps its own to itself.
    file: File,
    writer: Option<ArrowWriter<File>>,
}

impl OpenFile {
    fn create(
        root: &Path,
        table: &TableRef,
        schema: &SchemaRef,
        first: &RecordBatch,
    ) -> Result<Self, LakeError> {
        let path = format!("{table}/part-{}.parquet", Uuid::new_v4());
        let absolute = root.join(&path);
        let failed = |error: ParquetError| LakeError::Rows {
            table: table.clone(),
            action: "encode",
            source: Box::new(error),
        };
        let properties = properties(first).map_err(failed)?;
        let created = File::create_new(&absolute).and_then(|file| Ok((file.try_clone()?, file)));
        let (written, file) =
            created.map_err(|error| LakeError::io(table, &absolute, "create", error))?;
        let mut open = Self {
            table: table.clone(),
            schema: schema.clone(),
            path,
            absolute,
            file,
            writer: None,
        };
        let writer = ArrowWriter::try_new(written, schema.clone(), Some(properties));
        open.writer = Some(writer.map_err(|error| open.failed(error))?);
        Ok(open)
    }

    fn failed(&self, error: ParquetError) -> LakeError {
        LakeError::io_within(&self.table, &self.absolute, "write", &error).unwrap_or_else(|| {
            LakeError::Rows { table: self.table.clone(), action: "encode", source: Box::new(error) }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let written = match &mut self.writer {
            Some(writer) => writer.write(batch),
            None => Ok(()),
        };
        written.map_err(|error| self.failed(error))
    }

    fn bytes(&self) -> u64 {
        self.writer
            .as_ref()
            .map_or(0, |writer| (writer.bytes_written() + writer.in_progress_size()) as u64)
    }

    fn finish(mut self) -> Result<StagedFile, LakeError> {
        let closed = match self.writer.take() {
            Some(writer) => writer.close(),
            None => Err(ParquetError::General("the file is finished already".into())),
        };
        let finished = closed.map_err(|error| self.failed(error)).and_then(|metadata| {
            let synced = self.file.sync_all().and_then(|()| self.file.metadata());
            let stored = synced
                .map_err(|error| LakeError::io(&self.table, &self.absolute, "sync", error))?;
            Ok(StagedFile {
                table: self.table.clone(),
                path: std::mem::take(&mut self.path),
                bytes: stored.len(),
                rows: metadata.file_metadata().num_rows() as u64,
                stats: statistics::of_file(&self.schema, &metadata),
                modified_ms: modified_ms(&stored),
            })
        });
        if finished.is_err() {
            drop(fs::remove_file(&self.absolute));
        }
        finished
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.writer.is_some() {
            drop(fs::remove_file(&self.absolute));
        }
    }
}

/// When a file was last changed, by the file system's clock.
pub(crate) fn modified_ms(stored: &fs::Metadata) -> i64 {
    stored
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Why a file cannot be read.
pub(crate) enum ReadError {
    /// The file system says no.
    Io(io::Error),
    /// The content does.
    Content(ParquetError),
}

impl ReadError {
    /// The error of the lake.
    pub(crate) fn of(self, table: &TableRef, path: &Path) -> LakeError {
        match self {
            Self::Io(error) => LakeError::io(table, path, "read", error),
            Self::Content(error) => LakeError::Damaged {
                table: table.clone(),
                path: path.to_path_buf(),
                reason: "it cannot be read as Parquet".into(),
                source: Some(Box::new(error)),
            },
        }
    }
}

impl From<ParquetError> for ReadError {
    fn from(error: ParquetError) -> Self {
        Self::Content(error)
    }
}

impl From<ArrowError> for ReadError {
    fn from(error: ArrowError) -> Self {
        Self::Content(ParquetError::External(Box::new(error)))
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the rows of a file that a request asks for, as batches of `wanted`. Blocking.
///
/// Only row groups and pages that may hold such rows are decoded. The batches come one by one: a
/// file of any size is read in the memory of one batch.
pub(crate) fn read(
    path: &Path,
    wanted: &SchemaRef,
    request: &Scan,
) -> Result<impl Iterator<Item = Result<RecordBatch, ReadError>> + use<>, ReadError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let metadata = builder.metadata().clone();
    let file_schema: SchemaRef = builder.schema().clone();
    let mut groups: Vec<usize> = (0..metadata.num_row_groups()).collect();
    for (column, values) in &request.equals {
        let possible = if file_schema.fields().find(column).is_some() {
            statistics::row_groups(&file_schema, &metadata, column, values)
        } else {
            // The file is older than the column: null is in no set.
            Vec::new()
        };
        groups.retain(|group| possible.contains(group));
    }
    if let Some(filter) = row_filter(builder.parquet_schema(), &file_schema, request) {
        builder = builder.with_row_filter(filter);
    }
    if let Some(limit) = request.row_limit {
        builder = builder.with_limit(limit);
    }
    let present = wanted.fields().iter().map(|field| field.name().as_str());
    let projection = ProjectionMask::columns(
        builder.parquet_schema(),
        present.filter(|name| file_schema.fields().find(name).is_some()),
    );
    let reader = builder
        .with_row_groups(groups)
        .with_projection(projection)
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let wanted = wanted.clone();
    Ok(reader.map(move |batch| Ok(schema::adapted(&wanted, &batch?)?)))
}

fn row_filter(
    parquet_schema: &parquet::schema::types::SchemaDescriptor,
    file_schema: &Schema,
    request: &Scan,
) -> Option<RowFilter> {
    let equals: Vec<_> = request
        .equals
        .iter()
        .filter(|(column, _)| file_schema.fields().find(column).is_some())
        .cloned()
        .collect();
    if equals.is_empty() {
        return None;
    }
    let mask =
        ProjectionMask::columns(parquet_schema, equals.iter().map(|(name, _)| name.as_str()));
    let predicate = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
        let mut matching = arrow::array::BooleanArray::from(vec![true; batch.num_rows()]);
        for (column, values) in &equals {
            if let Some(column) = batch.column_by_name(column) {
                matching = and(&matching, &schema::rows_in(column, values))?;
            }
        }
        Ok(matching)
    });
    Some(RowFilter::new(vec![Box::new(predicate)]))
}

/// The rows of a file, from its footer. Blocking.
pub(crate) fn rows_of(path: &Path) -> Result<u64, ReadError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(path)?)?;
    Ok(metadata.file_metadata().num_rows() as u64)
}
