//! Generators of ids on the store that was asked for, opened when they are first needed.

use crate::{
    arguments::{Arguments, IdOptions},
    failure::{Failure, USAGE},
    output::tell,
    project,
};
use anyhow::{Context, anyhow};
use id::{
    Blocks, Flake, FlakeSettings, IdError, IdStore, Layout, MariaDbStore, PostgresStore, Space,
    SqliteStore, StoreError, Uuids,
};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use web::{IdKind, IdSource, Ids, Refusal};

/// What names a store in the environment, so that a password need not be typed.
const STORE_VARIABLE: &str = "TIDEWATCH_IDS";

/// Where leases and counters are kept. Printed without what may be secret.
#[derive(Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres(String),
    MariaDb(String),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "{}", path.display()),
            Self::Postgres(_) => formatter.write_str("postgres"),
            Self::MariaDb(_) => formatter.write_str("mariadb"),
        }
    }
}

impl Place {
    fn open(&self) -> Result<Box<dyn IdStore>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(SqliteStore::open(path)?),
            Self::Postgres(url) => Box::new(PostgresStore::connect(url)?),
            Self::MariaDb(url) => Box::new(MariaDbStore::connect(url)?),
        })
    }
}

/// One generator of each kind, on one store. Its leases end with it.
#[derive(Debug)]
pub(crate) struct Generators {
    place: Place,
    settings: FlakeSettings,
    block: u32,
    flake: Mutex<Option<Flake>>,
    blocks: Mutex<Option<Blocks>>,
    uuids: Uuids,
}

impl Generators {
    /// Checks what was typed; opens nothing yet. `lease` is how long a node of ours is held if we die.
    pub(crate) fn new(
        arguments: &Arguments,
        options: &IdOptions,
        lease: Duration,
    ) -> Result<Self, Failure> {
        let layout = Layout::for_nodes(options.nodes).map_err(Failure::usage)?;
        let settings = FlakeSettings {
            space: Space { name: options.space.clone(), layout },
            holder: format!("tidewatch process {}", std::process::id()),
            lease,
            margin: lease / 10,
            ..FlakeSettings::default()
        };
        Ok(Self {
            place: place(arguments, options)?,
            settings,
            block: options.block,
            flake: Mutex::default(),
            blocks: Mutex::default(),
            uuids: Uuids::default(),
        })
    }

    /// `count` ids of a kind, in ascending order.
    ///
    /// Ints and blocks of one process come one batch after the other: a batch takes microseconds.
    pub(crate) fn batch(&self, kind: IdKind, count: u32) -> Result<Ids, anyhow::Error> {
        match kind {
            IdKind::Int => {
                let mut slot = self.flake.lock().unwrap_or_else(PoisonError::into_inner);
                let flake = match &mut *slot {
                    Some(flake) => flake,
                    none => none.insert(Flake::open(self.place.open()?, self.settings.clone())?),
                };
                let mut ids = vec![0; count as usize];
                let filled = flake.fill(&mut ids);
                if let Err(IdError::ClockBehind { .. }) = &filled {
                    // The next batch begins with a new lease: unique as ever, by the clock as it is.
                    *slot = None;
                }
                filled?;
                Ok(Ids::Numbers(ids))
            }
            IdKind::Block => {
                let mut slot = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
                let blocks = match &mut *slot {
                    Some(blocks) => blocks,
                    none => none.insert(Blocks::new(
                        self.place.open()?,
                        &self.settings.space.name,
                        self.block,
                    )),
                };
                let ranges = blocks.ranges(count)?;
                let numbers =
                    ranges.into_iter().flat_map(|(first, count)| first..first + i64::from(count));
                Ok(Ids::Numbers(numbers.collect()))
            }
            IdKind::Uuid => {
                let texts = (0..count).map(|_| self.uuids.next_id().map(|id| id.to_string()));
                Ok(Ids::Texts(texts.collect::<Result<_, _>>()?))
            }
        }
    }

    /// Gives node and numbers back.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        if let Some(flake) = &*self.flake.lock().unwrap_or_else(PoisonError::into_inner) {
            flake.close()?;
        }
        if let Some(blocks) = &*self.blocks.lock().unwrap_or_else(PoisonError::into_inner) {
            blocks.close()?;
        }
        Ok(())
    }
}

impl IdSource for Generators {
    fn take(&self, kind: IdKind, count: u32) -> Result<Ids, Refusal> {
        self.batch(kind, count).map_err(|error| {
            let passing = error.chain().any(|cause| {
                cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_transient)
                    || matches!(
                        cause.downcast_ref::<IdError>(),
                        Some(IdError::ClockBehind { .. } | IdError::LeaseOver { .. })
                    )
            });
            let message = crate::failure::chain(error.chain());
            tracing::warn!(error = %message, "no ids could be given");
            Refusal { message, passing }
        })
    }
}

fn place(arguments: &Arguments, options: &IdOptions) -> Result<Place, Failure> {
    let given = options.store.clone().or_else(|| project::environment(STORE_VARIABLE));
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return named(Path::new(""), given);
    }
    let dir = &arguments.dir;
    let settings = source::load_settings(dir, &project::environment).map_err(|mistakes| {
        tell(&mistakes);
        Failure::told(USAGE)
    })?;
    if let Some(store) = settings.ids_store {
        return named(dir, store.reveal().to_owned());
    }
    if !dir.join("tidewatch.toml").exists() && !dir.join("sources").is_dir() {
        return Err(Failure::usage(anyhow!(
            "`{}` is not a project, so there is no place for leases and counters: name one by `--store`, or a project \
             by `--dir`",
            dir.display()
        )));
    }
    let home = dir.join(".tidewatch");
    if !arguments.dry_run {
        std::fs::create_dir_all(&home).with_context(|| format!("making `{}`", home.display()))?;
    }
    Ok(Place::Sqlite(home.join("ids.db")))
}

/// What a text names; paths count from `dir`.
fn named(dir: &Path, text: String) -> Result<Place, Failure> {
    Ok(match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Place::Postgres(text),
        Some(("mysql" | "mariadb", _)) => Place::MariaDb(text),
        Some((scheme, _)) => {
            let known = "a path, `postgres://...` or `mariadb://...`";
            return Err(Failure::usage(anyhow!("`--store` is {known}, not `{scheme}://...`")));
        }
        None => Place::Sqlite(dir.join(text)),
    })
}
