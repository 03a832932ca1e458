//! Takes the declared fields out of one record.
//!
//! The record is known to be JSON: the slicer has read it. So this pass only finds its way, skips
//! what is not declared, and notes every key of the objects it enters, because a key that stands
//! twice makes the record ambiguous.

use crate::compile::{Node, Tree};
use crate::excerpt::{Names, bare, kind_of, quoted};
use crate::follow::decode;
use crate::slicer::text_stop;
use crate::value::{Misfit, Value, convert};
use model::field::FieldSpec;
use model::path::Step;

/// Keys beyond this many are sorted to find two alike; fewer are compared one by one.
const COMPARE_LIMIT: usize = 32;
/// In bytes: what a thread keeps from one body to the next.
const KEEP_LIMIT: usize = 256 << 10;

/// Why a record does not fit.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Duplicate { node: usize, key: String },
    Mismatch { node: usize, first: u8 },
    Missing { field: usize },
    Misfit { field: usize, misfit: Misfit, raw: (usize, usize) },
}

/// Where a field's value stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Absent,
    /// An object or array on its path is null.
    NullAbove,
    At(usize, usize),
}

#[derive(Debug, Clone, Copy)]
struct Key {
    hash: u64,
    start: usize,
    end: usize,
    /// It had escapes: the positions are in `decoded`.
    decoded: bool,
}

/// What reading a record needs, kept from one record to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<Slot>,
    keys: Vec<Key>,
    /// Texts without their escapes.
    pub(crate) decoded: String,
    /// After [`Scratch::read`], one a field.
    pub(crate) values: Vec<Value>,
    fault: Option<Fault>,
}

impl Scratch {
    /// Whether it is worth keeping for the next body: one odd record must not hold memory for good.
    pub(crate) fn is_small(&self) -> bool {
        self.decoded.capacity() <= KEEP_LIMIT && self.keys.capacity() <= KEEP_LIMIT / 32
    }

    /// Reads a record into [`Scratch::values`]; marks the fields whose paths it has in `seen`.
    pub(crate) fn read(
        &mut self,
        tree: &Tree,
        fields: &[FieldSpec],
        record: &str,
        seen: &mut [bool],
    ) -> Result<(), Fault> {
        self.slots.clear();
        self.slots.resize(fields.len(), Slot::Absent);
        self.keys.clear();
        self.decoded.clear();
        self.values.clear();
        self.fault = None;
        Walk { tree, bytes: record.as_bytes(), scratch: self }.visit(0, 0);
        for (seen, slot) in seen.iter_mut().zip(&self.slots) {
            *seen |= *slot != Slot::Absent;
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        for (index, field) in fields.iter().enumerate() {
            let value = match self.slots[index] {
                Slot::At(start, end) => {
                    let raw = record.get(start..end).unwrap_or_default();
                    convert(field, raw, start, &mut self.decoded).map_err(|misfit| {
                        Fault::Misfit { field: index, misfit, raw: (start, end) }
                    })?
                }
                Slot::Absent if !field.optional => return Err(Fault::Missing { field: index }),
                Slot::Absent | Slot::NullAbove => Value::Null,
            };
            self.values.push(value);
        }
        Ok(())
    }
}

struct Walk<'r> {
    tree: &'r Tree,
    bytes: &'r [u8],
    scratch: &'r mut Scratch,
}

impl Walk<'_> {
    /// Reads the value at `at` as what `node` declares; returns where it ends. Recursion is bounded
    /// by the steps of a path.
    fn visit(&mut self, index: usize, at: usize) -> usize {
        let tree = self.tree;
        let node = &tree.nodes[index];
        let first = byte(self.bytes, at);
        let end = match first {
            b'{' if !node.members.is_empty() => self.object(index, node, at),
            b'[' if !node.elements.is_empty() => self.array(node, at),
            _ => {
                if !node.is_leaf() {
                    self.no_container(index, node, first);
                }
                skip(self.bytes, at)
            }
        };
        for &field in &node.fields {
            self.scratch.slots[field] = Slot::At(at, end);
        }
        end
    }

    fn no_container(&mut self, index: usize, node: &Node, first: u8) {
        if first == b'n' && index != 0 {
            for &field in &node.below {
                self.scratch.slots[field] = Slot::NullAbove;
            }
        } else {
            self.scratch.fault.get_or_insert(Fault::Mismatch { node: index, first });
        }
    }

    fn object(&mut self, index: usize, node: &Node, at: usize) -> usize {
        let keys_from = self.scratch.keys.len();
        let mut at = blank(self.bytes, at + 1);
        while byte(self.bytes, at) == b'"' {
            let (end, escaped) = text_end(self.bytes, at);
            let key = self.key(at + 1, end - 1, escaped);
            self.scratch.keys.push(key);
            let child = node.member(key.hash, self.name(key));
            at = blank(self.bytes, end);
            at = blank(self.bytes, at + 1);
            at = match child {
                Some(child) => self.visit(child, at),
                None => skip(self.bytes, at),
            };
            at = blank(self.bytes, at);
            if byte(self.bytes, at) != b',' {
                break;
            }
            at = blank(self.bytes, at + 1);
        }
        self.find_duplicate(index, keys_from);
        self.scratch.keys.truncate(keys_from);
        at + 1
    }

    fn array(&mut self, node: &Node, at: usize) -> usize {
        let mut at = blank(self.bytes, at + 1);
        let mut index = 0;
        while !matches!(byte(self.bytes, at), b']' | 0) {
            at = match node.element(index) {
                Some(child) => self.visit(child, at),
                None => skip(self.bytes, at),
            };
            index += 1;
            at = blank(self.bytes, at);
            if byte(self.bytes, at) != b',' {
                break;
            }
            at = blank(self.bytes, at + 1);
        }
        at + 1
    }

    fn key(&mut self, start: usize, end: usize, escaped: bool) -> Key {
        let raw = self.bytes.get(start..end).unwrap_or_default();
        // A lone surrogate stays as it is written: it can equal no declared name.
        match escaped.then(|| decode(raw)).flatten() {
            None => Key { hash: key_hash(raw), start, end, decoded: false },
            Some(name) => {
                let start = self.scratch.decoded.len();
                self.scratch.decoded.push_str(&name);
                let end = self.scratch.decoded.len();
                Key { hash: key_hash(name.as_bytes()), start, end, decoded: true }
            }
        }
    }

    fn name(&self, key: Key) -> &[u8] {
        let text = if key.decoded { self.scratch.decoded.as_bytes() } else { self.bytes };
        text.get(key.start..key.end).unwrap_or_default()
    }

    fn find_duplicate(&mut self, node: usize, from: usize) {
        let keys = &self.scratch.keys[from..];
        let alike = |left: &Key, right: &Key| {
            left.hash == right.hash && self.name(*left) == self.name(*right)
        };
        let found = if keys.len() <= COMPARE_LIMIT {
            keys.iter()
                .enumerate()
                .find(|(index, key)| keys[..*index].iter().any(|other| alike(other, key)))
                .map(|(_, key)| *key)
        } else {
            let mut sorted = keys.to_vec();
            sorted.sort_by(|left, right| {
                left.hash.cmp(&right.hash).then_with(|| self.name(*left).cmp(self.name(*right)))
            });
            sorted.windows(2).find(|pair| alike(&pair[0], &pair[1])).map(|pair| pair[1])
        };
        if let Some(key) = found {
            let key = String::from_utf8_lossy(self.name(key)).into_owned();
            self.scratch.fault = Some(Fault::Duplicate { node, key });
        }
    }
}

/// A fault in words.
pub(crate) fn describe(
    fault: &Fault,
    tree: &Tree,
    fields: &[FieldSpec],
    record: &str,
) -> (Option<String>, String) {
    match fault {
        Fault::Duplicate { node, key } => {
            let place = place(&tree.nodes[*node].path);
            (None, format!("the key {} stands twice in {place}", quoted(key)))
        }
        Fault::Mismatch { node, first } => {
            let node = &tree.nodes[*node];
            let due = if node.members.is_empty() { "an array" } else { "an object" };
            let (place, found) = (place(&node.path), kind_of(*first));
            let field = node.below.first().map(|field| fields[*field].name.clone());
            let field = field.filter(|_| node.path != "$");
            (field, format!("{place} is {found}, not {due}"))
        }
        Fault::Missing { field } => {
            let field = &fields[*field];
            (Some(field.name.clone()), missing(field, record))
        }
        Fault::Misfit { field, misfit, raw } => {
            let field = &fields[*field];
            let raw = record.get(raw.0..raw.1).unwrap_or_default();
            let path = bare(&field.path.to_string());
            let reason = misfit.describe(field.kind);
            (Some(field.name.clone()), format!("`{path}` is {}: {reason}", quoted(raw)))
        }
    }
}

fn place(path: &str) -> String {
    if path == "$" { "the record".to_owned() } else { quoted(path) }
}

/// What the record has where the field's path ends too early.
fn missing(field: &FieldSpec, record: &str) -> String {
    let bytes = record.as_bytes();
    let steps = &field.path.steps;
    let path = bare(&field.path.to_string());
    let found = (0..steps.len())
        .rev()
        .find_map(|depth| locate(bytes, &steps[..depth]).map(|at| (depth, at)));
    let Some((depth, at)) = found else { return format!("`{path}` is missing") };
    let place = place(&crate::compile::shown(&steps[..depth]));
    let mut names = Names::default();
    let mut count = 0_u64;
    each_child(bytes, at, |key, _| {
        if let Some((start, end)) = key {
            names.push(&bytes[start..end]);
        }
        count += 1;
        false
    });
    if byte(bytes, at) == b'[' {
        format!("`{path}` is missing; {place} has {count} elements")
    } else {
        format!("`{path}` is missing; {place} has: {names}")
    }
}

/// Where the value at a path begins.
fn locate(bytes: &[u8], steps: &[Step]) -> Option<usize> {
    let mut at = 0;
    for step in steps {
        let mut found = None;
        let mut index = 0;
        each_child(bytes, at, |key, value| {
            let fits = match (step, key) {
                (Step::Member(name), Some((start, end))) => {
                    let raw = &bytes[start..end];
                    raw == name.as_bytes() || decode(raw).as_deref() == Some(name)
                }
                (Step::Index(step), None) => *step == index,
                _ => false,
            };
            index += 1;
            found = fits.then_some(value);
            fits
        });
        at = found?;
    }
    Some(at)
}

/// Visits the members (with the range of the key) or elements of a container, until told to stop.
fn each_child(
    bytes: &[u8],
    at: usize,
    mut visit: impl FnMut(Option<(usize, usize)>, usize) -> bool,
) {
    let object = byte(bytes, at) == b'{';
    if !object && byte(bytes, at) != b'[' {
        return;
    }
    let mut at = blank(bytes, at + 1);
    while !matches!(byte(bytes, at), b'}' | b']' | 0) {
        let mut key = None;
        if object {
            let (end, _) = text_end(bytes, at);
            key = Some((at + 1, end - 1));
            at = blank(bytes, end);
            at = blank(bytes, at + 1);
        }
        if visit(key, at) {
            return;
        }
        at = blank(bytes, skip(bytes, at));
        if byte(bytes, at) != b',' {
            return;
        }
        at = blank(bytes, at + 1);
    }
}

/// A hash that is good enough to tell keys apart and finds equal ones equal; what has the same hash
/// is compared byte by byte, so an adversary gains nothing but a little time.
pub(crate) fn key_hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
    let word = chunks.remainder().iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR)
}

/// The byte at `at`; 0, which JSON never has, behind the end.
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The first byte from `at` on that is no white space.
fn blank(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte(bytes, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

/// Behind the text that begins at `at`, and whether it has escapes.
fn text_end(bytes: &[u8], at: usize) -> (usize, bool) {
    let mut at = at + 1;
    let mut escaped = false;
    loop {
        at = text_stop(bytes, at);
        match byte(bytes, at) {
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => return (at + 1, escaped),
        }
    }
}

/// Behind the value that begins at `at`.
fn skip(bytes: &[u8], mut at: usize) -> usize {
    match byte(bytes, at) {
        b'"' => return text_end(bytes, at).0,
        b'{' | b'[' => {}
        _ => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            let rest = bytes.get(at..).unwrap_or_default();
            return rest.iter().position(ends).map_or(bytes.len(), |length| at + length);
        }
    }
    let mut depth = 0_usize;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = text_end(bytes, at).0;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}
