//! Where in the archive a record lies.

use crate::record::number_into;
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, str::FromStr};

/// One member of one file. Its text is `prices/2026-11-19/000001.warc.gz@1234+567`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveRef {
    /// The file, relative to the archive's folder, with `/` between the parts.
    pub file: String,
    /// The member's first byte in the file.
    pub offset: u64,
    /// The member's length in bytes, compressed.
    pub length: u64,
}

/// A text that is not a reference into the archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a place in the archive: one is written as \
     `prices/2026-11-19/000001.warc.gz@1234+567`"
)]
pub struct ArchiveRefError {
    /// What was found.
    pub text: String,
}

impl ArchiveRef {
    /// Whether the file is a plain path below the archive's folder. A reference comes from state and
    /// tables that others can write, and must not be a way to read other files.
    pub(crate) fn is_inside(&self) -> bool {
        self.file.split('/').all(|part| {
            !part.is_empty()
                && !matches!(part, "." | "..")
                && !part.contains(|c: char| c == '\\' || c == ':' || c.is_control())
        })
    }
}

impl fmt::Display for ArchiveRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}+{}", self.file, self.offset, self.length)
    }
}

impl FromStr for ArchiveRef {
    type Err = ArchiveRefError;
    fn from_str(text: &str) -> Result<Self, ArchiveRefError> {
        let parse = || {
            let (file, place) = text.rsplit_once('@')?;
            let (offset, length) = place.split_once('+')?;
            let number = |digits: &str| {
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
            };
            let at =
                Self { file: file.to_owned(), offset: number(offset)?, length: number(length)? };
            at.is_inside().then_some(at)
        };
        parse().ok_or_else(|| ArchiveRefError { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for ArchiveRef {
    type Error = ArchiveRefError;
    fn try_from(text: String) -> Result<Self, ArchiveRefError> {
        text.parse()
    }
}

impl From<ArchiveRef> for String {
    fn from(at: ArchiveRef) -> String {
        let mut text = at.file;
        text.reserve_exact(2 + 20 + 20);
        text.push('@');
        number_into(&mut text, at.offset);
        text.push('+');
        number_into(&mut text, at.length);
        text
    }
}

/// How the archive calls the file at a path: its last three parts.
pub(crate) fn relative_name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_its_own_text() {
        for text in ["prices/2026-11-19/000001.warc.gz@1234+567", "a@b@0+0"] {
            let at = text.parse::<ArchiveRef>().unwrap();
            assert_eq!(at.to_string(), text);
            assert_eq!(String::from(at), text);
        }
    }

    #[test]
    fn a_reference_cannot_leave_the_archive() {
        for text in [
            "",
            "@1+2",
            "a",
            "a@1",
            "a@1+",
            "a@+1+2",
            "a@-1+2",
            "/etc/passwd@0+1",
            "../a@0+1",
            "a/../../b@0+1",
            "a//b@0+1",
            "a\nb@0+1",
            "C:\\x@0+1",
            "a@99999999999999999999+1",
        ] {
            assert!(text.parse::<ArchiveRef>().is_err(), "{text}");
        }
    }
}
