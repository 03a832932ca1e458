//! A project's folder, opened: settings, sources, and the ports of the embedded default.

use crate::{
    arguments::Arguments,
    failure::{Failure, USAGE},
    output::{json, tell},
};
use anyhow::Context;
use archive::FileArchive;
use engine::{Mode, Options, Ports, ProjectLock};
use env::{Clock, Entropy, SystemClock};
use fetch::{HyperTransport, TransportSettings};
use jiff::{SignedDuration, Timestamp};
use lake::DeltaLake;
use model::SourceId;
use onnx::OnnxModel;
use plan::arrival::external::External;
use source::{Loaded, Settings, Source, StateSetting};
use state::{NewProject, SqliteStore, StateStore};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) sources: Vec<Source>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Reads settings and sources as they stand.
pub(crate) fn load(dir: &Path) -> Loaded {
    source::load(dir, &environment)
}

#[expect(clippy::disallowed_methods, reason = "this is where `${NAME}` is looked up")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Project {
    /// Opens a project; mistakes in its files are all told and end the command with 2.
    pub(crate) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::starting_at(arguments.now));
        Self::open_at(&arguments.dir, arguments.json, clock)
    }

    pub(crate) fn open_at(
        dir: &Path,
        as_json: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        if !dir.join("tidewatch.toml").exists() && !dir.join("sources").is_dir() {
            return Err(Failure::usage(anyhow::anyhow!(
                "`{}` is not a project: it has neither `tidewatch.toml` nor `sources/`; make one by `tidewatch init`, \
                 or name its folder by `--dir`",
                dir.display()
            )));
        }
        let loaded = load(dir);
        if !loaded.diagnostics.0.is_empty() {
            if as_json && loaded.diagnostics.has_errors() {
                json(&loaded.diagnostics.0)?;
            } else {
                tell(&loaded.diagnostics);
            }
        }
        if loaded.diagnostics.has_errors() {
            return Err(Failure::told(USAGE));
        }
        Ok(Self { dir: dir.to_owned(), settings: loaded.settings, sources: loaded.sources, clock })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// The folder of everything the program keeps.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join(".tidewatch")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        let StateSetting::Sqlite(path) = &self.settings.state;
        self.dir.join(path)
    }

    pub(crate) fn lake_path(&self) -> PathBuf {
        self.dir.join(&self.settings.lake)
    }

    pub(crate) fn archive_path(&self) -> PathBuf {
        self.dir.join(&self.settings.archive)
    }

    /// Takes the project for this process.
    pub(crate) fn lock(&self) -> Result<ProjectLock, Failure> {
        Ok(ProjectLock::acquire(&self.home().join("engine.lock"))?)
    }

    /// The state, made if there is none.
    pub(crate) fn state(&self) -> Result<Arc<dyn StateStore>, Failure> {
        let mut entropy =
            Entropy::from_system().context("asking the system for a random number")?;
        let id = format!("{:016x}{:016x}", entropy.bits(), entropy.bits());
        let project = NewProject { project_id: id, created_at: self.now() };
        Ok(Arc::new(SqliteStore::open(self.state_path(), &project)?))
    }

    /// The state if there is one: commands that only look leave no trace.
    pub(crate) fn state_if_any(&self) -> Result<Option<Arc<dyn StateStore>>, Failure> {
        let path = self.state_path();
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => Ok(Some(Arc::new(SqliteStore::open_read_only(path)?))),
        }
    }

    pub(crate) fn lake(&self) -> Result<Arc<DeltaLake>, Failure> {
        Ok(Arc::new(DeltaLake::open(&self.lake_path())?))
    }

    pub(crate) fn ports(&self) -> Result<Ports, Failure> {
        let transport =
            HyperTransport::new(&TransportSettings::default()).context("setting up the network")?;
        let archive = FileArchive::open(self.archive_path()).with_context(|| {
            format!("opening the archive at `{}`", self.archive_path().display())
        })?;
        Ok(Ports {
            clock: Arc::clone(&self.clock),
            entropy: Entropy::from_system().context("asking the system for a random number")?,
            state: self.state()?,
            lake: self.lake()?,
            archive: Arc::new(archive),
            transport: Arc::new(transport),
        })
    }

    /// # Errors
    /// A model of arrivals that a source names cannot be used.
    pub(crate) fn options(&self, mode: Mode) -> Result<Options, Failure> {
        let commit = &self.settings.commit;
        Ok(Options {
            mode,
            commit_rows: commit.rows,
            commit_bytes: commit.bytes,
            commit_every: to_std(commit.every),
            in_flight_max: 1024,
            spool: self.home().join("spool"),
            budget: self.settings.budget,
            accept_entities: Vec::new(),
            only: Vec::new(),
            user_agent: self.settings.user_agent.clone(),
            models: models(&self.dir, &self.sources)?,
        })
    }

    /// The source called `name`, or a list of those there are.
    pub(crate) fn source(&self, name: &str) -> Result<&Source, Failure> {
        self.sources.iter().find(|source| source.id.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = self.sources.iter().map(|source| source.id.as_str()).collect();
            Failure::usage(anyhow::anyhow!(
                "there is no source `{name}`; there are: {}",
                names.join(", ")
            ))
        })
    }

    pub(crate) fn source_id(&self, name: &str) -> Result<SourceId, Failure> {
        Ok(self.source(name)?.id.clone())
    }
}

/// The models of arrivals that sources name, read and tried.
pub(crate) fn models(
    dir: &Path,
    sources: &[Source],
) -> Result<BTreeMap<SourceId, Arc<dyn External>>, Failure> {
    let mut models = BTreeMap::new();
    for source in sources {
        let Some(file) = source.arrival.as_ref().and_then(|spec| spec.model.as_ref()) else {
            continue;
        };
        let model = OnnxModel::read(&dir.join(file)).map_err(|error| {
            let context = format!("{}: [arrival] model", source.file.display());
            Failure::usage(anyhow::anyhow!(error).context(context))
        })?;
        models.insert(source.id.clone(), Arc::new(model) as Arc<dyn External>);
    }
    Ok(models)
}

pub(crate) fn to_std(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
