//! `tidewatch explain`: everything that is known of one cell, as a timeline.

use crate::{
    arguments::{Arguments, Cell},
    failure::{FAILED, Failure},
    output::{json, line, safe, tell},
    project::Project,
};
use arrow::{
    array::{Array, RecordBatch},
    util::display::{ArrayFormatter, FormatOptions},
};
use engine::{LookTrust, Ranges, grid_of};
use jiff::{Timestamp, civil::Date};
use lake::{Lake, LedgerTable, Scan, TableRef};
use model::{Cause, CellKey, CellState, Fate, Period, grid::Grid};
use source::Source;
use state::CellRow;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that happened.
struct Entry {
    at: String,
    what: &'static str,
    fields: BTreeMap<String, String>,
}

pub(crate) async fn run(arguments: &Arguments, cell: &Cell) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(&cell.source)?;
    let key = super::trial::key(&source.id, cell)?;
    let now = project.now();
    let (row, source_row, backfills, looks) = match project.state_if_any()? {
        Some(state) => {
            let rows = state.sources().await?;
            let source_row = rows.into_iter().find(|row| row.source == source.id);
            let schedules = state.schedules().await?;
            let schedule = schedules.iter().find(|row| row.source == source.id);
            let looks = schedule.map(LookTrust::read).unwrap_or_default();
            (state.cell(&key).await?, source_row, state.backfills().await?, looks)
        }
        None => (None, None, Vec::new(), Vec::new()),
    };
    let mut ranges = Ranges::of(source, source_row.as_ref(), &backfills, now);
    ranges.until = now.to_zoned(source.calendar.timezone.clone()).date();
    let grid = grid_of(source, &ranges);
    let mut entries = timeline(&project, &key).await?;
    let decisions = pace_decisions(&project, source, &entries).await?;
    entries.extend(decisions);
    entries.sort_by_key(|entry| entry.at.parse::<Timestamp>().unwrap_or(Timestamp::MIN));
    if let Some(due_at) = due_at(&grid, &key) {
        let mut fields = BTreeMap::new();
        fields.insert("note".to_owned(), "data can exist from here on".to_owned());
        entries.insert(0, Entry { at: due_at.to_string(), what: "due", fields });
    }
    let verdict = Verdict::of(source, &grid, &ranges, &key, row.as_ref(), now);
    if arguments.json {
        print_json(&key, &entries, &verdict, row.as_ref(), &looks)?;
    } else {
        print(&key, &entries, &verdict, row.as_ref());
        looks.iter().for_each(|look| line(format_args!("  {}", trust_in_words(look))));
    }
    let unknown = row.is_none() && entries.is_empty() && verdict.cause == Some(Cause::NotCovered);
    Ok(if unknown { FAILED } else { 0 })
}

fn due_at(grid: &Grid, key: &CellKey) -> Option<Timestamp> {
    let ordinal = grid.ordinal(&key.entity, key.period)?;
    let due_at = grid.periods().get(ordinal.period as usize)?.closes_at;
    (due_at > Timestamp::UNIX_EPOCH).then_some(due_at)
}

/// What the ledger has of a cell, in the order of its times.
async fn timeline(project: &Project, key: &CellKey) -> Result<Vec<Entry>, Failure> {
    if !project.lake_path().exists() {
        return Ok(Vec::new());
    }
    let lake = project.lake()?;
    let mut entries = Vec::new();
    for (table, what) in [
        (LedgerTable::Attempts, "attempt"),
        (LedgerTable::Cells, "cell"),
        (LedgerTable::Arrivals, "arrival"),
    ] {
        let rows = lake.scan(&TableRef::Ledger(table), of_cell(key)).await?;
        for batch in &rows {
            entries.extend(
                (0..batch.num_rows())
                    .map(|row| entry(batch, row, what))
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
    }
    let number = |entry: &Entry| {
        entry.fields.get("attempt").and_then(|text| text.parse::<i64>().ok()).unwrap_or(0)
    };
    let own: BTreeSet<i64> =
        entries.iter().filter(|entry| entry.what == "attempt").map(number).collect();
    let shared: BTreeSet<i64> = entries
        .iter()
        .filter(|entry| entry.what == "cell")
        .map(number)
        .filter(|attempt| *attempt > 0 && !own.contains(attempt))
        .collect();
    if !shared.is_empty() {
        // Another cell of the same request stands for it in the books.
        let mut scan = of_cell(key);
        scan.equals.retain(|(column, _)| column != "entity");
        for batch in &lake.scan(&TableRef::Ledger(LedgerTable::Attempts), scan).await? {
            for row in 0..batch.num_rows() {
                let entry = entry(batch, row, "attempt")?;
                if shared.contains(&number(&entry)) {
                    entries.push(entry);
                }
            }
        }
    }
    entries.sort_by(|left, right| (number(left), left.what).cmp(&(number(right), right.what)));
    Ok(entries)
}

/// What was decided on the pace of the source's scope while the cell waited to be asked for.
async fn pace_decisions(
    project: &Project,
    source: &Source,
    entries: &[Entry],
) -> Result<Vec<Entry>, Failure> {
    let time = |entry: &Entry, field: &str| entry.fields.get(field)?.parse::<Timestamp>().ok();
    let attempts = || entries.iter().filter(|entry| entry.what == "attempt");
    let from = attempts().filter_map(|entry| time(entry, "planned_at")).min();
    let until = attempts().filter_map(|entry| entry.at.parse::<Timestamp>().ok()).max();
    let (Some(from), Some(until)) = (from, until) else { return Ok(Vec::new()) };
    let lake = project.lake()?;
    let scan = Scan {
        equals: vec![("scope".to_owned(), BTreeSet::from([source.limit_scope()]))],
        ..Scan::default()
    };
    let mut found = Vec::new();
    for batch in &lake.scan(&TableRef::Ledger(LedgerTable::Paces), scan).await? {
        for row in 0..batch.num_rows() {
            let entry = entry(batch, row, "pace")?;
            let at = entry.at.parse::<Timestamp>();
            if at.is_ok_and(|at| from <= at && at <= until) {
                found.push(entry);
            }
        }
    }
    Ok(found)
}

fn of_cell(key: &CellKey) -> Scan {
    let one = |text: String| BTreeSet::from([text]);
    Scan {
        equals: vec![
            ("source".to_owned(), one(key.source.to_string())),
            ("entity".to_owned(), one(key.entity.to_string())),
            ("period".to_owned(), one(key.period.to_string())),
        ],
        ..Scan::default()
    }
}

fn entry(batch: &RecordBatch, row: usize, what: &'static str) -> Result<Entry, Failure> {
    let options = FormatOptions::default();
    let mut fields = BTreeMap::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.is_null(row) || matches!(field.name().as_str(), "source" | "entity" | "period") {
            continue;
        }
        let value = ArrayFormatter::try_new(column, &options)
            .map_err(Failure::failed)?
            .value(row)
            .to_string();
        fields.insert(field.name().clone(), value);
    }
    let at = fields.remove("at").unwrap_or_default();
    Ok(Entry { at, what, fields })
}

/// The last word on a cell, in words.
struct Verdict {
    state: &'static str,
    cause: Option<Cause>,
    fate: Option<Fate>,
    settled: bool,
    expected: bool,
    sentence: String,
}

impl Verdict {
    fn of(
        source: &Source,
        grid: &Grid,
        ranges: &Ranges,
        key: &CellKey,
        row: Option<&CellRow>,
        now: Timestamp,
    ) -> Self {
        let ordinal = grid.ordinal(&key.entity, key.period);
        let expected = ordinal.is_some_and(|ordinal| grid.expects(ordinal));
        let (state, cause, sentence) = match row {
            Some(row) => (row.state, row.cause(now), of_row(row, now)),
            None if expected && due_at(grid, key).is_none_or(|due| due <= now) => (
                CellState::Due,
                Some(Cause::NotAttempted),
                "it is due, and was not asked for yet: start `tidewatch run`".to_owned(),
            ),
            None if expected => {
                let due = due_at(grid, key).map(|due| due.to_string()).unwrap_or_default();
                (
                    CellState::NotDue,
                    Some(Cause::NotDue),
                    format!("its data cannot exist before {due}"),
                )
            }
            None => {
                let cause = grid.absence(&key.entity, key.period).unwrap_or(Cause::NotCovered);
                (CellState::NotDue, Some(cause), outside(source, ranges, key, cause, now))
            }
        };
        Self {
            state: if row.is_none() && !expected { "not_expected" } else { state.as_str() },
            cause,
            fate: cause.map(|cause| Fate::of_cause(cause, source.request.cost)),
            settled: state.is_settled(),
            expected,
            sentence,
        }
    }

    fn in_peoples_words(&self) -> &'static str {
        self.cause.map_or("not missing", |cause| cause.verdict(self.settled).as_str())
    }
}

/// Why the grid has no such cell, in words.
fn outside(
    source: &Source,
    ranges: &Ranges,
    key: &CellKey,
    cause: Cause,
    now: Timestamp,
) -> String {
    let today = now.to_zoned(source.calendar.timezone.clone()).date();
    let date: Option<Date> = key.period.date();
    match cause {
        Cause::CalendarClosed => {
            format!("the calendar of `{}` is closed on {}", source.id, key.period)
        }
        Cause::NotYetListed => format!("`{}` was not listed yet on {}", key.entity, key.period),
        Cause::Delisted => format!("`{}` was delisted before {}", key.entity, key.period),
        _ if date.is_some_and(|date| date > today) => format!("{} lies in the future", key.period),
        _ if date.is_some_and(|date| date < ranges.from)
            && matches!(key.period, Period::Day(_)) =>
        {
            format!(
                "it lies before the start of `{}`, {}: ask for it by `tidewatch backfill {} --from {}`",
                source.id, ranges.from, source.id, key.period
            )
        }
        _ => format!("`{}` does not expect {} {}", source.id, key.entity, key.period),
    }
}

/// Where a cell stands, in words.
fn of_row(row: &CellRow, now: Timestamp) -> String {
    match row.state {
        CellState::Present => format!("its {} records are in the table", row.records),
        CellState::Absent { .. } => "a complete answer says that there is nothing".to_owned(),
        CellState::GivenUp { .. } => {
            "no complete answer came in time; it is asked no more".to_owned()
        }
        CellState::Held => format!("{} records are held in quarantine", row.quarantined),
        CellState::Waiting { next_look_at, last_outcome } => {
            let late = row.late_from.map(|late| match late.cause(now) {
                Cause::Overdue => format!(
                    "; of its like that come, 99 in 100 have come by {}: it is overdue",
                    late.overdue
                ),
                Cause::LateWatch => format!(
                    "; of its like that come, 9 in 10 have come by {}; overdue from {} on",
                    late.watch, late.overdue
                ),
                _ => format!("; late_watch from {} on, overdue from {}", late.watch, late.overdue),
            });
            format!(
                "the last look ended `{last_outcome}`; the next is at {next_look_at}{}",
                late.unwrap_or_default()
            )
        }
        CellState::Due | CellState::NotDue => String::new(),
    }
}

fn print(key: &CellKey, entries: &[Entry], verdict: &Verdict, row: Option<&CellRow>) {
    line(format_args!("{} {} {}", key.source, safe(key.entity.as_str()), key.period));
    for entry in entries {
        line(format_args!("  {}  {}", entry.at, summary(entry)));
    }
    let cause = verdict
        .cause
        .map_or(String::new(), |cause| format!(", cause {cause} (family {})", cause.family()));
    line(format_args!("state {}{cause}", verdict.state));
    line(format_args!("  {}", verdict.sentence));
    line(format_args!("  verdict: {}", verdict.in_peoples_words()));
    match verdict.fate {
        Some(Fate::RepairPaid(cost)) => line(format_args!("  fate: repair_paid, {cost} a look")),
        Some(fate) => line(format_args!("  fate: {}", fate.as_str())),
        None => {}
    }
    if let Some(evidence) = row.and_then(|row| row.evidence.as_ref()) {
        line(format_args!("  evidence: {} in archive {}", evidence.digest, evidence.archive));
    }
    if entries.is_empty() && verdict.expected {
        tell("the ledger has nothing of this cell yet");
    }
}

/// How far a kind of look is trusted.
fn trust_in_words(look: &LookTrust) -> String {
    let trust = &look.trust;
    let word = if trust.is_trusted() { "trusted" } else { "not trusted" };
    let (there, not_there) = (trust.there(), trust.not_there());
    format!(
        "{} look: {word}; of {} \"there\" {} were wrong, of {} checked \"not there\" {}; {} told nothing",
        look.kind,
        there.rights + there.lies,
        there.lies,
        not_there.rights + not_there.lies,
        not_there.lies,
        trust.unknown,
    )
}

fn summary(entry: &Entry) -> String {
    let field = |name: &str| entry.fields.get(name).map(|text| safe(text)).unwrap_or_default();
    match entry.what {
        "attempt" => {
            let status = match field("status").as_str() {
                "" => "no answer".to_owned(),
                status => format!("status {status}"),
            };
            let archive = match field("archive").as_str() {
                "" => String::new(),
                archive => format!(", archive {archive}"),
            };
            let look = match field("look").as_str() {
                "" | "paid" => String::new(),
                look => format!(", {look} look"),
            };
            let mut belief = match field("probability").parse::<f64>() {
                Ok(probability) => format!(" with p={probability:.2}"),
                Err(_) => String::new(),
            };
            if let Some(why) = entry.fields.get("why") {
                belief = format!("{belief}: {}", safe(why));
            }
            format!(
                "attempt {} ({}{look}, planned {}{belief}): {} -> {}: {}; {status}, {} bytes, {} ms, {} records, cost {}{archive}",
                field("attempt"),
                field("priority"),
                field("planned_at"),
                field("url"),
                field("outcome"),
                field("detail"),
                field("received_bytes"),
                field("elapsed_ms"),
                field("records"),
                field("cost"),
            )
        }
        "cell" => {
            let mut text = format!("cell is {}", field("state"));
            if entry.fields.contains_key("cause") {
                text = format!("{text}, cause {} ({})", field("cause"), field("verdict"));
            }
            if entry.fields.contains_key("next_look_at") {
                text = format!("{text}, next look {}", field("next_look_at"));
            }
            text
        }
        "arrival" if field("state") == "arrived" => match field("not_before").as_str() {
            "" => format!("arrived before {}, seen by {}", field("seen_at"), field("look")),
            not_before => format!(
                "arrived between {not_before} and {}, seen by {} after {} looks",
                field("seen_at"),
                field("look"),
                field("looks")
            ),
        },
        "arrival" => format!("waited for no more: {}, {} looks", field("reason"), field("looks")),
        "pace" => {
            let rate: f64 = field("rate").parse().unwrap_or(0.0);
            let rate = match rate {
                rate if rate > 0.0 => format!("{}/s", pace::trace::short(rate)),
                _ => "single requests only".to_owned(),
            };
            format!("pace of the scope: {rate}: {}", field("why"))
        }
        what => format!("{what}: {}", field("note")),
    }
}

fn print_json(
    key: &CellKey,
    entries: &[Entry],
    verdict: &Verdict,
    row: Option<&CellRow>,
    looks: &[LookTrust],
) -> Result<(), Failure> {
    let looks: Vec<_> = looks
        .iter()
        .map(|look| {
            serde_json::json!({
                "look": look.kind.as_str(),
                "trusted": look.trust.is_trusted(),
                "there_is_right": look.trust.there_is_right(),
                "not_there_is_right": look.trust.not_there_is_right(),
                "lies_there": look.trust.there().lies,
                "lies_not_there": look.trust.not_there().lies,
            })
        })
        .collect();
    let late = row.and_then(|row| row.late_from);
    let timeline: Vec<_> = entries
        .iter()
        .map(|entry| serde_json::json!({ "at": entry.at, "what": entry.what, "fields": entry.fields }))
        .collect();
    json(&serde_json::json!({
        "source": key.source.as_str(),
        "entity": key.entity.as_str(),
        "period": key.period.to_string(),
        "state": verdict.state,
        "cause": verdict.cause.map(Cause::as_str),
        "family": verdict.cause.map(|cause| cause.family().as_str()),
        "verdict": verdict.in_peoples_words(),
        "fate": verdict.fate.map(Fate::as_str),
        "expected": verdict.expected,
        "explanation": verdict.sentence,
        "records": row.map(|row| row.records),
        "late_watch_at": late.map(|late| late.watch.to_string()),
        "overdue_at": late.map(|late| late.overdue.to_string()),
        "evidence": row.and_then(|row| row.evidence.as_ref()).map(|evidence| serde_json::json!({
            "digest": evidence.digest.to_string(),
            "archive": evidence.archive,
            "etag": evidence.validators.etag,
            "last_modified": evidence.validators.last_modified,
        })),
        "looks": looks,
        "timeline": timeline,
    }))
}
