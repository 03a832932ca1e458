//! The keys seen in one cell.

use std::collections::BTreeSet;

/// The check that a row fails whose key an earlier row of its cell has.
pub const DUPLICATE_KEY: &str = "duplicate_key";

/// The keys of one cell's records so far, 16 bytes each. Kept by the caller over the cell's batches.
#[derive(Debug, Clone, Default)]
pub struct KeySet(BTreeSet<[u8; 16]>);

impl KeySet {
    /// No key yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the key is new.
    pub(crate) fn insert(&mut self, key: [u8; 16]) -> bool {
        self.0.insert(key)
    }
}
