//! Servers that say nothing: stopped as they are, or never there to answer.

use crate::servers::{self, Server};
use id::{Blocks, Clock as _, Flake, FlakeSettings, IdError, IdStore, StoreError, SystemClock};
use std::{error::Error, net::TcpListener, time::Duration};

/// No call lasts longer: the stores' own limit, twice, and time for a busy machine.
const BOUND: Duration = Duration::from_secs(14);
const LEASE: Duration = Duration::from_secs(3);

type Open<'a> = &'a dyn Fn(&str) -> Result<Box<dyn IdStore>, StoreError>;

#[cfg(feature = "postgres")]
fn postgres(url: &str) -> Result<Box<dyn IdStore>, StoreError> {
    Ok(Box::new(id::PostgresStore::connect(url)?))
}

#[cfg(feature = "mariadb")]
fn mariadb(url: &str) -> Result<Box<dyn IdStore>, StoreError> {
    Ok(Box::new(id::MariaDbStore::connect(url)?))
}

#[cfg(feature = "postgres")]
#[test]
fn a_stopped_postgres_is_given_up() {
    let Some(server) = servers::start_postgres() else { return };
    play(&server, &postgres);
}

#[cfg(feature = "mariadb")]
#[test]
fn a_stopped_mariadb_is_given_up() {
    let Some(server) = servers::start_mariadb() else { return };
    play(&server, &mariadb);
}

fn play(server: &Server, open: Open<'_>) {
    let settings = FlakeSettings { lease: LEASE, margin: LEASE / 10, ..FlakeSettings::default() };
    let flake = Flake::open(open(&server.url).unwrap(), settings).unwrap();
    let blocks = Blocks::new(open(&server.url).unwrap(), "silence", 10);
    flake.next_id().unwrap();
    blocks.ranges(10).unwrap();
    server.pause();
    let cause = loop {
        match bounded(|| flake.next_id()) {
            Ok(id) => {
                let age_ms = SystemClock.wall_ms() - flake.layout().parts(id).unix_ms;
                assert!(age_ms < LEASE.as_millis() as i64, "given {age_ms} ms after its time");
            }
            Err(IdError::LeaseOver { node: 0, cause: Some(cause) }) => break cause,
            Err(IdError::LeaseOver { cause: None, .. }) => SystemClock.pause(LEASE / 20),
            Err(other) => panic!("{other:?}"),
        }
    };
    is_silence(&cause, &server.url);
    match bounded(|| blocks.next_id()) {
        Err(IdError::Store(cause)) => is_silence(&cause, &server.url),
        other => panic!("{other:?}"),
    }
    server.resume();
    let mut tries = 0;
    while flake.next_id().is_err() || blocks.next_id().is_err() {
        SystemClock.pause(Duration::from_millis(100));
        tries += 1;
        assert!(tries < 100);
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let give_up = |scheme: &str, open: Open<'_>| {
        let url = format!("{scheme}://u:secret@127.0.0.1:{port}/d");
        is_silence(&bounded(|| open(&url)).unwrap_err(), &url);
    };
    std::thread::scope(|scope| {
        #[cfg(feature = "postgres")]
        scope.spawn(|| give_up("postgres", &postgres));
        #[cfg(feature = "mariadb")]
        scope.spawn(|| give_up("mysql", &mariadb));
    });
}

fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let asked_ns = SystemClock.elapsed_ns();
    let done = work();
    let took = Duration::from_nanos(SystemClock.elapsed_ns() - asked_ns);
    assert!(took < BOUND, "{took:?}");
    done
}

/// It can be tried again, and what is told names the store, and no password.
fn is_silence(error: &StoreError, url: &str) {
    assert!(error.is_transient());
    let text = format!("{error}: {}", error.source().unwrap());
    let place = &url[url.rfind("127.0.0.1").unwrap()..];
    assert!(text.contains(place) && text.contains("no answer within 5s"), "{text}");
    assert!(!format!("{text} {error:?}").contains("secret"), "{text}");
}
