//! Reads a JSON document in chunks: checks all of it against RFC 8259 and cuts the records out.
//!
//! A state machine that can stop behind any character and go on with the next chunk, so nothing but
//! the current record must be kept. What its events mean for the path to the records is in
//! [`crate::follow`].

use crate::collect::Collector;
use crate::compile::Route;
use crate::excerpt::quoted;
use crate::follow::Trail;

/// The most bytes of a key or of the condition's value that are kept: longer ones match nothing.
const CAPTURE_LIMIT_BYTES: usize = 1 << 16;

/// On the way to the records.
pub(crate) const RECORDS: u8 = 1;
/// On the way to the value that the condition looks at.
pub(crate) const CONDITION: u8 = 2;

/// Why a body is read no further.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its bytes are not JSON.
    Broken { at: u64, message: String },
    /// The sink wants no more.
    Stopped { message: String },
}

impl Halt {
    pub(crate) fn broken(at: u64, message: impl Into<String>) -> Self {
        Self::Broken { at, message: message.into() }
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    Colon,
    CommaOrClose,
    Text,
    Escape,
    Hex(u8),
    Number(Digits),
    Word(&'static [u8]),
    End,
}

/// What the last byte of a number was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

/// An open object or array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) array: bool,
    /// Of [`RECORDS`] and [`CONDITION`].
    pub(crate) flags: u8,
    /// Which of the steps of [`Frame::flags`] were found in it.
    pub(crate) hits: u8,
    /// Members or elements begun.
    pub(crate) count: u64,
    pub(crate) start: u64,
}

/// The scalar that is being read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scalar {
    pub(crate) first: u8,
    pub(crate) flags: u8,
    pub(crate) start: u64,
}

/// A stretch of the body: the bytes of `window` before `to`; `window[0]` stands at `base`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'w> {
    pub(crate) window: &'w [u8],
    pub(crate) base: u64,
}

/// The state machine.
#[derive(Debug, Default)]
pub(crate) struct Slicer {
    state: State,
    in_key: bool,
    capturing: bool,
    /// Of the key or scalar that is being read, what stands between its quotes.
    pub(crate) capture: Vec<u8>,
    pub(crate) capture_overflowed: bool,
    pub(crate) scalar: Scalar,
    pub(crate) stack: Vec<Frame>,
    pub(crate) key_flags: u8,
    /// Depth and start of the record that is being read.
    pub(crate) record: Option<(usize, u64)>,
    pub(crate) trail: Trail,
}

impl Slicer {
    /// Makes ready for another document, keeping the memory.
    pub(crate) fn reset(&mut self) {
        self.state = State::Value;
        self.capturing = false;
        self.stack.clear();
        self.key_flags = 0;
        self.record = None;
        self.trail.reset();
    }

    /// Where the record begins whose bytes are still needed.
    pub(crate) fn record_start(&self) -> Option<u64> {
        self.record.map(|(_, start)| start)
    }

    /// Reads `stretch.window[from..to]`, which ends between two characters. The bytes of the
    /// current record must stand in the window, unless it is over its limit.
    pub(crate) fn feed(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        (from, to): (usize, usize),
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let bytes = &stretch.window[..to];
        let mut at = from;
        if stretch.base + at as u64 == 0 && bytes.starts_with(b"\xEF\xBB\xBF") {
            at = 3;
        }
        while at < to {
            match self.state {
                State::Text => at = self.text(route, stretch, bytes, at, out)?,
                State::Number(digits) => {
                    at = self.number(route, stretch, bytes, at, digits, out)?;
                }
                State::Escape | State::Hex(_) => {
                    self.escape(bytes[at], stretch.base + at as u64)?;
                    at += 1;
                }
                State::Word(rest) => {
                    self.word(route, stretch, at, rest, out)?;
                    at += 1;
                }
                _ => {
                    if !matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t') {
                        self.structure(route, stretch, at, out)?;
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// The document ends at `end`: is it whole?
    pub(crate) fn finish(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        end: u64,
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        if let State::Number(digits) = self.state
            && self.stack.is_empty()
            && digits.may_end()
        {
            self.state = State::End;
            self.scalar_end(route, stretch, end, out)?;
        }
        let message = match self.state {
            State::End => return Ok(()),
            State::Value if self.stack.is_empty() => "the body is empty".to_owned(),
            State::Text | State::Escape | State::Hex(_) => "the body ends inside a text".to_owned(),
            State::Number(_) => "the body ends inside a number".to_owned(),
            State::Word(_) => "the body ends inside a word".to_owned(),
            _ => format!("the body ends where {} is due", self.due()),
        };
        Err(Halt::broken(end, message))
    }

    /// A byte between tokens that is no white space.
    fn structure(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        at: usize,
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let byte = stretch.window[at];
        let offset = stretch.base + at as u64;
        match (self.state, byte) {
            (State::CommaOrClose, b',') => {
                let array = self.stack.last().is_some_and(|frame| frame.array);
                self.state = if array { State::Value } else { State::Key };
                Ok(())
            }
            (State::Key | State::KeyOrClose, b'"') => {
                self.in_key = true;
                let flags = self.stack.last().map_or(0, |frame| frame.flags);
                self.begin_capture(flags != 0);
                self.state = State::Text;
                Ok(())
            }
            (State::Colon, b':') => {
                self.state = State::Value;
                Ok(())
            }
            (State::CommaOrClose | State::ValueOrClose, b']')
            | (State::CommaOrClose | State::KeyOrClose, b'}') => {
                let array = byte == b']';
                if self.stack.last().is_none_or(|frame| frame.array != array) {
                    return Err(self.unexpected(stretch, at));
                }
                self.state = if self.stack.len() == 1 { State::End } else { State::CommaOrClose };
                self.close(route, stretch, offset + 1, out)
            }
            (State::Value | State::ValueOrClose, _) => self.value(route, stretch, at),
            _ => Err(self.unexpected(stretch, at)),
        }
    }

    /// The first byte of a value.
    fn value(&mut self, route: &Route, stretch: Stretch<'_>, at: usize) -> Result<(), Halt> {
        let byte = stretch.window[at];
        let offset = stretch.base + at as u64;
        let state = match byte {
            b'{' => State::KeyOrClose,
            b'[' => State::ValueOrClose,
            b'"' => State::Text,
            b'-' => State::Number(Digits::Minus),
            b'0' => State::Number(Digits::Zero),
            b'1'..=b'9' => State::Number(Digits::Whole),
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => return Err(self.unexpected(stretch, at)),
        };
        self.state = state;
        let flags = self.enter(route, byte, offset);
        if matches!(byte, b'{' | b'[') {
            if self.stack.len() >= route.depth_limit {
                let message = format!("nested deeper than {} levels", route.depth_limit);
                return Err(Halt::broken(offset, message));
            }
            let array = byte == b'[';
            self.stack.push(Frame { array, flags, hits: 0, count: 0, start: offset });
        } else {
            self.in_key = false;
            self.scalar = Scalar { first: byte, flags, start: offset };
            self.begin_capture(flags & CONDITION != 0);
            if self.capturing && byte != b'"' {
                self.keep(&[byte]);
            }
        }
        Ok(())
    }

    fn text(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        bytes: &[u8],
        at: usize,
        out: &mut Collector<'_>,
    ) -> Result<usize, Halt> {
        let stop = text_stop(bytes, at);
        if self.capturing {
            self.keep(&bytes[at..stop]);
        }
        let Some(&byte) = bytes.get(stop) else { return Ok(stop) };
        match byte {
            b'\\' => {
                if self.capturing {
                    self.keep(b"\\");
                }
                self.state = State::Escape;
            }
            b'"' if self.in_key => {
                self.state = State::Colon;
                if self.capturing {
                    self.capturing = false;
                    self.key_end(route, stretch.base + stop as u64)?;
                }
            }
            b'"' => {
                self.state = self.after_value();
                self.scalar_end(route, stretch, stretch.base + stop as u64 + 1, out)?;
            }
            _ => {
                let message = format!("the control character 0x{byte:02x} stands bare in a text");
                return Err(Halt::broken(stretch.base + stop as u64, message));
            }
        }
        Ok(stop + 1)
    }

    fn escape(&mut self, byte: u8, offset: u64) -> Result<(), Halt> {
        self.state = match (self.state, byte) {
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => State::Text,
            (State::Escape, b'u') => State::Hex(4),
            (State::Hex(1), _) if byte.is_ascii_hexdigit() => State::Text,
            (State::Hex(left), _) if byte.is_ascii_hexdigit() => State::Hex(left - 1),
            _ => return Err(Halt::broken(offset, "not an escape that JSON knows")),
        };
        if self.capturing {
            self.keep(&[byte]);
        }
        Ok(())
    }

    fn number(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        bytes: &[u8],
        from: usize,
        mut digits: Digits,
        out: &mut Collector<'_>,
    ) -> Result<usize, Halt> {
        let mut at = from;
        while let Some(next) = bytes.get(at).and_then(|&byte| digits.next(byte)) {
            digits = next;
            at += 1;
        }
        if self.capturing {
            self.keep(&bytes[from..at]);
        }
        self.state = State::Number(digits);
        if at < bytes.len() {
            if !digits.may_end() {
                return Err(Halt::broken(stretch.base + at as u64, "not a number that JSON knows"));
            }
            self.state = self.after_value();
            self.scalar_end(route, stretch, stretch.base + at as u64, out)?;
        }
        Ok(at)
    }

    fn word(
        &mut self,
        route: &Route,
        stretch: Stretch<'_>,
        at: usize,
        rest: &'static [u8],
        out: &mut Collector<'_>,
    ) -> Result<(), Halt> {
        let offset = stretch.base + at as u64;
        if rest.first() != Some(&stretch.window[at]) {
            return Err(Halt::broken(
                offset,
                "a word that JSON does not know: only `true`, `false` and `null`",
            ));
        }
        if rest.len() > 1 {
            self.state = State::Word(&rest[1..]);
            return Ok(());
        }
        self.state = self.after_value();
        self.scalar_end(route, stretch, offset + 1, out)
    }

    fn after_value(&self) -> State {
        if self.stack.is_empty() { State::End } else { State::CommaOrClose }
    }

    fn begin_capture(&mut self, wanted: bool) {
        self.capturing = wanted;
        if wanted {
            self.capture.clear();
            self.capture_overflowed = false;
        }
    }

    /// Whether the scalar that ends was kept; it is kept no longer.
    pub(crate) fn end_capture(&mut self) -> bool {
        std::mem::take(&mut self.capturing)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.capture.len() + bytes.len() > CAPTURE_LIMIT_BYTES {
            self.capture_overflowed = true;
        } else if !self.capture_overflowed {
            self.capture.extend_from_slice(bytes);
        }
    }

    fn due(&self) -> &'static str {
        match self.state {
            State::ValueOrClose => "a value or `]`",
            State::KeyOrClose => "a key or `}`",
            State::Key => "a key",
            State::Colon => "`:`",
            State::CommaOrClose if self.stack.last().is_some_and(|frame| frame.array) => {
                "`,` or `]`"
            }
            State::CommaOrClose => "`,` or `}`",
            State::End => "the end of the document",
            _ => "a value",
        }
    }

    fn unexpected(&self, stretch: Stretch<'_>, at: usize) -> Halt {
        let due = self.due();
        let byte = stretch.window[at];
        let found = if byte.is_ascii_graphic() {
            quoted(char::from(byte).encode_utf8(&mut [0; 4]))
        } else {
            format!("the byte 0x{byte:02x}")
        };
        let hint = match (self.state, byte) {
            (_, 0) => " (not UTF-8: UTF-16 looks like this)",
            (State::Value, b'<') if self.stack.is_empty() => " (HTML or XML, not JSON)",
            (State::Value | State::ValueOrClose, b'N' | b'I') => {
                " (`NaN` and `Infinity` are not JSON)"
            }
            _ => "",
        };
        let message = format!("{due} is due, found {found}{hint}");
        Halt::broken(stretch.base + at as u64, message)
    }
}

impl Digits {
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::ESign),
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Exponent)
    }
}

/// The first byte from `at` on that ends a run of plain text: a quote, a backslash or a control
/// character; the end of `bytes` if there is none. Looks at eight bytes at a time.
pub(crate) fn text_stop(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        // A borrow can only mark bytes behind a true mark, and the first is what counts.
        let stops = below(word, 0x20) | quote | backslash;
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(stops))
        .map_or(bytes.len(), |found| at + found)
}
