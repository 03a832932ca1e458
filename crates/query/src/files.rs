//! A table over exactly these Parquet files.
//!
//! DataFusion's listing table takes a file that is gone for an empty one and would answer with fewer
//! rows; here it is an error.

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::Session,
    common::stats::Precision,
    datasource::{
        TableProvider, TableType,
        file_format::{FileFormat as _, parquet::ParquetFormat},
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder},
        table_schema::TableSchema,
    },
    error::{DataFusionError, Result as DataFusionResult},
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown},
    object_store::{ObjectMeta, path::Path},
    physical_plan::{ExecutionPlan, Statistics, empty::EmptyExec},
};
use lake::TableFiles;
use std::sync::Arc;

/// One version of a table of the lake.
#[derive(Debug)]
pub(crate) struct FileTable {
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    statistics: Statistics,
}

impl FileTable {
    /// A table with the rows of these files; what a file lacks of the columns is null.
    pub(crate) fn new(files: TableFiles) -> DataFusionResult<Self> {
        // Not exact: another program's log may be wrong about its rows.
        let statistics = Statistics::new_unknown(&files.schema)
            .with_num_rows(Precision::Inexact(files.rows as usize))
            .with_total_byte_size(Precision::Inexact(files.bytes as usize));
        let file = |(path, size): (&std::path::PathBuf, &u64)| {
            let location = Path::from_absolute_path(path)
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            #[expect(clippy::default_trait_access, reason = "its type is of a crate not used here")]
            let last_modified = Default::default();
            let (e_tag, version) = (None, None);
            let meta = ObjectMeta { location, last_modified, size: *size, e_tag, version };
            Ok(PartitionedFile::new_from_meta(meta))
        };
        let listed = files.paths.iter().zip(&files.sizes).map(file);
        let listed = listed.collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Self { schema: files.schema, files: listed, statistics })
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // Row groups are pruned; rows are filtered above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let shown = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(shown)));
        }
        let format = ParquetFormat::default();
        let source = format.file_source(TableSchema::from(self.schema.clone()));
        let groups =
            FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_statistics(self.statistics.clone())
            .with_projection_indices(projection.cloned())?
            // A filter above may drop rows that a limit here would count.
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        format.create_physical_plan(state, scan).await
    }
}
