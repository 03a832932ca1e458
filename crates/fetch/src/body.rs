//! A body as received, in memory or in a file, and how it is collected within its bounds.

use crate::{
    deadline::Deadline,
    page::{self, Look},
    request::{FetchLimits, Truncated},
    spool::{Spool, SpoolFile},
    transport::{BodyStream, TransportError},
};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use std::{
    io::{self, Read, Write},
    path::Path,
};

/// How much of a body is kept of one that promises to be too long: enough to see what it is.
const HEAD_OF_TOO_LONG_BYTES: u64 = 64 << 10;
/// How much is written to a file at once.
const WRITE_BYTES: usize = 1 << 20;

/// A body as received: after transfer decoding, before content decoding.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file, deleted with the last holder.
    File(SpoolFile),
}

impl Body {
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
}

/// What a body is collected with.
#[derive(Debug)]
pub(crate) struct Collecting<'a> {
    pub(crate) limits: &'a FetchLimits,
    pub(crate) headers: &'a HeaderMap,
    /// What `Content-Length` promises, where it speaks of this body.
    pub(crate) promised_bytes: Option<u64>,
    /// The most that is taken.
    pub(crate) limit_bytes: u64,
    /// Whether a web page would be the wrong answer, of which less is taken.
    pub(crate) watch_for_html: bool,
}

/// What was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) body: Body,
    pub(crate) received_bytes: u64,
    pub(crate) truncated: Option<Truncated>,
    /// Why it is truncated; empty if it is not.
    pub(crate) reason: String,
    pub(crate) look: Look,
}

impl Collecting<'_> {
    /// Reads a body until its end, a bound, or the end of time.
    pub(crate) async fn run(&self, mut stream: BodyStream, deadline: &mut Deadline) -> Collected {
        let mut store = Store::new(self.promised_bytes, self.limits);
        let mut look = if self.watch_for_html { Look::Undecided } else { Look::Other };
        let (mut limit_bytes, mut limit_name) = self.first_limit();
        let (truncated, reason) = loop {
            deadline.allow_silence(self.limits.idle_timeout);
            let mut chunk = match deadline.guard(stream.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break self.at_the_end(store.bytes),
                Ok(Some(Err(error @ TransportError::Timeout { .. }))) => {
                    break (Some(Truncated::Time), error.chain());
                }
                Ok(Some(Err(error))) => break (Some(Truncated::Disconnect), error.chain()),
                Err(_) => break (Some(Truncated::Time), Self::too_slow(store.bytes, deadline)),
            };
            if look == Look::Undecided {
                look = page::look(self.headers, store.start(), &chunk);
                if look == Look::Html && self.limits.html_limit_bytes < limit_bytes {
                    (limit_bytes, limit_name) = (self.limits.html_limit_bytes, "of a web page");
                }
            }
            let room = limit_bytes.saturating_sub(store.bytes);
            let too_long = chunk.len() as u64 > room;
            if too_long {
                chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            }
            if let Err(error) = store.push(chunk).await {
                break (Some(Truncated::Length), store.no_room(&error));
            }
            if too_long {
                let reason = format!("the body is longer than the limit {limit_name}");
                break (Some(Truncated::Length), self.with_promise(reason));
            }
        };
        let received_bytes = store.bytes;
        match store.finish().await {
            Ok(body) => Collected { body, received_bytes, truncated, reason, look },
            Err(error) => Collected {
                body: Body::Memory(Bytes::new()),
                received_bytes,
                truncated: Some(Truncated::Length),
                reason: no_room(&self.limits.spool_dir, &error),
                look,
            },
        }
    }

    /// One that promises to be too long is not read to the bound in vain.
    fn first_limit(&self) -> (u64, &'static str) {
        match self.promised_bytes {
            Some(promised) if promised > self.limit_bytes => {
                (self.limit_bytes.min(HEAD_OF_TOO_LONG_BYTES), "of a body")
            }
            _ => (self.limit_bytes, "of a body"),
        }
    }

    fn at_the_end(&self, received_bytes: u64) -> (Option<Truncated>, String) {
        match self.promised_bytes {
            Some(promised) if promised > received_bytes => (
                Some(Truncated::Disconnect),
                format!("the body ended after {received_bytes} of {promised} promised bytes"),
            ),
            _ => (None, String::new()),
        }
    }

    fn with_promise(&self, reason: String) -> String {
        match self.promised_bytes {
            Some(promised) => format!("{reason}: {promised} bytes are promised"),
            None => reason,
        }
    }

    fn too_slow(received_bytes: u64, deadline: &Deadline) -> String {
        let elapsed_s = deadline.elapsed().as_secs_f64();
        format!("the body did not end in time: {received_bytes} bytes after {elapsed_s:.1} s")
    }
}

/// Memory first, then a file.
#[derive(Debug)]
struct Store<'a> {
    limits: &'a FetchLimits,
    promised_bytes: Option<u64>,
    /// The only chunk so far: most bodies need no copy.
    first: Bytes,
    more: BytesMut,
    spool: Option<Spool>,
    bytes: u64,
}

impl<'a> Store<'a> {
    fn new(promised_bytes: Option<u64>, limits: &'a FetchLimits) -> Self {
        Self {
            limits,
            promised_bytes,
            first: Bytes::new(),
            more: BytesMut::new(),
            spool: None,
            bytes: 0,
        }
    }

    /// What is held in memory of the body's start.
    fn start(&self) -> &[u8] {
        if self.more.is_empty() { &self.first } else { &self.more }
    }

    async fn push(&mut self, chunk: Bytes) -> io::Result<()> {
        self.bytes += chunk.len() as u64;
        if self.bytes == chunk.len() as u64 {
            self.first = chunk;
        } else {
            if !self.first.is_empty() {
                self.more.reserve(self.expected_bytes(chunk.len()));
                self.more.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.more.extend_from_slice(&chunk);
        }
        let is_full = match self.spool {
            Some(_) => self.more.len() >= WRITE_BYTES,
            None => self.bytes > self.limits.memory_limit_bytes,
        };
        if is_full { self.write_out().await } else { Ok(()) }
    }

    fn expected_bytes(&self, chunk_bytes: usize) -> usize {
        let promised = self.promised_bytes.unwrap_or(0).min(self.limits.memory_limit_bytes);
        (self.first.len() + chunk_bytes).max(usize::try_from(promised).unwrap_or(0))
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let first = std::mem::take(&mut self.first);
        let mut more = std::mem::take(&mut self.more);
        let spool = self.spool.take();
        let dir = if spool.is_none() { Some(self.limits.spool_dir.clone()) } else { None };
        let written = tokio::task::spawn_blocking(move || {
            let mut spool = match (spool, dir) {
                (Some(spool), _) => spool,
                (None, dir) => Spool::create(&dir.unwrap_or_default())?,
            };
            spool.write_all(&first)?;
            spool.write_all(&more)?;
            more.clear();
            Ok::<_, io::Error>((spool, more))
        })
        .await;
        let (spool, more) = written.map_err(io::Error::other)??;
        self.spool = Some(spool);
        self.more = more;
        Ok(())
    }

    async fn finish(mut self) -> io::Result<Body> {
        if self.spool.is_some() && !self.more.is_empty() {
            self.write_out().await?;
        }
        Ok(match self.spool {
            Some(spool) => Body::File(spool.finish()),
            None if self.more.is_empty() => Body::Memory(self.first),
            None => Body::Memory(self.more.freeze()),
        })
    }

    fn no_room(&self, error: &io::Error) -> String {
        no_room(&self.limits.spool_dir, error)
    }
}

fn no_room(spool_dir: &Path, error: &io::Error) -> String {
    format!("the body could not be kept in `{}`: {error}", spool_dir.display())
}
