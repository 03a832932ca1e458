//! How one attempt ended. An outcome is never a state of a cell.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item_doc])* $item,)+ }

        impl $name {
            /// All of the list, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The word used in tables, metrics and on screens.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $text,)+ }
            }

            /// Reads the word back.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$item),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use closed_list;

closed_list! {
    /// How one attempt ended: exactly one of these, decided by evidence.
    Outcome {
        /// A usable, complete answer with records.
        Ok => "ok",
        /// 304 to a request that carried our validators: the archived body still holds.
        NotModified => "not_modified",
        /// A complete answer that proves that there is nothing.
        EmptyProven => "empty_proven",
        /// An answer without records and without proof: nothing may be concluded from it.
        EmptyUnproven => "empty_unproven",
        /// A body that broke off, or is larger than allowed.
        Partial => "partial",
        /// Refused for asking too much or too often.
        RateLimited => "rate_limited",
        /// A block page or a refusal addressed at us.
        Blocked => "blocked",
        /// 404 or 410: nothing under this address.
        Gone => "gone",
        /// 401 or 403 with credentials: ours are not accepted.
        Unauthorized => "unauthorized",
        /// The server failed: 5xx, or an answer against the protocol.
        SourceError => "source_error",
        /// No answer: name, connection, TLS, time-out.
        TransportError => "transport_error",
        /// Bytes that are not what the source declares.
        ParseError => "parse_error",
        /// Records were found, and none passed the expectations.
        Invalid => "invalid",
        /// Not sent: budget, pause, robots.
        Skipped => "skipped",
    }
}

impl Outcome {
    /// Whether the answer determines its whole scope: only such an answer may assert absence.
    pub fn is_complete_observation(self) -> bool {
        matches!(self, Self::Ok | Self::NotModified | Self::EmptyProven)
    }
}
