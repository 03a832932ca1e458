//! All of it, cell by cell: told of openings and answers, it says when to look next.

mod budget;
mod memory;
mod outlook;

use super::{
    Distribution, Minutes,
    choice::{self, Trained},
    companions::{GroupToday, Tie},
    day::{Day, Evidence, Strength},
    experts::{Estimates, Pooled, Question, Usable, Weights},
    external::{self, External},
    features::{CalendarDay, Features},
    history::{History, Seen},
    scarcity::Scarcity,
    schedule,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Ended cells before the first training, and from one to the next.
const TRAIN_FIRST: u64 = 250;
const TRAIN_EVERY: u64 = 1_000;
/// Periods before the first training, and from one to the next: a few days of many entities are few
/// days.
const TRAIN_PERIODS_FIRST: u32 = 24;
const TRAIN_PERIODS: u32 = 7;
/// Periods between two searches for groups.
const GROUPS_EVERY: u32 = 8;
/// Periods before the first.
const GROUPS_FIRST: u32 = 5;
/// How late a day must turn out (in standard deviations) for all others to be asked again.
const DAY_NEWS: f64 = 0.5;
/// From this belief in a tie on, an entity's look without data speaks for its group.
const SPEAKS_FOR_GROUP: f64 = 0.5;
/// How long the others wait for a look that is under way.
const ANSWER_MAX: Minutes = 2.0;
/// How soon a member asks again while others are looked at.
const TURN: Minutes = 0.05;

/// The shortest span a scout chooses among, and into how many a span is cut.
const PART_MIN: Minutes = 2.0;
const PARTS_MAX: f64 = 6.0;

/// What looks and delays cost, in one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// One look.
    pub look: f64,
    /// One minute from the arrival of one cell's data to the look that finds it.
    pub delay_per_minute: f64,
}

/// What may be used; all of it but for comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is used or not")]
pub struct Ingredients {
    /// Entities lend to each other what they have shown.
    pub pooling: bool,
    /// Weekdays differ.
    pub weekday: bool,
    /// Today's news of the others counts.
    pub peers: bool,
    /// Publishers change.
    pub drift: bool,
    /// Hazard models are fitted.
    pub models: bool,
    /// Looks are dearer while a budget is short.
    pub scarcity: bool,
}

impl Default for Ingredients {
    fn default() -> Self {
        Self {
            pooling: true,
            weekday: true,
            peers: true,
            drift: true,
            models: true,
            scarcity: true,
        }
    }
}

/// A cell that is looked for from now on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The entity's number.
    pub entity: u32,
    /// Rises with time, the same for all cells of a period.
    pub period: i32,
    /// Where its day stands in the calendar.
    pub day: CalendarDay,
    /// When the data can come at the earliest, in minutes since 1970.
    pub opens_at: Minutes,
    /// The last look, in minutes since 1970.
    pub deadline: Minutes,
    /// The period's reference instant, the same for all cells of a period, in minutes since 1970:
    /// its 00:00.
    pub reference: Minutes,
}

impl Opening {
    /// From opening to deadline, minutes.
    pub fn span(&self) -> Minutes {
        self.deadline - self.opens_at
    }
}

/// Why a look is planned as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The cheapest by what the entity and its like have shown.
    Usual,
    /// It scouts for so many that come with it.
    Scout {
        /// Members of its group that have not come.
        waiting: u32,
    },
    /// Others of its group have come.
    Upload {
        /// How many were found since.
        came: u32,
        /// How many were looked at in vain since.
        missing: u32,
    },
    /// Another look at its group is under way.
    Waits,
    /// The deadline's.
    Last,
}

/// The next look at a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    /// When, in minutes since 1970.
    pub at: Minutes,
    /// The probability that its data is there then.
    pub probability: f64,
    /// Why.
    pub reason: Reason,
}

/// From when on a cell is late, minutes since 1970: by then half, nine in ten and ninety-nine in a
/// hundred of its like have come, of those that come at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LateTimes {
    /// [`Lateness::LateUsual`] from here on.
    pub usual: Minutes,
    /// [`Lateness::LateWatch`] from here on.
    pub watch: Minutes,
    /// [`Lateness::Overdue`] from here on.
    pub overdue: Minutes,
}

impl LateTimes {
    /// How late a cell is.
    pub fn at(&self, now: Minutes) -> Lateness {
        match now {
            now if now >= self.overdue => Lateness::Overdue,
            now if now >= self.watch => Lateness::LateWatch,
            now if now >= self.usual => Lateness::LateUsual,
            _ => Lateness::OnTime,
        }
    }
}

/// How late a cell is, by the learned distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lateness {
    /// Most of its like come later than this.
    OnTime,
    /// After the time by which half have come.
    LateUsual,
    /// After the time by which nine in ten have come.
    LateWatch,
    /// After the time by which ninety-nine in a hundred have come.
    Overdue,
}

/// What is remembered of an entity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entity {
    pub(super) history: History,
    pub(super) weights: Weights,
    tie: Tie,
    strength: Strength,
    group: u32,
    /// From opening to deadline of its latest cell, minutes.
    pub(super) span: f32,
}

/// A cell that is looked for.
#[derive(Debug, Clone)]
struct Open {
    opening: Opening,
    distribution: Distribution,
    group: u32,
    /// The last look without data, minutes since 1970; its opening at first.
    looked_at: Minutes,
    evidence: Evidence,
    is_hot: bool,
}

/// What is known of a period that has open cells.
#[derive(Debug, Clone, Default)]
struct Today {
    day: Day,
    groups: BTreeMap<u32, GroupToday>,
    open: BTreeSet<u32>,
    /// The mean lateness when all were asked last.
    told: f64,
}

/// Learns when data comes, and plans looks; see the module's [introduction](super).
#[derive(Debug)]
pub struct Planner {
    prices: Prices,
    ingredients: Ingredients,
    entities: Vec<Entity>,
    pooled: Pooled,
    weights: Weights,
    group_sizes: BTreeMap<u32, u32>,
    group_next: u32,
    periods: u32,
    latest_period: i32,
    open: BTreeMap<(i32, u32), Box<Open>>,
    today: BTreeMap<i32, Today>,
    /// Cells that ended since the start, and at how many the next training is due.
    finished: u64,
    train_at: u64,
    /// Not before so many periods were opened.
    train_at_period: u32,
    trained: Option<Trained>,
    external: Option<Arc<dyn External>>,
    external_failed: Option<String>,
    woken: Vec<(i32, u32)>,
    scarcity: Scarcity,
}

impl Planner {
    /// A planner that knows nothing yet.
    pub fn new(prices: Prices, ingredients: Ingredients) -> Self {
        Self {
            prices,
            ingredients,
            entities: Vec::new(),
            pooled: Pooled::default(),
            weights: Weights::default(),
            group_sizes: BTreeMap::new(),
            group_next: 1,
            periods: 0,
            latest_period: i32::MIN,
            open: BTreeMap::new(),
            today: BTreeMap::new(),
            finished: 0,
            train_at: TRAIN_FIRST,
            train_at_period: TRAIN_PERIODS_FIRST,
            trained: None,
            external: None,
            external_failed: None,
            woken: Vec::new(),
            scarcity: Scarcity::default(),
        }
    }

    /// Other prices from now on, without what [`Planner::set_factor`] makes of them.
    pub fn set_prices(&mut self, prices: Prices) {
        self.prices = prices;
    }

    /// A model from elsewhere takes the place of the trained ones.
    pub fn set_model(&mut self, model: Arc<dyn External>) {
        self.external = Some(model);
        self.external_failed = None;
    }

    /// Why the model from elsewhere was not used for some cell; told once. The own models took its
    /// place there.
    pub fn model_failure(&mut self) -> Option<String> {
        self.external_failed.take()
    }

    /// Looks for a cell from now on. Opening it again begins anew.
    pub fn open(&mut self, opening: Opening) {
        let entity = opening.entity as usize;
        if self.entities.len() <= entity {
            self.entities.resize_with(entity + 1, Entity::default);
        }
        if opening.period > self.latest_period {
            self.latest_period = opening.period;
            self.periods += 1;
            if self.ingredients.peers && self.periods % GROUPS_EVERY == GROUPS_FIRST {
                self.find_groups();
            }
        }
        self.close((opening.period, opening.entity));
        let span = (opening.deadline - opening.opens_at).max(1.0);
        let estimates = self.estimates(opening.entity, opening.day.weekday, span);
        let known = &self.entities[entity];
        let (masses, never) = estimates.mixed(&known.weights);
        let base = Distribution::compress(&masses, never, estimates.step, span);
        let external = self
            .external
            .as_ref()
            .map(|model| external::hazards(&**model, &base, &known.history, opening.day));
        let fitted = || {
            let features =
                || Features::new(&base, &estimates, &known.history, opening.day, opening.period);
            choice::hazards(self.trained.as_ref(), features)
        };
        let (hazards, failed) = match external {
            Some(Ok(hazards)) => (Some(hazards), None),
            Some(Err(failed)) => (fitted(), Some(failed)),
            None => (fitted(), None),
        };
        let distribution = match hazards {
            Some(hazards) => base.with_hazards(hazards.into_iter()),
            None => base,
        };
        let group = known.group;
        self.scarcity.opened(&distribution);
        self.external_failed = failed.or(self.external_failed.take());
        let open = Box::new(Open {
            opening,
            distribution,
            group,
            looked_at: opening.opens_at,
            evidence: Evidence::default(),
            is_hot: false,
        });
        let today = self.today.entry(opening.period).or_default();
        today.open.insert(opening.entity);
        today.groups.entry(group).or_default().open.insert(opening.entity);
        self.open.insert((opening.period, opening.entity), open);
    }

    fn estimates(&self, entity: u32, weekday: u8, span: Minutes) -> Estimates {
        self.estimates_of(&self.entities[entity as usize].history, weekday, span)
    }

    fn estimates_of(&self, history: &History, weekday: u8, span: Minutes) -> Estimates {
        let pooled = self.ingredients.pooling.then_some(&self.pooled);
        Estimates::new(&Question { history, pooled, weekday, span, usable: self.usable() })
    }

    fn usable(&self) -> Usable {
        Usable { weekday: self.ingredients.weekday, drift: self.ingredients.drift }
    }

    /// When to look at an open cell next: `now` or later; `None`: it is not open.
    pub fn next_look(&mut self, period: i32, entity: u32, now: Minutes) -> Option<Planned> {
        let open = self.open.get(&(period, entity))?;
        let deadline = open.opening.deadline;
        if now >= deadline - 1e-6 {
            let probability = 1.0 - open.distribution.never();
            return Some(Planned { at: now, probability, reason: Reason::Last });
        }
        if self.ingredients.peers {
            self.choose_scout(period, open.group);
        }
        let open = self.open.get(&(period, entity))?;
        let outlook = self.outlook(open, now);
        if let Some(until) = outlook.wait_until {
            let at = until.max(now + TURN).min(deadline);
            return Some(Planned { at, probability: 0.0, reason: Reason::Waits });
        }
        let opens_at = open.opening.opens_at;
        let look = schedule::next_look(&schedule::Question {
            ends: &outlook.ends,
            masses: &outlook.masses,
            delay_prices: &outlook.delay_prices,
            there_now: outlook.there_now,
            there_now_price: self.prices.delay_per_minute,
            never: outlook.never,
            now: now - opens_at,
            nothing_until: outlook.nothing_until,
            may_look_now: now > open.looked_at,
            look_price: self.prices.look * self.scarcity.factor(),
        });
        let at = (opens_at + look.at).max(now).min(deadline);
        let reason = if at >= deadline - 1e-6 { Reason::Last } else { outlook.reason };
        Some(Planned { at, probability: look.probability.clamp(0.0, 1.0), reason })
    }

    /// A look at a cell left.
    pub fn sent(&mut self, period: i32, entity: u32, now: Minutes) {
        let Some(open) = self.open.get_mut(&(period, entity)) else { return };
        let Some(today) = self.today.get_mut(&period) else { return };
        let Some(group) = today.groups.get_mut(&open.group) else { return };
        if group.unchecked_upload(open.looked_at).is_some() {
            open.is_hot = true;
            group.under_way += 1;
        } else if group.open.len() > 1 {
            group.wait_until = Some(now + ANSWER_MAX);
        }
    }

    /// A look said that the data is there, or that it is not. At the deadline, what is not there
    /// has not come.
    pub fn answered(&mut self, period: i32, entity: u32, at: Minutes, there: bool) {
        let key = (period, entity);
        let Some(open) = self.open.get(&key) else { return };
        let (opening, looked_at, group_number) = (open.opening, open.looked_at, open.group);
        let by_chance = Self::by_chance(open, at, there);
        self.scarcity.looked();
        let tie = self.entities[entity as usize].tie;
        let is_over = there || at >= opening.deadline - 1e-6;
        let after_own = looked_at;
        let mut after = looked_at;
        let mut by = at;
        let was_hot = open.is_hot;
        let today = self.today.entry(period).or_default();
        let group = today.groups.entry(group_number).or_default();
        group.wait_until = None;
        if was_hot {
            group.under_way = group.under_way.saturating_sub(1);
        }
        let upload = group.unchecked_upload(looked_at);
        let mut is_news = false;
        match (there, upload) {
            (true, Some((from, to))) => {
                group.came += 1;
                if tie.probability() > SPEAKS_FOR_GROUP {
                    (after, by) = (from.max(looked_at), to.min(at));
                }
            }
            (true, None) => {
                after = group.without.map_or(looked_at, |without| without.min(at).max(looked_at));
                group.upload = Some((after, at));
                (group.came, group.missing, group.under_way) = (0, 0, 0);
                is_news = true;
            }
            (false, Some(_)) => group.missing += 1,
            (false, None) => {
                if tie.probability() > SPEAKS_FOR_GROUP {
                    group.without = Some(group.without.map_or(at, |without| without.max(at)));
                }
            }
        }
        if is_over {
            group.open.remove(&entity);
            today.open.remove(&entity);
            if group.scout == Some(entity) {
                group.scout = None;
            }
        }
        if self.ingredients.peers {
            if upload.is_some() {
                self.entities[entity as usize].tie.learn(there, by_chance);
            }
            self.tell_the_day(key, (looked_at, at), there);
            if is_news {
                self.wake_group(period, group_number);
            }
        }
        let Some(open) = self.open.get_mut(&key) else { return };
        open.is_hot = false;
        if !is_over {
            open.looked_at = at;
            return;
        }
        let offset = |at: Minutes| (at - opening.opens_at) as f32;
        let seen = Seen {
            period,
            day: opening.day,
            opening: (opening.opens_at - opening.reference) as f32,
            after: offset(after),
            by: if there { offset(by) } else { f32::INFINITY },
            own_after: offset(after_own),
        };
        self.learn(key, seen);
        self.scarcity.ended();
        self.forget(key);
    }

    /// An open cell is no longer looked for, and nothing is learned from it.
    pub fn close(&mut self, key: (i32, u32)) {
        if let Some(open) = self.open.get(&key)
            && let Some(today) = self.today.get_mut(&key.0)
        {
            today.open.remove(&key.1);
            if let Some(group) = today.groups.get_mut(&open.group) {
                group.open.remove(&key.1);
                if group.scout == Some(key.1) {
                    group.scout = None;
                }
            }
            self.forget(key);
        }
    }

    /// Cells (period, entity) whose next look may have become earlier by what others showed.
    pub fn woken(&mut self) -> Vec<(i32, u32)> {
        std::mem::take(&mut self.woken)
    }

    /// The training in use.
    pub fn trained(&self) -> Option<&Trained> {
        self.trained.as_ref()
    }

    /// The distribution of an open cell as it was at its opening.
    pub fn distribution(&self, period: i32, entity: u32) -> Option<&Distribution> {
        self.open.get(&(period, entity)).map(|open| &open.distribution)
    }

    /// How many cells of a period are open.
    pub fn open_cells(&self, period: i32) -> usize {
        self.today.get(&period).map_or(0, |today| today.open.len())
    }

    /// From when on an open cell is late; `None` while too little is known of it and its like.
    pub fn late_times(&self, period: i32, entity: u32) -> Option<LateTimes> {
        const OWN_MIN: usize = 5;
        const POOLED_MIN: f64 = 20.0;
        let open = self.open.get(&(period, entity))?;
        let own = self.entities[entity as usize].history.latest().filter(Seen::came);
        let is_known = own.take(OWN_MIN).count() == OWN_MIN
            || (self.ingredients.pooling && self.pooled.total() >= POOLED_MIN);
        if !is_known {
            return None;
        }
        let ever = (1.0 - open.distribution.never()).max(1e-6);
        let at = |share: f64| {
            let after = open.distribution.quantile(share * ever);
            open.opening.opens_at + after.unwrap_or_else(|| open.opening.span().max(0.0))
        };
        Some(LateTimes { usual: at(0.5), watch: at(0.9), overdue: at(0.99) })
    }

    /// What was seen of an entity.
    pub fn history(&self, entity: u32) -> Option<&History> {
        self.entities.get(entity as usize).map(|entity| &entity.history)
    }

    /// The weights of an entity's experts.
    pub fn weights(&self, entity: u32) -> Option<&Weights> {
        self.entities.get(entity as usize).map(|entity| &entity.weights)
    }

    /// The group an entity comes with, how strongly it is tied to it, and how many it has.
    pub fn group(&self, entity: u32) -> Option<(u32, f64, u32)> {
        let entity = self.entities.get(entity as usize)?;
        let size = self.group_sizes.get(&entity.group).copied().unwrap_or(1);
        Some((entity.group, entity.tie.probability(), size))
    }

    /// How strongly an entity follows a day that is late for all: 0 to 1.
    pub fn strength(&self, entity: u32) -> Option<f64> {
        self.entities.get(entity as usize).map(|entity| entity.strength.mean())
    }

    /// The probability of an answer for an entity that comes apart from its group.
    fn by_chance(open: &Open, at: Minutes, there: bool) -> f64 {
        let by = |at: Minutes| open.distribution.by(at - open.opening.opens_at);
        let gone = by(open.looked_at);
        let came = ((by(at) - gone) / (1.0 - gone).max(1e-9)).clamp(0.001, 0.999);
        if there { came } else { 1.0 - came }
    }

    /// An answer says something of how late the day is.
    fn tell_the_day(&mut self, key: (i32, u32), (after, at): (Minutes, Minutes), there: bool) {
        let Some(open) = self.open.get_mut(&key) else { return };
        let Some(today) = self.today.get_mut(&key.0) else { return };
        let known = &mut self.entities[key.1 as usize];
        let place = |at: Minutes| open.distribution.by(at - open.opening.opens_at);
        let from = if there { place(after) } else { place(at) };
        let to = if there { place(at).max(from + 1e-4) } else { 1.0 };
        if there {
            known.strength.learn(&today.day.without(&open.evidence), from, to);
        }
        // Those that come in one piece have one voice.
        let voices = f64::from(self.group_sizes.get(&open.group).copied().unwrap_or(1)).powf(0.7);
        let evidence = known.strength.evidence(from, to.max(from + 1e-4)).weakened(voices);
        today.day.replace(&open.evidence, &evidence);
        open.evidence = evidence;
        let lateness = today.day.without(&Evidence::default()).mean();
        if lateness < today.told - DAY_NEWS {
            self.woken.extend(today.open.iter().map(|entity| (key.0, *entity)));
            today.told = lateness;
        } else if lateness > today.told {
            today.told = lateness;
        }
    }

    fn wake_group(&mut self, period: i32, group: u32) {
        if let Some(group) = self.today.get(&period).and_then(|today| today.groups.get(&group)) {
            self.woken.extend(group.open.iter().map(|entity| (period, *entity)));
        }
    }

    /// Sees to it that a group has a scout: one that is tied to it and was looked at since its
    /// last upload.
    fn choose_scout(&mut self, period: i32, group: u32) {
        const TRIED: usize = 16;
        let Some(group) =
            self.today.get_mut(&period).and_then(|today| today.groups.get_mut(&group))
        else {
            return;
        };
        if group.scout.is_some() || group.open.len() < 2 {
            return;
        }
        let candidates = group.open.iter().copied().filter(|entity| {
            self.open
                .get(&(period, *entity))
                .is_some_and(|open| group.unchecked_upload(open.looked_at).is_none())
        });
        let tie = |entity: &u32| self.entities[*entity as usize].tie.probability();
        let best = candidates.take(TRIED).max_by(|a, b| tie(a).total_cmp(&tie(b)));
        if let Some(best) = best.filter(|best| tie(best) > SPEAKS_FOR_GROUP / 2.0) {
            group.scout = Some(best);
            self.woken.push((period, best));
        }
    }

    /// A finished cell goes into what is known of its entity and of the source.
    fn learn(&mut self, key: (i32, u32), seen: Seen) {
        let Some(open) = self.open.get_mut(&key) else { return };
        let opening = open.opening;
        let (after, by) = (f64::from(seen.after), f64::from(seen.by));
        let span = (opening.deadline - opening.opens_at).max(1.0);
        let estimates = self.estimates(key.1, opening.day.weekday, span);
        let likelihoods = estimates.likelihoods(after, by);
        let usable = Usable { weekday: self.ingredients.weekday, drift: self.ingredients.drift };
        self.finished += 1;
        let known = &mut self.entities[key.1 as usize];
        known.weights.learn(&likelihoods, &self.weights, usable);
        self.weights.follow(&known.weights, 0.002);
        known.history.push(seen);
        known.span = span as f32;
        if seen.came() {
            self.pooled.add(seen.day.weekday, after, by);
        }
    }

    fn forget(&mut self, key: (i32, u32)) {
        self.open.remove(&key);
        if self.today.get(&key.0).is_some_and(|today| today.open.is_empty())
            && key.0 < self.latest_period
        {
            self.today.remove(&key.0);
        }
    }
}
