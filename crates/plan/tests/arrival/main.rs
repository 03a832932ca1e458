//! Arrivals: learned from looks alone, and looked for at little cost.

mod budgets;
mod habits;
mod models;
mod planner;
mod schedule;
