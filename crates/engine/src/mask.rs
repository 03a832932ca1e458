//! Echoes of our own secrets in answers, blanked out before anything is archived or extracted.
//!
//! A server that repeats a request's token in its answer would otherwise carry it into the archive
//! and the tables. Blanks have the length of what they replace, so that offsets stay.

use crate::way::{WayError, spool_failed};
use bytes::Bytes;
use fetch::{Body, Decoded, FetchLimits, Fetched};
use std::{
    borrow::Cow,
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

/// Secrets shorter than this are not looked for: they would hit ordinary text.
const LENGTH_MIN: usize = 6;
/// How much of a large body is looked at at once.
const WINDOW_BYTES: usize = 256 * 1024;

/// What a source's requests carry and no answer may show.
pub(crate) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    pub(crate) fn new(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= LENGTH_MIN);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// Blanks out echoes in a body; returns whether there were any. An encoded body that has one
    /// is replaced by its decoded, blanked form.
    pub(crate) fn mask(
        &self,
        fetched: &mut Fetched,
        limits: &FetchLimits,
    ) -> Result<bool, WayError> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let found = match fetch::decode(&fetched.body, &fetched.headers, limits) {
            Ok(Decoded::Memory(plain)) => self.mask_bytes(fetched, &plain),
            Ok(Decoded::File(spooled)) => {
                let path = spooled.path().to_owned();
                let found = self.mask_file(&path).map_err(|cause| spool_failed(&path, cause))?;
                if found {
                    fetched.body = Body::File(spooled);
                }
                found
            }
            // What cannot be decoded is archived as it came.
            Err(_) => match &fetched.body {
                Body::Memory(raw) => {
                    let raw = raw.clone();
                    self.mask_bytes(fetched, &raw)
                }
                Body::File(spooled) => {
                    let path = spooled.path().to_owned();
                    self.mask_file(&path).map_err(|cause| spool_failed(&path, cause))?
                }
            },
        };
        if found {
            fetched.headers.remove(http::header::CONTENT_ENCODING);
        }
        Ok(found)
    }

    fn mask_bytes(&self, fetched: &mut Fetched, plain: &Bytes) -> bool {
        if !self.0.iter().any(|secret| memchr::memmem::find(plain, secret.as_bytes()).is_some()) {
            return false;
        }
        let mut blanked = plain.to_vec();
        self.blank(&mut blanked);
        fetched.body = Body::Memory(Bytes::from(blanked));
        true
    }

    /// Values of headers, echoes blanked out.
    pub(crate) fn mask_headers(&self, headers: &mut [(&str, Cow<'_, str>)]) {
        for (_, value) in headers {
            for secret in &self.0 {
                if value.contains(secret.as_str()) {
                    *value = value.replace(secret.as_str(), "***").into();
                }
            }
        }
    }

    fn blank(&self, body: &mut [u8]) -> bool {
        let mut found = false;
        for secret in &self.0 {
            let mut from = 0;
            while let Some(at) = memchr::memmem::find(&body[from..], secret.as_bytes()) {
                let start = from + at;
                body[start..start + secret.len()].fill(b'*');
                from = start + secret.len();
                found = true;
            }
        }
        found
    }

    /// Blanks out echoes in a file, in place, by windows that overlap by the longest secret.
    fn mask_file(&self, path: &Path) -> std::io::Result<bool> {
        let overlap = self.0.first().map_or(0, String::len).saturating_sub(1);
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut window = Vec::with_capacity(WINDOW_BYTES + overlap);
        let (mut start, mut found) = (0_u64, false);
        loop {
            let kept = window.len();
            file.seek(SeekFrom::Start(start + kept as u64))?;
            let read =
                Read::by_ref(&mut file).take(WINDOW_BYTES as u64).read_to_end(&mut window)?;
            if self.blank(&mut window) {
                found = true;
                file.seek(SeekFrom::Start(start))?;
                file.write_all(&window)?;
            }
            if read == 0 {
                return Ok(found);
            }
            let passed = window.len().saturating_sub(overlap);
            window.drain(..passed);
            start += passed as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(vec!["s3cr3t-token".to_owned(), "abc".to_owned()])
    }

    #[test]
    fn echoes_are_blanked_to_their_length_and_short_secrets_are_left() {
        let mut body = b"{\"token\":\"s3cr3t-token\",\"other\":\"abc\"}".to_vec();
        assert!(secrets().blank(&mut body));
        assert_eq!(body, b"{\"token\":\"************\",\"other\":\"abc\"}");
    }

    #[test]
    fn an_echo_across_two_windows_of_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        for offset in
            [0, 7, WINDOW_BYTES - 12, WINDOW_BYTES - 5, WINDOW_BYTES, 2 * WINDOW_BYTES - 1]
        {
            let mut body = vec![b'x'; 3 * WINDOW_BYTES];
            body[offset..offset + 12].copy_from_slice(b"s3cr3t-token");
            std::fs::write(&path, &body).unwrap();
            assert!(secrets().mask_file(&path).unwrap(), "at {offset}");
            body[offset..offset + 12].fill(b'*');
            assert!(std::fs::read(&path).unwrap() == body, "at {offset}");
            assert!(!secrets().mask_file(&path).unwrap());
        }
    }
}
