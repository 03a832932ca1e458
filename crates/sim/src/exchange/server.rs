//! The HTTP server: parses little, waits for nothing, keeps one small lock.

use super::{ExchangeSettings, Faults, World, chance::draw, faults::Fault};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
        IF_NONE_MATCH, RETRY_AFTER, VARY,
    },
};
use http_body::{Body, Frame, SizeHint};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::civil::Date;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    future::ready,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const BLOCK_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Attention required</title></head>\
    <body><h1>Access denied</h1><p>Please complete the captcha to prove that you are not a robot.\
    </p></body></html>\n";

/// How long to wait after the system had no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// An open exchange; dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Exchange {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What an exchange has answered so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExchangeLog {
    /// Answers by HTTP status. Wrong answers under 200 are counted here too.
    pub by_status: BTreeMap<u16, u64>,
    /// Bodies that broke off.
    pub truncated: u64,
    /// Bodies without a byte where JSON was due.
    pub empty_bodies: u64,
    /// Block pages.
    pub block_pages: u64,
    /// Answers with a renamed field.
    pub renamed: u64,
    /// Right answers with a record.
    pub records: u64,
}

impl ExchangeLog {
    /// All answers.
    pub fn requests(&self) -> u64 {
        self.by_status.values().sum()
    }
}

impl Exchange {
    /// What was answered until now.
    pub fn log(&self) -> ExchangeLog {
        self.shared.changing().log.clone()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Shared {
    world: Arc<World>,
    settings: ExchangeSettings,
    changing: Mutex<Changing>,
}

struct Changing {
    log: ExchangeLog,
    /// Requests answered so far, by cell.
    numbers: Vec<u32>,
    bucket: Bucket,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

pub(super) async fn start(world: Arc<World>, settings: ExchangeSettings) -> io::Result<Exchange> {
    let port = settings.port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("port {port} of 127.0.0.1 is taken by another program; choose another one")
            }
            _ => format!("cannot listen on port {port} of 127.0.0.1: {error}"),
        };
        io::Error::new(error.kind(), text)
    })?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared {
        changing: Mutex::new(Changing {
            log: ExchangeLog::default(),
            numbers: vec![0; world.cells()],
            bucket: Bucket::full(settings.rate_per_second, (settings.mono)()),
        }),
        world,
        settings,
    });
    let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
    Ok(Exchange { address, shared, accepting })
}

/// Owns the connections: when this is aborted, they are too.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it answers may wait for the client's acknowledgement; only slower, so not fatal.
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                ready(Ok::<_, Infallible>(shared.respond(&request)))
            });
            let mut http = http1::Builder::new();
            // The world's clock is not the machine's.
            http.auto_date_header(false);
            // A connection ends with an error whenever a body breaks off: on purpose.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Sent> {
        let mono = (self.settings.mono)();
        // By itself: a `match` on it would hold the lock through its arms.
        let admission = self.changing().bucket.take(mono);
        let response = match admission {
            Ok(()) => self.judge(request),
            Err(seconds) => later(StatusCode::TOO_MANY_REQUESTS, seconds),
        };
        let mut changing = self.changing();
        *changing.log.by_status.entry(response.status().as_u16()).or_default() += 1;
        response
    }

    fn judge<B>(&self, request: &Request<B>) -> Response<Sent> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        let Some(entity) = path.strip_prefix(self.world.path_prefix()).and_then(decoded) else {
            return plain(StatusCode::NOT_FOUND, "there is nothing here\n");
        };
        let Some(day) = day(request.uri().query().unwrap_or_default()) else {
            return plain(StatusCode::BAD_REQUEST, "ask with ?date=YYYY-MM-DD\n");
        };
        let fault = self.fault(&entity, day);
        match fault {
            Some(Fault::ServerError) => {
                return plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong\n");
            }
            Some(Fault::Unavailable) => return later(StatusCode::SERVICE_UNAVAILABLE, 1),
            Some(Fault::EmptyBody) => {
                self.changing().log.empty_bodies += 1;
                return with_type(StatusCode::OK, JSON, Bytes::new());
            }
            Some(Fault::BlockPage) => {
                self.changing().log.block_pages += 1;
                return with_type(StatusCode::OK, HTML, Bytes::from_static(BLOCK_PAGE.as_bytes()));
            }
            Some(Fault::Truncated) | None => {}
        }
        let Some(answer) = self.world.answer(&entity, day, (self.settings.clock)()) else {
            return plain(StatusCode::NOT_FOUND, "no such entity\n");
        };
        let is_truncated = fault == Some(Fault::Truncated);
        let response = answered(request.headers(), answer.body, is_truncated);
        if response.status() == StatusCode::OK {
            let log = &mut self.changing().log;
            log.truncated += u64::from(is_truncated);
            log.renamed += u64::from(answer.is_renamed);
            log.records += (answer.total as u64) * u64::from(!is_truncated && !answer.is_renamed);
        }
        response
    }

    /// Counts the request for its cell and tells what goes wrong with it.
    fn fault(&self, entity: &str, day: Date) -> Option<Fault> {
        let cell = self.world.cell(entity, day)?;
        let mut changing = self.changing();
        let number = changing.numbers.get_mut(cell)?;
        let this = *number;
        *number = number.saturating_add(1);
        drop(changing);
        Faults::decide(&self.settings.faults, self.settings.seed, cell, this)
    }
}

/// A right answer, as the client wants it: unchanged, packed or plain; or half of it.
fn answered(headers: &HeaderMap, body: String, is_truncated: bool) -> Response<Sent> {
    let tag = format!("{:016x}", draw(0, &body, [0, 0]));
    if !is_truncated && is_known(headers, &tag) {
        let mut response = Response::new(Sent::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        insert(response.headers_mut(), ETAG, &format!("W/\"{tag}\""));
        return response;
    }
    let packed = is_gzip_accepted(headers).then(|| gzip(body.as_bytes())).and_then(Result::ok);
    let is_packed = packed.is_some();
    let body = packed.map_or_else(|| Bytes::from(body), Bytes::from);
    let length = body.len();
    let mut response = with_type(StatusCode::OK, JSON, body);
    if is_truncated {
        response.body_mut().breaks_off(length / 2);
    }
    let headers = response.headers_mut();
    insert(headers, CONTENT_LENGTH, &length.to_string());
    insert(headers, ETAG, &format!("W/\"{tag}\""));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        known.split(',').any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one).trim_matches('"') == tag
        })
    })
}

fn is_gzip_accepted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|codings| {
        codings.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip"
                && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    })
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len()), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// An entity's path segment without its percent-encoding.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().filter(|entity| !entity.is_empty())
}

fn day(query: &str) -> Option<Date> {
    let text = query.split('&').find_map(|pair| pair.strip_prefix("date="))?;
    (text.len() == 10).then(|| text.parse().ok())?
}

fn plain(status: StatusCode, text: &'static str) -> Response<Sent> {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
    with_type(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn later(status: StatusCode, seconds: u64) -> Response<Sent> {
    let mut response = plain(status, "later\n");
    insert(response.headers_mut(), RETRY_AFTER, &seconds.to_string());
    response
}

fn with_type(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Sent> {
    let mut response = Response::new(Sent::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Tokens that come back with time; one a request, at most a second's worth saved.
struct Bucket {
    rate: f64,
    tokens: f64,
    filled_at: f64,
}

impl Bucket {
    fn full(rate: f64, now: f64) -> Self {
        Self { rate, tokens: rate.max(1.0), filled_at: now }
    }

    /// Takes one, or tells in how many whole seconds there is one.
    fn take(&mut self, now: f64) -> Result<(), u64> {
        // Also for a rate that is no number.
        if self.rate.is_nan() || self.rate <= 0.0 {
            return Ok(());
        }
        let elapsed = (now - self.filled_at).max(0.0);
        self.tokens = (self.tokens + elapsed * self.rate).min(self.rate.max(1.0));
        self.filled_at = self.filled_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(((1.0 - self.tokens) / self.rate).ceil().max(1.0) as u64)
    }
}

/// A body in one piece, which may break off.
#[derive(Debug)]
struct Sent {
    piece: Option<Bytes>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Whole,
    /// The server looks busy once more, so that what was sent leaves the house...
    Pause,
    /// ...and then drops the connection.
    Break,
}

impl Sent {
    fn whole(body: Bytes) -> Self {
        Self { piece: Some(body).filter(|body| !body.is_empty()), ending: Ending::Whole }
    }

    fn breaks_off(&mut self, after: usize) {
        if let Some(piece) = &mut self.piece {
            piece.truncate(after);
        }
        self.ending = Ending::Pause;
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.ending {
            Ending::Whole => Poll::Ready(None),
            Ending::Pause => {
                self.ending = Ending::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Break => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_none() && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Whole => SizeHint::with_exact(self.piece.as_ref().map_or(0, Bytes::len) as u64),
            Ending::Pause | Ending::Break => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_lets_the_rate_through_and_says_when_to_come_back() {
        let mut bucket = Bucket::full(10.0, 0.0);
        assert_eq!((0..15).filter(|_| bucket.take(0.0).is_ok()).count(), 10);
        assert_eq!(bucket.take(0.0), Err(1));
        assert_eq!((0..15).filter(|_| bucket.take(0.55).is_ok()).count(), 5);
        assert!(bucket.take(0.0).is_err(), "time that goes back fills nothing");
        assert_eq!((0..15).filter(|_| bucket.take(100.0).is_ok()).count(), 10);
        let mut slow = Bucket::full(0.1, 0.0);
        assert_eq!((slow.take(0.0), slow.take(0.0)), (Ok(()), Err(10)));
        let mut open = Bucket::full(0.0, 0.0);
        assert!((0..1000).all(|_| open.take(0.0).is_ok()));
    }

    #[test]
    fn paths_and_queries_are_read_as_sent() {
        assert_eq!(decoded("BRK%2FA%20%C3%A9").as_deref(), Some("BRK/A é"));
        for bad in ["", "%", "%2", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
        assert!(day("x=1&date=2026-11-19").is_some());
        for bad in ["", "date=", "date=2026-13-01", "date=2026-11-19T00:00", "xdate=2026-11-19"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
