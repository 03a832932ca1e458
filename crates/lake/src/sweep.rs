//! Deleting what no reader needs: replaced files, superfluous log entries, orphans. Blocking.

use crate::{
    entries::{self, Listing},
    error::LakeError,
    parquet_file::modified_ms,
    table::TableRef,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Deletes replaced files; returns those that are gone now and how many of them were there.
pub(crate) fn delete_removed(
    table: &TableRef,
    folder: &Path,
    paths: Vec<String>,
) -> Result<(Vec<String>, usize), LakeError> {
    let mut deleted = 0;
    for path in &paths {
        deleted += usize::from(delete(table, &folder.join(path))?);
    }
    Ok((paths, deleted))
}

/// Deletes log entries and checkpoints that the newest two checkpoints make superfluous and that
/// were written before `older_than_ms`; returns how many.
///
/// Two, because another program may be reading by the second newest.
pub(crate) fn delete_log_entries(
    table: &TableRef,
    folder: &Path,
    older_than_ms: i64,
) -> Result<usize, LakeError> {
    let failed = |error| LakeError::io(table, folder, "read", error);
    let Listing { checkpoints, .. } = entries::list(folder).map_err(failed)?;
    let Some(&keep_from) = checkpoints.len().checked_sub(2).and_then(|at| checkpoints.get(at))
    else {
        return Ok(0);
    };
    let mut superfluous: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder.join("_delta_log")).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some((version, _)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(version) = version.parse::<u64>() else { continue };
        let stored = entry.metadata().map_err(failed)?;
        if version < keep_from && stored.is_file() && modified_ms(&stored) < older_than_ms {
            superfluous.push((version, entry.path()));
        }
    }
    // Oldest first: after a kill the rest is still without a gap.
    superfluous.sort();
    let mut deleted = 0;
    for (_, path) in superfluous {
        deleted += usize::from(delete(table, &path)?);
    }
    Ok(deleted)
}

/// Files in a table's folder that are no part of its log and were last changed before
/// `older_than_ms`, as names below the folder. Leftovers of writers killed half-way are among them.
pub(crate) fn strays(
    table: &TableRef,
    folder: &Path,
    older_than_ms: i64,
) -> Result<Vec<String>, LakeError> {
    let mut strays = Vec::new();
    for (below, only_leftovers) in [("", false), ("_delta_log/", true)] {
        let folder = folder.join(below);
        let failed = |error| LakeError::io(table, &folder, "read", error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let leftover = name.rsplit_once('#').is_some_and(|(_, digits)| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            });
            let is_parquet = Path::new(name).extension().is_some_and(|ext| ext == "parquet");
            if !leftover && (only_leftovers || !is_parquet) {
                continue;
            }
            let stored = match entry.metadata() {
                Ok(stored) => stored,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if stored.is_file() && modified_ms(&stored) < older_than_ms {
                strays.push(format!("{below}{name}"));
            }
        }
    }
    strays.sort();
    Ok(strays)
}

/// Deletes a file; false if it was not there.
pub(crate) fn delete(table: &TableRef, path: &Path) -> Result<bool, LakeError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LakeError::io(table, path, "delete", error)),
    }
}
