//! `tidewatch id`: ids on stdout, one a line, or the SQL that gives them.

use crate::{
    arguments::{Arguments, Database, Id, IdKind},
    failure::Failure,
    ids::Generators,
    output::{json, line, tell},
};
use std::{io::Write as _, time::Duration};
use web::Ids;

/// A command lasts for moments; a node of one that was killed is free after this.
const LEASE: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: &Arguments, wanted: &Id) -> Result<u8, Failure> {
    if let Some(database) = wanted.sql {
        line(match database {
            Database::Postgres => id::sql::POSTGRES.trim_end(),
            Database::Mariadb => id::sql::MARIADB.trim_end(),
        });
        return Ok(0);
    }
    let kind = kind_of(wanted.kind);
    // UUIDs need no store, so no project either.
    if wanted.kind == IdKind::Uuid && !arguments.dry_run {
        let uuids = id::Uuids::default();
        let texts = (0..wanted.count).map(|_| uuids.next_id().map(|id| id.to_string()));
        let texts = texts.collect::<Result<_, _>>().map_err(Failure::failed)?;
        return print(arguments, kind, &Ids::Texts(texts));
    }
    let generators = Generators::new(arguments, &wanted.options, LEASE)?;
    if arguments.dry_run {
        tell(format_args!("would take {} ids of kind `{}`", wanted.count, kind.name()));
        return Ok(0);
    }
    let ids = generators.batch(kind, wanted.count)?;
    // What was given is given; a node that could not be given back is free when its lease is over.
    if let Err(error) = generators.close() {
        tracing::warn!(%error, "the lease could not be given back");
    }
    print(arguments, kind, &ids)
}

fn kind_of(kind: IdKind) -> web::IdKind {
    match kind {
        IdKind::Int => web::IdKind::Int,
        IdKind::Block => web::IdKind::Block,
        IdKind::Uuid => web::IdKind::Uuid,
    }
}

fn print(arguments: &Arguments, kind: web::IdKind, ids: &Ids) -> Result<u8, Failure> {
    if arguments.json {
        json(&ids.document(kind))?;
        return Ok(0);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // A reader that went away is no error.
    let _ = write!(out, "{ids}").and_then(|()| out.flush());
    Ok(0)
}
