//! One engine for one project on one machine.

use crate::EngineError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

/// Held for as long as it lives; the operating system lets go of it when the process dies.
#[derive(Debug)]
pub struct ProjectLock {
    _file: File,
}

impl ProjectLock {
    /// Takes the lock, or says that another engine has it.
    ///
    /// # Errors
    /// [`EngineError::Held`] if it is taken, [`EngineError::Lock`] if the file cannot be made.
    pub fn acquire(path: &Path) -> Result<Self, EngineError> {
        let failed = |cause| EngineError::Lock { path: path.to_owned(), cause };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(EngineError::Held { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}
