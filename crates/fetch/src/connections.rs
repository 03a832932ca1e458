//! Connections, kept for the next request: of HTTP/1.1 for one at a time, of HTTP/2 for many at once.
//!
//! hyper-util's client, which did this before, starts a task and opens a channel for each answer to
//! learn when its connection is free again. Here whoever reads an answer to its end gives the
//! connection back.
//!
//! A request is written again only if the server closed a reused connection before any of it was sent.

use crate::{
    hyper_transport::{Connector, TransportSettings},
    transport::BoxError,
};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri,
    header::HOST,
    uri::{Parts, PathAndQuery, Scheme},
};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::{
    client::legacy::connect::{Connection, HttpInfo},
    rt::{TokioExecutor, TokioTimer},
};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::time::Instant;
use tower_service::Service;

/// The silence after which an HTTP/2 connection in use is asked whether it lives.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);

type Sent = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There was no connection to ask over.
    Connect(BoxError),
    /// It broke, or what came is not HTTP.
    Http(hyper::Error),
}

/// Connections by scheme and authority. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    idle_timeout: Duration,
    idle_max_per_host: usize,
    head_limit_bytes: usize,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    by_origin: BTreeMap<Origin, Host>,
    /// Whether a task looks for connections that were idle for too long.
    is_swept: bool,
}

/// Whether it is `https`, and the authority.
type Origin = (bool, String);

#[derive(Default)]
struct Host {
    /// The youngest last.
    idle: Vec<(Free, Instant)>,
    /// And when it was last used.
    many: Option<(Many, Instant)>,
}

/// An HTTP/1.1 connection that nobody uses.
struct Free {
    sender: http1::SendRequest<Full<Bytes>>,
    peer: Option<IpAddr>,
    /// The header that its requests need.
    host: HeaderValue,
}

/// An HTTP/2 connection.
#[derive(Clone)]
struct Many {
    sender: http2::SendRequest<Full<Bytes>>,
    peer: Option<IpAddr>,
}

enum Chosen {
    Free(Free),
    Many(Many),
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    /// Where the connection leads to.
    pub(crate) peer: Option<IpAddr>,
    /// To be given back when the body was read to its end; else the connection is closed.
    pub(crate) lease: Option<Lease>,
}

/// The use of an HTTP/1.1 connection.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    origin: Origin,
    free: Free,
}

impl Connections {
    pub(crate) fn new(connector: Connector, settings: &TransportSettings) -> Self {
        let shared = Shared {
            connector,
            idle_timeout: settings.pool_idle_timeout,
            idle_max_per_host: settings.pool_idle_max_per_host,
            head_limit_bytes: settings.head_limit_bytes.max(8192),
            hosts: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends a request, whose URI is absolute, over a kept connection or a new one.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let uri = request.uri().clone();
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let origin = (uri.scheme() == Some(&Scheme::HTTPS), authority.to_owned());
        loop {
            let (chosen, is_reused) = match self.shared.take(&origin).await {
                Some(chosen) => (chosen, true),
                // In a box: most requests find a connection and need no room for making one.
                None => (Box::pin(self.shared.connect(&origin, &uri)).await?, false),
            };
            let (sent, peer, free) = match chosen {
                Chosen::Many(Many { mut sender, peer }) => {
                    *request.uri_mut() = uri.clone();
                    (sender.try_send_request(request).await, peer, None)
                }
                Chosen::Free(mut free) => {
                    *request.uri_mut() = origin_form(&uri);
                    request.headers_mut().entry(HOST).or_insert_with(|| free.host.clone());
                    let sent: Sent = free.sender.try_send_request(request).await;
                    (sent, free.peer, Some(free))
                }
            };
            match sent {
                Ok(response) => {
                    let lease =
                        free.map(|free| Lease { shared: self.shared.clone(), origin, free });
                    return Ok(Answer { response, peer, lease });
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_reused => {
                        self.shared.forget_closed(&origin);
                        request = unsent;
                    }
                    _ => return Err(Fault::Http(error.into_error())),
                },
            }
        }
    }
}

impl Shared {
    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is there and open.
    async fn take(&self, origin: &Origin) -> Option<Chosen> {
        while let Some(chosen) = self.take_kept(origin) {
            match chosen {
                // Its task may still have to note that the last answer is over.
                Chosen::Free(mut free) => {
                    if free.sender.ready().await.is_ok() {
                        return Some(Chosen::Free(free));
                    }
                }
                many @ Chosen::Many(_) => return Some(many),
            }
        }
        None
    }

    fn take_kept(&self, origin: &Origin) -> Option<Chosen> {
        let mut hosts = self.hosts();
        let host = hosts.by_origin.get_mut(origin)?;
        if let Some((many, used_at)) = &mut host.many
            && !many.sender.is_closed()
        {
            *used_at = Instant::now();
            return Some(Chosen::Many(many.clone()));
        }
        // The youngest is the least likely to have been closed by the server.
        let (free, since) = host.idle.pop()?;
        if since.elapsed() < self.idle_timeout {
            return Some(Chosen::Free(free));
        }
        host.idle.clear();
        None
    }

    fn forget_closed(&self, origin: &Origin) {
        if let Some(host) = self.hosts().by_origin.get_mut(origin) {
            host.many = None;
            host.idle.retain(|(free, _)| !free.sender.is_closed());
        }
    }

    async fn connect(self: &Arc<Self>, origin: &Origin, uri: &Uri) -> Result<Chosen, Fault> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(Fault::Connect)?;
        let stream = connector.call(uri.clone()).await.map_err(Fault::Connect)?;
        let connected = stream.connected();
        let mut about = http::Extensions::new();
        connected.get_extras(&mut about);
        let peer = about.get::<HttpInfo>().map(|info| info.remote_addr().ip());
        if !connected.is_negotiated_h2() {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(self.head_limit_bytes);
            let (sender, connection) = builder.handshake(stream).await.map_err(Fault::Http)?;
            // What ends it reaches whoever waits for an answer.
            tokio::spawn(async move { drop(connection.await) });
            let host = host(&origin.1)?;
            return Ok(Chosen::Free(Free { sender, peer, host }));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(H2_PING_INTERVAL)
            .max_header_list_size(u32::try_from(self.head_limit_bytes).unwrap_or(u32::MAX));
        let (sender, connection) = builder.handshake(stream).await.map_err(Fault::Http)?;
        tokio::spawn(async move { drop(connection.await) });
        let mut hosts = self.hosts();
        let kept = &mut hosts.by_origin.entry(origin.clone()).or_default().many;
        // Requests that began together each made one: the first stays, the others go.
        let many = match kept {
            Some((many, _)) if !many.sender.is_closed() => many.clone(),
            _ => kept.insert((Many { sender, peer }, Instant::now())).0.clone(),
        };
        self.sweep_from_now_on(&mut hosts);
        Ok(Chosen::Many(many))
    }

    fn sweep_from_now_on(self: &Arc<Self>, hosts: &mut Hosts) {
        if !std::mem::replace(&mut hosts.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    fn put(self: &Arc<Self>, origin: Origin, free: Free) {
        if free.sender.is_closed() {
            return;
        }
        let mut hosts = self.hosts();
        let host = hosts.by_origin.entry(origin).or_default();
        if host.idle.len() < self.idle_max_per_host {
            host.idle.push((free, Instant::now()));
        }
        self.sweep_from_now_on(&mut hosts);
    }
}

/// Closes connections that nobody used for a while, until there are none.
async fn sweep(shared: Weak<Shared>, idle_timeout: Duration) {
    loop {
        tokio::time::sleep(idle_timeout).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut hosts = shared.hosts();
        hosts.by_origin.retain(|_, host| {
            host.idle
                .retain(|(free, since)| !free.sender.is_closed() && since.elapsed() < idle_timeout);
            host.many.take_if(|(many, used_at)| {
                many.sender.is_closed() || used_at.elapsed() >= idle_timeout
            });
            !host.idle.is_empty() || host.many.is_some()
        });
        if hosts.by_origin.is_empty() {
            hosts.is_swept = false;
            return;
        }
    }
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn give_back(self) {
        self.shared.put(self.origin, self.free);
    }
}

/// A URI as it stands in a request of HTTP/1.1.
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = Parts::default();
    let path = uri.path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // A path alone is always a URI.
    Uri::from_parts(parts).unwrap_or_default()
}

fn host(authority: &str) -> Result<HeaderValue, Fault> {
    let host = authority.rsplit('@').next().unwrap_or_default();
    HeaderValue::from_str(host).map_err(|error| Fault::Connect(error.into()))
}
