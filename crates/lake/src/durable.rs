//! Writing so that it is still there after the power fails.
//!
//! `object_store`'s local store never fsyncs. Here a file has its content on the disk before it has
//! its name, and its name is on the disk before the call returns.

use async_trait::async_trait;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, UploadPart, local::LocalFileSystem, path::Path as StorePath,
};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a folder and those above it, each durable in its parent.
pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new("/"));
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a file with this content, all or nothing; false if it exists already.
pub(crate) fn create_new(path: &Path, content: &[&[u8]]) -> io::Result<bool> {
    let unnamed = write_unnamed(path, content)?;
    let linked = fs::hard_link(&unnamed, path);
    let removed = fs::remove_file(&unnamed);
    match linked {
        Ok(()) => {
            removed?;
            sync_parent(path)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file with this content in place of what is there, all or nothing.
pub(crate) fn replace(path: &Path, content: &[&[u8]]) -> io::Result<()> {
    let unnamed = write_unnamed(path, content)?;
    fs::rename(&unnamed, path).inspect_err(|_| drop(fs::remove_file(&unnamed)))?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes the content, durably, under a name that lists of the store leave out: `NAME#DIGITS`.
fn write_unnamed(path: &Path, content: &[&[u8]]) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let (unnamed, mut file) = loop {
        let mut name = path.as_os_str().to_owned();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        name.push(format!("#{}{count:09}", process::id()));
        let unnamed = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&unnamed) {
            Ok(file) => break (unnamed, file),
            // Left by a process that was killed and had the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    };
    let written =
        content.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    match written {
        Ok(()) => Ok(unnamed),
        Err(error) => {
            drop(fs::remove_file(&unnamed));
            Err(error)
        }
    }
}

/// The local file system as an object store that fsyncs, for what delta-rs writes: checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct DurableStore {
    local: Arc<LocalFileSystem>,
}

impl DurableStore {
    /// A store whose root is `folder`, which exists.
    pub(crate) fn new(folder: &Path) -> object_store::Result<Self> {
        Ok(Self { local: Arc::new(LocalFileSystem::new_with_prefix(folder)?) })
    }

    async fn put(&self, location: &StorePath, payload: PutPayload, create: bool) -> PutDone {
        let path = self.local.path_to_filesystem(location)?;
        let named = location.to_string();
        let written = tokio::task::spawn_blocking(move || {
            path.parent().map_or(Ok(()), create_folders)?;
            let parts: Vec<&[u8]> = payload.iter().map(AsRef::as_ref).collect();
            if create { create_new(&path, &parts) } else { replace(&path, &parts).map(|()| true) }
        });
        match written.await {
            Ok(Ok(true)) => Ok(PutResult { e_tag: None, version: None }),
            Ok(Ok(false)) => Err(StoreError::AlreadyExists {
                path: named,
                source: io::Error::from(io::ErrorKind::AlreadyExists).into(),
            }),
            Ok(Err(source)) => Err(generic(source)),
            Err(source) => Err(StoreError::JoinError { source }),
        }
    }

    async fn sync(&self, location: &StorePath) -> object_store::Result<()> {
        let path = self.local.path_to_filesystem(location)?;
        let synced = tokio::task::spawn_blocking(move || {
            File::open(&path)?.sync_all()?;
            sync_parent(&path)
        });
        match synced.await {
            Ok(done) => done.map_err(generic),
            Err(source) => Err(StoreError::JoinError { source }),
        }
    }
}

type PutDone = object_store::Result<PutResult>;

fn generic(source: io::Error) -> StoreError {
    StoreError::Generic { store: "DurableStore", source: Box::new(source) }
}

type Listed = BoxStream<'static, object_store::Result<ObjectMeta>>;

/// Names in order, as delta-rs expects of all stores but those it knows for local ones.
fn in_order(listed: Listed) -> Listed {
    let sorted = async move {
        let mut entries: Vec<ObjectMeta> = listed.try_collect().await?;
        entries.sort_by(|a, b| a.location.cmp(&b.location));
        Ok::<_, StoreError>(stream::iter(entries.into_iter().map(Ok)))
    };
    stream::once(sorted).try_flatten().boxed()
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableStore({})", self.local)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &StorePath,
        payload: PutPayload,
        options: PutOptions,
    ) -> PutDone {
        match options.mode {
            PutMode::Create => self.put(location, payload, true).await,
            PutMode::Overwrite => self.put(location, payload, false).await,
            PutMode::Update(_) => self.local.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        _options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let store = self.clone();
        Ok(Box::new(DurableUpload { store, location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(
        &self,
        location: &StorePath,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.local.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<StorePath>>,
    ) -> BoxStream<'static, object_store::Result<StorePath>> {
        self.local.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&StorePath>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        in_order(self.local.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        in_order(self.local.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&StorePath>,
    ) -> object_store::Result<ListResult> {
        self.local.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.local.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(
        &self,
        from: &StorePath,
        to: &StorePath,
        options: RenameOptions,
    ) -> object_store::Result<()> {
        self.local.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// A checkpoint in parts: kept in memory (some kilobytes a live file) and written at the end, so
/// that it never has its name before it is whole.
#[derive(Debug)]
struct DurableUpload {
    store: DurableStore,
    location: StorePath,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.push(part);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> PutDone {
        let payload = self.parts.drain(..).flatten().collect();
        self.store.put(&self.location, payload, false).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;

    #[test]
    fn a_file_is_created_once_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/entry.json");
        create_folders(path.parent().unwrap()).unwrap();
        assert!(create_new(&path, &[b"first"]).unwrap());
        assert!(!create_new(&path, &[b"second"]).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, &[b"th", b"ird"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn names_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::new(folder.path()).unwrap();
        for number in [7, 3, 9, 1, 5] {
            let location = StorePath::from(format!("log/{number:03}"));
            store.put_opts(&location, "x".into(), PutOptions::default()).await.unwrap();
        }
        let log = StorePath::from("log");
        let all: Vec<_> = store.list(Some(&log)).try_collect().await.unwrap();
        let names: Vec<_> = all.iter().map(|meta| meta.location.as_ref()).collect();
        assert_eq!(names, ["log/001", "log/003", "log/005", "log/007", "log/009"]);
        let after = StorePath::from("log/004");
        let some: Vec<_> = store.list_with_offset(Some(&log), &after).try_collect().await.unwrap();
        let names: Vec<_> = some.iter().map(|meta| meta.location.as_ref()).collect();
        assert_eq!(names, ["log/005", "log/007", "log/009"]);
    }

    #[tokio::test]
    async fn a_checkpoint_in_parts_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkpoint");
        let location = StorePath::from("checkpoint");
        let store = DurableStore::new(folder.path()).unwrap();
        let mut upload = store.put_multipart(&location).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        assert!(!file.exists());
        upload.put_part("two".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"one two");
    }
}
