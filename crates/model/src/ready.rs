//! When the headers of an answer say that a cell's data is there: a small language of conditions.
//!
//! `status`, `content_length` (also against the `usual` one), `etag_changed`,
//! `last_modified_changed` and `last_modified` against the `period`'s end, joined by `and`, `or`,
//! `not` and parentheses. What an answer does not tell makes neither true nor false: Kleene's logic of
//! three values (Introduction to Metamathematics, 1952, section 64).

use jiff::Timestamp;
use std::fmt;

/// The most bytes of a condition.
pub const READY_LIMIT_BYTES: usize = 1024;
/// How deep parentheses may nest.
const DEPTH_LIMIT: usize = 16;

/// A checked condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Status(Order, f64),
    Length(Order, f64),
    /// As a multiple of the usual length.
    LengthUsual(Order, f64),
    EtagChanged,
    LastModifiedChanged,
    LastModifiedPeriod(Order),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
}

/// What the headers of an answer tell. `None`: they do not tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeadFacts<'a> {
    /// The status.
    pub status: u16,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// The usual length of an answer with data, in bytes.
    pub usual: Option<f64>,
    /// `ETag`.
    pub etag: Option<&'a str>,
    /// The `ETag` of the look before.
    pub etag_before: Option<&'a str>,
    /// `Last-Modified`, as sent.
    pub last_modified: Option<&'a str>,
    /// The `Last-Modified` of the look before.
    pub last_modified_before: Option<&'a str>,
    /// The same, read.
    pub last_modified_at: Option<Timestamp>,
    /// When the cell's period closed.
    pub period_closes_at: Option<Timestamp>,
}

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReadyError {
    /// What is wrong.
    pub message: String,
    /// What is allowed there.
    pub help: String,
    /// The word that is none of the language.
    pub word: Option<String>,
    /// Byte offset in the text.
    pub offset: usize,
}

impl Ready {
    /// The words with a meaning.
    pub const WORDS: [&'static str; 10] = [
        "status",
        "content_length",
        "usual",
        "etag_changed",
        "last_modified_changed",
        "last_modified",
        "period",
        "and",
        "or",
        "not",
    ];

    /// Reads a condition such as `status == 200 and content_length > 0.8 * usual`.
    pub fn parse(text: &str) -> Result<Self, ReadyError> {
        if text.len() > READY_LIMIT_BYTES {
            let message = format!("a condition has at most {READY_LIMIT_BYTES} bytes");
            return Err(ReadyError { message, help: EXAMPLE.to_owned(), word: None, offset: 0 });
        }
        let mut reader = Reader { text, tokens: tokens(text)?, at: 0 };
        let root = reader.or(0)?;
        match reader.peek() {
            None => Ok(Self { text: text.to_owned(), root }),
            Some(token) => Err(reader.refuse(token, "join conditions with `and` or `or`")),
        }
    }

    /// Whether the condition holds; `None` if the answer does not tell.
    pub fn holds(&self, facts: &HeadFacts<'_>) -> Option<bool> {
        self.root.holds(facts)
    }

    /// Whether it compares with the usual length.
    pub fn needs_usual(&self) -> bool {
        self.text.contains("usual")
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Node {
    fn holds(&self, facts: &HeadFacts<'_>) -> Option<bool> {
        let changed = |now: Option<&str>, before: Option<&str>| Some(now? != before?);
        match self {
            Self::Or(left, right) => match (left.holds(facts), right.holds(facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::And(left, right) => match (left.holds(facts), right.holds(facts)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Not(inner) => inner.holds(facts).map(|holds| !holds),
            Self::Status(order, number) => Some(order.holds(&f64::from(facts.status), number)),
            Self::Length(order, number) => {
                Some(order.holds(&(facts.content_length? as f64), number))
            }
            Self::LengthUsual(order, factor) => {
                Some(order.holds(&(facts.content_length? as f64), &(facts.usual? * factor)))
            }
            Self::EtagChanged => changed(facts.etag, facts.etag_before),
            Self::LastModifiedChanged => changed(facts.last_modified, facts.last_modified_before),
            Self::LastModifiedPeriod(order) => {
                Some(order.holds(&facts.last_modified_at?, &facts.period_closes_at?))
            }
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

const EXAMPLE: &str = "write it like `content_length > 2`, `content_length > 0.8 * usual`, \
                       `etag_changed` or `last_modified > period`";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    /// From and to: bytes of the text.
    Word(usize, usize),
    Number(f64, usize),
    Order(Order, usize),
    Open(usize),
    Close(usize),
    Times(usize),
}

impl Token {
    fn offset(self) -> usize {
        match self {
            Self::Word(at, _)
            | Self::Number(_, at)
            | Self::Order(_, at)
            | Self::Open(at)
            | Self::Close(at)
            | Self::Times(at) => at,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, ReadyError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let run = |part: fn(char) -> bool| {
            rest.char_indices().find(|(_, c)| !part(*c)).map_or(rest.len(), |(end, _)| end)
        };
        let (token, length) = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' => (Token::Open(at), 1),
            ')' => (Token::Close(at), 1),
            '*' => (Token::Times(at), 1),
            '>' if rest.starts_with(">=") => (Token::Order(Order::GreaterOrEqual, at), 2),
            '<' if rest.starts_with("<=") => (Token::Order(Order::LessOrEqual, at), 2),
            '=' if rest.starts_with("==") => (Token::Order(Order::Equal, at), 2),
            '!' if rest.starts_with("!=") => (Token::Order(Order::NotEqual, at), 2),
            '>' => (Token::Order(Order::Greater, at), 1),
            '<' => (Token::Order(Order::Less, at), 1),
            c if c.is_ascii_digit() => {
                let length = run(|c| c.is_ascii_digit() || c == '.' || c == '_');
                let digits = rest[..length].replace('_', "");
                match digits.parse::<f64>() {
                    Ok(number) => (Token::Number(number, at), length),
                    Err(_) => return Err(wrong(&rest[..length], "is not a number", at)),
                }
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = run(|c| c.is_alphanumeric() || c == '_' || c == '-');
                (Token::Word(at, at + length), length)
            }
            '=' => return Err(wrong("=", "compares nothing: write `==`", at)),
            other => return Err(wrong(&other.to_string(), "has no meaning here", at)),
        };
        found.push(token);
        at += length;
    }
    Ok(found)
}

fn wrong(found: &str, what: &str, offset: usize) -> ReadyError {
    let message = format!("`{found}` {what}");
    ReadyError { message, help: EXAMPLE.to_owned(), word: None, offset }
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<Token, ReadyError> {
        let token = self.peek().ok_or_else(|| ReadyError {
            message: match self.text.trim() {
                "" => "the condition is empty".to_owned(),
                _ => "the condition breaks off".to_owned(),
            },
            help: EXAMPLE.to_owned(),
            word: None,
            offset: self.text.len(),
        })?;
        self.at += 1;
        Ok(token)
    }

    fn word(&self, token: Token) -> Option<&str> {
        match token {
            Token::Word(from, until) => self.text.get(from..until),
            _ => None,
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| self.word(token) == Some(word));
        self.at += usize::from(found);
        found
    }

    fn refuse(&self, token: Token, help: &str) -> ReadyError {
        let offset = token.offset();
        let found = self
            .word(token)
            .map_or_else(|| self.text[offset..].chars().take(1).collect(), str::to_owned);
        let known = Ready::WORDS.contains(&found.as_str());
        let word = self.word(token).filter(|_| !known).map(str::to_owned);
        let message = match &word {
            Some(word) => format!("`{word}` means nothing in a condition"),
            None => format!("`{found}` cannot stand here"),
        };
        ReadyError { message, help: help.to_owned(), word, offset }
    }

    fn or(&mut self, depth: usize) -> Result<Node, ReadyError> {
        let mut left = self.and(depth)?;
        while self.takes("or") {
            left = Node::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Node, ReadyError> {
        let mut left = self.term(depth)?;
        while self.takes("and") {
            left = Node::And(Box::new(left), Box::new(self.term(depth)?));
        }
        Ok(left)
    }

    fn term(&mut self, depth: usize) -> Result<Node, ReadyError> {
        let token = self.next()?;
        if depth >= DEPTH_LIMIT {
            return Err(self.refuse(token, "a condition nests less deeply"));
        }
        if let Token::Open(_) = token {
            let inner = self.or(depth + 1)?;
            return match self.next()? {
                Token::Close(_) => Ok(inner),
                other => Err(self.refuse(other, "the closing `)` is missing")),
            };
        }
        match self.word(token) {
            Some("not") => Ok(Node::Not(Box::new(self.term(depth + 1)?))),
            Some("etag_changed") => Ok(Node::EtagChanged),
            Some("last_modified_changed") => Ok(Node::LastModifiedChanged),
            Some("status") => {
                let order = self.order()?;
                Ok(Node::Status(order, self.number()?))
            }
            Some("content_length") => self.length(),
            Some("last_modified") => {
                let order = self.order()?;
                match self.next()? {
                    token if self.word(token) == Some("period") => {
                        Ok(Node::LastModifiedPeriod(order))
                    }
                    other => Err(self.refuse(other, "write `last_modified > period`")),
                }
            }
            _ => Err(self.refuse(token, EXAMPLE)),
        }
    }

    fn length(&mut self) -> Result<Node, ReadyError> {
        let order = self.order()?;
        let token = self.next()?;
        match token {
            Token::Number(factor, _) if matches!(self.peek(), Some(Token::Times(_))) => {
                self.at += 1;
                match self.next()? {
                    token if self.word(token) == Some("usual") => {
                        Ok(Node::LengthUsual(order, factor))
                    }
                    other => Err(self.refuse(other, "write `0.8 * usual`")),
                }
            }
            Token::Number(bytes, _) => Ok(Node::Length(order, bytes)),
            token if self.word(token) == Some("usual") => Ok(Node::LengthUsual(order, 1.0)),
            other => Err(self.refuse(other, "write a number of bytes, or `0.8 * usual`")),
        }
    }

    fn order(&mut self) -> Result<Order, ReadyError> {
        match self.next()? {
            Token::Order(order, _) => Ok(order),
            other => Err(self.refuse(other, "write `>`, `>=`, `<`, `<=`, `==` or `!=`")),
        }
    }

    fn number(&mut self) -> Result<f64, ReadyError> {
        match self.next()? {
            Token::Number(number, _) => Ok(number),
            other => Err(self.refuse(other, "write a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, facts: &HeadFacts<'_>) -> Option<bool> {
        Ready::parse(text).unwrap().holds(facts)
    }

    #[test]
    fn conditions_hold_or_not_or_cannot_be_told() {
        let closes: Timestamp = "2026-11-19T21:00:00Z".parse().unwrap();
        let facts = HeadFacts {
            status: 200,
            content_length: Some(900),
            usual: Some(1_000.0),
            etag: Some("\"b\""),
            etag_before: Some("\"a\""),
            last_modified: Some("Thu, 19 Nov 2026 21:30:00 GMT"),
            last_modified_before: None,
            last_modified_at: "2026-11-19T21:30:00Z".parse().ok(),
            period_closes_at: Some(closes),
        };
        let silent = HeadFacts { status: 404, ..HeadFacts::default() };
        for (text, told, untold) in [
            ("status == 200", Some(true), Some(false)),
            ("content_length > 2", Some(true), None),
            ("content_length > 0.8 * usual", Some(true), None),
            ("content_length >= usual", Some(false), None),
            ("etag_changed", Some(true), None),
            ("last_modified_changed", None, None),
            ("last_modified > period", Some(true), None),
            ("not last_modified > period", Some(false), None),
            ("status == 200 and content_length > 2", Some(true), Some(false)),
            ("status == 404 or content_length > 2", Some(true), Some(true)),
            ("status != 404 and (content_length < 10 or etag_changed)", Some(true), Some(false)),
            ("last_modified_changed or status == 200", Some(true), None),
        ] {
            assert_eq!(holds(text, &facts), told, "{text}");
            assert_eq!(holds(text, &silent), untold, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_at_its_place() {
        for (text, offset, message) in [
            ("", 0, "the condition is empty"),
            ("content_lenght > 2", 0, "`content_lenght` means nothing in a condition"),
            ("status = 200", 7, "`=` compares nothing: write `==`"),
            ("status == ", 10, "the condition breaks off"),
            ("status == 200 content_length > 2", 14, "`content_length` cannot stand here"),
            ("content_length > 0.8 * normal", 23, "`normal` means nothing in a condition"),
            ("(status == 200", 14, "the condition breaks off"),
            ("last_modified > 5", 16, "`5` cannot stand here"),
            ("status == 1.2.3", 10, "`1.2.3` is not a number"),
            ("status == 200;", 13, "`;` has no meaning here"),
        ] {
            let error = Ready::parse(text).unwrap_err();
            assert_eq!((error.offset, error.message.as_str()), (offset, message), "{text}");
        }
        assert!(Ready::parse(&"(".repeat(2_000)).is_err());
        assert!(Ready::parse(&format!("{}etag_changed", "not ".repeat(200))).is_err());
    }
}
