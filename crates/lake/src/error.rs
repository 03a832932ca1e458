//! What can go wrong with a table, by what the reader can do about it.

use crate::table::TableRef;
use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

/// Why the lake could not do it. Nothing is half visible after an error: a commit is in the table
/// or it is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// A column would change its type.
    #[error(
        "column `{column}` of table `{table}` holds `{found}` and is now declared as `{declared}`: \
         a column keeps its type; declare it as before, or give the new one another name"
    )]
    Retyped {
        /// The table.
        table: TableRef,
        /// The column.
        column: String,
        /// The table's type.
        found: String,
        /// The type asked for.
        declared: String,
    },
    /// A column that no table can have.
    #[error("column `{column}` of table `{table}` is not possible: {reason}")]
    Column {
        /// The table.
        table: TableRef,
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// A column that the table does not have.
    #[error("table `{table}` has no column `{column}` (it has {columns})")]
    UnknownColumn {
        /// The table.
        table: TableRef,
        /// The column asked for.
        column: String,
        /// The columns it has.
        columns: String,
    },
    /// Rows for a table that does not exist.
    #[error("table `{table}` does not exist: it must be declared before rows are written")]
    MissingTable {
        /// The table.
        table: TableRef,
    },
    /// A staged file that is not there, or not as it was staged.
    #[error(
        "staged file `{}` of table `{table}` {found}, expected {expected_bytes} bytes: nothing was \
         committed; stage its rows again",
        path.display()
    )]
    StagedFile {
        /// The table.
        table: TableRef,
        /// The file.
        path: PathBuf,
        /// What is there instead, in words.
        found: String,
        /// Its size when it was staged.
        expected_bytes: u64,
    },
    /// The disk is full.
    #[error(
        "no space left on the disk for `{}` of table `{table}`: nothing was committed; free some \
         space, the work is then taken up again",
        path.display()
    )]
    DiskFull {
        /// The table.
        table: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Not allowed to read or write.
    #[error(
        "no permission for `{}` of table `{table}`: let the user that runs this program read and \
         write the folder and all in it, on a file system that is not mounted read-only",
        path.display()
    )]
    Denied {
        /// The table.
        table: String,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another input or output error.
    #[error("cannot {action} `{}` of table `{table}`", path.display())]
    Storage {
        /// The table.
        table: String,
        /// The file or folder.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A log entry, checkpoint or data file that cannot be read.
    #[error(
        "`{}` of table `{table}` is damaged ({reason}): nothing was read from or written to the \
         table; restore the file from a backup",
        path.display()
    )]
    Damaged {
        /// The table.
        table: TableRef,
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// The reader's error.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A table that another program has given features that this one does not know.
    #[error(
        "table `{table}` asks for {feature}, which this program does not support: another program \
         changed the table; write its data into a table of its own"
    )]
    Unsupported {
        /// The table.
        table: TableRef,
        /// The feature.
        feature: String,
    },
    /// Others committed to the table again and again.
    #[error(
        "table `{table}` was changed by another program {tries} times while a commit was tried: \
         nothing was committed; let only one program write to it"
    )]
    Contended {
        /// The table.
        table: TableRef,
        /// Commits tried.
        tries: usize,
    },
    /// Rows that cannot be encoded or decoded.
    #[error("cannot {action} rows of table `{table}`")]
    Rows {
        /// The table.
        table: TableRef,
        /// What was attempted.
        action: &'static str,
        /// The encoder's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A task of this program broke.
    #[error("the task that worked on table `{table}` broke: this is a defect of this program")]
    Broken {
        /// The table.
        table: String,
        /// How it broke.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl LakeError {
    /// Sorts an error of the file system by what can be done about it.
    pub(crate) fn io(
        table: &(impl fmt::Display + ?Sized),
        path: &Path,
        action: &'static str,
        source: io::Error,
    ) -> Self {
        use io::ErrorKind as Kind;
        let table = table.to_string();
        let path = path.to_path_buf();
        match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Self::DiskFull { table, path, source }
            }
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
                Self::Denied { table, path, source }
            }
            _ => Self::Storage { table, path, action, source },
        }
    }

    /// As [`LakeError::io`], for an error that holds one of the file system somewhere inside;
    /// `None` if it holds none.
    pub(crate) fn io_within(
        table: &TableRef,
        path: &Path,
        action: &'static str,
        error: &(dyn Error + 'static),
    ) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(source) = error.downcast_ref::<io::Error>() {
                // `io::Error` cannot be cloned; its code says all that its text says.
                let source = source.raw_os_error().map_or_else(
                    || io::Error::new(source.kind(), source.to_string()),
                    io::Error::from_raw_os_error,
                );
                return Some(Self::io(table, path, action, source));
            }
            next = error.source();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_disk_say_what_to_do() {
        let path = Path::new("/lake/data/t/part-1.parquet");
        let full = LakeError::io("data/t", path, "write", io::Error::from_raw_os_error(28));
        assert!(full.to_string().contains("no space left on the disk"), "{full}");
        assert!(full.to_string().contains("part-1.parquet"), "{full}");
        let denied = LakeError::io("data/t", path, "write", io::Error::from_raw_os_error(30));
        assert!(matches!(denied, LakeError::Denied { .. }), "{denied}");
    }
}
