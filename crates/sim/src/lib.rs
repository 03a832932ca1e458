//! A simulated world, to try everything else in.

pub mod exchange;
