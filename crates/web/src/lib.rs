//! The HTTP face of the program: ids for scripts in any language, and whether the server is well.
//!
//! | asked | answered |
//! | --- | --- |
//! | `POST /v1/ids?kind=int&count=1000`, or these in a JSON object or a form as the body | `{"kind":"int","ids":[...]}`; `kind`: `int`, `block`, `uuid` |
//! | the same with `&format=text` | one id a line |
//! | `GET /v1/health` | `{"status":"ok"}` |
//!
//! There are no accounts here: it is bound to loopback unless told otherwise. Requests that a browser
//! makes for a page (they carry `Origin`) are refused, so that no web page can use up ids.

mod ids;

pub use ids::{IdKind, IdSource, Ids, Refusal};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers under way may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Answers requests until `stop` is ready, and then those under way.
///
/// Needs a tokio runtime with I/O and time. A connection that fails is no failure of the server.
pub fn serve(
    listener: TcpListener,
    ids: Arc<dyn IdSource>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(run(listener, ids, stop))
}

async fn run(
    listener: TcpListener,
    ids: Arc<dyn IdSource>,
    mut stop: Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let ids = Arc::clone(&ids);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| answer(request, Arc::clone(&ids)));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX);
            // A client that goes away is its own affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // Clients that keep their connection open without asking are not waited for.
    let _ = tokio::time::timeout(DRAIN, finished).await;
}

async fn answer(
    request: Request<Incoming>,
    ids: Arc<dyn IdSource>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if request.headers().contains_key(header::ORIGIN) {
        return Ok(refused(StatusCode::FORBIDDEN, "not for web pages"));
    }
    let answer = match (&method, &*path) {
        (&Method::GET, "/v1/health") => text(StatusCode::OK, JSON, "{\"status\":\"ok\"}".into()),
        (&Method::POST, "/v1/ids") => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
                Ok(body) => ids::answer(&query, &body.to_bytes(), ids).await,
                Err(_) => refused(StatusCode::BAD_REQUEST, "the body is too long, or broke off"),
            }
        }
        (_, "/v1/health") => allowed("GET"),
        (_, "/v1/ids") => allowed("POST"),
        _ => refused(StatusCode::NOT_FOUND, "there are `POST /v1/ids` and `GET /v1/health`"),
    };
    Ok(answer)
}

/// What is asked for is short.
const BODY_BYTES_MAX: usize = 4096;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    text(status, JSON, serde_json::json!({ "error": why }).to_string())
}

fn allowed(method: &'static str) -> Response<Full<Bytes>> {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, &format!("only {method}"));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(method));
    response
}
