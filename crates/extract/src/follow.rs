//! Follows the path to the records through a document, and gathers what proves or belies emptiness.
//!
//! An array at the declared path that has no element proves that there is none only beside other,
//! intact members of its object, none of which reports an error; a null, an absent path or a value
//! of another type prove nothing. The declared condition proves emptiness by itself, if the path
//! gives no record; if it was found and does *not* hold, it disproves what an empty array says.

use crate::collect::Collector;
use crate::compile::{Route, shown_condition, shown_literal};
use crate::excerpt::{Names, bare, kind_of};
use crate::extraction::Finding;
use crate::slicer::{CONDITION, Frame, Halt, RECORDS, Scalar, Slicer, Stretch};
use model::path::{Literal, Step};

/// A member whose name says that something went wrong, and whose value is not void.
const ERROR_NAMES: [&str; 6] =
    ["error", "errors", "error_message", "errormessage", "fault", "exception"];

/// Bit of [`Frame::hits`], beside [`RECORDS`] and [`CONDITION`]: the current member reports an error.
const ERROR: u8 = 4;

/// What was seen on the way to the records.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// By depth: the open object on the way.
    notes: Vec<Note>,
    /// The value at the condition's path; a container is none.
    condition: Option<Literal>,
    /// The first proof of emptiness.
    proof: Option<String>,
    /// The first thing found where records were due.
    found: Option<String>,
}

#[derive(Debug, Default)]
struct Note {
    siblings: Names,
    /// The value at the next step is `[]`.
    emptied: bool,
    error: Option<String>,
}

impl Trail {
    pub(crate) fn reset(&mut self) {
        self.condition = None;
        self.proof = None;
        self.found = None;
    }

    fn open_note(&mut self, depth: usize) {
        while self.notes.len() <= depth {
            self.notes.push(Note::default());
        }
        let note = &mut self.notes[depth];
        note.siblings.clear();
        note.emptied = false;
        note.error = None;
    }

    /// What a whole document was that gave `given` rows and `rejected` records.
    pub(crate) fn finding(&mut self, route: &Route, given: u64, rejected: u64) -> Finding {
        let condition = route.empty.as_ref();
        let holds = condition.filter(|condition| {
            self.condition.as_ref().is_some_and(|value| condition.holds(value))
        });
        // With one value as the record, an error object stands where the record would: it is no
        // record that was lost.
        if given > 0
            || (rejected > 0 && !(route.single && route.first_each.is_none() && holds.is_some()))
        {
            return Finding::Records;
        }
        let seen = self.found.take();
        if let Some(condition) = holds {
            let proof = format!("{} holds", shown_condition(condition));
            return Finding::EmptyProven { proof };
        }
        if let (Some(condition), Some(value)) = (condition, &self.condition) {
            let seen = seen.or(self.proof.take()).unwrap_or_else(|| no_records(route));
            let (condition, value) = (shown_condition(condition), shown_literal(value));
            let found = format!("{seen}; {condition} does not hold, found {value}");
            return Finding::EmptyUnproven { found };
        }
        match (seen, self.proof.take()) {
            (None, Some(proof)) => Finding::EmptyProven { proof },
            (seen, _) => {
                Finding::EmptyUnproven { found: seen.unwrap_or_else(|| no_records(route)) }
            }
        }
    }
}

fn no_records(route: &Route) -> String {
    format!("nothing at {}", route.path(route.steps.len()))
}

impl Slicer {
    /// A value begins with `first`: which ways is it on?
    pub(crate) fn enter(&mut self, route: &Route, first: u8, at: u64) -> u8 {
        let depth = self.stack.len();
        let flags = match self.stack.last_mut() {
            None => RECORDS | if route.empty.is_some() { CONDITION } else { 0 },
            Some(parent) => {
                let index = parent.count;
                parent.count += 1;
                match (parent.flags, parent.array) {
                    (0, _) => return 0,
                    (_, true) => element_flags(route, parent, depth, index),
                    (_, false) => self.key_flags,
                }
            }
        };
        if flags == 0 { 0 } else { self.enter_way(route, first, at, flags) }
    }

    fn enter_way(&mut self, route: &Route, first: u8, at: u64, mut flags: u8) -> u8 {
        let depth = self.stack.len();
        if flags & RECORDS != 0 {
            let fits = match first {
                _ if depth < route.steps.len() => false,
                _ if !route.single => true,
                b'n' => false,
                _ => route.shape == 0 || route.shape == first,
            };
            if fits {
                self.record = Some((depth, at));
                flags &= !RECORDS;
            } else {
                self.trail.open_note(depth);
            }
        }
        let looked_at =
            route.empty.as_ref().is_some_and(|condition| condition.path.steps.len() == depth);
        if flags & CONDITION != 0 {
            let scalar = !matches!(first, b'{' | b'[');
            if scalar != looked_at {
                flags &= !CONDITION;
            }
        }
        flags
    }

    /// A key on one of the ways ends.
    pub(crate) fn key_end(&mut self, route: &Route, at: u64) -> Result<(), Halt> {
        self.key_flags = 0;
        let Some(depth) = self.stack.len().checked_sub(1) else { return Ok(()) };
        let frame = &mut self.stack[depth];
        let decoded = if memchr::memchr(b'\\', &self.capture).is_some() {
            decode(&self.capture)
        } else {
            None
        };
        let name = decoded.as_deref().map_or(&*self.capture, str::as_bytes);
        let is_step = |steps: &[Step]| matches!(steps.get(depth), Some(Step::Member(step)) if step.as_bytes() == name);
        let mut flags = 0;
        if !self.capture_overflowed {
            if frame.flags & RECORDS != 0 && is_step(&route.steps) {
                flags |= RECORDS;
            }
            if frame.flags & CONDITION != 0
                && route.empty.as_ref().is_some_and(|condition| is_step(&condition.path.steps))
            {
                flags |= CONDITION;
            }
        }
        if frame.hits & flags != 0 {
            let key = bare(&String::from_utf8_lossy(name));
            return Err(Halt::broken(at, format!("the key `{key}` stands twice in one object")));
        }
        frame.hits = (frame.hits & !ERROR) | flags;
        if frame.flags & RECORDS != 0 && flags & RECORDS == 0 {
            let note = &mut self.trail.notes[depth];
            note.siblings.push(&self.capture);
            if note.error.is_none()
                && ERROR_NAMES.iter().any(|error| name.eq_ignore_ascii_case(error.as_bytes()))
            {
                frame.hits |= ERROR;
                note.error = Some(bare(&String::from_utf8_lossy(name)));
            }
        }
        self.key_flags = flags;
        Ok(())
    }

    /// The scalar that was being read ends.
    pub(crate) fn scalar_end(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        end: u64,
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let Scalar { first, flags, start } = self.scalar;
        if self.end_capture() && !self.capture_overflowed {
            self.trail.condition = literal(first, &self.capture);
        }
        if flags & RECORDS != 0 {
            self.scalar_for_records(route, first, (start, end), out);
        }
        let void = match first {
            b'n' | b'f' => true,
            b'"' => end - start == 2,
            b'0' => end - start == 1,
            _ => false,
        };
        self.ended(route, void, stretch, end, out)
    }

    /// The innermost object or array ends.
    pub(crate) fn close(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        end: u64,
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if frame.flags & RECORDS != 0 {
            if frame.array {
                self.array_on_way(route, frame, end, out);
            } else {
                self.object_on_way(route, frame, end, out);
            }
        }
        self.ended(route, frame.count == 0, stretch, end, out)
    }

    fn ended(
        &mut self,
        route: &Route,
        void: bool,
        stretch: Stretch<'_>,
        end: u64,
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let depth = self.stack.len();
        if let Some(parent) = self.stack.last_mut()
            && parent.hits & ERROR != 0
        {
            parent.hits &= !ERROR;
            if void {
                self.trail.notes[depth - 1].error = None;
            }
        }
        let Some((record_depth, start)) = self.record else { return Ok(()) };
        if record_depth != depth {
            return Ok(());
        }
        self.record = None;
        let length = end - start;
        if length > route.record_limit_bytes {
            let limit = route.record_limit_bytes;
            out.reject((start, end), || {
                format!("the record has {length} bytes, at most {limit} are allowed")
            });
            return Ok(());
        }
        let from = (start - stretch.base) as usize;
        out.record((start, end), &stretch.window[from..from + length as usize])
    }

    fn scalar_for_records(
        &mut self,
        route: &Route,
        first: u8,
        span: (u64, u64),
        out: &mut Collector<'_>,
    ) {
        let depth = self.stack.len();
        let path = route.path(depth);
        if first == b'n' {
            self.trail.found.get_or_insert_with(|| format!("{path} is null"));
        } else {
            let due = due(route, depth);
            self.instead(route, depth, span, out, || {
                format!("{path} is {}, not {due}", kind_of(first))
            });
        }
    }

    fn array_on_way(&mut self, route: &Route, frame: Frame, end: u64, out: &mut Collector<'_>) {
        let depth = self.stack.len();
        let path = || route.path(depth);
        let count = frame.count;
        let span = (frame.start, end);
        match route.steps.get(depth) {
            Some(Step::Member(_)) => self.instead(route, depth, span, out, || {
                format!("{} is an array of {count}, not an object", path())
            }),
            _ if count == 0 => match self.stack.last() {
                Some(parent) if !parent.array => self.trail.notes[depth - 1].emptied = true,
                _ => {
                    self.trail
                        .found
                        .get_or_insert_with(|| format!("{} is [] with nothing beside it", path()));
                }
            },
            Some(Step::Index(index)) if frame.hits & RECORDS == 0 => {
                self.instead(route, depth, span, out, || {
                    format!("{} has {count} elements, none at [{index}]", path())
                });
            }
            Some(Step::Each | Step::Index(_)) => {}
            None => self.instead(route, depth, span, out, || {
                format!("{} is an array of {count}, not an object: `[*]` behind the path takes its elements", path())
            }),
        }
    }

    fn object_on_way(&mut self, route: &Route, frame: Frame, end: u64, out: &mut Collector<'_>) {
        let depth = self.stack.len();
        let path = || route.path(depth);
        let span = (frame.start, end);
        let note = &self.trail.notes[depth];
        let siblings = &note.siblings;
        if !matches!(route.steps.get(depth), Some(Step::Member(_))) {
            let message = format!("{} is an object, not an array; it has: {siblings}", path());
            self.instead(route, depth, span, out, || message);
        } else if frame.hits & RECORDS == 0 {
            let next = route.path(depth + 1);
            let place = if depth == 0 { "the document".to_owned() } else { path() };
            let message = format!("no {next}; {place} has: {siblings}");
            self.instead(route, depth, span, out, || message);
        } else if note.emptied {
            let next = route.path(depth + 1);
            if let Some(error) = &note.error {
                let found = format!("{next} is [] beside `{error}`, which reports an error");
                self.trail.found.get_or_insert(found);
            } else if frame.count > 1 {
                let proof = format!("{next} is [] beside {siblings}");
                self.trail.proof.get_or_insert(proof);
            } else {
                let found = format!("{next} is [] with nothing beside it");
                self.trail.found.get_or_insert(found);
            }
        }
    }

    /// Something else stands on the way to the records. Below a `[*]` it is one element of many
    /// that is unlike the others: it is rejected like a record.
    fn instead(
        &mut self,
        route: &Route,
        depth: usize,
        span: (u64, u64),
        out: &mut Collector<'_>,
        message: impl FnOnce() -> String,
    ) {
        if route.first_each.is_some_and(|each| depth > each) {
            out.reject(span, message);
        } else {
            self.trail.found.get_or_insert_with(message);
        }
    }
}

fn element_flags(route: &Route, parent: &mut Frame, depth: usize, index: u64) -> u8 {
    let is_step = |steps: &[Step]| match steps.get(depth - 1) {
        Some(Step::Each) => true,
        Some(Step::Index(step)) => *step as u64 == index,
        _ => false,
    };
    let mut flags = 0;
    if parent.flags & RECORDS != 0 && is_step(&route.steps) {
        flags |= RECORDS;
    }
    if parent.flags & CONDITION != 0
        && route.empty.as_ref().is_some_and(|condition| is_step(&condition.path.steps))
    {
        flags |= CONDITION;
    }
    parent.hits |= flags;
    flags
}

fn due(route: &Route, depth: usize) -> &'static str {
    match route.steps.get(depth) {
        Some(Step::Member(_)) => "an object",
        Some(_) => "an array",
        None if route.shape == b'[' => "an array",
        None => "an object",
    }
}

/// What stands between the quotes of a text, without its escapes; none if they are not Unicode.
pub(crate) fn decode(raw: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

fn literal(first: u8, raw: &[u8]) -> Option<Literal> {
    match first {
        b'n' => Some(Literal::Null),
        b't' => Some(Literal::Bool(true)),
        b'f' => Some(Literal::Bool(false)),
        b'"' => decode(raw).map(Literal::Text),
        _ => std::str::from_utf8(raw).ok()?.parse().ok().map(Literal::Number),
    }
}
