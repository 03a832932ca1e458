//! How a cell can be looked at, from the cheapest to the call that brings its data.

use crate::outcome::closed_list;
use serde::{Deserialize, Serialize};
use std::fmt;

closed_list! {
    /// The kinds of looks.
    LookKind {
        /// The source's own request: what it answers is the data.
        Paid => "paid",
        /// The same, asking "still the same?": as cheap as declared if it is.
        Conditional => "conditional",
        /// A HEAD whose headers tell whether data is there.
        Head => "head",
        /// A page that names the entities whose data is there.
        Page => "page",
        /// A feed whose entries name them.
        Feed => "feed",
    }
}

impl LookKind {
    /// Whether its answer can be the data; any other only says whether to ask for them.
    pub fn brings_data(self) -> bool {
        matches!(self, Self::Paid | Self::Conditional)
    }

    /// Whether one answer speaks for all entities of a period.
    pub fn speaks_for_many(self) -> bool {
        matches!(self, Self::Page | Self::Feed)
    }
}
