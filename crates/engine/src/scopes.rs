//! pace: all limit scopes of an engine: what they learn, what is kept of it, which share is ours.

use crate::{
    Engine, EngineError, Event, book::pace_observation, observation::Observation, runtime::Runtime,
    scope::Scope,
};
use env::Moment;
use jiff::SignedDuration;
use model::{Outcome, SourceId};
use pace::{Advice, Meaning, Pace, Ticket};
use state::HoldShares;
use std::time::Duration;
use tokio::time::Instant;

/// What scopes learned is written this often, and their shares are renewed.
const SCOPES_KEPT_EVERY: Duration = Duration::from_secs(5);
/// A share of a scope lasts so long without being renewed.
const SHARE_LASTS: SignedDuration = SignedDuration::from_secs(20);

/// How a request left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    pub(crate) ceiling: Ticket,
    pub(crate) scope: Option<Ticket>,
    /// It had to wait for the scope's pace.
    pub(crate) delayed: bool,
}

impl Engine {
    /// pace: what an ended attempt says of the server's limits.
    pub(crate) fn learn(
        &mut self,
        id: &SourceId,
        scope: &str,
        leave: Leave,
        observation: &Observation,
        now: Moment,
    ) -> Meaning {
        let was_sent = observation.outcome != Outcome::Skipped;
        if let Some(source) = self.sources.get_mut(id) {
            let mut seen = pace_observation(observation, leave.ceiling);
            if leave.scope.is_some() {
                // The whole scope waits, not this source alone.
                seen.advice = Advice::default();
            }
            if was_sent {
                source.ceiling.observe(&seen, now);
            } else {
                source.ceiling.forget(leave.ceiling);
            }
        }
        let (Some(ticket), Some(found)) = (leave.scope, self.scopes.get_mut(scope)) else {
            return Meaning::Noise;
        };
        if !was_sent {
            found.pace.forget(ticket);
            return Meaning::Noise;
        }
        let seen = pace_observation(observation, ticket);
        let (meaning, decisions) = found.observe(&seen, leave.delayed, now);
        for decision in decisions {
            tracing::debug!(scope, rate = decision.rate, why = %decision.why, "pace changed");
            self.tell(|| Event::Paced { scope: scope.to_owned(), decision });
        }
        meaning
    }

    /// Opens the scopes of sources that have none yet.
    pub(crate) async fn open_scopes(&mut self) -> Result<(), EngineError> {
        let names = self.sources.values().map(|source| source.scope.to_string());
        let new: Vec<String> = names.filter(|name| !self.scopes.contains_key(name)).collect();
        if new.is_empty() {
            self.keep_crawl_delays();
            return Ok(());
        }
        let rows = self.ports.state.paces().await?;
        let now = self.ports.clock.now();
        let most = u32::try_from(self.options.in_flight_max).unwrap_or(u32::MAX);
        for name in new {
            let row = rows.iter().find(|row| row.scope == name);
            self.scopes.entry(name).or_insert_with(|| Scope::open(row, most, now));
        }
        self.keep_crawl_delays();
        self.hold_shares().await
    }

    /// What one source of a scope declares, its server asks of all: the longest counts.
    fn keep_crawl_delays(&mut self) {
        for (name, scope) in &mut self.scopes {
            let of_scope = self.sources.values().filter(|source| *source.scope == **name);
            let delays = of_scope.filter_map(Runtime::crawl_delay);
            scope.pace.set_interval_min(delays.max().unwrap_or_default());
        }
    }

    /// Asks for our shares of all scopes, and takes what there is.
    pub(crate) async fn hold_shares(&mut self) -> Result<(), EngineError> {
        let wish = HoldShares {
            holder: self.holder.clone(),
            scopes: self.scopes.keys().cloned().collect(),
            now: self.ports.clock.now().wall,
            lasts: SHARE_LASTS,
        };
        let shares = self.ports.state.hold_shares(&wish).await?;
        for (scope, share) in self.scopes.values_mut().zip(shares) {
            scope.pace.set_share(share);
        }
        Ok(())
    }

    /// Now and then: writes what the scopes learned, renews their shares.
    pub(crate) async fn keep_scopes(&mut self) -> Result<(), EngineError> {
        if self.scopes_kept_at.elapsed() < SCOPES_KEPT_EVERY {
            return Ok(());
        }
        self.scopes_kept_at = Instant::now();
        self.write_scopes().await?;
        self.write_schedules(false).await?;
        self.hold_shares().await
    }

    pub(crate) async fn write_scopes(&mut self) -> Result<(), EngineError> {
        let now = self.ports.clock.now().wall;
        let rows: Vec<_> =
            self.scopes.iter_mut().filter_map(|(name, scope)| scope.take_row(name, now)).collect();
        if !rows.is_empty() {
            self.ports.state.put_paces(&rows).await?;
        }
        Ok(())
    }

    /// Writes what was learned of arrivals; what is long is written less often, but for the last time.
    async fn write_schedules(&mut self, is_last: bool) -> Result<(), EngineError> {
        let now = self.ports.clock.now().wall;
        let settled_through = self.settled_through;
        let rows: Vec<_> = self
            .sources
            .iter_mut()
            .filter_map(|(id, source)| {
                let arrival = source.arrival.as_mut()?;
                let is_due = is_last || arrival.is_worth_writing(now);
                is_due.then(|| arrival.take_row(id, now, settled_through))?
            })
            .collect();
        if !rows.is_empty() {
            self.ports.state.put_schedules(&rows).await?;
        }
        Ok(())
    }

    pub(crate) async fn close_scopes(&mut self) -> Result<(), EngineError> {
        self.write_scopes().await?;
        self.write_schedules(true).await?;
        Ok(self.ports.state.drop_shares(&self.holder).await?)
    }
}
