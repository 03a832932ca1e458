//! How a state file comes to be, and what is checked before one is trusted.

use super::fault::{Fault, of_io};
use crate::{error::StateError, rows::NewProject, wire};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What makes each format from the one before, the first from nothing. A step that was released
/// is never edited.
const STEPS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];
/// The first format with [`counts`](super::counts) of lateness. Who only looks at a file of a former
/// one sees its cells through this.
const FORMAT_OF_LATENESS: i64 = 4;
const WITHOUT_LATENESS: &str = "CREATE TEMP VIEW cells AS
    SELECT *, NULL AS late_watch_at, NULL AS overdue_at FROM main.cells";
/// `TWst`, at a fixed place in the file's header.
const APPLICATION_ID: i64 = 0x5457_7374;
/// The format that this program writes.
const FORMAT: i64 = STEPS.len() as i64;
/// How long another process may hold the file before we give up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite's smallest page: no database is smaller.
const SMALLEST_FILE_BYTES: u64 = 512;
const STATEMENTS_KEPT: usize = 64;

/// The state file and what SQLite keeps beside it, in the order in which to move them away.
pub(super) fn files(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")]
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the file unless it is there.
///
/// It is made whole under another name and then linked into place: a file of that name is never
/// half made, so an empty one is a damaged one, and of two processes that make it at once one
/// wins and both go on.
pub(super) fn create_if_missing(path: &Path, new: &NewProject) -> Result<(), StateError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let log = beside(path, "-wal");
    // In this order: a process that makes the file meanwhile makes the log after it.
    let log_was_there = log.exists();
    if path.exists() {
        return Ok(());
    }
    if log_was_there {
        let what = format!("the file is gone and its log `{}` is still there", log.display());
        return Err(Fault::damaged(what).at(path));
    }
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(|cause| of_io(cause, path))?;
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let fresh = beside(path, &format!(".new-{}-{made}", std::process::id()));
    let result = write_empty(&fresh, new)
        .map_err(|fault| fault.at(path))
        .and_then(|()| put_in_place(&fresh, path, folder).map_err(|cause| of_io(cause, path)));
    // After a link the fresh name is superfluous, after a failure it is rubbish.
    for file in files(&fresh) {
        let _ = fs::remove_file(file);
    }
    result
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn write_empty(fresh: &Path, new: &NewProject) -> Result<(), Fault> {
    let mut connection = Connection::open_with_flags(
        fresh,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    take_steps(&transaction, 0)?;
    transaction.execute(
        "INSERT INTO project VALUES (1, ?1, ?2, NULL, 1, 1, 0)",
        params![new.project_id, wire::nanoseconds(new.created_at)],
    )?;
    transaction.commit()?;
    // The last connection moves the log into the file.
    connection.close().map_err(|(_, cause)| cause)?;
    Ok(())
}

/// Takes the steps from a format to ours.
fn take_steps(transaction: &Transaction<'_>, from: usize) -> Result<(), Fault> {
    for step in &STEPS[from..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// Brings a file of a former format to ours, whole or not at all.
fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again, now that nobody else can write: another process may have been faster.
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    if let Some(from) = usize::try_from(found).ok().filter(|from| *from < STEPS.len()) {
        take_steps(&transaction, from)?;
    }
    transaction.commit()?;
    Ok(())
}

fn put_in_place(fresh: &Path, path: &Path, folder: &Path) -> io::Result<()> {
    match fs::hard_link(fresh, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // Some file systems know no links. There, two first starts at once are a risk.
        Err(_) if !path.exists() => fs::rename(fresh, path)?,
        Err(error) => return Err(error),
    }
    File::open(folder)?.sync_all()
}

/// Opens an existing file for writing.
pub(super) fn writer(path: &Path) -> Result<Connection, StateError> {
    check_whole(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepared(path, path, flags).map_err(|fault| fault.at(path))
}

/// Opens an existing file for reading.
///
/// A file on a disk that cannot be written is read as it stands: SQLite then cannot make its
/// shared index, and nobody can be writing.
pub(super) fn reader(path: &Path) -> Result<Connection, StateError> {
    check_whole(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let error = match prepared(path, path, flags) {
        Ok(connection) => return Ok(connection),
        Err(fault) => fault.at(path),
    };
    match error {
        StateError::NotWritable { .. } if log_is_empty(path) => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            prepared(path, &immutable_uri(path), flags).map_err(|fault| fault.at(path))
        }
        error => Err(error),
    }
}

fn immutable_uri(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.extend(['%', hexadecimal(other >> 4), hexadecimal(other & 15)]),
        }
    }
    uri.push_str("?immutable=1");
    PathBuf::from(uri)
}

fn hexadecimal(digit: u8) -> char {
    char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 })
}

/// Finds what SQLite does not notice before it stumbles over it: a file that is empty or lacks a
/// part of its end.
fn check_whole(path: &Path) -> Result<(), StateError> {
    let found = match missing_bytes(path) {
        Ok(found) => found,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::Missing { path: path.to_owned() });
        }
        // SQLite will say what is wrong.
        Err(_) => return Ok(()),
    };
    match found {
        // A file whose log is not moved into it yet may well be shorter than it says. The log is
        // looked for last: a process that writes just now makes it first.
        Some(missing) if log_is_empty(path) => {
            Err(Fault::damaged(format!("{missing} bytes are missing at its end")).at(path))
        }
        Some(_) | None => Ok(()),
    }
}

/// How many bytes a file is shorter than its header says (sqlite.org/fileformat2.html, 1.3).
fn missing_bytes(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut header = [0; 32];
    if metadata.len() < SMALLEST_FILE_BYTES {
        return Ok(Some(SMALLEST_FILE_BYTES - metadata.len()));
    }
    file.read_exact(&mut header)?;
    if !header.starts_with(b"SQLite format 3\0") {
        return Ok(None);
    }
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let expected = page_bytes * u64::from(pages);
    Ok(expected.checked_sub(file.metadata()?.len()).filter(|missing| *missing > 0))
}

fn log_is_empty(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).map_or(true, |log| log.len() == 0)
}

fn prepared(path: &Path, name: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let mut connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    // The first look into the file: here SQLite says whether it is a database at all.
    let application_id = number("application_id")?;
    if application_id != APPLICATION_ID {
        let cause = format!("its application id is `{application_id:#x}`").into();
        let path = path.to_owned();
        return Err(Fault::Refused(StateError::NotAStateFile { path, cause }));
    }
    let found = number("user_version")?;
    if found > FORMAT {
        let path = path.to_owned();
        return Err(Fault::Refused(StateError::NewerVersion { found, supported: FORMAT, path }));
    }
    if found < 1 {
        return Err(Fault::damaged(format!("its format is `{found}`, which never was")));
    }
    // SQLite opens what it may not write for reading, and would say so at the first write only.
    let writes = flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE);
    if writes && connection.is_readonly("main")? {
        let cause = "the file is write-protected".into();
        let path = path.to_owned();
        return Err(Fault::Refused(StateError::NotWritable { path, cause }));
    }
    // An announcement's pages are free again a moment later: with the usual 1,000 pages of journal they
    // were brought into the file first.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF; PRAGMA journal_size_limit = 67108864;
         PRAGMA wal_autocheckpoint = 4000;",
    )?;
    // Who only looks reads a former format as it stands.
    if writes && found < FORMAT {
        migrate(&mut connection)?;
    } else if found < FORMAT_OF_LATENESS {
        connection.execute_batch(WITHOUT_LATENESS)?;
    }
    let projects: i64 =
        connection.query_row("SELECT count(*) FROM project", [], |row| row.get(0))?;
    if projects != 1 {
        return Err(Fault::damaged(format!("it has {projects} projects instead of one")));
    }
    Ok(connection)
}
