//! Stores, generators and the shipped SQL, on real servers where they are needed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod generators;
#[cfg(feature = "mariadb")]
mod mariadb;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_tls;
#[cfg(any(feature = "postgres", feature = "mariadb"))]
mod servers;
#[cfg(any(feature = "postgres", feature = "mariadb"))]
mod silence;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mariadb"))]
mod trades;
