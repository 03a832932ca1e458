//! What an extraction gives back.

use arrow::record_batch::RecordBatch;

/// Some records of a body, in their order.
#[derive(Debug, Clone)]
pub struct ExtractedBatch {
    /// The declared fields, at most [`crate::BATCH_ROWS_LIMIT`] rows and at least one.
    pub batch: RecordBatch,
    /// The number of each record in the body, from 0; rejected records count too.
    pub ordinals: Vec<u64>,
    /// The byte range of each record in the body, end excluded.
    pub spans: Vec<(u64, u64)>,
}

/// What became of a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Extraction {
    /// The rows that were given out.
    pub records: u64,
    /// The first [`crate::REJECTS_LIMIT`] records that did not fit.
    pub rejects: Vec<Reject>,
    /// All records that did not fit.
    pub rejected: u64,
    /// What the body was.
    pub finding: Finding,
    /// The declared fields whose path no record of the body had, in the order of the spec. Empty
    /// unless the finding is [`Finding::Records`]. An explicit null counts as found.
    pub fields_never_found: Vec<String>,
}

/// What a body was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It had records at the declared path, be it that all of them were rejected.
    Records,
    /// It had none, and shows that there is none to have.
    EmptyProven {
        /// What shows it.
        proof: String,
    },
    /// It had none, and nothing shows that this is right: a renamed path looks like this.
    EmptyUnproven {
        /// What was found instead.
        found: String,
    },
    /// Its bytes are not the declared format. Nothing given out so far may be used.
    Broken {
        /// The byte offset of the fault.
        at: u64,
        /// What was expected and found.
        message: String,
    },
    /// The sink refused a batch, or the reader failed: nothing is known of the rest, nothing given out so far may be
    /// used, and the body is not to blame.
    Stopped {
        /// The bytes read until then.
        at: u64,
        /// What the sink or the reader said.
        message: String,
    },
}

/// A record that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Its number in the body, from 0.
    pub ordinal: u64,
    /// Its byte range in the body, end excluded.
    pub span: (u64, u64),
    /// The declared field that did not fit, if it was one.
    pub field: Option<String>,
    /// What was found and expected; at most some 500 bytes, without control characters.
    pub reason: String,
}

/// Why a sink took no more batches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// Why, for a person.
    pub message: String,
}

impl SinkError {
    /// A sink's refusal; a sink that needs its own error later keeps it itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
