//! What an answer means: the verdict rules, in one place.
//!
//! Pure: evidence in, verdict out. A status is evidence, not a verdict: a 200 may be a block page
//! and a 403 may be a rate limit. Where a body's text decides, the verdict says which mark it was.

use crate::{
    decode::{DecodeError, Encodings},
    page::{Look, Page, odd_charset},
    request::{FetchVerdict, Truncated},
    retry_after::retry_after,
    transport::TransportError,
};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;
use model::Outcome;
use std::time::Duration;

/// A refusal faster than that comes from a limiter, a slower one from an overloaded server.
const FAST_REFUSAL: Duration = Duration::from_secs(1);

/// What is known of an answer.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// The decoded start of the body, where it was needed to judge.
    pub(crate) page: Option<Page>,
    /// The page's title or first words, secrets masked.
    pub(crate) quote: String,
    /// `Html` only where a web page is the wrong answer, or the status refuses.
    pub(crate) look: Look,
    pub(crate) body_bytes: u64,
    /// HEAD: no body is due.
    pub(crate) head_only: bool,
    pub(crate) truncated: Option<Truncated>,
    pub(crate) truncated_reason: &'a str,
    pub(crate) validators_sent: bool,
    pub(crate) credentials_sent: bool,
    /// From the request until the head was there.
    pub(crate) answered_in: Duration,
    pub(crate) empty_status: &'a [u16],
    pub(crate) wall_now: Timestamp,
}

pub(crate) fn verdict(outcome: Outcome, detail: impl Into<String>) -> FetchVerdict {
    FetchVerdict {
        outcome: Some(outcome),
        detail: detail.into(),
        retry_after: None,
        empty_by_status: false,
    }
}

/// Judges an answer that is no redirect.
pub(crate) fn classify(evidence: &Evidence<'_>) -> FetchVerdict {
    let status = evidence.status;
    if evidence.empty_status.contains(&status.as_u16()) || status == StatusCode::NO_CONTENT {
        return evidence.empty_by_status();
    }
    let mut judged = match status.as_u16() {
        206 => verdict(Outcome::Partial, "206: a part, although the whole was asked for"),
        200..=299 => evidence.success(),
        304 if evidence.validators_sent => verdict(Outcome::NotModified, ""),
        304 => verdict(Outcome::SourceError, "304, although nothing was sent to compare with"),
        100..=399 => evidence.say(Outcome::SourceError, "the answer makes no sense here"),
        401 => evidence.say(Outcome::Unauthorized, "credentials are missing or not accepted"),
        403 => evidence.forbidden(),
        404 | 410 => evidence.say(Outcome::Gone, "nothing is at this address"),
        407 => evidence.say(Outcome::Blocked, "a proxy wants credentials"),
        408 | 425 => evidence.say(Outcome::SourceError, "the server did not take the request"),
        429 => evidence.say(Outcome::RateLimited, "asked too often"),
        451 => evidence.say(Outcome::Blocked, "withheld for legal reasons"),
        400..=499 => evidence.say(Outcome::SourceError, "the request is refused"),
        503 => evidence.unavailable(),
        _ => evidence.say(Outcome::SourceError, "the server failed"),
    };
    if judged.outcome == Some(Outcome::RateLimited) || matches!(status.as_u16(), 429 | 503) {
        judged.retry_after = retry_after(evidence.headers, evidence.wall_now);
    }
    judged
}

impl Evidence<'_> {
    fn success(&self) -> FetchVerdict {
        if self.look == Look::Html {
            return self.web_page();
        }
        if self.truncated.is_some() {
            return verdict(Outcome::Partial, self.truncated_reason);
        }
        if self.head_only {
            return FetchVerdict {
                outcome: None,
                detail: String::new(),
                retry_after: None,
                empty_by_status: false,
            };
        }
        if self.body_bytes == 0 {
            return self.say(Outcome::EmptyUnproven, "the body has no bytes");
        }
        if let Err(error @ DecodeError::Unsupported { .. }) = Encodings::of(self.headers) {
            return verdict(Outcome::SourceError, format!("{error}, and was not asked for"));
        }
        let detail = match odd_charset(self.headers) {
            Some(charset) => format!("the declared charset is `{charset}`"),
            None => String::new(),
        };
        FetchVerdict { outcome: None, detail, retry_after: None, empty_by_status: false }
    }

    /// Only a whole answer that is no block page may assert emptiness.
    fn empty_by_status(&self) -> FetchVerdict {
        if let Some(mark) = self.block_mark() {
            return self.blocked(mark);
        }
        if self.truncated.is_some() {
            return verdict(Outcome::Partial, self.truncated_reason);
        }
        FetchVerdict {
            empty_by_status: true,
            ..verdict(
                Outcome::EmptyProven,
                format!("{} means that there is nothing", self.status.as_u16()),
            )
        }
    }

    fn web_page(&self) -> FetchVerdict {
        match self.block_mark() {
            Some(mark) => self.blocked(mark),
            None => self.say(Outcome::ParseError, "a web page where JSON is due"),
        }
    }

    fn forbidden(&self) -> FetchVerdict {
        if let Some(mark) = self.block_mark().or_else(|| self.challenge_mark()) {
            return self.blocked(mark);
        }
        let is_used_up = self
            .headers
            .get("x-ratelimit-remaining")
            .is_some_and(|remaining| remaining.as_bytes().trim_ascii() == b"0");
        if is_used_up || self.headers.contains_key(RETRY_AFTER) || self.limit_mark().is_some() {
            return self.say(Outcome::RateLimited, "asked too often");
        }
        if self.credentials_sent {
            self.say(Outcome::Unauthorized, "the credentials are not enough")
        } else {
            self.say(Outcome::Blocked, "refused to us")
        }
    }

    fn unavailable(&self) -> FetchVerdict {
        if let Some(mark) = self.challenge_mark() {
            return self.blocked(mark);
        }
        let is_fast = self.answered_in < FAST_REFUSAL;
        if self.headers.contains_key(RETRY_AFTER) || (is_fast && self.limit_mark().is_some()) {
            return self.say(Outcome::RateLimited, "asked too often, or too busy");
        }
        self.say(Outcome::SourceError, "the server failed")
    }

    fn blocked(&self, mark: &str) -> FetchVerdict {
        self.say(Outcome::Blocked, &format!("a block page (`{mark}`)"))
    }

    /// The verdict with what the server said: `{what}: 400 Bad Request: {words of the body}`.
    fn say(&self, outcome: Outcome, what: &str) -> FetchVerdict {
        let mut detail = format!("{what}: {}", self.status);
        // A status without a name is displayed with a filler.
        if self.status.canonical_reason().is_none() {
            detail = format!("{what}: {}", self.status.as_u16());
        }
        if !self.quote.is_empty() {
            detail.push_str(": ");
            detail.push_str(&self.quote);
        }
        verdict(outcome, detail)
    }

    /// Marks that any page may have count on a web page only.
    fn block_mark(&self) -> Option<&'static str> {
        self.page.as_ref().filter(|_| self.look == Look::Html).and_then(Page::block_mark)
    }

    fn challenge_mark(&self) -> Option<&'static str> {
        if self.headers.get("cf-mitigated").is_some_and(|value| value == "challenge") {
            return Some("cf-mitigated");
        }
        self.page.as_ref().and_then(Page::challenge_mark)
    }

    fn limit_mark(&self) -> Option<&'static str> {
        self.page.as_ref().and_then(Page::limit_mark)
    }
}

/// Judges an attempt without an answer.
pub(crate) fn classify_error(error: &TransportError) -> FetchVerdict {
    let outcome = match error {
        // Something answered, and not in HTTP.
        TransportError::Protocol { .. } | TransportError::TooManyHeaders => Outcome::SourceError,
        TransportError::Name { .. }
        | TransportError::Connect { .. }
        | TransportError::Tls { .. }
        | TransportError::NoRootCertificates
        | TransportError::Refused { .. }
        | TransportError::Broken { .. }
        | TransportError::Timeout { .. }
        | TransportError::Unsendable { .. } => Outcome::TransportError,
    };
    verdict(outcome, error.chain())
}

#[cfg(test)]
mod tests;
