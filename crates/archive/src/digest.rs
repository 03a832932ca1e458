//! SHA-256 of bodies, by the processor's own instructions where it has them.

use model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Bytes read at a time from a body that is on disk.
const READ_BYTES: usize = 64 << 10;

/// The digest of a body in memory.
pub fn digest(body: &[u8]) -> Digest {
    Digest(Sha256::digest(body).into())
}

/// The digest of a body on disk, read in pieces. Blocks.
pub fn digest_file(path: impl AsRef<Path>) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut running = Running::default();
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(running.finish()),
            Ok(count) => running.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A digest in the making.
#[derive(Debug, Default)]
pub(crate) struct Running(Sha256);

impl Running {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
