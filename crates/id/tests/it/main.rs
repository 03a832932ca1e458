//! Stores, generators and the shipped SQL, on real servers where they are needed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mariadb"))]
mod database;
mod generators;
#[cfg(any(feature = "postgres", feature = "mariadb"))]
mod servers;
