//! The port: what every archive promises.

use crate::{
    read::ArchivedResponse,
    record::ResponseRecord,
    reference::{ArchiveRef, ArchiveRefError},
};
use jiff::civil::Date;
use model::{Digest, SourceId};
use std::{fmt::Debug, future::Future, io, path::Path, path::PathBuf, pin::Pin};

/// What an archive's slow operations return.
pub type ArchiveFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ArchiveError>> + Send + 'a>>;

/// Where records are kept.
pub trait Archive: Send + Sync + Debug {
    /// Appends one member built by [`member`](crate::member) or
    /// [`revisit_member`](crate::revisit_member).
    ///
    /// Cheap: it goes into a buffer, now and then into the page cache. It can be read at once and is
    /// durable after the next [`flush`](Self::flush). An error leaves the archive as it was.
    fn append(
        &self,
        source: &SourceId,
        day: Date,
        member: Vec<u8>,
    ) -> Result<ArchiveRef, ArchiveError>;

    /// Appends a response whose body lies in a file, in bounded memory. The body must have
    /// `record.digest`. Durable after the next [`flush`](Self::flush), like any other.
    fn append_file(
        &self,
        record: &ResponseRecord<'_>,
        day: Date,
        body: &Path,
    ) -> ArchiveFuture<'_, ArchiveRef>;

    /// Makes everything durable that was appended before the call.
    fn flush(&self) -> ArchiveFuture<'_, ()>;

    /// Reads a response back, its body checked against its digest. For a revisit record it is the
    /// body of the record that it refers to.
    fn read(&self, at: &ArchiveRef) -> ArchiveFuture<'_, ArchivedResponse>;

    /// Where this process has archived a whole body with this digest for this source, if it still
    /// remembers.
    fn find(&self, source: &SourceId, digest: &Digest) -> Option<ArchiveRef>;
}

/// What can go wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk refused. Trying again can help, when there is room again for example.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The system could not say whether bytes written before are on the disk, so nothing appended
    /// since the last good flush may be relied on. Every later flush fails too: start anew.
    #[error("`{}` may have lost what was written to it; this archive must be opened anew", path.display())]
    Doubtful {
        /// The file.
        path: PathBuf,
    },
    /// A member ends before its end, or what stands there is not one: a crash can leave this at a
    /// file's end.
    #[error("`{file}` is torn at byte {offset}: {reason}")]
    Torn {
        /// The file.
        file: String,
        /// Where the member begins.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// A whole member that is not a record as we write it.
    #[error("the record at `{at}` cannot be understood: {reason}")]
    Malformed {
        /// Where it lies.
        at: ArchiveRef,
        /// What was found.
        reason: &'static str,
    },
    /// The body is not the one that was archived.
    #[error("the body at `{at}` has the digest `{found}`, its record says `{expected}`")]
    DigestMismatch {
        /// Where it lies.
        at: ArchiveRef,
        /// What the record says.
        expected: Digest,
        /// What the bytes say.
        found: Digest,
    },
    /// The spooled body is not the one that the record describes.
    #[error("the spooled body `{}` is not the one that was received: {reason}", path.display())]
    SpoolChanged {
        /// The spool file.
        path: PathBuf,
        /// What differs.
        reason: &'static str,
    },
    /// The body is larger than this archive hands out in memory.
    #[error("the body at `{at}` has more than {limit_bytes} bytes")]
    BodyTooLarge {
        /// Where it lies.
        at: ArchiveRef,
        /// The limit.
        limit_bytes: u64,
    },
    /// Revisit records refer to each other without end.
    #[error("the revisit record at `{at}` leads to no body")]
    EndlessRevisit {
        /// The first of them.
        at: ArchiveRef,
    },
    /// A reference that no archive has given out.
    #[error(transparent)]
    BadReference(#[from] ArchiveRefError),
}

impl ArchiveError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }
}
