//! `tidewatch sql`: read-only queries over the tables.

use crate::{
    arguments::{Arguments, Format, Sql},
    failure::Failure,
    project::Project,
};
use query::{Query, SqlOptions};
use std::{collections::BTreeMap, io::Write};

pub(crate) async fn run(arguments: &Arguments, sql: &Sql) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let keys: BTreeMap<_, _> = project
        .sources
        .iter()
        .map(|source| (source.table.clone(), source.expect.key.clone()))
        .collect();
    let query = Query::open(project.lake()?, keys).await.map_err(Failure::failed)?;
    let options = SqlOptions { as_of: sql.as_of, row_limit: sql.limit };
    let result = query.sql(&sql.query, &options).await.map_err(Failure::usage)?;
    let format = match (sql.format, arguments.json) {
        (Some(format), _) => format,
        (None, true) => Format::Json,
        (None, false) => Format::Table,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let written = match format {
        Format::Table => query::write_table(&result.batches, &mut out),
        Format::Json => query::write_json(&result.batches, &mut out),
        Format::Csv => query::write_csv(&result, &mut out),
    };
    let written = written.map_err(anyhow::Error::from).and_then(|()| Ok(out.flush()?));
    match written {
        // A reader that went away is no error.
        Err(error) if is_broken_pipe(&error) => Ok(0),
        Err(error) => Err(Failure::failed(error)),
        Ok(()) => Ok(0),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
