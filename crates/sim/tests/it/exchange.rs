//! The exchange as a real client sees it.

use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header::HeaderMap};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use sim::exchange::{Exchange, ExchangeSettings, Faults, Truth, World, start};
use std::{io::Read, sync::Arc};
use tokio::net::TcpStream;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// 300 tickers over 20 sessions, no limit of the rate, long after all has arrived.
pub(crate) fn settings() -> ExchangeSettings {
    ExchangeSettings {
        seed: 1,
        entities: 300,
        from: "2026-11-16".parse().unwrap(),
        days: 20,
        faults: Faults { rename: None, ..Faults::default() },
        rate_per_second: 0.0,
        port: 0,
        clock: Arc::new(|| at("2027-03-01T00:00:00Z")),
        mono: Arc::new(|| 0.0),
    }
}

async fn open(settings: ExchangeSettings) -> (Arc<World>, Exchange) {
    let world = Arc::new(World::generate(&settings).unwrap());
    let exchange = start(world.clone(), settings).await.unwrap();
    (world, exchange)
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    /// The whole body, or how much of it came before the connection broke.
    body: Result<Vec<u8>, usize>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap()).unwrap()
    }
}

async fn ask(exchange: &Exchange, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
    let stream = TcpStream::connect(exchange.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    let mut is_broken = false;
    while let Some(frame) = stream.frame().await {
        let Ok(frame) = frame else {
            is_broken = true;
            break;
        };
        body.extend_from_slice(&frame.into_data().unwrap());
    }
    drop(sender);
    let _ = connection.await.unwrap();
    let body = if is_broken { Err(body.len()) } else { Ok(body) };
    Got { status: head.status, headers: head.headers, body }
}

async fn get(exchange: &Exchange, path: &str) -> Got {
    ask(exchange, Method::GET, path, &[]).await
}

fn path(truth: &Truth) -> String {
    format!("/eod/{}?date={}", truth.entity, truth.day)
}

/// A server with one kind of fault, and the first of its cells, present for long.
async fn always(faults: Faults) -> (Exchange, Truth) {
    let (world, exchange) = open(ExchangeSettings { faults, ..settings() }).await;
    let truth = world.truth().next().unwrap();
    (exchange, truth)
}

/// Two wrong answers, then a right one, is what a server does that could not be worse.
async fn is_had_in_the_end(exchange: &Exchange, truth: &Truth) {
    get(exchange, &path(truth)).await;
    let third = get(exchange, &path(truth)).await;
    assert_eq!(third.status, StatusCode::OK);
    assert!(third.text().contains(&truth.record));
}

#[tokio::test]
async fn a_right_answer_is_the_truth() {
    let (world, exchange) = open(ExchangeSettings { faults: Faults::NONE, ..settings() }).await;
    for truth in world.truth().step_by(400) {
        let got = get(&exchange, &path(&truth)).await;
        let expected = format!(
            r#"{{"symbol":"{}","date":"{}","total":1,"data":[{}]}}"#,
            truth.entity, truth.day, truth.record
        );
        assert_eq!((got.status, got.header("content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(got.text(), expected);
    }
    let log = exchange.log();
    assert_eq!(log.by_status.keys().collect::<Vec<_>>(), [&200]);
    assert_eq!((log.records, log.truncated), (log.requests(), 0));
}

#[tokio::test]
async fn what_does_not_exist_is_told() {
    let (world, exchange) = open(settings()).await;
    let known = world.truth().next().unwrap();
    for (asked, status) in [
        ("/eod/NOBODY?date=2026-11-19".to_owned(), 404),
        ("/nav/SM1?date=2026-11-19".to_owned(), 404),
        ("/".to_owned(), 404),
        (format!("/eod/{}", known.entity), 400),
        (format!("/eod/{}?date=today", known.entity), 400),
    ] {
        assert_eq!(get(&exchange, &asked).await.status, status, "{asked}");
    }
    let sunday = get(&exchange, &format!("/eod/{}?date=2026-11-22", known.entity)).await;
    assert!(sunday.text().ends_with(r#""date":"2026-11-22","total":0,"data":[]}"#));
    let put = ask(&exchange, Method::PUT, &path(&known), &[]).await;
    assert_eq!((put.status.as_u16(), put.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn an_unchanged_answer_is_304_until_it_changes() {
    let (world, probe) = open(ExchangeSettings { faults: Faults::NONE, ..settings() }).await;
    let truth = world.truth().next().unwrap();
    drop(probe);
    let arrived_at = truth.arrived_at.unwrap();
    let passed = Arc::new(std::sync::atomic::AtomicI64::new(-1));
    let clock = {
        let passed = passed.clone();
        move || {
            let seconds = passed.load(std::sync::atomic::Ordering::SeqCst);
            arrived_at + SignedDuration::from_secs(seconds)
        }
    };
    let settings = ExchangeSettings { faults: Faults::NONE, clock: Arc::new(clock), ..settings() };
    let (_, exchange) = open(settings).await;
    let nothing = get(&exchange, &path(&truth)).await;
    assert!(nothing.text().contains(r#""total":0"#));
    let known = [("if-none-match", nothing.header("etag"))];
    let same = ask(&exchange, Method::GET, &path(&truth), &known).await;
    assert_eq!((same.status.as_u16(), same.body), (304, Ok(Vec::new())));
    passed.store(0, std::sync::atomic::Ordering::SeqCst);
    let arrived = ask(&exchange, Method::GET, &path(&truth), &known).await;
    assert_eq!(arrived.status, StatusCode::OK);
    assert!(arrived.text().contains(&truth.record));
    assert_ne!(arrived.header("etag"), nothing.header("etag"));
}

#[tokio::test]
async fn an_answer_is_packed_for_those_who_ask() {
    let (exchange, truth) = always(Faults::NONE).await;
    let accept = [("accept-encoding", "br, gzip;q=0.5")];
    let got = ask(&exchange, Method::GET, &path(&truth), &accept).await;
    assert_eq!(got.header("content-encoding"), "gzip");
    let packed = got.body.unwrap();
    assert_eq!(got.headers["content-length"], packed.len().to_string().as_str());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains(&truth.record));
    let refuse = [("accept-encoding", "gzip;q=0")];
    let plain = ask(&exchange, Method::GET, &path(&truth), &refuse).await;
    assert_eq!((plain.header("content-encoding"), plain.text()), ("", text));
}

#[tokio::test]
async fn a_truncated_body_breaks_off_half_way() {
    let (exchange, truth) = always(Faults { truncated: 1.0, ..Faults::NONE }).await;
    let got = get(&exchange, &path(&truth)).await;
    assert_eq!(got.status, StatusCode::OK);
    let promised: usize = got.header("content-length").parse().unwrap();
    assert_eq!(got.body, Err(promised / 2));
    is_had_in_the_end(&exchange, &truth).await;
    assert_eq!(exchange.log().truncated, 2);
}

#[tokio::test]
async fn server_errors_are_said_by_status() {
    let (exchange, truth) = always(Faults { server_error: 1.0, ..Faults::NONE }).await;
    assert_eq!(get(&exchange, &path(&truth)).await.status, 500);
    is_had_in_the_end(&exchange, &truth).await;

    let (exchange, truth) = always(Faults { unavailable: 1.0, ..Faults::NONE }).await;
    let got = get(&exchange, &path(&truth)).await;
    assert_eq!((got.status.as_u16(), got.header("retry-after")), (503, "1"));
    is_had_in_the_end(&exchange, &truth).await;
    assert_eq!(exchange.log().by_status, [(200, 1), (503, 2)].into());
}

#[tokio::test]
async fn wrong_answers_come_under_200_too() {
    let (exchange, truth) = always(Faults { empty_body: 1.0, ..Faults::NONE }).await;
    let got = get(&exchange, &path(&truth)).await;
    assert_eq!((got.status, got.body), (StatusCode::OK, Ok(Vec::new())));
    is_had_in_the_end(&exchange, &truth).await;
    assert_eq!(exchange.log().empty_bodies, 2);

    let (exchange, truth) = always(Faults { block_page: 1.0, ..Faults::NONE }).await;
    let got = get(&exchange, &path(&truth)).await;
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    assert!(got.text().contains("captcha"));
    is_had_in_the_end(&exchange, &truth).await;
    assert_eq!(exchange.log().block_pages, 2);
}

#[tokio::test]
async fn above_the_rate_it_says_429_and_when_to_come_back() {
    let settings = ExchangeSettings { rate_per_second: 5.0, ..settings() };
    let (world, exchange) = open(ExchangeSettings { faults: Faults::NONE, ..settings }).await;
    let asked = path(&world.truth().next().unwrap());
    for _ in 0..5 {
        assert_eq!(get(&exchange, &asked).await.status, StatusCode::OK);
    }
    let got = get(&exchange, &asked).await;
    assert_eq!((got.status.as_u16(), got.header("retry-after")), (429, "1"));
    assert_eq!(exchange.log().by_status, [(200, 5), (429, 1)].into());
}

#[tokio::test]
async fn the_same_requests_meet_the_same_faults_in_any_order() {
    let faults = Faults { server_error: 0.3, block_page: 0.2, empty_body: 0.2, ..Faults::NONE };
    let settings = ExchangeSettings { faults, entities: 10, days: 3, ..settings() };
    let mut seen = Vec::new();
    for is_reversed in [false, true] {
        let (world, exchange) = open(settings.clone()).await;
        let mut cells: Vec<_> = world.truth().collect();
        if is_reversed {
            cells.reverse();
        }
        let mut answers = Vec::new();
        for truth in &cells {
            for number in 0..3 {
                let got = get(&exchange, &path(truth)).await;
                answers.push((path(truth), number, got.status, got.body));
            }
        }
        answers.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        seen.push((answers, exchange.log()));
    }
    assert!(seen[0] == seen[1]);
    assert!(seen[0].1.by_status[&500] > 5 && seen[0].1.block_pages > 5);
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error_and_a_dropped_exchange_frees_it() {
    let (world, exchange) = open(settings()).await;
    let port = exchange.address.port();
    let again = ExchangeSettings { port, ..settings() };
    let error = start(world.clone(), again.clone()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let told = format!("port {port} of 127.0.0.1 is taken by another program; choose another one");
    assert_eq!(error.to_string(), told);
    drop(exchange);
    for _ in 0..1000 {
        if start(world.clone(), again.clone()).await.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the port is still taken");
}
