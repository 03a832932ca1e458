//! Bodies that do not fit in memory: files that live as long as somebody holds them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const PREFIX: &str = "fetch-";
const SUFFIX: &str = ".spool";

/// A finished file, shared by its clones and deleted with the last of them.
#[derive(Debug, Clone)]
pub struct SpoolFile {
    owned: Arc<OwnedPath>,
    bytes: u64,
}

impl SpoolFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.owned.0
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Opens it from its start.
    pub fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }
}

#[derive(Debug)]
struct OwnedPath(PathBuf);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // Nobody is left to tell; `clear_spool` takes what remains.
        drop(fs::remove_file(&self.0));
    }
}

/// A file being written. Blocking.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    owned: OwnedPath,
    bytes: u64,
}

impl Spool {
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(dir)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()));
            match options.open(&path) {
                Ok(file) => return Ok(Self { file, owned: OwnedPath(path), bytes: 0 }),
                // Left by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn finish(self) -> SpoolFile {
        SpoolFile { owned: Arc::new(self.owned), bytes: self.bytes }
    }
}

impl Write for Spool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Deletes what a killed process left in its spool, and says how many files. Blocking.
///
/// Only for a start, while nobody else uses the folder. A folder that does not exist is empty.
pub fn clear_spool(dir: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut deleted = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lives_as_long_as_its_last_holder() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&dir.path().join("new")).unwrap();
        spool.write_all(b"some bytes").unwrap();
        let file = spool.finish();
        let other = file.clone();
        drop(file);
        assert_eq!(fs::read(other.path()).unwrap(), b"some bytes");
        let path = other.path().to_owned();
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn clearing_takes_only_what_is_a_spool_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fetch-1-2.spool"), "left behind").unwrap();
        fs::write(dir.path().join("notes.txt"), "of a person").unwrap();
        assert_eq!(clear_spool(dir.path()).unwrap(), 1);
        assert!(dir.path().join("notes.txt").exists());
        assert_eq!(clear_spool(&dir.path().join("nowhere")).unwrap(), 0);
    }
}
