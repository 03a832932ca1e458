//! The way of one attempt: fetch, archive, and what [`crate::answer`] makes of it: extract,
//! validate, compare.
//!
//! A task per attempt walks it and touches nothing that another reader can see: bodies go into the
//! archive's files, rows stay in memory or in staged files until the engine's loop commits them.

use crate::{
    answer::{Walk, with_body, without_body},
    compiled::Compiled,
    observation::{Belief, Booked, DataRows, Facts, Observation, QuarantinedRows},
};
use archive::{Archive, RefersTo, ResponseRecord, Revisit};
use env::Clock;
use fetch::{Body, Fetched, Transport};
use futures::future::BoxFuture;
use jiff::{Timestamp, tz::TimeZone};
use lake::Lake;
use model::{AttemptId, CellKey, LookKind, Money, Outcome, Validators, grid::CellOrdinal};
use state::{CellRow, Evidence};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// A body that is archived already is not archived again if it is larger than a record about it.
const DUPLICATE_BYTES_MIN: usize = 512;

/// What the tasks share.
#[derive(Debug)]
pub(crate) struct Ways {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) lake: Arc<dyn Lake>,
    /// Microseconds: `_observed_at` never runs backwards, whatever the wall clock does.
    pub(crate) observed_at_max: AtomicI64,
}

/// One cell to be asked for, or several by one request.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) ordinal: CellOrdinal,
    pub(crate) cell: CellKey,
    pub(crate) attempt: AttemptId,
    pub(crate) planned_at: Timestamp,
    pub(crate) priority: &'static str,
    /// The same in an order: the least is the most urgent.
    pub(crate) urgency: plan::agenda::Priority,
    /// What is known of the cell, if anything.
    pub(crate) prior: Option<CellRow>,
    /// How it is looked at.
    pub(crate) look: LookKind,
    /// What is reserved for it.
    pub(crate) cost: Money,
    /// Only for sources with `[arrival]`.
    pub(crate) before: Option<Box<Before>>,
    /// The usual length of its entity's answers, for looks that compare with it.
    pub(crate) usual: Option<f64>,
    /// When its period closed.
    pub(crate) closes_at: Option<Timestamp>,
    /// The other cells of its period that the same request asks for.
    pub(crate) others: Vec<Asked>,
}

/// A cell that another one's request asks for as well.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ordinal: CellOrdinal,
    pub(crate) cell: CellKey,
    pub(crate) prior: Option<CellRow>,
}

/// What the looks before say about a cell.
#[derive(Debug)]
pub(crate) struct Before {
    /// What the last HEAD was answered with.
    pub(crate) validators: Validators,
    /// Why the cell is asked for now, of the looks before.
    pub(crate) why: Option<String>,
    /// What is believed of it.
    pub(crate) belief: Option<Arc<Belief>>,
}

/// The engine cannot go on: the archive or the lake refused to take bytes.
pub(crate) type WayError = crate::EngineError;

/// Walks the way of one attempt: an observation of each cell it asked for, the attempt's own first.
///
/// In a box: what waits here takes kilobytes, and a task's future is moved several times.
pub(crate) fn walk<'a>(
    ways: &'a Ways,
    job: &'a Job,
) -> BoxFuture<'a, Result<Vec<Observation>, WayError>> {
    if job.look.brings_data() {
        Box::pin(walk_to_data(ways, job))
    } else {
        Box::pin(async move { Ok(vec![crate::look::look(ways, job).await?]) })
    }
}

async fn walk_to_data(ways: &Ways, job: &Job) -> Result<Vec<Observation>, WayError> {
    let period = job.cell.period.to_string();
    let compiled = &job.compiled;
    let started = ways.clock.now();
    let unwalked = job.unwalked();
    let mut request = match compiled.request(&job.entities(), &period) {
        Ok(request) => request,
        Err(error) => {
            let mut ended = unwalked.not_sent(started, error.to_string());
            if matches!(error, source::TemplateError::TooLong { .. }) {
                ended.iter_mut().for_each(Observation::ask_for_fewer);
            }
            return Ok(ended);
        }
    };
    let request_hash = compiled.request_hash(&request);
    request.validators = conditional(job, compiled, request_hash);

    let mut fetched = fetch::fetch(&*ways.transport, request, started.wall).await;
    let observed_at = ways.observed_at();
    let masked = compiled.secrets.mask(&mut fetched, &compiled.limits)?;
    let facts = facts(&fetched, started);
    let answer = Answer { fetched: &fetched, url: &facts.url, request_hash, observed_at };
    let kept = keep(ways, job, &answer).await?;

    let walk = |cell, prior| Walk {
        ways,
        compiled,
        attempt: job.attempt,
        cell,
        prior,
        period: &period,
        observed_at,
        kept: &kept,
    };
    let own = walk(&job.cell, job.prior.as_ref());
    let others = job.others.iter().map(|other| walk(&other.cell, other.prior.as_ref()));
    let walks: Vec<Walk<'_>> = std::iter::once(own).chain(others).collect();
    let made = match fetched.verdict.outcome {
        Some(outcome) => without_body(&walks, outcome, &fetched.verdict.detail).await?,
        None => with_body(&walks, &fetched).await?,
    };
    let spec = compiled.source.arrival.as_ref();
    let same = spec.and_then(|spec| spec.conditional).filter(|_| facts.status == Some(304));
    let cost = same.map_or(job.cost, |cost| cost.min(job.cost));
    let mut ended = unwalked.end(started, Outcome::Ok, cost, String::new());
    let is_about_one_of_them = ended.len() > 1 && refuses_the_whole(&fetched, job);
    for (observation, made) in ended.iter_mut().zip(made) {
        observation.retry_after = fetched.verdict.retry_after;
        observation.observed_at = observed_at;
        observation.take(made);
        if masked {
            observation.note("the answer echoed a secret, which was blanked out");
        }
        if is_about_one_of_them {
            observation.ask_for_fewer();
        }
    }
    for other in ended.iter_mut().skip(1) {
        other.facts = facts.clone();
        other.evidence.clone_from(&kept);
    }
    (ended[0].facts, ended[0].evidence) = (facts, kept);
    if let Some(why) = job.before.as_ref().and_then(|before| before.why.as_ref()) {
        ended[0].note(why);
    }
    Ok(book_together(ended))
}

/// Whether an answer to a request for many may be due to a single one of them: a name that the
/// server does not know, or what it fails on again and again.
fn refuses_the_whole(fetched: &Fetched, job: &Job) -> bool {
    const FAILURES_MIN: u32 = 3;
    match fetched.status {
        Some(401 | 402 | 403 | 407 | 408 | 425 | 429) => false,
        Some(400..=499) => fetched.verdict.outcome != Some(Outcome::RateLimited),
        Some(500..) => job.prior.as_ref().is_some_and(|row| row.failures >= FAILURES_MIN),
        _ => false,
    }
}

/// One row of the books speaks for all: that of a cell whose data came, if any did.
fn book_together(mut ended: Vec<Observation>) -> Vec<Observation> {
    if ended.len() == 1 {
        return ended;
    }
    let best = ended.iter().position(|it| it.outcome == Outcome::Ok).unwrap_or(0);
    let (cost, reserved) = (ended[0].cost, ended[0].reserved);
    let belief = ended[0].belief.take().map(|belief| match &belief.why {
        Some(why) if best > 0 => {
            let why = Some(format!("for {}: {why}", ended[0].cell.entity));
            Arc::new(Belief { why, ..*belief })
        }
        _ => belief,
    });
    ended[0].be_booked_with_another();
    ended.swap(0, best);
    let records = ended.iter().map(|it| it.records).sum();
    let quarantined = ended.iter().map(|it| it.quarantined.total).sum();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for observation in &ended {
        *outcomes.entry(observation.outcome.as_str()).or_default() += 1;
    }
    let outcomes: Vec<String> =
        outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let asked = ended.len() as u32;
    let own = &mut ended[0];
    own.note(&format!("asked for {asked} entities: {}", outcomes.join(", ")));
    own.booked = Some(Booked { cells: asked, records, quarantined });
    (own.cost, own.reserved, own.belief) = (cost, reserved, belief);
    ended
}

impl Ways {
    /// Now, or the latest time any observation has had, whichever is later.
    pub(crate) fn observed_at(&self) -> Timestamp {
        let now = self.clock.wall().as_microsecond();
        let latest = self.observed_at_max.fetch_max(now, Ordering::SeqCst).max(now);
        Timestamp::from_microsecond(latest).unwrap_or(Timestamp::MAX)
    }
}

/// Validators that may be sent: they belong to this request, this definition, and a body we hold.
fn conditional(job: &Job, compiled: &Compiled, request_hash: u64) -> Option<Validators> {
    // What an answer for many says of one of them is not what its validators are about.
    if !compiled.source.request.conditional || !job.others.is_empty() {
        return None;
    }
    let evidence = job.prior.as_ref()?.evidence.as_ref()?;
    if evidence.validators.is_empty() || evidence.source_version != compiled.source.version {
        return None;
    }
    (request_hash == evidence.request_hash).then(|| evidence.validators.clone())
}

impl Job {
    /// The entities that the request names.
    fn entities(&self) -> Vec<&str> {
        let others = self.others.iter().map(|other| &other.cell);
        std::iter::once(&self.cell).chain(others).map(|cell| cell.entity.as_str()).collect()
    }

    /// What is known of an attempt before it is walked.
    pub(crate) fn unwalked(&self) -> Unwalked {
        let others = self.others.iter().map(|other| (other.ordinal, other.cell.clone()));
        Unwalked {
            ordinal: self.ordinal,
            cell: self.cell.clone(),
            others: others.collect(),
            attempt: self.attempt,
            planned_at: self.planned_at,
            priority: self.priority,
            look: self.look,
            belief: self.before.as_ref().and_then(|before| before.belief.clone()),
            cost: self.cost,
            compiled: Arc::clone(&self.compiled),
        }
    }

    /// What a HEAD's answer is compared with: the last HEAD's, or that of the last whole answer.
    pub(crate) fn validators_before(&self) -> Option<&Validators> {
        let looked = self.before.as_ref().map(|before| &before.validators);
        looked
            .filter(|known| !known.is_empty())
            .or_else(|| self.prior.as_ref()?.evidence.as_ref().map(|evidence| &evidence.validators))
    }
}

/// An attempt without an answer.
pub(crate) struct Unwalked {
    ordinal: CellOrdinal,
    cell: CellKey,
    others: Vec<(CellOrdinal, CellKey)>,
    attempt: AttemptId,
    planned_at: Timestamp,
    priority: &'static str,
    look: LookKind,
    belief: Option<Arc<Belief>>,
    cost: Money,
    compiled: Arc<Compiled>,
}

impl Unwalked {
    /// It was never sent, and costs nothing.
    pub(crate) fn not_sent(self, at: env::Moment, detail: String) -> Vec<Observation> {
        self.end(at, Outcome::Skipped, Money::ZERO, detail)
    }

    /// Our own code broke on its answer.
    pub(crate) fn broken(self, at: env::Moment) -> Vec<Observation> {
        let cost = self.cost;
        let detail =
            "a defect of this program: its code panicked on the answer; see the log".to_owned();
        self.end(at, Outcome::ParseError, cost, detail)
    }

    /// The same end for each of its cells; the first is the one that is booked.
    pub(crate) fn end(
        mut self,
        at: env::Moment,
        outcome: Outcome,
        cost: Money,
        detail: String,
    ) -> Vec<Observation> {
        let others = std::mem::take(&mut self.others);
        let asked = others.len() as u32 + 1;
        let mut own = self.alone(at, (outcome, cost, detail));
        own.asked = asked;
        own.booked = Some(Booked { cells: asked, records: 0, quarantined: 0 });
        let mut ended = Vec::with_capacity(asked as usize);
        ended.extend(others.into_iter().map(|(ordinal, cell)| own.of_another(ordinal, cell)));
        ended.insert(0, own);
        ended
    }

    /// The end of one that asked for a single cell.
    pub(crate) fn alone(
        self,
        at: env::Moment,
        (outcome, cost, detail): (Outcome, Money, String),
    ) -> Observation {
        Observation {
            ordinal: self.ordinal,
            cell: self.cell,
            attempt: self.attempt,
            planned_at: self.planned_at,
            priority: self.priority,
            cost,
            reserved: self.cost,
            look: Some(self.look),
            belief: self.belief,
            asked: 1,
            fewer: false,
            booked: Some(Booked { cells: 1, records: 0, quarantined: 0 }),
            looked: None,
            outcome,
            detail,
            retry_after: None,
            source_version: self.compiled.source.version.clone(),
            observed_at: at.wall,
            facts: Facts::without_exchange(at.wall),
            evidence: None,
            unchanged: false,
            records: 0,
            records_hash: None,
            data: DataRows::default(),
            quarantined: QuarantinedRows::default(),
        }
    }
}

pub(crate) fn facts(fetched: &Fetched, started: env::Moment) -> Facts {
    Facts {
        at: started.wall,
        url: fetch::redact(&fetched.final_url),
        status: fetched.status,
        redirects: fetched.redirects,
        received_bytes: fetched.received_bytes,
        first_byte: fetched.first_byte,
        elapsed: fetched.elapsed,
        timed_out: fetched.truncated == Some(fetch::Truncated::Time),
        stated: fetch::stated_limit(&fetched.headers, started.wall),
    }
}

/// An answer on its way into the archive.
pub(crate) struct Answer<'a> {
    pub(crate) fetched: &'a Fetched,
    /// The address asked last, redacted.
    pub(crate) url: &'a str,
    pub(crate) request_hash: u64,
    pub(crate) observed_at: Timestamp,
}

/// Archives an answer; what comes back is the evidence of it.
pub(crate) async fn keep(
    ways: &Ways,
    job: &Job,
    answer: &Answer<'_>,
) -> Result<Option<Evidence>, WayError> {
    let Answer { fetched, url: target_uri, request_hash, observed_at } = *answer;
    let Some(status) = fetched.status else { return Ok(None) };
    let source = &job.cell.source;
    let digest = match &fetched.body {
        Body::Memory(bytes) => archive::digest(bytes),
        Body::File(spooled) => archive::digest_file(spooled.path())
            .map_err(|cause| spool_failed(spooled.path(), cause))?,
    };
    let mut headers = fetch::safe_headers(&fetched.headers);
    job.compiled.secrets.mask_headers(&mut headers);
    let prior = job.prior.as_ref().and_then(|row| row.evidence.as_ref());
    let not_modified = fetched.verdict.outcome == Some(Outcome::NotModified);
    let record = ResponseRecord {
        source,
        target_uri,
        received_at: observed_at,
        attempt: job.attempt,
        status,
        http_version: http_version(fetched.version),
        headers: &headers,
        digest: if not_modified {
            prior.map_or(digest, |evidence| evidence.digest)
        } else {
            digest
        },
        truncated: fetched.truncated.map(fetch::Truncated::as_str),
    };
    let day = observed_at.to_zoned(TimeZone::UTC).date();
    if let (true, Some(evidence)) = (not_modified, prior) {
        if let Ok(at) = evidence.archive.parse() {
            let received_at = job.prior.as_ref().and_then(|row| row.observed_at);
            let refers_to = RefersTo { at: &at, target_uri: Some(target_uri), received_at };
            let member = archive::revisit_member(&record, &refers_to, Revisit::ServerNotModified);
            ways.archive.append(source, day, member)?;
        }
        // The evidence of a 304 is the body it speaks of.
        let validators = newer(fetched, &evidence.validators);
        return Ok(Some(Evidence { validators, ..evidence.clone() }));
    }
    let archived = match (&fetched.body, ways.archive.find(source, &digest)) {
        (Body::Memory(bytes), Some(earlier)) if bytes.len() > DUPLICATE_BYTES_MIN => {
            let refers_to = RefersTo { at: &earlier, target_uri: None, received_at: None };
            let member = archive::revisit_member(&record, &refers_to, Revisit::IdenticalDigest);
            ways.archive.append(source, day, member)?;
            // Readers are sent to the record that has the body.
            earlier
        }
        (Body::Memory(bytes), _) => {
            ways.archive.append(source, day, archive::member(&record, bytes))?
        }
        (Body::File(spooled), _) => ways.archive.append_file(&record, day, spooled.path()).await?,
    };
    Ok(Some(Evidence {
        validators: newer(fetched, &Validators::default()),
        request_hash,
        source_version: job.compiled.source.version.clone(),
        digest,
        archive: archived.into(),
    }))
}

pub(crate) fn spool_failed(path: &std::path::Path, cause: std::io::Error) -> WayError {
    crate::EngineError::Spool { path: path.to_owned(), cause }
}

fn newer(fetched: &Fetched, known: &Validators) -> Validators {
    let text = |name| {
        fetched
            .headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
            .map(str::to_owned)
    };
    Validators {
        etag: text(http::header::ETAG).or_else(|| known.etag.clone()),
        last_modified: text(http::header::LAST_MODIFIED).or_else(|| known.last_modified.clone()),
    }
}

fn http_version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
