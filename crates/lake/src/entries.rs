//! The files of a log: their names, which are there, what they hold. Blocking.

use crate::{error::LakeError, table::TableRef};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What the folder of a log has.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Versions with an entry, ascending.
    pub(crate) entries: Vec<u64>,
    /// Versions with a checkpoint, ascending.
    pub(crate) checkpoints: Vec<u64>,
}

/// The folder of a table's log.
pub(crate) fn log_folder(folder: &Path) -> PathBuf {
    folder.join("_delta_log")
}

/// The path of an entry.
pub(crate) fn entry_path(folder: &Path, version: u64) -> PathBuf {
    log_folder(folder).join(format!("{version:020}.json"))
}

/// Lists a log; empty if there is none.
pub(crate) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let names = match fs::read_dir(log_folder(folder)) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(error),
    };
    for name in names {
        let name = name?.file_name();
        let Some((version, rest)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        if version.len() != 20 || name.as_encoded_bytes().contains(&b'#') {
            continue;
        }
        let Ok(version) = version.parse() else { continue };
        match rest {
            "json" => listing.entries.push(version),
            _ if rest.starts_with("checkpoint") => listing.checkpoints.push(version),
            _ => {}
        }
    }
    listing.entries.sort_unstable();
    listing.checkpoints.sort_unstable();
    listing.checkpoints.dedup();
    Ok(listing)
}

/// What other programs have committed.
pub(crate) enum Newer {
    Entries(Entries),
    /// A checkpoint is newer and entries before it may be gone.
    Behind,
}

/// The entries after a version.
pub(crate) fn newer(folder: &Path, version: u64) -> Result<Newer, (PathBuf, io::Error)> {
    let mut entries = Vec::new();
    let mut next = version + 1;
    loop {
        let path = entry_path(folder, next);
        match fs::read(&path) {
            Ok(bytes) => entries.push((next, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err((path, error)),
        }
        next += 1;
    }
    let hint = fs::read(log_folder(folder).join("_last_checkpoint")).ok();
    let checkpoint = hint
        .and_then(|hint| serde_json::from_slice::<serde_json::Value>(&hint).ok())
        .and_then(|hint| hint.get("version")?.as_u64());
    if checkpoint.is_some_and(|checkpoint| checkpoint >= next) {
        return Ok(Newer::Behind);
    }
    Ok(Newer::Entries(entries))
}

/// Entries by version.
pub(crate) type Entries = Vec<(u64, Vec<u8>)>;

/// What is needed to know a table: its newest checkpoint and every entry after it.
pub(crate) fn read_log(table: &TableRef, folder: &Path) -> Result<(Listing, Entries), LakeError> {
    let listing =
        list(folder).map_err(|error| LakeError::io(table, &log_folder(folder), "read", error))?;
    let first = listing.checkpoints.last().map_or(0, |checkpoint| checkpoint + 1);
    let mut entries = Vec::new();
    for &version in listing.entries.iter().filter(|&&version| version >= first) {
        let expected = first + entries.len() as u64;
        if version != expected {
            return Err(LakeError::Damaged {
                table: table.clone(),
                path: entry_path(folder, expected),
                reason: format!("it is missing, and entry {version} is there"),
                source: None,
            });
        }
        let path = entry_path(folder, version);
        let bytes = fs::read(&path).map_err(|error| LakeError::io(table, &path, "read", error))?;
        entries.push((version, bytes));
    }
    Ok((listing, entries))
}
