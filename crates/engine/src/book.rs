//! account: what one ended attempt tells the pace, and the row it makes of its cell.

use crate::{compiled::Compiled, observation::Observation, runtime::Runtime};
use account::{Evidence, Look, contradicts, judge};
use jiff::{SignedDuration, Timestamp};
use model::{CellState, Outcome};
use pace::Answer;
use plan::look::{Next, Progress, next};
use state::CellRow;

pub(crate) fn pace_observation(observation: &Observation) -> pace::Observation {
    let answer = match observation.outcome {
        Outcome::RateLimited => Answer::Refused,
        Outcome::SourceError | Outcome::TransportError | Outcome::Partial => Answer::Failed,
        Outcome::Ok
        | Outcome::NotModified
        | Outcome::EmptyProven
        | Outcome::EmptyUnproven
        | Outcome::Blocked
        | Outcome::Gone
        | Outcome::Unauthorized
        | Outcome::ParseError
        | Outcome::Invalid
        | Outcome::Skipped => Answer::Accepted,
    };
    pace::Observation {
        sent_at: observation.facts.sent_at,
        answer,
        latency: observation.facts.first_byte,
        retry_after: observation.retry_after,
    }
}

/// The row of a cell after an attempt, and whether it is to be retried soon.
pub(crate) fn next_row(
    source: &mut Runtime,
    before: Option<&CellRow>,
    observation: &Observation,
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
    let failures =
        if complete { 0 } else { before.map_or(0, |row| row.failures).saturating_add(1) };
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
    let planned = if outcome == Outcome::Skipped {
        Next::GiveUp
    } else {
        next(source.policy(), outcome, &progress, retry_after, jitter, now)
    };
    let is_retry = before.is_some_and(|row| row.failures > 0);
    if !is_retry {
        source.retry_budget.note_first_attempt();
    }
    let policy = source.policy();
    let transient = matches!(
        outcome,
        Outcome::Partial | Outcome::SourceError | Outcome::TransportError | Outcome::RateLimited
    );
    let soon = transient && (failures <= policy.retries || outcome == Outcome::RateLimited);
    let look_every = policy.look_every;
    let (look, retrying) = match planned {
        Next::LookAt(at, _)
            if soon && outcome != Outcome::RateLimited && !source.retry_budget.allow() =>
        {
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
    };
    (row, retrying)
}
