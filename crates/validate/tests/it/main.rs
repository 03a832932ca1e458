//! The behaviour of expectations, through their public interface.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod batches;
mod checks;
mod keys;
mod specs;
