//! One file in the making: what is on the disk, what is in the page cache, what is still with us.

use crate::{ArchiveError, record::warcinfo_member};
use jiff::civil::Date;
use model::SourceId;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file that this process created and nobody else writes to.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Relative to the archive.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) handle: Option<Arc<File>>,
    /// When it was last written to, in appends of the archive.
    pub(super) used: u64,
    // What follows `written` in the file. Kept until all of it is written, so that a write which
    // failed half-way is repeated at the same place.
    buffer: Vec<u8>,
    written: u64,
    // Invariant: at most `written`.
    synced: u64,
}

impl Shelf {
    /// Creates the next file of a source and a day, with its first record in the buffer.
    pub(super) fn create(dir: &Path, source: &SourceId, day: Date) -> Result<Self, ArchiveError> {
        let folder_name = format!("{source}/{day}");
        let folder = dir.join(&folder_name);
        fs::create_dir_all(&folder).map_err(ArchiveError::io("create", &folder))?;
        let mut number = last_number(&folder).map_err(ArchiveError::io("list", &folder))?;
        loop {
            number += 1;
            let name = format!("{folder_name}/{number:06}.warc.gz");
            let path = dir.join(&name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let handle = Some(Arc::new(file));
                    let buffer = warcinfo_member(&name, source, day);
                    return Ok(Self { name, path, handle, used: 0, buffer, written: 0, synced: 0 });
                }
                // Another process was faster: this number is its, the next may be ours.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ArchiveError::io("create", &path)(error)),
            }
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn is_durable(&self) -> bool {
        self.synced == self.length()
    }

    /// Whether the file's first `bytes` are with the system.
    pub(super) fn has_written(&self, bytes: u64) -> bool {
        bytes <= self.written
    }

    /// Appends; if the buffer is full, writes. If that fails nothing has been appended.
    pub(super) fn push(&mut self, member: &[u8], buffer_bytes: usize) -> Result<u64, ArchiveError> {
        let offset = self.length();
        let before = self.buffer.len();
        self.buffer.extend_from_slice(member);
        if self.buffer.len() >= buffer_bytes
            && let Err(error) = self.write_out()
        {
            self.buffer.truncate(before);
            return Err(error);
        }
        Ok(offset)
    }

    /// Hands the buffer to the system. After an error it can be tried again.
    pub(super) fn write_out(&mut self) -> Result<(), ArchiveError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = self.open()?;
        file.write_all_at(&self.buffer, self.written)
            .map_err(ArchiveError::io("write to", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Notes that the system wrote bytes into the file by another way.
    pub(super) fn note_written(&mut self, length: u64) {
        self.written = length;
        self.buffer.clear();
    }

    pub(super) fn note_synced(&mut self, length: u64) {
        self.synced = self.synced.max(length);
    }

    fn open(&mut self) -> Result<Arc<File>, ArchiveError> {
        if let Some(file) = &self.handle {
            return Ok(file.clone());
        }
        let file = OpenOptions::new().write(true).open(&self.path);
        let file = Arc::new(file.map_err(ArchiveError::io("open", &self.path))?);
        self.handle = Some(file.clone());
        Ok(file)
    }
}

fn last_number(folder: &Path) -> io::Result<u64> {
    let mut last = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".warc.gz")?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 19);

    /// `/dev/full` takes no byte, like a disk without room.
    #[test]
    fn a_full_disk_refuses_the_member_and_loses_none_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let source = SourceId::parse("prices").unwrap();
        let mut shelf = Shelf::create(dir.path(), &source, DAY).unwrap();
        let first = shelf.push(b"first", 1 << 20).unwrap();
        let good = shelf.handle.take();
        shelf.handle = Some(Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap()));

        let error = shelf.push(b"second", 8).unwrap_err();
        assert!(matches!(error, ArchiveError::Io { action: "write to", .. }), "{error}");
        assert_eq!(shelf.length(), first + 5, "the refused member left nothing");
        assert!(shelf.write_out().is_err());

        shelf.handle = good;
        assert_eq!(shelf.push(b"third", 8).unwrap(), first + 5);
        let bytes = fs::read(&shelf.path).unwrap();
        assert_eq!(&bytes[first as usize..], b"firstthird");
    }

    #[test]
    fn a_number_in_use_is_never_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let source = SourceId::parse("prices").unwrap();
        let names: Vec<_> =
            (0..3).map(|_| Shelf::create(dir.path(), &source, DAY).unwrap().name).collect();
        assert_eq!(names[2], "prices/2026-11-19/000003.warc.gz");
        fs::remove_file(dir.path().join(&names[0])).unwrap();
        assert!(Shelf::create(dir.path(), &source, DAY).unwrap().name.ends_with("000004.warc.gz"));
    }
}
