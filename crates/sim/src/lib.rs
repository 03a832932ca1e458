//! A simulated world, to try everything else in.
//!
//! Apart from each other: the [`exchange`], a small stock exchange behind a real HTTP server on
//! loopback, for the demonstration; and, with the feature `simulator`, the deterministic simulator.
//!
//! The simulator plays the engine itself in virtual time against a world that repeats exactly from
//! a seed: [`scenario`] files say what happens, [`world`] is what is true, [`server`] what is
//! answered, [`kill`] how engines die, [`check`] what must hold at every event, and [`runner`] plays
//! it all. A scenario may have its arrivals from a real [`history`]. It does no I/O (but reading the scenario
//! and its histories), and it deliberately has no copy of the
//! engine's rules: its checkers know outcomes from the servers' own log.

pub mod exchange;

#[cfg(feature = "simulator")]
pub mod scenario;

#[cfg(feature = "simulator")]
pub mod history;

#[cfg(feature = "simulator")]
pub mod world;

#[cfg(feature = "simulator")]
pub mod server;

#[cfg(feature = "simulator")]
pub mod clock;

#[cfg(feature = "simulator")]
pub mod kill;

#[cfg(feature = "simulator")]
pub mod check;

#[cfg(feature = "simulator")]
pub mod runner;
