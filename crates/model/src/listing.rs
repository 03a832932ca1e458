//! How the entities are read off a page or a feed that says whose data is there.

use crate::path::Path;

/// Where on a page the names of entities stand.
#[derive(Debug, Clone, PartialEq)]
pub enum Listing {
    /// In the elements of an HTML page that a CSS selector finds.
    Select {
        /// The selector.
        selector: String,
        /// What of an element is the name.
        entity: EntityFrom,
        /// What of that text is the name: its first group, or all that it matches.
        pattern: Option<String>,
    },
    /// Wherever a regular expression matches the text of a page: its first group is the name. One
    /// without a group speaks for all entities.
    Text {
        /// The expression.
        pattern: String,
    },
    /// The values at a path of a JSON document.
    Json {
        /// The path.
        path: Path,
    },
    /// In the entries of an RSS or Atom feed.
    Feed {
        /// Which part of an entry.
        field: FeedField,
        /// What of it is the name; without one, each word is.
        pattern: Option<String>,
    },
}

/// What of an element is the entity's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityFrom {
    /// Its text.
    Text,
    /// An attribute.
    Attribute(String),
}

/// A part of an entry of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedField {
    /// Its title.
    Title,
    /// Where it leads.
    Link,
    /// What identifies it.
    Guid,
}
