//! `tidewatch arrival`: when a source's data comes, and when it is looked for next.

mod evaluate;
mod known;
mod picture;

use crate::{
    arguments::{Arguments, Arrival, ArrivalAction},
    failure::Failure,
    output::{json, line, safe, tell},
    project::Project,
};
use anyhow::{Context as _, anyhow};
use engine::{LookTrust, Ranges, grid_of};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use model::{Grid, LookKind, grid::CellOrdinal};
use plan::{
    LearnedSchedule, Offer, PlannedLook, Schedule,
    arrival::{Distribution, choice::Kept, features::NAMES, planner::Lateness},
};
use serde::Serialize;
use source::Source;
use state::{LookRow, ScheduleRow, SpendRow};
use std::{collections::BTreeMap, sync::Arc};

/// The share of arrivals that the recommended windows hold.
const RECOMMENDED: f64 = 0.8;

pub(crate) async fn run(arguments: &Arguments, arrival: &Arrival) -> Result<u8, Failure> {
    match (&arrival.action, &arrival.source) {
        (Some(ArrivalAction::Evaluate(evaluate)), _) => evaluate::run(arguments, evaluate).await,
        (None, Some(source)) => show(arguments, arrival, source).await,
        (None, None) => Err(Failure::usage(anyhow!(
            "name a source, such as `tidewatch arrival eod_prices`, or `evaluate` to play known arrivals"
        ))),
    }
}

/// What is told of a source.
#[derive(Debug, Serialize)]
struct Report {
    source: String,
    period: String,
    opens_at: Timestamp,
    deadline: Timestamp,
    timezone: String,
    /// The model in use, and how each did on what was held back.
    model: Model,
    window_minutes: f64,
    /// What the cheapest kind of look is said to cost.
    look_cost: f64,
    /// The budget that makes looks dearer now.
    scarce: Option<ScarceReport>,
    entities: Vec<EntityReport>,
}

#[derive(Debug, Serialize)]
struct ScarceReport {
    budget: &'static str,
    /// How many times its price a look is planned with.
    factor: f64,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    version: u32,
    trained_at: Option<Timestamp>,
    /// Nats a cell that was held back; higher is better.
    scores: Vec<(String, f64)>,
    /// Of a logistic model: what each feature weighs.
    weights: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct EntityReport {
    entity: String,
    periods_seen: u32,
    /// The memory that is trusted most.
    memory: String,
    group_size: u32,
    tie: f64,
    follows_the_day: f64,
    never: f64,
    median_at: Option<Timestamp>,
    windows: Vec<Window>,
    recommended: Vec<Window>,
    is_open: bool,
    lateness: Option<&'static str>,
    next_look: Option<NextLook>,
}

/// The probability that data comes between two instants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) probability: f64,
}

#[derive(Debug, Serialize)]
struct NextLook {
    at: Timestamp,
    by: &'static str,
    probability: Option<f64>,
    why: String,
}

async fn show(arguments: &Arguments, arrival: &Arrival, name: &str) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(name)?;
    let Some(spec) = &source.arrival else {
        return Err(Failure::usage(anyhow!(
            "{}: {name} has no [arrival]: add it, and arrivals are learned from the next run on",
            source.file.display()
        )));
    };
    let now = project.now();
    let known = Known::read(&project, source, now).await?;
    let saved = known.row.as_ref().map(LookTrust::schedule_of).filter(|saved| !saved.is_empty());
    let mut schedule = LearnedSchedule::new(
        Arc::clone(&known.grid),
        source.looks.give_up_after,
        spec.value_per_hour,
        saved.as_deref(),
    );
    schedule.offer(&offers(source, known.row.as_ref()));
    let (number, period) = known.period(now).ok_or_else(|| {
        Failure::failed(anyhow!("{name} expects no period that is open or to come"))
    })?;
    for look in &known.looks {
        if let Some(ordinal) = known.grid.ordinal(&look.entity, look.period) {
            schedule.remember(ordinal, look.without_at.unwrap_or(look.last_at), look.looks);
        }
    }
    let window = arrival.windows.unwrap_or(SignedDuration::from_mins(30));
    if window < SignedDuration::from_mins(1) {
        return Err(Failure::usage(anyhow!(
            "--windows: {window:#} is too short: a minute at least"
        )));
    }
    let entities = known.entities(arrival.entity.as_deref(), number, arrival.limit)?;
    let at = now.max(period.closes_at);
    // What is open has to be known before its looks can be priced.
    for entity in &entities {
        schedule.next_look(ordinal(*entity, number), at);
    }
    let budget = &project.settings.budget;
    let left = engine::budgets_left(&source.id, &source.budget, budget, &known.spend, now);
    schedule.budgets(&left, now);
    let cheapest = offers(source, known.row.as_ref()).into_iter().map(|offer| offer.cost).min();
    let mut report = Report {
        source: source.id.to_string(),
        period: period.period.to_string(),
        opens_at: period.closes_at,
        deadline: later(period.closes_at, schedule.opening(ordinal(0, number)).span()),
        timezone: zone_name(&source.calendar.timezone),
        model: model(&schedule),
        window_minutes: window.as_secs_f64() / 60.0,
        look_cost: cheapest.unwrap_or_default().as_units(),
        scarce: schedule
            .scarce()
            .map(|scarce| ScarceReport { budget: scarce.budget, factor: scarce.factor }),
        entities: Vec::new(),
    };
    for entity in entities {
        let cell = ordinal(entity, number);
        let is_open = !known.is_settled(cell);
        let look = schedule.next_look(cell, at);
        report.entities.push(entity_report(&schedule, &known, cell, (window, at), look, is_open));
    }
    if let Some(file) = &arrival.plot {
        let picture =
            picture::svg(&report.source, &report.period, &source.calendar.timezone, &rows(&report));
        std::fs::write(file, picture)
            .with_context(|| format!("{}: writing the picture", file.display()))?;
        tell(format_args!("wrote {}", file.display()));
    }
    if arguments.json {
        json(&report)?;
    } else {
        print(&report, source, arrival);
    }
    Ok(0)
}

fn ordinal(entity: u32, period: u32) -> CellOrdinal {
    CellOrdinal { entity, period }
}

fn later(at: Timestamp, minutes: f64) -> Timestamp {
    let span = SignedDuration::from_secs((minutes * 60.0).round() as i64);
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// The looks on offer, as far as they are trusted.
fn offers(source: &Source, row: Option<&ScheduleRow>) -> Vec<Offer> {
    let trust = row.map(LookTrust::read).unwrap_or_default();
    let Some(spec) = &source.arrival else { return Vec::new() };
    let kinds = [
        (LookKind::Paid, Some(source.request.cost)),
        (LookKind::Conditional, spec.conditional),
        (LookKind::Head, spec.head.as_ref().map(|head| head.cost)),
        (LookKind::Page, spec.page.as_ref().map(|page| page.cost)),
        (LookKind::Feed, spec.feed.as_ref().map(|feed| feed.cost)),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, cost)| Some((kind, cost?)))
        .filter_map(|(kind, cost)| {
            let known = trust.iter().find(|look| look.kind == kind).map(|look| look.trust);
            let trust = known.unwrap_or_default();
            if kind.brings_data() {
                return Some(Offer { kind, cost, there_is_right: 1.0, not_there_is_right: 1.0 });
            }
            trust.is_trusted().then(|| Offer {
                kind,
                cost,
                there_is_right: trust.there_is_right(),
                not_there_is_right: trust.not_there_is_right(),
            })
        })
        .collect()
}

/// What the project knows of a source.
struct Known {
    grid: Arc<Grid>,
    row: Option<ScheduleRow>,
    looks: Vec<LookRow>,
    settled: Vec<CellOrdinal>,
    spend: Vec<SpendRow>,
    give_up_after: Option<SignedDuration>,
}

impl Known {
    async fn read(project: &Project, source: &Source, now: Timestamp) -> Result<Self, Failure> {
        let month = now.to_zoned(TimeZone::UTC).date().first_of_month();
        let (source_row, backfills, row, looks, cells, spend) = match project.state_if_any()? {
            Some(state) => {
                let sources = state.sources().await?;
                let schedules = state.schedules().await?;
                (
                    sources.into_iter().find(|row| row.source == source.id),
                    state.backfills().await?,
                    schedules.into_iter().find(|row| row.source == source.id),
                    state.looks(&source.id).await?,
                    state.cells(&source.id).await?,
                    state.spend(Some(month)).await?,
                )
            }
            None => Default::default(),
        };
        let mut ranges = Ranges::of(source, source_row.as_ref(), &backfills, now);
        ranges.until = engine::horizon(now.to_zoned(source.calendar.timezone.clone()).date());
        let grid = Arc::new(grid_of(source, &ranges));
        let settled = cells
            .iter()
            .filter(|row| row.state.is_settled())
            .filter_map(|row| grid.ordinal(&row.entity, row.period))
            .collect();
        Ok(Self { grid, row, looks, settled, spend, give_up_after: source.looks.give_up_after })
    }

    /// The newest period that is open, else the next to come.
    fn period(&self, now: Timestamp) -> Option<(u32, model::calendar::PeriodRow)> {
        let due = self.grid.due_periods(now);
        let is_open = |row: &model::calendar::PeriodRow| {
            let end = self.give_up_after.map(|after| row.closes_at.checked_add(after));
            end.is_none_or(|end| end.is_ok_and(|end| end > now))
        };
        let newest = due.checked_sub(1).filter(|at| is_open(&self.grid.periods()[*at as usize]));
        let at = newest.unwrap_or(due);
        self.grid.periods().get(at as usize).map(|row| (at, *row))
    }

    fn entities(
        &self,
        named: Option<&str>,
        period: u32,
        limit: usize,
    ) -> Result<Vec<u32>, Failure> {
        let rows = self.grid.entities().iter().zip(0_u32..);
        if let Some(name) = named {
            let found = rows.clone().find(|(row, _)| row.entity.as_str() == name);
            let (_, at) = found.ok_or_else(|| {
                Failure::usage(anyhow!("the source has no entity `{}`", safe(name)))
            })?;
            return Ok(vec![at]);
        }
        let expected = rows.map(|(_, at)| at).filter(|at| self.grid.expects(ordinal(*at, period)));
        Ok(expected.take(limit).collect())
    }

    fn is_settled(&self, cell: CellOrdinal) -> bool {
        self.settled.contains(&cell)
    }
}

fn model(schedule: &LearnedSchedule) -> Model {
    match schedule.planner().trained() {
        None => Model {
            name: "empirical".to_owned(),
            version: 0,
            trained_at: None,
            scores: Vec::new(),
            weights: BTreeMap::new(),
        },
        Some(trained) => Model {
            name: trained.model.model().name().to_owned(),
            version: trained.version,
            trained_at: Timestamp::from_second((trained.at * 60.0) as i64).ok(),
            scores: trained.scores.clone(),
            weights: match &trained.model {
                Kept::Logistic(logistic) => {
                    NAMES.into_iter().zip(logistic.weights().iter().copied()).collect()
                }
                Kept::Empirical | Kept::Network(_) => BTreeMap::new(),
            },
        },
    }
}

fn entity_report(
    schedule: &LearnedSchedule,
    known: &Known,
    cell: CellOrdinal,
    (window, now): (SignedDuration, Timestamp),
    look: PlannedLook,
    is_open: bool,
) -> EntityReport {
    let planner = schedule.planner();
    let row = known.grid.periods()[cell.period as usize];
    let number = LearnedSchedule::period_number(row.closes_at);
    let distribution = planner.distribution(number, cell.entity);
    let late = planner.late_times(number, cell.entity).filter(|_| is_open);
    let windows = distribution.map_or(Vec::new(), |known| windows(known, row.closes_at, window));
    let (group_size, tie) =
        planner.group(cell.entity).map_or((1, 0.0), |(_, tie, size)| (size, tie));
    let memory = planner.weights(cell.entity).map_or(String::new(), |weights| {
        let (expert, share) = weights.best();
        format!(
            "{} periods{}, blurred by {} min ({:.0} %)",
            expert.half_life,
            if expert.other_weekday < 1.0 { " of the same weekday" } else { "" },
            expert.blur,
            share * 100.0
        )
    });
    let probability = Some(look.probability).filter(|probability| probability.is_finite());
    EntityReport {
        entity: known.grid.entities()[cell.entity as usize].entity.to_string(),
        periods_seen: planner
            .history(cell.entity)
            .map_or(0, plan::arrival::history::History::count),
        memory,
        group_size,
        tie,
        follows_the_day: planner.strength(cell.entity).unwrap_or(0.0),
        never: distribution.map_or(0.0, Distribution::never),
        median_at: distribution
            .and_then(|known| known.quantile(0.5 * (1.0 - known.never())))
            .map(|minutes| later(row.closes_at, minutes)),
        recommended: recommended(&windows),
        windows,
        is_open,
        lateness: late.map(|late| match late.at(now.as_millisecond() as f64 / 60_000.0) {
            Lateness::OnTime => "on_time",
            Lateness::LateUsual => "late_usual",
            Lateness::LateWatch => "late_watch",
            Lateness::Overdue => "overdue",
        }),
        next_look: is_open.then(|| NextLook {
            at: look.at,
            by: look.kind.as_str(),
            probability,
            why: look.why.into_owned(),
        }),
    }
}

fn windows(known: &Distribution, opens_at: Timestamp, width: SignedDuration) -> Vec<Window> {
    let width = width.as_secs_f64() / 60.0;
    let end = known.ends().last().unwrap_or(0.0);
    let count = (end / width).ceil().min(10_000.0) as u32;
    (0..count)
        .map(|at| {
            let (from, until) = (f64::from(at) * width, f64::from(at + 1) * width);
            Window {
                from: later(opens_at, from),
                until: later(opens_at, until),
                probability: known.by(until) - known.by(from),
            }
        })
        .collect()
}

/// The most probable windows that together hold [`RECOMMENDED`] of what comes, in their order.
fn recommended(windows: &[Window]) -> Vec<Window> {
    let comes: f64 = windows.iter().map(|window| window.probability).sum();
    let mut best = windows.to_vec();
    best.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut held = 0.0;
    best.retain(|window| {
        let is_needed = held < RECOMMENDED * comes && window.probability > 0.0;
        held += window.probability;
        is_needed
    });
    best.sort_by_key(|window| window.from);
    let mut joined: Vec<Window> = Vec::new();
    for window in best {
        match joined.last_mut().filter(|last| last.until == window.from) {
            Some(last) => {
                last.until = window.until;
                last.probability += window.probability;
            }
            None => joined.push(window),
        }
    }
    joined
}

fn rows(report: &Report) -> Vec<(&str, &[Window])> {
    report.entities.iter().map(|entity| (entity.entity.as_str(), &*entity.windows)).collect()
}

fn print(report: &Report, source: &Source, arrival: &Arrival) {
    let zone = &source.calendar.timezone;
    let at = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%m-%d %H:%M").to_string();
    line(format_args!(
        "{} {}: looked for from {} until {} ({})",
        report.source,
        report.period,
        at(report.opens_at),
        at(report.deadline),
        report.timezone
    ));
    let scores: Vec<String> =
        report.model.scores.iter().map(|(name, score)| format!("{name} {score:.3}")).collect();
    line(match report.model.trained_at {
        None => "model: empirical; too few cells ended to fit another".to_owned(),
        Some(trained_at) => format!(
            "model: {}, version {}, of {trained_at}; nats a cell held back: {}",
            report.model.name,
            report.model.version,
            scores.join(", ")
        ),
    });
    let cost = report.look_cost;
    line(match &report.scarce {
        None => format!("a look costs {cost}"),
        Some(ScarceReport { budget, factor }) => {
            let more = ((factor - 1.0) * cost * 100.0).round() / 100.0;
            format!(
                "a look costs {cost}, and is planned as if it cost {more} more: {budget} is short"
            )
        }
    });
    for entity in &report.entities {
        line("");
        let median = entity.median_at.map_or("never".to_owned(), at);
        line(format_args!(
            "{}  half by {median}; never {:.0} %; {} periods seen",
            safe(&entity.entity),
            entity.never * 100.0,
            entity.periods_seen
        ));
        line(format_args!("  {}", picture::strip(&entity.windows)));
        for window in &entity.recommended {
            let (from, until) = (at(window.from), at(window.until));
            line(format_args!("  best window {from} to {until}, p={:.2}", window.probability));
        }
        if arrival.windows.is_some() {
            for window in entity.windows.iter().filter(|window| window.probability >= 0.005) {
                let (from, until) = (at(window.from), at(window.until));
                line(format_args!("    {from} to {until}  {:.3}", window.probability));
            }
        }
        match &entity.next_look {
            None => line("  it has come, or is looked for no more"),
            Some(look) => {
                let probability = look.probability.map_or(String::new(), |p| format!(", p={p:.2}"));
                line(format_args!(
                    "  next look {} ({}){probability}, because {}",
                    at(look.at),
                    look.by,
                    look.why
                ));
            }
        }
        line(format_args!(
            "  memory {}; {}; follows a late day by {:.0} %{}",
            entity.memory,
            if entity.group_size > 1 {
                format!("comes with {} others at p={:.2}", entity.group_size - 1, entity.tie)
            } else {
                "comes alone".to_owned()
            },
            entity.follows_the_day * 100.0,
            entity.lateness.map_or(String::new(), |lateness| format!("; {lateness}"))
        ));
    }
    if report.entities.len() == arrival.limit {
        tell(format_args!("there may be more: the list ends at --limit {}", arrival.limit));
    }
}
