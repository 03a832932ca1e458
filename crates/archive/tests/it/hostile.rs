//! What servers send must not be able to write the archive.

use crate::{DAY, headers, record, source};
use archive::{Archive, ArchiveRef, MemoryArchive, member};
use proptest::prelude::*;
use std::io::Read;

fn inflate(member: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(member).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn no_value_ends_its_line() {
    let evil = "x\r\nWARC-Type: metadata\r\n\r\nHTTP/1.1 200 OK\n\u{85}\u{0}\u{7f}y";
    let source = source();
    let headers = headers(&[
        ("X-Evil", evil),
        ("Na: me\r\nWARC-Injected", "value"),
        ("", "nameless"),
        ("Bad Näme", "value"),
        ("Transfer-Encoding", "chunked"),
    ]);
    let mut sent = record(&source, &headers, b"body");
    sent.target_uri = "https://x/a b\r\nWARC-Injected: yes\u{2028}";
    sent.truncated = Some("time\r\nWARC-Injected: yes");
    sent.http_version = "1.1\r\nWARC-Injected: yes";
    let member = member(&sent, b"body");
    let text = inflate(&member);
    assert!(!text.contains("\nWARC-Injected"), "{text}");
    assert_eq!(text.matches("\nWARC-Type:").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count() - 1, 1, "one status line, one harmless value");

    let archive = MemoryArchive::new();
    let found = archive.read(&archive.append(&source, DAY, member).unwrap()).await.unwrap();
    assert_eq!(found.status, 200);
    assert_eq!(found.body, b"body");
    let names: Vec<_> = found.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["X-Evil", "Na__me__WARC-Injected", "Bad_N_me", "Transfer-Encoding"],
        "the last is kept aside in the file and back under its name here"
    );
    assert!(text.contains("X-Archive-Orig-Transfer-Encoding: chunked"));
}

#[test]
fn the_same_answer_has_the_same_id_and_another_one_another() {
    let source = source();
    let id = |record: &archive::ResponseRecord<'_>| {
        let text = inflate(&member(record, b"body"));
        text.lines().find(|line| line.starts_with("WARC-Record-ID")).unwrap().to_owned()
    };
    let first = record(&source, &[], b"body");
    assert_eq!(id(&first), id(&first));
    let mut second = first;
    second.attempt.0 += 1;
    assert_ne!(id(&first), id(&second));
    let mut redirected = first;
    redirected.target_uri = "https://api.example.com/elsewhere";
    assert_ne!(id(&first), id(&redirected));
    let first = id(&first);
    let uuid = first.strip_prefix("WARC-Record-ID: <urn:uuid:").unwrap();
    assert_eq!((&uuid[14..15], uuid.len()), ("8", 37), "{uuid}");
}

proptest! {
    #[test]
    fn any_headers_and_body_come_back(
        pairs in prop::collection::vec(("[!-~&&[^:]]{1,20}", "\\PC{0,60}|.{0,10}"), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..6000),
        status in 100..1000_u16,
        uri in "https://x/\\PC{0,200}",
    ) {
        let source = source();
        let given: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let given = headers(&given);
        let mut sent = record(&source, &given, &body);
        sent.status = status;
        sent.target_uri = &uri;
        let member = member(&sent, &body);
        let archive = MemoryArchive::new();
        let place = archive.append(&source, DAY, member).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(archive.read(&place)).unwrap();
        prop_assert_eq!(found.body, body);
        prop_assert_eq!(found.status, status);
        prop_assert_eq!(found.headers.len(), pairs.len());
    }

    #[test]
    fn any_reference_reads_its_own_text(
        file in "[a-z_]{1,9}/[0-9-]{1,10}/[0-9]{6}\\.warc\\.gz", offset: u64, length: u64,
    ) {
        let place = ArchiveRef { file, offset, length };
        prop_assert_eq!(place.to_string().parse::<ArchiveRef>().unwrap(), place);
    }
}
