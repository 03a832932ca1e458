//! Input that must not hurt.

use crate::table::{extract, gather, spec};
use extract::{ExtractedBatch, Extractor, Finding, SinkError, SpecError};
use std::io::{self, Read};

fn broken(body: &[u8]) -> (u64, String) {
    match extract(&spec("$.data[*]", None, &["x $.x int"]), body).extraction.finding {
        Finding::Broken { at, message } => (at, message),
        other => panic!("{}: {other:?}", String::from_utf8_lossy(body)),
    }
}

#[test]
fn what_is_not_json_is_broken_where_it_breaks() {
    for (body, at, message) in [
        ("", 0, "the body is empty"),
        (" \n", 2, "the body is empty"),
        ("<html>", 0, "a value is due, found `<` (HTML or XML, not JSON)"),
        ("{\"data\":[{\"x\":1}", 16, "the body ends where `,` or `]` is due"),
        ("{\"data\":[{\"x\":1}]}x", 18, "the end of the document is due, found `x`"),
        ("{\"data\":[{\"x\":1}]}{}", 18, "the end of the document is due, found `{`"),
        ("{\"data\":[{\"x\":1}}", 16, "`,` or `]` is due, found `}`"),
        (
            "{\"data\":[{\"x\":NaN}]}",
            14,
            "a value is due, found `N` (`NaN` and `Infinity` are not JSON)",
        ),
        ("{\"x\":-Infinity}", 6, "not a number that JSON knows"),
        ("{\"x\":01}", 6, "`,` or `}` is due, found `1`"),
        ("{\"x\":1.}", 7, "not a number that JSON knows"),
        ("{\"x\":1e", 7, "the body ends inside a number"),
        ("{\"x\":nul}", 8, "a word that JSON does not know: only `true`, `false` and `null`"),
        ("{\"x\":\"\u{1}\"}", 6, "the control character 0x01 stands bare in a text"),
        ("{\"x\":\"\\x\"}", 7, "not an escape that JSON knows"),
        ("{\"x\":\"\\u12G4\"}", 10, "not an escape that JSON knows"),
        ("{\"x\":\"a", 7, "the body ends inside a text"),
        ("{\"x\":1,}", 7, "a key is due, found `}`"),
        ("[1,]", 3, "a value is due, found `]`"),
        ("{'x':1}", 1, "a key or `}` is due, found `'`"),
        ("[1 2]", 3, "`,` or `]` is due, found `2`"),
        ("{\"x\" 1}", 5, "`:` is due, found `1`"),
        ("é", 0, "a value is due, found the byte 0xc3"),
        ("{\"data\":[],\"data\":[{\"x\":1}]}", 16, "the key `data` stands twice in one object"),
    ] {
        let (found_at, found) = broken(body.as_bytes());
        assert_eq!(found, message, "{body}");
        assert_eq!(found_at, at, "{body}");
    }
}

#[test]
fn only_utf8_is_read() {
    assert_eq!(broken(b"{\"x\":\"caf\xe9\"}"), (9, "not UTF-8: the byte 0xe9".to_owned()));
    let utf16: Vec<u8> = "{\"x\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(broken(&utf16).0, 1);
    assert!(broken(&utf16).1.contains("UTF-16"));
    let with_mark = [&[0xFF, 0xFE][..], &utf16].concat();
    assert_eq!(broken(&with_mark), (0, "not UTF-8: the byte 0xff, as UTF-16 begins".to_owned()));
    assert_eq!(broken(b"\"\xe2\x82").1, "not UTF-8: the body ends inside a character");
    let marked = b"\xEF\xBB\xBF{\"data\":[{\"x\":1}]}";
    let table = extract(&spec("$.data[*]", None, &["x $.x int"]), marked);
    assert_eq!((table.rows, table.spans), (vec![vec!["1".to_owned()]], vec![(12, 19)]));
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let (at, message) = broken("[".repeat(1_000_000).as_bytes());
    assert_eq!((at, message.as_str()), (64, "nested deeper than 64 levels"));
    let mut deep = spec("$[*]", None, &["x $.x int optional"]);
    deep.depth_limit = 60_000;
    let body = format!("[{{\"y\":{}{}}}]", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(extract(&deep, body.as_bytes()).extraction.records, 1);
}

/// An endless array, handed out in pieces; counts what was read.
struct Endless<'b> {
    head: &'b [u8],
    body: &'b [u8],
    left: u64,
    at: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        if !self.head.is_empty() {
            return self.head.read(buffer);
        }
        let take = buffer.len().min(self.body.len() - self.at).min(self.left as usize);
        buffer[..take].copy_from_slice(&self.body[self.at..self.at + take]);
        self.at = (self.at + take) % self.body.len();
        self.left -= take as u64;
        Ok(take)
    }
}

#[test]
fn a_record_over_its_limit_is_rejected_and_the_next_one_read() {
    let mut limited = spec("$[*]", None, &["x $.x int"]);
    limited.record_limit_bytes = 100;
    let long = format!("{{\"x\":1,\"y\":\"{}\"}}", "é".repeat(500_000));
    let exact = format!("{{\"x\":2,\"y\":\"{}\"}}", "z".repeat(86));
    assert_eq!(exact.len(), 100);
    let body = format!("[{long},{exact}]");
    let table = extract(&limited, body.as_bytes());
    assert_eq!(table.rows, [["2"]]);
    assert_eq!(table.ordinals, [1]);
    assert_eq!(
        table.extraction.rejects[0].reason,
        "the record has 1000014 bytes, at most 100 are allowed"
    );
    let extractor = Extractor::new(&limited).unwrap();
    assert_eq!(gather(|sink| extractor.extract_reader(&mut body.as_bytes(), sink)), table);
}

#[test]
fn a_body_of_many_megabytes_passes_through() {
    let extractor = Extractor::new(&spec("$[*]", None, &["x $.x int"])).unwrap();
    let mut reader = Endless { head: b"", body: b"{\"x\":123},", left: 40_000_000, at: 0 };
    let mut rows = 0;
    let extraction = extractor.extract_reader(&mut b"[".chain(&mut reader), &mut |found| {
        rows += found.batch.num_rows();
        Ok(())
    });
    assert_eq!(rows, 4_000_000 / extract::BATCH_ROWS_LIMIT * extract::BATCH_ROWS_LIMIT);
    let at = 40_000_001;
    let message = "the body ends where a value is due".to_owned();
    assert_eq!(extraction.finding, Finding::Broken { at, message });
}

#[test]
fn a_batch_is_bounded_in_bytes() {
    let extractor = Extractor::new(&spec("$[*]", None, &["x $.x text"])).unwrap();
    let record = format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000));
    let body = format!("[{}]", vec![record; 30].join(","));
    let mut batches = Vec::new();
    extractor.extract_slice(body.as_bytes(), &mut |found| {
        batches.push(found.batch.num_rows());
        Ok(())
    });
    assert_eq!(batches, [9, 9, 9, 3]);
}

#[test]
fn a_sink_or_reader_that_fails_stops_the_extraction() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let extractor = Extractor::new(&spec("$[*]", None, &["x $.x int"])).unwrap();
    let refuse = &mut |_: ExtractedBatch| Err(SinkError::new("disk full"));
    let stopped = extractor.extract_slice(b"[{\"x\":1}]", refuse);
    let message = "disk full".to_owned();
    assert_eq!(stopped.finding, Finding::Stopped { at: 9, message });
    assert_eq!(stopped.records, 0);
    let mut reader = b"[{\"x\":1}".chain(Failing);
    let stopped = extractor.extract_reader(&mut reader, &mut |_| Ok(()));
    let message = "the body could not be read: gone".to_owned();
    assert_eq!(stopped.finding, Finding::Stopped { at: 8, message });
}

#[test]
fn a_sink_may_extract() {
    let extractor = Extractor::new(&spec("$[*]", None, &["x $.x text"])).unwrap();
    let mut inner = 0;
    let outer = extractor.extract_slice(br#"[{"x":"\u0061"},{"x":"b"}]"#, &mut |_| {
        inner += extractor.extract_slice(br#"[{"x":"c"}]"#, &mut |_| Ok(())).records;
        Ok(())
    });
    assert_eq!((outer.records, inner), (2, 1));
}

#[test]
fn a_spec_that_cannot_be_followed_is_refused() {
    let refused = |spec| Extractor::new(&spec).unwrap_err();
    assert_eq!(refused(spec("$", None, &[])), SpecError::NoFields);
    let twice = spec("$", None, &["x $.x int", "x $.y int"]);
    assert_eq!(refused(twice), SpecError::DuplicateField { field: "x".into() });
    let each = spec("$", None, &["x $.x[*] int"]);
    assert!(matches!(refused(each), SpecError::EachInField { .. }));
    let mut limits = spec("$", None, &["x $.x int"]);
    limits.record_limit_bytes = 0;
    assert!(matches!(refused(limits), SpecError::Limit { setting: "record_limit_bytes", .. }));
}
