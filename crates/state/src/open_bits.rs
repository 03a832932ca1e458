//! Which attempts of a reservation are still open: one bit each.

/// A set of the first so many numbers, from which numbers can only be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenBits(Vec<u8>);

impl OpenBits {
    /// All of `count` numbers.
    pub(crate) fn all(count: usize) -> Self {
        let mut bytes = vec![u8::MAX; count.div_ceil(8)];
        if let Some(last) = bytes.last_mut()
            && !count.is_multiple_of(8)
        {
            *last = (1 << (count % 8)) - 1;
        }
        Self(bytes)
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// Takes a number away; whether it was there.
    pub(crate) fn close(&mut self, index: usize) -> bool {
        let was_open = self.contains(index);
        if let Some(byte) = self.0.get_mut(index / 8) {
            *byte &= !(1 << (index % 8));
        }
        was_open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_can_be_taken_once() {
        for count in [0, 1, 7, 8, 9, 64, 20_000] {
            let mut open = OpenBits::all(count);
            assert!(!open.contains(count), "{count}");
            assert!((0..count).all(|index| open.close(index)), "{count}");
            assert!(open.is_empty(), "{count}");
            assert!((0..count + 9).all(|index| !open.close(index)), "{count}");
        }
    }
}
