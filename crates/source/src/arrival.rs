//! `[arrival]`: how to look before paying, and what a late cell costs.

use crate::{
    diagnostic::{Report, Span},
    request::report_template,
    template::Template,
    tree::{Table, did_you_mean},
};
use model::{
    Calendar, LookKind, Money,
    listing::{EntityFrom, FeedField, Listing},
    path::Path,
    ready::Ready,
};
use std::path::PathBuf;

/// The most bytes of a regular expression once it is compiled.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// The cheap looks of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivalSpec {
    /// What a request costs that is answered "still the same"; `None`: what any costs.
    pub conditional: Option<Money>,
    /// A HEAD.
    pub head: Option<HeadSpec>,
    /// A page that names entities.
    pub page: Option<PageSpec>,
    /// A feed that names entities.
    pub feed: Option<PageSpec>,
    /// What an hour of delay costs, of each cell.
    pub value_per_hour: Option<Money>,
    /// A model of arrivals from elsewhere: an ONNX file, from the project's folder.
    pub model: Option<PathBuf>,
    /// Whether looks are planned by what is learned of arrivals; else every `look_every`.
    pub learn: bool,
}

/// A HEAD, and what its answer says.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSpec {
    /// When data is there.
    pub ready: Ready,
    /// The price of one.
    pub cost: Money,
    /// Where to ask; `None`: where the data is asked for.
    pub url: Option<Template>,
}

/// A page or feed that names the entities whose data is there.
#[derive(Debug, Clone, PartialEq)]
pub struct PageSpec {
    /// Where it is. If it names no period, it speaks for the newest one that is due.
    pub url: Template,
    /// How names are read off it.
    pub listing: Listing,
    /// The price of one look.
    pub cost: Money,
}

impl ArrivalSpec {
    /// The page or feed of a kind.
    pub fn page_of(&self, kind: LookKind) -> Option<&PageSpec> {
        match kind {
            LookKind::Page => self.page.as_ref(),
            LookKind::Feed => self.feed.as_ref(),
            LookKind::Paid | LookKind::Conditional | LookKind::Head => None,
        }
    }
}

pub(crate) fn read(
    root: &Table,
    calendar: &Calendar,
    paid: Option<Money>,
    report: &mut Report,
) -> Option<ArrivalSpec> {
    let table = root.table("arrival")?;
    if *calendar == Calendar::Once {
        let help = "remove `[arrival]`, or declare `[periods]`";
        let message = "the calendar `once` has no period whose data could be waited for";
        report.error_help(table.span, message, help);
    }
    let is_get = root.table("request").is_none_or(|request| !request.has("body"));
    let conditional = table.table("conditional").map(cost);
    let head = declared(table, "head", |inner| read_head(inner, is_get, report));
    let page = declared(table, "page", |inner| read_page(inner, report));
    let feed = declared(table, "feed", |inner| read_feed(inner, report));
    if let Some(paid) = paid {
        for key in ["conditional", "head", "page", "feed"] {
            warn_of_price(table, key, paid, report);
        }
    }
    let value_per_hour = match table.text("value_of_freshness") {
        Some((text, span)) => Some(read_value(text, span, report)?),
        None => None,
    };
    Some(ArrivalSpec {
        conditional,
        head: head.ok()?,
        page: page.ok()?,
        feed: feed.ok()?,
        value_per_hour,
        model: table.text("model").map(|(text, _)| PathBuf::from(text)),
        learn: table.flag("learn").unwrap_or(true),
    })
}

/// It is declared, and wrong: the mistake was reported.
struct Wrong;

/// What is declared, if anything is.
fn declared<T>(
    table: &Table,
    key: &str,
    read: impl FnOnce(&Table) -> Option<T>,
) -> Result<Option<T>, Wrong> {
    table.table(key).map(|inner| read(inner).ok_or(Wrong)).transpose()
}

fn cost(table: &Table) -> Money {
    table.amount("cost").unwrap_or(Money::ZERO)
}

fn warn_of_price(arrival: &Table, key: &str, paid: Money, report: &mut Report) {
    let Some(table) = arrival.table(key) else { return };
    if let (Some((_, span)), true) = (table.text("cost"), cost(table) >= paid) {
        let message = format!("this look costs no less than the request it may save ({paid})");
        report.warning(span, message, "remove it, or correct the `cost` of one of the two");
    }
}

fn read_head(table: &Table, is_get: bool, report: &mut Report) -> Option<HeadSpec> {
    let ready = table.text("ready").and_then(|(text, span)| match Ready::parse(text) {
        Ok(ready) => Some(ready),
        Err(error) => {
            let meant = error.word.as_deref().and_then(|word| did_you_mean(word, &Ready::WORDS));
            let help = meant.map_or(error.help.clone(), |word| format!("did you mean `{word}`?"));
            let place = report.inside(span, error.offset);
            report.error_help(place, error.message, help);
            None
        }
    });
    if !is_get && !table.has("url") {
        let help = "write `head = { url = \"...\", ... }`, or look by a `page`";
        report.error_help(table.span, "a HEAD has no body: this request cannot be asked so", help);
    }
    let url = match table.text("url") {
        Some((text, span)) => Some(read_url(text, span, report)?),
        None if table.has("url") => return None,
        None => None,
    };
    Some(HeadSpec { ready: ready?, cost: cost(table), url })
}

fn read_url(text: &str, span: Span, report: &mut Report) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            report_template(&error, span, report);
            None
        }
    }
}

/// The address of a page: one for all entities.
fn read_page_url(table: &Table, report: &mut Report) -> Option<Template> {
    let (text, span) = table.text("url")?;
    let url = read_url(text, span, report)?;
    if url.mentions_entity() {
        let help = "look at a single entity by `head`, or leave `{{ entity }}` out";
        report.error_help(span, "one page speaks for all entities: it cannot name one", help);
    }
    if let Err(error) = url.render_url(&["entity"], "2026-01-05") {
        report_template(&error, span, report);
        return None;
    }
    Some(url)
}

fn read_page(table: &Table, report: &mut Report) -> Option<PageSpec> {
    let url = read_page_url(table, report);
    let ways: Vec<&str> =
        ["select", "text", "json"].into_iter().filter(|key| table.has(key)).collect();
    if ways.len() != 1 {
        let message = match ways.as_slice() {
            [] => "this page is not read: `select`, `text` or `json` is missing".to_owned(),
            more => format!("`{}` exclude each other", more.join("` and `")),
        };
        let help = "write `select = \"#ready li\"`, `text = \"(\\\\w+) is ready\"` or \
                    `json = \"$.ready[*]\"`";
        report.error_help(table.span, message, help);
        return None;
    }
    for key in ["entity", "pattern"] {
        if let (Some(entry), false) = (table.entry(key), ways == ["select"]) {
            let message = format!("`{key}` belongs to `select`");
            report.error_help(entry.key_span, message, "what is matched or found is the name");
        }
    }
    let listing = if let Some((text, span)) = table.text("select") {
        let pattern = read_pattern(table, report);
        let selector = read_selector(text, span, report);
        let entity = match table.text("entity") {
            None | Some(("text", _)) => EntityFrom::Text,
            Some((name, _)) => EntityFrom::Attribute(name.to_owned()),
        };
        Listing::Select { selector: selector?, entity, pattern: pattern.ok()? }
    } else if let Some((text, span)) = table.text("text") {
        Listing::Text { pattern: checked_pattern(text, span, report)? }
    } else {
        let (text, span) = table.text("json")?;
        match Path::parse(text) {
            Ok(path) => Listing::Json { path },
            Err(error) => {
                let place = report.inside(span, error.offset);
                let help = "a path is written like `$.ready[*].symbol`";
                report.error_help(place, &error.message, help);
                return None;
            }
        }
    };
    Some(PageSpec { url: url?, listing, cost: cost(table) })
}

fn read_selector(text: &str, span: Span, report: &mut Report) -> Option<String> {
    match scraper::Selector::parse(text) {
        Ok(_) => Some(text.to_owned()),
        // The parser's own words speak of its insides.
        Err(_) => {
            let message = format!("`{text}` is not a CSS selector");
            report.error_help(span, message, "write it like `#ready li` or `td.symbol`");
            None
        }
    }
}

fn read_pattern(table: &Table, report: &mut Report) -> Result<Option<String>, Wrong> {
    let written = table.text("pattern");
    written.map(|(text, span)| checked_pattern(text, span, report).ok_or(Wrong)).transpose()
}

fn checked_pattern(text: &str, span: Span, report: &mut Report) -> Option<String> {
    match regex::RegexBuilder::new(text).size_limit(PATTERN_SIZE_LIMIT).build() {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            let last = error.to_string();
            let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ");
            report.error(span, format!("`{text}` is not a regular expression: {last}"));
            None
        }
    }
}

fn read_feed(table: &Table, report: &mut Report) -> Option<PageSpec> {
    const FIELDS: [&str; 3] = ["title", "link", "guid"];
    let url = read_page_url(table, report);
    let field = match table.text("entity") {
        None | Some(("title", _)) => Some(FeedField::Title),
        Some(("link", _)) => Some(FeedField::Link),
        Some(("guid", _)) => Some(FeedField::Guid),
        Some((text, span)) => {
            let help = match did_you_mean(text, &FIELDS) {
                Some(close) => format!("did you mean `{close}`?"),
                None => "names stand in the `title`, the `link` or the `guid`".to_owned(),
            };
            report.error_help(span, format!("an entry of a feed has no `{text}`"), help);
            None
        }
    };
    let pattern = read_pattern(table, report);
    let listing = Listing::Feed { field: field?, pattern: pattern.ok()? };
    Some(PageSpec { url: url?, listing, cost: cost(table) })
}

/// `2.0/hour` in money per hour.
fn read_value(text: &str, span: Span, report: &mut Report) -> Option<Money> {
    let read = || {
        let (amount, unit) = text.split_once('/')?;
        let per_hour = match unit.trim() {
            "hour" | "h" => 1.0,
            "minute" | "min" | "m" => 60.0,
            "day" | "d" => 1.0 / 24.0,
            _ => return None,
        };
        Money::from_units(amount.trim().parse::<f64>().ok()? * per_hour)
    };
    let value = read();
    if value.is_none() {
        let message = format!("`{text}` is not money for a time");
        report.error_help(span, message, "write it like \"2.0/hour\" or \"0.05/minute\"");
    }
    value
}
