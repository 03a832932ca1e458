//! When, and how, the cells of one source are looked at before their data has come.
//!
//! The engine hands each due cell to its source's schedule before anything is sent, and tells it
//! each answer. A schedule decides by what it knows of arrivals and prices; budgets, the pace, the
//! deadline and retries after failures are the engine's.

mod every_interval;
mod learned;

pub use every_interval::EveryInterval;
pub use learned::{LearnedSchedule, why};

use crate::arrival::{choice::Trained, training::Training};
use jiff::Timestamp;
use model::{CellOrdinal, LateFrom, LookKind, Money};
use std::{borrow::Cow, fmt::Debug};

/// A look that a schedule plans.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLook {
    /// Not before this instant. The engine moves it onto the deadline if it lies behind.
    pub at: Timestamp,
    /// How; one of the kinds on offer. Where a cell cannot be looked at so, it is asked for.
    pub kind: LookKind,
    /// The probability that its data is there then; not a number if nothing is known.
    pub probability: f64,
    /// Why then and so, in one sentence.
    pub why: Cow<'static, str>,
}

/// What a look said about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAnswer {
    /// Its data is there; of a paid look: and was brought.
    There,
    /// It is not there.
    NotThere,
    /// Nothing that can be relied on.
    Unknown,
}

/// A kind of look that can be used now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// Which.
    pub kind: LookKind,
    /// The price of one.
    pub cost: Money,
    /// How probable it is that its "there" is right.
    pub there_is_right: f64,
    /// How probable it is that its "not there" is right.
    pub not_there_is_right: f64,
}

/// What is left of a budget that looks are paid from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetLeft {
    /// Which, in words.
    pub budget: &'static str,
    /// How much is left.
    pub left: Money,
    /// When its time ends, and the next one begins.
    pub until: Timestamp,
}

/// A budget that is short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scarce {
    /// Which, in words.
    pub budget: &'static str,
    /// How many times its price a look is planned with; above 1.
    pub factor: f64,
}

/// When, and how, a cell is looked at next: asked at each decision, told each answer. Pure.
///
/// Ordinals are those of the grid it was made for; when that changes, a new schedule is made of
/// what the former one saves.
pub trait Schedule: Debug + Send {
    /// The kinds of looks that can be used from now on, the paid one among them: told before
    /// anything else, and again when prices or trust change.
    fn offer(&mut self, offers: &[Offer]);

    /// What the state knows of an open cell, told once before anything is asked: when it was last
    /// looked at, and how often.
    fn remember(&mut self, cell: CellOrdinal, last_look_at: Timestamp, looks: u32);

    /// The next look at a cell that has not arrived.
    fn next_look(&mut self, cell: CellOrdinal, now: Timestamp) -> PlannedLook;

    /// A look left: others of its group may wait for its answer.
    fn sent(&mut self, cell: CellOrdinal, kind: LookKind, now: Timestamp);

    /// What a look said about a cell that had not arrived. `at` is when the request left; a look that
    /// speaks for many is one call for each.
    fn answered(&mut self, cell: CellOrdinal, kind: LookKind, at: Timestamp, answer: LookAnswer);

    /// A cell is asked for no more: its data did not come in time.
    fn given_up(&mut self, cell: CellOrdinal, at: Timestamp);

    /// Cells whose next look became earlier because of others' answers; the engine asks
    /// [`Schedule::next_look`] for them again.
    fn woken(&mut self) -> Vec<CellOrdinal>;

    /// What is left of the budgets, told as money is spent and as time passes. Cells whose next look
    /// became earlier by it are among the woken ones.
    fn budgets(&mut self, _left: &[BudgetLeft], _now: Timestamp) {}

    /// The budget that makes looks dearer now; `None`: there is enough.
    fn scarce(&self) -> Option<Scarce> {
        None
    }

    /// From when on an open cell is late, in whole seconds; `None`: too little was learned of that.
    fn late_from(&self, _cell: CellOrdinal) -> Option<LateFrom> {
        None
    }

    /// Work that takes longer than a decision may, once it is due: to be run elsewhere, and what it
    /// gives to be handed to [`Schedule::trained`].
    fn training(&mut self, _now: Timestamp) -> Option<Training> {
        None
    }

    /// What a training gave.
    fn trained(&mut self, _trained: Trained) {}

    /// What went wrong and did no harm, such as a model that gave no numbers; told once.
    fn complaint(&mut self) -> Option<String> {
        None
    }

    /// What is to be kept in the state under the source's name. It must not speak of ordinals:
    /// whoever reads it may have another grid.
    fn save(&self) -> Vec<u8>;
}
