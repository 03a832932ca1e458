//! plan: whether backfill waits for the hours in which its server lets more through.

use crate::{Engine, Mode, runtime::Runtime};
use env::Moment;
use jiff::{SignedDuration, Timestamp};
use model::SourceId;
use pace::{Backlog, Wait, wait_for_hours};
use state::BackfillRow;

/// So long a decision stands: hours turn, and the backlog shrinks.
const DECIDED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// What a source's backfill waits for.
#[derive(Debug, Default)]
pub(crate) struct Hours {
    /// When the latest backfill was wished.
    wished_at: Option<Timestamp>,
    pub(crate) wait: Option<Wait>,
    decided_at: Option<Timestamp>,
}

impl Hours {
    /// Takes what people wished; it is decided anew.
    pub(crate) fn wished(&mut self, source: &SourceId, backfills: &[BackfillRow]) {
        let own = backfills.iter().filter(|row| row.source == *source);
        self.wished_at = own.map(|row| row.requested_at).max();
        self.decided_at = None;
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_fresh = |at: Timestamp| {
            let since = now.duration_since(at);
            !since.is_negative() && since < DECIDED_FOR
        };
        !self.decided_at.is_some_and(is_fresh) || self.wait.is_some_and(|it| it.until <= now)
    }
}

impl Engine {
    /// Decides for each source that prefers open hours. `run --once` does what is due and ends: nothing
    /// of it waits.
    pub(crate) fn prefer_hours(&mut self, now: Moment) {
        let end = match self.options.mode {
            Mode::Once => return,
            Mode::Continuous => Timestamp::MAX,
            Mode::Until(end) => end,
        };
        let is_due = |source: &Runtime| {
            source.hours.is_due(now.wall) && (source.prefers_hours() || source.hours.wait.is_some())
        };
        let due: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, source)| is_due(source))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let wait = self.hours_of(&id, now.wall).filter(|wait| wait.until <= end);
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.hours.decided_at = Some(now.wall);
            if source.hours.wait.map(|wait| wait.until) != wait.map(|wait| wait.until) {
                match wait {
                    Some(Wait { until, times }) => {
                        tracing::info!(source = %id, %until, times, "backfill waits for hours that let more through");
                    }
                    None => tracing::info!(source = %id, "backfill waits no more"),
                }
            }
            source.hours.wait = wait;
            source.agenda().hold_backfill(wait.is_some());
            if let Some(scope) = self.scopes.get_mut(&*source.scope) {
                scope.backfill_waits(&id, wait);
            }
        }
    }

    fn hours_of(&self, id: &SourceId, now: Timestamp) -> Option<Wait> {
        let source = self.sources.get(id).filter(|source| source.prefers_hours())?;
        if source.backfill_count() == 0 {
            return None;
        }
        // What others have to do on the same limit takes its part of the hours.
        let of_scope = self.sources.values().filter(|other| other.scope == source.scope);
        let backlog = Backlog {
            requests: of_scope.map(Runtime::backfill_count).sum(),
            since: source.hours.wished_at?,
            rate_max: source.compiled.source.limit.rate_per_second,
        };
        wait_for_hours(self.scopes.get(&*source.scope)?.profile(), &backlog, now)
    }
}

impl Runtime {
    fn prefers_hours(&self) -> bool {
        let limit = &self.compiled.source.limit;
        limit.prefer_open_hours && limit.learn && !self.paused()
    }
}
