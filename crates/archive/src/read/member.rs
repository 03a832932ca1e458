//! One member: gzip, WARC fields, HTTP head, body, in this order and no further.

use super::Record;
use crate::{digest::Running, port::ArchiveError, record::RECORD_END, reference::ArchiveRef};
use flate2::bufread::GzDecoder;
use std::{
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

/// The most bytes that the fields of a record, or an archived HTTP head, may have.
const HEAD_LIMIT_BYTES: u64 = 4 << 20;

/// Counts what is taken from a reader, to know where members begin.
#[derive(Debug)]
pub(super) struct Counted<R> {
    input: R,
    offset: u64,
}

impl<R> Counted<R> {
    pub(super) fn new(input: R) -> Self {
        Self::starting_at(input, 0)
    }

    pub(super) fn starting_at(input: R, offset: u64) -> Self {
        Self { input, offset }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
    }
}

/// What was found wrong inside a member.
enum Flaw {
    /// The bytes end or are no gzip member.
    Bytes(io::Error),
    /// The member is whole, so far, and not a record.
    Form(&'static str),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Bytes(error)
    }
}

/// Reads the member at the input's place and leaves the input behind it, also when the record in it
/// cannot be understood.
pub(super) fn read_member<R: BufRead>(
    input: &mut Counted<R>,
    file: &str,
    body_limit_bytes: u64,
) -> Result<Record, ArchiveError> {
    let offset = input.offset;
    let mut inflated = BufReader::with_capacity(32 << 10, GzDecoder::new(&mut *input));
    let parsed = parse(&mut inflated, body_limit_bytes);
    // To the end: the checksum stands there, and the next member behind it.
    let rest = io::copy(&mut inflated, &mut io::sink());
    let length = input.offset - offset;
    let at = ArchiveRef { file: file.to_owned(), offset, length };
    let parsed = match (parsed, rest) {
        (Err(Flaw::Bytes(error)), _) | (_, Err(error)) => return Err(broken(at, error)),
        (Err(Flaw::Form(reason)), Ok(_)) => return Err(ArchiveError::Malformed { at, reason }),
        (Ok(_), Ok(1..)) => {
            return Err(ArchiveError::Malformed { at, reason: "bytes follow the record" });
        }
        (Ok(parsed), Ok(0)) => parsed,
    };
    let (mut record, found) = parsed;
    record.at = at;
    if record.kind() == "response"
        && let Some(expected) = record.field("WARC-Payload-Digest").and_then(|t| t.parse().ok())
        && expected != found
    {
        return Err(ArchiveError::DigestMismatch { at: record.at, expected, found });
    }
    Ok(record)
}

fn broken(at: ArchiveRef, error: io::Error) -> ArchiveError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => ArchiveError::Torn {
            file: at.file,
            offset: at.offset,
            reason: "the file ends inside the record".to_owned(),
        },
        InvalidData | InvalidInput => {
            ArchiveError::Torn { file: at.file, offset: at.offset, reason: error.to_string() }
        }
        _ => ArchiveError::io("read", &PathBuf::from(at.file))(error),
    }
}

fn parse(input: &mut impl BufRead, body_limit_bytes: u64) -> Result<(Record, model::Digest), Flaw> {
    let head = head(input, HEAD_LIMIT_BYTES)?;
    let mut lines = head.lines();
    if !lines.next().is_some_and(|line| line.starts_with("WARC/1.")) {
        return Err(Flaw::Form("it does not begin with `WARC/1.`"));
    }
    let mut record = Record {
        at: ArchiveRef { file: String::new(), offset: 0, length: 0 },
        fields: fields(lines),
        http: None,
        body: Vec::new(),
        body_bytes: 0,
    };
    let block_bytes: Option<u64> = record.field("Content-Length").and_then(|t| t.parse().ok());
    let block_bytes = block_bytes.ok_or(Flaw::Form("it has no content length"))?;
    let mut block = input.take(block_bytes);
    let is_http = record.field("Content-Type").is_some_and(|t| t.starts_with("application/http"));
    if is_http && block_bytes > 0 {
        record.http = Some(http(&mut block)?);
    }
    let digest = body(&mut block, body_limit_bytes, &mut record)?;
    let mut end = [0; RECORD_END.len()];
    input.read_exact(&mut end)?;
    if end != RECORD_END {
        return Err(Flaw::Form("its content is longer than its content length"));
    }
    Ok((record, digest))
}

/// Everything to the first empty line.
fn head(input: &mut impl BufRead, limit_bytes: u64) -> Result<String, Flaw> {
    let mut head = Vec::new();
    let mut limited = input.take(limit_bytes);
    loop {
        let start = head.len();
        limited.read_until(b'\n', &mut head)?;
        match &head[start..] {
            b"\r\n" | b"\n" => {
                head.truncate(start);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            [.., b'\n'] => {}
            _ if limited.limit() == 0 => return Err(Flaw::Form("its head does not end")),
            _ => return Err(Flaw::Bytes(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let split = lines.filter_map(|line| line.split_once(':'));
    split.map(|(name, value)| (name.to_owned(), value.trim_ascii().to_owned())).collect()
}

fn http<R: BufRead>(block: &mut io::Take<R>) -> Result<(u16, Vec<(String, String)>), Flaw> {
    const REASON: &str = "its HTTP head cannot be read";
    let limit_bytes = block.limit().min(HEAD_LIMIT_BYTES);
    let head = head(block, limit_bytes)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/")?.split(' ').nth(1));
    let status = status.and_then(|text| text.parse().ok()).ok_or(Flaw::Form(REASON))?;
    Ok((status, fields(lines)))
}

/// Reads the rest of the block, digests all of it and keeps what fits.
fn body<R: BufRead>(
    block: &mut io::Take<R>,
    limit_bytes: u64,
    record: &mut Record,
) -> Result<model::Digest, Flaw> {
    let mut running = Running::default();
    while block.limit() > 0 {
        let piece = block.fill_buf()?;
        if piece.is_empty() {
            return Err(Flaw::Bytes(io::ErrorKind::UnexpectedEof.into()));
        }
        running.update(piece);
        let room = limit_bytes.saturating_sub(record.body.len() as u64);
        let kept = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        record.body.extend_from_slice(&piece[..kept]);
        record.body_bytes += piece.len() as u64;
        let count = piece.len();
        block.consume(count);
    }
    Ok(running.finish())
}
