//! MariaDB: trades, the shipped function, a server that goes away.

use crate::{
    servers,
    trades::{records_once, records_once_under_racing},
};
use id::{
    Flake, FlakeSettings, IdError, IdStore as _, Layout, MariaDbStore,
    trade::{Trade, mariadb::TABLE},
};
use mysql::{Conn, prelude::Queryable as _};
use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

#[test]
fn a_trade_is_recorded_once() {
    let Some(server) = servers::mariadb() else { return };
    Conn::new(server.url.as_str()).unwrap().query_drop(TABLE).unwrap();
    let open = |isolation: &str| {
        let mut connection = Conn::new(server.url.as_str()).unwrap();
        connection
            .query_drop(format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"))
            .unwrap();
        move |trade: Trade<'_>| id::trade::mariadb::record(&mut connection, &trade)
    };
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        Conn::new(server.url.as_str()).unwrap().query_drop("TRUNCATE trade").unwrap();
        records_once(open(isolation));
        records_once_under_racing(&|| open(isolation));
    }
}

#[test]
fn the_shipped_function_and_leased_nodes_never_meet() {
    let Some(server) = servers::mariadb() else { return };
    let mut connection = Conn::new(server.url.as_str()).unwrap();
    connection.query_drop("CREATE DATABASE functions").unwrap();
    let url = server.url.replace("/ids", "/functions");
    for _ in 0..2 {
        let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "-h", "127.0.0.1", "-u", "root", "-P", port, "functions"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(id::sql::MARIADB.as_bytes()).unwrap();
        assert!(client.wait().unwrap().success());
    }
    let flake =
        Flake::open(MariaDbStore::connect(&url).unwrap(), FlakeSettings::default()).unwrap();
    let layout = Layout::default();
    let by_database = |count: u32| {
        let mut connection = Conn::new(url.as_str()).unwrap();
        let select = format!("SELECT tidewatch_next_id() FROM seq_1_to_{count}");
        connection.query::<i64, _>(select).unwrap()
    };
    let mut all: Vec<i64> = std::thread::scope(|scope| {
        let by = &by_database;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || by(3_000))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let nodes: BTreeSet<u64> = all.iter().map(|id| layout.parts(*id).node).collect();
    assert_eq!(nodes.len(), 1);
    assert!(!nodes.contains(&flake.lease().node));
    let system_ms = id::Clock::wall_ms(&id::SystemClock);
    for id in &all {
        let ago_ms = system_ms - layout.parts(*id).unix_ms;
        assert!((-5_000..60_000).contains(&ago_ms), "{ago_ms}");
    }
    for _ in 0..1000 {
        all.push(flake.next_id().unwrap());
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 13_000);
    let mut connection = Conn::new(url.as_str()).unwrap();
    connection.query_drop("BEGIN").unwrap();
    let rolled_back: Option<i64> = connection.query_first("SELECT tidewatch_next_id()").unwrap();
    connection.query_drop("ROLLBACK").unwrap();
    assert!(by_database(1)[0] > rolled_back.unwrap());
    connection.query_drop("UPDATE tidewatch_id_last SET pair = pair + (3600000 << 12)").unwrap();
    let error = connection.query_first::<i64, _>("SELECT tidewatch_next_id()").unwrap_err();
    assert!(error.to_string().contains("ms behind the last id"), "{error}");
}

#[test]
fn where_encryption_is_asked_for_nothing_is_sent() {
    for mode in ["require", "verify-ca", "verify-full"] {
        // Nobody listens: an attempt to connect would be another error.
        let url = format!("mysql://u:secret@127.0.0.1:1/d?sslmode={mode}");
        let error = MariaDbStore::connect(&url).unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("sslmode"), "{error}");
    }
    let Some(server) = servers::mariadb() else { return };
    MariaDbStore::connect(&format!("{}?sslmode=prefer", server.url)).unwrap();
}

#[test]
fn a_server_that_goes_away_stops_the_ids_when_the_lease_is_over() {
    let Some(server) = servers::start_mariadb() else { return };
    let mut store = MariaDbStore::connect(&server.url).unwrap();
    let settings = FlakeSettings {
        lease: Duration::from_millis(900),
        margin: Duration::from_millis(100),
        ..FlakeSettings::default()
    };
    let space = settings.space.clone();
    let flake = Flake::open(MariaDbStore::connect(&server.url).unwrap(), settings).unwrap();
    flake.next_id().unwrap();
    server.crash();
    let error = std::iter::from_fn(|| Some(flake.next_id())).find_map(Result::err).unwrap();
    assert!(matches!(error, IdError::LeaseOver { node: 0, .. }), "{error:?}");
    let error = store.claim(&space, "h", Duration::from_secs(1)).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
