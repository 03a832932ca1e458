//! One question to the tables.

use crate::{
    catalog::{CATALOG, DEFAULT_SCHEMA, LakeCatalog, View},
    error::QueryError,
    statement::{self, TABLE_FUNCTIONS},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::TableReference,
    error::DataFusionError,
    execution::{
        context::{SQLOptions, SessionContext},
        memory_pool::{FairSpillPool, MemoryPool},
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::SessionConfig,
    sql::parser::Statement,
};
use futures::StreamExt as _;
use jiff::Timestamp;
use lake::Lake;
use model::TableName;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
};

/// What the functions of this crate return: boxed, so that callers do not compile DataFusion again.
pub type QueryFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, QueryError>> + Send + 'a>>;

/// The memory a query may use unless [`Query::with_memory_limit`] says otherwise.
const MEMORY_LIMIT_BYTES: usize = 1 << 30;

/// How often a query is begun again because compaction deleted a file under it.
const TRIES: usize = 3;

/// SQL over a lake. Each question sees the tables' newest versions.
#[derive(Debug, Clone)]
pub struct Query {
    lake: Arc<dyn Lake>,
    keys: Arc<BTreeMap<TableName, Vec<String>>>,
    memory_limit_bytes: usize,
}

/// How a question is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqlOptions {
    /// Only what was known at this time is seen: rows observed, and books written, up to it.
    pub as_of: Option<Timestamp>,
    /// The most rows returned; all if `None`.
    pub row_limit: Option<usize>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, in order; at least one batch, which is empty if there are none.
    pub batches: Vec<RecordBatch>,
}

impl AsRef<[RecordBatch]> for QueryResult {
    fn as_ref(&self) -> &[RecordBatch] {
        &self.batches
    }
}

impl Query {
    /// Prepares to ask a lake.
    ///
    /// `keys` are the key columns of tables, for `latest.<table>`; the words `entity` and `period`
    /// mean `_entity` and `_period`. A table without a key, or with an empty one, has one row for
    /// each `_entity`, `_period` and `_ordinal`.
    pub fn open(
        lake: Arc<dyn Lake>,
        keys: BTreeMap<TableName, Vec<String>>,
    ) -> QueryFuture<'static, Self> {
        let keys = Arc::new(keys);
        let query = Self { lake, keys, memory_limit_bytes: MEMORY_LIMIT_BYTES };
        Box::pin(std::future::ready(Ok(query)))
    }

    /// Bounds the memory of a question, its answer included: 1 GiB unless this is called. Sorts and
    /// aggregates that need more go on in temporary files.
    #[must_use]
    pub fn with_memory_limit(self, memory_limit_bytes: usize) -> Self {
        Self { memory_limit_bytes, ..self }
    }

    /// Asks one question: SELECT, WITH, EXPLAIN, SHOW TABLES, SHOW COLUMNS or DESCRIBE.
    ///
    /// Numbers with a point are decimals, not floats.
    pub fn sql(&self, sql: &str, options: &SqlOptions) -> QueryFuture<'_, QueryResult> {
        let (sql, options) = (sql.to_owned(), *options);
        Box::pin(async move { self.ask(&sql, options).await })
    }

    async fn ask(&self, sql: &str, options: SqlOptions) -> Result<QueryResult, QueryError> {
        let statement = statement::parse(sql)?;
        let mut tries = 1;
        loop {
            let view = Arc::new(self.view(options).await?);
            match self.run(statement.clone(), options, &view).await {
                // DataFusion tells it by a text only, so the disk is asked.
                Err(QueryError::Run { .. } | QueryError::Plan { .. })
                    if tries < TRIES && view.is_gone() =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    async fn view(&self, options: SqlOptions) -> Result<View, QueryError> {
        let tables = self.lake.tables().await.map_err(|source| QueryError::Lake { source })?;
        let (lake, keys) = (self.lake.clone(), self.keys.clone());
        Ok(View { lake, keys, tables, as_of: options.as_of, opened: Mutex::default() })
    }

    async fn run(
        &self,
        statement: Statement,
        options: SqlOptions,
        view: &Arc<View>,
    ) -> Result<QueryResult, QueryError> {
        let context = self.context(view)?;
        let state = context.state();
        let planned = |error| self.sorted(error, |source| QueryError::Plan { source });
        check_tables(&state.resolve_table_references(&statement).map_err(planned)?, view)?;
        let plan = state.statement_to_plan(statement).await.map_err(planned)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(planned)?;
        let frame = context.execute_logical_plan(plan).await.map_err(planned)?;
        let ran = |error| self.sorted(error, |source| QueryError::Run { source });
        let mut stream = frame.execute_stream().await.map_err(ran)?;
        let schema = stream.schema();
        let mut left = options.row_limit.unwrap_or(usize::MAX);
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0_usize;
        while left > 0
            && let Some(batch) = stream.next().await
        {
            let batch = batch.map_err(ran)?;
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            bytes = bytes.saturating_add(batch.get_array_memory_size());
            if bytes > self.memory_limit_bytes {
                return Err(QueryError::Memory { limit_bytes: self.memory_limit_bytes });
            }
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema.clone()));
        }
        Ok(QueryResult { schema, batches })
    }

    fn context(&self, view: &Arc<View>) -> Result<SessionContext, QueryError> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let settings = config.options_mut();
        settings.sql_parser.parse_float_as_decimal = true;
        // Text is `Utf8` in every answer.
        settings.execution.parquet.schema_force_view_types = false;
        settings.sql_parser.map_string_types_to_utf8view = false;
        let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(self.memory_limit_bytes));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .build_arc()
            .map_err(|error| QueryError::Plan { source: Box::new(error) })?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        context.register_catalog(CATALOG, Arc::new(LakeCatalog(view.clone())));
        Ok(context)
    }

    /// Our own errors come back as they were, want of memory by its name, the rest as `other`.
    fn sorted(
        &self,
        error: DataFusionError,
        other: impl FnOnce(Box<DataFusionError>) -> QueryError,
    ) -> QueryError {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
                Ok(ours) => *ours,
                Err(inner) => other(Box::new(DataFusionError::External(inner))),
            },
            DataFusionError::Context(_, inner) => self.sorted(*inner, other),
            error => match error.find_root() {
                DataFusionError::ResourcesExhausted(_) => {
                    QueryError::Memory { limit_bytes: self.memory_limit_bytes }
                }
                _ => other(Box::new(error)),
            },
        }
    }
}

fn check_tables(named: &[TableReference], view: &View) -> Result<(), QueryError> {
    for table in named {
        if matches!(table, TableReference::Bare { table } if TABLE_FUNCTIONS.contains(&&**table)) {
            continue;
        }
        let schema = table.schema().unwrap_or(DEFAULT_SCHEMA);
        let ours = table.catalog().is_none_or(|catalog| catalog == CATALOG);
        if ours && (schema == "information_schema" || view.find(schema, table.table()).is_some()) {
            continue;
        }
        let names = view.names();
        let tables = if names.is_empty() {
            "none yet: nothing has been written".to_owned()
        } else {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        return Err(QueryError::UnknownTable { table: table.to_string(), tables });
    }
    Ok(())
}
