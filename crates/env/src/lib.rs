//! The doors to wall time and to chance. Nothing else in the program reads a clock or draws a
//! random number, so that a month of operation can be played again from one seed.

pub mod clock;
pub mod entropy;

pub use clock::{Clock, Idle, Moment, SystemClock, VirtualClock};
pub use entropy::Entropy;
