//! The behaviour of extraction, through its public interface.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod bad;
mod corpus;
mod emptiness;
mod listing;
mod oracle;
mod table;
mod values;
