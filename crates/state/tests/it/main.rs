//! The contract on each engine, and what only real files and processes can show.
#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod files;
mod model_check;
mod processes;
