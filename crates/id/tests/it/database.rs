//! Real databases: the shipped functions, trades recorded once, servers that go away.

use crate::servers;
use id::{
    Blocks, Flake, FlakeSettings, IdError, Layout, LayoutError, StoreError,
    trade::{Recorded, Trade, TradeError},
};
use std::{collections::BTreeSet, time::Duration};

const TRADE: Trade<'static> = Trade { order_id: 7, key: "NYSE:1", payload: "buy 5" };

/// What each database's `record` must do; `record` tells whether it was new, and the order id.
fn records_once(mut record: impl FnMut(Trade<'_>) -> Result<Recorded, TradeError>) {
    assert_eq!(record(TRADE).unwrap(), Recorded::New { order_id: 7 });
    // The answer was lost, and the retry has another id.
    let again = record(Trade { order_id: 8, ..TRADE }).unwrap();
    assert_eq!(again, Recorded::Before { order_id: 7 });
    // With the same id, too.
    assert_eq!(record(TRADE).unwrap().order_id(), 7);
    let other = record(Trade { order_id: 9, payload: "sell 5", ..TRADE }).unwrap_err();
    assert!(matches!(&other, TradeError::KeyReused { key } if key == "NYSE:1"), "{other}");
    let taken = record(Trade { key: "NYSE:2", ..TRADE }).unwrap_err();
    assert!(matches!(taken, TradeError::OrderIdTaken { order_id: 7 }), "{taken}");
    assert!(!taken.is_retried());
    let next = record(Trade { order_id: 8, key: "NYSE:2", ..TRADE }).unwrap();
    assert_eq!(next, Recorded::New { order_id: 8 });
}

/// Writers that send every trade several times, all at once: one row a trade, one id a trade.
fn records_once_under_racing<R>(open: &(dyn Fn() -> R + Sync))
where
    R: FnMut(Trade<'_>) -> Result<Recorded, TradeError>,
{
    let play = |writer: i64| {
        let mut record = open();
        let mut ids = Vec::new();
        for number in 0..60_i64 {
            let key = format!("race {number}");
            let order_id = 1_000 + number * 10 + writer;
            let mut tries = 0;
            ids.push(loop {
                match record(Trade { order_id, key: &key, payload: "x" }) {
                    Ok(recorded) => break recorded.order_id(),
                    Err(error) if error.is_retried() && tries < 50 => tries += 1,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        ids
    };
    let answers: Vec<Vec<i64>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || play(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_trade_is_recorded_once_in_sqlite() {
    use id::trade::sqlite::{TABLE, record};
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let connection = rusqlite::Connection::open(folder.path().join("trades.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch(TABLE).unwrap();
        connection
    };
    let mut connection = open();
    records_once(|trade| record(&mut connection, &trade));
    records_once_under_racing(&|| {
        let mut connection = open();
        move |trade: Trade<'_>| record(&mut connection, &trade)
    });
}

#[cfg(feature = "postgres")]
mod postgresql {
    use super::*;
    use id::{IdStore as _, PostgresStore, Space, trade::postgres::TABLE};
    use postgres::{Client, NoTls};

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
        let rolled_back: i64 =
            transaction.query_one("SELECT tidewatch_next_id()", &[]).unwrap().get(0);
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
        let error =
            Flake::open(PostgresStore::connect(&server.url).unwrap(), settings).unwrap_err();
        assert!(
            matches!(error, IdError::Store(StoreError::Layout(LayoutError::EpochInFuture { .. }))),
            "{error:?}"
        );
    }
}

#[cfg(feature = "mariadb")]
mod mariadb {
    use super::*;
    use id::{IdStore as _, MariaDbStore, trade::mariadb::TABLE};
    use mysql::{Conn, prelude::Queryable as _};
    use std::{
        io::Write as _,
        process::{Command, Stdio},
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
        let rolled_back: Option<i64> =
            connection.query_first("SELECT tidewatch_next_id()").unwrap();
        connection.query_drop("ROLLBACK").unwrap();
        assert!(by_database(1)[0] > rolled_back.unwrap());
        connection
            .query_drop("UPDATE tidewatch_id_last SET pair = pair + (3600000 << 12)")
            .unwrap();
        let error = connection.query_first::<i64, _>("SELECT tidewatch_next_id()").unwrap_err();
        assert!(error.to_string().contains("ms behind the last id"), "{error}");
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
}
