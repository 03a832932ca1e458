//! Random documents, broken and whole, in random pieces: serde_json is the judge.

use crate::table::{Table, extract, gather, spec};
use extract::{Extractor, Finding};
use model::field::ExtractSpec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::{self, Read};

/// Hands out a body in given pieces, over and over.
struct Pieces<'b> {
    body: &'b [u8],
    sizes: &'b [usize],
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let size = self.sizes[self.turn % self.sizes.len()];
        if size == 0 {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let take = size.min(buffer.len()).min(self.body.len());
        buffer[..take].copy_from_slice(&self.body[..take]);
        self.body = &self.body[take..];
        Ok(take)
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    (prop::collection::vec(0..9_usize, 0..6)).prop_map(|mut sizes| {
        sizes.push(1);
        sizes
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 64.0)),
        "[a-e\"\\\\\u{1}\u{e9}\u{20ac}\u{1f600}/ ]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d\\\\\"é]{0,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    (any_json(), prop::collection::vec(any_json(), 0..6), any_json(), any::<bool>()).prop_map(
        |(before, data, after, whole)| {
            if whole { json!({"a": before, "data": data, "z": after}) } else { before }
        },
    )
}

fn written(value: &Value, pretty: bool) -> Vec<u8> {
    if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) }.unwrap()
}

fn loose() -> ExtractSpec {
    let fields =
        ["whole $ json", "a $.a json optional", "b $.a.b[1] json optional", "t $.c text optional"];
    spec("$.data[*]", Some("$.z.a == 1"), &fields)
}

fn in_pieces(spec: &ExtractSpec, body: &[u8], sizes: &[usize]) -> Table {
    let extractor = Extractor::new(spec).unwrap();
    gather(|sink| extractor.extract_reader(&mut Pieces { body, sizes, turn: 0 }, sink))
}

/// As the table shows it.
fn shown(value: &Value) -> String {
    format!("{:?}", value.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn pieces_make_no_difference(value in document(), pretty: bool, sizes in sizes(), limit in 1..200_usize) {
        let body = written(&value, pretty);
        let mut spec = loose();
        prop_assert_eq!(in_pieces(&spec, &body, &sizes), extract(&spec, &body));
        spec.record_limit_bytes = limit;
        prop_assert_eq!(in_pieces(&spec, &body, &sizes), extract(&spec, &body));
    }

    #[test]
    fn every_record_is_given_out_or_rejected(value in document(), pretty: bool) {
        let body = written(&value, pretty);
        let table = extract(&loose(), &body);
        let records = value.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        prop_assert_eq!(records.len() as u64, table.extraction.records + table.extraction.rejected);
        for (row, (ordinal, span)) in table.rows.iter().zip(table.ordinals.iter().zip(&table.spans)) {
            let record = &records[*ordinal as usize];
            let cut = &body[span.0 as usize..span.1 as usize];
            prop_assert_eq!(&serde_json::from_slice::<Value>(cut).unwrap(), record);
            let same = |cell: &str, expected: Option<&Value>| match expected {
                None | Some(Value::Null) => cell == "null",
                Some(_) if pretty => cell != "null",
                Some(value) => cell == shown(value),
            };
            prop_assert!(same(&row[1], record.get("a")), "{:?} {}", row, record);
            let b = record.pointer("/a/b").filter(|b| b.is_array()).and_then(|b| b.get(1));
            prop_assert!(same(&row[2], b), "{:?} {}", row, record);
        }
        for reject in &table.extraction.rejects {
            let record = &records[reject.ordinal as usize];
            let fits = record.is_object()
                && record.get("a").is_none_or(|a| a.is_object() || a.is_null())
                && record.pointer("/a/b").is_none_or(|b| b.is_array() || b.is_null())
                && record.get("c").is_none_or(|c| c.is_string() || c.is_number() || c.is_null());
            prop_assert!(!fits, "{} {:?}", record, reject);
        }
    }

    #[test]
    fn broken_is_what_serde_json_refuses(
        value in document(),
        pretty: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, prop::sample::select(b"{}[]\",:\\u0e-.+n1 \x00\xc3\xa9\x1f".to_vec())), 1..4),
        sizes in sizes(),
    ) {
        let mut body = written(&value, pretty);
        for (place, edit, byte) in edits {
            let at = place.index(body.len() + 1);
            match edit {
                0 => body.insert(at, byte),
                1 if at < body.len() => body[at] = byte,
                2 if at < body.len() => { body.remove(at); }
                _ => body.truncate(at),
            }
        }
        let table = extract(&loose(), &body);
        prop_assert_eq!(&in_pieces(&loose(), &body, &sizes), &table);
        let judged = std::str::from_utf8(&body).is_ok_and(|text| {
            serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
        });
        match &table.extraction.finding {
            Finding::Broken { message, .. } if message.contains("twice") => {}
            finding => prop_assert_eq!(
                judged,
                !matches!(finding, Finding::Broken { .. }),
                "{} {:?}", String::from_utf8_lossy(&body), finding
            ),
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
        extract(&loose(), &body);
    }
}
