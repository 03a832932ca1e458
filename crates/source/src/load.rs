//! A project's files to checked values: every mistake of every file in one go.

use crate::{
    Environment, arrival, definition,
    diagnostic::{Diagnostic, Diagnostics, Report, Severity, Span},
    expected::{self, Expected},
    extract, files,
    keys::SOURCE,
    request,
    settings::{self, Settings},
    spec::{RequestSpec, Source},
    template::Template,
    tree::{self, Table},
};
use model::{Calendar, Money, SourceId, TableName, field::FieldType};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Where a file's references lead.
pub(crate) enum Surroundings<'a> {
    /// A project on disk: files are read, secrets are resolved.
    Project { dir: &'a Path, environment: Environment<'a> },
    /// Nothing: a definition is read for what it says about bytes that are already there.
    None,
}

/// What [`load`] found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The project's settings; defaults where the file has mistakes.
    pub settings: Settings,
    /// The sources without errors, in the order of their files.
    pub sources: Vec<Source>,
    /// All mistakes of all files.
    pub diagnostics: Diagnostics,
}

/// A source file as read, before it is compared with the others.
struct Read {
    report: Report,
    others: Vec<Diagnostic>,
    root: Table,
    source: Option<Source>,
}

impl Read {
    fn finish(mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Source> {
        let sound = !self.report.has_errors()
            && self.others.iter().all(|found| found.severity != Severity::Error);
        diagnostics.extend(self.report.finish());
        diagnostics.append(&mut self.others);
        self.source.filter(|_| sound)
    }
}

/// Reads `tidewatch.toml` (which may be missing) and `sources/*.toml` of a project's folder.
///
/// Never fails: what cannot be read is among the diagnostics.
pub fn load(dir: &Path, environment: Environment<'_>) -> Loaded {
    let mut found = Vec::new();
    let surroundings = Surroundings::Project { dir, environment };
    let settings = read_settings(dir, &surroundings, &mut found);
    let mut read: Vec<Read> = Vec::new();
    for file in source_files(dir, &mut found) {
        match files::read_toml(dir, &file) {
            Ok(text) => read.push(read_source(&file, &text, &surroundings)),
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    compare(&mut read);
    let sources = read.into_iter().filter_map(|read| read.finish(&mut found)).collect();
    let mut diagnostics = Diagnostics(found);
    diagnostics.sort();
    Loaded { settings, sources, diagnostics }
}

/// Reads the text of one source file. `file` is relative to `dir`, and gives the source its name if
/// the text does not.
pub fn parse_source(
    dir: &Path,
    file: &Path,
    text: &str,
    environment: Environment<'_>,
) -> (Option<Source>, Diagnostics) {
    let surroundings = Surroundings::Project { dir, environment };
    let mut found = Vec::new();
    let source = read_source(file, text, &surroundings).finish(&mut found);
    let mut diagnostics = Diagnostics(found);
    diagnostics.sort();
    (source, diagnostics)
}

/// Reads a [`Source::definition`] again, to make something of bytes that are already there.
///
/// No file is opened and no secret is resolved: entities of files are missing and secrets are
/// empty. Such a source must not be asked.
pub fn parse_definition(definition: &str) -> Result<Source, Diagnostics> {
    let mut found = Vec::new();
    let file = Path::new("definition.toml");
    let source = read_source(file, definition, &Surroundings::None).finish(&mut found);
    source.ok_or(Diagnostics(found))
}

/// Reads `tidewatch.toml` alone: what a command needs that asks no source.
pub fn load_settings(dir: &Path, environment: Environment<'_>) -> Result<Settings, Diagnostics> {
    let mut found = Vec::new();
    let settings = read_settings(dir, &Surroundings::Project { dir, environment }, &mut found);
    let found = Diagnostics(found);
    if found.has_errors() { Err(found) } else { Ok(settings) }
}

fn read_settings(
    dir: &Path,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Diagnostic>,
) -> Settings {
    let file = Path::new("tidewatch.toml");
    if std::fs::symlink_metadata(dir.join(file)).is_err() {
        return Settings::default_of(dir);
    }
    match files::read_toml(dir, file) {
        Ok(text) => {
            let mut report = Report::new(file, &text);
            let settings = settings::read(dir, surroundings, &mut report);
            found.extend(report.finish());
            settings
        }
        Err(diagnostic) => {
            found.push(diagnostic);
            Settings::default_of(dir)
        }
    }
}

/// The files `sources/*.toml` by name. Hidden files (those of editors) are not sources.
fn source_files(dir: &Path, found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    const HELP: &str = "`tidewatch init` writes a first one; `--dir` says where the project is";
    let folder = Path::new("sources");
    let entries = match std::fs::read_dir(dir.join(folder)) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("the folder `sources` cannot be read: {error}");
            found.push(files::unusable(folder, message, Some(HELP)));
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => names.push(PathBuf::from(entry.file_name())),
            Err(error) => {
                found.push(files::unusable(folder, format!("cannot be listed: {error}"), None));
            }
        }
    }
    names.retain(|name| {
        name.extension().is_some_and(|extension| extension == "toml")
            && !name.to_string_lossy().starts_with('.')
    });
    names.sort();
    if names.is_empty() {
        let message = "the folder `sources` has no source".to_owned();
        let diagnostic = files::unusable(folder, message, Some(HELP));
        found.push(Diagnostic { severity: Severity::Warning, ..diagnostic });
    }
    names.iter().map(|name| folder.join(name)).collect()
}

fn read_source(file: &Path, text: &str, surroundings: &Surroundings<'_>) -> Read {
    let mut report = Report::new(file, text);
    let mut others = Vec::new();
    let root = tree::read(&SOURCE, &mut report);
    let source = build(file, &root, surroundings, &mut report, &mut others);
    Read { report, others, root, source }
}

/// Every part is read, also when an earlier one failed, so that all mistakes are found.
fn build(
    file: &Path,
    root: &Table,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
    others: &mut Vec<Diagnostic>,
) -> Option<Source> {
    let nothing = Table::default();
    let of = |key: &str| root.table(key).unwrap_or(&nothing);
    let text = |key: &str| root.text(key).map(|(text, _)| text.to_owned());

    let id = read_name(file, root, report);
    let expected = expected::read(root, surroundings, report, others);
    let mut request =
        root.table("request").and_then(|table| request::read(table, surroundings, report));
    let extract = root.table("extract").and_then(|table| extract::read(table, report));
    let fields = extract.as_ref().map_or(&[][..], |extract| &extract.fields);
    if let Some(request) = &mut request {
        request.many = request::read_many(root, request, fields, report);
    }
    let expect = extract::read_expect(of("expect"), of("extract"), fields, report);
    let table = read_table(of("load"), id.as_ref(), report);
    let to = read_destinations(of("load"), report);
    let calendar = expected.as_ref().map_or(&Calendar::Daily, |found| &found.calendar.calendar);
    let looks = expected::read_looks(root, calendar, report);
    let budget = settings::read_budget(of("budget"));
    let arrival = arrival::read(root, calendar, request.as_ref().map(|it| it.cost), report);
    if let Some(request) = &request {
        warn_of_free_budget(of("budget"), request.cost, report);
    }
    let limit = request::read_limit(root.table("limit"), report);
    let (expected, request) = (expected?, request?);
    try_request(of("request"), &request, &expected, report);
    let id = id?;
    Some(Source {
        owner: text("owner"),
        description: text("description"),
        enabled: root.flag("enabled").unwrap_or(true),
        version: definition::version(root),
        definition: definition::normalise(root, id.as_str()),
        file: file.to_owned(),
        entities: expected.entities.into(),
        entities_file: expected.entities_file,
        calendar: expected.calendar,
        pairs: expected.pairs,
        from: expected.from,
        looks,
        revisit: root.table("revisit").and_then(expected::read_revisit),
        request,
        limit,
        budget,
        arrival: if root.has("arrival") { Some(arrival?) } else { None },
        extract: extract?,
        expect,
        table: table?,
        to,
        id,
    })
}

/// Writes one request, to find what would fail for all of them.
fn try_request(table: &Table, request: &RequestSpec, expected: &Expected, report: &mut Report) {
    // The longest names make the longest request for many.
    let names = expected.entities.iter().map(|row| row.entity.as_str());
    let mut names: Vec<&str> =
        names.take(if request.many.is_some() { usize::MAX } else { 1 }).collect();
    if let Some(many) = &request.many {
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.truncate(many.entities_max as usize);
    }
    if names.is_empty() {
        names.push("entity");
    }
    let day = || "2026-01-05".to_owned();
    let period = match &expected.calendar.calendar {
        Calendar::Once => "once".to_owned(),
        Calendar::Pairs(periods) => periods.first().map_or_else(day, ToString::to_string),
        _ => day(),
    };
    request::try_render(table, request, &names, &period, report);
    let entities = expected.entities.len();
    let one_for_all = !request.any_template(Template::mentions_entity);
    if let (Some((_, span)), true) = (table.text("url"), entities > 1 && one_for_all) {
        let message = format!("the same request would be sent for each of {entities} entities");
        report.warning(span, message, "write `{{ entity }}` where the entity belongs");
    }
}

fn read_name(file: &Path, root: &Table, report: &mut Report) -> Option<SourceId> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let (text, span) = match root.text("name") {
        Some(found) => found,
        None if root.has("name") => return None,
        None => (&*stem, Span::default()),
    };
    match SourceId::parse(text) {
        Ok(id) => Some(id),
        Err(error) => {
            let fitting = fitting_name(text);
            let message = format!("`{text}` cannot be the name of a source: {error}");
            report.error_help(span, message, format!("write `name = \"{fitting}\"`"));
            None
        }
    }
}

/// A name that would be allowed, as near as possible.
pub(crate) fn fitting_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let name: String = lower
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(63)
        .collect();
    if name.is_empty() { "my_source".to_owned() } else { name }
}

fn read_table(load: &Table, id: Option<&SourceId>, report: &mut Report) -> Option<TableName> {
    let Some((text, span)) = load.text("table") else {
        return (!load.has("table")).then(|| TableName::parse(id?.as_str()).ok()).flatten();
    };
    match TableName::parse(text) {
        Ok(table) => Some(table),
        Err(error) => {
            let help = format!("write `table = \"{}\"`", fitting_name(text));
            report.error_help(span, format!("`{text}` cannot be a table: {error}"), help);
            None
        }
    }
}

fn read_destinations(load: &Table, report: &mut Report) -> Vec<String> {
    const LATER: [&str; 6] = ["clickhouse", "postgres", "postgresql", "mariadb", "mysql", "kafka"];
    let Some(items) = load.list("to") else { return vec!["lake".to_owned()] };
    let mut found = Vec::new();
    for (text, span) in items.iter().filter_map(tree::Item::text) {
        if text == "lake" {
            if found.is_empty() {
                found.push(text.to_owned());
            }
        } else if LATER.contains(&text) {
            let message = format!("the destination `{text}` is not in this version");
            report.error_help(span, message, "this version writes to `lake`");
        } else {
            let message = format!("there is no destination `{text}`");
            report.error_help(span, message, "this version writes to `lake`");
        }
    }
    if items.is_empty() {
        let span = load.entry("to").map_or(load.span, |entry| entry.item.span);
        report.error_help(span, "`to` is empty", "write `to = [\"lake\"]`");
    }
    found
}

fn warn_of_free_budget(budget: &Table, cost: Money, report: &mut Report) {
    for key in ["per_period", "per_day", "per_month"] {
        if let (Some((_, span)), true) = (budget.text(key), cost == Money::ZERO) {
            let help = "write `cost = 1.0` into `[request]` to count requests";
            report.warning(span, "this budget bounds nothing: a request costs 0", help);
        }
    }
}

/// What only shows when all sources are known: names and tables.
fn compare(read: &mut [Read]) {
    let mut names: BTreeMap<SourceId, PathBuf> = BTreeMap::new();
    let mut tables = Tables::default();
    for Read { report, root, source, .. } in read {
        let Some(source) = source else { continue };
        if let Some(other) = names.get(&source.id) {
            let span = root.text("name").map_or(Span::default(), |(_, span)| span);
            let message = format!("the name `{}` is taken by `{}`", source.id, other.display());
            report.error_help(span, message, "each source has a name of its own");
            continue;
        }
        names.insert(source.id.clone(), source.file.clone());
        tables.compare_fields(source, root, report);
        tables.compare_keys(source, root, report);
    }
}

/// What the sources so far write, and which file said so first.
#[derive(Default)]
struct Tables {
    fields: BTreeMap<(TableName, String), (FieldType, PathBuf)>,
    keys: BTreeMap<TableName, (Vec<String>, PathBuf)>,
}

impl Tables {
    fn compare_fields(&mut self, source: &Source, root: &Table, report: &mut Report) {
        let declared = root.table("extract").and_then(|extract| extract.table("fields"));
        for field in &source.extract.fields {
            let column = (source.table.clone(), field.name.clone());
            let mine = (field.kind, source.file.clone());
            let (kind, other) = self.fields.entry(column).or_insert(mine);
            if *kind == field.kind {
                continue;
            }
            let table = declared.and_then(|declared| declared.table(&field.name));
            let span = table.and_then(|table| table.text("type")).map(|(_, span)| span);
            let message = format!(
                "`{}` is {} here and {kind} in `{}`, but both write the table `{}`",
                field.name,
                field.kind,
                other.display(),
                source.table
            );
            let help = "give both the same type, or one of them another `[load] table`";
            report.error_help(span.unwrap_or_default(), message, help);
        }
    }

    /// `latest.<table>` keeps the newest row of each key, so a table has one key.
    fn compare_keys(&mut self, source: &Source, root: &Table, report: &mut Report) {
        let mine = (source.expect.key.clone(), source.file.clone());
        let (key, other) = self.keys.entry(source.table.clone()).or_insert(mine);
        if *key == source.expect.key {
            return;
        }
        let expect = root.table("expect");
        let entry = expect.and_then(|expect| expect.entry("key"));
        let span = entry.map(|entry| entry.key_span).or(expect.map(|expect| expect.span));
        let message = format!(
            "the key differs from that in `{}`, but both write the table `{}`",
            other.display(),
            source.table
        );
        let help = "give both the same `[expect] key`, or one of them another `[load] table`";
        report.error_help(span.unwrap_or_default(), message, help);
    }
}
