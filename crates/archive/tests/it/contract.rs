//! What one engine promises, both promise.

use crate::{DAY, append, at, body_at, headers, owned, record, source};
use archive::{
    Archive, ArchiveError, FileArchive, Limits, MemoryArchive, RefersTo, Revisit, digest, member,
    revisit_member,
};
use model::{AttemptId, SourceId};
use std::fs;

/// Bodies above this are not handed out by the archives under test.
const BODY_LIMIT: u64 = 1 << 20;

async fn a_response_comes_back_as_it_was(archive: &dyn Archive) {
    let source = source();
    let headers = headers(&[("Content-Type", "application/json"), ("ETag", "\"a: b\"")]);
    let body = br#"{"data":[{"t":"2026-11-19"}]}"#;
    let mut sent = record(&source, &headers, body);
    sent.truncated = Some("disconnect");
    let place = archive.append(&source, DAY, member(&sent, body)).unwrap();
    assert!(place.file.starts_with("prices/2026-11-19/"), "{place}");
    archive.flush().await.unwrap();

    let found = archive.read(&place).await.unwrap();
    assert_eq!(found.target_uri, sent.target_uri);
    assert_eq!(found.received_at, sent.received_at);
    assert_eq!(found.attempt, Some(AttemptId(7)));
    assert_eq!(found.status, 200);
    assert_eq!(found.headers, owned(&headers));
    assert_eq!(found.body, body);
    assert_eq!(found.digest, digest(body));
    assert_eq!(found.truncated.as_deref(), Some("disconnect"));
    assert_eq!(found.revisit, None);
}

async fn what_is_appended_can_be_read_before_it_is_flushed(archive: &dyn Archive) {
    let first = append(archive, b"one");
    let second = append(archive, b"two");
    assert_ne!(first, second);
    assert_eq!(body_at(archive, &second).await, b"two");
    assert_eq!(body_at(archive, &first).await, b"one");
    let third = append(archive, b"three");
    assert_eq!(body_at(archive, &third).await, b"three");
}

async fn bodies_of_all_sizes_come_back(archive: &dyn Archive) {
    let long: Vec<u8> = (0..BODY_LIMIT).map(|n| ((n * n) >> 7) as u8).collect();
    let mut places = Vec::new();
    for size in [0, 1, 3000, 70_000, 300_000, long.len()] {
        places.push((size, append(archive, &long[..size])));
    }
    archive.flush().await.unwrap();
    for (size, place) in places {
        assert_eq!(body_at(archive, &place).await, &long[..size], "{size}");
    }
}

async fn a_body_is_found_by_its_digest_and_source(archive: &dyn Archive) {
    let body = b"found again";
    assert_eq!(archive.find(&source(), &digest(body)), None);
    let place = append(archive, body);
    assert_eq!(archive.find(&source(), &digest(body)), Some(place));
    assert_eq!(archive.find(&SourceId::parse("other").unwrap(), &digest(body)), None);
}

async fn a_truncated_body_is_nobodys_duplicate(archive: &dyn Archive) {
    let (source, body) = (source(), b"half a bo");
    let mut half = record(&source, &[], body);
    half.truncated = Some("length");
    archive.append(&source, DAY, member(&half, body)).unwrap();
    assert_eq!(archive.find(&source, &digest(body)), None);
}

async fn a_revisit_leads_to_the_body(archive: &dyn Archive) {
    let source = source();
    let first_headers = headers(&[("Content-Type", "text/csv")]);
    let body = b"a,b\n1,2\n";
    let first = record(&source, &first_headers, body);
    let holder = archive.append(&source, DAY, member(&first, body)).unwrap();
    let refers_to = RefersTo {
        at: &holder,
        target_uri: Some(first.target_uri),
        received_at: Some(first.received_at),
    };

    let again_headers = headers(&[("Age", "1")]);
    let mut again = record(&source, &again_headers, body);
    again.received_at = at("2026-11-20T21:00:00Z");
    let identical = revisit_member(&again, &refers_to, Revisit::IdenticalDigest);
    let identical = archive.append(&source, DAY, identical).unwrap();
    let found = archive.read(&identical).await.unwrap();
    assert_eq!((found.body.as_slice(), found.digest), (body.as_slice(), digest(body)));
    assert_eq!((found.status, &found.headers), (200, &owned(&again_headers)));
    assert_eq!(found.received_at, again.received_at);
    assert_eq!(found.revisit, Some(Revisit::IdenticalDigest));

    again.status = 304;
    let unmodified = revisit_member(&again, &refers_to, Revisit::ServerNotModified);
    let unmodified = archive.append(&source, DAY, unmodified).unwrap();
    archive.flush().await.unwrap();
    let found = archive.read(&unmodified).await.unwrap();
    assert_eq!(found.body, body);
    assert_eq!((found.status, found.headers), (200, owned(&first_headers)), "as of the body");
    assert_eq!(found.received_at, again.received_at);
    assert_eq!(found.revisit, Some(Revisit::ServerNotModified));
    let index = archive.find(&source, &digest(body));
    assert_eq!(index, Some(holder), "a revisit does not stand in for the body");
}

async fn a_revisit_of_another_body_is_an_error(archive: &dyn Archive) {
    let source = source();
    let holder = append(archive, b"one body");
    let refers_to = RefersTo {
        at: &holder,
        target_uri: Some("https://x"),
        received_at: Some(at("2026-11-19T00:00:00Z")),
    };
    let claim = record(&source, &[], b"another body");
    let wrong = revisit_member(&claim, &refers_to, Revisit::IdenticalDigest);
    let wrong = archive.append(&source, DAY, wrong).unwrap();
    let error = archive.read(&wrong).await.unwrap_err();
    assert!(matches!(error, ArchiveError::DigestMismatch { .. }), "{error}");
}

async fn a_body_that_is_not_its_digest_is_an_error(archive: &dyn Archive) {
    let source = source();
    let claim = record(&source, &[], b"what was received");
    let place = archive.append(&source, DAY, member(&claim, b"what was written")).unwrap();
    let error = archive.read(&place).await.unwrap_err();
    let expected = digest(b"what was received");
    assert!(
        matches!(error, ArchiveError::DigestMismatch { expected: e, .. } if e == expected),
        "{error}"
    );
}

async fn a_body_above_the_limit_is_refused_not_read(archive: &dyn Archive) {
    let place = append(archive, &vec![b' '; BODY_LIMIT as usize + 1]);
    let error = archive.read(&place).await.unwrap_err();
    assert!(matches!(error, ArchiveError::BodyTooLarge { limit_bytes: BODY_LIMIT, .. }), "{error}");
    assert!(archive.read(&append(archive, &vec![b' '; BODY_LIMIT as usize])).await.is_ok());
}

async fn a_reference_nobody_gave_is_an_error(archive: &dyn Archive) {
    let place = append(archive, b"real");
    for wrong in [
        "prices/2026-11-19/000099.warc.gz@0+10".to_owned(),
        format!("{}@{}+{}", place.file, place.offset + 1, place.length),
        format!("{}@{}+{}", place.file, place.offset, place.length + 1),
        format!("{}@{}+{}", place.file, place.offset + 100_000, place.length),
    ] {
        assert!(archive.read(&wrong.parse().unwrap()).await.is_err(), "{wrong}");
    }
    let mut outside = place;
    "../secret".clone_into(&mut outside.file);
    let error = archive.read(&outside).await.unwrap_err();
    assert!(matches!(error, ArchiveError::BadReference(_)), "{error}");
}

async fn a_spooled_body_is_archived_like_any_other(archive: &dyn Archive) {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let body: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&spool, &body).unwrap();
    let source = source();
    let headers = headers(&[("Content-Type", "application/octet-stream")]);
    let sent = record(&source, &headers, &body);
    let place = archive.append_file(&sent, DAY, &spool).await.unwrap();
    archive.flush().await.unwrap();
    let found = archive.read(&place).await.unwrap();
    assert!(found.body == body);
    assert_eq!((found.digest, &found.headers), (digest(&body), &owned(&headers)));
    assert_eq!(archive.find(&source, &digest(&body)), Some(place));

    let other = record(&source, &[], b"not what lies in the spool");
    let error = archive.append_file(&other, DAY, &spool).await.unwrap_err();
    assert!(matches!(error, ArchiveError::SpoolChanged { .. }), "{error}");
    let error = archive.append_file(&sent, DAY, &dir.path().join("gone")).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Io { action: "read", .. }), "{error}");
}

macro_rules! contract {
    ($($case:ident)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                super::$case(&MemoryArchive::with_body_limit(BODY_LIMIT)).await;
            })*
        }

        mod file {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let limits = Limits { body_bytes: BODY_LIMIT, ..Limits::default() };
                super::$case(&FileArchive::open_with(dir.path(), limits).unwrap()).await;
            })*
        }

        /// Every bound so tight that files fill, close and open again all the time.
        mod cramped_file {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let limits = Limits {
                    file_bytes: 2000,
                    open_files: 1,
                    buffer_bytes: 1,
                    body_bytes: BODY_LIMIT,
                    index_entries: 4,
                };
                super::$case(&FileArchive::open_with(dir.path(), limits).unwrap()).await;
            })*
        }
    };
}

contract! {
    a_response_comes_back_as_it_was
    what_is_appended_can_be_read_before_it_is_flushed
    bodies_of_all_sizes_come_back
    a_body_is_found_by_its_digest_and_source
    a_truncated_body_is_nobodys_duplicate
    a_revisit_leads_to_the_body
    a_revisit_of_another_body_is_an_error
    a_body_that_is_not_its_digest_is_an_error
    a_body_above_the_limit_is_refused_not_read
    a_reference_nobody_gave_is_an_error
    a_spooled_body_is_archived_like_any_other
}
