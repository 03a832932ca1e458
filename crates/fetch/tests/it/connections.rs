use crate::server::{
    Do, Server, attempt, attempt_with, get, get_within, json, limits, status, transport,
    with_headers,
};
use fetch::{HyperTransport, TransportSettings, TransportSetupError, Url};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::Outcome;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{sync::Arc, time::Duration};
use tokio_rustls::TlsAcceptor;

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start(|head| match head {
        head if head.starts_with("GET /missing") => status("404 Not Found", "", "{}"),
        head if head.starts_with("GET /empty") => status("200 OK", "", ""),
        _ => json("[1]"),
    })
    .await;
    let transport = transport();
    for path in ["/", "/missing", "/empty", "/", "/empty", "/missing", "/"] {
        attempt_with(&transport, get(server.url(path))).await;
        // The connection is back once its task has run.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.accepted(), 1);
    assert_eq!(server.asked().len(), 7);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let server = Server::start(|_| {
        let mut steps = json("[1]");
        steps.push(Do::Close);
        steps
    })
    .await;
    let transport = transport();
    for _ in 0..3 {
        let fetched = attempt_with(&transport, get(server.url("/"))).await;
        assert_eq!(fetched.verdict.outcome, None, "{}", fetched.verdict.detail);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_connection_without_work_is_not_kept_for_ever() {
    let server = Server::start(|_| json("[1]")).await;
    let transport = HyperTransport::new(&TransportSettings {
        pool_idle_timeout: Duration::from_millis(50),
        ..TransportSettings::default()
    })
    .unwrap();
    for _ in 0..2 {
        attempt_with(&transport, get(server.url("/"))).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_that_never_comes_is_given_up_by_the_transport() {
    // The handshake of TLS is a part of connecting; this server never answers it.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (certificate, _) = certificate(&[]);
    let transport = HyperTransport::new(&TransportSettings {
        connect_timeout: Duration::from_millis(100),
        extra_root_certificates: vec![certificate],
        ..TransportSettings::default()
    })
    .unwrap();
    let fetched = attempt_with(&transport, get(url)).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
    assert_eq!(fetched.verdict.detail, "timed out while waiting for the connection");
}

/// A self-signed certificate (DER) for this machine and an acceptor that shows it.
fn certificate(protocols: &[&[u8]]) -> (Vec<u8>, TlsAcceptor) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (signed.cert.der().to_vec(), TlsAcceptor::from(Arc::new(config)))
}

fn trusting(certificate: &[u8]) -> HyperTransport {
    HyperTransport::new(&TransportSettings {
        extra_root_certificates: vec![certificate.to_vec()],
        ..TransportSettings::default()
    })
    .unwrap()
}

fn https(server: &Server, path: &str) -> Url {
    format!("https://{}{path}", server.address).parse().unwrap()
}

#[tokio::test]
async fn tls_is_spoken_with_whom_we_trust_and_with_nobody_else() {
    let (certificate_der, tls) = certificate(&[b"http/1.1"]);
    let server = Server::with_tls(Some(tls), |_| json("[1]")).await;
    let trusting = trusting(&certificate_der);
    for _ in 0..3 {
        let fetched = attempt_with(&trusting, get(https(&server, "/"))).await;
        assert_eq!(fetched.verdict.outcome, None, "{}", fetched.verdict.detail);
        assert_eq!(fetched.version, http::Version::HTTP_11);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.accepted(), 1);
    let (other, _) = certificate(&[]);
    let distrusting = self::trusting(&other);
    let fetched = attempt_with(&distrusting, get(https(&server, "/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
    let detail = &fetched.verdict.detail;
    assert!(detail.starts_with("no TLS session with `127.0.0.1:"), "{detail}");
    assert!(detail.contains("certificate"), "{detail}");
    // And somebody who speaks no TLS at all.
    let plain = Server::start(|_| json("[1]")).await;
    let fetched = attempt_with(&distrusting, get(https(&plain, "/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
}

#[tokio::test]
async fn credentials_are_not_carried_from_https_to_http() {
    let plain = Server::start(|_| json("[1]")).await;
    let location = format!("location: {}\r\n", plain.url("/b"));
    let (certificate_der, tls) = certificate(&[b"http/1.1"]);
    let server = Server::with_tls(Some(tls), move |_| status("302 Found", &location, "")).await;
    let transport = trusting(&certificate_der);
    let request = with_headers(get(https(&server, "/a")), &[("authorization", "Bearer t0ken")]);
    let fetched = attempt_with(&transport, request).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::SourceError));
    assert!(fetched.verdict.detail.contains("credentials"), "{}", fetched.verdict.detail);
    assert_eq!(plain.accepted(), 0);
    let without = attempt_with(&transport, get(https(&server, "/a"))).await;
    assert_eq!(without.verdict.outcome, None);
}

#[tokio::test]
async fn http_2_is_spoken_over_one_connection_where_the_server_can() {
    let (certificate_der, tls) = certificate(&[b"h2", b"http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = accepted.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let Ok(socket) = tls.accept(socket).await else { continue };
            let answer = hyper::service::service_fn(|_| async {
                let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'7'; 300_000]));
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), answer),
            );
        }
    });
    let transport = trusting(&certificate_der);
    let first = attempt_with(&transport, get(url.clone())).await;
    assert_eq!(first.verdict.outcome, None, "{}", first.verdict.detail);
    assert_eq!((first.version, first.received_bytes), (http::Version::HTTP_2, 300_000));
    let together = (0..10).map(|_| attempt_with(&transport, get(url.clone())));
    for fetched in futures::future::join_all(together).await {
        assert_eq!((fetched.verdict.outcome, fetched.received_bytes), (None, 300_000));
    }
    // A stream that is cut leaves the others alone.
    let mut small = limits();
    small.body_limit_bytes = 1000;
    let cut = attempt_with(&transport, get_within(url.clone(), small)).await;
    assert_eq!(cut.verdict.outcome, Some(Outcome::Partial));
    assert_eq!(attempt_with(&transport, get(url)).await.verdict.outcome, None);
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |settings| HyperTransport::new(&settings).unwrap_err();
    let pem = b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n".to_vec();
    for certificate in [b"not a certificate".to_vec(), pem, b"-----BEGIN nothing".to_vec()] {
        let settings = TransportSettings {
            extra_root_certificates: vec![certificate],
            ..TransportSettings::default()
        };
        assert!(matches!(
            refused(settings),
            TransportSetupError::RootCertificate { number: 1, .. }
        ));
    }
    let settings =
        TransportSettings { user_agent: "a\nb".to_owned(), ..TransportSettings::default() };
    assert!(matches!(refused(settings), TransportSetupError::UserAgent { .. }));
}

#[tokio::test]
async fn many_attempts_at_once_get_their_own_answers() {
    let server = Server::start(|head| {
        let path = head.split(' ').nth(1).unwrap();
        json(&format!("[\"{path}\"]"))
    })
    .await;
    let transport = transport();
    for _ in 0..5 {
        let attempts =
            (0..50).map(|number| attempt_with(&transport, get(server.url(&format!("/{number}")))));
        for (number, fetched) in futures::future::join_all(attempts).await.iter().enumerate() {
            let expected = format!("[\"/{number}\"]");
            assert_eq!(fetched.body.bytes().unwrap().as_ref(), expected.as_bytes());
        }
    }
    assert!(server.accepted() <= 100, "{}", server.accepted());
    drop(attempt(get(server.url("/"))).await);
}
