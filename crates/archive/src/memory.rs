//! An archive in memory, for simulations: the same members, no disk, every future ready.

use crate::{
    gzip,
    index::Index,
    port::{Archive, ArchiveError, ArchiveFuture},
    read::{ArchivedResponse, read_response},
    record::{self, ResponseRecord, warcinfo_member},
    reference::{ArchiveRef, ArchiveRefError},
};
use jiff::civil::Date;
use model::{Digest, SourceId};
use std::{
    collections::BTreeMap,
    fs,
    future::ready,
    io::{BufRead, Cursor},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const BODY_BYTES_MAX: u64 = 256 << 20;
const INDEX_ENTRIES: usize = 100_000;

/// Keeps what is appended for as long as it lives.
#[derive(Debug)]
pub struct MemoryArchive {
    state: Mutex<State>,
    body_bytes_max: u64,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<String, Members>,
    index: Index,
}

#[derive(Debug, Default)]
struct Members {
    length: u64,
    by_offset: BTreeMap<u64, Arc<[u8]>>,
}

impl Members {
    fn push(&mut self, member: Vec<u8>) -> (u64, u64) {
        let (offset, length) = (self.length, member.len() as u64);
        self.by_offset.insert(offset, member.into());
        self.length += length;
        (offset, length)
    }
}

impl Default for MemoryArchive {
    fn default() -> Self {
        Self::with_body_limit(BODY_BYTES_MAX)
    }
}

impl MemoryArchive {
    /// An empty archive that hands out bodies of up to 256 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty archive that hands out bodies of up to `body_bytes_max`.
    pub fn with_body_limit(body_bytes_max: u64) -> Self {
        let index = Index::new(INDEX_ENTRIES);
        Self { state: Mutex::new(State { files: BTreeMap::new(), index }), body_bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, at: &ArchiveRef) -> Result<Box<dyn BufRead>, ArchiveError> {
        let state = self.state();
        let member = state.files.get(&at.file).and_then(|file| file.by_offset.get(&at.offset));
        match member {
            Some(member) => Ok(Box::new(Cursor::new(member.clone()))),
            None => Err(ArchiveRefError { text: at.to_string() }.into()),
        }
    }
}

impl Archive for MemoryArchive {
    fn append(
        &self,
        source: &SourceId,
        day: Date,
        member: Vec<u8>,
    ) -> Result<ArchiveRef, ArchiveError> {
        let mark = gzip::mark(&member);
        let file = format!("{source}/{day}/000001.warc.gz");
        let mut state = self.state();
        let members = state.files.entry(file.clone()).or_default();
        if members.length == 0 {
            members.push(warcinfo_member(&file, source, day));
        }
        let (offset, length) = members.push(member);
        let at = ArchiveRef { file, offset, length };
        if let Some(digest) = mark {
            state.index.insert(source, digest, at.clone());
        }
        Ok(at)
    }

    fn append_file(
        &self,
        record: &ResponseRecord<'_>,
        day: Date,
        body: &Path,
    ) -> ArchiveFuture<'_, ArchiveRef> {
        let append = || {
            let bytes = fs::read(body).map_err(ArchiveError::io("read", body))?;
            if crate::digest(&bytes) != record.digest {
                let (path, reason) = (body.to_owned(), "its digest differs");
                return Err(ArchiveError::SpoolChanged { path, reason });
            }
            self.append(record.source, day, record::member(record, &bytes))
        };
        Box::pin(ready(append()))
    }

    fn flush(&self) -> ArchiveFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn read(&self, at: &ArchiveRef) -> ArchiveFuture<'_, ArchivedResponse> {
        Box::pin(ready(read_response(at, self.body_bytes_max, &|at| self.open(at))))
    }

    fn find(&self, source: &SourceId, digest: &Digest) -> Option<ArchiveRef> {
        self.state().index.find(source, digest)
    }
}
