//! Names that are checked once and then trusted.

use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, sync::Arc};

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text is longer than allowed.
    #[error("the name has {found} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The text has a character that is not allowed.
    #[error("{character:?} is not allowed in a name ({allowed})")]
    Character {
        /// The first offending character.
        character: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
}

const IDENTIFIER_LIMIT: usize = 63;

fn check_identifier(text: &str) -> Result<(), NameError> {
    const ALLOWED: &str = "a lower-case letter first, then lower-case letters, digits and `_`";
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > IDENTIFIER_LIMIT {
        return Err(NameError::TooLong { found: text.len(), limit: IDENTIFIER_LIMIT });
    }
    for (position, character) in text.chars().enumerate() {
        let fits = character.is_ascii_lowercase()
            || (position > 0 && (character.is_ascii_digit() || character == '_'));
        if !fits {
            return Err(NameError::Character { character, allowed: ALLOWED });
        }
    }
    Ok(())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name: 1 to 63 bytes of `[a-z][a-z0-9_]*`.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_identifier(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
    };
}

identifier! {
    /// The name of a source, unique in a project. It is also the name of its file and, unless
    /// `[load] table` says otherwise, of its table.
    SourceId
}

identifier! {
    /// The name of a table in the lake.
    TableName
}

/// The most bytes an entity may have: it becomes part of URLs, rows and log lines.
pub const ENTITY_LIMIT_BYTES: usize = 1024;

/// One thing a source expects data of: a ticker, a shop, a page.
///
/// Any text of 1 to 1,024 bytes without control characters: quotes, slashes, spaces and emoji are
/// data here, and are encoded where they enter a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Entity(Arc<str>);

impl Entity {
    /// Checks an entity.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > ENTITY_LIMIT_BYTES {
            return Err(NameError::TooLong { found: text.len(), limit: ENTITY_LIMIT_BYTES });
        }
        match text.chars().find(|character| character.is_control()) {
            Some(character) => Err(NameError::Character {
                character,
                allowed: "any text without control characters such as line breaks",
            }),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The entity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Entity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl TryFrom<String> for Entity {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_may_be_hostile_text_but_not_a_line_break() {
        for text in ["AAPL", "../../etc", "a/b", "it's \"quoted\"", "a b", "🦀", &"x".repeat(1024)]
        {
            assert_eq!(Entity::parse(text).unwrap().as_str(), text);
        }
        assert!(matches!(Entity::parse("a\nb"), Err(NameError::Character { character: '\n', .. })));
        assert!(matches!(Entity::parse(""), Err(NameError::Empty)));
        assert!(matches!(Entity::parse(&"x".repeat(10_000)), Err(NameError::TooLong { .. })));
    }

    #[test]
    fn a_source_name_is_an_identifier() {
        assert!(SourceId::parse("eod_prices").is_ok());
        for text in ["", "EOD", "1st", "_x", "a-b", "a.b", "ö"] {
            assert!(SourceId::parse(text).is_err(), "{text}");
        }
    }
}
