use crate::server::{
    Do, Server, attempt, get, get_within, header, json, limits, say, status, with_headers,
};
use fetch::FetchRequest;
use model::{Outcome, Validators};
use std::time::Duration;

fn validated(mut request: FetchRequest) -> FetchRequest {
    request.validators = Some(Validators {
        etag: Some("\"v1\"".to_owned()),
        last_modified: Some("Thu, 19 Nov 2026 10:00:00 GMT".to_owned()),
    });
    request
}

#[tokio::test]
async fn a_304_is_believed_only_if_we_asked() {
    let server = Server::start(|_| say("HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n\r\n")).await;
    let asked = attempt(validated(get(server.url("/")))).await;
    assert_eq!(asked.verdict.outcome, Some(Outcome::NotModified));
    let unasked = attempt(get(server.url("/"))).await;
    assert_eq!(unasked.verdict.outcome, Some(Outcome::SourceError));
    let heads = server.asked();
    assert_eq!(header(&heads[0], "if-none-match"), Some("\"v1\""));
    assert_eq!(header(&heads[0], "if-modified-since"), Some("Thu, 19 Nov 2026 10:00:00 GMT"));
    assert_eq!(header(&heads[1], "if-none-match"), None);
}

#[tokio::test]
async fn a_request_says_what_it_can_take_unless_told_otherwise() {
    let server = Server::start(|_| json("[]")).await;
    let mut url = server.url("/a%20b?c=%22d%22");
    url.set_username("me").unwrap();
    url.set_password(Some("hush")).unwrap();
    attempt(get(url)).await;
    attempt(with_headers(
        get(server.url("/")),
        &[("accept", "text/csv"), ("user-agent", "me"), ("content-length", "7")],
    ))
    .await;
    let heads = server.asked();
    assert!(heads[0].starts_with("GET /a%20b?c=%22d%22 HTTP/1.1\r\n"), "{}", heads[0]);
    assert_eq!(header(&heads[0], "accept"), Some("application/json"));
    assert_eq!(header(&heads[0], "accept-encoding"), Some("gzip"));
    assert!(header(&heads[0], "user-agent").unwrap().starts_with("tidewatch/"));
    assert!(!heads[0].contains("hush"));
    assert_eq!(header(&heads[0], "authorization"), None);
    assert_eq!(header(&heads[1], "accept"), Some("text/csv"));
    assert_eq!(header(&heads[1], "user-agent"), Some("me"));
    assert_eq!(header(&heads[1], "content-length"), None);
}

#[tokio::test]
async fn a_refusal_says_how_long_to_wait_in_the_servers_time() {
    let server = Server::start(|_| {
        status(
            "429 Too Many Requests",
            "date: Thu, 19 Nov 2026 12:30:00 GMT\r\nretry-after: Thu, 19 Nov 2026 12:30:07 GMT\r\n",
            "{}",
        )
    })
    .await;
    let fetched = attempt(get(server.url("/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::RateLimited));
    assert_eq!(fetched.verdict.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn what_a_server_echoes_of_our_credentials_is_not_told() {
    let server = Server::start(|head| {
        let echo = format!("{{\"bad token\": \"{}\"}}", header(head, "authorization").unwrap());
        status("401 Unauthorized", "www-authenticate: Bearer\r\n", &echo)
    })
    .await;
    let request = with_headers(get(server.url("/")), &[("authorization", "Bearer abc-SECRET-xyz")]);
    let fetched = attempt(request).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Unauthorized));
    assert!(fetched.verdict.detail.contains("bad token"), "{}", fetched.verdict.detail);
    assert!(!fetched.verdict.detail.contains("SECRET"), "{}", fetched.verdict.detail);
    assert_eq!(fetched.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn a_declared_status_means_that_there_is_nothing() {
    let server = Server::start(|_| status("404 Not Found", "", "{\"error\": \"no data\"}")).await;
    assert_eq!(attempt(get(server.url("/"))).await.verdict.outcome, Some(Outcome::Gone));
    let mut limits = limits();
    limits.empty_status = vec![404];
    let fetched = attempt(get_within(server.url("/"), limits)).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::EmptyProven));
    assert!(fetched.verdict.empty_by_status);
    let server = Server::start(|_| say("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let fetched = attempt(get(server.url("/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::EmptyProven));
    assert!(fetched.verdict.empty_by_status);
}

#[tokio::test]
async fn a_head_request_has_no_body_and_is_whole() {
    let server = Server::start(|_| say("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")).await;
    let mut request = get(server.url("/"));
    request.method = http::Method::HEAD;
    let fetched = attempt(request).await;
    assert_eq!((fetched.verdict.outcome, fetched.truncated), (None, None));
    assert_eq!(fetched.headers["content-length"], "5000");
}

#[tokio::test]
async fn what_is_not_http_is_the_servers_fault() {
    let many = "x-many: 1\r\n".repeat(200);
    let large = format!("x-large: {}\r\n", "y".repeat(9 << 10));
    let huge = format!("x-huge: {}\r\n", "y".repeat(1 << 20));
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "not valid HTTP"),
        ("HTTP/1.1 abc\r\n\r\n".to_owned(), "not valid HTTP"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(), "not valid HTTP"),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "too large"),
        (format!("HTTP/1.1 200 OK\r\n{huge}\r\n"), "too large"),
        (format!("HTTP/1.1 200 OK\r\n{large}\r\n"), "more than the limit of 8192"),
    ] {
        let server =
            Server::start(move |_| vec![Do::Say(answer.clone().into_bytes()), Do::Close]).await;
        let fetched = attempt(get(server.url("/"))).await;
        assert_eq!(fetched.verdict.outcome, Some(Outcome::SourceError), "{words}");
        assert!(fetched.verdict.detail.contains(words), "{}", fetched.verdict.detail);
    }
}

#[tokio::test]
async fn long_and_odd_addresses_are_sent_or_refused_before_anything_is_sent() {
    let server = Server::start(|_| json("[]")).await;
    let odd = format!("/{}/..%2F/%0A/%F0%9F%A6%80", "x".repeat(10_000));
    assert_eq!(attempt(get(server.url(&odd))).await.verdict.outcome, None);
    assert!(server.asked()[0].starts_with(&format!("GET {odd} HTTP/1.1")));
    let endless = server.url(&format!("/{}", "x".repeat(70_000)));
    let fetched = attempt(get(endless)).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
    assert!(fetched.verdict.detail.contains("cannot be sent"), "{}", fetched.verdict.detail);
    let file = attempt(get("file:///etc/hostname".parse().unwrap())).await;
    assert_eq!(file.verdict.outcome, Some(Outcome::TransportError));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_answer_after_a_100_continue_counts() {
    let server = Server::start(|_| {
        say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
    })
    .await;
    assert_eq!(attempt(get(server.url("/"))).await.verdict.outcome, None);
}
