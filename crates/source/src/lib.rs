//! Project settings and source files (TOML): text to checked values.
//!
//! A file is read by one table of keys ([`json_schema`] comes from the same table) into a tree of
//! values with their places, and then part by part into a [`Source`]. No part stops at the first
//! mistake: all mistakes of all files come out of one [`load`], each with file, line, column, the
//! line itself and what to do.
//!
//! It does not know the engine, asks nobody, and keeps secrets out of everything that is printed.

mod diagnostic;
mod units;

mod keys;
mod scalar;
mod schema;
mod tree;

mod secret;
mod template;

mod spec;

mod arrival;
mod definition;
mod expected;
mod extract;
mod files;
mod request;
mod settings;

mod cells;
mod load;

pub use arrival::{ArrivalSpec, HeadSpec, PageSpec};
pub use cells::grid;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use load::{Loaded, load, load_settings, parse_definition, parse_source};
pub use schema::{json_schema, settings_json_schema};
pub use secret::{HeaderText, Part, Secret};
pub use settings::{CommitSetting, Settings, StateSetting};
pub use spec::{Auth, EntitiesFile, LimitSpec, LookSpec, Method, RequestSpec, RevisitSpec, Source};
pub use template::{Escape, Template, TemplateError, URL_LIMIT_BYTES};

/// Looks up a variable of the environment; handed in, so that a test owns it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;
