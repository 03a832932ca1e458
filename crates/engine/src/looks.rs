//! account, of looks: what cheap looks say about cells, what paid calls say about cheap looks, and
//! when a cell's wait is over.

use crate::{
    Engine, Event,
    arrival::{Arrived, Heard, Lie, Pay, answer_of, answer_said},
    arrival_tables::ArrivalRow,
    observation::{Observation, Said},
    run::changed,
    runtime::{Runtime, code, ordinal_of},
    way::Job,
};
use env::Moment;
use extract::Listed;
use jiff::{SignedDuration, Timestamp};
use model::{
    AttemptId, CellKey, CellState, LookKind, Outcome, Period, SourceId, grid::CellOrdinal,
};
use pace::Meaning;
use plan::{LookAnswer, Priority};
use state::CellRow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The pause before a page that could not be read is read again; it doubles.
const PAGE_RETRY_FIRST: SignedDuration = SignedDuration::from_secs(5);
const PAGE_RETRY_MAX: SignedDuration = SignedDuration::from_mins(15);

impl Engine {
    /// account: what a cheap look says about its cell, or about many.
    pub(crate) fn account_look(
        &mut self,
        id: &SourceId,
        mut observation: Observation,
        meaning: Meaning,
        moment: Moment,
    ) {
        let now = moment.wall;
        let Some(looked) = observation.looked.take() else { return };
        let kind = observation.look.unwrap_or(LookKind::Head);
        let is_known = self.sources.get(id).is_some_and(|source| source.arrival.is_some());
        if is_known && !kind.speaks_for_many() && matches!(looked.said, Said::Failed) {
            // It is repeated as any request that failed.
            if let Some(source) = self.sources.get_mut(id) {
                source.look_failed(&observation, kind);
            }
            self.account(id, observation, meaning, moment);
            return;
        }
        self.summary.requests += 1;
        self.stamp(&mut observation);
        let Some(source) = self.sources.get_mut(id) else {
            self.keep_attempt(id, observation);
            return;
        };
        if observation.outcome == Outcome::Skipped {
            self.unsent.push(observation.attempt);
        }
        let ordinal = source.locate(&observation.cell, observation.ordinal);
        if !is_known {
            // The looks were taken out of the source's file while this one was under way.
            ordinal.into_iter().for_each(|ordinal| source.agenda().put_back(ordinal));
            self.keep_attempt(id, observation);
            return;
        }
        if kind.speaks_for_many() {
            self.account_page(id, observation, &looked.said, now);
            return;
        }
        let Some(ordinal) = ordinal else {
            self.keep_attempt(id, observation);
            return;
        };
        observation.ordinal = ordinal;
        let answer = answer_said(&looked.said).unwrap_or(LookAnswer::Unknown);
        let compiled = std::sync::Arc::clone(&source.compiled);
        let deadline = source.deadline(ordinal);
        let is_over = deadline.is_some_and(|deadline| now >= deadline);
        let code = code(ordinal);
        if let Some(arrival) = source.arrival.as_mut() {
            let heard = heard(&observation, ordinal, kind);
            let row = arrival.hears(&heard, answer, Some(&looked.validators)).clone();
            self.pending.looks.push((id.clone(), row));
            if matches!(looked.said, Said::Unsupported) {
                arrival.refuse(kind, &compiled);
            }
            arrival.told(kind, answer != LookAnswer::Unknown, &compiled);
            match answer {
                LookAnswer::There => arrival.must_pay(code, Pay::Ready(kind)),
                LookAnswer::Unknown => arrival.must_pay(code, Pay::Untold(kind)),
                LookAnswer::NotThere => {
                    if let Some(pay) = arrival.doubts(kind, is_over) {
                        arrival.must_pay(code, pay);
                    }
                }
            }
        }
        let state = self.go_on(id, ordinal, &observation, answer, now);
        self.wake_others(id, now);
        self.told_of(id, &observation, state, now);
        self.keep_attempt(id, observation);
    }

    /// What follows a cheap look at a cell: the paid call at once, or the next look.
    fn go_on(
        &mut self,
        id: &SourceId,
        ordinal: CellOrdinal,
        observation: &Observation,
        answer: LookAnswer,
        now: Timestamp,
    ) -> CellState {
        let number = self.pending.number;
        let Some(source) = self.sources.get_mut(id) else { return CellState::Due };
        let before = source.known(ordinal).cloned();
        let pays = source.arrival.as_ref().is_some_and(|it| it.pays(code(ordinal)).is_some());
        if pays {
            source.agenda().look_at(ordinal, now, Priority::Live);
        }
        if answer != LookAnswer::NotThere {
            return before.map_or(CellState::Due, |row| row.state);
        }
        let at = if pays { Some(now) } else { source.scheduled(ordinal, now) };
        let mut row = waiting_row(observation, source.cell(ordinal), before.as_ref(), at, now);
        row.late_from = source.late_from(ordinal);
        source.book(ordinal, &row, false, number);
        // It was answered: nothing is left undone.
        source.refused.remove(&code(ordinal));
        let (state, is_changed) = (row.state, changed(before.as_ref(), &row));
        self.pending.push_row(id, row, is_changed);
        state
    }

    /// A page or feed was read, or could not be: what that says about all open cells of its period.
    fn account_page(
        &mut self,
        id: &SourceId,
        mut observation: Observation,
        said: &Said,
        now: Timestamp,
    ) {
        let period = observation.cell.period;
        let Some(kind) = observation.look else { return };
        let Some(source) = self.sources.get_mut(id) else { return };
        let compiled = std::sync::Arc::clone(&source.compiled);
        let Some(arrival) = source.arrival.as_mut() else { return };
        let waiting = arrival.page_ends(kind, period);
        if observation.outcome != Outcome::RateLimited {
            arrival.told(kind, matches!(said, Said::Listed(_)), &compiled);
        }
        let Said::Listed(listed) = said else {
            let failures = arrival.page_fails(kind, period);
            let pause = PAGE_RETRY_FIRST.saturating_mul(1 << failures.min(10)).min(PAGE_RETRY_MAX);
            let asked = observation.retry_after.and_then(|wait| wait.try_into().ok());
            let at = now.checked_add(pause.max(asked.unwrap_or_default()));
            for code in waiting {
                let at = at.clone().unwrap_or(Timestamp::MAX);
                source.agenda().look_at(ordinal_of(code), at, Priority::Live);
            }
            self.told_of(id, &observation, CellState::Due, now);
            self.keep_attempt(id, observation);
            return;
        };
        let batch = self.pending.number;
        let before = arrival.page_answers(kind, period, observation.facts.at, batch);
        let cells = source.cells_of_page(period, &waiting, listed);
        if let Some(booked) = &mut observation.booked {
            booked.cells = cells.len() as u32;
        }
        for cell in &cells {
            self.page_speaks(id, cell, &waiting, &observation, before, now);
        }
        // What waited and is not expected any more needs no look.
        self.wake_others(id, now);
        self.told_of(id, &observation, CellState::Due, now);
        self.keep_attempt(id, observation);
    }

    fn page_speaks(
        &mut self,
        id: &SourceId,
        cell: &PageCell,
        waiting: &BTreeSet<u64>,
        observation: &Observation,
        before: Option<Timestamp>,
        now: Timestamp,
    ) {
        let Some(kind) = observation.look else { return };
        let Some(source) = self.sources.get_mut(id) else { return };
        let deadline = source.deadline(cell.ordinal);
        let is_over = deadline.is_some_and(|deadline| now >= deadline);
        let code = code(cell.ordinal);
        let waits = waiting.contains(&code);
        let Some(arrival) = source.arrival.as_mut() else { return };
        if !waits && arrival.pays(code).is_some() {
            return;
        }
        let heard = Heard {
            ordinal: cell.ordinal,
            code,
            entity: &cell.key.entity,
            period: cell.key.period,
            kind,
            sent_at: observation.facts.at,
            answered_at: observation.observed_at,
        };
        if cell.is_named {
            arrival.is_named(&heard, before);
            arrival.must_pay(code, Pay::Ready(kind));
            if let Some(row) = arrival.looked(code).cloned() {
                self.pending.looks.push((id.clone(), row));
            }
            source.agenda().look_at(cell.ordinal, now, Priority::Live);
            return;
        }
        arrival.schedule.answered(cell.ordinal, kind, observation.facts.at, LookAnswer::NotThere);
        if !waits {
            return;
        }
        if let Some(pay) = arrival.doubts(kind, is_over) {
            arrival.must_pay(code, pay);
        }
        self.go_on(id, cell.ordinal, observation, LookAnswer::NotThere, now);
    }

    /// After a paid call: what it made of a cheap look before it, and whether the wait is over.
    pub(crate) fn note_arrival(
        &mut self,
        id: &SourceId,
        observation: &mut Observation,
        before: Option<&CellRow>,
        row: &CellRow,
        lie: Option<Lie>,
    ) {
        let now = self.ports.clock.now().wall;
        let ordinal = observation.ordinal;
        if let Some(Lie { kind, said_there }) = lie {
            let (entity, period) = (&observation.cell.entity, observation.cell.period);
            tracing::warn!(source = %id, %entity, %period, look = %kind, said_there, "a cheap look was wrong");
            let said = if said_there { "that data is there" } else { "that there is none" };
            let _ = write!(observation.detail, "; the {kind} look was wrong to say {said}");
            let event = Event::LookLied {
                at: now,
                source: id.clone(),
                entity: entity.clone(),
                period,
                look: kind,
                said_there,
            };
            self.tell(|| event);
        }
        if let Some(source) = self.sources.get(id)
            && let Some(arrival) = &source.arrival
            && let Some(known) = arrival.looked(code(ordinal))
        {
            self.pending.looks.push((id.clone(), known.clone()));
        }
        let cell = observation.cell.clone();
        self.conclude(&cell, ordinal, before, row, now);
        self.wake_others(id, now);
    }

    /// Books the end of a cell's wait, if this is one.
    pub(crate) fn conclude(
        &mut self,
        cell: &CellKey,
        ordinal: CellOrdinal,
        before: Option<&CellRow>,
        row: &CellRow,
        now: Timestamp,
    ) {
        let Some(source) = self.sources.get_mut(&cell.source) else { return };
        let due_at = source.due_at(ordinal);
        let Some(arrival) = source.arrival.as_mut() else { return };
        let was_present = before.is_some_and(|row| row.state == CellState::Present);
        let was_over =
            before.is_some_and(|row| row.state.is_settled() && row.next_look_at.is_none());
        let code = code(ordinal);
        let (arrived, reason) = match row.state {
            CellState::Present if !was_present => {
                let bytes = source.last_bytes.take().unwrap_or(0);
                (seen_at_last(arrival.arrives(code, &cell.entity, bytes), row, now), None)
            }
            CellState::Held if row.next_look_at.is_none() && !was_over => {
                (seen_at_last(arrival.concludes(code), row, now), None)
            }
            CellState::Absent { .. } if !was_present && !was_over && row.next_look_at.is_none() => {
                arrival.schedule.given_up(ordinal, now);
                (without_sight(arrival.concludes(code)), Some("never_came"))
            }
            CellState::GivenUp { .. } if !was_over && row.next_look_at.is_none() => {
                arrival.schedule.given_up(ordinal, now);
                (without_sight(arrival.concludes(code)), Some("given_up"))
            }
            _ => return,
        };
        let event = Event::Arrived {
            at: now,
            source: cell.source.clone(),
            entity: cell.entity.clone(),
            period: cell.period,
            not_before: arrived.not_before,
            seen_at: arrived.seen.map(|(at, _)| at),
        };
        self.tell(|| event);
        self.pending.push_arrival(&ArrivalRow {
            cell,
            at: now,
            due_at,
            arrived: &arrived,
            reason: reason.filter(|_| arrived.seen.is_none()),
            attempt: row.last_attempt,
        });
    }

    /// Cells whose next look became earlier by others' answers.
    pub(crate) fn wake_others(&mut self, id: &SourceId, now: Timestamp) {
        let Some(source) = self.sources.get_mut(id) else { return };
        let woken = source.arrival.as_mut().map(|arrival| arrival.schedule.woken());
        for ordinal in woken.into_iter().flatten() {
            source.wake(ordinal, now);
        }
    }

    fn told_of(&self, id: &SourceId, observation: &Observation, state: CellState, now: Timestamp) {
        self.tell(|| Event::Ended {
            at: now,
            source: id.clone(),
            entity: observation.cell.entity.clone(),
            period: observation.cell.period,
            attempt: observation.attempt,
            look: observation.look.unwrap_or(LookKind::Paid),
            outcome: observation.outcome,
            state,
        });
    }

    /// The books keep the attempt; what it says of cells is kept by their rows.
    fn keep_attempt(&mut self, id: &SourceId, observation: Observation) {
        if let Ok(table) = model::TableName::parse(id.as_str()) {
            self.pending.push(observation, None, &table);
        }
    }
}

/// What came was seen at the latest by the answer that brought it.
fn seen_at_last(mut arrived: Arrived, row: &CellRow, now: Timestamp) -> Arrived {
    arrived.seen.get_or_insert((row.observed_at.unwrap_or(now), LookKind::Paid));
    arrived
}

/// What did not come was not seen, whatever a cheap look said of it.
fn without_sight(mut arrived: Arrived) -> Arrived {
    arrived.seen = None;
    arrived
}

fn heard(observation: &Observation, ordinal: CellOrdinal, kind: LookKind) -> Heard<'_> {
    Heard {
        ordinal,
        code: code(ordinal),
        entity: &observation.cell.entity,
        period: observation.cell.period,
        kind,
        sent_at: observation.facts.at,
        answered_at: observation.observed_at,
    }
}

/// The row of a cell that a cheap look says has nothing yet.
fn waiting_row(
    observation: &Observation,
    cell: Option<CellKey>,
    before: Option<&CellRow>,
    at: Option<Timestamp>,
    now: Timestamp,
) -> CellRow {
    let next_look_at = at.unwrap_or(now);
    let cell = cell.unwrap_or_else(|| observation.cell.clone());
    let last_outcome = Outcome::EmptyUnproven;
    CellRow {
        entity: cell.entity,
        period: cell.period,
        state: CellState::Waiting { next_look_at, last_outcome },
        outcome: Some(last_outcome),
        looks: before.map_or(0, |row| row.looks).saturating_add(1),
        failures: 0,
        complete_since_due: before.is_some_and(|row| row.complete_since_due),
        records: 0,
        quarantined: before.map_or(0, |row| row.quarantined),
        observed_at: before.and_then(|row| row.observed_at),
        next_look_at: Some(next_look_at),
        last_attempt: before.map_or(AttemptId(0), |row| row.last_attempt).max(observation.attempt),
        evidence: before.and_then(|row| row.evidence.clone()),
        records_hash: None,
        updated_at: now,
        late_from: None,
    }
}

/// An open cell that a page speaks for.
struct PageCell {
    ordinal: CellOrdinal,
    key: CellKey,
    is_named: bool,
}

impl Runtime {
    /// What a paid call says: to the schedule, and about the cheap look before it.
    pub(crate) fn hear(
        &mut self,
        observation: &Observation,
        before: Option<&CellRow>,
    ) -> Option<Lie> {
        let arrival = self.arrival.as_mut()?;
        let compiled = std::sync::Arc::clone(&self.compiled);
        let kind = observation.look?;
        let was_settled = before.is_some_and(|row| row.state.is_settled());
        let had_records = before.is_some_and(|row| row.state == CellState::Present);
        let skip = observation.outcome == Outcome::Skipped;
        if !kind.brings_data() || skip || (was_settled && !matches!(before?.state, CellState::Held))
        {
            return None;
        }
        // The length of an answer for many is no cell's own.
        self.last_bytes = (observation.asked == 1).then_some(observation.facts.received_bytes);
        let answer = answer_of(observation.outcome, observation.records, had_records);
        let heard = heard(observation, observation.ordinal, kind);
        arrival.hears(&heard, answer, None);
        match answer {
            LookAnswer::Unknown => None,
            answer => arrival.judge(heard.code, answer == LookAnswer::There, &compiled),
        }
    }

    /// A cheap look failed and is repeated.
    fn look_failed(&mut self, observation: &Observation, kind: LookKind) {
        let compiled = std::sync::Arc::clone(&self.compiled);
        let Some(ordinal) = self.locate(&observation.cell, observation.ordinal) else { return };
        if let Some(arrival) = &mut self.arrival {
            arrival.fails(code(ordinal), kind);
            if observation.outcome != Outcome::RateLimited {
                arrival.told(kind, false, &compiled);
            }
        }
    }

    /// A request leaves.
    pub(crate) fn leaves(&mut self, job: &Job, now: Timestamp) {
        self.chunk.leaves();
        if let Some(arrival) = &mut self.arrival {
            let others = job.others.iter().map(|other| other.ordinal);
            for ordinal in std::iter::once(job.ordinal).chain(others) {
                arrival.schedule.sent(ordinal, job.look, now);
            }
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if let Some(arrival) = &mut self.arrival {
            arrival.tick(&self.compiled, now);
        }
    }

    /// A cell's next look may have become earlier.
    fn wake(&mut self, ordinal: CellOrdinal, now: Timestamp) {
        let Some((appointed, priority)) = self.agenda().appointment(ordinal) else { return };
        let is_failing = self.known(ordinal).is_some_and(|row| row.failures > 0);
        let is_settled = self.known(ordinal).is_some_and(|row| row.state.is_settled());
        if is_failing || is_settled || self.parked_cells.contains(&code(ordinal)) {
            return;
        }
        if let Some(at) = self.scheduled(ordinal, now).filter(|at| *at < appointed) {
            self.agenda().look_at(ordinal, at, priority);
        }
    }

    /// The open cells of a period that no other look is under way for, and whether a page names
    /// them.
    fn cells_of_page(
        &mut self,
        period: Period,
        waiting: &BTreeSet<u64>,
        listed: &Listed,
    ) -> Vec<PageCell> {
        let grid = std::sync::Arc::clone(self.grid());
        let Some(ordinal) = grid.period_ordinal(period) else { return Vec::new() };
        let closes_at = grid.periods()[ordinal as usize].closes_at;
        let source = self.compiled.source.id.clone();
        let mut cells = Vec::new();
        for (entity, row) in (0_u32..).zip(grid.entities()) {
            let ordinal = CellOrdinal { entity, period: ordinal };
            let other = self.agenda().is_in_flight(ordinal) && !waiting.contains(&code(ordinal));
            let settled = self.known(ordinal).is_some_and(|row| row.state.is_settled());
            if other || settled || !self.agenda().is_open(ordinal) {
                continue;
            }
            // What was published before the period's end speaks of an earlier one.
            let published = listed.names.get(row.entity.as_str());
            let is_named =
                listed.all || published.is_some_and(|at| at.is_none_or(|at| at >= closes_at));
            let key = CellKey { source: source.clone(), entity: row.entity.clone(), period };
            cells.push(PageCell { ordinal, key, is_named });
        }
        cells
    }
}
