//! `tidewatch state rebuild`: the state anew from the ledger tables.

use crate::{
    arguments::{Arguments, State, StateAction},
    failure::Failure,
    output::{grouped, json, tell},
    project::Project,
};
use anyhow::Context;
use std::path::{Path, PathBuf};

pub(crate) async fn run(arguments: &Arguments, state: &State) -> Result<u8, Failure> {
    match state.action {
        StateAction::Rebuild => rebuild(arguments).await,
    }
}

async fn rebuild(arguments: &Arguments) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let _lock = project.lock()?;
    let lake = project.lake()?;
    let rebuilt = engine::rebuild(&*lake, &project.sources, project.now()).await?;
    let kept = if arguments.dry_run {
        None
    } else {
        let kept = put_aside(&project.state_path())?;
        project.state()?.import(&rebuilt).await?;
        kept
    };
    let attempts = rebuilt.next_attempt - 1;
    if arguments.json {
        json(&serde_json::json!({
            "cells": rebuilt.cells.len(),
            "attempts": attempts,
            "spend_rows": rebuilt.spend.len(),
            "former_state": kept,
            "dry_run": arguments.dry_run,
        }))?;
        return Ok(0);
    }
    let verb = if arguments.dry_run { "would be" } else { "was" };
    tell(format_args!(
        "the state {verb} rebuilt: {} cells, attempts up to {attempts}",
        grouped(rebuilt.cells.len() as u64)
    ));
    if let Some(kept) = kept {
        tell(format_args!("the former state file is kept as {}", kept.display()));
    }
    tell(
        "pauses and wishes for backfills that are not fulfilled were in the state only: give them again",
    );
    Ok(0)
}

/// Moves a state file and its companions out of the way.
fn put_aside(path: &Path) -> Result<Option<PathBuf>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let aside = (1..10_000)
        .map(|number| PathBuf::from(format!("{}.former{number}", path.display())))
        .find(|candidate| !candidate.exists())
        .context("finding a name for the former state file")?;
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&aside, suffix));
        if from.exists() {
            std::fs::rename(&from, &to).with_context(|| format!("moving `{}`", from.display()))?;
        }
    }
    Ok(Some(aside))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}
