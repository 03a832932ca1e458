//! A server that says exactly the bytes a test gives it, and remembers what it was asked.

use fetch::{FetchLimits, FetchRequest, Fetched, HyperTransport, TransportSettings, Url, fetch};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

/// What is done for one request.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    Say(Vec<u8>),
    /// Says it until nobody listens.
    SayForever(Vec<u8>),
    /// Says a byte, waits, says the next.
    Drip(Vec<u8>, Duration),
    /// Keeps the connection and says nothing more.
    Hang,
    Close,
}

pub(crate) fn say(text: impl AsRef<[u8]>) -> Vec<Do> {
    vec![Do::Say(text.as_ref().to_vec())]
}

pub(crate) fn json(body: &str) -> Vec<Do> {
    say(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

pub(crate) fn status(line: &str, headers: &str, body: &str) -> Vec<Do> {
    say(format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = dyn Fn(&str) -> Vec<Do> + Send + Sync;

impl Server {
    /// Answers each request by its head (`GET /path HTTP/1.1` and headers).
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<Do> + Send + Sync + 'static) -> Self {
        Self::with_tls(None, answer).await
    }

    pub(crate) async fn with_tls(
        tls: Option<tokio_rustls::TlsAcceptor>,
        answer: impl Fn(&str) -> Vec<Do> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            asked: Arc::default(),
        };
        let (accepted, asked) = (server.accepted.clone(), server.asked.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (answer, asked, tls) = (answer.clone(), asked.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(socket, &*answer, &asked).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                converse(socket, &*answer, &asked).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    answer: &Answer,
    asked: &Mutex<Vec<String>>,
) {
    let mut buffer = Vec::new();
    loop {
        let head_bytes = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut block = [0; 4096];
            match socket.read(&mut block).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&block[..read]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_bytes]).into_owned();
        // Bodies of requests in these tests come in one piece with their head, or are short.
        let length = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        while buffer.len() < head_bytes + length {
            let mut block = [0; 4096];
            let read = socket.read(&mut block).await.unwrap();
            buffer.extend_from_slice(&block[..read]);
        }
        buffer.drain(..head_bytes + length);
        asked.lock().unwrap().push(head.clone());
        for step in answer(&head) {
            if !act(&mut socket, step).await {
                return;
            }
        }
    }
}

/// Whether the conversation goes on.
async fn act<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S, step: Do) -> bool {
    match step {
        Do::Say(bytes) => socket.write_all(&bytes).await.is_ok() && socket.flush().await.is_ok(),
        Do::SayForever(bytes) => {
            while socket.write_all(&bytes).await.is_ok() {}
            false
        }
        Do::Drip(bytes, pause) => {
            for byte in bytes {
                if socket.write_all(&[byte]).await.is_err() {
                    return false;
                }
                tokio::time::sleep(pause).await;
            }
            true
        }
        Do::Hang => {
            std::future::pending::<()>().await;
            false
        }
        Do::Close => {
            drop(socket.shutdown().await);
            false
        }
    }
}

/// The value of a header in a head.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Small limits, so that tests are quick.
pub(crate) fn limits() -> FetchLimits {
    FetchLimits {
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(10),
        body_limit_bytes: 1 << 20,
        decoded_limit_bytes: 4 << 20,
        html_limit_bytes: 16 << 10,
        memory_limit_bytes: 64 << 10,
        header_limit_bytes: 8 << 10,
        ..FetchLimits::default()
    }
}

pub(crate) fn get(url: Url) -> FetchRequest {
    get_within(url, limits())
}

pub(crate) fn get_within(url: Url, limits: FetchLimits) -> FetchRequest {
    FetchRequest {
        method: http::Method::GET,
        url,
        headers: Arc::default(),
        validators: None,
        body: bytes::Bytes::new(),
        limits: Arc::new(limits),
        expects_json: true,
    }
}

pub(crate) fn with_headers(
    mut request: FetchRequest,
    headers: &[(&'static str, &str)],
) -> FetchRequest {
    let map = Arc::make_mut(&mut request.headers);
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    request
}

pub(crate) fn transport() -> HyperTransport {
    HyperTransport::new(&TransportSettings::default()).unwrap()
}

pub(crate) async fn attempt(request: FetchRequest) -> Fetched {
    attempt_with(&transport(), request).await
}

pub(crate) async fn attempt_with(transport: &HyperTransport, request: FetchRequest) -> Fetched {
    fetch(transport, request, "2026-11-19T12:00:00Z".parse().unwrap()).await
}

/// Numbered lines of 8 bytes.
pub(crate) fn numbered_lines(count: u32) -> String {
    (0..count).fold(String::new(), |text, number| text + &format!("{number:07}\n"))
}
