//! Templates of URLs and bodies: MiniJinja with `entity`, `period` and, for requests that ask for
//! many, `entities`.
//!
//! An entity is data. Where it enters a URL every byte outside of the unreserved characters of RFC
//! 3986 is percent-encoded, so that no entity can leave its path segment or its query value, and
//! the host is always the one that is written in the file. Most templates have nothing but
//! `{{ entity }}` and `{{ period }}`: those are cut once and filled without MiniJinja.

use jiff::tz::TimeZone;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, syntax::SyntaxConfig};
use model::Period;
use std::{fmt, sync::Arc};
use url::Url;

/// The most bytes of a URL that is asked for.
pub const URL_LIMIT_BYTES: usize = 16 * 1024;
/// The most bytes of a template.
const TEMPLATE_LIMIT_BYTES: usize = 64 * 1024;
/// Instructions that one rendering may take.
const FUEL: u64 = 20_000;

/// How values are written where a template names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Percent-encoded: URLs and forms.
    Percent,
    /// The inside of a JSON string.
    Json,
    /// The text or an attribute of XML.
    Xml,
    /// As it is.
    Plain,
}

/// What is wrong with a template, or with what it rendered to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template cannot be read.
    #[error("{message}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
        /// Byte offset in the template.
        offset: usize,
    },
    /// The template failed for this cell.
    #[error("the template fails: {message}")]
    Render {
        /// What is wrong.
        message: String,
        /// Byte offset in the template, where it is known.
        offset: Option<usize>,
    },
    /// The template gives an empty text.
    #[error("the template renders to nothing")]
    Empty,
    /// The template gives no URL of `http` or `https`.
    #[error("the template renders to `{url}`, which is not an http(s) URL: {message}")]
    Url {
        /// What was rendered, shortened.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// A segment of the path would be `.` or `..`, which every client drops.
    #[error("a path segment would be `{segment}`, which cannot be asked for")]
    DotSegment {
        /// The segment.
        segment: String,
    },
    /// The URL is too long.
    #[error("the URL would have {bytes} bytes, at most {URL_LIMIT_BYTES} are sent")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl TemplateError {
    /// The byte of the template at which it went wrong, where it is known.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Syntax { offset, .. } => Some(*offset),
            Self::Render { offset, .. } => *offset,
            _ => None,
        }
    }

    fn syntax(message: impl Into<String>, help: impl Into<String>, offset: usize) -> Self {
        Self::Syntax { message: message.into(), help: help.into(), offset }
    }
}

/// A checked template. Cheap to clone.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    form: Form,
    /// Scheme, host and port of a URL template.
    origin: Option<Arc<Url>>,
}

#[derive(Clone)]
enum Form {
    Pieces(Arc<[Piece]>, Escape),
    MiniJinja(Arc<Environment<'static>>),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Entity,
    Period,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Template {
    /// Reads the template of a URL. Scheme and host must stand there literally, and secrets may not
    /// be in it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let origin = check_url_text(text)?;
        let mut template = Self::parse_text(text, Escape::Percent)?;
        template.origin = Some(Arc::new(origin));
        Ok(template)
    }

    /// Reads the template of a body.
    pub fn parse_text(text: &str, escape: Escape) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_LIMIT_BYTES {
            let message = format!("the template has {} bytes", text.len());
            let help = format!("at most {TEMPLATE_LIMIT_BYTES} bytes are read");
            return Err(TemplateError::syntax(message, help, 0));
        }
        let form = match cut(text) {
            Some(pieces) => Form::Pieces(pieces.into(), escape),
            None => Form::MiniJinja(Arc::new(compile(text, escape)?)),
        };
        Ok(Self { text: Arc::from(text), form, origin: None })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port (where it is not the scheme's own) of a URL template, in their normal
    /// form; empty for the template of a body.
    pub fn origin(&self) -> String {
        self.origin.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// Whether what it renders to may differ between entities.
    pub fn mentions_entity(&self) -> bool {
        self.mentions_one_entity() || self.mentions_entities()
    }

    /// Whether it has a place for one entity.
    pub fn mentions_one_entity(&self) -> bool {
        match &self.form {
            Form::Pieces(pieces, _) => pieces.contains(&Piece::Entity),
            Form::MiniJinja(environment) => names(environment, &["entity"]),
        }
    }

    /// Whether it has a place for many entities.
    pub fn mentions_entities(&self) -> bool {
        matches!(&self.form, Form::MiniJinja(environment) if names(environment, &["entities"]))
    }

    /// Whether what it renders to may differ between periods.
    pub fn mentions_period(&self) -> bool {
        match &self.form {
            Form::Pieces(pieces, _) => pieces.contains(&Piece::Period),
            Form::MiniJinja(_) => self.text.contains("period"),
        }
    }

    /// The URL of a request for cells of one period: mostly of one entity.
    ///
    /// # Errors
    /// The template fails, or gives what cannot be asked for.
    pub fn render_url(&self, entities: &[&str], period: &str) -> Result<Url, TemplateError> {
        let text = self.render_text(entities, period)?;
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > URL_LIMIT_BYTES {
            return Err(TemplateError::TooLong { bytes: text.len() });
        }
        let refuse = |message: &str| TemplateError::Url {
            url: text.chars().take(100).collect(),
            message: message.to_owned(),
        };
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(refuse("it has a space, a line break or another control character"));
        }
        if let Some(segment) = dot_segment(&text) {
            return Err(TemplateError::DotSegment { segment: segment.to_owned() });
        }
        let url = self.read_url(&text).map_err(|error| refuse(&error.to_string()))?;
        let same = |origin: &Arc<Url>| {
            origin.scheme() == url.scheme()
                && origin.host_str() == url.host_str()
                && origin.port() == url.port()
                && url.username().is_empty()
        };
        match &self.origin {
            Some(origin) if !same(origin) => Err(refuse("scheme and host would change")),
            None if !matches!(url.scheme(), "http" | "https") => Err(refuse("its scheme")),
            _ => Ok(url),
        }
    }

    /// A rendered URL. Mostly only its path and query have to be read: to read a host again costs as
    /// much as all the rest of it.
    fn read_url(&self, text: &str) -> Result<Url, url::ParseError> {
        let known = self.origin.as_ref().and_then(|origin| {
            let path = text.strip_prefix(origin.as_str().strip_suffix('/')?)?;
            // What begins with two slashes would name another host.
            let is_path = path.starts_with('/') && !path[1..].starts_with(['/', '\\']);
            is_path.then_some((origin, path))
        });
        match known {
            Some((origin, path)) => origin.join(path),
            None => Url::parse(text),
        }
    }

    /// The text for cells of one period, such as a request's body. `entity` is the first one.
    ///
    /// # Errors
    /// The template fails.
    pub fn render_text(&self, entities: &[&str], period: &str) -> Result<String, TemplateError> {
        let entity = entities.first().copied().unwrap_or_default();
        match &self.form {
            Form::Pieces(pieces, escape) => {
                let mut out =
                    String::with_capacity(self.text.len() + 3 * (entity.len() + period.len()));
                for piece in pieces.iter() {
                    match piece {
                        Piece::Literal(text) => out.push_str(text),
                        Piece::Entity => escape.push(&mut out, entity),
                        Piece::Period => escape.push(&mut out, period),
                    }
                }
                Ok(out)
            }
            Form::MiniJinja(environment) => environment
                .get_template(NAME)
                .and_then(|template| template.render(context(entity, entities, period)))
                .map_err(|error| render_error(&error)),
        }
    }
}

const NAME: &str = "template";

impl Escape {
    fn push(self, out: &mut String, value: &str) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        match self {
            Self::Plain => out.push_str(value),
            Self::Percent => {
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                        out.push(char::from(byte));
                    } else {
                        out.push('%');
                        out.push(char::from(HEX[usize::from(byte >> 4)]));
                        out.push(char::from(HEX[usize::from(byte & 15)]));
                    }
                }
            }
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Self::Xml => value.chars().for_each(|character| match character {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&apos;"),
                _ => out.push(character),
            }),
        }
    }
}

/// The pieces of a template that has nothing but the two plain variables.
fn cut(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let after = &rest[start..];
        if after.starts_with("{%") || after.starts_with("{#") {
            return None;
        }
        if !after.starts_with("{{") {
            push_literal(&mut pieces, &rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        }
        let length = after.find("}}")?;
        let piece = match after[2..length].trim_matches(' ') {
            "entity" => Piece::Entity,
            "period" => Piece::Period,
            _ => return None,
        };
        push_literal(&mut pieces, &rest[..start]);
        pieces.push(piece);
        rest = &after[length + 2..];
    }
    push_literal(&mut pieces, rest);
    Some(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Literal(last)) => last.push_str(text),
        _ => pieces.push(Piece::Literal(text.to_owned())),
    }
}

fn compile(text: &str, escape: Escape) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::empty();
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| syntax_error(&error))?);
    environment.set_formatter(move |out, _, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(ErrorKind::UndefinedError));
        }
        let mut escaped = String::new();
        match value.as_str() {
            // What a filter has escaped already.
            Some(text) if value.is_safe() => escaped.push_str(text),
            Some(text) => escape.push(&mut escaped, text),
            None => escape.push(&mut escaped, &value.to_string()),
        }
        out.write_str(&escaped).map_err(minijinja::Error::from)
    });
    environment.add_filter("lower", |text: String| text.to_lowercase());
    environment.add_filter("upper", |text: String| text.to_uppercase());
    environment.add_filter("trim", |text: String| text.trim().to_owned());
    environment
        .add_filter("replace", |text: String, from: String, to: String| text.replace(&from, &to));
    environment.add_filter("strftime", strftime);
    // Each value is escaped by itself: what stands between them is the template's own.
    environment.add_filter("join", move |values: Vec<String>, between: Option<String>| {
        let between = between.unwrap_or_default();
        let mut joined = String::new();
        for (index, value) in values.iter().enumerate() {
            joined.push_str(if index > 0 { &between } else { "" });
            escape.push(&mut joined, value);
        }
        Value::from_safe_string(joined)
    });
    environment.add_template_owned(NAME, text.to_owned()).map_err(|error| syntax_error(&error))?;
    check_variables(&environment, text)?;
    Ok(environment)
}

/// The variables of a request for cells of one period.
fn context(entity: &str, entities: &[&str], period: &str) -> Value {
    minijinja::context! { entity, entities => entities.iter().copied().map(Value::from).collect::<Vec<_>>(), period }
}

/// Whether the template names one of some variables.
fn names(environment: &Environment<'_>, variables: &[&str]) -> bool {
    let named = environment.get_template(NAME).map(|it| it.undeclared_variables(false));
    named.is_ok_and(|named| variables.iter().any(|variable| named.contains(*variable)))
}

/// Only `entity`, `entities` and `period` exist; anything else is a mistake that is known before it renders.
fn check_variables(environment: &Environment<'_>, text: &str) -> Result<(), TemplateError> {
    let template = environment.get_template(NAME).map_err(|error| syntax_error(&error))?;
    let unknown = template
        .undeclared_variables(false)
        .into_iter()
        .filter(|name| !matches!(name.as_str(), "entity" | "entities" | "period"))
        .min_by_key(|name| (word_at(text, name), name.clone()));
    let Some(name) = unknown else { return Ok(()) };
    let help = match crate::tree::did_you_mean(&name, &["entity", "entities", "period"]) {
        Some(close) => format!("did you mean `{{{{ {close} }}}}`?"),
        None => "a template knows `entity`, `entities` and `period`".to_owned(),
    };
    let message = format!("the template names `{name}`, which does not exist");
    Err(TemplateError::syntax(message, help, word_at(text, &name)))
}

/// Where a variable first stands inside of a tag.
fn word_at(text: &str, word: &str) -> usize {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let opened = text[..*at].rfind("{{").max(text[..*at].rfind("{%"));
            let closed = text[..*at].rfind("}}").max(text[..*at].rfind("%}"));
            !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word) && opened > closed
        })
        .unwrap_or(0)
}

/// `period | strftime("%Y%m%d")`: the first instant of the period in another form.
fn strftime(period: &str, format: &str) -> Result<Value, minijinja::Error> {
    let fail = |message: String| minijinja::Error::new(ErrorKind::InvalidOperation, message);
    let start = match Period::parse(period).map_err(|error| fail(error.to_string()))? {
        Period::Hour(start) => Some(start.to_zoned(TimeZone::UTC)),
        other => other.date().and_then(|date| date.to_zoned(TimeZone::UTC).ok()),
    };
    let start = start.ok_or_else(|| fail(format!("the period `{period}` has no date")))?;
    jiff::fmt::strtime::format(format.as_bytes(), &start)
        .map(Value::from)
        .map_err(|error| fail(format!("`{format}` is not a format of dates: {error}")))
}

fn describe(error: &minijinja::Error) -> String {
    let kind = match error.kind() {
        ErrorKind::UndefinedError => "a value that does not exist is used".to_owned(),
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps"),
        kind => kind.to_string(),
    };
    match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind,
    }
}

fn syntax_error(error: &minijinja::Error) -> TemplateError {
    TemplateError::syntax(
        format!("the template cannot be read: {}", describe(error)),
        "write {{ entity }} or {{ period }}",
        error.range().map_or(0, |range| range.start),
    )
}

fn render_error(error: &minijinja::Error) -> TemplateError {
    TemplateError::Render {
        message: describe(error),
        offset: error.range().map(|range| range.start),
    }
}

/// Checks what must stand in a URL literally, and returns the URL up to its host.
fn check_url_text(text: &str) -> Result<Url, TemplateError> {
    const EXAMPLE: &str =
        "write it like \"https://api.example.com/{{ entity }}?date={{ period }}\"";
    if let Some(offset) = text.find("${") {
        let help = "put it into `headers` or `auth`: a URL is logged, archived and shown";
        return Err(TemplateError::syntax("a URL cannot have a secret", help, offset));
    }
    let literal = &text
        [..["{{", "{%", "{#"].iter().filter_map(|tag| text.find(tag)).min().unwrap_or(text.len())];
    let scheme_end = literal.find("://");
    let scheme = scheme_end.map_or("", |end| &literal[..end]);
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        let message = match text.trim() {
            "" => "the URL is empty".to_owned(),
            _ => "the URL must begin with `https://` or `http://`".to_owned(),
        };
        return Err(TemplateError::syntax(message, EXAMPLE, 0));
    }
    let host_start = scheme.len() + 3;
    let host_end = literal[host_start..].find(['/', '?', '#', '\\']).map(|at| host_start + at);
    if host_end.is_none() && literal.len() < text.len() {
        let message = "the host must be written out: a template can only be in path and query";
        return Err(TemplateError::syntax(message, EXAMPLE, literal.len()));
    }
    let host = &literal[..host_end.unwrap_or(literal.len())];
    if let Some(at) = host.find('@') {
        let help = "write `auth = { basic = { user = \"...\", password = \"${NAME}\" } }`";
        let offset = host_start.min(at);
        return Err(TemplateError::syntax("a URL cannot have a user or password", help, offset));
    }
    let bad = |error: url::ParseError| {
        TemplateError::syntax(format!("the URL has no valid host: {error}"), EXAMPLE, host_start)
    };
    let origin = Url::parse(host).map_err(bad)?;
    if let Some(offset) = fragment(text) {
        let help = "remove it, or write `%23` for a literal `#`";
        return Err(TemplateError::syntax("what follows `#` is never sent", help, offset));
    }
    Ok(origin)
}

/// Where a fragment begins: a `#` outside of tags.
fn fragment(text: &str) -> Option<usize> {
    text.match_indices('#').map(|(at, _)| at).find(|at| {
        let opened = ["{{", "{%", "{#"].iter().filter_map(|tag| text[..=*at].rfind(tag)).max();
        let closed = ["}}", "%}", "#}"].iter().filter_map(|tag| text[..=*at].rfind(tag)).max();
        opened.is_none_or(|opened| closed > Some(opened))
    })
}

/// A segment of the path that would be taken for "here" or "one up". The URL parser also reads
/// `%2e` so; what it would normalise away is refused instead.
fn dot_segment(url: &str) -> Option<&str> {
    let after_scheme = url.as_bytes().windows(3).position(|three| three == b"://");
    let rest = &url[after_scheme.map_or(0, |at| at + 3)..];
    let until =
        |stops: fn(&u8) -> bool| rest.bytes().position(|byte| stops(&byte)).unwrap_or(rest.len());
    let end = until(|byte| matches!(byte, b'?' | b'#'));
    let path = &rest[until(|byte| matches!(byte, b'/' | b'\\')).min(end)..end];
    // Mostly there is nothing in it that could be a dot.
    if !path.bytes().any(|byte| matches!(byte, b'.' | b'%')) {
        return None;
    }
    path.split(['/', '\\']).skip(1).find(|segment| is_dots(segment.as_bytes()))
}

/// Whether a segment is one or two dots, each plain or as `%2e`.
fn is_dots(mut segment: &[u8]) -> bool {
    let mut dots = 0;
    while let [first, rest @ ..] = segment {
        segment = match (first, rest) {
            (b'.', rest) | (b'%', [b'2', b'e' | b'E', rest @ ..]) => rest,
            _ => return false,
        };
        dots += 1;
    }
    matches!(dots, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_url_is_read_the_same_with_and_without_its_host(
            host in "(http|HTTP|https)://(a\\.example|A\\.example|127\\.0\\.0\\.1|\\[::1\\])(:80|:443|:8080)?",
            rest in "[/\\\\]{0,3}[a-z/?&=%:@\\\\.0-9 é]{0,30}",
        ) {
            let template = Template::parse(&format!("{host}/{{{{ entity }}}}")).unwrap();
            let text = format!("{host}{rest}");
            prop_assert_eq!(template.read_url(&text), Url::parse(&text));
        }
    }
}
