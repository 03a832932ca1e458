//! What an address of a database says of encryption; the rest of it is its client's to read.

use crate::error::StoreError;
use std::path::PathBuf;

/// `sslmode`, by PostgreSQL's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// How a connection is to be encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Security {
    pub(crate) mode: SslMode,
    /// A PEM file with the certificates that are trusted.
    pub(crate) root_cert: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of an address.
pub(crate) fn split(url: &str) -> Result<(String, Security), StoreError> {
    let Some((place, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Security::default()));
    };
    let mut security = Security::default();
    let mut rest = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", mode)) => security.mode = mode_of(mode)?,
            Some(("sslrootcert", path)) => security.root_cert = Some(PathBuf::from(path)),
            _ => rest.push(parameter),
        }
    }
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    Ok((format!("{place}{query}"), security))
}

fn mode_of(text: &str) -> Result<SslMode, StoreError> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            let known = "`disable`, `prefer`, `require`, `verify-ca` or `verify-full`";
            return Err(StoreError::Refused {
                reason: format!("`sslmode` is {known}, not `{text}`"),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_encryption_is_taken_out_and_the_rest_kept() {
        let (url, security) =
            split("postgres://u:p@h/d?a=b&sslmode=verify-full&sslrootcert=/x.pem&c=d").unwrap();
        assert_eq!(url, "postgres://u:p@h/d?a=b&c=d");
        let root_cert = Some(PathBuf::from("/x.pem"));
        assert_eq!(security, Security { mode: SslMode::VerifyFull, root_cert });
        let (url, security) = split("postgres://h/d?sslmode=disable").unwrap();
        assert_eq!((url.as_str(), security.mode), ("postgres://h/d", SslMode::Disable));
        assert_eq!(split("postgres://h/d").unwrap().1.mode, SslMode::Prefer);
        let refused = split("postgres://u:secret@h/d?sslmode=allow").unwrap_err().to_string();
        assert!(refused.contains("not `allow`") && !refused.contains("secret"), "{refused}");
    }
}
