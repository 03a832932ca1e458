//! Reads a whole archive and says what is wrong with it.

use crate::{port::ArchiveError, read::records, reference::relative_name};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The most damages that are told one by one.
const DAMAGES_MAX: usize = 1000;

/// What a check found.
#[derive(Debug, Default)]
pub struct Check {
    /// Files read.
    pub files: u64,
    /// Records that are as they should be.
    pub records: u64,
    /// Bytes of those records, compressed.
    pub bytes: u64,
    /// What is wrong, file by file; the first thousand.
    pub damages: Vec<Damage>,
    /// How much is wrong in all.
    pub damages_count: u64,
}

/// One record that is not as it should be, or a file from which nothing more can be read.
#[derive(Debug)]
pub struct Damage {
    /// The file, relative to the archive.
    pub file: String,
    /// What is wrong.
    pub error: ArchiveError,
    /// Whether this is what a crash leaves: a member without its end, at the end of a file. It was
    /// never flushed, so nothing can refer to it.
    pub is_torn_end: bool,
}

/// Reads every record of the archive in `dir` and checks every body against its digest. Blocks.
///
/// Fails only if the folders cannot be listed.
pub fn check(dir: impl AsRef<Path>) -> Result<Check, ArchiveError> {
    let dir = dir.as_ref();
    let mut found = Check::default();
    for path in files(dir)? {
        found.files += 1;
        let name = relative_name(&path);
        let opened = records(&path).map(|records| records.with_body_limit(0));
        let each = match opened {
            Ok(records) => records,
            Err(error) => {
                found.add(name, error);
                continue;
            }
        };
        for record in each {
            match record {
                Ok(record) => {
                    found.records += 1;
                    found.bytes += record.at.length;
                }
                Err(error) => found.add(name.clone(), error),
            }
        }
    }
    Ok(found)
}

impl Check {
    fn add(&mut self, file: String, error: ArchiveError) {
        self.damages_count += 1;
        if self.damages.len() < DAMAGES_MAX {
            let is_torn_end = matches!(error, ArchiveError::Torn { .. });
            self.damages.push(Damage { file, error, is_torn_end });
        }
    }
}

/// The files of the archive in `dir`, by source, day and number. Blocks.
pub fn files(dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut level = vec![dir.as_ref().to_owned()];
    for _ in 0..3 {
        let mut below = Vec::new();
        for folder in level {
            below.extend(entries(&folder).map_err(ArchiveError::io("list", &folder))?);
        }
        below.sort();
        level = below;
    }
    level.retain(|path| path.as_os_str().as_encoded_bytes().ends_with(b".warc.gz"));
    Ok(level)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        // A stray file among the folders is not ours and not our concern.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
