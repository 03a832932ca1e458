//! One of the processes of `bench/ids/run.py`: takes ids, or records trades, until it has as many as
//! it should, whatever is done to it meanwhile. Arguments are `name=value`.
//!
//! `mint`: writes ids to a file, eight bytes each, a batch at a time. `trade`: records trades in a
//! database and writes a line for each acknowledged one. Both go on where a killed one stopped.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use id::{
    Blocks, Clock as _, Flake, FlakeSettings, IdError, IdStore, MariaDbStore, PostgresStore, Space,
    SqliteStore, SystemClock, Uuids,
    trade::{self, Recorded, Trade, TradeError},
};
use mysql::prelude::Queryable as _;
use postgres::SimpleQueryMessage;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

struct Settings(BTreeMap<String, String>);

impl Settings {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("`{name}` is a number"))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let pairs = arguments.map(|argument| {
        let (name, value) = argument.split_once('=').expect("name=value");
        (name.to_owned(), value.to_owned())
    });
    let settings = Settings(pairs.collect());
    match mode.as_str() {
        "mint" => mint(&settings),
        "trade" => trade(&settings),
        _ => panic!("`mint` or `trade`"),
    }
}

fn store(url: &str) -> Result<Box<dyn IdStore>, id::StoreError> {
    Ok(match url.split_once("://") {
        Some(("postgres", _)) => Box::new(PostgresStore::connect(url)?),
        Some(("mysql", _)) => Box::new(MariaDbStore::connect(url)?),
        _ => Box::new(SqliteStore::open(Path::new(url))?),
    })
}

/// Tries again until it works: servers and leases come back.
fn until_done<T, E: std::fmt::Debug>(mut work: impl FnMut() -> Result<T, E>) -> T {
    for tries in 0.. {
        match work() {
            Ok(done) => return done,
            Err(error) if tries > 3_000 => panic!("gave up: {error:?}"),
            Err(_) => SystemClock.pause(Duration::from_millis(20)),
        }
    }
    unreachable!()
}

enum Generator {
    Int(Flake),
    Block(Blocks),
    Uuid(Uuids),
}

impl Generator {
    fn open(settings: &Settings) -> Self {
        let url = settings.text("store");
        match settings.text("method") {
            "int" => {
                let lease = Duration::from_millis(settings.number("lease_ms"));
                let flake = FlakeSettings {
                    space: Space { name: "ids".to_owned(), layout: id::Layout::default() },
                    holder: format!("worker {}", settings.text("writer")),
                    lease,
                    margin: lease / 10,
                    ..FlakeSettings::default()
                };
                Self::Int(until_done(|| Flake::open(store(url)?, flake.clone())))
            }
            "block" => {
                let size = settings.number("block") as u32;
                let burst = settings.text("burst").parse().unwrap_or(id::block::BURST);
                let store = until_done(|| store(url));
                Self::Block(Blocks::with_burst(store, "ids", size, burst, SystemClock))
            }
            _ => Self::Uuid(Uuids::default()),
        }
    }

    /// Fills what can be filled; starts anew where the clock was set back.
    fn fill(&mut self, settings: &Settings, ids: &mut [i64]) {
        loop {
            let result = match self {
                Self::Int(flake) => flake.fill(ids),
                Self::Block(blocks) => {
                    ids.iter_mut().try_for_each(|id| blocks.next_id().map(|next| *id = next))
                }
                Self::Uuid(_) => panic!("UUIDs are no integers"),
            };
            match result {
                Ok(()) => return,
                Err(IdError::ClockBehind { .. }) => *self = Self::open(settings),
                Err(_) => SystemClock.pause(Duration::from_millis(20)),
            }
        }
    }
}

fn mint(settings: &Settings) {
    let (count, batch) = (settings.number("count"), settings.number("batch"));
    let pause = Duration::from_micros(settings.number("pause_us"));
    let mut out = OpenOptions::new().append(true).create(true).open(settings.text("out")).unwrap();
    // A killed process may have left a part of a number.
    let mut done = out.metadata().unwrap().len() / 8;
    out.set_len(done * 8).unwrap();
    let mut generator = Generator::open(settings);
    let (started_ns, before) = (SystemClock.elapsed_ns(), done);
    let mut bytes = Vec::new();
    while done < count {
        let mut ids = vec![0; batch.min(count - done) as usize];
        generator.fill(settings, &mut ids);
        bytes.clear();
        bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        out.write_all(&bytes).unwrap();
        done += ids.len() as u64;
        if !pause.is_zero() {
            SystemClock.pause(pause);
        }
    }
    let seconds = (SystemClock.elapsed_ns() - started_ns) as f64 / 1e9;
    eprintln!("{:.0} ids/s", (done - before) as f64 / seconds);
}

enum Db {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Client),
    Maria(mysql::Conn),
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing was done.
    Again,
    /// Nobody knows.
    Lost,
    /// A unique column has the value.
    Taken,
}

impl Db {
    fn open(settings: &Settings) -> Self {
        let (url, isolation) = (settings.text("db"), settings.text("isolation"));
        until_done(|| match url.split_once("://") {
            Some(("postgres", _)) => {
                let mut client = postgres::Client::connect(url, postgres::NoTls).map_err(drop)?;
                let set = format!("SET default_transaction_isolation = '{isolation}'");
                client.batch_execute(&set).map_err(drop)?;
                Ok::<_, ()>(Self::Postgres(client))
            }
            Some(("mysql", _)) => {
                let mut connection = mysql::Conn::new(url).map_err(drop)?;
                let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}");
                connection.query_drop(set).map_err(drop)?;
                Ok(Self::Maria(connection))
            }
            _ => {
                let connection = rusqlite::Connection::open(url).map_err(drop)?;
                connection.busy_timeout(Duration::from_secs(20)).map_err(drop)?;
                Ok(Self::Sqlite(connection))
            }
        })
    }

    /// The first column of the first row, if there is one.
    fn run(&mut self, sql: &str) -> Result<Option<String>, Fault> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql).map_err(|e| of_sqlite(&e))?;
                if statement.column_count() == 0 {
                    statement.execute([]).map_err(|cause| of_sqlite(&cause))?;
                    return Ok(None);
                }
                let mut rows = statement.query([]).map_err(|cause| of_sqlite(&cause))?;
                let mut first = None;
                while let Some(row) = rows.next().map_err(|cause| of_sqlite(&cause))? {
                    let value: rusqlite::types::Value = row.get(0).unwrap();
                    first = first.or(match value {
                        rusqlite::types::Value::Integer(number) => Some(number.to_string()),
                        rusqlite::types::Value::Text(text) => Some(text),
                        _ => None,
                    });
                }
                Ok(first)
            }
            Self::Postgres(client) => {
                let messages = client.simple_query(sql).map_err(|cause| match cause.code() {
                    Some(code) if code.code() == "23505" => Fault::Taken,
                    Some(code) if code.code().starts_with("40") => Fault::Again,
                    _ => Fault::Lost,
                })?;
                Ok(messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                }))
            }
            Self::Maria(connection) => {
                let first = connection.query_first::<Option<String>, _>(sql);
                first.map(Option::flatten).map_err(|cause| match cause {
                    mysql::Error::MySqlError(error) => match error.code {
                        1062 => Fault::Taken,
                        1213 | 1205 | 1020 => Fault::Again,
                        _ => Fault::Lost,
                    },
                    _ => Fault::Lost,
                })
            }
        }
    }

    /// The recipe of `id::trade`, for columns that it does not have.
    fn insert(&mut self, table: &str, id: Option<&str>, key: &str) -> Result<String, Fault> {
        let (columns, values) = match id {
            Some(id) => ("order_id, ", format!("{id}, ")),
            None => ("", String::new()),
        };
        let conflict = match self {
            Self::Maria(_) => "",
            _ => "ON CONFLICT (idempotency_key) DO NOTHING",
        };
        let insert = format!(
            "INSERT INTO {table} ({columns}idempotency_key, payload) VALUES ({values}'{key}', 'x') {conflict} RETURNING order_id"
        );
        match self.run(&insert) {
            Ok(Some(id)) => return Ok(id),
            Ok(None) | Err(Fault::Taken) => {}
            Err(fault) => return Err(fault),
        }
        let select = format!("SELECT order_id FROM {table} WHERE idempotency_key = '{key}'");
        self.run(&select)?.ok_or(Fault::Taken)
    }

    /// Do not do this.
    fn greatest_plus_one(&mut self, isolation: &str, key: &str) -> Result<String, Fault> {
        let transaction = isolation != "autocommit";
        if transaction {
            self.run(if isolation == "immediate" { "BEGIN IMMEDIATE" } else { "BEGIN" })?;
        }
        let mut work = || {
            let greatest = self.run("SELECT max(order_id) FROM trade_max")?;
            let id = greatest.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0) + 1;
            self.run(&format!("INSERT INTO trade_max VALUES ({id}, '{key}', 'x')"))?;
            if transaction {
                self.run("COMMIT")?;
            }
            Ok(id.to_string())
        };
        let result = work();
        if result.is_err() && transaction {
            let _ = self.run("ROLLBACK");
        }
        result
    }

    fn record(&mut self, trade: Trade<'_>) -> Result<String, Fault> {
        let recorded = match self {
            Self::Sqlite(connection) => trade::sqlite::record(connection, &trade),
            Self::Postgres(client) => trade::postgres::record(client, &trade),
            Self::Maria(connection) => trade::mariadb::record(connection, &trade),
        };
        match recorded {
            Ok(Recorded::New { order_id } | Recorded::Before { order_id }) => {
                Ok(order_id.to_string())
            }
            Err(TradeError::TryAgain(_)) => Err(Fault::Again),
            Err(TradeError::Unknown(_)) => Err(Fault::Lost),
            Err(_) => Err(Fault::Taken),
        }
    }
}

fn of_sqlite(cause: &rusqlite::Error) -> Fault {
    match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            Fault::Again
        }
        Some(rusqlite::ErrorCode::ConstraintViolation) => Fault::Taken,
        _ => Fault::Lost,
    }
}

/// Lines of key, id, begun and ended in microseconds, tries, collisions: one for each acknowledged trade.
fn trade(settings: &Settings) {
    let (writer, count, method) =
        (settings.text("writer"), settings.number("count"), settings.text("method"));
    let lost_per_thousand = settings.number("lost_per_thousand");
    let out = settings.text("out");
    let mut before = String::new();
    if let Ok(mut file) = File::open(out) {
        file.read_to_string(&mut before).unwrap();
    }
    let done = before.matches('\n').count() as u64;
    let mut journal = OpenOptions::new().append(true).create(true).open(out).unwrap();
    if !before.is_empty() && !before.ends_with('\n') {
        journal.set_len(before.rfind('\n').map_or(0, |at| at as u64 + 1)).unwrap();
    }
    let mut dice = SystemClock.elapsed_ns() | 1;
    let mut chance = move || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 20) % 1000
    };
    let mut generator = Generator::open(settings);
    let mut db = Db::open(settings);
    let pause = Duration::from_micros(settings.number("pause_us"));
    for number in done..count {
        if !pause.is_zero() {
            SystemClock.pause(pause);
        }
        let key = format!("{writer}-{number}");
        let begun_us = SystemClock.elapsed_ns() / 1000;
        let (mut tries, mut collisions) = (0, 0);
        let id = loop {
            tries += 1;
            assert!(tries < 10_000, "no end of tries");
            let result = match method {
                "int" | "block" => {
                    let mut id = [0];
                    generator.fill(settings, &mut id);
                    db.record(Trade { order_id: id[0], key: &key, payload: "x" })
                }
                "uuid" => {
                    let Generator::Uuid(uuids) = &generator else { unreachable!() };
                    let id = format!("'{}'", uuids.next_id().unwrap());
                    db.insert("trade_uuid", Some(&id), &key)
                }
                "function" => db.insert("trade", Some("tidewatch_next_id()"), &key),
                "sequence" => db.insert("trade_sequence", None, &key),
                "naive" => {
                    let insert = format!(
                        "INSERT INTO trade_naive (idempotency_key, payload) VALUES ('{key}', 'x') RETURNING order_id"
                    );
                    db.run(&insert).map(Option::unwrap_or_default)
                }
                "max" => db.greatest_plus_one(settings.text("isolation"), &key),
                other => panic!("no method `{other}`"),
            };
            match result {
                // The answer is lost on the way: the trade is recorded, and we do not know it.
                Ok(_) if chance() < lost_per_thousand => db = Db::open(settings),
                Ok(id) => break id,
                Err(Fault::Again) => SystemClock.pause(Duration::from_micros(200 + chance())),
                Err(Fault::Lost) => db = Db::open(settings),
                Err(Fault::Taken) => collisions += 1,
            }
        };
        let ended_us = SystemClock.elapsed_ns() / 1000;
        let line = format!("{key} {id} {begun_us} {ended_us} {tries} {collisions}\n");
        journal.write_all(line.as_bytes()).unwrap();
    }
}
