//! From what SQLite says to what the caller can do.

use crate::error::{BoxError, StateError};
use rusqlite::{Error as SqlError, ErrorCode, ffi};
use std::{io, path::Path};

/// What goes wrong inside an operation, before the file's path is known to it.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused.
    Sql(SqlError),
    /// The file holds something that we never wrote.
    Damaged(BoxError),
    /// The caller asked for something that cannot be.
    Refused(StateError),
}

impl From<SqlError> for Fault {
    fn from(cause: SqlError) -> Self {
        Self::Sql(cause)
    }
}

impl From<postcard::Error> for Fault {
    fn from(cause: postcard::Error) -> Self {
        Self::Damaged(Box::new(cause))
    }
}

impl Fault {
    /// A stored value that cannot be read back.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into().into())
    }

    /// The error as the caller sees it.
    pub(super) fn at(self, path: &Path) -> StateError {
        let path = path.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Damaged(cause) => StateError::Corrupt { path, cause },
            Self::Sql(cause) => {
                let (code, extended) = match &cause {
                    SqlError::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
                    // A column of another type, or a row that must be there and is not.
                    _ => return StateError::Corrupt { path, cause: Box::new(cause) },
                };
                let cause: BoxError = Box::new(cause);
                match code {
                    ErrorCode::DatabaseCorrupt => StateError::Corrupt { path, cause },
                    ErrorCode::NotADatabase => StateError::NotAStateFile { path, cause },
                    ErrorCode::DiskFull => StateError::DiskFull { path, cause },
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                        StateError::Busy { path, cause }
                    }
                    ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
                        StateError::NotWritable { path, cause }
                    }
                    ErrorCode::SystemIoFailure => match extended {
                        // The shared index could not grow: only a full disk does that.
                        ffi::SQLITE_IOERR_SHMSIZE => StateError::DiskFull { path, cause },
                        ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS => {
                            StateError::Corrupt { path, cause }
                        }
                        _ => StateError::Unavailable { path, cause },
                    },
                    _ => StateError::Unavailable { path, cause },
                }
            }
        }
    }
}

/// What the file system says while the file is made.
pub(super) fn of_io(cause: io::Error, path: &Path) -> StateError {
    let path = path.to_owned();
    let kind = cause.kind();
    let cause = Box::new(cause);
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StateError::DiskFull { path, cause }
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists => StateError::NotWritable { path, cause },
        _ => StateError::Unavailable { path, cause },
    }
}
