use crate::server::{limits, numbered_lines};
use bytes::Bytes;
use fetch::{Body, DecodeError, Decoded, FetchLimits, decode};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::HeaderMap;
use proptest::prelude::*;
use std::io::{Read, Write};

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn decode_as(encodings: &[&str], data: impl Into<Bytes>) -> Result<Decoded, DecodeError> {
    decode_within(encodings, data, &limits())
}

fn decode_within(
    encodings: &[&str],
    data: impl Into<Bytes>,
    limits: &FetchLimits,
) -> Result<Decoded, DecodeError> {
    let mut headers = HeaderMap::new();
    for encoding in encodings {
        headers.append("content-encoding", encoding.parse().unwrap());
    }
    decode(&Body::Memory(data.into()), &headers, limits)
}

fn text(decoded: &Decoded) -> String {
    let mut text = String::new();
    decoded.reader().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(decoded.len(), text.len() as u64);
    text
}

#[test]
fn each_encoding_is_taken_off() {
    let data = b"[1, 2, 3]";
    let members = [gzip(b"[1, "), gzip(b""), gzip(b"2, 3]")].concat();
    let padded = [gzip(data), vec![0; 300]].concat();
    for (encodings, packed) in [
        (&["gzip"][..], gzip(data)),
        (&["x-gzip"], gzip(data)),
        (&["GZip"], gzip(data)),
        (&["gzip"], members),
        (&["gzip"], padded),
        (&["deflate"], zlib(data)),
        (&["deflate"], raw_deflate(data)),
        (&["deflate, gzip"], gzip(&zlib(data))),
        (&["gzip", "deflate"], zlib(&gzip(data))),
        (&["identity, gzip"], gzip(data)),
        (&["identity"], data.to_vec()),
        (&[""], data.to_vec()),
        (&[], data.to_vec()),
    ] {
        assert_eq!(text(&decode_as(encodings, packed).unwrap()), "[1, 2, 3]", "{encodings:?}");
    }
}

#[test]
fn a_body_that_is_not_encoded_is_not_copied() {
    let data = Bytes::from_static(b"[1]");
    let decoded = decode_as(&[], data.clone()).unwrap();
    assert_eq!(decoded.bytes().unwrap().as_ptr(), data.as_ptr());
    // Nor is nothing an error, whatever it claims to be.
    assert!(decode_as(&["gzip"], Bytes::new()).unwrap().is_empty());
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = gzip(&vec![0; 8 << 20]);
    assert!(bomb.len() < 1 << 20);
    let nested = gzip(&bomb);
    for (encodings, packed) in [(&["gzip"][..], bomb), (&["gzip, gzip"], nested)] {
        let dir = tempfile::tempdir().unwrap();
        let limits = FetchLimits { spool_dir: dir.path().join("spool"), ..limits() };
        let stopped = decode_within(encodings, packed, &limits).unwrap_err();
        assert!(matches!(stopped, DecodeError::TooLarge { limit_bytes } if limit_bytes == 4 << 20));
        assert_eq!(std::fs::read_dir(limits.spool_dir).unwrap().count(), 0, "a file is left");
    }
    // Also where the limit fits in memory, and for what is not encoded.
    let limits = FetchLimits { decoded_limit_bytes: 100, ..limits() };
    for encodings in [&["gzip"][..], &[]] {
        let data = if encodings.is_empty() { vec![b'7'; 101] } else { gzip(&[b'7'; 101]) };
        assert!(matches!(
            decode_within(encodings, data, &limits),
            Err(DecodeError::TooLarge { limit_bytes: 100 })
        ));
    }
    assert_eq!(decode_within(&["gzip"], gzip(&[b'7'; 100]), &limits).unwrap().len(), 100);
}

#[test]
fn what_is_cut_short_or_damaged_is_never_taken_for_whole() {
    let data = numbered_lines(50_000);
    for (encoding, packed) in [
        ("gzip", gzip(data.as_bytes())),
        ("gzip", [gzip(b"[1]"), gzip(data.as_bytes())].concat()),
        ("deflate", zlib(data.as_bytes())),
        ("deflate", raw_deflate(data.as_bytes())),
    ] {
        for cut in [1, 4, 8, packed.len() / 2, packed.len() - 3] {
            let part = packed[..packed.len() - cut].to_vec();
            let broken = decode_as(&[encoding], part).unwrap_err();
            assert!(matches!(broken, DecodeError::Broken { .. }), "{encoding} -{cut}: {broken}");
        }
    }
    for damaged in [b"{\"plain\": \"json\"}".to_vec(), [gzip(b"[1]"), b"rest".to_vec()].concat()] {
        assert!(matches!(decode_as(&["gzip"], damaged), Err(DecodeError::Broken { .. })));
    }
    let mut flipped = gzip(data.as_bytes());
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    assert!(matches!(decode_as(&["gzip"], flipped), Err(DecodeError::Broken { .. })));
}

#[test]
fn what_was_not_asked_for_is_not_guessed() {
    for encodings in [&["br"][..], &["gzip, zstd"], &["gzip, gzip, gzip"]] {
        assert!(matches!(decode_as(encodings, gzip(b"x")), Err(DecodeError::Unsupported { .. })));
    }
}

#[test]
fn a_large_body_is_decoded_to_a_file_and_read_in_parts() {
    let data = numbered_lines(50_000);
    let dir = tempfile::tempdir().unwrap();
    let limits = FetchLimits { spool_dir: dir.path().to_owned(), ..limits() };
    let decoded = decode_within(&["gzip"], gzip(data.as_bytes()), &limits).unwrap();
    assert!(decoded.bytes().is_none());
    assert!(text(&decoded) == data);
    for decoded in [decoded, decode_as(&[], data.clone()).unwrap()] {
        assert_eq!(decoded.slice(80_000..80_007).unwrap(), b"0010000");
        assert_eq!(decoded.slice(400_000..400_000).unwrap(), b"");
        assert!(decoded.slice(399_999..400_001).is_err());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn no_bytes_panic(
        data in prop::collection::vec(any::<u8>(), 0..300),
        encoding in "(gzip|deflate|x-gzip|identity|br|,| ){0,4}",
    ) {
        drop(decode_as(&[&encoding], data));
    }

    #[test]
    fn what_went_in_comes_out(data in prop::collection::vec(any::<u8>(), 1..5000), split in 0usize..5000) {
        let (first, second) = data.split_at(split.min(data.len()));
        let packed = [gzip(first), gzip(second)].concat();
        let decoded = decode_as(&["gzip"], packed).unwrap();
        prop_assert_eq!(decoded.bytes().unwrap().as_ref(), &data[..]);
    }
}
