//! What a source file says, checked.

use crate::{
    arrival::ArrivalSpec,
    request::is_secret_header,
    secret::{HeaderText, Secret},
    template::{Escape, Template, TemplateError},
};
use jiff::{SignedDuration, civil::Date};
use model::{
    Budget, Money, Period, SourceId, SourceVersion, TableName, calendar::CalendarSpec,
    expect::ExpectSpec, field::ExtractSpec, grid::EntityRow,
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// One source of data: a file `sources/*.toml`, all of it checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name, unique in the project.
    pub id: SourceId,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Whether the engine asks it.
    pub enabled: bool,
    /// Changes when the request, the extraction or the expectations change; not with comments, the
    /// order of keys, limits or the value of a secret.
    pub version: SourceVersion,
    /// The file in a normal form, without secrets. [`crate::parse_definition`] reads it again.
    pub definition: String,
    /// The file, relative to the project's folder.
    pub file: PathBuf,
    /// The entities in the order of the file, each once.
    pub entities: Arc<[EntityRow]>,
    /// The file the entities come from.
    pub entities_file: Option<EntitiesFile>,
    /// Which periods there are, and when they close.
    pub calendar: CalendarSpec,
    /// The expected pairs, if a file lists them: an index into `entities`, and a period.
    pub pairs: Option<Vec<(u32, Period)>>,
    /// The first day that is expected.
    pub from: Option<Date>,
    /// When cells without data are looked at.
    pub looks: LookSpec,
    /// When cells with data are looked at again.
    pub revisit: Option<RevisitSpec>,
    /// How a cell is asked for.
    pub request: RequestSpec,
    /// How fast the server may be asked.
    pub limit: LimitSpec,
    /// The most that is spent.
    pub budget: Budget,
    /// How to look before paying; `None`: the source is asked at even intervals.
    pub arrival: Option<ArrivalSpec>,
    /// What is taken from an answer.
    pub extract: ExtractSpec,
    /// What the records are expected to be.
    pub expect: ExpectSpec,
    /// The table of the records.
    pub table: TableName,
    /// The destinations; in this version `lake` only.
    pub to: Vec<String>,
}

impl Source {
    /// The scope whose limit its requests count against: the declared one, else the server and the
    /// credential it is asked with, such as `https://api.example.com as EOD_TOKEN`.
    ///
    /// A credential is called by the variables or files it comes from. One that stands in the file
    /// is called by a digest of the source's and the header's name: no value enters.
    pub fn limit_scope(&self) -> String {
        if let Some(scope) = &self.limit.scope {
            return scope.clone();
        }
        let server = self.request.url.origin();
        match self.credential_name() {
            Some(name) => format!("{server} as {name}"),
            None => server,
        }
    }

    fn credential_name(&self) -> Option<String> {
        let headers = &self.request.headers;
        let of_headers = headers.iter().flat_map(|(_, value)| value.references());
        let of_auth = self.request.auth_from.iter().map(String::as_str);
        let named: BTreeSet<&str> = of_headers.chain(of_auth).map(variable_name).collect();
        if !named.is_empty() {
            return Some(named.into_iter().collect::<Vec<_>>().join(", "));
        }
        let mut literal: BTreeSet<String> = headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| is_secret_header(name))
            .collect();
        if self.request.auth.is_some() {
            literal.insert("authorization".to_owned());
        }
        if literal.is_empty() {
            return None;
        }
        let mut digest = Sha256::new_with_prefix(self.id.as_str());
        for name in literal {
            digest.update("\n");
            digest.update(name);
        }
        let digest = digest.finalize();
        let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Some(format!("{first:08x}"))
    }
}

/// `${NAME}` without its frame; the path of a file as it is.
fn variable_name(from: &str) -> &str {
    from.strip_prefix("${").and_then(|name| name.strip_suffix('}')).unwrap_or(from)
}

/// A file of entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitiesFile {
    /// The file, relative to the project's folder.
    pub path: PathBuf,
    /// How many entities (or, of a file of pairs, pairs) it has. A file that suddenly lost most of
    /// them is for the engine to refuse.
    pub lines: usize,
}

/// When a cell without data is looked at, and how a failed request is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookSpec {
    /// The first pause between two looks.
    pub look_every: SignedDuration,
    /// The longest pause between two looks.
    pub look_every_max: SignedDuration,
    /// How long after it is due a cell is looked for; `None`: for ever.
    pub give_up_after: Option<SignedDuration>,
    /// The pause before the first repetition within a look.
    pub retry_first: SignedDuration,
    /// The longest pause before a repetition.
    pub retry_max: SignedDuration,
    /// How many times a failed request is repeated within one look.
    pub retries: u32,
}

/// When cells with data are looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisitSpec {
    /// The pause between two looks.
    pub every: SignedDuration,
    /// How long after the closing of its period a cell is looked at again.
    pub until: SignedDuration,
}

/// How a cell is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestSpec {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Template,
    /// The body of a POST.
    pub body: Option<Template>,
    /// Header fields by the names as written; `Content-Type` is there if there is a body.
    pub headers: Vec<(String, HeaderText)>,
    /// How the request is authorised.
    pub auth: Option<Auth>,
    /// Where `auth` comes from: `${NAME}` or `file:path`, in the order of the file.
    pub auth_from: Vec<String>,
    /// The price of one request.
    pub cost: Money,
    /// How long a connection may take.
    pub timeout_connect: SignedDuration,
    /// How long may pass without a byte.
    pub timeout_idle: SignedDuration,
    /// How long the whole answer may take.
    pub timeout_total: SignedDuration,
    /// The most bytes received.
    pub body_limit_bytes: u64,
    /// The most bytes after decompression.
    pub decoded_limit_bytes: u64,
    /// The most bytes of an HTML page where data should be.
    pub html_limit_bytes: u64,
    /// The most redirects followed.
    pub redirects_max: u32,
    /// The status codes that prove an empty answer.
    pub empty_status: Vec<u16>,
    /// Whether to ask "still the same?" where an earlier answer allows it.
    pub conditional: bool,
    /// How one request asks for many cells of a period; `None`: each is asked for by itself.
    pub many: Option<ManySpec>,
}

/// One request for many entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManySpec {
    /// The most entities of one request, at least 2.
    pub entities_max: u32,
    /// The text field of a record that names the entity it belongs to.
    pub entity_field: String,
}

impl RequestSpec {
    /// The body of a request for cells of one period.
    ///
    /// # Errors
    /// The template fails.
    pub fn render_body(
        &self,
        entities: &[&str],
        period: &str,
    ) -> Result<Option<String>, TemplateError> {
        self.body.as_ref().map(|body| body.render_text(entities, period)).transpose()
    }

    /// Whether a template of it fulfils a condition.
    pub(crate) fn any_template(&self, condition: impl Fn(&Template) -> bool) -> bool {
        condition(&self.url) || self.body.as_ref().is_some_and(condition)
    }
}

/// The methods a source may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`, with a body.
    Post,
}

impl Method {
    /// The method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// How a request is authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer ...`
    Bearer(Secret),
    /// `Authorization: Basic ...`
    Basic {
        /// The user.
        user: Secret,
        /// The password; may be empty.
        password: Secret,
    },
}

/// How fast the server may be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitSpec {
    /// Requests per second, above 0; `None`: as fast as `concurrency` allows.
    pub rate_per_second: Option<f64>,
    /// How many requests may leave at once after a pause, at least 1.
    pub burst: u32,
    /// How many requests may be in flight, at least 1.
    pub concurrency: u32,
    /// The least time from one request to the next, above 0, at most an hour; `burst` is 1 then.
    pub crawl_delay: Option<SignedDuration>,
    /// The declared name of the limit that its requests count against; see
    /// [`Source::limit_scope`].
    pub scope: Option<String>,
    /// Whether the limit is learned beneath these. `false`: only what this file declares and
    /// `Retry-After` limit requests.
    pub learn: bool,
    /// Whether backfill waits for the hours in which the server lets more through.
    pub prefer_open_hours: bool,
}

/// How the values of a body are written, by its content type.
pub(crate) fn escape_of(content_type: &str) -> Escape {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.ends_with("json") {
        Escape::Json
    } else if essence == "application/x-www-form-urlencoded" {
        Escape::Percent
    } else if essence.ends_with("xml") {
        Escape::Xml
    } else {
        Escape::Plain
    }
}
