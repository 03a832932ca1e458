//! The program as a whole, as a person or a script uses it: the real binary, real files, real HTTP
//! on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

mod commands;
mod crash;
mod harness;
mod hostile;
mod ids;
mod late;
mod looks;
mod many;
mod real_data;
