//! `[entities]` and `[periods]`: which cells a source has.

use crate::{
    diagnostic::{Diagnostic, Report, Span},
    files::{self, Cell, Column},
    load::Surroundings,
    spec::{EntitiesFile, LookSpec, RevisitSpec},
    tree::{Table, did_you_mean, quote_all},
};
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use model::{Calendar, CalendarSpec, Entity, EntityRow, Period, xnys};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const CALENDARS: [&str; 4] = ["once", "daily", "weekdays", "XNYS"];
/// Known words of later versions.
const CALENDARS_LATER: [&str; 8] =
    ["hourly", "weekly", "monthly", "cron", "XLON", "XNAS", "XETR", "XTKS"];

/// What `[entities]` and `[periods]` say.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) entities: Vec<EntityRow>,
    pub(crate) entities_file: Option<EntitiesFile>,
    pub(crate) calendar: CalendarSpec,
    pub(crate) pairs: Option<Vec<(u32, Period)>>,
    pub(crate) from: Option<Date>,
}

/// Entities by name while they are collected.
#[derive(Default)]
struct Entities {
    rows: Vec<EntityRow>,
    /// Empty as long as each came behind all before it: most files are in order.
    index: BTreeMap<Entity, u32>,
}

impl Entities {
    /// Adds an entity; `false` if it is already there.
    fn add(&mut self, row: EntityRow) -> bool {
        if self.index.is_empty() {
            if self.rows.last().is_none_or(|last| last.entity < row.entity) {
                self.rows.push(row);
                return true;
            }
            self.index = self.rows.iter().map(|row| row.entity.clone()).zip(0..).collect();
        }
        let Entry::Vacant(place) = self.index.entry(row.entity.clone()) else { return false };
        place.insert(self.rows.len() as u32);
        self.rows.push(row);
        true
    }

    /// Where an entity stands.
    fn find(&self, entity: &Entity) -> Option<u32> {
        if self.index.is_empty() {
            let found = self.rows.binary_search_by(|row| row.entity.cmp(entity));
            return found.ok().map(|place| place as u32);
        }
        self.index.get(entity).copied()
    }
}

pub(crate) fn read(
    root: &Table,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<Expected> {
    let nothing = Table::default();
    let periods = root.table("periods").unwrap_or(&nothing);
    let pairs_file = periods.text("file");
    if let (Some((_, span)), true) = (pairs_file, periods.has("calendar")) {
        report.error_help(
            span,
            "`calendar` and `file` exclude each other",
            "a file lists the expected pairs of entity and period by itself",
        );
    }
    let entities = read_entities(root, pairs_file.is_some(), surroundings, report, others);
    let mut calendar = read_calendar(root, periods, report);
    let (mut entities, mut entities_file) = entities?;
    let mut pairs = None;
    if let Some((text, span)) = pairs_file {
        let listed = root.has("entities");
        let found = read_pairs(text, span, surroundings, &mut entities, listed, report, others)?;
        if !listed {
            entities_file = Some(EntitiesFile { path: PathBuf::from(text), lines: found.len() });
        }
        calendar = calendar.map(|spec| CalendarSpec {
            calendar: Calendar::pairs(found.iter().map(|(_, period)| *period)),
            ..spec
        });
        pairs = Some(found);
    }
    let from = periods.date("from");
    Some(Expected { entities: entities.rows, entities_file, calendar: calendar?, pairs, from })
}

fn read_entities(
    root: &Table,
    has_pairs: bool,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<(Entities, Option<EntitiesFile>)> {
    let mut entities = Entities::default();
    let Some(table) = root.table("entities") else {
        if !has_pairs && !root.has("entities") {
            let help = "write `[entities]` with `list = [\"AAPL\"]` or `file = \"tickers.csv\"`";
            report.missing(root.span, "the table `[entities]` is missing", help);
        }
        return has_pairs.then_some((entities, None));
    };
    let span = root.entry("entities").map_or(table.span, |entry| entry.key_span);
    match (table.list("list"), table.text("file")) {
        (Some(_), Some(_)) => {
            report.error(span, "`list` and `file` exclude each other");
            None
        }
        (Some(items), None) => {
            for item in items {
                let Some((text, place)) = item.text() else { continue };
                match Entity::parse(text) {
                    Ok(entity) => {
                        let row = EntityRow { entity, listed_from: None, listed_until: None };
                        if !entities.add(row) {
                            report.error(place, format!("`{text}` is listed twice"));
                        }
                    }
                    Err(error) => report.error(place, format!("not an entity: {error}")),
                }
            }
            if items.is_empty() && !table.refused.iter().any(|key| key == "list") {
                report.error(span, "the list of entities is empty");
            }
            Some((entities, None))
        }
        (None, Some((text, place))) => {
            let lines =
                read_entities_file(text, place, surroundings, &mut entities, report, others)?;
            Some((entities, Some(EntitiesFile { path: PathBuf::from(text), lines })))
        }
        (None, None) => {
            if table.refused.is_empty() {
                let help = "write `list = [\"AAPL\"]` or `file = \"tickers.csv\"`";
                report.missing(span, "`[entities]` needs `list` or `file`", help);
            }
            None
        }
    }
}

/// Opens a CSV file that a source names; what is wrong with the file itself is told with the place
/// that names it.
fn open_csv(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<Report> {
    let Surroundings::Project { dir, .. } = surroundings else { return None };
    let path = PathBuf::from(text);
    match files::read_csv(dir, &path) {
        Ok(content) => Some(Report::new(&path, &content)),
        Err(diagnostic) if diagnostic.text.is_empty() => {
            let message = format!("`{text}`: {}", diagnostic.message);
            let help = diagnostic
                .help
                .unwrap_or_else(|| "the path counts from the project's folder".to_owned());
            report.error_help(span, message, help);
            None
        }
        Err(diagnostic) => {
            others.push(diagnostic);
            None
        }
    }
}

fn read_entities_file(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    entities: &mut Entities,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<usize> {
    const COLUMNS: [Column; 3] = [
        Column { names: &["entity"], required: true },
        Column { names: &["listed_from"], required: false },
        Column { names: &["listed_until"], required: false },
    ];
    if matches!(surroundings, Surroundings::None) {
        return Some(0);
    }
    let mut csv = open_csv(text, span, surroundings, report, others)?;
    files::rows(&mut csv, &COLUMNS, |cells, csv| {
        let Some(name) = cells[0] else { return };
        let Some(entity) = parse_entity(name, csv) else { return };
        let listed_from = parse_date(cells[1], csv);
        let listed_until = parse_date(cells[2], csv);
        if let (Some(from), Some(until), Some(place)) = (listed_from, listed_until, cells[2])
            && from > until
        {
            let message = format!("`{}` is listed until {until}, before {from}", name.text);
            csv.error(place.span, message);
        }
        if !entities.add(EntityRow { entity, listed_from, listed_until }) {
            csv.error(name.span, format!("`{}` is listed twice", name.text));
        }
    });
    if entities.rows.is_empty() && !csv.has_errors() {
        csv.error(Span::default(), "the file lists no entity");
    }
    others.extend(csv.finish());
    Some(entities.rows.len())
}

fn parse_entity(cell: Cell<'_>, csv: &mut Report) -> Option<Entity> {
    match Entity::parse(cell.text) {
        Ok(entity) => Some(entity),
        Err(error) => {
            csv.error(cell.span, format!("not an entity: {error}"));
            None
        }
    }
}

fn parse_date(cell: Option<Cell<'_>>, csv: &mut Report) -> Option<Date> {
    let cell = cell.filter(|cell| !cell.text.is_empty())?;
    let date = cell.text.parse().ok().filter(|_| cell.text.len() == 10);
    if date.is_none() {
        let message = format!("`{}` is not a day of the calendar", cell.text);
        csv.error_help(cell.span, message, "write it like 2026-01-02, or leave it empty");
    }
    date
}

fn read_pairs(
    text: &str,
    span: Span,
    surroundings: &Surroundings<'_>,
    entities: &mut Entities,
    listed: bool,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<Vec<(u32, Period)>> {
    const COLUMNS: [Column; 2] = [
        Column { names: &["entity", "key"], required: true },
        Column { names: &["period"], required: true },
    ];
    if matches!(surroundings, Surroundings::None) {
        return Some(Vec::new());
    }
    let mut csv = open_csv(text, span, surroundings, report, others)?;
    let mut pairs: Vec<(u32, Period)> = Vec::new();
    files::rows(&mut csv, &COLUMNS, |cells, csv| {
        let (Some(name), Some(period)) = (cells[0], cells[1]) else { return };
        let Some(entity) = parse_entity(name, csv) else { return };
        let period = match Period::parse(period.text) {
            Ok(found) => found,
            Err(error) => return csv.error(period.span, error.to_string()),
        };
        let known = entities.find(&entity);
        let index = match known {
            Some(index) => index,
            None if listed => {
                let message = format!("`{}` is not one of the source's entities", name.text);
                let help = "add it to `[entities]`, or remove that table";
                return csv.error_help(name.span, message, help);
            }
            None => {
                let row = EntityRow { entity, listed_from: None, listed_until: None };
                entities.add(row);
                entities.rows.len() as u32 - 1
            }
        };
        pairs.push((index, period));
    });
    if pairs.is_empty() && !csv.has_errors() {
        csv.error(Span::default(), "the file lists no pair of entity and period");
    }
    others.extend(csv.finish());
    // A pair that stands twice says the same twice: nothing is lost by keeping it once.
    pairs.sort_unstable();
    pairs.dedup();
    Some(pairs)
}

fn read_calendar(root: &Table, periods: &Table, report: &mut Report) -> Option<CalendarSpec> {
    let calendar = match periods.text("calendar") {
        Some((text, span)) => parse_calendar(text, span, report),
        None if periods.has("calendar") => None,
        None if periods.has("file") => Some(Calendar::Pairs(Vec::new())),
        None => {
            if let Some(entry) = root.entry("periods") {
                let help = "write `calendar = \"daily\"`; others are `once`, `weekdays`, `XNYS`";
                report.missing(entry.key_span, "`[periods]` needs `calendar` or `file`", help);
            }
            Some(Calendar::Once)
        }
    };
    let timezone = read_timezone(periods, calendar.as_ref(), report);
    if let Some(calendar) = &calendar {
        check_calendar(calendar, periods, report);
    }
    Some(CalendarSpec {
        calendar: calendar?,
        timezone: timezone?,
        closes_at: periods.time("closes_at"),
        due_after: periods.duration("due_after").unwrap_or(SignedDuration::ZERO),
    })
}

fn parse_calendar(text: &str, span: Span, report: &mut Report) -> Option<Calendar> {
    match text {
        "once" => Some(Calendar::Once),
        "daily" => Some(Calendar::Daily),
        "weekdays" => Some(Calendar::Weekdays),
        "XNYS" => Some(Calendar::Xnys),
        _ if CALENDARS_LATER.contains(&text) => {
            let help = format!("this version has {}", quote_all(&CALENDARS));
            report.error_help(span, format!("the calendar `{text}` is not in this version"), help);
            None
        }
        _ => {
            let help = match did_you_mean(text, &CALENDARS) {
                Some(close) => format!("did you mean `{close}`?"),
                None if files::is_csv(text) => {
                    format!("write `file = \"{text}\"`")
                }
                None => format!("this version has {}", quote_all(&CALENDARS)),
            };
            report.error_help(span, format!("`{text}` is not a calendar"), help);
            None
        }
    }
}

fn read_timezone(
    periods: &Table,
    calendar: Option<&Calendar>,
    report: &mut Report,
) -> Option<TimeZone> {
    let Some((text, span)) = periods.text("timezone") else {
        let name = if calendar == Some(&Calendar::Xnys) { "America/New_York" } else { "UTC" };
        return TimeZone::get(name).ok();
    };
    // An offset is no zone: it knows nothing of daylight saving.
    if let Some(zone) = TimeZone::get(text).ok().filter(|zone| !zone.is_unknown()) {
        return Some(zone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let tail = format!("/{}", text.to_lowercase().replace(' ', "_"));
    let help = match did_you_mean(text, &names)
        .or_else(|| names.iter().find(|name| name.to_lowercase().ends_with(&tail)).copied())
    {
        Some(close) => format!("did you mean `{close}`?"),
        None => "write a name of the IANA database, such as \"Europe/Berlin\"".to_owned(),
    };
    report.error_help(span, format!("`{text}` is not a time zone"), help);
    None
}

/// What a calendar cannot be combined with.
fn check_calendar(calendar: &Calendar, periods: &Table, report: &mut Report) {
    if *calendar == Calendar::Once {
        for key in ["closes_at", "timezone", "due_after", "from"] {
            if let Some(entry) = periods.entry(key) {
                let message = format!("the calendar `once` has no `{key}`");
                report.error_help(entry.key_span, message, "remove it, or choose `daily`");
            }
        }
    }
    if let (Calendar::Xnys, Some(from)) = (calendar, periods.date("from"))
        && let Some((_, span)) = periods.text("from")
        && from < xnys::CERTAIN_FROM
    {
        report.warning(
            span,
            format!("the sessions of XNYS before {} are not certain", xnys::CERTAIN_FROM),
            format!("write `from = \"{}\"` or later", xnys::CERTAIN_FROM),
        );
    }
    if let (Some(give_up), Some(due)) =
        (periods.duration("give_up_after"), periods.duration("look_every"))
        && let Some((_, span)) = periods.text("give_up_after")
        && give_up < due
    {
        report.error(span, "`give_up_after` is shorter than `look_every`: there would be one look");
    }
}

pub(crate) fn read_looks(root: &Table, calendar: &Calendar, report: &mut Report) -> LookSpec {
    let periods = root.table("periods");
    let retry = root.table("retry");
    let seconds = SignedDuration::from_secs;
    let of = |table: Option<&Table>, key: &str| table.and_then(|table| table.duration(key));
    let look_every = of(periods, "look_every").unwrap_or(seconds(30 * MINUTE));
    let look_every_max = of(periods, "look_every_max").unwrap_or(look_every.max(seconds(6 * HOUR)));
    let retry_first = of(retry, "first").unwrap_or(seconds(2));
    let retry_max = of(retry, "max").unwrap_or(retry_first.max(seconds(MINUTE)));
    if let Some((_, span)) = periods.and_then(|table| table.text("look_every_max"))
        && look_every_max < look_every
    {
        report.error(span, "`look_every_max` is shorter than `look_every`");
    }
    if let Some((_, span)) = retry.and_then(|table| table.text("max"))
        && retry_max < retry_first
    {
        report.error(span, "`max` is shorter than `first`");
    }
    let for_ever = *calendar == Calendar::Once;
    let attempts = retry.and_then(|table| table.count("attempts")).unwrap_or(4);
    LookSpec {
        look_every,
        look_every_max,
        give_up_after: of(periods, "give_up_after")
            .or_else(|| (!for_ever).then(|| seconds(7 * DAY))),
        retry_first,
        retry_max,
        retries: attempts.saturating_sub(1) as u32,
    }
}

pub(crate) fn read_revisit(table: &Table) -> Option<RevisitSpec> {
    Some(RevisitSpec { every: table.duration("every")?, until: table.duration("until")? })
}
