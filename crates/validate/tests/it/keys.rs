//! Hashes of keys and content.

use crate::batches::{batch, cents, date, flag, float, instant, int, key, text, validator};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use std::fmt::Write as _;
use validate::{DUPLICATE_KEY, KeySet, content_hash};

fn hex(hashes: Vec<[u8; 16]>) -> Vec<String> {
    let text = |hash: [u8; 16]| {
        hash.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    hashes.into_iter().map(text).collect()
}

fn wide() -> RecordBatch {
    batch(&[
        ("text", text(&[Some("é"), Some("")])),
        ("int", int(&[Some(-1), Some(0)])),
        ("float", float(&[Some(0.5), Some(-0.0)])),
        ("close", cents(&[Some(150), Some(0)])),
        ("final", flag(&[Some(true), None])),
        ("day", date(&[Some(20_776), None])),
        ("at", instant(&[Some(1), None])),
    ])
}

/// The expected values were computed by another program, from the description in `hash.rs`.
#[test]
fn what_is_kept_in_tables_never_changes() {
    let batch = wide();
    let content = hex(content_hash(&batch, &[0, 1, 2, 3, 4, 5, 6]));
    assert_eq!(content, ["cfe3b332287d9ce2eabc616a6ed4e041", "b9a94106fb71485a40b6e6247901bc80"]);
    let keys = |names: &[&str]| {
        let validator = validator(&key(names), batch.schema_ref()).unwrap();
        hex(validator.record_keys(&batch, &[0, 7], "A", "once"))
    };
    assert_eq!(keys(&[]), ["a66c701845710c6cd6082b9789002c9b", "80cd67c0ee6448fded470ccd7ef81872"]);
    let expected = ["45ffc4e4942608dddfbae800aa8fe2d3", "9c2d487dc0cfcaaa30097f99c0109602"];
    assert_eq!(keys(&["entity", "period", "day", "close"]), expected);
}

#[test]
fn content_depends_on_names_types_and_values_alone() {
    let hash = |columns: &[(&str, arrow::array::ArrayRef)]| {
        let all: Vec<usize> = (0..columns.len()).collect();
        content_hash(&batch(columns), &all)[0]
    };
    let one = hash(&[("a", int(&[Some(1)])), ("b", text(&[Some("x")]))]);
    assert_eq!(one, hash(&[("b", text(&[Some("x")])), ("a", int(&[Some(1)]))]), "order");
    let added = [("a", int(&[Some(1)])), ("aa", cents(&[None])), ("b", text(&[Some("x")]))];
    assert_eq!(one, hash(&added), "a new column without a value");
    for other in [
        hash(&[("a", int(&[Some(2)])), ("b", text(&[Some("x")]))]),
        hash(&[("a", int(&[None])), ("b", text(&[Some("x")]))]),
        hash(&[("a", float(&[Some(1.0)])), ("b", text(&[Some("x")]))]),
        hash(&[("a", text(&[Some("1")])), ("b", text(&[Some("x")]))]),
        hash(&[("c", int(&[Some(1)])), ("b", text(&[Some("x")]))]),
        hash(&[("a", int(&[Some(1)]))]),
    ] {
        assert_ne!(one, other);
    }
    let texts = |a: &'static str, b: &'static str| {
        hash(&[("a", text(&[Some(a)])), ("b", text(&[Some(b)]))])
    };
    assert_ne!(texts("xb", ""), texts("x", "b"));
    assert_eq!(hash(&[("a", float(&[Some(0.0)]))]), hash(&[("a", float(&[Some(-0.0)]))]));
}

#[test]
fn a_key_is_told_by_the_cell_and_the_fields() {
    let batch = batch(&[("day", date(&[Some(1), Some(2)])), ("v", int(&[Some(1), Some(1)]))]);
    let keys = |names: &[&str], entity, period| {
        let validator = validator(&key(names), batch.schema_ref()).unwrap();
        validator.record_keys(&batch, &[4, 5], entity, period)
    };
    let one = keys(&["entity", "day"], "A", "2026-11-19");
    assert_ne!(one[0], one[1]);
    assert_eq!(one, keys(&["day", "entity"], "A", "2026-11-20"), "neither order nor period counts");
    assert_ne!(one, keys(&["day", "entity"], "B", "2026-11-19"));
    let ordinals = keys(&[], "A", "once");
    assert_ne!(ordinals[0], ordinals[1]);
    assert_eq!(ordinals, keys(&[], "B", "2026-11-19"), "an ordinal is one of its cell");
    let validator = validator(&key(&["period", "v", "day"]), batch.schema_ref()).unwrap();
    assert_eq!(validator.key_columns(), [0, 1]);
}

#[test]
fn the_second_record_of_a_key_fails_in_whichever_batch() {
    let first = batch(&[("day", date(&[Some(1), Some(2), Some(1)]))]);
    let second = batch(&[("day", date(&[Some(3), Some(2), None, None]))]);
    let validator = validator(&key(&["entity", "day"]), first.schema_ref()).unwrap();
    let mut seen = KeySet::new();
    let mut failing = |batch, entity| -> Vec<String> {
        let keys = validator.record_keys(batch, &[], entity, "once");
        let failures = validator.duplicate_keys(&mut seen, &keys, batch, entity, "once");
        assert!(failures.iter().all(|failure| failure.check == DUPLICATE_KEY));
        failures.iter().map(|failure| format!("{}: {}", failure.row, failure.found)).collect()
    };
    assert_eq!(failing(&first, "A"), ["2: day=1970-01-02, entity=A"]);
    let expected = ["1: day=1970-01-03, entity=A", "3: day=null, entity=A"];
    assert_eq!(failing(&second, "A"), expected);
    assert!(failing(&second, "B").len() == 1, "another entity, other keys");
}

#[test]
fn without_a_declared_key_no_record_is_a_duplicate() {
    let batch = batch(&[("v", int(&[Some(1), Some(1)]))]);
    let validator = validator(&key(&[]), batch.schema_ref()).unwrap();
    let keys = validator.record_keys(&batch, &[0, 0], "A", "once");
    assert!(validator.duplicate_keys(&mut KeySet::new(), &keys, &batch, "A", "once").is_empty());
}

proptest! {
    #[test]
    fn the_bounds_of_batches_make_no_difference(
        rows in prop::collection::vec((any::<Option<i64>>(), prop::option::of("[a-c]{0,3}")), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let ints: Vec<Option<i64>> = rows.iter().map(|(int, _)| *int).collect();
        let texts: Vec<Option<&str>> = rows.iter().map(|(_, text)| text.as_deref()).collect();
        let whole = batch(&[("i", int(&ints)), ("t", text(&texts))]);
        let hashes = content_hash(&whole, &[0, 1]);
        let cut = cut.index(rows.len());
        let head = content_hash(&whole.slice(0, cut), &[0, 1]);
        let tail = content_hash(&whole.slice(cut, rows.len() - cut), &[1, 0]);
        prop_assert_eq!(&[head, tail].concat(), &hashes);
        for (row, hash) in hashes.iter().enumerate() {
            let alike = rows.iter().position(|other| *other == rows[row]).unwrap();
            prop_assert_eq!(hashes.iter().position(|other| other == hash).unwrap(), alike);
        }
    }
}
