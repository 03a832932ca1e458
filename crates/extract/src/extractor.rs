//! Drives a body through the slicer, from memory or from a reader.

use crate::collect::{Collector, Sink};
use crate::column::data_type;
use crate::compile::{Route, SpecError, Tree, compile};
use crate::extraction::{ExtractedBatch, Extraction, Finding, SinkError};
use crate::record::Scratch;
use crate::slicer::{Halt, Slicer, Stretch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use model::field::{ExtractSpec, FieldSpec};
use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;

/// How much is asked of a reader, and read of a slice, at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A compiled spec: one a source version, shared by all tasks.
#[derive(Debug)]
pub struct Extractor {
    tree: Tree,
    route: Route,
    fields: Vec<FieldSpec>,
    schema: SchemaRef,
}

/// What a thread keeps from one body to the next.
#[derive(Default)]
struct Kept {
    slicer: Slicer,
    scratch: Scratch,
}

thread_local! {
    // Taken while in use, so that a sink may itself extract.
    static KEPT: Cell<Option<Box<Kept>>> = const { Cell::new(None) };
}

impl Extractor {
    /// Compiles a spec. Paths, types and names are checked again here, because a spec can be made
    /// without a source file.
    ///
    /// `records` may have `[*]` anywhere and more than once (`$.groups[*].items[*]`). Without `[*]`
    /// at its end, the one value there is the record: an object, or an array if the fields' paths
    /// begin with an index.
    pub fn new(spec: &ExtractSpec) -> Result<Self, SpecError> {
        let (tree, route) = compile(spec)?;
        let fields: Vec<Field> = spec
            .fields
            .iter()
            .map(|field| Field::new(&field.name, data_type(field.kind), true))
            .collect();
        Ok(Self { tree, route, fields: spec.fields.clone(), schema: Arc::new(Schema::new(fields)) })
    }

    /// The declared fields in their order, all nullable.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Extracts a body that is in memory.
    ///
    /// Batches reach the sink while later bytes are still unread: they count only if the finding
    /// is [`Finding::Records`]. If the condition `empty` holds and there are records all the same,
    /// the records are given out; where the path leads to one object, an object that is not a
    /// record is then the empty answer.
    pub fn extract_slice(
        &self,
        body: &[u8],
        sink: &mut dyn FnMut(ExtractedBatch) -> Result<(), SinkError>,
    ) -> Extraction {
        self.run(sink, |slicer, out| self.drive_slice(slicer, body, out))
    }

    /// Extracts a body from a reader: the same result as [`Extractor::extract_slice`], whatever
    /// pieces the reader hands out. Holds one record (`record_limit_bytes`), one chunk and one batch.
    pub fn extract_reader(
        &self,
        reader: &mut dyn Read,
        sink: &mut dyn FnMut(ExtractedBatch) -> Result<(), SinkError>,
    ) -> Extraction {
        self.run(sink, |slicer, out| self.drive_reader(slicer, reader, out))
    }

    fn run(
        &self,
        sink: &mut Sink<'_>,
        drive: impl FnOnce(&mut Slicer, &mut Collector<'_>) -> (u64, Result<(), Halt>),
    ) -> Extraction {
        let mut kept = KEPT.take().unwrap_or_default();
        let Kept { slicer, scratch } = &mut *kept;
        slicer.reset();
        let mut sink = |batch| sink(batch);
        let mut out = Collector::new(&self.tree, &self.fields, &self.schema, scratch, &mut sink);
        let (read, ended) = drive(slicer, &mut out);
        let finding = match ended.and_then(|()| out.flush()) {
            Ok(()) => slicer.trail.finding(&self.route, out.given, out.rejected),
            Err(Halt::Broken { at, message }) => Finding::Broken { at, message },
            Err(Halt::Stopped { message }) => Finding::Stopped { at: read, message },
        };
        let mut extraction = Extraction {
            records: out.given,
            rejects: std::mem::take(&mut out.rejects),
            rejected: out.rejected,
            finding,
            fields_never_found: self.never_found(&out),
        };
        if extraction.finding != Finding::Records {
            extraction.fields_never_found.clear();
        }
        if matches!(extraction.finding, Finding::EmptyProven { .. }) {
            extraction.rejects.clear();
            extraction.rejected = 0;
        }
        if scratch.is_small() {
            KEPT.set(Some(kept));
        }
        extraction
    }

    fn never_found(&self, out: &Collector<'_>) -> Vec<String> {
        if out.total() == 0 {
            return Vec::new();
        }
        let unseen = self.fields.iter().zip(&out.seen).filter(|(_, seen)| !**seen);
        unseen.map(|(field, _)| field.name.clone()).collect()
    }

    fn drive_slice(
        &self,
        slicer: &mut Slicer,
        body: &[u8],
        out: &mut Collector<'_>,
    ) -> (u64, Result<(), Halt>) {
        let stretch = Stretch { window: body, base: 0 };
        let mut fed = 0;
        while fed < body.len() {
            let chunk = &body[fed..body.len().min(fed + CHUNK_BYTES)];
            let (valid, fault) = whole_characters(chunk, fed as u64);
            let to = fed + valid;
            if let Err(halt) = slicer.feed(&self.route, stretch, (fed, to), out) {
                return (to as u64, Err(halt));
            }
            if let Some(halt) = fault {
                return (to as u64, Err(halt));
            }
            if valid == 0 {
                return (to as u64, Err(cut_character(fed as u64)));
            }
            fed = to;
        }
        let end = body.len() as u64;
        (end, slicer.finish(&self.route, stretch, end, out))
    }

    fn drive_reader(
        &self,
        slicer: &mut Slicer,
        reader: &mut dyn Read,
        out: &mut Collector<'_>,
    ) -> (u64, Result<(), Halt>) {
        let mut buffer = Vec::new();
        let mut filled = 0;
        let mut base = 0_u64;
        // All before `fed` has gone through the slicer; the rest is the begin of a character.
        let mut fed = 0;
        loop {
            let keep_from = match slicer.record_start() {
                Some(start) if base + fed as u64 - start <= self.route.record_limit_bytes => {
                    (start - base) as usize
                }
                _ => fed,
            };
            buffer.copy_within(keep_from..filled, 0);
            base += keep_from as u64;
            fed -= keep_from;
            filled -= keep_from;
            if buffer.len() < filled + CHUNK_BYTES {
                buffer.resize(filled + CHUNK_BYTES, 0);
            }
            let read = match reader.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let message = format!("the body could not be read: {error}");
                    return (base + filled as u64, Err(Halt::Stopped { message }));
                }
            };
            filled += read;
            let stretch = Stretch { window: &buffer[..filled], base };
            let end = base + filled as u64;
            if read == 0 {
                let ended = if fed < filled {
                    Err(cut_character(base + fed as u64))
                } else {
                    slicer.finish(&self.route, stretch, end, out)
                };
                return (end, ended);
            }
            let (valid, fault) = whole_characters(&buffer[fed..filled], base + fed as u64);
            let to = fed + valid;
            let ended = slicer.feed(&self.route, stretch, (fed, to), out);
            if let Err(halt) = ended.and(fault.map_or(Ok(()), Err)) {
                return (end, Err(halt));
            }
            fed = to;
        }
    }
}

/// How many bytes of `chunk` are whole characters, and the fault if what follows is no character.
fn whole_characters(chunk: &[u8], offset: u64) -> (usize, Option<Halt>) {
    match std::str::from_utf8(chunk) {
        Ok(_) => (chunk.len(), None),
        Err(error) => {
            let valid = error.valid_up_to();
            let at = offset + valid as u64;
            let fault = error.error_len().map(|_| {
                let byte = chunk[valid];
                let hint = if at == 0 && byte >= 0xFE { ", as UTF-16 begins" } else { "" };
                Halt::broken(at, format!("not UTF-8: the byte 0x{byte:02x}{hint}"))
            });
            (valid, fault)
        }
    }
}

fn cut_character(at: u64) -> Halt {
    Halt::broken(at, "not UTF-8: the body ends inside a character")
}
