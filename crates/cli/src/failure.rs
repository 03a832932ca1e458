//! How a command ends when it does not end well.

use engine::EngineError;
use std::process::ExitCode;

/// The exit code and what is told.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: Option<anyhow::Error>,
}

/// A check failed, or the command could not be done.
pub(crate) const FAILED: u8 = 1;
/// Usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Due work is left undone.
pub(crate) const UNDONE: u8 = 3;
/// Another engine holds the project.
pub(crate) const HELD: u8 = 4;

impl Failure {
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { code: FAILED, error: Some(error.into()) }
    }

    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: USAGE, error: Some(error.into()) }
    }

    /// Everything was told already.
    pub(crate) fn told(code: u8) -> Self {
        Self { code, error: None }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints the chain of causes, once, and gives the exit code.
    #[expect(clippy::print_stderr, reason = "the edge")]
    pub(crate) fn report(self) -> ExitCode {
        if let Some(error) = self.error {
            eprintln!("error: {}", chain(error.chain()));
        }
        ExitCode::from(self.code)
    }
}

/// One error and its causes on one line.
pub(crate) fn chain<'a>(
    causes: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>,
) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        let text = cause.to_string();
        // Libraries often repeat their cause in their own text.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Held { .. } => HELD,
            EngineError::EntitiesLost { .. }
            | EngineError::Definition { .. }
            | EngineError::ForeignLake { .. } => USAGE,
            _ => FAILED,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<state::StateError> for Failure {
    fn from(error: state::StateError) -> Self {
        Self::failed(error)
    }
}

impl From<lake::LakeError> for Failure {
    fn from(error: lake::LakeError) -> Self {
        Self::failed(error)
    }
}
