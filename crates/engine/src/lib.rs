//! The composition root: joins the steps of the way into one running engine.
//!
//! ```text
//! plan -> pace -> fetch -> archive -> extract -> validate -> commit -> account -> report
//! ```
//!
//! `way::walk` is that line for one attempt; [`Engine`] runs many of them and commits what they
//! bring in micro-batches, exactly once. It knows no command line and no web.

mod answer;
mod arrival;
mod arrival_tables;
mod book;
mod budgets;
mod calls;
mod commit;
mod compiled;
mod error;
mod grid;
mod hours;
mod lock;
mod look;
mod looks;
mod mask;
mod observation;
mod ports;
mod rebuild;
mod recover;
mod relearn;
mod reserve;
mod run;
mod runtime;
mod schedule;
mod scope;
mod scope_tables;
mod scopes;
mod sort;
mod tables;
mod trial;
mod way;
mod wish;

pub use arrival::LookTrust;
pub use arrival_tables::arrivals_schema;
pub use budgets::budgets_left;
pub use error::EngineError;
pub use grid::{Ranges, grid_of, horizon};
pub use lock::ProjectLock;
pub use observation::{Observation, Quarantined};
pub use ports::{Control, Event, Mode, Options, Ports, Progress, Watchers};
pub use rebuild::rebuild;
pub use run::{Engine, Summary};
pub use scope::{KeptDecision, Learned};
pub use scope_tables::{paces_schema, throttles_schema};
pub use tables::{attempts_schema, cells_schema, data_schema, quarantine_schema};
pub use trial::{Trial, trial};
