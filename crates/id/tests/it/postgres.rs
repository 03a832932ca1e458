//! PostgreSQL: trades, the shipped function, connections and servers that go away.

use crate::{
    servers,
    trades::{records_once, records_once_under_racing},
};
use id::{
    Blocks, Flake, FlakeSettings, IdError, IdStore as _, Layout, LayoutError, PostgresStore, Space,
    StoreError,
    trade::{Trade, postgres::TABLE},
};
use postgres::{Client, NoTls};
use std::{collections::BTreeSet, time::Duration};

#[test]
fn a_trade_is_recorded_once() {
    let Some(server) = servers::postgres() else { return };
    Client::connect(&server.url, NoTls).unwrap().batch_execute(TABLE).unwrap();
    let open = |isolation: &str| {
        let mut client = Client::connect(&server.url, NoTls).unwrap();
        let set = format!("SET default_transaction_isolation = '{isolation}'");
        client.batch_execute(&set).unwrap();
        move |trade: Trade<'_>| id::trade::postgres::record(&mut client, &trade)
    };
    for isolation in ["read committed", "repeatable read", "serializable"] {
        Client::connect(&server.url, NoTls).unwrap().batch_execute("TRUNCATE trade").unwrap();
        records_once(open(isolation));
        records_once_under_racing(&|| open(isolation));
    }
}

#[test]
fn the_shipped_function_and_leased_nodes_never_meet() {
    let Some(server) = servers::postgres() else { return };
    let mut client = Client::connect(&server.url, NoTls).unwrap();
    // A database of its own: the function has the space `ids`.
    client.batch_execute("CREATE DATABASE functions").unwrap();
    let url = server.url.strip_suffix("postgres").unwrap().to_owned() + "functions";
    let mut client = Client::connect(&url, NoTls).unwrap();
    client.batch_execute(id::sql::POSTGRES).unwrap();
    client.batch_execute(id::sql::POSTGRES).unwrap();
    let store = PostgresStore::connect(&url).unwrap();
    let flake = Flake::open(store, FlakeSettings::default()).unwrap();
    let layout = Layout::default();
    let by_database = |count: i64| {
        let mut client = Client::connect(&url, NoTls).unwrap();
        let rows = client
            .query("SELECT tidewatch_next_id() FROM generate_series(1, $1::bigint)", &[&count])
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>()
    };
    let mut all: Vec<i64> = std::thread::scope(|scope| {
        let by = &by_database;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || by(3_000))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let nodes: BTreeSet<u64> = all.iter().map(|id| layout.parts(*id).node).collect();
    assert_eq!(nodes.len(), 1);
    assert!(!nodes.contains(&flake.lease().node));
    let now_ms: i64 = client
        .query_one("SELECT floor(extract(epoch from clock_timestamp()) * 1000)::bigint", &[])
        .unwrap()
        .get(0);
    for id in &all {
        let ago_ms = now_ms - layout.parts(*id).unix_ms;
        assert!((-10..60_000).contains(&ago_ms), "{ago_ms}");
    }
    for _ in 0..1000 {
        all.push(flake.next_id().unwrap());
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 13_000);
    // What was given is not given again after ROLLBACK.
    let mut transaction = client.transaction().unwrap();
    let rolled_back: i64 = transaction.query_one("SELECT tidewatch_next_id()", &[]).unwrap().get(0);
    transaction.rollback().unwrap();
    assert!(by_database(1)[0] > rolled_back);
    // A clock that was turned back an hour is told.
    client
        .batch_execute(
            "SELECT setval('tidewatch_id_last', last_value + (3600000::bigint << 12)) FROM tidewatch_id_last",
        )
        .unwrap();
    let error = client.query_one("SELECT tidewatch_next_id()", &[]).unwrap_err();
    let message = error.as_db_error().unwrap().message();
    assert!(message.contains("ms behind the last id"), "{message}");
}

#[test]
fn a_server_that_goes_away_stops_the_ids_when_the_lease_is_over() {
    let Some(server) = servers::start_postgres() else { return };
    let mut store = PostgresStore::connect(&server.url).unwrap();
    let blocks = Blocks::new(PostgresStore::connect(&server.url).unwrap(), "away", 10);
    let settings = FlakeSettings {
        lease: Duration::from_millis(900),
        margin: Duration::from_millis(100),
        ..FlakeSettings::default()
    };
    let space = Space { ..settings.space.clone() };
    let flake = Flake::open(PostgresStore::connect(&server.url).unwrap(), settings).unwrap();
    flake.next_id().unwrap();
    for _ in 0..5 {
        blocks.next_id().unwrap();
    }
    server.crash();
    let error = std::iter::from_fn(|| Some(flake.next_id())).find_map(Result::err).unwrap();
    assert!(matches!(error, IdError::LeaseOver { node: 0, .. }), "{error:?}");
    // The rest of the block is ours; another one cannot be had.
    for _ in 0..5 {
        blocks.next_id().unwrap();
    }
    let error = blocks.next_id().unwrap_err();
    assert!(matches!(error, IdError::Store(StoreError::Unavailable { .. })), "{error:?}");
    let error = store.claim(&space, "h", Duration::from_secs(1)).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(!format!("{error:?}").contains("password"), "{error:?}");
}

#[test]
fn lost_connections_are_replaced() {
    let Some(server) = servers::postgres() else { return };
    let blocks = Blocks::new(PostgresStore::connect(&server.url).unwrap(), "replaced", 1);
    let mut others = Client::connect(&server.url, NoTls).unwrap();
    blocks.next_id().unwrap();
    let mut failed = 0;
    for _ in 0..5 {
        others
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE query LIKE '%tidewatch_id_counter AS counter%' AND pid <> pg_backend_pid()",
            )
            .unwrap();
        while blocks.next_id().is_err() {
            failed += 1;
            assert!(failed < 50);
        }
    }
}

#[test]
fn an_epoch_in_the_future_of_the_server_is_refused() {
    let Some(server) = servers::postgres() else { return };
    let layout = Layout::new(4_000_000_000_000, 41, 10, 12).unwrap();
    let space = Space { name: "future".to_owned(), layout };
    let settings = FlakeSettings { space, ..FlakeSettings::default() };
    let error = Flake::open(PostgresStore::connect(&server.url).unwrap(), settings).unwrap_err();
    assert!(
        matches!(error, IdError::Store(StoreError::Layout(LayoutError::EpochInFuture { .. }))),
        "{error:?}"
    );
}
