//! The rows that the port takes and gives.

use crate::wire;
use jiff::{SignedDuration, Timestamp, civil::Date};
use model::{
    AttemptId, Budget, Cause, CellKey, CellState, Digest, Entity, LateFrom, LookKind, Money,
    Outcome, Period, SourceId, SourceVersion, Validators,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

/// What a project is given when its state is created, and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    /// Tells this project's commits from those of any other that writes to the same tables.
    pub project_id: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The project's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// As given at creation.
    pub project_id: String,
    /// As given at creation.
    pub created_at: Timestamp,
    /// The latest `_observed_at` of all settled batches: later ones may not lie before it.
    pub observed_at_max: Option<Timestamp>,
    /// The attempt that the next reservation starts with; the first is 1.
    pub next_attempt: i64,
    /// The number that the next announced batch must have; the first is 1.
    pub next_batch: i64,
}

/// What is remembered of a source beside its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// Its name.
    pub source: SourceId,
    /// The first period asked for, as a day.
    pub from: Option<Date>,
    /// Whether a person has paused it.
    pub paused: bool,
    /// How many entities its list had when it was last read: a list that suddenly lost most of
    /// them is refused.
    pub entities_seen: u64,
    /// Its definition.
    pub version: SourceVersion,
    /// When one of the other fields last changed.
    pub updated_at: Timestamp,
}

/// A cell in which something happened.
///
/// Times are kept to the nanosecond from the year 1678 to 2261; beyond, they become
/// [`Timestamp::MIN`] or [`Timestamp::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRow {
    /// Of which entity.
    pub entity: Entity,
    /// Of which period.
    #[serde(with = "wire::period")]
    pub period: Period,
    /// Where it stands.
    #[serde(with = "wire::cell_state")]
    pub state: CellState,
    /// How the last attempt ended. While the cell waits, it is the state's `last_outcome`.
    pub outcome: Option<Outcome>,
    /// How often it was looked at.
    pub looks: u32,
    /// How many looks in a row failed.
    pub failures: u32,
    /// Whether a complete observation was made since it was due.
    pub complete_since_due: bool,
    /// Records in the table.
    pub records: u64,
    /// Records in quarantine.
    pub quarantined: u64,
    /// When the answer was observed that decided the state.
    #[serde(with = "wire::time_option")]
    pub observed_at: Option<Timestamp>,
    /// When to look again. While the cell waits, it is the state's `next_look_at`; for a settled
    /// cell it is the revisit.
    #[serde(with = "wire::time_option")]
    pub next_look_at: Option<Timestamp>,
    /// The last attempt that spoke for it.
    pub last_attempt: AttemptId,
    /// What its data rest on.
    pub evidence: Option<Evidence>,
    /// A hash over its records, to see whether a later answer says the same.
    pub records_hash: Option<[u8; 16]>,
    /// When this row was made.
    #[serde(with = "wire::time")]
    pub updated_at: Timestamp,
    /// While it waits: from when on it is later than usual, if that is known.
    // A batch has it behind all rows: see `wire::encode_batch`.
    #[serde(skip)]
    pub late_from: Option<LateFrom>,
}

impl CellRow {
    /// Why it has no usable data.
    pub fn cause(&self, now: Timestamp) -> Option<Cause> {
        self.state.cause(self.late_from, now)
    }
}

/// What a cell's data rest on. Validators belong to (request, source version, digest): a 304 to
/// them inherits that body's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What to ask "still the same?" with.
    pub validators: Validators,
    /// The request that was answered.
    pub request_hash: u64,
    /// The definition that read the answer.
    pub source_version: SourceVersion,
    /// The body.
    pub digest: Digest,
    /// Where the body is archived.
    pub archive: String,
}

/// The cells of a batch: many lists of some size, and not one of megabytes, whose memory would come anew
/// from the system for each batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cells {
    // Invariant: all but the last are full.
    lists: Vec<Vec<(SourceId, CellRow)>>,
}

impl Cells {
    const LIST_CELLS: usize = 512;

    /// How many there are.
    pub fn len(&self) -> usize {
        let last = self.lists.last().map_or(0, Vec::len);
        self.lists.len().saturating_sub(1) * Self::LIST_CELLS + last
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Adds a cell behind all others.
    pub fn push(&mut self, cell: (SourceId, CellRow)) {
        match self.lists.last_mut().filter(|last| last.len() < Self::LIST_CELLS) {
            Some(last) => last.push(cell),
            None => {
                // Small batches stay small.
                let room = if self.lists.is_empty() { 16 } else { Self::LIST_CELLS };
                let mut list = Vec::with_capacity(room);
                list.push(cell);
                self.lists.push(list);
            }
        }
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &(SourceId, CellRow)> {
        self.lists.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (SourceId, CellRow)> {
        self.lists.iter_mut().flatten()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut (SourceId, CellRow)> {
        self.lists.get_mut(at / Self::LIST_CELLS)?.get_mut(at % Self::LIST_CELLS)
    }
}

impl FromIterator<(SourceId, CellRow)> for Cells {
    fn from_iter<I: IntoIterator<Item = (SourceId, CellRow)>>(cells: I) -> Self {
        let mut all = Self::default();
        cells.into_iter().for_each(|cell| all.push(cell));
        all
    }
}

impl IntoIterator for Cells {
    type Item = (SourceId, CellRow);
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<(SourceId, CellRow)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.lists.into_iter().flatten()
    }
}

/// As one list.
impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|cell| list.serialize_element(cell))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<(SourceId, CellRow)>::deserialize(from)?.into_iter().collect())
    }
}

/// What one commit is about to change: announced before tables are touched, settled after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its number, one above that of the batch before.
    pub number: i64,
    /// When.
    #[serde(with = "wire::time")]
    pub announced_at: Timestamp,
    /// The latest `_observed_at` in it.
    #[serde(with = "wire::time_option")]
    pub observed_at_max: Option<Timestamp>,
    /// Which staged files go to which table; opaque here.
    pub commits: Vec<u8>,
    /// The cells as they will stand. The same cell may appear more than once: the last wins.
    pub cells: Cells,
    /// The attempts that are closed with it.
    pub attempts: Vec<AttemptId>,
    /// What is known of looks at cells that have not arrived. The same cell may appear more than
    /// once: the last wins.
    pub looks: Vec<(SourceId, LookRow)>,
    /// Cells whose looks are of no interest any more: removed after `looks` are applied.
    pub looks_over: Vec<CellKey>,
    /// What attempts cost less than was reserved for them.
    pub refunds: Vec<(AttemptId, Money)>,
}

/// What is known of the looks at a cell that has not arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRow {
    /// Of which entity.
    pub entity: Entity,
    /// Of which period.
    #[serde(with = "wire::period")]
    pub period: Period,
    /// How many there were, of all kinds.
    pub looks: u32,
    /// When the last look left.
    #[serde(with = "wire::time")]
    pub last_at: Timestamp,
    /// When the last look left that was answered "not there".
    #[serde(with = "wire::time_option")]
    pub without_at: Option<Timestamp>,
    /// The same, of looks whose answer is the data itself.
    #[serde(with = "wire::time_option")]
    pub without_paid_at: Option<Timestamp>,
    /// When a look was answered "there" that no later one has belied.
    #[serde(with = "wire::time_option")]
    pub seen_at: Option<Timestamp>,
    /// Which kind of look that was.
    pub seen_by: Option<LookKind>,
    /// What the last HEAD was answered with.
    pub validators: Validators,
}

/// What was learned of a source's arrivals, as bytes that only `engine` understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Of which source.
    pub source: SourceId,
    /// What was learned.
    pub saved: Vec<u8>,
    /// When.
    pub updated_at: Timestamp,
}

/// Cells to be paid for. All prices are at least zero; a negative one counts as zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// Whose cells.
    pub source: SourceId,
    /// Which, most wanted first: one attempt each.
    pub cells: Vec<(Entity, Period)>,
    /// What one attempt costs.
    pub cost_each: Money,
    /// When. Its day in UTC is the day that is charged.
    pub at: Timestamp,
    /// What the source may spend.
    pub source_budget: Budget,
    /// What all sources together may spend in a day and a month.
    pub project_budget: Budget,
}

/// What was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The attempt of the first cell; the following cells have the following numbers.
    pub first: AttemptId,
    /// How many of the cells, from the first on, were granted.
    pub granted: usize,
    /// Which budget the rest did not fit in: the narrower one, the source's if both are equal.
    pub exhausted: Option<BudgetScope>,
}

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// One source's, of a day.
    Source,
    /// All sources' together, of a day.
    Project,
    /// One source's, of a month.
    SourceMonth,
    /// All sources' together, of a month.
    ProjectMonth,
    /// One source's, for the cells of a period.
    Period,
}

impl BudgetScope {
    /// The word used on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Project => "project",
            Self::SourceMonth => "source_month",
            Self::ProjectMonth => "project_month",
            Self::Period => "period",
        }
    }
}

/// An attempt that was reserved, and neither settled nor released: it may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAttempt {
    /// Its number.
    pub attempt: AttemptId,
    /// Whose cell.
    pub source: SourceId,
    /// Of which entity.
    pub entity: Entity,
    /// Of which period.
    pub period: Period,
    /// What was reserved for it.
    pub cost: Money,
    /// When.
    pub reserved_at: Timestamp,
}

/// What one source spent in one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendRow {
    /// Whose spend.
    pub source: SourceId,
    /// The day in UTC.
    pub day: Date,
    /// Attempts reserved and not released.
    pub requests: u64,
    /// What they cost.
    pub spent: Money,
}

/// How many cells of a source stand alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellCount {
    /// Whose cells.
    pub source: SourceId,
    /// The state's word.
    pub state: String,
    /// Why they have no usable data.
    pub cause: Option<Cause>,
    /// How many, at least one.
    pub cells: u64,
}

/// How many cells of a period stand alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodCount {
    /// Of which period.
    pub period: Period,
    /// The state's word.
    pub state: String,
    /// Why they have no usable data.
    pub cause: Option<Cause>,
    /// How many, at least one.
    pub cells: u64,
}

/// Which cells to find; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellFilter {
    /// Whose.
    pub source: Option<SourceId>,
    /// The state's word.
    pub state: Option<String>,
    /// Why they have no usable data, as of a time.
    pub cause: Option<(Cause, Timestamp)>,
    /// Of which entity.
    pub entity: Option<Entity>,
    /// From this period on, in the order of [`Period`].
    pub period_from: Option<Period>,
    /// Up to and with this period.
    pub period_to: Option<Period>,
}

/// A person's wish for older data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBackfill {
    /// Of which source.
    pub source: SourceId,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// When it was wished.
    pub requested_at: Timestamp,
}

/// A wish as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRow {
    /// Its number.
    pub id: i64,
    /// Of which source.
    pub source: SourceId,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// When it was wished.
    pub requested_at: Timestamp,
    /// When it was fulfilled.
    pub finished_at: Option<Timestamp>,
}

/// What was learned of a limit scope, as text that only `engine` understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaceRow {
    /// Which requests count against the same limit.
    pub scope: String,
    /// What was learned.
    pub learned: String,
    /// When.
    pub updated_at: Timestamp,
}

/// A wish for shares of limit scopes, renewed while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldShares {
    /// Who wishes; unique among those who run at the same time.
    pub holder: String,
    /// Of which scopes.
    pub scopes: Vec<String>,
    /// When.
    pub now: Timestamp,
    /// How long the shares are held unless they are renewed.
    pub lasts: SignedDuration,
}

/// State as read from the ledger tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The sources.
    pub sources: Vec<SourceRow>,
    /// The cells. The same cell may appear more than once: the last wins.
    pub cells: Vec<(SourceId, CellRow)>,
    /// The spend; rows of the same source and day are added up.
    pub spend: Vec<SpendRow>,
    /// The spend on the cells of each period.
    pub period_spend: Vec<(SourceId, Period, Money)>,
    /// What is known of looks at cells that have not arrived.
    pub looks: Vec<(SourceId, LookRow)>,
    /// What was learned of sources' arrivals.
    pub schedules: Vec<ScheduleRow>,
    /// One above the highest attempt; below 1 counts as 1.
    pub next_attempt: i64,
    /// One above the highest batch; below 1 counts as 1.
    pub next_batch: i64,
    /// The latest `_observed_at`.
    pub observed_at_max: Option<Timestamp>,
}
