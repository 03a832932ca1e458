//! The real network: hyper with rustls and ring, HTTP/1.1 and HTTP/2, connections reused.

use crate::{
    address::is_public,
    connections::{Answer, Connections, Fault, Lease},
    transport::{BodyStream, BoxError, BoxFuture, Phase, Reach, Transport, TransportError},
};
use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};
use tokio::net::TcpStream;
use tower_service::Service;

/// How the real network is used.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// How long name, connection and TLS may take together.
    pub connect_timeout: Duration,
    /// How long a connection without work is kept.
    pub pool_idle_timeout: Duration,
    /// How many connections without work are kept per host.
    pub pool_idle_max_per_host: usize,
    /// The most bytes of an answer's head, at least 8192.
    pub head_limit_bytes: usize,
    /// Who we are, unless a request says so itself.
    pub user_agent: String,
    /// Certificates to trust beside the machine's own, each PEM (one or more) or DER.
    pub extra_root_certificates: Vec<Vec<u8>>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_mins(1),
            pool_idle_max_per_host: 256,
            head_limit_bytes: 256 << 10,
            user_agent: concat!("tidewatch/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_root_certificates: Vec::new(),
        }
    }
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportSetupError {
    /// Not usable as a header's value.
    #[error("the user agent `{user_agent}` has characters that a header cannot carry")]
    UserAgent {
        /// What was found.
        user_agent: String,
    },
    /// Neither PEM nor DER.
    #[error("extra root certificate {number} is neither PEM nor DER of a certificate")]
    RootCertificate {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        cause: BoxError,
    },
    /// No TLS on this machine.
    #[error("TLS could not be set up")]
    Tls {
        /// What is wrong.
        #[source]
        cause: rustls::Error,
    },
}

/// The real network.
///
/// Connections are shared by all requests of a transport, apart for each [`Reach`].
pub struct HyperTransport {
    any: Connections,
    public_only: Connections,
    user_agent: HeaderValue,
    has_roots: bool,
}

impl fmt::Debug for HyperTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperTransport")
            .field("user_agent", &self.user_agent)
            .field("has_roots", &self.has_roots)
            .finish_non_exhaustive()
    }
}

impl HyperTransport {
    /// A transport with the machine's root certificates, which are read once a process.
    ///
    /// A machine without any is no error here: only `https` fails then, and says why.
    pub fn new(settings: &TransportSettings) -> Result<Self, TransportSetupError> {
        let user_agent = HeaderValue::from_str(&settings.user_agent).map_err(|_| {
            TransportSetupError::UserAgent { user_agent: settings.user_agent.clone() }
        })?;
        let roots = root_certificates(&settings.extra_root_certificates)?;
        let has_roots = !roots.is_empty();
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|cause| TransportSetupError::Tls { cause })?
                .with_root_certificates(roots)
                .with_no_client_auth();
        Ok(Self {
            any: connections(settings, &tls, Reach::Any),
            public_only: connections(settings, &tls, Reach::PublicOnly),
            user_agent,
            has_roots,
        })
    }
}

impl Transport for HyperTransport {
    fn send(
        &self,
        mut request: Request<Bytes>,
        reach: Reach,
    ) -> BoxFuture<'_, Result<Response<BodyStream>, TransportError>> {
        let connections = match reach {
            Reach::Any => &self.any,
            Reach::PublicOnly => &self.public_only,
        };
        Box::pin(async move {
            if !self.has_roots && request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
                return Err(TransportError::NoRootCertificates);
            }
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
            let authority = request.uri().authority().cloned();
            match connections.send(request.map(Full::new)).await {
                Ok(answer) => Ok(into_stream(answer)),
                Err(error) => {
                    let host = authority.map(|host| host.to_string()).unwrap_or_default();
                    Err(transport_error(error, host))
                }
            }
        })
    }
}

fn into_stream(answer: Answer) -> Response<BodyStream> {
    let Answer { response, peer, lease } = answer;
    let (mut head, body) = response.into_parts();
    // Only where an answer leads on does it matter where it came from.
    if let Some(peer) = peer.filter(|_| head.status.is_redirection()) {
        head.extensions.insert(peer);
    }
    Response::from_parts(head, Box::pin(IncomingStream { body, received_bytes: 0, lease }))
}

/// The data frames of a body.
struct IncomingStream {
    body: Incoming,
    received_bytes: u64,
    lease: Option<Lease>,
}

impl Stream for IncomingStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(frame)) => frame,
            };
            let received_bytes = self.received_bytes;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => {
                    self.received_bytes += data.len() as u64;
                    return Poll::Ready(Some(Ok(data)));
                }
                // trailers
                Ok(Err(_)) => {}
                Err(error) => {
                    let cause = Some(error.into());
                    return Poll::Ready(Some(Err(TransportError::Broken {
                        received_bytes,
                        cause,
                    })));
                }
            }
        }
    }
}

fn connections(settings: &TransportSettings, tls: &ClientConfig, reach: Reach) -> Connections {
    let mut tcp = HttpConnector::new_with_resolver(Resolver { system: GaiResolver::new(), reach });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_mins(1)));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    let connect_timeout = settings.connect_timeout;
    Connections::new(Connector { https, reach, connect_timeout }, settings)
}

/// Connects within a time and within a reach.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
    reach: Reach,
    connect_timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An address instead of a name never sees the resolver.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let refused = self.reach == Reach::PublicOnly
            && host.parse::<IpAddr>().is_ok_and(|address| !is_public(address));
        if refused {
            return Box::pin(async { Err(ConnectFault::Refused.into()) });
        }
        let connecting = self.https.call(uri);
        let connect_timeout = self.connect_timeout;
        Box::pin(async move {
            match tokio::time::timeout(connect_timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectFault::Timeout.into()),
            }
        })
    }
}

/// The system's resolver, which gives back no address beyond the reach.
#[derive(Clone)]
struct Resolver {
    system: GaiResolver,
    reach: Reach,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ConnectFault;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectFault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.system.call(name);
        let reach = self.reach;
        Box::pin(async move {
            let mut addresses: Vec<SocketAddr> =
                lookup.await.map_err(ConnectFault::Name)?.collect();
            if reach == Reach::PublicOnly && !addresses.is_empty() {
                addresses.retain(|address| is_public(address.ip()));
                if addresses.is_empty() {
                    return Err(ConnectFault::Refused);
                }
            }
            Ok(addresses.into_iter())
        })
    }
}

/// Why our own connector gave up.
#[derive(Debug, thiserror::Error)]
enum ConnectFault {
    #[error("no address")]
    Name(#[source] io::Error),
    #[error("the address is not public")]
    Refused,
    #[error("timed out")]
    Timeout,
}

fn transport_error(fault: Fault, host: String) -> TransportError {
    match fault {
        Fault::Connect(cause) => connect_error(cause, host),
        Fault::Http(cause) if cause.is_parse_too_large() => TransportError::TooManyHeaders,
        Fault::Http(cause) if cause.is_parse() => TransportError::Protocol { cause: cause.into() },
        Fault::Http(cause) => {
            TransportError::Broken { received_bytes: 0, cause: Some(cause.into()) }
        }
    }
}

fn connect_error(cause: BoxError, host: String) -> TransportError {
    if let Some(fault) = find::<ConnectFault>(&*cause) {
        return match fault {
            ConnectFault::Refused => TransportError::Refused { host },
            ConnectFault::Timeout => TransportError::Timeout { phase: Phase::Connect },
            ConnectFault::Name(cause) => TransportError::Name {
                host,
                cause: io::Error::new(cause.kind(), cause.to_string()),
            },
        };
    }
    if let Some(fault) = find::<rustls::Error>(&*cause) {
        return TransportError::Tls { host, cause: fault.clone().into() };
    }
    TransportError::Connect { host, cause }
}

/// The first error of a type in a chain of causes; looks into `io::Error`, which hides its own.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn root_certificates(extra: &[Vec<u8>]) -> Result<RootCertStore, TransportSetupError> {
    static NATIVE: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let native = NATIVE.get_or_init(|| rustls_native_certs::load_native_certs().certs);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.iter().cloned());
    for (index, text) in extra.iter().enumerate() {
        let refused =
            |cause: BoxError| TransportSetupError::RootCertificate { number: index + 1, cause };
        let is_pem = text.windows(10).any(|window| window == b"-----BEGIN");
        let certificates = if is_pem {
            CertificateDer::pem_slice_iter(text)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| refused(error.into()))?
        } else {
            vec![CertificateDer::from(text.clone())]
        };
        if certificates.is_empty() {
            return Err(refused("it holds no certificate".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| refused(error.into()))?;
        }
    }
    Ok(roots)
}
