//! `tidewatch run`: the engine, continuously or once.

use crate::{
    arguments::{Arguments, Run},
    failure::{Failure, UNDONE, chain},
    output::{grouped, json, tell},
    progress,
    project::{self, Project},
};
use engine::{Control, Engine, Mode, Options, Ports, Summary, Watchers};
use model::SourceId;
use source::Source;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::{mpsc, watch};

/// How often files and state are looked at for changes.
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: &Arguments, run: &Run) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let ids = |names: &[String]| {
        names.iter().map(|name| project.source_id(name)).collect::<Result<Vec<_>, _>>()
    };
    let (only, accept_entities) = (ids(&run.sources)?, ids(&run.accept_entities)?);
    if arguments.dry_run {
        return super::backfill::print_due(arguments, &project, &only).await;
    }
    let mode = if run.once { Mode::Once } else { Mode::Continuous };
    let options = Options { only, accept_entities, ..project.options(mode)? };
    if project.sources.is_empty() {
        tell("no sources: put one into `sources/`, or make an example by `tidewatch init`");
    }
    for source in project.sources.iter().filter(|source| !source.enabled) {
        tell(format_args!("source `{}` is not enabled in {}", source.id, source.file.display()));
    }
    let summary = drive(&project, options, true).await?;
    print(arguments, &summary)?;
    Ok(if run.once && summary.left_undone() { UNDONE } else { 0 })
}

/// Runs an engine on a project: lock, ports, progress, signals, changed files.
pub(crate) async fn drive(
    project: &Project,
    options: Options,
    watch_files: bool,
) -> Result<Summary, Failure> {
    let _lock = project.lock()?;
    let ports = project.ports()?;
    if let Err(error) = fetch::clear_spool(&options.spool) {
        tracing::warn!(folder = %options.spool.display(), error = %error, "bodies left behind by a former engine could not be removed");
    }
    let (progress_sender, progress_seen) = watch::channel(engine::Progress::default());
    let watchers = Watchers { progress: Some(progress_sender), events: None };
    let (control, wishes) = mpsc::channel(16);
    let engine = Engine::open(ports.clone(), options, watchers, project.sources.clone()).await?;
    let shown = progress::show(progress_seen);
    let signals = tokio::spawn(signals(control.clone()));
    let watcher = watch_files.then(|| {
        tokio::spawn(watch_changes(
            project.dir.clone(),
            project.sources.clone(),
            ports.clone(),
            control,
        ))
    });
    // As a task, the loop runs where the tasks run that send it messages: on the main thread, each
    // of them would have to wake another thread.
    let summary = match tokio::spawn(engine.run(wishes)).await {
        Ok(summary) => summary,
        Err(error) => return Err(Failure::failed(anyhow::Error::new(error).context("running"))),
    };
    signals.abort();
    if let Some(watcher) = watcher {
        watcher.abort();
    }
    // It ends by itself when the engine, and with it the sender, is gone.
    let _ = shown.await;
    Ok(summary?)
}

pub(crate) fn print(arguments: &Arguments, summary: &Summary) -> Result<(), Failure> {
    if arguments.json {
        return json(&serde_json::json!({
            "requests": summary.requests,
            "records": summary.records,
            "quarantined": summary.quarantined,
            "batches": summary.batches,
            "interrupted": summary.interrupted,
            "finished_batches": summary.finished_batches,
            "unasked_for_budget": summary.unasked_for_budget,
            "refused": summary.refused,
        }));
    }
    tell(format_args!(
        "{} requests, {} records, {} in quarantine, {} commits",
        grouped(summary.requests),
        grouped(summary.records),
        grouped(summary.quarantined),
        grouped(summary.batches),
    ));
    if summary.unasked_for_budget > 0 {
        tell(format_args!(
            "{} due cells were not asked for: the day's budget is spent",
            grouped(summary.unasked_for_budget)
        ));
    }
    if summary.refused > 0 {
        tell(format_args!(
            "{} cells got no usable answer; see `tidewatch cells --state waiting` and `tidewatch explain`",
            grouped(summary.refused)
        ));
    }
    Ok(())
}

/// The first SIGTERM or SIGINT drains, the second ends the process at once.
async fn signals(control: mpsc::Sender<Control>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked {
            #[expect(
                clippy::exit,
                reason = "asked for twice; the next start heals what is cut off"
            )]
            std::process::exit(130);
        }
        asked = true;
        tell("stopping: what is in flight is finished and committed (again to stop at once)");
        // A closed channel means that it is ending anyway.
        let _ = control.send(Control::Drain).await;
    }
}

/// Tells the engine of changed files and of wishes written into the state by other processes.
async fn watch_changes(
    dir: PathBuf,
    sources: Vec<Source>,
    ports: Ports,
    control: mpsc::Sender<Control>,
) {
    let mut seen = stamps(&dir, &sources);
    let mut generation = ports.state.generation().await.unwrap_or(0);
    let mut wall = ports.clock.now();
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let found = stamps(&dir, &sources);
        if found != seen {
            seen = found;
            let loaded = project::load(&dir);
            if loaded.diagnostics.has_errors() {
                tell(&loaded.diagnostics);
                tracing::warn!("changed files have mistakes; the engine goes on with what it had");
            } else if control.send(Control::Sources(loaded.sources)).await.is_err() {
                return;
            }
        }
        let now = ports.clock.now();
        let drift = now.wall.duration_since(wall.wall).as_secs_f64()
            - now.monotonic.saturating_sub(wall.monotonic).as_secs_f64();
        wall = now;
        let newer = match ports.state.generation().await {
            Ok(newer) => newer,
            Err(error) => {
                tracing::warn!(error = %chain(std::iter::once(&error as &(dyn std::error::Error + 'static))), "cannot look for wishes");
                generation
            }
        };
        if (newer != generation || drift.abs() > 1.0) && control.send(Control::Look).await.is_err()
        {
            return;
        }
        generation = newer;
    }
}

/// What tells that a file was changed.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

fn stamps(dir: &Path, sources: &[Source]) -> Arc<[Stamp]> {
    let mut paths = vec![dir.join("tidewatch.toml")];
    if let Ok(folder) = std::fs::read_dir(dir.join("sources")) {
        paths.extend(folder.flatten().map(|entry| entry.path()));
    }
    paths.extend(
        sources
            .iter()
            .filter_map(|source| source.entities_file.as_ref())
            .map(|file| dir.join(&file.path)),
    );
    paths.sort();
    paths.dedup();
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

/// The names of sources, for options.
pub(crate) fn only(id: &SourceId) -> Vec<SourceId> {
    vec![id.clone()]
}
