//! Content decoding, bounded: what comes out never grows beyond its limit, and what is cut short is
//! never taken for whole.
//!
//! gzip (one or many members), deflate (with or without its zlib wrapper), and two of them nested.

use crate::{
    body::Body,
    request::FetchLimits,
    spool::{Spool, SpoolFile},
};
use bytes::{Buf, Bytes};
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use std::{
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    ops::Range,
};

/// The most encodings that are taken off one body.
const NESTED_MAX: usize = 2;
const BLOCK_BYTES: usize = 64 << 10;

/// A body without its content encodings.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// In memory; the body as received itself if it was not encoded.
    Memory(Bytes),
    /// In a file, deleted with the last holder.
    File(SpoolFile),
}

/// Why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Encoded in a way that was not asked for.
    #[error("the content encoding `{encoding}` is not supported")]
    Unsupported {
        /// What was found, at most 40 characters.
        encoding: String,
    },
    /// Larger than allowed: a bomb, or a limit that is too low.
    #[error("decoded, the body is longer than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Cut short or damaged.
    #[error("the `{encoding}` data is damaged or cut short after {decoded_bytes} decoded bytes")]
    Broken {
        /// The outermost encoding.
        encoding: &'static str,
        /// How far it went.
        decoded_bytes: u64,
        /// What is wrong.
        #[source]
        cause: io::Error,
    },
    /// Our own disk failed.
    #[error("the body could not be read from or kept in the spool folder")]
    Spool {
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// Takes the content encodings off a body. Blocking; an encoded body costs CPU time.
///
/// # Errors
/// If the encoding is unknown, the data damaged, or more than `decoded_limit_bytes` come out.
pub fn decode(
    body: &Body,
    headers: &HeaderMap,
    limits: &FetchLimits,
) -> Result<Decoded, DecodeError> {
    let encodings = Encodings::of(headers)?;
    let Some(outermost) = encodings.outermost().filter(|_| !body.is_empty()) else {
        return identity(body, limits);
    };
    let source: Box<dyn BufRead> = match body {
        Body::Memory(bytes) => Box::new(bytes.clone().reader()),
        Body::File(file) => {
            let file = file.open().map_err(|cause| DecodeError::Spool { cause })?;
            Box::new(BufReader::with_capacity(BLOCK_BYTES, file))
        }
    };
    let broken = |decoded_bytes: usize, cause| DecodeError::Broken {
        encoding: outermost.as_str(),
        decoded_bytes: decoded_bytes as u64,
        cause,
    };
    let mut reader = encodings.reader(source).map_err(|cause| broken(0, cause))?;
    let mut memory = Vec::new();
    // Small bodies first, in one go; one byte more tells whether that was all.
    let in_memory = limits.memory_limit_bytes.min(limits.decoded_limit_bytes);
    let read = reader.by_ref().take(in_memory.saturating_add(1)).read_to_end(&mut memory);
    read.map_err(|cause| broken(memory.len(), cause))?;
    let bytes = memory.len() as u64;
    if bytes > limits.decoded_limit_bytes {
        return Err(DecodeError::TooLarge { limit_bytes: limits.decoded_limit_bytes });
    }
    if bytes <= in_memory {
        return Ok(Decoded::Memory(memory.into()));
    }
    decode_to_file(&mut *reader, &memory, outermost, limits)
}

fn decode_to_file(
    reader: &mut dyn Read,
    start: &[u8],
    encoding: Encoding,
    limits: &FetchLimits,
) -> Result<Decoded, DecodeError> {
    let failed = |cause| DecodeError::Spool { cause };
    let mut spool = Spool::create(&limits.spool_dir).map_err(failed)?;
    spool.write_all(start).map_err(failed)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => return Ok(Decoded::File(spool.finish())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => {
                return Err(DecodeError::Broken {
                    encoding: encoding.as_str(),
                    decoded_bytes: spool.bytes(),
                    cause,
                });
            }
        };
        if spool.bytes() + read as u64 > limits.decoded_limit_bytes {
            return Err(DecodeError::TooLarge { limit_bytes: limits.decoded_limit_bytes });
        }
        spool.write_all(&block[..read]).map_err(failed)?;
    }
}

fn identity(body: &Body, limits: &FetchLimits) -> Result<Decoded, DecodeError> {
    if body.len() > limits.decoded_limit_bytes {
        return Err(DecodeError::TooLarge { limit_bytes: limits.decoded_limit_bytes });
    }
    Ok(match body {
        Body::Memory(bytes) => Decoded::Memory(bytes.clone()),
        Body::File(file) => Decoded::File(file.clone()),
    })
}

impl Decoded {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.bytes(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, if it is in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// Reads it from its start. Blocking, if it is in a file.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(bytes.clone().reader()),
            Self::File(file) => Box::new(file.open()?),
        })
    }

    /// A part of it, by byte offsets. Blocking, if it is in a file.
    ///
    /// # Errors
    /// `UnexpectedEof` if the range does not lie within it.
    pub fn slice(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("bytes {}..{} of {}", range.start, range.end, self.len()),
            ));
        }
        let offset = |at: u64| usize::try_from(at).map_err(io::Error::other);
        match self {
            Self::Memory(bytes) => Ok(bytes[offset(range.start)?..offset(range.end)?].to_vec()),
            Self::File(file) => {
                let mut file = file.open()?;
                file.seek(SeekFrom::Start(range.start))?;
                let mut part = vec![0; offset(range.end - range.start)?];
                file.read_exact(&mut part)?;
                Ok(part)
            }
        }
    }
}

/// The first bytes of a body without its encodings, as far as they can be had.
pub(crate) fn decoded_start(start: &[u8], headers: &HeaderMap, bytes_max: usize) -> Vec<u8> {
    let mut decoded = Vec::new();
    match Encodings::of(headers) {
        Ok(encodings) if encodings.outermost().is_some() => {
            let source: Box<dyn BufRead> = Box::new(Bytes::copy_from_slice(start).reader());
            if let Ok(reader) = encodings.reader(source) {
                // What came before the damage is all that is asked for.
                drop(reader.take(bytes_max as u64).read_to_end(&mut decoded));
            }
        }
        _ => decoded.extend_from_slice(&start[..start.len().min(bytes_max)]),
    }
    decoded
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// The encodings of a body, in the order in which they were applied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Encodings([Option<Encoding>; NESTED_MAX]);

impl Encodings {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, DecodeError> {
        let mut encodings = Self::default();
        let mut count = 0;
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.as_bytes().split(|byte| *byte == b',') {
                let name = name.trim_ascii();
                let encoding = if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                    continue;
                } else if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip")
                {
                    Encoding::Gzip
                } else if name.eq_ignore_ascii_case(b"deflate") {
                    Encoding::Deflate
                } else {
                    return Err(unsupported(name));
                };
                let slot = encodings.0.get_mut(count).ok_or_else(|| {
                    unsupported(format!("more than {NESTED_MAX} nested").as_bytes())
                })?;
                *slot = Some(encoding);
                count += 1;
            }
        }
        Ok(encodings)
    }

    pub(crate) fn outermost(self) -> Option<Encoding> {
        self.0.into_iter().flatten().next_back()
    }

    fn reader(self, source: Box<dyn BufRead>) -> io::Result<Box<dyn Read>> {
        let mut encodings = self.0.into_iter().flatten().rev();
        let Some(outer) = encodings.next() else { return Ok(source) };
        let mut reader = decoder(outer, source)?;
        for inner in encodings {
            reader = decoder(inner, Box::new(BufReader::new(reader)))?;
        }
        Ok(reader)
    }
}

fn unsupported(name: &[u8]) -> DecodeError {
    let encoding = String::from_utf8_lossy(name).escape_debug().take(40).collect();
    DecodeError::Unsupported { encoding }
}

fn decoder(encoding: Encoding, mut source: Box<dyn BufRead>) -> io::Result<Box<dyn Read>> {
    Ok(match encoding {
        Encoding::Gzip => Box::new(GzipMembers { member: Some(GzDecoder::new(source)) }),
        // The name means the zlib format (RFC 9110, 8.4.1.2); some servers send raw deflate.
        Encoding::Deflate => match *source.fill_buf()? {
            [method, flags, ..]
                if method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31) =>
            {
                Box::new(ZlibDecoder::new(source))
            }
            _ => Box::new(DeflateDecoder::new(source)),
        },
    })
}

/// All members of a gzip file, one after the other; zeros behind the last are padding.
struct GzipMembers<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(ended) = self.member.take() else { break };
            let mut rest = ended.into_inner();
            if !skip_padding(&mut rest)? {
                self.member = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Skips zeros; whether the end is reached.
fn skip_padding(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = rest.fill_buf()?;
        if buffer.is_empty() {
            return Ok(true);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let is_all = zeros == buffer.len();
        rest.consume(zeros);
        if !is_all {
            return Ok(false);
        }
    }
}
