//! The port: where nodes are leased and blocks are taken. Engines: memory, SQLite, PostgreSQL,
//! MariaDB; all keep the promises of [`crate::contract`].
//!
//! Methods block, for a round trip or two: a caller in an asynchronous program puts them on a
//! thread that may block. Each call is one transaction, durable when it returns.

use crate::{error::StoreError, layout::Layout, lease::Grant};
use std::{fmt::Debug, time::Duration};

/// The longest name of a space or counter, and of a holder, in bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// The shortest lease.
pub const LENGTH_MIN: Duration = Duration::from_millis(100);
/// The longest lease.
pub const LENGTH_MAX: Duration = Duration::from_hours(24);
/// The largest block.
pub const BLOCK_MAX: u32 = 100_000_000;

/// Writers whose ids must not collide share a space: its name, and the layout that all agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Kept by the store at the first claim; a claim with another layout is refused.
    pub layout: Layout,
}

/// A node, held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Below the layout's number of nodes.
    pub node: u64,
    /// Term and window.
    pub grant: Grant,
}

/// Numbers that nobody else was or will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first number, at least 1.
    pub first: i64,
    /// How many.
    pub count: u32,
    /// The fencing term: how often the counter has moved. Only the last who moved it may move it back.
    pub term: i64,
}

/// Keeps who holds which node, and counters.
///
/// The tables are made when a store is opened for the first time.
pub trait IdStore: Send + Debug {
    /// Leases a free node for `length`, from the store's present on.
    ///
    /// # Errors
    /// The space has another layout; its epoch is in the future; all nodes are held; the store
    /// cannot be reached, and then a node may be held by nobody until `length` has passed.
    fn claim(&mut self, space: &Space, holder: &str, length: Duration)
    -> Result<Lease, StoreError>;

    /// Moves the end of a lease to `length` from the store's present; never to an earlier time.
    /// `None`: another holder has the node.
    ///
    /// # Errors
    /// The store cannot be reached: the lease may have been renewed or not.
    fn renew(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        length: Duration,
    ) -> Result<Option<Grant>, StoreError>;

    /// Gives a node back. The holder has stopped, and its ids have times before `used_until_ms`
    /// (milliseconds since 1970). Whether it was still the holder's.
    ///
    /// # Errors
    /// The store cannot be reached: the node may stay held until its lease is over.
    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError>;

    /// Takes the next `count` numbers of a counter, which begins at 1.
    ///
    /// # Errors
    /// The counter would leave the range of `i64`; the store cannot be reached, and then a block
    /// may have been taken by nobody.
    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError>;

    /// Gives the end of a block back, from `first_unused` on, if no later block was given. Whether
    /// it was.
    ///
    /// # Errors
    /// The store cannot be reached: the numbers may stay a gap.
    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError>;
}

impl<S: IdStore + ?Sized> IdStore for Box<S> {
    fn claim(
        &mut self,
        space: &Space,
        holder: &str,
        length: Duration,
    ) -> Result<Lease, StoreError> {
        (**self).claim(space, holder, length)
    }

    fn renew(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        length: Duration,
    ) -> Result<Option<Grant>, StoreError> {
        (**self).renew(space, node, term, length)
    }

    fn release(
        &mut self,
        space: &Space,
        node: u64,
        term: i64,
        used_until_ms: i64,
    ) -> Result<bool, StoreError> {
        (**self).release(space, node, term, used_until_ms)
    }

    fn take_block(&mut self, counter: &str, count: u32) -> Result<Block, StoreError> {
        (**self).take_block(counter, count)
    }

    fn return_block(
        &mut self,
        counter: &str,
        block: &Block,
        first_unused: i64,
    ) -> Result<bool, StoreError> {
        (**self).return_block(counter, block, first_unused)
    }
}

/// What each engine checks before it asks its database.
pub(crate) fn check_claim(
    space: &Space,
    holder: &str,
    length: Duration,
) -> Result<i64, StoreError> {
    check_name("the space's name", &space.name, 1)?;
    check_name("the holder's name", holder, 0)?;
    length_ms(length)
}

/// A lease's length, within its bounds, in milliseconds.
pub(crate) fn length_ms(length: Duration) -> Result<i64, StoreError> {
    if (LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return Ok(length.as_millis() as i64);
    }
    Err(StoreError::Refused {
        reason: format!("a lease of {length:?} is not within 100 ms and 24 h"),
    })
}

/// What each engine checks before it counts.
pub(crate) fn check_block(counter: &str, count: u32) -> Result<(), StoreError> {
    check_name("the counter's name", counter, 1)?;
    if (1..=BLOCK_MAX).contains(&count) {
        return Ok(());
    }
    let reason = format!("a block of {count} numbers is not within 1 and {BLOCK_MAX}");
    Err(StoreError::Refused { reason })
}

fn check_name(what: &str, name: &str, bytes_min: usize) -> Result<(), StoreError> {
    let whole = (bytes_min..=NAME_BYTES_MAX).contains(&name.len());
    if whole && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let reason = format!(
        "{what} has {} bytes; it may have {bytes_min} to {NAME_BYTES_MAX} and no control characters",
        name.len()
    );
    Err(StoreError::Refused { reason })
}

/// A layout as a row has it: epoch, and the widths of time, node and sequence.
pub(crate) fn columns(layout: &Layout) -> (i64, i64, i64, i64) {
    (
        layout.epoch_ms(),
        i64::from(layout.time_bits()),
        i64::from(layout.node_bits()),
        i64::from(layout.sequence_bits()),
    )
}

/// What a space's row says, against what the caller says.
pub(crate) fn check_layout(space: &Space, stored: (i64, i64, i64, i64)) -> Result<(), StoreError> {
    if stored == columns(&space.layout) {
        return Ok(());
    }
    let (epoch_ms, time_bits, node_bits, sequence_bits) = stored;
    Err(StoreError::OtherLayout {
        space: space.name.clone(),
        stored: format!("{time_bits}+{node_bits}+{sequence_bits} bits since {epoch_ms} ms"),
        asked: space.layout.to_string(),
    })
}

/// The block that begins at `first`, if its end is still a number.
pub(crate) fn block_at(
    counter: &str,
    first: i64,
    count: u32,
    term: i64,
) -> Result<Block, StoreError> {
    match first.checked_add(i64::from(count)) {
        Some(_) => Ok(Block { first, count, term }),
        None => Err(StoreError::CounterFull { counter: counter.to_owned() }),
    }
}
