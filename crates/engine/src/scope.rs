//! One limit scope while the engine runs: its controller, what it remembers, and its books.

use env::Moment;
use jiff::Timestamp;
use model::SourceId;
use pace::{
    Decision, HOURS, HourOfWeek, Hourly, LearningPace, Meaning, Memory, Observation, Pace, Profile,
    Wait,
};
use serde::{Deserialize, Serialize};
use state::PaceRow;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Decisions kept for people.
const DECISIONS_KEPT: usize = 20;
/// An hour's limit is believed from so many requests on.
const HOUR_REQUESTS_MIN: u32 = 100;
/// It is adopted when it differs from the present one by this factor.
const HOUR_DIFFERENCE: f64 = 1.2;
/// The weight of what is seen now in an hour's limit.
const HOUR_WEIGHT: f32 = 0.1;

/// What is written into the state of a scope.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Learned {
    /// The layout of this text.
    pub version: u32,
    /// What the controller knows; none before the first answer.
    pub memory: Option<Memory>,
    /// What each hour of the week was like: number of the hour, from Monday 00:00 UTC.
    pub hours: Vec<(u8, Hourly)>,
    /// The latest decisions, in words.
    pub decisions: VecDeque<KeptDecision>,
    /// By source: the hours that its backfill waits for.
    #[serde(default)]
    pub waits: BTreeMap<String, Wait>,
}

/// One decision, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptDecision {
    /// When.
    pub at: Timestamp,
    /// What was believed to limit requests.
    pub kind: String,
    /// Requests per second from then on; 0: single ones only.
    pub rate: f64,
    /// Requests under way from then on.
    pub concurrency: u32,
    /// On what evidence.
    pub why: String,
}

impl From<&Decision> for KeptDecision {
    fn from(decision: &Decision) -> Self {
        Self {
            at: decision.at,
            kind: decision.kind.as_str().to_owned(),
            rate: decision.rate,
            concurrency: decision.concurrency,
            why: decision.why.to_string(),
        }
    }
}

/// The layout of [`Learned`].
const VERSION: u32 = 1;

impl Learned {
    /// Reads a row; one of another layout is as good as none.
    pub fn read(row: &PaceRow) -> Option<Self> {
        serde_json::from_str::<Self>(&row.learned).ok().filter(|it| it.version == VERSION)
    }
}

/// Requests of one hour since the last batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HourCount {
    pub(crate) requests: i64,
    pub(crate) refused: i64,
    pub(crate) delayed: i64,
}

/// What a batch takes with it of a scope.
#[derive(Debug, Default)]
pub(crate) struct ScopeBooks {
    pub(crate) hours: BTreeMap<Timestamp, HourCount>,
    pub(crate) decisions: Vec<KeptDecision>,
    pub(crate) rate: f64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) pace: LearningPace,
    profile: Profile,
    hour: HourOfWeek,
    told: u64,
    decisions: VecDeque<KeptDecision>,
    books: ScopeBooks,
    waits: BTreeMap<String, Wait>,
    /// The next request that leaves has waited for the pace.
    pub(crate) waited: bool,
    changed: bool,
}

impl Scope {
    /// Begins where the state says that an earlier engine ended.
    pub(crate) fn open(row: Option<&PaceRow>, concurrency_max: u32, now: Moment) -> Self {
        let learned = row.and_then(Learned::read).unwrap_or_default();
        let mut profile = vec![Hourly::default(); HOURS];
        for (hour, known) in &learned.hours {
            if let Some(slot) = profile.get_mut(usize::from(*hour)) {
                *slot = *known;
            }
        }
        let hour = HourOfWeek::of(now.wall);
        let memory = learned.memory.map(|mut memory| {
            if let Some(limit) = believed(&profile[usize::from(hour.0)])
                && HourOfWeek::of(memory.learned_at) != hour
            {
                memory.limit = Some(limit);
            }
            memory
        });
        let pace = match &memory {
            Some(memory) => LearningPace::remembering(concurrency_max, memory, now),
            None => LearningPace::new(concurrency_max, now),
        };
        Self {
            pace,
            profile,
            hour,
            told: 0,
            decisions: learned.decisions,
            books: ScopeBooks::default(),
            waits: BTreeMap::new(),
            waited: false,
            changed: false,
        }
    }

    /// At the turn of the hour takes the limit that is known for the new one.
    pub(crate) fn tick(&mut self, now: Moment) {
        let hour = HourOfWeek::of(now.wall);
        if hour == self.hour {
            return;
        }
        self.hour = hour;
        let known = believed(&self.profile[usize::from(hour.0)]);
        if let (Some(known), Some(present)) = (known, self.pace.limit_held())
            && (known > present * HOUR_DIFFERENCE || known < present / HOUR_DIFFERENCE)
        {
            self.pace.adopt(known, now);
        }
    }

    /// Books an ended request and lets the controller learn from it.
    pub(crate) fn observe(
        &mut self,
        observation: &Observation,
        delayed: bool,
        now: Moment,
    ) -> (Meaning, Vec<KeptDecision>) {
        let meaning = self.pace.observe(observation, now);
        self.changed = true;
        let sent = observation.ticket.sent_at.wall;
        let refused = meaning == Meaning::Refused;
        let count = self.books.hours.entry(hour_start(sent)).or_default();
        count.requests += 1;
        count.refused += i64::from(refused);
        count.delayed += i64::from(delayed);
        let hour = &mut self.profile[usize::from(HourOfWeek::of(sent).0)];
        hour.requests = hour.requests.saturating_add(1);
        hour.refused = hour.refused.saturating_add(u32::from(refused));
        if let Some(limit) = self.pace.limit_held() {
            let limit = limit as f32;
            hour.limit += if hour.limit > 0.0 { HOUR_WEIGHT * (limit - hour.limit) } else { limit };
        }
        hour.held = hour.held.max(self.pace.rate_held() as f32);
        let new: Vec<_> = self.pace.decisions_since(self.told).map(KeptDecision::from).collect();
        for kept in &new {
            if self.decisions.len() == DECISIONS_KEPT {
                self.decisions.pop_front();
            }
            self.decisions.push_back(kept.clone());
            self.books.decisions.push(kept.clone());
        }
        self.told = self.pace.decisions_total();
        (meaning, new)
    }

    /// What the hours of the week were like.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What a source's backfill waits for, for people.
    pub(crate) fn backfill_waits(&mut self, source: &SourceId, wait: Option<Wait>) {
        let before = match wait {
            Some(wait) => self.waits.insert(source.to_string(), wait),
            None => self.waits.remove(source.as_str()),
        };
        self.changed |= before != wait;
    }

    /// Hands the books over to a batch.
    pub(crate) fn take_books(&mut self) -> ScopeBooks {
        ScopeBooks { rate: self.pace.rate(), ..std::mem::take(&mut self.books) }
    }

    /// The row to be written, if anything was learned since the last.
    pub(crate) fn take_row(&mut self, scope: &str, now: Timestamp) -> Option<PaceRow> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let hours = (0_u8..).zip(&self.profile).filter(|(_, hour)| hour.requests > 0);
        let learned = Learned {
            version: VERSION,
            memory: Some(self.pace.memory()),
            hours: hours.map(|(number, hour)| (number, *hour)).collect(),
            decisions: self.decisions.clone(),
            waits: self.waits.clone(),
        };
        let learned = serde_json::to_string(&learned).ok()?;
        Some(PaceRow { scope: scope.to_owned(), learned, updated_at: now })
    }

    /// Whether the server has refused everything for so long that waiting on is no use.
    pub(crate) fn is_closed_for(&self, patience: Duration, now: Moment) -> bool {
        self.pace.closed_for(now).is_some_and(|closed| closed >= patience)
    }
}

fn believed(hour: &Hourly) -> Option<f64> {
    (hour.requests >= HOUR_REQUESTS_MIN && hour.limit > 0.0).then(|| f64::from(hour.limit))
}

fn hour_start(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(at)
}
