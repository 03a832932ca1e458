//! When data comes: learned from one's own looks, and the schedule of looks that costs least.
//!
//! Pure: told of openings and answers with their times, it says when to look next. It never sees
//! when data really came. A look without data and a later look with it leave an *interval*; what
//! never came is censored.
//!
//! ```text
//!   history -> experts -> model -> day, companions -> schedule -> next look
//!   (intervals) (memories)  (choice)   (today's news)    (least cost)
//! ```
//!
//! - [`history`]: what was seen of an entity, packed.
//! - [`experts`]: the empirical model: memories of several lengths, by weekday and blur, weighed by
//!   how well they foretold.
//! - [`hazard`], [`network`]: discrete-time hazards on top of them, fitted to all entities at once.
//! - [`external`]: a model from elsewhere in their place.
//! - [`choice`]: which model is in use, by the likelihood of what it was not fitted to.
//! - [`day`]: whether today is late for all.
//! - [`companions`]: which entities come in one piece, and what that says today.
//! - [`schedule`]: the looks of least expected cost.
//! - [`scarcity`]: what a look costs beyond its price while a budget is short.
//! - [`planner`]: all of it, cell by cell.
//! - [`training`]: what the models are fitted to, in the background.
//! - [`replay`]: a closed loop over known arrivals, with the policies to compare with.

pub mod choice;
pub mod companions;
pub mod day;
pub mod distribution;
pub mod experts;
pub mod external;
pub mod features;
pub mod hazard;
pub mod history;
pub mod network;
pub mod planner;
pub mod replay;
pub mod scarcity;
pub mod schedule;
pub mod training;

pub use distribution::Distribution;
pub use planner::{Ingredients, Opening, Planned, Planner, Prices, Reason};

/// Minutes since 1970-01-01T00:00Z, or between two instants.
pub type Minutes = f64;
