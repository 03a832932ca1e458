//! account: what one ended attempt tells the pace, and the row it makes of its cell.

use crate::{arrival::answer_of, compiled::Compiled, observation::Observation, runtime::Runtime};
use account::{Evidence, Look, contradicts, judge};
use jiff::{SignedDuration, Timestamp};
use model::{AttemptId, CellKey, CellState, Outcome};
use pace::{Advice, Answer, Meaning, Ticket};
use plan::{
    LookAnswer, Priority,
    look::{Next, Progress, next},
};
use state::CellRow;

/// What an ended attempt tells the pace of its scope.
pub(crate) fn pace_observation(observation: &Observation, ticket: Ticket) -> pace::Observation {
    let facts = &observation.facts;
    let answer = match (observation.outcome, facts.status) {
        (Outcome::RateLimited, _) => Answer::Refused,
        (Outcome::SourceError, Some(503)) => Answer::Unavailable,
        (Outcome::SourceError, Some(500..)) | (Outcome::Partial, _) => Answer::Failed,
        (Outcome::TransportError, _) if facts.timed_out => Answer::TimedOut,
        (Outcome::TransportError | Outcome::SourceError, None) => Answer::Dropped,
        _ => Answer::Accepted,
    };
    let stated = facts.stated;
    pace::Observation {
        ticket,
        answer,
        latency: facts.first_byte,
        advice: Advice {
            retry_after: observation.retry_after,
            quota: stated.quota,
            window: stated.window,
            remaining: stated.remaining,
            reset_after: stated.reset_after,
            nonsense: stated.nonsense,
        },
    }
}

/// How many times as many failures in a row a cell is forgiven while its server seems overloaded.
const OVERLOAD_PATIENCE: u32 = 4;

/// The row of a cell after an attempt, and whether it is to be retried soon.
pub(crate) fn next_row(
    source: &mut Runtime,
    before: Option<&CellRow>,
    observation: &Observation,
    meaning: Meaning,
    now: Timestamp,
) -> (CellRow, bool) {
    let outcome = observation.outcome;
    let had_records = before.is_some_and(|row| row.state == CellState::Present);
    let has_records = match outcome {
        Outcome::Ok => observation.records > 0,
        Outcome::EmptyProven => false,
        _ => had_records,
    };
    let complete = outcome.is_complete_observation();
    let failed_before = before.map_or(0, |row| row.failures);
    let failures = match (complete, observation.fewer) {
        (true, _) => 0,
        (false, true) => failed_before,
        (false, false) => failed_before.saturating_add(1),
    };
    // One too many for the server's limit says nothing of the cell, by whatever words. A server that is
    // in trouble is given some time; what still fails then fails by itself.
    let is_throttled = outcome == Outcome::RateLimited
        || match meaning {
            Meaning::Refused => true,
            Meaning::Overloaded => {
                failures <= source.policy().retries.saturating_mul(OVERLOAD_PATIENCE)
            }
            Meaning::Taken | Meaning::Noise => false,
        };
    let complete_since_due = complete
        || (!contradicts(outcome, observation.facts.received_bytes)
            && before.is_some_and(|row| row.complete_since_due));
    let looks = before.map_or(0, |row| row.looks).saturating_add(1);
    let progress = Progress {
        due_at: source.due_at(observation.ordinal),
        looks,
        failures,
        complete_since_due,
        has_data: has_records,
    };
    let retry_after = observation.retry_after.and_then(|wait| SignedDuration::try_from(wait).ok());
    let jitter = Compiled::jitter(observation.attempt);
    let planned = if observation.fewer {
        Next::LookAt(now, Priority::Live)
    } else if outcome == Outcome::Skipped {
        Next::GiveUp
    } else {
        let outcome = if is_throttled { Outcome::RateLimited } else { outcome };
        next(source.policy(), outcome, &progress, retry_after, jitter, now)
    };
    let transient = matches!(
        outcome,
        Outcome::Partial | Outcome::SourceError | Outcome::TransportError | Outcome::RateLimited
    );
    let soon =
        transient && !observation.fewer && (failures <= source.policy().retries || is_throttled);
    let planned = match planned {
        // A schedule decides when to look again at what has not come; not how failures are repeated.
        Next::LookAt(at, priority) if !soon && !has_records && !observation.fewer => {
            let asked_for = retry_after.and_then(|wait| now.checked_add(wait).ok());
            let scheduled = source.scheduled(observation.ordinal, now);
            Next::LookAt(scheduled.map_or(at, |at| at.max(asked_for.unwrap_or(now))), priority)
        }
        planned => planned,
    };
    let is_retry = before.is_some_and(|row| row.failures > 0);
    if !is_retry {
        source.retry_budget.note_first_attempt();
    }
    let look_every = source.policy().look_every;
    let (look, retrying) = match planned {
        Next::LookAt(at, _) if soon && !is_throttled && !source.retry_budget.allow() => {
            // The budget of retries is spent: the source is in trouble, and asking more makes it worse.
            (Look::At(now.checked_add(look_every).unwrap_or(Timestamp::MAX).max(at)), false)
        }
        Next::LookAt(at, _) => (Look::At(at), soon),
        Next::Settled => (Look::Done, false),
        Next::GiveUp => (Look::Over, false),
    };
    let state = judge(&Evidence {
        before: before.map_or(CellState::Due, |row| row.state),
        outcome,
        has_records,
        complete_since_due,
        expects_records: source.compiled.source.expect.expects_records(),
        look,
    });
    let next_look_at = match look {
        Look::At(at) => Some(at),
        Look::Done | Look::Over => None,
    };
    // Only what was found not there is late; what failed has a cause of its own.
    let is_awaited = answer_of(outcome, observation.records, had_records) == LookAnswer::NotThere
        && matches!(state, CellState::Waiting { .. });
    let keeps_verdict = had_records && has_records && outcome != Outcome::Ok;
    let row = CellRow {
        entity: observation.cell.entity.clone(),
        period: observation.cell.period,
        state,
        outcome: Some(outcome),
        looks,
        failures,
        complete_since_due,
        records: match (keeps_verdict, before) {
            (true, Some(before)) => before.records,
            _ if has_records => observation.records,
            _ => 0,
        },
        quarantined: observation.quarantined.total,
        observed_at: if complete {
            Some(observation.observed_at)
        } else {
            before.and_then(|row| row.observed_at)
        },
        next_look_at,
        last_attempt: observation.attempt,
        // Only a complete observation is worth asking "still the same?" about.
        evidence: if complete {
            observation.evidence.clone()
        } else {
            before.and_then(|row| row.evidence.clone())
        },
        records_hash: match (has_records, outcome) {
            (false, _) => None,
            (true, Outcome::Ok) => observation.records_hash,
            (true, _) => before.and_then(|row| row.records_hash),
        },
        updated_at: now,
        late_from: is_awaited.then(|| source.late_from(observation.ordinal)).flatten(),
    };
    (row, retrying)
}

/// The row of a cell whose time is over, and that no money was left for.
pub(crate) fn without_money(
    source: &Runtime,
    cell: &CellKey,
    before: Option<&CellRow>,
    now: Timestamp,
) -> CellRow {
    let complete_since_due = before.is_some_and(|row| row.complete_since_due);
    let state = judge(&Evidence {
        before: before.map_or(CellState::Due, |row| row.state),
        outcome: Outcome::Skipped,
        has_records: false,
        complete_since_due,
        expects_records: source.compiled.source.expect.expects_records(),
        look: Look::Over,
    });
    CellRow {
        entity: cell.entity.clone(),
        period: cell.period,
        state,
        outcome: Some(Outcome::Skipped),
        looks: before.map_or(0, |row| row.looks),
        failures: before.map_or(0, |row| row.failures),
        complete_since_due,
        records: 0,
        quarantined: 0,
        observed_at: before.and_then(|row| row.observed_at),
        next_look_at: None,
        last_attempt: before.map_or(AttemptId(0), |row| row.last_attempt),
        evidence: before.and_then(|row| row.evidence.clone()),
        records_hash: None,
        updated_at: now,
        late_from: None,
    }
}
