//! `tidewatch check`: every mistake of every file, at once.

use crate::{
    arguments::Arguments,
    failure::{Failure, USAGE},
    output::{json, line, tell},
    project,
};

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let loaded = project::load(&arguments.dir);
    let failed = loaded.diagnostics.has_errors();
    if arguments.json {
        json(&loaded.diagnostics.0)?;
    } else {
        if !loaded.diagnostics.0.is_empty() {
            tell(&loaded.diagnostics);
        }
        if !failed {
            project::models(&arguments.dir, &loaded.sources)?;
            for source in &loaded.sources {
                let enabled = if source.enabled { "" } else { ", not enabled" };
                line(format_args!(
                    "{}: version {}, {} entities, table `{}`{enabled}",
                    source.id,
                    source.version,
                    source.entities.len(),
                    source.table,
                ));
            }
            if loaded.sources.is_empty() {
                tell("no sources: put one into `sources/`, or make an example by `tidewatch init`");
            }
        }
    }
    Ok(if failed { USAGE } else { 0 })
}
