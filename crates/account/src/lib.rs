//! Evidence to the state and cause of a cell, and counts of cells to completeness.
//!
//! Pure. Only a complete observation may assert absence; time nominates, evidence decides.

pub mod completeness;
pub mod judge;

pub use completeness::{Completeness, Line, StateCount, completeness};
pub use judge::{Evidence, Look, contradicts, judge};
