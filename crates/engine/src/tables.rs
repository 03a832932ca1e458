//! The columns of data, quarantine and ledger tables, and the rows that go into them.

mod columns;
mod data;

pub(crate) use columns::{Chunks, Rows, schema_of, timestamp_type, timestamps};
pub use data::data_schema;
pub(crate) use data::{DataBatches, DataPart, Provenance, RowId};

use crate::observation::{Booked, Observation, Quarantined};
use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use columns::{
    Column, Int, Long, Price, Real, Text, Time, append_display, append_hexadecimal, table_rows,
};
use jiff::Timestamp;
use model::{Cause, Fate, Money, SourceId};
use state::CellRow;
use std::sync::Arc;

table_rows! {
    /// The columns of `ledger/attempts`: one row an attempt.
    attempts_schema
    /// Rows for `ledger/attempts`.
    AttemptRows {
        source: Text<16>,
        entity: Text<8>,
        period: Text<10>,
        attempt: Long,
        planned_at: Time,
        at: Time,
        priority: Text<8>,
        outcome: Text<12>,
        detail: Text<16>,
        status: Int,
        url: Text<64>,
        redirects: Int,
        received_bytes: Long,
        first_byte_ms: Long,
        elapsed_ms: Long,
        retry_after_ms: Long,
        records: Long,
        quarantined: Long,
        cost: Price,
        source_version: Text<16>,
        response_digest: Text<71>,
        archive: Text<48>,
        etag: Text<16>,
        last_modified: Text<0>,
        request_hash: Long,
        look: Text<4>,
        cells: Long,
        probability: Real,
        why: Text<0>,
    }
}

impl AttemptRows {
    pub(crate) fn push(&mut self, observation: &Observation, booked: Booked) {
        let Observation { cell, attempt, facts, .. } = observation;
        self.source.append_value(cell.source.as_str());
        self.entity.append_value(cell.entity.as_str());
        append_display(&mut self.period, cell.period);
        self.attempt.append_value(attempt.0);
        self.planned_at.append_value(observation.planned_at.as_microsecond());
        self.at.append_value(facts.at.as_microsecond());
        self.priority.append_value(observation.priority);
        self.outcome.append_value(observation.outcome.as_str());
        self.detail.append_value(&observation.detail);
        self.status.append_option(facts.status.map(i32::from));
        self.url.append_value(&facts.url);
        self.redirects.append_value(facts.redirects as i32);
        self.received_bytes.append_value(facts.received_bytes as i64);
        self.first_byte_ms.append_option(facts.first_byte.map(|wait| wait.as_millis() as i64));
        self.elapsed_ms.append_value(facts.elapsed.as_millis() as i64);
        self.retry_after_ms
            .append_option(observation.retry_after.map(|wait| wait.as_millis() as i64));
        self.records.append_value(booked.records as i64);
        self.quarantined.append_value(booked.quarantined as i64);
        self.cost.append_value(i128::from(observation.cost.micros));
        self.source_version.append_value(&*observation.source_version.0);
        match &observation.evidence {
            Some(evidence) => {
                self.response_digest.append_value(evidence.digest.text().as_str());
                self.archive.append_value(&evidence.archive);
                self.etag.append_option(evidence.validators.etag.as_deref());
                self.last_modified.append_option(evidence.validators.last_modified.as_deref());
                self.request_hash.append_value(evidence.request_hash.cast_signed());
            }
            None => {
                self.response_digest.append_null();
                self.archive.append_null();
                self.etag.append_null();
                self.last_modified.append_null();
                self.request_hash.append_null();
            }
        }
        self.look.append_option(observation.look.map(model::LookKind::as_str));
        self.cells.append_value(i64::from(booked.cells));
        let belief = observation.belief.as_deref();
        let probability = belief.map(|belief| belief.probability);
        self.probability.append_option(probability.filter(|it| it.is_finite()));
        self.why.append_option(belief.and_then(|belief| belief.why.as_deref()));
    }
}

table_rows! {
    /// The columns of `ledger/cells`: one row for each change of a cell's state or cause, of its
    /// records, or of when it will be late.
    cells_schema
    /// Rows for `ledger/cells`.
    CellRows {
        source: Text<16>,
        entity: Text<8>,
        period: Text<10>,
        at: Time,
        state: Text<8>,
        cause: Text<12>,
        family: Text<12>,
        verdict: Text<12>,
        fate: Text<12>,
        outcome: Text<12>,
        attempt: Long,
        looks: Long,
        records: Long,
        quarantined: Long,
        observed_at: Time,
        next_look_at: Time,
        records_hash: Text<32>,
        late_watch_at: Time,
        overdue_at: Time,
    }
}

impl CellRows {
    pub(crate) fn push(&mut self, source: &SourceId, row: &CellRow, cost: Money) {
        self.source.append_value(source.as_str());
        self.entity.append_value(row.entity.as_str());
        append_display(&mut self.period, row.period);
        self.at.append_value(row.updated_at.as_microsecond());
        self.state.append_value(row.state.as_str());
        let cause = row.cause(row.updated_at);
        self.cause.append_option(cause.map(Cause::as_str));
        self.family.append_option(cause.map(|cause| cause.family().as_str()));
        self.verdict
            .append_option(cause.map(|cause| cause.verdict(row.state.is_settled()).as_str()));
        self.fate.append_option(cause.map(|cause| Fate::of_cause(cause, cost).as_str()));
        self.outcome.append_option(row.outcome.map(model::Outcome::as_str));
        self.attempt.append_value(row.last_attempt.0);
        self.looks.append_value(i64::from(row.looks));
        self.records.append_value(row.records as i64);
        self.quarantined.append_value(row.quarantined as i64);
        self.observed_at.append_option(row.observed_at.map(Timestamp::as_microsecond));
        self.next_look_at.append_option(row.next_look_at.map(Timestamp::as_microsecond));
        match row.records_hash {
            Some(hash) => append_hexadecimal(&mut self.records_hash, &hash),
            None => self.records_hash.append_null(),
        }
        let late = row.late_from;
        self.late_watch_at.append_option(late.map(|late| late.watch.as_microsecond()));
        self.overdue_at.append_option(late.map(|late| late.overdue.as_microsecond()));
    }
}

table_rows! {
    /// The columns of a quarantine table.
    quarantine_schema
    /// Rows for a quarantine table.
    QuarantineRows {
        entity ["_entity"]: Text<8>,
        period ["_period"]: Text<10>,
        observed_at ["_observed_at"]: Time,
        source_version ["_source_version"]: Text<16>,
        attempt ["_attempt"]: Long,
        response_digest ["_response_digest"]: Text<71>,
        ordinal ["_ordinal"]: Long,
        check: Text<16>,
        reason: Text<32>,
        record: Text<128>,
    }
}

impl QuarantineRows {
    pub(crate) fn push(&mut self, observation: &Observation, quarantined: &Quarantined) {
        self.entity.append_value(observation.cell.entity.as_str());
        append_display(&mut self.period, observation.cell.period);
        self.observed_at.append_value(observation.observed_at.as_microsecond());
        self.source_version.append_value(&*observation.source_version.0);
        self.attempt.append_value(observation.attempt.0);
        match &observation.evidence {
            Some(evidence) => {
                self.response_digest.append_value(evidence.digest.text().as_str());
            }
            None => self.response_digest.append_null(),
        }
        self.ordinal.append_value(quarantined.ordinal as i64);
        self.check.append_value(&quarantined.check);
        self.reason.append_value(&quarantined.reason);
        self.record.append_value(&quarantined.record);
    }
}
