//! One attempt: request, redirects, body, verdict.

use crate::{
    body::{Body, Collected, Collecting},
    classify::{Evidence, classify, classify_error, verdict},
    deadline::Deadline,
    decode::decoded_start,
    page::{Look, Page, SEARCHED_BYTES_MAX},
    redact::{is_secret_header, mask_secrets},
    redirect::{Hop, RedirectError, is_redirect},
    request::{FetchRequest, FetchVerdict, Fetched, Truncated},
    transport::{BodyStream, BoxFuture, Phase, Transport, TransportError},
};
use bytes::Bytes;
use futures::StreamExt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
        HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION, TRANSFER_ENCODING,
    },
    response::Parts,
};
use jiff::Timestamp;
use model::Outcome;
use std::{io::Read, net::IpAddr, time::Duration};
use url::Url;

/// The body of a redirect is read to keep its connection, if it is no longer than that.
const REDIRECT_BODY_BYTES_MAX: usize = 16 << 10;

/// Makes one attempt. Never fails: each failure is an outcome with its evidence.
///
/// `wall_now` is only compared with dates that servers send.
pub fn fetch(
    transport: &dyn Transport,
    request: FetchRequest,
    wall_now: Timestamp,
) -> BoxFuture<'_, Fetched> {
    Box::pin(async move { Attempt::new(&request, wall_now).run(transport).await })
}

struct Attempt<'a> {
    request: &'a FetchRequest,
    wall_now: Timestamp,
    deadline: Deadline,
    hop: Hop,
    has_credentials: bool,
    /// When the current hop began, since the start.
    hop_began: Duration,
}

/// The head of an answer and when it was there, since the start.
struct Head {
    parts: Parts,
    first_byte: Duration,
}

impl<'a> Attempt<'a> {
    fn new(request: &'a FetchRequest, wall_now: Timestamp) -> Self {
        let is_secret = |(name, value): (&HeaderName, &HeaderValue)| {
            value.is_sensitive() || is_secret_header(name)
        };
        Self {
            request,
            wall_now,
            deadline: Deadline::start(&request.limits),
            hop: Hop::first(request),
            has_credentials: request.headers.iter().any(is_secret),
            hop_began: Duration::ZERO,
        }
    }

    async fn run(mut self, transport: &dyn Transport) -> Fetched {
        let mut redirected_by = None;
        loop {
            let (head, stream, validators_sent) = match self.send(transport).await {
                Ok(answer) => answer,
                Err(error) => return self.no_answer(&error, redirected_by),
            };
            let status = head.parts.status;
            if let Some(fetched) = self.head_too_large(&head) {
                return fetched;
            }
            if !is_redirect(status) || self.request.limits.empty_status.contains(&status.as_u16()) {
                return self.finish(head, stream, validators_sent).await;
            }
            match self.follow(&head.parts) {
                Ok(next) => {
                    Box::pin(self.drain(stream)).await;
                    self.hop = next;
                    self.hop_began = self.deadline.elapsed();
                    redirected_by = Some(head);
                }
                Err(error) => {
                    let detail = format!("{error} ({})", status.as_u16());
                    let verdict = verdict(Outcome::SourceError, detail);
                    return Box::pin(self.end(head, stream, verdict)).await;
                }
            }
        }
    }

    async fn send(
        &mut self,
        transport: &dyn Transport,
    ) -> Result<(Head, BodyStream, bool), TransportError> {
        let limits = &self.request.limits;
        let (request, validators_sent) = self.build()?;
        self.deadline.allow_silence(limits.connect_timeout.saturating_add(limits.idle_timeout));
        let answer = self.deadline.guard(transport.send(request, self.hop.reach)).await;
        let response = answer.map_err(|_| TransportError::Timeout { phase: Phase::Head })??;
        let first_byte = self.deadline.elapsed();
        let (parts, stream) = response.into_parts();
        Ok((Head { parts, first_byte }, stream, validators_sent))
    }

    /// The request of the current hop, and whether validators are in it.
    fn build(&self) -> Result<(Request<Bytes>, bool), TransportError> {
        let (hop, given) = (&self.hop, &self.request.headers);
        let mut headers = HeaderMap::with_capacity(given.len() + 8);
        for (name, value) in given.iter() {
            let is_kept =
                hop.is_at_home || !(value.is_sensitive() || is_secret_header(name) || name == HOST);
            let is_of_body = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE].contains(name);
            let lost_its_body = is_of_body && hop.body.is_empty() && !self.request.body.is_empty();
            // Framing is the transport's.
            let is_framing = name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
            if is_kept && !lost_its_body && !is_framing {
                headers.append(name.clone(), value.clone());
            }
        }
        let accept = if self.request.expects_json { "application/json" } else { "*/*" };
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(accept));
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
        let validators_sent = self.add_validators(&mut headers);
        let mut request = Request::new(hop.body.clone());
        *request.method_mut() = hop.method.clone();
        *request.uri_mut() = uri(&hop.url)?;
        *request.headers_mut() = headers;
        Ok((request, validators_sent))
    }

    fn add_validators(&self, headers: &mut HeaderMap) -> bool {
        let Some(validators) = &self.request.validators else { return false };
        if !self.hop.is_at_home || !matches!(self.hop.method, Method::GET | Method::HEAD) {
            return false;
        }
        let mut is_sent = false;
        for (name, value) in
            [(IF_NONE_MATCH, &validators.etag), (IF_MODIFIED_SINCE, &validators.last_modified)]
        {
            let value = value.as_deref().map(str::as_bytes).map(HeaderValue::from_bytes);
            if let Some(Ok(value)) = value {
                headers.insert(name, value);
                is_sent = true;
            }
        }
        is_sent
    }

    fn follow(&self, answer: &Parts) -> Result<Hop, RedirectError> {
        self.hop.follow(
            answer.status,
            answer.headers.get(LOCATION),
            answer.extensions.get::<IpAddr>().copied(),
            self.credentials_sent(),
            self.request.limits.redirects_max,
        )
    }

    fn credentials_sent(&self) -> bool {
        self.has_credentials && self.hop.is_at_home
    }

    /// Reads the little that is left of a redirect's body, so that its connection is used again.
    async fn drain(&mut self, mut stream: BodyStream) {
        let mut bytes = 0;
        self.deadline.allow_silence(Duration::from_secs(1).min(self.request.limits.idle_timeout));
        while let Ok(Some(Ok(chunk))) = self.deadline.guard(stream.next()).await {
            bytes += chunk.len();
            if bytes > REDIRECT_BODY_BYTES_MAX {
                return;
            }
        }
    }

    fn head_too_large(&self, head: &Head) -> Option<Fetched> {
        let limit_bytes = self.request.limits.header_limit_bytes;
        let bytes: usize = (head.parts.headers.iter())
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        (bytes as u64 > limit_bytes).then(|| {
            let detail = format!(
                "{}: the headers have {bytes} bytes, more than the limit of {limit_bytes}",
                head.parts.status.as_u16()
            );
            let mut fetched = self.without_answer(verdict(Outcome::SourceError, detail));
            fetched.status = Some(head.parts.status.as_u16());
            fetched.version = head.parts.version;
            fetched.first_byte = Some(head.first_byte);
            fetched
        })
    }

    /// Reads the body of the last answer and judges it.
    async fn finish(mut self, head: Head, stream: BodyStream, validators_sent: bool) -> Fetched {
        let mut collected = self.collect(&head.parts, stream).await;
        let reason = std::mem::take(&mut collected.reason);
        let limits = &self.request.limits;
        let status = head.parts.status;
        let is_usual = status.is_success()
            && collected.look != Look::Html
            && !limits.empty_status.contains(&status.as_u16());
        let page = if is_usual || collected.body.is_empty() {
            None
        } else {
            Some(Page::new(&start_of(&collected.body, &head.parts.headers)))
        };
        let quote = page.as_ref().map(|page| self.quote(page)).unwrap_or_default();
        let verdict = classify(&Evidence {
            status,
            headers: &head.parts.headers,
            page,
            quote,
            look: collected.look,
            body_bytes: collected.body.len(),
            head_only: self.hop.method == Method::HEAD,
            truncated: collected.truncated,
            truncated_reason: &reason,
            validators_sent,
            credentials_sent: self.credentials_sent(),
            answered_in: head.first_byte.saturating_sub(self.hop_began),
            empty_status: &limits.empty_status,
            wall_now: self.wall_now,
        });
        self.fetched(head, collected, verdict)
    }

    /// Ends with a verdict that the body cannot change.
    async fn end(mut self, head: Head, stream: BodyStream, verdict: FetchVerdict) -> Fetched {
        let collected = self.collect(&head.parts, stream).await;
        self.fetched(head, collected, verdict)
    }

    async fn collect(&mut self, answer: &Parts, stream: BodyStream) -> Collected {
        let limits = &self.request.limits;
        let has_no_body = self.hop.method == Method::HEAD
            || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let promised_bytes = if has_no_body { None } else { content_length(&answer.headers) };
        let limit_bytes = if answer.status.is_success() {
            limits.body_limit_bytes
        } else {
            limits.body_limit_bytes.min(limits.html_limit_bytes)
        };
        // A refusal may be a web page whatever was asked for.
        let watch_for_html = self.request.expects_json || !answer.status.is_success();
        Collecting { limits, headers: &answer.headers, promised_bytes, limit_bytes, watch_for_html }
            .run(stream, &mut self.deadline)
            .await
    }

    fn quote(&self, page: &Page) -> String {
        page.quote(|text| mask_secrets(text, &self.request.url, &self.request.headers))
    }

    fn fetched(self, head: Head, collected: Collected, verdict: FetchVerdict) -> Fetched {
        Fetched {
            status: Some(head.parts.status.as_u16()),
            headers: head.parts.headers,
            version: head.parts.version,
            redirects: self.hop.redirects(),
            final_url: self.hop.url,
            body: collected.body,
            received_bytes: collected.received_bytes,
            truncated: collected.truncated,
            first_byte: Some(head.first_byte),
            elapsed: self.deadline.elapsed(),
            verdict,
        }
    }

    /// The attempt ends without an answer of its last hop.
    fn no_answer(&self, error: &TransportError, redirected_by: Option<Head>) -> Fetched {
        let mut fetched = self.without_answer(classify_error(error));
        if matches!(error, TransportError::Timeout { .. }) {
            fetched.truncated = Some(Truncated::Time);
        }
        if let (TransportError::Refused { .. }, Some(head)) = (error, redirected_by) {
            // The answer was the redirect; that its name leads to a private address came out late.
            let location =
                head.parts.headers.get(LOCATION).cloned().unwrap_or(HeaderValue::from_static(""));
            let location =
                crate::redact::redact_text(&String::from_utf8_lossy(location.as_bytes()));
            let location = location.escape_debug().take(200).collect();
            let error = RedirectError::Private { location };
            let status = head.parts.status.as_u16();
            fetched.verdict = verdict(Outcome::SourceError, format!("{error} ({status})"));
            fetched.status = Some(status);
            fetched.version = head.parts.version;
            fetched.headers = head.parts.headers;
            fetched.first_byte = Some(head.first_byte);
        }
        fetched
    }

    fn without_answer(&self, verdict: FetchVerdict) -> Fetched {
        Fetched {
            status: None,
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            final_url: self.hop.url.clone(),
            redirects: self.hop.redirects(),
            body: Body::Memory(Bytes::new()),
            received_bytes: 0,
            truncated: None,
            first_byte: None,
            elapsed: self.deadline.elapsed(),
            verdict,
        }
    }
}

/// The address without user info, as a transport takes it.
fn uri(url: &Url) -> Result<Uri, TransportError> {
    let unsendable = |reason: String| TransportError::Unsendable { reason };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unsendable(format!("`{}` is neither `http` nor `https`", url.scheme())));
    }
    let parsed = if url.username().is_empty() && url.password().is_none() {
        url.as_str().parse()
    } else {
        let mut url = url.clone();
        if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
            return Err(unsendable("its address has no host".to_owned()));
        }
        url.as_str().parse()
    };
    parsed.map_err(|error: http::uri::InvalidUri| {
        unsendable(format!("its address of {} bytes: {error}", url.as_str().len()))
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The decoded start of a body. What cannot be read back says nothing.
fn start_of(body: &Body, headers: &HeaderMap) -> Vec<u8> {
    let mut start = Vec::new();
    if let Ok(reader) = body.reader() {
        drop(reader.take(SEARCHED_BYTES_MAX as u64).read_to_end(&mut start));
    }
    decoded_start(&start, headers, SEARCHED_BYTES_MAX)
}
