//! One gzip member a record (RFC 1952), so that any record can be read without those before it.
//!
//! Records of a few hundred bytes are stored, small ones go by our own single pass ([`small`]), larger ones by libdeflate, those that are not in
//! memory by flate2. The member of a complete response
//! carries the digest of its body in an extra field of the gzip header, so that an archive can index
//! what is appended without inflating it; other readers skip the field.

mod small;

use flate2::{Compression, GzBuilder, write::GzEncoder};
use libdeflater::{CompressionLvl, Compressor};
use model::Digest;
use std::{cell::RefCell, io::Write};

/// The extra field's name: the first two letters of the program's.
const FIELD: [u8; 2] = *b"TW";
/// Name, length, digest.
const FIELD_BYTES: usize = 2 + 2 + 32;
/// Fixed part, length of the extra fields, extra field.
const MARKED_HEADER_BYTES: usize = 10 + 2 + FIELD_BYTES;

/// Scratch memory above this is given back: one large body must not stay paid for.
const KEEP_BYTES: usize = 4 << 20;

/// Records below this are stored as they are. Such are those without a body of their own, which consist
/// of digests, dates and addresses: of 711 bytes [`small`] left
/// 556, and took longer than all the rest of the record.
const STORED_BYTES: usize = 1 << 10;

struct Squeezer {
    compressor: Compressor,
    scratch: Vec<u8>,
}

thread_local! {
    static SQUEEZER: RefCell<Squeezer> = RefCell::new(Squeezer {
        compressor: Compressor::new(CompressionLvl::fastest()),
        scratch: Vec::new(),
    });
}

/// Compresses one record, marked with the digest of its body if it may be found by it.
pub(crate) fn member(record: &[u8], mark: Option<Digest>) -> Vec<u8> {
    let mut member = Vec::with_capacity(MARKED_HEADER_BYTES + record.len() + 64);
    header(&mut member, mark);
    let start = member.len();
    if record.len() < STORED_BYTES {
        stored(record, &mut member);
    } else if record.len() <= small::LIMIT_BYTES {
        small::deflate(record, &mut member);
    } else {
        squeeze(record, &mut member);
    }
    if member.len() - start > record.len() + 5 {
        member.truncate(start);
        stored(record, &mut member);
    }
    member.extend_from_slice(&libdeflater::crc32(record).to_le_bytes());
    member.extend_from_slice(&(record.len() as u32).to_le_bytes());
    member
}

fn squeeze(record: &[u8], out: &mut Vec<u8>) {
    SQUEEZER.with_borrow_mut(|Squeezer { compressor, scratch }| {
        let bound = compressor.deflate_compress_bound(record.len());
        if scratch.len() < bound {
            scratch.resize(bound, 0);
        }
        match compressor.deflate_compress(record, &mut scratch[..bound]) {
            Ok(size) => out.extend_from_slice(&scratch[..size]),
            // The bound makes this impossible; were it to happen, stored blocks are valid too.
            Err(_) => stored(record, out),
        }
        if scratch.len() > KEEP_BYTES {
            *scratch = Vec::new();
        }
    });
}

fn header(member: &mut Vec<u8>, mark: Option<Digest>) {
    let flags = if mark.is_some() { 4 } else { 0 };
    // Magic, deflate, flags, no time, no hints, unknown system.
    member.extend_from_slice(&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255]);
    if let Some(digest) = mark {
        member.extend_from_slice(&(FIELD_BYTES as u16).to_le_bytes());
        member.extend_from_slice(&extra(digest));
    }
}

fn extra(digest: Digest) -> [u8; FIELD_BYTES] {
    let mut field = [0; FIELD_BYTES];
    field[..2].copy_from_slice(&FIELD);
    field[2] = 32;
    field[4..].copy_from_slice(&digest.0);
    field
}

/// The digest a member is marked with.
pub(crate) fn mark(member: &[u8]) -> Option<Digest> {
    let field = member.get(..MARKED_HEADER_BYTES)?;
    let expected = extra(Digest([0; 32]));
    if field[3] != 4 || field[12..16] != expected[..4] {
        return None;
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&field[16..]);
    Some(Digest(digest))
}

/// An encoder for a record that is not in memory.
pub(crate) fn stream<W: Write>(into: W, mark: Option<Digest>) -> GzEncoder<W> {
    let builder = GzBuilder::new().operating_system(255);
    let builder = match mark {
        Some(digest) => builder.extra(extra(digest)),
        None => builder,
    };
    builder.write(into, Compression::fast())
}

/// Deflate without compression: blocks of up to 65,535 bytes, each with its length.
fn stored(record: &[u8], out: &mut Vec<u8>) {
    let count = record.len().div_ceil(65_535).max(1);
    let mut blocks = record.chunks(65_535);
    for number in 1..=count {
        let block = blocks.next().unwrap_or_default();
        let size = block.len() as u16;
        out.push(u8::from(number == count));
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn inflate(member: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        flate2::read::GzDecoder::new(member).read_to_end(&mut record).unwrap();
        record
    }

    #[test]
    fn a_member_of_any_size_inflates_to_its_record() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        for size in [0, 1, 3, 4, 7, 8, 4095, 4096, 4097, 65_535, 65_536, 1_000_000] {
            assert_eq!(inflate(&member(&text[..size], None)), &text[..size], "{size}");
            assert_eq!(inflate(&member(&vec![7; size], None)), vec![7; size], "{size}");
        }
    }

    #[test]
    fn the_mark_is_found_again_and_only_where_it_was_set() {
        let digest = crate::digest(b"body");
        assert_eq!(mark(&member(b"record", Some(digest))), Some(digest));
        assert_eq!(mark(&member(b"record", None)), None);
        let mut streamed = Vec::new();
        stream(&mut streamed, Some(digest)).write_all(b"record").unwrap();
        assert_eq!(mark(&streamed), Some(digest));
        assert_eq!(mark(b"\x1f\x8b"), None);
    }

    #[test]
    fn what_cannot_be_compressed_grows_by_a_few_bytes_only() {
        let noise: Vec<u8> = (0..128_u64).flat_map(|n| crate::digest(&n.to_le_bytes()).0).collect();
        assert!(member(&noise, None).len() <= noise.len() + 10 + 8 + 5);
        assert_eq!(inflate(&member(&noise, None)), noise);
    }

    #[test]
    fn text_shrinks() {
        let text = "{\"t\":\"2026-11-19\",\"c\":12.345678,\"v\":123456},".repeat(40);
        assert!(member(&text.as_bytes()[..1024], None).len() < 200);
    }

    proptest! {
        #[test]
        fn any_small_record_inflates_to_itself(
            words in prop::collection::vec("[a-d]{0,9}|\\PC{0,20}", 0..100),
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut record = words.concat().into_bytes();
            record.extend(bytes);
            prop_assert_eq!(inflate(&member(&record, None)), record);
        }
    }
}
