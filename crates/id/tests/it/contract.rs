//! The contract, on each engine.

use id::{
    IdStore, MemoryStore,
    clock::ManualClock,
    contract::{Place, all},
};
use std::sync::Arc;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mariadb"))]
fn pause(by: std::time::Duration) {
    id::Clock::pause(&id::SystemClock, by);
}

#[test]
fn memory() {
    let clock = Arc::new(ManualClock::at(1_800_000_000_000));
    let store = MemoryStore::new(Arc::clone(&clock));
    let open = || Box::new(store.clone()) as Box<dyn IdStore>;
    all(&Place { open: &open, pause: &|by| clock.advance(by) });
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.db");
    let open = || Box::new(id::SqliteStore::open(&path).unwrap()) as Box<dyn IdStore>;
    all(&Place { open: &open, pause: &pause });
}

#[cfg(feature = "postgres")]
#[test]
fn postgres() {
    let Some(server) = crate::servers::postgres() else { return };
    let open = || Box::new(id::PostgresStore::connect(&server.url).unwrap()) as Box<dyn IdStore>;
    all(&Place { open: &open, pause: &pause });
}

#[cfg(feature = "mariadb")]
#[test]
fn mariadb() {
    let Some(server) = crate::servers::mariadb() else { return };
    let open = || Box::new(id::MariaDbStore::connect(&server.url).unwrap()) as Box<dyn IdStore>;
    all(&Place { open: &open, pause: &pause });
}
