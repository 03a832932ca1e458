//! An archive in a folder: `<source>/<day>/<number>.warc.gz`.
//!
//! Every file belongs to the process that created it and is never written to by another, so no two
//! writers need to agree on anything. Appends go through a buffer per file; `flush` writes the
//! buffers and asks the system to keep files and folders, outside the lock.

mod shelf;

use crate::{
    gzip,
    index::Index,
    port::{Archive, ArchiveError, ArchiveFuture},
    read::{ArchivedResponse, read_response},
    record::{self, RECORD_END, ResponseRecord},
    reference::ArchiveRef,
};
use jiff::civil::Date;
use model::{Digest, SourceId};
use shelf::Shelf;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::{self, File},
    future::ready,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Files remembered as ours to append to, open or not. Beyond it a new file is begun.
const SHELVES_MAX: usize = 4096;

/// The action that must not be tried twice: after a failed fsync the system may have dropped the very
/// bytes it failed to write, and the next fsync would succeed without them.
const MAKE_DURABLE: &str = "make durable";

/// What a [`FileArchive`] keeps within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A file of this size is full; a single larger record still gets into one.
    pub file_bytes: u64,
    /// The most files held open at a time.
    pub open_files: usize,
    /// What is buffered of a file before it is written.
    pub buffer_bytes: usize,
    /// The largest body that [`Archive::read`] hands out.
    pub body_bytes: u64,
    /// The most bodies that [`Archive::find`] remembers.
    pub index_entries: usize,
}

impl Default for Limits {
    /// 1 GiB, 64 files, 128 KiB, 256 MiB, 100,000.
    fn default() -> Self {
        Self {
            file_bytes: 1 << 30,
            open_files: 64,
            buffer_bytes: 128 << 10,
            body_bytes: 256 << 20,
            index_entries: 100_000,
        }
    }
}

/// An archive in a folder. Clones share it. Its futures need a tokio runtime.
#[derive(Debug, Clone)]
pub struct FileArchive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file that is appended to, by source and day.
    shelves: BTreeMap<(SourceId, Date), Shelf>,
    /// Files that are full, written and not yet durable.
    retired: Vec<Shelf>,
    /// Folders with entries that are not yet durable.
    folders: BTreeSet<PathBuf>,
    index: Index,
    appends: u64,
    /// The file of which nobody knows whether it is on the disk.
    doubtful: Option<PathBuf>,
}

impl FileArchive {
    /// Opens the archive in `dir`, which is created if it is not there. What other processes wrote
    /// is readable and stays as it is. Blocks for a moment.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ArchiveError> {
        Self::open_with(dir, Limits::default())
    }

    /// Opens the archive in `dir` with limits other than the usual.
    pub fn open_with(dir: impl AsRef<Path>, limits: Limits) -> Result<Self, ArchiveError> {
        let dir = dir.as_ref().to_owned();
        fs::create_dir_all(&dir).map_err(ArchiveError::io("create", &dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        let state = Mutex::new(State {
            shelves: BTreeMap::new(),
            retired: Vec::new(),
            folders: BTreeSet::new(),
            index: Index::new(limits.index_entries),
            appends: 0,
            doubtful: None,
        });
        Ok(Self { inner: Arc::new(Inner { dir, limits, state }) })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }
}

impl Archive for FileArchive {
    fn append(
        &self,
        source: &SourceId,
        day: Date,
        member: Vec<u8>,
    ) -> Result<ArchiveRef, ArchiveError> {
        let Inner { dir, limits, .. } = &*self.inner;
        let mut state = self.inner.state();
        state.refuse_if_doubtful()?;
        let shelf = state.shelf(dir, limits, source, day, member.len() as u64)?;
        let offset = shelf.push(&member, limits.buffer_bytes)?;
        let at = ArchiveRef { file: shelf.name.clone(), offset, length: member.len() as u64 };
        if let Some(digest) = gzip::mark(&member) {
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
        let body_bytes = match fs::metadata(body) {
            Ok(metadata) => metadata.len(),
            Err(cause) => return Box::pin(ready(Err(ArchiveError::io("read", body)(cause)))),
        };
        let mut head = Vec::new();
        record::response_head(&mut head, record, body_bytes);
        let spooled = Spooled {
            source: record.source.clone(),
            day,
            head,
            digest: record.digest,
            mark: record::mark(record),
            body: body.to_owned(),
            body_bytes,
        };
        let inner = self.inner.clone();
        Box::pin(blocking(self.dir(), move || inner.append_spooled(&spooled)))
    }

    fn flush(&self) -> ArchiveFuture<'_, ()> {
        {
            let state = self.inner.state();
            if let Err(error) = state.refuse_if_doubtful() {
                return Box::pin(ready(Err(error)));
            }
            if state.is_durable() {
                return Box::pin(ready(Ok(())));
            }
        }
        let inner = self.inner.clone();
        Box::pin(blocking(self.dir(), move || inner.flush()))
    }

    fn read(&self, at: &ArchiveRef) -> ArchiveFuture<'_, ArchivedResponse> {
        let (inner, at) = (self.inner.clone(), at.clone());
        Box::pin(blocking(self.dir(), move || {
            read_response(&at, inner.limits.body_bytes, &|at| inner.open(at))
        }))
    }

    fn find(&self, source: &SourceId, digest: &Digest) -> Option<ArchiveRef> {
        self.inner.state().index.find(source, digest)
    }
}

/// Runs work that waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ArchiveError::io("work on", dir)(io::Error::other(error))),
    }
}

/// A response whose body lies in a file.
struct Spooled {
    source: SourceId,
    day: Date,
    head: Vec<u8>,
    digest: Digest,
    mark: Option<Digest>,
    body: PathBuf,
    body_bytes: u64,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Large bodies get a file of their own: nobody waits while they are compressed, and if that
    /// fails the file goes again.
    fn append_spooled(&self, spooled: &Spooled) -> Result<ArchiveRef, ArchiveError> {
        self.state().refuse_if_doubtful()?;
        let mut shelf = Shelf::create(&self.dir, &spooled.source, spooled.day)?;
        let written = shelf.write_out().and_then(|()| write_spooled(&shelf, spooled));
        let end = match written {
            Ok(end) => end,
            Err(error) => {
                // Best effort: without it an unreferenced, torn file stays, which readers bear.
                let _ = fs::remove_file(&shelf.path);
                return Err(error);
            }
        };
        let offset = shelf.length();
        shelf.note_written(end);
        shelf.handle = None;
        let at = ArchiveRef { file: shelf.name.clone(), offset, length: end - offset };
        let mut state = self.state();
        note_folders(&mut state.folders, &self.dir, &shelf);
        state.retired.push(shelf);
        if let Some(digest) = spooled.mark {
            state.index.insert(&spooled.source, digest, at.clone());
        }
        Ok(at)
    }

    fn flush(&self) -> Result<(), ArchiveError> {
        let mut state = self.state();
        state.refuse_if_doubtful()?;
        let mut pending = Vec::new();
        let State { shelves, retired, folders, .. } = &mut *state;
        for shelf in shelves.values_mut().chain(retired).filter(|shelf| !shelf.is_durable()) {
            shelf.write_out()?;
            pending.push((shelf.path.clone(), shelf.handle.clone(), shelf.length()));
        }
        close_idle(shelves, self.limits.open_files);
        let folders: Vec<PathBuf> = folders.iter().cloned().collect();
        drop(state);

        let synced = sync(&pending, &folders);

        let mut state = self.state();
        if let Err(error) = synced {
            if let ArchiveError::Io { action: MAKE_DURABLE, path, .. } = &error {
                state.doubtful = Some(path.clone());
            }
            return Err(error);
        }
        let State { shelves, retired, folders: unsynced, .. } = &mut *state;
        let lengths: BTreeMap<_, _> =
            pending.into_iter().map(|(path, _, length)| (path, length)).collect();
        for shelf in shelves.values_mut().chain(retired.iter_mut()) {
            if let Some(length) = lengths.get(&shelf.path) {
                shelf.note_synced(*length);
            }
        }
        retired.retain(|shelf| !shelf.is_durable());
        unsynced.retain(|folder| !folders.contains(folder));
        Ok(())
    }

    fn open(&self, at: &ArchiveRef) -> Result<Box<dyn BufRead>, ArchiveError> {
        self.state().write_out(at)?;
        let path = self.dir.join(&at.file);
        let mut file = File::open(&path).map_err(ArchiveError::io("open", &path))?;
        file.seek(SeekFrom::Start(at.offset)).map_err(ArchiveError::io("read", &path))?;
        let capacity = usize::try_from(at.length).unwrap_or(usize::MAX).clamp(8 << 10, 256 << 10);
        Ok(Box::new(BufReader::with_capacity(capacity, file)))
    }
}

impl State {
    fn refuse_if_doubtful(&self) -> Result<(), ArchiveError> {
        match &self.doubtful {
            Some(path) => Err(ArchiveError::Doubtful { path: path.clone() }),
            None => Ok(()),
        }
    }

    fn is_durable(&self) -> bool {
        self.folders.is_empty()
            && self.retired.is_empty()
            && self.shelves.values().all(Shelf::is_durable)
    }

    /// The file to append `bytes` of this source and day to.
    fn shelf(
        &mut self,
        dir: &Path,
        limits: &Limits,
        source: &SourceId,
        day: Date,
        bytes: u64,
    ) -> Result<&mut Shelf, ArchiveError> {
        self.appends += 1;
        let key = (source.clone(), day);
        if self.shelves.get(&key).is_none_or(|shelf| shelf.handle.is_none()) {
            close_idle(&mut self.shelves, limits.open_files.saturating_sub(1));
            self.forget_idle();
        }
        let Self { shelves, retired, folders, appends, .. } = self;
        let mut begin = || {
            let shelf = Shelf::create(dir, source, day)?;
            note_folders(folders, dir, &shelf);
            Ok::<_, ArchiveError>(shelf)
        };
        let shelf = match shelves.entry(key) {
            Entry::Vacant(place) => place.insert(begin()?),
            Entry::Occupied(place) => {
                let shelf = place.into_mut();
                if shelf.length() + bytes > limits.file_bytes {
                    shelf.write_out()?;
                    let mut full = mem::replace(shelf, begin()?);
                    full.handle = None;
                    retired.push(full);
                }
                shelf
            }
        };
        shelf.used = *appends;
        Ok(shelf)
    }

    fn forget_idle(&mut self) {
        if self.shelves.len() >= SHELVES_MAX {
            let idle = self.shelves.iter().filter(|(_, shelf)| shelf.is_durable());
            let idle = idle.min_by_key(|(_, shelf)| shelf.used).map(|(key, _)| key.clone());
            idle.and_then(|key| self.shelves.remove(&key));
        }
    }

    /// Writes what is buffered of a member, so that it can be read.
    fn write_out(&mut self, at: &ArchiveRef) -> Result<(), ArchiveError> {
        match self.shelves.values_mut().find(|shelf| shelf.name == at.file) {
            Some(shelf)
                if at.length == 0 || !shelf.has_written(at.offset.saturating_add(at.length)) =>
            {
                shelf.write_out()
            }
            _ => Ok(()),
        }
    }
}

fn note_folders(folders: &mut BTreeSet<PathBuf>, dir: &Path, shelf: &Shelf) {
    let above = shelf.path.ancestors().skip(1).take_while(|folder| folder.starts_with(dir));
    folders.extend(above.map(Path::to_owned));
}

/// Closes the files that were not used for longest, until at most `open_files` are open. One whose
/// buffer cannot be written stays open; its next append or flush says why.
fn close_idle(shelves: &mut BTreeMap<(SourceId, Date), Shelf>, open_files: usize) {
    let mut open: Vec<&mut Shelf> =
        shelves.values_mut().filter(|shelf| shelf.handle.is_some()).collect();
    let Some(surplus) = open.len().checked_sub(open_files) else { return };
    open.sort_by_key(|shelf| shelf.used);
    for shelf in open.into_iter().take(surplus) {
        if shelf.write_out().is_ok() {
            shelf.handle = None;
        }
    }
}

/// Streams head, body and end into the file as one member behind what is there; returns where it ends.
fn write_spooled(shelf: &Shelf, spooled: &Spooled) -> Result<u64, ArchiveError> {
    let cannot_write = || ArchiveError::io("write to", &shelf.path);
    let cannot_read = || ArchiveError::io("read", &spooled.body);
    let changed = |reason| ArchiveError::SpoolChanged { path: spooled.body.clone(), reason };
    let mut file = fs::OpenOptions::new().append(true).open(&shelf.path).map_err(cannot_write())?;
    let mut body = File::open(&spooled.body).map_err(cannot_read())?;
    let mut gzip = gzip::stream(BufWriter::with_capacity(1 << 20, &mut file), spooled.mark);
    gzip.write_all(&spooled.head).map_err(cannot_write())?;
    let mut running = crate::digest::Running::default();
    let mut piece = vec![0; 256 << 10];
    let mut left = spooled.body_bytes;
    loop {
        let count = body.read(&mut piece).map_err(cannot_read())?;
        if count == 0 {
            break;
        }
        left = left.checked_sub(count as u64).ok_or_else(|| changed("it grew"))?;
        running.update(&piece[..count]);
        gzip.write_all(&piece[..count]).map_err(cannot_write())?;
    }
    if left > 0 {
        return Err(changed("it shrank"));
    }
    if running.finish() != spooled.digest {
        return Err(changed("its digest differs"));
    }
    gzip.write_all(RECORD_END).map_err(cannot_write())?;
    let mut buffered = gzip.finish().map_err(cannot_write())?;
    buffered.flush().map_err(cannot_write())?;
    drop(buffered);
    file.stream_position().map_err(cannot_write())
}

fn sync(
    files: &[(PathBuf, Option<Arc<File>>, u64)],
    folders: &[PathBuf],
) -> Result<(), ArchiveError> {
    for (path, handle, _) in files {
        let synced = match handle {
            Some(file) => file.sync_data(),
            // Closed since: the data is with the system, and any open file can ask for it.
            None => File::open(path).map_err(ArchiveError::io("open", path))?.sync_data(),
        };
        synced.map_err(ArchiveError::io(MAKE_DURABLE, path))?;
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    let handle = File::open(folder).map_err(ArchiveError::io("open", folder))?;
    handle.sync_all().map_err(ArchiveError::io(MAKE_DURABLE, folder))
}
