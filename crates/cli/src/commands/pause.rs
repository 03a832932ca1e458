//! `tidewatch pause` and `resume`: written into the state, taken up by a running engine.

use crate::{
    arguments::Arguments,
    failure::Failure,
    output::{json, tell},
    project::Project,
};
use state::SourceRow;

pub(crate) async fn run(arguments: &Arguments, name: &str, paused: bool) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(name)?;
    let state = project.state()?;
    let known = state.sources().await?.into_iter().find(|row| row.source == source.id);
    let before = known.as_ref().is_some_and(|row| row.paused);
    let row = SourceRow {
        paused,
        updated_at: project.now(),
        ..known.unwrap_or_else(|| SourceRow {
            source: source.id.clone(),
            from: None,
            paused,
            entities_seen: 0,
            version: source.version.clone(),
            updated_at: project.now(),
        })
    };
    if !arguments.dry_run && before != paused {
        state.put_source(&row).await?;
    }
    let word = if paused { "paused" } else { "not paused" };
    if arguments.json {
        json(
            &serde_json::json!({ "source": name, "paused": paused, "changed": before != paused, "dry_run": arguments.dry_run }),
        )?;
    } else if before == paused {
        tell(format_args!("`{name}` is {word} already"));
    } else if arguments.dry_run {
        tell(format_args!("`{name}` would be {word}"));
    } else {
        tell(format_args!(
            "`{name}` is {word} now; a running engine takes it up within a second or two"
        ));
    }
    Ok(0)
}
