use crate::server::{Do, Server, attempt, get, get_within, limits};
use bytes::Bytes;
use fetch::{
    BodyStream, BoxFuture, FetchLimits, Phase, Reach, Transport, TransportError, Truncated, fetch,
};
use futures::StreamExt;
use model::Outcome;
use std::time::Duration;

fn short() -> FetchLimits {
    FetchLimits {
        connect_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(100),
        total_timeout: Duration::from_millis(400),
        ..limits()
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start(|_| vec![Do::Hang]).await;
    let fetched = attempt(get_within(server.url("/"), short())).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
    assert_eq!(fetched.verdict.detail, "timed out while waiting for the head of the answer");
    assert_eq!((fetched.status, fetched.truncated), (None, Some(Truncated::Time)));
    assert!(fetched.elapsed < Duration::from_secs(2), "{:?}", fetched.elapsed);
}

#[tokio::test]
async fn a_head_that_drips_is_given_up() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1000)).into_bytes();
    let server =
        Server::start(move |_| vec![Do::Drip(head.clone(), Duration::from_millis(10))]).await;
    let fetched = attempt(get_within(server.url("/"), short())).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::TransportError));
    assert!(fetched.elapsed < Duration::from_secs(2), "{:?}", fetched.elapsed);
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_total_time_and_one_that_stops_earlier() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec();
    let dripping = head.clone();
    let server = Server::start(move |_| {
        vec![Do::Say(dripping.clone()), Do::Drip(vec![b'7'; 1000], Duration::from_millis(10))]
    })
    .await;
    let fetched = attempt(get_within(server.url("/"), short())).await;
    assert_eq!(fetched.verdict.outcome, Some(Outcome::Partial));
    assert_eq!(fetched.truncated, Some(Truncated::Time));
    assert!(fetched.received_bytes > 0 && fetched.received_bytes < 1000);
    assert!(fetched.elapsed >= Duration::from_millis(400), "{:?}", fetched.elapsed);
    let server =
        Server::start(move |_| vec![Do::Say(head.clone()), Do::Say(b"[1".to_vec()), Do::Hang])
            .await;
    let fetched = attempt(get_within(server.url("/"), short())).await;
    assert_eq!((fetched.truncated, fetched.received_bytes), (Some(Truncated::Time), 2));
    assert!(fetched.elapsed < Duration::from_millis(390), "{:?}", fetched.elapsed);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_a_transport_error() {
    let server = Server::start(|_| vec![Do::Close]).await;
    let closed = attempt(get(server.url("/"))).await;
    assert_eq!(closed.verdict.outcome, Some(Outcome::TransportError));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refused = attempt(get(format!("http://{address}/").parse().unwrap())).await;
    assert_eq!(refused.verdict.outcome, Some(Outcome::TransportError));
    assert!(refused.verdict.detail.contains(&address.to_string()), "{}", refused.verdict.detail);
    assert!(refused.verdict.detail.contains("refused"), "{}", refused.verdict.detail);
}

/// A network in which only time passes.
#[derive(Debug)]
struct Slow {
    head_after: Duration,
    byte_every: Duration,
}

impl Transport for Slow {
    fn send(
        &self,
        _: http::Request<Bytes>,
        _: Reach,
    ) -> BoxFuture<'_, Result<http::Response<BodyStream>, TransportError>> {
        Box::pin(async {
            tokio::time::sleep(self.head_after).await;
            let pause = self.byte_every;
            let body: BodyStream =
                Box::pin(futures::stream::repeat(()).then(move |()| async move {
                    tokio::time::sleep(pause).await;
                    Ok(Bytes::from_static(b"7"))
                }));
            Ok(http::Response::new(body))
        })
    }
}

async fn patience(head_after: u64, byte_every: u64) -> fetch::Fetched {
    let network = Slow {
        head_after: Duration::from_secs(head_after),
        byte_every: Duration::from_secs(byte_every),
    };
    let limits = FetchLimits {
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        total_timeout: Duration::from_mins(5),
        ..limits()
    };
    let request = get_within("http://slow.example/".parse().unwrap(), limits);
    fetch(&network, request, jiff::Timestamp::UNIX_EPOCH).await
}

#[tokio::test(start_paused = true)]
async fn patience_is_exact_in_virtual_time() {
    let silent = patience(3600, 1).await;
    assert_eq!(
        (silent.verdict.outcome, silent.elapsed.as_secs()),
        (Some(Outcome::TransportError), 40)
    );
    let dripping = patience(39, 1).await;
    assert_eq!((dripping.truncated, dripping.elapsed.as_secs()), (Some(Truncated::Time), 300));
    assert_eq!(dripping.first_byte, Some(Duration::from_secs(39)));
    let stopping = patience(5, 31).await;
    assert_eq!((stopping.truncated, stopping.elapsed.as_secs()), (Some(Truncated::Time), 35));
    assert_eq!(stopping.verdict.outcome, Some(Outcome::Partial));
}

#[test]
fn each_phase_has_its_words() {
    for (phase, words) in [
        (Phase::Connect, "timed out while waiting for the connection"),
        (Phase::Body, "timed out while waiting for more of the body"),
    ] {
        assert_eq!(TransportError::Timeout { phase }.to_string(), words);
    }
}
