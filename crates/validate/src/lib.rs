//! Whether records are what a source declares them to be: pure rules over Arrow batches.
//!
//! A spec is compiled once against the schema ([`Validator::new`]): every bound is read in its
//! field's own type then, and a rule that could never say anything is refused. Checking a batch
//! allocates nothing while all rows pass.
//!
//! Nulls pass `between`, `one_of` and `matches`, which speak of values; `not_null` is there to
//! refuse them. `equals_entity` and `equals_period` refuse them too: a record that does not say
//! whose it is does not show that the answer is to the question that was asked.
//!
//! Also here, because they need the same typed bytes: stable hashes of a record's key and content
//! ([`Validator::record_keys`], [`content_hash`]). Not here: what happens to a record that fails.

mod validator;

mod check;
mod compile;

mod hash;
mod key;

mod bound;
mod view;

pub use check::Failure;
pub use compile::ExpectError;
pub use hash::content_hash;
pub use key::{DUPLICATE_KEY, KeySet};
pub use validator::Validator;
