//! What an engine knows of the arrivals of one source with `[arrival]`: its schedule, how far its
//! cheap looks are trusted, and the looks at cells that have not arrived.

mod kept;
mod planning;

pub use kept::LookTrust;

use crate::{
    compiled::Compiled,
    observation::{Belief, Said},
    schedule::schedule_for,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use model::{Entity, Grid, LookKind, Money, Outcome, Period, Validators, grid::CellOrdinal};
use plan::{LookAnswer, Offer, Schedule, Trust};
use state::{LookRow, ScheduleRow};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) use kept::Kept;
pub(crate) use planning::{Plan, Situation};

/// How much the newest length counts in the usual one.
const USUAL_WEIGHT: f64 = 0.2;
/// So much of what is learned is written to the state, on average.
const WRITTEN_BYTES_A_SECOND: usize = 100_000;
/// Entities whose usual length is kept.
const USUAL_ENTITIES_MAX: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) schedule: Box<dyn Schedule>,
    trust: BTreeMap<LookKind, Trust>,
    /// Kinds that the server does not know, or that were found to be of no use, in this run.
    refused: BTreeSet<LookKind>,
    usual: Usual,
    /// Open cells that were looked at.
    looked: BTreeMap<u64, LookRow>,
    /// Cells whose next look is the paid one, and why.
    pay: BTreeMap<u64, Pay>,
    /// What is believed of cells that are about to be looked at.
    believed: BTreeMap<u64, Belief>,
    /// Cells whose last look failed, and how they were looked at.
    failed: BTreeMap<u64, LookKind>,
    /// Looks under way that speak for many, and the cells that wait for their answer.
    pages: BTreeMap<(LookKind, Period), BTreeSet<u64>>,
    /// When the last such look left that was answered, and how many failed in a row since.
    page_looks: BTreeMap<(LookKind, Period), PageLook>,
    /// Cells that came.
    arrived: u64,
    day: Option<Date>,
    changed: bool,
    /// When it was written last, and how long that was.
    written: Option<(Timestamp, usize)>,
}

/// Why a cell's next look is the paid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pay {
    /// A cheap look said that its data is there.
    Ready(LookKind),
    /// A cheap look said that it is not, and this is to be checked.
    Audit(LookKind),
    /// A cheap look said that it is not, and this is the last word.
    Deadline(LookKind),
    /// A cheap look told nothing.
    Untold(LookKind),
}

impl Pay {
    /// For the attempt's detail.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Ready(kind) => format!("the {kind} look before said that data is there"),
            Self::Audit(kind) => format!("to check the {kind} look before, which said no"),
            Self::Deadline(kind) => format!("the last look; the {kind} look before said no"),
            Self::Untold(kind) => format!("the {kind} look before told nothing"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct PageLook {
    answered_at: Option<Timestamp>,
    /// The batch that keeps what it named.
    batch: i64,
    /// The newest look whose batch is settled: what an engine that is killed may rely on.
    settled_at: Option<Timestamp>,
    failures: u32,
}

/// How long the answers with data usually are, in bytes as received.
#[derive(Debug, Clone, Default, PartialEq)]
struct Usual {
    of_source: Option<f64>,
    of_entities: BTreeMap<Entity, f64>,
}

impl Usual {
    fn learn(&mut self, entity: &Entity, bytes: u64) {
        let bytes = bytes as f64;
        let closer = |known: f64| known + USUAL_WEIGHT * (bytes - known);
        self.of_source = Some(self.of_source.map_or(bytes, closer));
        if let Some(known) = self.of_entities.get_mut(entity) {
            *known = closer(*known);
        } else if self.of_entities.len() < USUAL_ENTITIES_MAX {
            self.of_entities.insert(entity.clone(), bytes);
        }
    }

    fn of(&self, entity: &Entity) -> Option<f64> {
        self.of_entities.get(entity).copied().or(self.of_source)
    }
}

/// What a cheap look was found to have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lie {
    pub(crate) kind: LookKind,
    /// It said that data is there, and there was none; or the other way round.
    pub(crate) said_there: bool,
}

/// The end of a cell's wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The last look that left before, and found nothing.
    pub(crate) not_before: Option<Timestamp>,
    /// When it was first seen, and how; `None`: it never was.
    pub(crate) seen: Option<(Timestamp, LookKind)>,
    pub(crate) looks: u32,
}

impl Arrival {
    /// Begins with what the state knows.
    pub(crate) fn new(compiled: &Compiled, grid: &Arc<Grid>, row: Option<&ScheduleRow>) -> Self {
        let kept = row.and_then(|row| Kept::read(&row.saved)).unwrap_or_default();
        let saved = (!kept.schedule.is_empty()).then_some(kept.schedule.as_slice());
        let mut arrival = Self {
            schedule: schedule_for(compiled, grid, saved),
            trust: kept.trust.into_iter().collect(),
            refused: BTreeSet::new(),
            usual: Usual {
                of_source: kept.usual,
                of_entities: kept.usual_of_entities.into_iter().collect(),
            },
            looked: BTreeMap::new(),
            pay: BTreeMap::new(),
            believed: BTreeMap::new(),
            failed: BTreeMap::new(),
            pages: BTreeMap::new(),
            page_looks: kept
                .pages
                .into_iter()
                .map(|(kind, period, at)| {
                    let look = PageLook {
                        answered_at: Some(at),
                        settled_at: Some(at),
                        ..PageLook::default()
                    };
                    ((kind, period), look)
                })
                .collect(),
            arrived: kept.arrived,
            day: kept.day,
            changed: false,
            written: None,
        };
        arrival.offer(compiled);
        arrival
    }

    /// A cell of which the state knows looks.
    pub(crate) fn remember(&mut self, ordinal: CellOrdinal, code: u64, row: LookRow) {
        self.schedule.remember(ordinal, row.last_at, row.looks);
        self.looked.insert(code, row);
    }

    /// Goes over to another grid or definition: what is known of a cell stays with it.
    pub(crate) fn moved(
        &mut self,
        compiled: &Compiled,
        grid: &Arc<Grid>,
        moved: &BTreeMap<u64, u64>,
        ordinal: impl Fn(u64) -> CellOrdinal,
    ) {
        let saved = self.schedule.save();
        self.schedule = schedule_for(compiled, grid, (!saved.is_empty()).then_some(&saved));
        self.offer(compiled);
        self.looked = move_map(&mut self.looked, moved);
        self.pay = move_map(&mut self.pay, moved);
        self.failed = move_map(&mut self.failed, moved);
        // They are planned anew.
        self.believed.clear();
        for waiting in self.pages.values_mut() {
            *waiting = waiting.iter().filter_map(|old| moved.get(old).copied()).collect();
        }
        for (code, row) in &self.looked {
            self.schedule.remember(ordinal(*code), row.last_at, row.looks);
        }
    }

    /// All cells that it knows something of.
    pub(crate) fn codes(&self) -> impl Iterator<Item = u64> {
        let waiting = self.pages.values().flatten();
        let one = self.looked.keys().chain(self.pay.keys()).chain(self.failed.keys());
        one.chain(waiting).copied()
    }

    /// Tells the schedule which looks can be used.
    fn offer(&mut self, compiled: &Compiled) {
        let Some(spec) = &compiled.source.arrival else { return };
        let paid = compiled.share();
        let sure = |kind, cost| Offer { kind, cost, there_is_right: 1.0, not_there_is_right: 1.0 };
        let mut offers = vec![sure(LookKind::Paid, paid)];
        offers.extend(spec.conditional.map(|cost| sure(LookKind::Conditional, cost)));
        let head = spec.head.as_ref().map(|head| (LookKind::Head, head.cost));
        let page = spec.page.as_ref().map(|page| (LookKind::Page, page.cost));
        let feed = spec.feed.as_ref().map(|feed| (LookKind::Feed, feed.cost));
        for (kind, cost) in [head, page, feed].into_iter().flatten() {
            let trust = self.trust.get(&kind).copied().unwrap_or_default();
            if trust.is_trusted() && !self.refused.contains(&kind) {
                offers.push(Offer {
                    kind,
                    cost,
                    there_is_right: trust.there_is_right(),
                    not_there_is_right: trust.not_there_is_right(),
                });
            }
        }
        self.schedule.offer(&offers);
    }

    /// Whether a kind of look is worth its price.
    pub(crate) fn uses(&self, kind: LookKind) -> bool {
        kind.brings_data()
            || (!self.refused.contains(&kind)
                && self.trust.get(&kind).is_none_or(Trust::is_trusted))
    }

    /// A day may have passed: distrust fades.
    pub(crate) fn tick(&mut self, compiled: &Compiled, now: Timestamp) {
        let today = now.to_zoned(TimeZone::UTC).date();
        if self.day.replace(today) != Some(today) {
            self.changed = true;
            self.refused.clear();
            self.trust.values_mut().for_each(Trust::day_passed);
            self.offer(compiled);
        }
    }

    /// What a look left behind, by its answer; `sent_at` is when it left.
    fn note(&mut self, code: u64, cell: (&Entity, Period), sent_at: Timestamp) -> &mut LookRow {
        self.changed = true;
        let row = self.looked.entry(code).or_insert_with(|| LookRow {
            entity: cell.0.clone(),
            period: cell.1,
            looks: 0,
            last_at: sent_at,
            without_at: None,
            without_paid_at: None,
            seen_at: None,
            seen_by: None,
            validators: Validators::default(),
        });
        row.looks = row.looks.saturating_add(1);
        row.last_at = row.last_at.max(sent_at);
        row
    }

    /// The answer of a look at a single cell that did not bring its data.
    pub(crate) fn hears(
        &mut self,
        heard: &Heard<'_>,
        answer: LookAnswer,
        validators: Option<&Validators>,
    ) -> &LookRow {
        let Heard { ordinal, code, kind, sent_at, .. } = *heard;
        self.schedule.answered(ordinal, kind, sent_at, answer);
        let row = self.note(code, (heard.entity, heard.period), sent_at);
        match answer {
            LookAnswer::There if row.seen_at.is_none() => {
                (row.seen_at, row.seen_by) = (Some(heard.answered_at), Some(kind));
            }
            LookAnswer::NotThere => {
                row.without_at = row.without_at.max(Some(sent_at));
                if kind.brings_data() {
                    row.without_paid_at = row.without_paid_at.max(Some(sent_at));
                }
                (row.seen_at, row.seen_by) = (None, None);
            }
            LookAnswer::There | LookAnswer::Unknown => {}
        }
        if let Some(validators) = validators {
            row.validators = validators.clone();
        }
        row
    }

    /// A look told something about a kind's use, or nothing.
    pub(crate) fn told(&mut self, kind: LookKind, told: bool, compiled: &Compiled) {
        if kind.brings_data() {
            return;
        }
        self.changed = true;
        let trust = self.trust.entry(kind).or_default();
        let was_trusted = trust.is_trusted();
        trust.answered(told);
        if was_trusted != trust.is_trusted() {
            self.offer(compiled);
        }
    }

    /// The server does not know this kind of look.
    pub(crate) fn refuse(&mut self, kind: LookKind, compiled: &Compiled) {
        if self.refused.insert(kind) {
            self.offer(compiled);
        }
    }

    /// The next look of a cell is the paid one.
    pub(crate) fn must_pay(&mut self, code: u64, pay: Pay) {
        self.pay.insert(code, pay);
    }

    /// Why a cell's next look is the paid one.
    pub(crate) fn pays(&self, code: u64) -> Option<Pay> {
        self.pay.get(&code).copied()
    }

    /// What is believed of a cell that is looked at now.
    pub(crate) fn take_belief(&mut self, code: u64) -> Option<Belief> {
        let planned = self.believed.remove(&code);
        let Some(pay) = self.pay.get(&code) else { return planned };
        let probability = match pay {
            Pay::Ready(kind) => self.trust.get(kind)?.there_is_right(),
            Pay::Audit(kind) | Pay::Deadline(kind) => {
                1.0 - self.trust.get(kind)?.not_there_is_right()
            }
            Pay::Untold(_) => return planned,
        };
        Some(Belief { probability, why: None })
    }

    /// A "not there" of a cheap look: whether a paid call has to follow at once.
    pub(crate) fn doubts(&mut self, kind: LookKind, is_over: bool) -> Option<Pay> {
        if is_over {
            return Some(Pay::Deadline(kind));
        }
        let trust = self.trust.entry(kind).or_default();
        let audit = trust.wants_audit(self.arrived);
        trust.audits += u64::from(audit);
        audit.then_some(Pay::Audit(kind))
    }

    /// A paid call said whether data is there: what that makes of the cheap look before it.
    pub(crate) fn judge(&mut self, code: u64, was_there: bool, compiled: &Compiled) -> Option<Lie> {
        let pay = self.pay.remove(&code)?;
        let lied = match pay {
            Pay::Ready(kind) => {
                self.trust.entry(kind).or_default().said_there(was_there);
                (!was_there).then_some(Lie { kind, said_there: true })
            }
            Pay::Audit(kind) | Pay::Deadline(kind) => {
                self.trust.entry(kind).or_default().said_not_there(was_there);
                was_there.then_some(Lie { kind, said_there: false })
            }
            Pay::Untold(_) => None,
        };
        self.changed = true;
        self.offer(compiled);
        if let (Some(Lie { said_there: false, .. }), Some(row)) = (lied, self.looked.get_mut(&code))
        {
            // What the liar said bounds nothing.
            row.without_at = row.without_paid_at;
        }
        lied
    }

    /// A cell has its data.
    pub(crate) fn arrives(&mut self, code: u64, entity: &Entity, bytes: u64) -> Arrived {
        self.arrived += 1;
        if bytes > 0 {
            self.usual.learn(entity, bytes);
        }
        self.concludes(code)
    }

    /// A cell's wait is over, one way or the other.
    pub(crate) fn concludes(&mut self, code: u64) -> Arrived {
        self.changed = true;
        self.pay.remove(&code);
        self.failed.remove(&code);
        match self.looked.remove(&code) {
            Some(row) => Arrived {
                not_before: row.without_at.filter(|at| row.seen_at.is_none_or(|seen| *at < seen)),
                seen: row.seen_at.zip(row.seen_by),
                looks: row.looks,
            },
            None => Arrived { not_before: None, seen: None, looks: 0 },
        }
    }

    /// What is known of a cell's looks.
    pub(crate) fn looked(&self, code: u64) -> Option<&LookRow> {
        self.looked.get(&code)
    }

    /// The usual length of an entity's answers with data.
    pub(crate) fn usual(&self, entity: &Entity) -> Option<f64> {
        self.usual.of(entity)
    }

    /// A look failed and is repeated soon.
    pub(crate) fn fails(&mut self, code: u64, kind: LookKind) {
        self.failed.insert(code, kind);
    }

    /// The cells that wait for a look that speaks for many, if it is under way.
    pub(crate) fn page_ends(&mut self, kind: LookKind, period: Period) -> BTreeSet<u64> {
        self.pages.remove(&(kind, period)).unwrap_or_default()
    }

    /// All cells that wait for such looks: none of them will be answered.
    pub(crate) fn pages_end(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.pages).into_values().flatten().collect()
    }

    /// A page was read. The look before it is the last that did not name what it names newly.
    pub(crate) fn page_answers(
        &mut self,
        kind: LookKind,
        period: Period,
        sent_at: Timestamp,
        batch: i64,
    ) -> Option<Timestamp> {
        self.changed = true;
        let look = self.page_looks.entry((kind, period)).or_default();
        look.failures = 0;
        look.batch = batch;
        let before = look.answered_at.replace(sent_at);
        // Only the newest periods are looked for.
        while self.page_looks.len() > PAGES_KEPT {
            self.page_looks.pop_first();
        }
        before
    }

    /// A page could not be read, for so many times in a row.
    pub(crate) fn page_fails(&mut self, kind: LookKind, period: Period) -> u32 {
        let look = self.page_looks.entry((kind, period)).or_default();
        look.failures = look.failures.saturating_add(1);
        look.failures
    }

    /// A page names a cell: it was not named by the look at `before`.
    pub(crate) fn is_named(&mut self, heard: &Heard<'_>, before: Option<Timestamp>) {
        let was_seen = self.looked.get(&heard.code).is_some_and(|row| row.seen_at.is_some());
        self.hears(heard, LookAnswer::There, None);
        if let Some(row) = self.looked.get_mut(&heard.code).filter(|_| !was_seen) {
            row.without_at = row.without_at.max(before);
        }
    }

    /// Whether the last row is so old that another one costs no more than [`WRITTEN_BYTES_A_SECOND`].
    pub(crate) fn is_worth_writing(&self, now: Timestamp) -> bool {
        self.written.is_none_or(|(at, bytes)| {
            let pause = (bytes / WRITTEN_BYTES_A_SECOND) as i64;
            now.duration_since(at).as_secs().unsigned_abs() >= pause.unsigned_abs()
        })
    }

    /// The row for the state, if anything was learned since the last.
    pub(crate) fn take_row(
        &mut self,
        source: &model::SourceId,
        now: Timestamp,
        settled_through: i64,
    ) -> Option<ScheduleRow> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        for look in self.page_looks.values_mut().filter(|look| look.batch <= settled_through) {
            look.settled_at = look.answered_at;
        }
        let kept = Kept {
            trust: self.trust.iter().map(|(kind, trust)| (*kind, *trust)).collect(),
            usual: self.usual.of_source,
            usual_of_entities: self
                .usual
                .of_entities
                .iter()
                .map(|(entity, bytes)| (entity.clone(), *bytes))
                .collect(),
            pages: self
                .page_looks
                .iter()
                .filter_map(|((kind, period), look)| Some((*kind, *period, look.settled_at?)))
                .collect(),
            arrived: self.arrived,
            day: self.day,
            schedule: self.schedule.save(),
        };
        let saved = kept.write()?;
        self.written = Some((now, saved.len()));
        Some(ScheduleRow { source: source.clone(), saved, updated_at: now })
    }
}

/// Pages of so many periods are remembered.
const PAGES_KEPT: usize = 64;

/// An answer to a look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) ordinal: CellOrdinal,
    pub(crate) code: u64,
    pub(crate) entity: &'a Entity,
    pub(crate) period: Period,
    pub(crate) kind: LookKind,
    pub(crate) sent_at: Timestamp,
    pub(crate) answered_at: Timestamp,
}

/// What an attempt that can bring data says about its cell.
pub(crate) fn answer_of(outcome: Outcome, records: u64, had_records: bool) -> LookAnswer {
    match outcome {
        Outcome::Ok if records > 0 => LookAnswer::There,
        // Records came, and are held back.
        Outcome::Invalid => LookAnswer::There,
        Outcome::EmptyProven | Outcome::Gone => LookAnswer::NotThere,
        Outcome::NotModified if !had_records => LookAnswer::NotThere,
        _ => LookAnswer::Unknown,
    }
}

/// What a cheap look says about a single cell.
pub(crate) fn answer_said(said: &Said) -> Option<LookAnswer> {
    match said {
        Said::Cell(answer) => Some(*answer),
        Said::Unsupported => Some(LookAnswer::Unknown),
        Said::Failed | Said::Listed(_) => None,
    }
}

fn move_map<T>(map: &mut BTreeMap<u64, T>, moved: &BTreeMap<u64, u64>) -> BTreeMap<u64, T> {
    std::mem::take(map)
        .into_iter()
        .filter_map(|(old, value)| moved.get(&old).map(|new| (*new, value)))
        .collect()
}

/// What one look costs.
pub(crate) fn cost_of(compiled: &Compiled, kind: LookKind) -> Money {
    let source = &compiled.source;
    let spec = source.arrival.as_ref();
    let cheap = match kind {
        // It may bring the data, and then costs what that costs.
        LookKind::Paid | LookKind::Conditional => None,
        LookKind::Head => spec.and_then(|spec| spec.head.as_ref()).map(|head| head.cost),
        LookKind::Page | LookKind::Feed => {
            spec.and_then(|spec| spec.page_of(kind)).map(|page| page.cost)
        }
    };
    cheap.unwrap_or(source.request.cost)
}
