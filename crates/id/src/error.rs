//! What can go wrong, by what the caller can do about it.

use crate::layout::LayoutError;
use std::error::Error;

/// What lies below an error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What was asked can never be done.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The layout does not suit the present: its epoch is in the future.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Writers of one space must agree.
    #[error(
        "the space `{space}` has the layout {stored}, not {asked}: use another space for another layout"
    )]
    OtherLayout {
        /// The space.
        space: String,
        /// As the store has it.
        stored: String,
        /// As the caller has it.
        asked: String,
    },
    /// Nobody gives a node back before this time.
    #[error(
        "all {nodes} nodes of the space `{space}` are held: the first may be free in {free_in_ms} ms; more nodes need \
         a space with more bits of node"
    )]
    NodesExhausted {
        /// The space.
        space: String,
        /// How many the layout has.
        nodes: u64,
        /// By the store's clock.
        free_in_ms: i64,
    },
    /// A counter has given all positive numbers.
    #[error("the counter `{counter}` has no numbers left")]
    CounterFull {
        /// The counter.
        counter: String,
    },
    /// The rows are not what this program writes.
    #[error("the tables of `{store}` are damaged or not ours: {found}")]
    Damaged {
        /// Which store.
        store: String,
        /// What was found.
        found: String,
    },
    /// The database cannot be reached, is locked, or answers with an error. Trying again can help.
    #[error("the store `{store}` could not be used")]
    Unavailable {
        /// Which store, without secrets.
        store: String,
        /// What the client says.
        #[source]
        cause: BoxError,
    },
}

impl StoreError {
    /// Whether trying again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NodesExhausted { .. } => true,
            Self::Refused { .. }
            | Self::Layout(_)
            | Self::OtherLayout { .. }
            | Self::CounterFull { .. }
            | Self::Damaged { .. } => false,
        }
    }
}

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The lease is over and was not renewed. No id was given after its end.
    #[error("the lease of node `{node}` is over, and could not be renewed")]
    LeaseOver {
        /// The node.
        node: u64,
        /// Why not; `None` if the store failed a moment ago and is not asked again yet.
        #[source]
        cause: Option<StoreError>,
    },
    /// The clock shows a time before the last id, by more than is waited for.
    #[error(
        "the clock is {behind_ms} ms behind the last id, and was waited for {waited_ms} ms: set it right, or open a new \
         generator, whose ids are unique but sort before those given already"
    )]
    ClockBehind {
        /// How far.
        behind_ms: u64,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The layout's time is over.
    #[error(
        "the layout ends at `{ends_at_ms}` ms since 1970: begin a new space with a later epoch or more bits of time"
    )]
    LayoutOver {
        /// Its first moment without ids.
        ends_at_ms: i64,
    },
    /// The generator was closed.
    #[error("the generator was closed")]
    Closed,
    /// The settings contradict each other.
    #[error("{reason}")]
    Settings {
        /// How.
        reason: String,
    },
    /// The store refused or failed where there was nothing to go on with.
    #[error("no ids without a lease or a block")]
    Store(#[from] StoreError),
}
