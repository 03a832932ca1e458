//! One file a command.

pub(crate) mod arrival;
pub(crate) mod backfill;
pub(crate) mod cells;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod id;
pub(crate) mod init;
pub(crate) mod pace;
pub(crate) mod pause;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod spend;
pub(crate) mod sql;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod trial;
