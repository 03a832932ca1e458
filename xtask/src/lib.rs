//! Checks of the workspace itself: the walls between crates, the house rules of files, and that the
//! documents say what is so.
//!
//! Rules are pure functions from texts to [`Finding`]s, each shown to fail once beside its code;
//! `tests/tidy.rs` applies them to the workspace as it stands.

use std::fmt;

pub mod walls;

pub mod files;

pub mod documents;

pub mod workspace;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file or the crate, with a line where there is one.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding of a whole file or crate.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    /// A finding in line `line` of a file, counted from 1.
    pub fn at(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{file}:{line}"), message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
