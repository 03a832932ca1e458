//! How a due cell is looked at now, or when it is.

use super::Arrival;
use crate::{compiled::Compiled, observation::Belief};
use jiff::{SignedDuration, Timestamp};
use model::{LookKind, Period, grid::CellOrdinal};
use state::CellRow;

/// So long after its deadline a cell is asked for without looking first: it is the past.
const LONG_OVER: SignedDuration = SignedDuration::from_hours(1);

/// What becomes of a due cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is looked at.
    Now(LookKind),
    /// It waits for a look that speaks for many; `true`: that look has to be sent.
    Page(LookKind, bool),
    /// Not before this instant.
    Later(Timestamp),
}

/// What is known of a due cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) ordinal: CellOrdinal,
    pub(crate) code: u64,
    pub(crate) period: Period,
    pub(crate) row: Option<&'a CellRow>,
    /// Its period was asked for by a wish.
    pub(crate) is_backfill: bool,
    pub(crate) deadline: Option<Timestamp>,
    /// Whether its period is the newest that has closed.
    pub(crate) is_newest: bool,
}

impl Arrival {
    /// Decides about a due cell.
    pub(crate) fn plan(
        &mut self,
        compiled: &Compiled,
        cell: &Situation<'_>,
        now: Timestamp,
    ) -> Plan {
        if cell.row.is_some_and(|row| row.state.is_settled()) || self.pays(cell.code).is_some() {
            return Plan::Now(LookKind::Paid);
        }
        let is_over = cell.deadline.is_some_and(|deadline| now >= deadline);
        let is_past = cell.deadline.is_some_and(|deadline| {
            now >= deadline.checked_add(LONG_OVER).unwrap_or(Timestamp::MAX)
        });
        if is_past || (is_over && cell.is_backfill) {
            return Plan::Now(LookKind::Paid);
        }
        if let Some(kind) = self.failed.remove(&cell.code) {
            return self.by(compiled, cell, kind);
        }
        let planned = self.schedule.next_look(cell.ordinal, now);
        if planned.at > now && !is_over {
            return Plan::Later(
                cell.deadline.map_or(planned.at, |deadline| planned.at.min(deadline)),
            );
        }
        let why = Some(planned.why.into_owned());
        self.believed.insert(cell.code, Belief { probability: planned.probability, why });
        self.by(compiled, cell, planned.kind)
    }

    /// When an open cell is to be handed out again, to be decided about then.
    pub(crate) fn next_at(
        &mut self,
        ordinal: CellOrdinal,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        let at = self.schedule.next_look(ordinal, now).at.max(now);
        deadline.filter(|deadline| now < *deadline).map_or(at, |deadline| at.min(deadline))
    }

    /// A kind of look, or the paid one if this cell cannot be looked at so.
    fn by(&mut self, compiled: &Compiled, cell: &Situation<'_>, kind: LookKind) -> Plan {
        let spec = compiled.source.arrival.as_ref();
        let can = self.uses(kind)
            && match kind {
                LookKind::Paid => true,
                LookKind::Conditional => compiled.has_validators(cell.row),
                LookKind::Head => spec.is_some_and(|spec| spec.head.is_some()),
                LookKind::Page | LookKind::Feed => spec
                    .and_then(|spec| spec.page_of(kind))
                    .is_some_and(|page| page.url.mentions_period() || cell.is_newest),
            };
        if !can {
            return Plan::Now(LookKind::Paid);
        }
        if !kind.speaks_for_many() {
            return Plan::Now(kind);
        }
        let waiting = self.pages.entry((kind, cell.period)).or_default();
        let is_first = waiting.is_empty();
        waiting.insert(cell.code);
        Plan::Page(kind, is_first)
    }
}
