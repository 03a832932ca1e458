//! How 63 bits are divided among time, node and sequence.

use std::fmt;

/// 2026-01-01T00:00:00Z in milliseconds since 1970: the epoch unless another one is stated.
pub const DEFAULT_EPOCH_MS: i64 = 1_767_225_600_000;
/// Fewer bits of time would last less than two months.
const TIME_BITS_MIN: u8 = 32;
/// 557 years. Time is counted in nanoseconds inside, and 64 bits of those last 584 years.
const TIME_BITS_MAX: u8 = 44;
const USED_BITS: u8 = 63;

/// How a space's ids are laid out: from the highest bit, a zero (ids are positive), milliseconds
/// since the epoch, the node, the sequence within the millisecond.
///
/// All writers of a space must have the same layout; a store keeps it and refuses another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    epoch_ms: i64,
    time_bits: u8,
    node_bits: u8,
    sequence_bits: u8,
}

/// Why a layout is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The three widths must fill 63 bits.
    #[error(
        "{time_bits} bits of time, {node_bits} of node and {sequence_bits} of sequence add up to {sum}, not to 63"
    )]
    Bits {
        /// As given.
        time_bits: u8,
        /// As given.
        node_bits: u8,
        /// As given.
        sequence_bits: u8,
        /// Their sum.
        sum: u16,
    },
    /// Time has a width that is too small to be useful or too large to count.
    #[error("{time_bits} bits of time are not within 32 (49 days) and 44 (557 years)")]
    Time {
        /// As given.
        time_bits: u8,
    },
    /// Nobody could take part.
    #[error("a layout for 0 nodes can give no id: name at least 1")]
    NoNodes,
    /// More nodes than bits are left for beside time.
    #[error("{nodes} nodes leave no bits for a sequence beside {time_bits} bits of time")]
    TooManyNodes {
        /// As given.
        nodes: u64,
        /// Of the layout.
        time_bits: u8,
    },
    /// The epoch is later than the present.
    #[error(
        "the epoch `{epoch_ms}` ms lies {ahead_ms} ms in the future: times before it have no id"
    )]
    EpochInFuture {
        /// Milliseconds since 1970.
        epoch_ms: i64,
        /// How far ahead.
        ahead_ms: i64,
    },
}

impl Default for Layout {
    /// 41 bits of time since 2026 (until 2095-09-06), 10 of node (1,024), 12 of sequence (4,096 a
    /// millisecond).
    fn default() -> Self {
        Self { epoch_ms: DEFAULT_EPOCH_MS, time_bits: 41, node_bits: 10, sequence_bits: 12 }
    }
}

impl Layout {
    /// A layout by its widths. The epoch is in milliseconds since 1970.
    ///
    /// # Errors
    /// The widths do not add up to 63, or time's is not within 32 and 44. That the epoch is not in
    /// the future is checked where the time is known: at each claim, by the store's clock.
    pub fn new(
        epoch_ms: i64,
        time_bits: u8,
        node_bits: u8,
        sequence_bits: u8,
    ) -> Result<Self, LayoutError> {
        let sum = u16::from(time_bits) + u16::from(node_bits) + u16::from(sequence_bits);
        if sum != u16::from(USED_BITS) {
            return Err(LayoutError::Bits { time_bits, node_bits, sequence_bits, sum });
        }
        if !(TIME_BITS_MIN..=TIME_BITS_MAX).contains(&time_bits) {
            return Err(LayoutError::Time { time_bits });
        }
        Ok(Self { epoch_ms, time_bits, node_bits, sequence_bits })
    }

    /// A layout for at least so many nodes at once: as few bits of node as hold them, the rest for
    /// the sequence. Half of the nodes means twice the ids a second for each.
    ///
    /// # Errors
    /// No node, or so many that no bit is left for the sequence.
    pub fn for_nodes(nodes: u64) -> Result<Self, LayoutError> {
        let Self { epoch_ms, time_bits, .. } = Self::default();
        if nodes == 0 {
            return Err(LayoutError::NoNodes);
        }
        let node_bits = (u64::BITS - (nodes - 1).leading_zeros()) as u8;
        match (USED_BITS - time_bits).checked_sub(node_bits) {
            None | Some(0) => Err(LayoutError::TooManyNodes { nodes, time_bits }),
            Some(sequence_bits) => Self::new(epoch_ms, time_bits, node_bits, sequence_bits),
        }
    }

    /// Milliseconds since 1970 at which time is 0.
    pub fn epoch_ms(&self) -> i64 {
        self.epoch_ms
    }

    /// Width of the time.
    pub fn time_bits(&self) -> u8 {
        self.time_bits
    }

    /// Width of the node.
    pub fn node_bits(&self) -> u8 {
        self.node_bits
    }

    /// Width of the sequence.
    pub fn sequence_bits(&self) -> u8 {
        self.sequence_bits
    }

    /// How many holders there can be at once.
    pub fn nodes(&self) -> u64 {
        1 << self.node_bits
    }

    /// The most ids of one node in one millisecond.
    pub fn ids_per_ms(&self) -> u64 {
        1 << self.sequence_bits
    }

    /// The last millisecond since the epoch that has ids.
    pub fn time_max_ms(&self) -> u64 {
        (1 << self.time_bits) - 1
    }

    /// The first moment without ids, in milliseconds since 1970.
    pub fn ends_at_ms(&self) -> i64 {
        self.epoch_ms.saturating_add_unsigned(1 << self.time_bits)
    }

    /// Milliseconds since the epoch of a time since 1970.
    ///
    /// # Errors
    /// The time is before the epoch: it is in the future.
    pub fn since_epoch_ms(&self, unix_ms: i64) -> Result<u64, LayoutError> {
        let since = unix_ms.saturating_sub(self.epoch_ms);
        u64::try_from(since).map_err(|_| LayoutError::EpochInFuture {
            epoch_ms: self.epoch_ms,
            ahead_ms: since.saturating_neg(),
        })
    }

    /// Puts an id together. Each part must fit its width.
    #[inline]
    pub fn compose(&self, time_ms: u64, node: u64, sequence: u64) -> i64 {
        debug_assert!(
            time_ms <= self.time_max_ms() && node < self.nodes() && sequence < self.ids_per_ms(),
            "{time_ms} {node} {sequence}"
        );
        let high = time_ms << (self.node_bits + self.sequence_bits);
        (high | (node << self.sequence_bits) | sequence) as i64
    }

    /// Takes an id apart.
    pub fn parts(&self, id: i64) -> Parts {
        let id = id as u64;
        let time_ms = id >> (self.node_bits + self.sequence_bits);
        Parts {
            unix_ms: self.epoch_ms.saturating_add_unsigned(time_ms),
            node: (id >> self.sequence_bits) & (self.nodes() - 1),
            sequence: id & (self.ids_per_ms() - 1),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch_ms, time_bits, node_bits, sequence_bits } = self;
        write!(formatter, "{time_bits}+{node_bits}+{sequence_bits} bits since {epoch_ms} ms")
    }
}

/// What an id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parts {
    /// Milliseconds since 1970.
    pub unix_ms: i64,
    /// The node it was made at.
    pub node: u64,
    /// Its number within node and millisecond.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_must_add_up_to_63() {
        let refused = Layout::new(0, 41, 10, 13).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "41 bits of time, 10 of node and 13 of sequence add up to 64, not to 63"
        );
        assert!(Layout::new(0, 255, 255, 255).is_err());
        assert!(Layout::new(0, 41, 10, 11).is_err());
        assert!(Layout::new(0, 41, 0, 22).is_ok());
        assert!(Layout::new(0, 41, 22, 0).is_ok());
        assert_eq!(Layout::new(0, 63, 0, 0), Err(LayoutError::Time { time_bits: 63 }));
    }

    #[test]
    fn no_node_is_refused_and_nodes_cost_sequence() {
        assert_eq!(Layout::for_nodes(0), Err(LayoutError::NoNodes));
        let widths = |nodes| {
            let layout = Layout::for_nodes(nodes).unwrap();
            (layout.node_bits(), layout.sequence_bits())
        };
        assert_eq!(widths(1), (0, 22));
        assert_eq!(widths(2), (1, 21));
        assert_eq!(widths(64), (6, 16));
        assert_eq!(widths(65), (7, 15));
        assert_eq!(widths(1024), (10, 12));
        assert!(Layout::for_nodes(1 << 22).is_err());
        assert!(Layout::for_nodes(u64::MAX).is_err());
    }

    #[test]
    fn an_epoch_in_the_future_is_refused() {
        let layout = Layout::new(5_000, 41, 10, 12).unwrap();
        assert_eq!(layout.since_epoch_ms(5_001), Ok(1));
        assert_eq!(
            layout.since_epoch_ms(2_000),
            Err(LayoutError::EpochInFuture { epoch_ms: 5_000, ahead_ms: 3_000 })
        );
    }

    #[test]
    fn the_default_ends_in_2095() {
        // 2095-09-06T15:47:35.552Z
        assert_eq!(Layout::default().ends_at_ms(), 3_966_248_855_552);
    }

    proptest! {
        #[test]
        fn an_id_is_positive_and_comes_apart_again(
            node_bits in 0_u8..=20,
            time in any::<u64>(), node in any::<u64>(), sequence in any::<u64>(),
        ) {
            let layout = Layout::new(DEFAULT_EPOCH_MS, 41, node_bits, 22 - node_bits).unwrap();
            let time = time & layout.time_max_ms();
            let node = node & (layout.nodes() - 1);
            let sequence = sequence & (layout.ids_per_ms() - 1);
            let id = layout.compose(time, node, sequence);
            prop_assert!(id >= 0);
            let parts = Parts { unix_ms: DEFAULT_EPOCH_MS + time as i64, node, sequence };
            prop_assert_eq!(layout.parts(id), parts);
        }
    }
}
