//! A source's definition, made ready to be walked many times.

use crate::{EngineError, mask::Secrets, ports::Options, tables::data_schema};
use arrow::datatypes::SchemaRef;
use extract::{Extractor, Lister};
use fetch::{FetchLimits, FetchRequest};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{AttemptId, Entity, LookKind, Money, Period};
use plan::{
    arrival::external::External,
    look::{LookPolicy, Revisit},
};
use sha2::{Digest as _, Sha256};
use source::{Auth, Source, TemplateError};
use state::CellRow;
use std::{sync::Arc, time::Duration};
use validate::Validator;

/// Bodies up to this are held in memory; larger ones go through the spool folder.
const MEMORY_LIMIT_BYTES: u64 = 1024 * 1024;
const HEADER_LIMIT_BYTES: u64 = 64 * 1024;
/// A page or feed that says whose data is there has no more bytes, decoded.
const PAGE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// One version of one source, immutable, shared by the tasks that walk it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) source: Source,
    pub(crate) extractor: Extractor,
    pub(crate) validator: Validator,
    /// Columns of the data table.
    pub(crate) schema: SchemaRef,
    pub(crate) limits: Arc<FetchLimits>,
    pub(crate) policy: LookPolicy,
    pub(crate) page_limits: Arc<FetchLimits>,
    page: Option<Arc<Lister>>,
    feed: Option<Arc<Lister>>,
    headers: Arc<HeaderMap>,
    /// For another server than the request's: nothing secret.
    public_headers: Arc<HeaderMap>,
    /// Looked for in answers, so that an echo does not carry them into archive and tables.
    pub(crate) secrets: Secrets,
    /// A model of its arrivals from elsewhere.
    pub(crate) model: Option<Arc<dyn External>>,
}

impl Compiled {
    pub(crate) fn new(source: Source, options: &Options) -> Result<Self, EngineError> {
        let failed =
            |message: String| EngineError::Definition { source_id: source.id.clone(), message };
        let extractor =
            Extractor::new(&source.extract).map_err(|error| failed(error.to_string()))?;
        let validator = Validator::new(&source.expect, &extractor.schema())
            .map_err(|error| failed(error.to_string()))?;
        let mut secrets = Vec::new();
        let headers = headers(&source, &options.user_agent, &mut secrets).map_err(&failed)?;
        let request = &source.request;
        let limits = FetchLimits {
            connect_timeout: duration(request.timeout_connect),
            idle_timeout: duration(request.timeout_idle),
            total_timeout: duration(request.timeout_total),
            body_limit_bytes: request.body_limit_bytes,
            decoded_limit_bytes: request.decoded_limit_bytes,
            html_limit_bytes: request.html_limit_bytes,
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            header_limit_bytes: HEADER_LIMIT_BYTES,
            redirects_max: request.redirects_max,
            empty_status: request.empty_status.clone(),
            spool_dir: options.spool.clone(),
        };
        let page_limits = FetchLimits {
            body_limit_bytes: request.body_limit_bytes.min(PAGE_LIMIT_BYTES),
            decoded_limit_bytes: request.decoded_limit_bytes.min(PAGE_LIMIT_BYTES),
            html_limit_bytes: request.html_limit_bytes.max(PAGE_LIMIT_BYTES),
            memory_limit_bytes: PAGE_LIMIT_BYTES,
            ..limits.clone()
        };
        let lister = |kind| {
            let page = source.arrival.as_ref().and_then(|spec| spec.page_of(kind));
            page.map(|page| Lister::new(&page.listing).map(Arc::new)).transpose().map_err(&failed)
        };
        let (page, feed) = (lister(LookKind::Page)?, lister(LookKind::Feed)?);
        let mut public_headers = HeaderMap::new();
        for name in [http::header::USER_AGENT, http::header::ACCEPT_ENCODING] {
            if let Some(value) = headers.get(&name).filter(|value| !value.is_sensitive()) {
                public_headers.insert(name, value.clone());
            }
        }
        let looks = &source.looks;
        let policy = LookPolicy {
            look_every: looks.look_every,
            look_every_max: looks.look_every_max,
            give_up_after: looks.give_up_after,
            retry_first: looks.retry_first,
            retry_max: looks.retry_max,
            retries: looks.retries,
            throttled_at_once: source.limit.learn,
            revisit: source
                .revisit
                .as_ref()
                .map(|revisit| Revisit { every: revisit.every, until: revisit.until }),
        };
        Ok(Self {
            schema: data_schema(&extractor.schema()),
            extractor,
            validator,
            limits: Arc::new(limits),
            page_limits: Arc::new(page_limits),
            page,
            feed,
            public_headers: Arc::new(public_headers),
            policy,
            headers: Arc::new(headers),
            secrets: Secrets::new(secrets),
            model: options.models.get(&source.id).cloned(),
            source,
        })
    }

    /// The request for cells of one period, without validators.
    pub(crate) fn request(
        &self,
        entities: &[&str],
        period: &str,
    ) -> Result<FetchRequest, TemplateError> {
        let request = &self.source.request;
        let body =
            request.render_body(entities, period)?.map_or_else(bytes::Bytes::new, Into::into);
        Ok(FetchRequest {
            method: match request.method {
                source::Method::Get => http::Method::GET,
                source::Method::Post => http::Method::POST,
            },
            url: request.url.render_url(entities, period)?,
            headers: Arc::clone(&self.headers),
            validators: None,
            body,
            limits: Arc::clone(&self.limits),
            expects_json: true,
        })
    }

    /// The request of a cheap look.
    pub(crate) fn look_request(
        &self,
        kind: LookKind,
        entity: &Entity,
        period: &str,
    ) -> Result<FetchRequest, TemplateError> {
        let spec = self.source.arrival.as_ref();
        let (method, template) = match (kind, spec) {
            (LookKind::Page | LookKind::Feed, Some(spec)) => {
                (http::Method::GET, spec.page_of(kind).map(|page| &page.url))
            }
            (_, spec) => {
                let head = spec.and_then(|spec| spec.head.as_ref());
                (http::Method::HEAD, head.and_then(|head| head.url.as_ref()))
            }
        };
        let template = template.unwrap_or(&self.source.request.url);
        let is_home = template.origin() == self.source.request.url.origin();
        let headers = if is_home { &self.headers } else { &self.public_headers };
        let limits = if method == http::Method::HEAD { &self.limits } else { &self.page_limits };
        let mut headers = Arc::clone(headers);
        if kind.speaks_for_many() {
            Arc::make_mut(&mut headers)
                .insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
        }
        Ok(FetchRequest {
            method,
            url: template.render_url(&[entity.as_str()], period)?,
            headers,
            validators: None,
            body: bytes::Bytes::new(),
            limits: Arc::clone(limits),
            expects_json: false,
        })
    }

    /// The most cells of one request.
    pub(crate) fn asked_max(&self) -> usize {
        self.source.request.many.as_ref().map_or(1, |many| many.entities_max as usize)
    }

    /// What a paid look costs one cell, where those of a period are asked for together.
    pub(crate) fn share(&self) -> Money {
        let asked = self.asked_max().min(self.source.entities.len()).max(1);
        Money { micros: self.source.request.cost.micros / asked as i64 }
    }

    /// What reads the names off a page or feed.
    pub(crate) fn lister(&self, kind: LookKind) -> Option<&Arc<Lister>> {
        match kind {
            LookKind::Page => self.page.as_ref(),
            LookKind::Feed => self.feed.as_ref(),
            LookKind::Paid | LookKind::Conditional | LookKind::Head => None,
        }
    }

    /// Whether a cell can be asked "still the same?".
    pub(crate) fn has_validators(&self, row: Option<&CellRow>) -> bool {
        let evidence = row.and_then(|row| row.evidence.as_ref());
        self.source.request.conditional
            && evidence.is_some_and(|evidence| {
                !evidence.validators.is_empty() && evidence.source_version == self.source.version
            })
    }

    /// What a validator belongs to beside the archived body: the request and the definition.
    pub(crate) fn request_hash(&self, request: &FetchRequest) -> u64 {
        let mut hash = Sha256::new();
        hash.update(request.method.as_str());
        hash.update([0]);
        hash.update(request.url.as_str());
        hash.update([0]);
        hash.update(&request.body);
        hash.update(self.source.version.0.as_bytes());
        let digest = hash.finalize();
        u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
    }

    /// The hash that names one record in its table.
    pub(crate) fn record_id(
        &self,
        entity: &Entity,
        period: Period,
        key: &[u8; 16],
        response_digest: &[u8],
    ) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.source.id.as_str());
        hash.update([0]);
        hash.update(entity.as_str());
        hash.update([0]);
        hash.update(period.to_string());
        hash.update(key);
        hash.update(response_digest);
        hash.update(self.source.version.0.as_bytes());
        let digest = hash.finalize();
        std::array::from_fn(|index| digest[index])
    }

    /// A random-looking, repeatable fraction for the jitter of an attempt's back-off.
    pub(crate) fn jitter(attempt: AttemptId) -> f64 {
        let mixed = attempt.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn duration(signed: jiff::SignedDuration) -> Duration {
    Duration::try_from(signed).unwrap_or_default()
}

fn headers(
    source: &Source,
    user_agent: &str,
    secrets: &mut Vec<String>,
) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    let value = |text: &str, secret: bool, name: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            format!("the value of header `{name}` has characters that a header cannot carry")
        })?;
        value.set_sensitive(secret);
        Ok::<_, String>(value)
    };
    map.insert(http::header::USER_AGENT, value(user_agent, false, "User-Agent")?);
    map.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    map.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, text) in &source.request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{name}` is not a header name"))?;
        let resolved = text.resolve();
        secrets.extend(text.parts().iter().filter_map(|part| match part {
            source::Part::Reference { secret, .. } => Some(secret.reveal().to_owned()),
            source::Part::Literal(_) => None,
        }));
        let sensitive = text.has_secret()
            || header == http::header::AUTHORIZATION
            || header == http::header::COOKIE;
        map.insert(header, value(resolved.reveal(), sensitive, name)?);
    }
    match &source.request.auth {
        None => {}
        Some(Auth::Bearer(token)) => {
            secrets.push(token.reveal().to_owned());
            let text = format!("Bearer {}", token.reveal());
            map.insert(http::header::AUTHORIZATION, value(&text, true, "Authorization")?);
        }
        Some(Auth::Basic { user, password }) => {
            let encoded = base64(format!("{}:{}", user.reveal(), password.reveal()).as_bytes());
            secrets.extend([password.reveal().to_owned(), encoded.clone()]);
            map.insert(
                http::header::AUTHORIZATION,
                value(&format!("Basic {encoded}"), true, "Authorization")?,
            );
        }
    }
    Ok(map)
}

/// RFC 4648, section 4: for the one place that needs it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_matches_the_vectors_of_its_standard() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
