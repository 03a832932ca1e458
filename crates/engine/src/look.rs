//! The way of one cheap look: it says whether data is there, and brings none.

use crate::{
    observation::{Looked, Observation, Said},
    way::{Answer, Job, WayError, Ways, facts, keep, spool_failed},
};
use extract::Lister;
use fetch::{Decoded, Fetched};
use http::{HeaderMap, header};
use jiff::{Timestamp, fmt::rfc2822};
use model::{LookKind, Money, Outcome, Validators, ready::HeadFacts};
use plan::LookAnswer;
use std::fmt::Write as _;
use std::{io::Read as _, sync::Arc};

/// Pages up to this are read at once, larger ones beside the runtime's other work.
const PAGE_BYTES_AT_ONCE: usize = 256 * 1024;

/// Walks the way of one cheap look.
pub(crate) async fn look(ways: &Ways, job: &Job) -> Result<Observation, WayError> {
    let period = job.cell.period.to_string();
    let compiled = &job.compiled;
    let started = ways.clock.now();
    let request = compiled.look_request(job.look, &job.cell.entity, &period);
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            let unsent = (Outcome::Skipped, Money::ZERO, error.to_string());
            return Ok(job.unwalked().alone(started, unsent));
        }
    };
    let request_hash = compiled.request_hash(&request);
    let mut fetched = fetch::fetch(&*ways.transport, request, started.wall).await;
    let observed_at = ways.observed_at();
    compiled.secrets.mask(&mut fetched, &compiled.limits)?;
    let facts = facts(&fetched, started);
    let answer = Answer { fetched: &fetched, url: &facts.url, request_hash, observed_at };
    // The headers alone are in the ledger.
    let kept = match job.look {
        LookKind::Head => None,
        _ => keep(ways, job, &answer).await?,
    };
    let made = match job.look {
        LookKind::Head => head(job, &fetched),
        _ => page(job, &fetched).await?,
    };
    let mut observation = job.unwalked().alone(started, (made.outcome, job.cost, made.detail));
    observation.retry_after = fetched.verdict.retry_after;
    observation.observed_at = observed_at;
    observation.facts = facts;
    observation.evidence = kept;
    observation.looked = Some(Looked { said: made.said, validators: made.validators });
    Ok(observation)
}

/// What a cheap look made of its answer.
struct Made {
    outcome: Outcome,
    detail: String,
    said: Said,
    validators: Validators,
}

impl Made {
    fn failed(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
            said: Said::Failed,
            validators: Validators::default(),
        }
    }
}

/// Judges the headers of an answer to a HEAD.
fn head(job: &Job, fetched: &Fetched) -> Made {
    let verdict = &fetched.verdict;
    let outcome = verdict.outcome.unwrap_or(Outcome::Ok);
    let Some(status) = fetched.status else { return Made::failed(outcome, &verdict.detail) };
    let spec = job.compiled.source.arrival.as_ref().and_then(|spec| spec.head.as_ref());
    let Some(spec) = spec else { return Made::failed(Outcome::Skipped, "no such look") };
    if matches!(status, 405 | 501) {
        let detail = format!("the server takes no HEAD ({status}): it is asked for instead");
        return Made { said: Said::Unsupported, ..Made::failed(Outcome::SourceError, detail) };
    }
    match outcome {
        Outcome::RateLimited | Outcome::TransportError | Outcome::Partial => {
            return Made::failed(outcome, &verdict.detail);
        }
        Outcome::SourceError if status >= 500 || (300..400).contains(&status) => {
            return Made::failed(outcome, &verdict.detail);
        }
        Outcome::Blocked | Outcome::Unauthorized => {
            let detail = format!("{}: a HEAD is refused, it is asked for instead", verdict.detail);
            return Made { said: Said::Cell(LookAnswer::Unknown), ..Made::failed(outcome, detail) };
        }
        _ => {}
    }
    let text = |name| text_of(&fetched.headers, &name);
    let (etag, last_modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
    let before = job.validators_before();
    let facts = HeadFacts {
        status,
        content_length: text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
        usual: job.usual,
        etag: etag.as_deref(),
        etag_before: before.and_then(|known| known.etag.as_deref()),
        last_modified: last_modified.as_deref(),
        last_modified_before: before.and_then(|known| known.last_modified.as_deref()),
        last_modified_at: last_modified.as_deref().and_then(http_date),
        period_closes_at: job.closes_at,
    };
    let found = shown(&facts);
    let (answer, outcome, word) = match spec.ready.holds(&facts) {
        Some(true) => (LookAnswer::There, Outcome::Ok, "ready"),
        Some(false) => (LookAnswer::NotThere, Outcome::EmptyUnproven, "not ready"),
        None => (LookAnswer::Unknown, Outcome::EmptyUnproven, "nothing that `ready` could tell by"),
    };
    Made {
        outcome,
        detail: format!("HEAD says {word}: {found}"),
        said: Said::Cell(answer),
        validators: Validators { etag, last_modified },
    }
}

/// The facts of a condition in words.
fn shown(facts: &HeadFacts<'_>) -> String {
    let mut text = format!("status {}", facts.status);
    if let Some(length) = facts.content_length {
        let _ = write!(text, ", content_length {length}");
    }
    if let Some(usual) = facts.usual {
        let _ = write!(text, " (usual {usual:.0})");
    }
    let mut add = |name: &str, value: Option<&str>, before: Option<&str>| {
        let Some(value) = value else { return };
        let value: String = value.chars().take(100).collect();
        let _ = write!(text, ", {name} {value}");
        match before {
            Some(before) if before != value => text.push_str(" (changed)"),
            Some(_) => text.push_str(" (as before)"),
            None => {}
        }
    };
    add("etag", facts.etag, facts.etag_before);
    add("last_modified", facts.last_modified, facts.last_modified_before);
    text
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// `Thu, 19 Nov 2026 21:00:00 GMT`
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// Reads the entities off a page or a feed.
async fn page(job: &Job, fetched: &Fetched) -> Result<Made, WayError> {
    let compiled = &job.compiled;
    let verdict = &fetched.verdict;
    if let Some(outcome) = verdict.outcome {
        return Ok(Made::failed(outcome, &verdict.detail));
    }
    let Some(lister) = compiled.lister(job.look) else {
        return Ok(Made::failed(Outcome::Skipped, "no such look"));
    };
    let body = match fetch::decode(&fetched.body, &fetched.headers, &compiled.page_limits) {
        Ok(Decoded::Memory(body)) => body,
        Ok(decoded @ Decoded::File(_)) => {
            let mut body = Vec::new();
            let read = decoded.reader().and_then(|mut reader| {
                reader
                    .by_ref()
                    .take(compiled.page_limits.decoded_limit_bytes)
                    .read_to_end(&mut body)
            });
            read.map_err(|cause| spool_failed(&compiled.limits.spool_dir, cause))?;
            body.into()
        }
        Err(error) => return Ok(Made::failed(Outcome::Partial, error.to_string())),
    };
    let listed = if body.len() <= PAGE_BYTES_AT_ONCE {
        lister.read(&body)
    } else {
        let lister: Arc<Lister> = Arc::clone(lister);
        tokio::task::spawn_blocking(move || lister.read(&body))
            .await
            .map_err(|error| crate::EngineError::Task(error.to_string()))?
    };
    Ok(match listed {
        Err(reason) => Made::failed(Outcome::ParseError, format!("the page is not read: {reason}")),
        Ok(listed) => {
            let detail = match (listed.all, listed.names.len()) {
                (true, _) => "the page says that all data is there".to_owned(),
                (false, count) => format!("the page names {count} entities"),
            };
            Made {
                outcome: Outcome::Ok,
                detail,
                said: Said::Listed(listed),
                validators: Validators::default(),
            }
        }
    })
}
