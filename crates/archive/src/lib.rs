//! The bytes as received, kept as WARC/1.1 (ISO 28500): one gzip member a record, by source and day.
//!
//! A record is built by a pure function ([`member`], [`revisit_member`]), appended to an [`Archive`]
//! and found again by its [`ArchiveRef`]. Nothing here parses a body, and nothing here may see a
//! secret: target URIs and headers come in redacted.
//!
//! Appending is cheap and not durable; [`Archive::flush`] makes all that was appended before it so.
//! A file is written by one process only and never again after that process ended, so a crash can
//! tear nothing but the last member of a file.

mod digest;
mod record;
mod reference;

mod gzip;
mod index;
mod read;

mod file;
mod memory;
mod port;

mod check;

pub use check::{Check, Damage, check, files};
pub use digest::{digest, digest_file};
pub use file::{FileArchive, Limits};
pub use memory::MemoryArchive;
pub use port::{Archive, ArchiveError, ArchiveFuture};
pub use read::{ArchivedResponse, Record, Records, records};
pub use record::{RefersTo, ResponseRecord, Revisit, member, revisit_member};
pub use reference::{ArchiveRef, ArchiveRefError};
