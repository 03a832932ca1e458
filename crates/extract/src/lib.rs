//! From the bytes of an answer to typed Arrow batches: a pure function of bytes and spec.
//!
//! One pass over the body in chunks checks that all of it is JSON, follows the path to the records
//! and cuts each record out (`slicer`); a second, over each record, takes the declared fields
//! (`record`) and converts them exactly (`value`). Memory is bounded by one record and one
//! batch, whatever the body's size.
//!
//! Nothing is rounded, dropped or nulled in silence: a record that does not fit is a [`Reject`] with
//! its reason, and a body without records is *proven* empty or says what was found instead.
//!
//! Deliberately not here: the network, the archive, expectations (`validate`), and what a finding
//! means for a cell (`engine`).

mod extraction;
mod extractor;

mod compile;
mod follow;
mod slicer;

mod record;
mod value;

mod civil;
mod decimal;

mod listing;

mod collect;
mod column;
mod excerpt;

pub use compile::SpecError;
pub use extraction::{ExtractedBatch, Extraction, Finding, Reject, SinkError};
pub use extractor::Extractor;
pub use listing::{Listed, Lister, NAMES_LIMIT};

/// The most rows of one batch.
pub const BATCH_ROWS_LIMIT: usize = 8192;

/// A batch is closed as soon as its records had this many bytes in the body.
pub const BATCH_BYTES_LIMIT: u64 = 8 << 20;

/// The most rejects that are kept with their reasons; all are counted.
pub const REJECTS_LIMIT: usize = 1000;
