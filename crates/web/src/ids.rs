//! `POST /v1/ids`: ids, a batch at a time.

use crate::{JSON, TEXT, refused, text};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
};

/// The most ids of one request.
pub(crate) const COUNT_MAX: u32 = 100_000;

/// Which ids are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// Time-ordered 64-bit integers.
    Int,
    /// Small, dense integers.
    Block,
    /// UUIDs of version 7.
    Uuid,
}

impl IdKind {
    /// As it is written in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Block => "block",
            Self::Uuid => "uuid",
        }
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Int, Self::Block, Self::Uuid].into_iter().find(|kind| kind.name() == name)
    }
}

/// What a batch holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// Of kind `int` and `block`.
    Numbers(Vec<i64>),
    /// Of kind `uuid`.
    Texts(Vec<String>),
}

impl Ids {
    /// As a document: `{"kind":"int","ids":[...]}`.
    pub fn document(&self, kind: IdKind) -> serde_json::Value {
        match self {
            Self::Numbers(ids) => serde_json::json!({ "kind": kind.name(), "ids": ids }),
            Self::Texts(ids) => serde_json::json!({ "kind": kind.name(), "ids": ids }),
        }
    }
}

/// One a line.
impl fmt::Display for Ids {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(ids) => ids.iter().try_for_each(|id| writeln!(formatter, "{id}")),
            Self::Texts(ids) => ids.iter().try_for_each(|id| writeln!(formatter, "{id}")),
        }
    }
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// Whether asking again can help.
    pub passing: bool,
}

/// Where ids come from. May block for as long as its store does.
pub trait IdSource: Send + Sync + Debug {
    /// Exactly `count` ids, at least 1, in ascending order.
    ///
    /// # Errors
    /// Why there are none; what was taken for a part is used by nobody.
    fn take(&self, kind: IdKind, count: u32) -> Result<Ids, Refusal>;
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    kind: IdKind,
    count: u32,
    as_text: bool,
}

pub(crate) async fn answer(
    query: &str,
    body: &[u8],
    ids: Arc<dyn IdSource>,
) -> Response<Full<Bytes>> {
    let asked = match read(query, body) {
        Ok(asked) => asked,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    let Asked { kind, count, as_text } = asked;
    match tokio::task::spawn_blocking(move || ids.take(kind, count)).await {
        Ok(Ok(ids)) if as_text => text(StatusCode::OK, TEXT, ids.to_string()),
        Ok(Ok(ids)) => text(StatusCode::OK, JSON, ids.document(kind).to_string()),
        Ok(Err(refusal)) if refusal.passing => {
            refused(StatusCode::SERVICE_UNAVAILABLE, &refusal.message)
        }
        Ok(Err(refusal)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &refusal.message),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the server is ending"),
    }
}

/// What the query asks for and, over it, the body: a JSON object or a form.
fn read(query: &str, body: &[u8]) -> Result<Asked, String> {
    let body = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?.trim();
    let pairs = |text: &str| -> Vec<(String, String)> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        pairs.map(|pair| owned(pair.split_once('=').unwrap_or((pair, "")))).collect()
    };
    let mut wishes = pairs(query);
    if body.starts_with('{') {
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(body)
            .map_err(|error| format!("the body is no JSON object: {error}"))?;
        wishes.extend(object.into_iter().map(|(name, value)| match value {
            serde_json::Value::String(text) => (name, text),
            other => (name, other.to_string()),
        }));
    } else {
        wishes.extend(pairs(body));
    }
    let mut asked = Asked { kind: IdKind::Int, count: 1, as_text: false };
    for (name, value) in &wishes {
        match name.as_str() {
            "kind" => {
                asked.kind = IdKind::of(value)
                    .ok_or_else(|| format!("`kind` is `int`, `block` or `uuid`, not `{value}`"))?;
            }
            "count" => {
                asked.count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=COUNT_MAX).contains(count))
                    .ok_or_else(|| format!("`count` is 1 to {COUNT_MAX}, not `{value}`"))?;
            }
            "format" if value == "json" => asked.as_text = false,
            "format" if value == "text" => asked.as_text = true,
            "format" => return Err(format!("`format` is `json` or `text`, not `{value}`")),
            _ => return Err(format!("`{name}` is none of `kind`, `count`, `format`")),
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_kind_count_and_format() {
        let defaults = Asked { kind: IdKind::Int, count: 1, as_text: false };
        assert_eq!(read("", b""), Ok(defaults));
        assert_eq!(
            read("kind=uuid&count=100000&format=text", b""),
            Ok(Asked { kind: IdKind::Uuid, count: 100_000, as_text: true })
        );
    }

    #[test]
    fn a_body_says_it_too() {
        let asked = Asked { kind: IdKind::Block, count: 5, as_text: false };
        assert_eq!(read("", br#" {"kind": "block", "count": 5} "#).unwrap(), asked);
        assert_eq!(read("count=9", b"count=5&kind=block").unwrap(), asked);
        for wrong in [&b"{\"count\": 5"[..], b"{\"count\": -1}", b"[5]", b"\xff", b"hello"] {
            assert!(read("", wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, named) in [
            ("kind=max", "`max`"),
            ("count=0", "`0`"),
            ("count=100001", "`100001`"),
            ("count=-1", "`-1`"),
            ("count", "``"),
            ("format=xml", "`xml`"),
            ("n=5", "`n`"),
        ] {
            for (query, body) in [(query, ""), ("", query)] {
                let why = read(query, body.as_bytes()).unwrap_err();
                assert!(why.contains(named), "{why}");
            }
        }
    }
}
