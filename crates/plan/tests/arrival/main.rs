//! Arrivals: learned from looks alone, and looked for at little cost.

mod habits;
mod models;
mod planner;
mod schedule;
