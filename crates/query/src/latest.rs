//! What was known at a time, and the newest row of each key: plans over a table's rows.

use crate::error::QueryError;
use datafusion::{
    arrow::datatypes::{DataType, Schema},
    common::{Column, ScalarValue},
    datasource::{TableProvider, ViewTable, provider_as_source},
    error::DataFusionError,
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, ExprFunctionExt as _, LogicalPlanBuilder, lit},
};
use jiff::Timestamp;
use std::sync::Arc;

/// Names no column of a table has: they begin with an upper-case letter after `_`.
const RANK: &str = "_Rank";

/// The key of a table whose source declares none.
const DEFAULT_KEY: [&str; 3] = ["_entity", "_period", "_ordinal"];

/// A column by its exact name.
fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn plan(error: DataFusionError) -> QueryError {
    QueryError::Plan { source: Box::new(error) }
}

/// The rows of a table whose `time` is not later than `as_of`.
pub(crate) fn known_at(
    name: &str,
    rows: Arc<dyn TableProvider>,
    time: &str,
    as_of: Option<Timestamp>,
) -> Result<Arc<dyn TableProvider>, QueryError> {
    let Some(as_of) = as_of else { return Ok(rows) };
    if rows.schema().fields().find(time).is_none() {
        return Err(QueryError::AsOf { table: name.to_owned(), column: time.to_owned() });
    }
    // Tables keep microseconds: what is later by less is later.
    let micros = as_of.as_microsecond() - i64::from(as_of.subsec_nanosecond() % 1_000 < 0);
    let as_of = lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    let built = LogicalPlanBuilder::scan(name, provider_as_source(rows), None)
        .and_then(|rows| rows.filter(column(time).lt_eq(as_of)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(plan)?;
    Ok(Arc::new(ViewTable::new(built, None)))
}

/// The newest row of each key by (`_observed_at`, `_attempt`), without keys whose newest row is a
/// tombstone.
pub(crate) fn latest(
    name: &str,
    rows: Arc<dyn TableProvider>,
    key: &[String],
) -> Result<Arc<dyn TableProvider>, QueryError> {
    let schema = rows.schema();
    let has = |name: &str| schema.fields().find(name).is_some();
    let mut partition = Vec::new();
    for name_of_key in key_columns(key) {
        if !has(name_of_key) {
            return Err(QueryError::Key {
                table: name.to_owned(),
                column: name_of_key.to_owned(),
                columns: columns_of(&schema),
            });
        }
        partition.push(column(name_of_key));
    }
    let order: Vec<_> = ["_observed_at", "_attempt", "_ordinal"]
        .into_iter()
        .filter(|name| has(name))
        .map(|name| column(name).sort(false, false))
        .collect();
    let is_tombstone = match schema.field_with_name("_tombstone") {
        Ok(field) if field.data_type() == &DataType::Boolean => column("_tombstone").is_true(),
        _ => lit(false),
    };
    let shown: Vec<_> = schema.fields().iter().map(|field| column(field.name())).collect();
    let build = || {
        let rank = row_number().partition_by(partition).order_by(order).build()?.alias(RANK);
        LogicalPlanBuilder::scan(name, provider_as_source(rows), None)?
            .window(vec![rank])?
            .filter(column(RANK).eq(lit(1_u64)))?
            .filter(Expr::Not(Box::new(is_tombstone)))?
            .project(shown)?
            .build()
    };
    let built = build().map_err(plan)?;
    Ok(Arc::new(ViewTable::new(built, None)))
}

fn key_columns(key: &[String]) -> Vec<&str> {
    if key.is_empty() {
        return DEFAULT_KEY.to_vec();
    }
    let word = |name: &str| match name {
        "entity" => Some("_entity"),
        "period" => Some("_period"),
        _ => None,
    };
    key.iter().map(|name| word(name).unwrap_or(name)).collect()
}

fn columns_of(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    names.join(", ")
}
