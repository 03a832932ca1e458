//! What goes wrong within a store, before it is told which store it was.

use crate::error::{BoxError, StoreError};
use std::fmt::Display;

#[derive(Debug)]
pub(crate) enum Fault<E> {
    /// What the database's client says.
    Client(E),
    /// What the caller is to hear as it is.
    Store(StoreError),
    /// The rows are not what this program writes.
    #[cfg(any(feature = "sqlite", feature = "mariadb"))]
    Damaged(String),
    /// No answer for so long.
    #[cfg(any(feature = "postgres", feature = "mariadb"))]
    Silent(std::time::Duration),
}

impl<E> From<StoreError> for Fault<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E: Into<BoxError>> Fault<E> {
    /// As the caller hears it, of the store with this name.
    pub(crate) fn at(self, name: &impl Display) -> StoreError {
        let store = name.to_string();
        match self {
            Self::Client(cause) => StoreError::Unavailable { store, cause: cause.into() },
            Self::Store(error) => error,
            #[cfg(any(feature = "sqlite", feature = "mariadb"))]
            Self::Damaged(found) => StoreError::Damaged { store, found },
            #[cfg(any(feature = "postgres", feature = "mariadb"))]
            Self::Silent(limit) => {
                let cause = format!("no answer within {limit:?}").into();
                StoreError::Unavailable { store, cause }
            }
        }
    }
}
