use crate::server::{
    Do, Server, attempt, get, get_within, header, json, limits, status, transport, with_headers,
};
use fetch::{Reach, Transport, TransportError};
use model::{Outcome, Validators};

fn to(location: &str) -> Vec<Do> {
    status("302 Found", &format!("location: {location}\r\n"), "moved")
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_what_was_said_and_the_connection() {
    let server =
        Server::start(|head| if head.starts_with("GET /a") { to("/b") } else { json("[1]") }).await;
    let mut request = with_headers(get(server.url("/a")), &[("authorization", "Bearer t0ken")]);
    request.validators = Some(Validators { etag: Some("\"1\"".into()), last_modified: None });
    let fetched = attempt(request).await;
    assert_eq!(fetched.verdict.outcome, None);
    assert_eq!(fetched.redirects, 1);
    assert_eq!(fetched.final_url, server.url("/b"));
    let heads = server.asked();
    assert_eq!(header(&heads[1], "authorization"), Some("Bearer t0ken"));
    assert_eq!(header(&heads[1], "if-none-match"), Some("\"1\""));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn another_origin_gets_neither_credentials_nor_validators() {
    let other = Server::start(|_| json("[1]")).await;
    let away = other.url("/b").to_string();
    let server = Server::start(move |_| to(&away)).await;
    let mut request = with_headers(
        get(server.url("/a")),
        &[("authorization", "Bearer t0ken"), ("x-api-key", "k"), ("cookie", "c"), ("x-plain", "p")],
    );
    let mut marked = http::HeaderValue::from_static("hush");
    marked.set_sensitive(true);
    std::sync::Arc::make_mut(&mut request.headers).insert("x-odd", marked);
    request.validators = Some(Validators { etag: Some("\"1\"".into()), last_modified: None });
    let fetched = attempt(request).await;
    assert_eq!(fetched.verdict.outcome, None);
    let head = &other.asked()[0];
    for name in ["authorization", "x-api-key", "cookie", "x-odd", "if-none-match"] {
        assert_eq!(header(head, name), None, "{name}");
        if name != "if-none-match" {
            assert!(header(&server.asked()[0], name).is_some(), "{name}");
        }
    }
    assert_eq!(header(head, "x-plain"), Some("p"));
}

#[tokio::test]
async fn after_a_303_the_answer_is_fetched_without_the_question() {
    let server = Server::start(|head| {
        if head.starts_with("POST") {
            status("303 See Other", "location: /result\r\n", "")
        } else {
            json("[1]")
        }
    })
    .await;
    let mut request =
        with_headers(get(server.url("/query")), &[("content-type", "application/json")]);
    request.method = http::Method::POST;
    request.body = bytes::Bytes::from_static(b"{\"q\": 1}");
    assert_eq!(attempt(request).await.verdict.outcome, None);
    let heads = server.asked();
    assert_eq!(header(&heads[0], "content-length"), Some("8"));
    assert!(heads[1].starts_with("GET /result"));
    assert_eq!(header(&heads[1], "content-type"), None);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_the_servers_fault_and_says_why() {
    for (location, words) in [
        ("/again", "a redirect loop"),
        ("file:///etc/passwd", "only `http` and `https`"),
        ("ftp://127.0.0.1/x", "only `http` and `https`"),
        ("data:application/json,[]", "only `http` and `https`"),
        ("http://[", "no address"),
        ("", "without a `Location`"),
    ] {
        let server = Server::start(move |_| to(location)).await;
        let fetched = attempt(get(server.url("/again"))).await;
        assert_eq!(fetched.verdict.outcome, Some(Outcome::SourceError), "{location}");
        assert!(fetched.verdict.detail.contains(words), "{}", fetched.verdict.detail);
        assert_eq!(fetched.status, Some(302));
        assert_eq!(fetched.body.bytes().unwrap().as_ref(), b"moved");
    }
}

#[tokio::test]
async fn a_chain_without_end_ends() {
    let server = Server::start(|head| {
        let number: u32 = head["GET /".len()..].split(' ').next().unwrap().parse().unwrap();
        to(&format!("/{}", number + 1))
    })
    .await;
    let mut limits = limits();
    limits.redirects_max = 3;
    let fetched = attempt(get_within(server.url("/0"), limits)).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::SourceError));
    assert_eq!(fetched.verdict.detail, "more than 3 redirects, the next one to `/4` (302)");
    assert_eq!((fetched.redirects, server.asked().len()), (3, 4));
}

#[tokio::test]
async fn public_only_refuses_what_is_not_public_by_number_and_by_name() {
    let server = Server::start(|_| json("[]")).await;
    let port = server.address.port();
    let transport = transport();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let mut request = http::Request::new(bytes::Bytes::new());
        *request.uri_mut() = format!("http://{host}:{port}/").parse().unwrap();
        let refused = transport.send(request, Reach::PublicOnly).await.err().unwrap();
        assert!(matches!(refused, TransportError::Refused { .. }), "{host}: {refused:?}");
    }
    assert_eq!(server.accepted(), 0);
    // The pool of one reach is none of the other's.
    assert_eq!(attempt(get(server.url("/"))).await.verdict.outcome, None);
}

mod from_a_public_server {
    use super::*;
    use bytes::Bytes;
    use fetch::{BodyStream, BoxFuture, HyperTransport, fetch};
    use std::net::IpAddr;

    /// A public server that redirects, in front of the real network, where `inside.example` is a
    /// name of this machine.
    #[derive(Debug)]
    struct Redirecting {
        location: String,
        network: HyperTransport,
    }

    impl Transport for Redirecting {
        fn send(
            &self,
            mut request: http::Request<Bytes>,
            reach: Reach,
        ) -> BoxFuture<'_, Result<http::Response<BodyStream>, TransportError>> {
            if request.uri().host() != Some("public.example") {
                let inside = request.uri().to_string().replace("inside.example", "localhost");
                *request.uri_mut() = inside.parse().unwrap();
                return self.network.send(request, reach);
            }
            let body: BodyStream = Box::pin(futures::stream::empty());
            let response = http::Response::builder()
                .status(302)
                .header("location", &self.location)
                .extension("93.184.216.34".parse::<IpAddr>().unwrap())
                .body(body)
                .unwrap();
            Box::pin(async { Ok(response) })
        }
    }

    #[tokio::test]
    async fn a_private_address_is_refused_even_if_only_the_resolver_knows_it() {
        let server = Server::start(|_| json("[\"internal\"]")).await;
        let port = server.address.port();
        for host in ["127.0.0.1", "localhost", "inside.example"] {
            let location = format!("http://{host}:{port}/?token=hush");
            let transport = Redirecting { location, network: transport() };
            let request = get("http://public.example/".parse().unwrap());
            let fetched = fetch(&transport, request, jiff::Timestamp::UNIX_EPOCH).await;
            let verdict = &fetched.verdict;
            assert_eq!(verdict.outcome, Some(Outcome::SourceError), "{host}: {}", verdict.detail);
            assert!(verdict.detail.contains("public to a private"), "{}", verdict.detail);
            assert!(!verdict.detail.contains("hush"), "{}", verdict.detail);
            assert_eq!(fetched.status, Some(302));
        }
        assert_eq!(server.accepted(), 0);
    }
}
