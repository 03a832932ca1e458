use crate::server::{
    Do, Server, attempt, attempt_with, get, get_within, json, limits, numbered_lines, say, status,
    transport,
};
use fetch::{Body, Truncated};
use model::Outcome;
use std::io::Read;

#[tokio::test]
async fn a_whole_json_answer_is_left_to_extraction() {
    let server = Server::start(|_| json("{\"a\": 1}")).await;
    let fetched = attempt(get(server.url("/x"))).await;
    assert_eq!(fetched.verdict.outcome, None);
    assert_eq!(fetched.verdict.detail, "");
    assert_eq!(fetched.status, Some(200));
    assert_eq!(fetched.version, http::Version::HTTP_11);
    assert_eq!(fetched.body.bytes().unwrap().as_ref(), b"{\"a\": 1}");
    assert_eq!((fetched.received_bytes, fetched.truncated), (8, None));
    assert_eq!(fetched.headers["content-type"], "application/json");
    assert!(fetched.first_byte.unwrap() <= fetched.elapsed);
}

#[tokio::test]
async fn bytes_beyond_the_promised_length_are_never_taken_for_an_answer() {
    // One kilobyte is promised; what follows looks like the answer to the next question.
    let server = Server::start(|head| {
        if head.starts_with("GET /long") {
            let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
            let body = "x".repeat(1024);
            vec![
                Do::Say(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{body}{forged}")
                        .into_bytes(),
                ),
                Do::SayForever(vec![b'y'; 64 << 10]),
            ]
        } else {
            json("[\"honest\"]")
        }
    })
    .await;
    let transport = transport();
    let long = attempt_with(&transport, get(server.url("/long"))).await;
    assert_eq!((long.verdict.outcome, long.received_bytes), (None, 1024));
    for _ in 0..3 {
        let next = attempt_with(&transport, get(server.url("/next"))).await;
        assert_eq!(next.body.bytes().unwrap().as_ref(), b"[\"honest\"]");
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_stream_without_end_is_cut_at_the_limit_and_its_connection_is_not_used_again() {
    let chunk = [b"4000\r\n".as_slice(), &vec![b'7'; 0x4000], b"\r\n"].concat();
    let server = Server::start(move |head| match head {
        head if head.starts_with("GET /chunked") => vec![
            Do::Say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
            Do::SayForever(chunk.clone()),
        ],
        head if head.starts_with("GET /until-closed") => {
            vec![Do::Say(b"HTTP/1.1 200 OK\r\n\r\n[".to_vec()), Do::SayForever(vec![b'7'; 0x4000])]
        }
        _ => json("[]"),
    })
    .await;
    let transport = transport();
    for path in ["/chunked", "/until-closed"] {
        let fetched = attempt_with(&transport, get(server.url(path))).await;
        assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial), "{path}");
        assert_eq!(fetched.truncated, Some(Truncated::Length));
        assert_eq!(fetched.verdict.detail, "the body is longer than the limit of a body");
        assert_eq!((fetched.received_bytes, fetched.body.len()), (1 << 20, 1 << 20));
        assert_eq!(attempt_with(&transport, get(server.url("/"))).await.verdict.outcome, None);
    }
    // The connection of `/` serves `/until-closed` too, which then costs it.
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_body_that_promises_to_be_too_long_is_not_read_to_the_limit() {
    let server = Server::start(|_| {
        vec![
            Do::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec()),
            Do::SayForever(vec![b'7'; 0x4000]),
        ]
    })
    .await;
    let fetched = attempt(get(server.url("/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial));
    assert_eq!((fetched.truncated, fetched.received_bytes), (Some(Truncated::Length), 64 << 10));
    assert!(fetched.verdict.detail.ends_with("10000000000 bytes are promised"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_partial_and_keeps_what_came() {
    for (answer, received) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1, 2", 5),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1, 2\r\n", 5),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1", 2),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1, 2\r\nwhat?\r\n", 5),
    ] {
        let server =
            Server::start(move |_| vec![Do::Say(answer.as_bytes().to_vec()), Do::Close]).await;
        let fetched = attempt(get(server.url("/"))).await;
        assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial), "{answer}");
        assert_eq!(fetched.truncated, Some(Truncated::Disconnect), "{answer}");
        assert_eq!((fetched.received_bytes, fetched.body.len()), (received, received), "{answer}");
        assert_ne!(fetched.verdict.detail, "", "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_fit_in_memory_is_a_file_that_goes_with_its_holder() {
    let body = numbered_lines(100_000);
    let sent = body.clone();
    let server = Server::start(move |_| json(&sent)).await;
    let dir = tempfile::tempdir().unwrap();
    let mut limits = limits();
    limits.spool_dir = dir.path().join("spool");
    let fetched = attempt(get_within(server.url("/"), limits)).await;
    assert_eq!((fetched.verdict.outcome, fetched.received_bytes), (None, 800_000));
    let Body::File(file) = &fetched.body else { panic!("in memory") };
    let path = file.path().to_owned();
    let mut read = String::new();
    fetched.body.reader().unwrap().read_to_string(&mut read).unwrap();
    assert!(read == body);
    drop(fetched);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_is_told_and_not_taken_for_the_source() {
    let body = "7".repeat(200_000);
    let server = Server::start(move |_| json(&body)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let mut limits = limits();
    limits.spool_dir = file.join("spool");
    let fetched = attempt(get_within(server.url("/"), limits)).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial));
    assert!(fetched.verdict.detail.starts_with("the body could not be kept in `"));
}

#[tokio::test]
async fn a_web_page_where_json_is_due_is_read_to_its_own_limit_and_judged() {
    let server = Server::start(|head| match head {
        head if head.starts_with("GET /endless") => vec![
            Do::Say(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n \r\n".to_vec()),
            Do::Say(b"<!DOCTYPE html><title>Are you a robot?</title>".to_vec()),
            Do::SayForever(vec![b'.'; 0x1000]),
        ],
        head if head.starts_with("GET /login") => {
            status("200 OK", "content-type: text/html\r\n", "<html><title>Log in</title></html>")
        }
        // A label that is wrong is common, and the data is good.
        _ => status("200 OK", "content-type: text/html\r\n", "[1]"),
    })
    .await;
    let blocked = attempt(get(server.url("/endless"))).await;
    assert_eq!(blocked.verdict.outcome, Some(Outcome::Blocked));
    assert_eq!((blocked.received_bytes, blocked.truncated), (16 << 10, Some(Truncated::Length)));
    assert!(blocked.verdict.detail.contains("Are you a robot?"), "{}", blocked.verdict.detail);
    let login = attempt(get(server.url("/login"))).await;
    assert_eq!(login.verdict.outcome, Some(Outcome::ParseError));
    assert!(login.verdict.detail.ends_with("Log in"), "{}", login.verdict.detail);
    assert_eq!(attempt(get(server.url("/data"))).await.verdict.outcome, None);
    // Where pages are what is asked for, a page is an answer.
    let mut wanted = get(server.url("/login"));
    wanted.expects_json = false;
    assert_eq!(attempt(wanted).await.verdict.outcome, None);
}

#[tokio::test]
async fn a_packed_block_page_is_seen_through() {
    let page = b"<html><title>Attention Required!</title></html>";
    let packed = crate::decoding::gzip(page);
    let server = Server::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\n\
             content-length: {}\r\n\r\n",
            packed.len()
        );
        say([head.as_bytes(), &packed].concat())
    })
    .await;
    let fetched = attempt(get(server.url("/"))).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Blocked));
    assert!(fetched.verdict.detail.contains("Attention Required!"));
}

#[tokio::test]
async fn an_odd_charset_is_noted() {
    let server = Server::start(|_| {
        status("200 OK", "content-type: application/json; charset=latin1\r\n", "[\"\u{e4}\"]")
    })
    .await;
    let fetched = attempt(get(server.url("/"))).await;
    assert_eq!(fetched.verdict.outcome, None);
    assert_eq!(fetched.verdict.detail, "the declared charset is `latin1`");
}

/// A network that ends a body early without a word.
#[derive(Debug)]
struct Forgetful;

impl fetch::Transport for Forgetful {
    fn send(
        &self,
        _: http::Request<bytes::Bytes>,
        _: fetch::Reach,
    ) -> fetch::BoxFuture<'_, Result<http::Response<fetch::BodyStream>, fetch::TransportError>>
    {
        let chunk = Ok(bytes::Bytes::from_static(b"[1, 2"));
        let body: fetch::BodyStream = Box::pin(futures::stream::iter([chunk]));
        let response = http::Response::builder().header("content-length", "6").body(body).unwrap();
        Box::pin(async { Ok(response) })
    }
}

#[tokio::test]
async fn a_broken_promise_is_noticed_whatever_the_network_says() {
    let request = get("http://a.example/".parse().unwrap());
    let fetched = fetch::fetch(&Forgetful, request, jiff::Timestamp::UNIX_EPOCH).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial));
    assert_eq!(fetched.truncated, Some(Truncated::Disconnect));
    assert_eq!(fetched.verdict.detail, "the body ended after 5 of 6 promised bytes");
}
