//! A closed loop over known arrivals: a policy knows only what its own looks have shown.
//!
//! The learned policies play all entities in time order, from the first period on. Those they are
//! compared with follow schedules that are fixed per cell (`replay/baselines.rs`); some of them are
//! told when past data really came, which no policy can know that has to look for itself.

mod baselines;
mod money;

use super::{
    Ingredients, Minutes, Opening, Planner, Prices, external::External, features::CalendarDay,
    training::Training,
};
use money::Purse;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

/// One expected pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The entity's number.
    pub entity: u32,
    /// Days since 1970.
    pub day: i32,
    /// Where that day stands in the calendar.
    pub calendar: CalendarDay,
    /// Start of probing, minutes after 00:00 UTC of the day.
    pub opens: Minutes,
    /// The last look, minutes after 00:00 UTC of the day.
    pub deadline: Minutes,
    /// When the data came, minutes after 00:00 UTC of the day; `None`: not before the deadline.
    pub came: Option<Minutes>,
    /// Whether it counts for the second half.
    pub is_second: bool,
}

impl Case {
    /// 00:00 UTC of its day, in minutes since 1970.
    fn midnight(&self) -> Minutes {
        f64::from(self.day) * 1440.0
    }
}

/// What looks and delays cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// One look at full price.
    pub look: f64,
    /// One minute of delay.
    pub delay_per_minute: f64,
    /// A cheap look that never lies, if there is one.
    pub cheap_look: Option<f64>,
    /// The most that may be spent, by all entities together; only a planner keeps to it.
    pub budget: Budgets,
}

/// Hard budgets. A look that there is no money for is put off until there is some again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budgets {
    /// Of a day in UTC.
    pub per_day: Option<f64>,
    /// Of a month in UTC.
    pub per_month: Option<f64>,
}

impl Budgets {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.per_day.is_none() && self.per_month.is_none()
    }
}

/// What a policy spent on one pair.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Looks at full price.
    pub looks: u32,
    /// Cheap looks.
    pub cheap_looks: u32,
    /// Minutes from arrival to the look that found it.
    pub delay: Option<Minutes>,
}

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// The planner with these ingredients.
    Tidewatch(Ingredients),
    /// Every so many minutes from the opening.
    Cron(Minutes),
    /// At the 50, 75, 90 and 97 % quantiles of the first half's true arrivals, then every 30 min.
    Quantile,
    /// The same with the last 30 true arrivals.
    QuantileRolling,
    /// The schedule of least expected cost for the first half's true arrivals.
    DpTrain,
    /// The same, made anew every 7 periods for the last 60 true arrivals.
    DpRolling,
    /// At the end of the half hour in which most of the last 60 true arrivals fell, then every
    /// 30 min.
    BestWindow,
    /// One look at the arrival. No policy can do better.
    Oracle,
    /// Per entity the best fixed schedule for the second half's own arrivals, with the deadline's
    /// look. No fixed schedule can do better.
    Bound,
}

/// All policies by their names: ours, ours without each ingredient, those to compare with.
pub fn policies() -> Vec<(&'static str, Policy)> {
    let all = Ingredients::default();
    vec![
        ("tidewatch", Policy::Tidewatch(all)),
        ("tidewatch_without_pooling", Policy::Tidewatch(Ingredients { pooling: false, ..all })),
        ("tidewatch_without_weekday", Policy::Tidewatch(Ingredients { weekday: false, ..all })),
        ("tidewatch_without_peers", Policy::Tidewatch(Ingredients { peers: false, ..all })),
        ("tidewatch_without_drift", Policy::Tidewatch(Ingredients { drift: false, ..all })),
        ("tidewatch_without_models", Policy::Tidewatch(Ingredients { models: false, ..all })),
        ("tidewatch_without_scarcity", Policy::Tidewatch(Ingredients { scarcity: false, ..all })),
        ("cron10", Policy::Cron(10.0)),
        ("cron30", Policy::Cron(30.0)),
        ("cron60", Policy::Cron(60.0)),
        ("quantile", Policy::Quantile),
        ("quantile_roll", Policy::QuantileRolling),
        ("best_window", Policy::BestWindow),
        ("dp_train", Policy::DpTrain),
        ("dp_roll", Policy::DpRolling),
        ("bound", Policy::Bound),
        ("oracle", Policy::Oracle),
    ]
}

/// Plays all cases by a policy. `None` for a case that the policy does not play: the first half, if
/// it needs that to learn from. A planner takes `model` in the place of those it trains.
pub fn play(
    policy: Policy,
    cases: &[Case],
    costs: &Costs,
    model: Option<Arc<dyn External>>,
) -> Vec<Option<Spent>> {
    match policy {
        Policy::Tidewatch(ingredients) => {
            let look = costs.cheap_look.unwrap_or(costs.look);
            let prices = Prices { look, delay_per_minute: costs.delay_per_minute };
            let mut planner = Planner::new(prices, ingredients);
            if let Some(model) = model {
                planner.set_model(model);
            }
            play_planner(&mut planner, cases, costs).into_iter().map(Some).collect()
        }
        _ => baselines::play(policy, cases, costs),
    }
}

/// What a policy cost, over one half.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Pairs that were played.
    pub cells: u32,
    /// Looks at full price, an arrived pair.
    pub looks_per_arrived: f64,
    /// Cheap looks, an arrived pair.
    pub cheap_looks_per_arrived: f64,
    /// Minutes, over arrived pairs.
    pub delay_mean: Minutes,
    /// Half of the arrived pairs waited no longer.
    pub delay_p50: Minutes,
    /// 95 in 100 of the arrived pairs waited no longer.
    pub delay_p95: Minutes,
    /// Looks at full price at a pair that never came.
    pub looks_per_never: f64,
    /// Everything, an expected pair.
    pub cost_per_cell: f64,
}

/// Sums up one half.
pub fn score(cases: &[Case], spent: &[Option<Spent>], costs: &Costs, is_second: bool) -> Score {
    let mut score = Score::default();
    let (mut arrived, mut cost) = (0_u32, 0.0);
    let mut delays = Vec::new();
    let played = cases.iter().zip(spent).filter(|(case, _)| case.is_second == is_second);
    for (case, spent) in played {
        let Some(spent) = spent else { continue };
        score.cells += 1;
        cost += costs.look * f64::from(spent.looks)
            + costs.cheap_look.unwrap_or(0.0) * f64::from(spent.cheap_looks)
            + costs.delay_per_minute * spent.delay.unwrap_or(0.0);
        if case.came.is_some() {
            arrived += 1;
            score.looks_per_arrived += f64::from(spent.looks);
            score.cheap_looks_per_arrived += f64::from(spent.cheap_looks);
            delays.extend(spent.delay);
        } else {
            score.looks_per_never += f64::from(spent.looks);
        }
    }
    delays.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let last = delays.len().saturating_sub(1) as f64;
        delays.get((share * last) as usize).copied().unwrap_or(0.0)
    };
    let each = |sum: f64, count: u32| if count == 0 { 0.0 } else { sum / f64::from(count) };
    score.delay_p50 = quantile(0.5);
    score.delay_p95 = quantile(0.95);
    score.delay_mean = each(delays.iter().sum(), delays.len() as u32);
    score.looks_per_arrived = each(score.looks_per_arrived, arrived);
    score.cheap_looks_per_arrived = each(score.cheap_looks_per_arrived, arrived);
    score.looks_per_never = each(score.looks_per_never, score.cells - arrived);
    score.cost_per_cell = each(cost, score.cells);
    score
}

/// Milliseconds a minute: the resolution of the loop.
const MS: f64 = 60_000.0;

/// Plays all cases by a planner, in time order across entities.
///
/// With a cheap look every look is a cheap, truthful one, followed by one at full price once it says
/// that the data is there.
pub fn play_planner(planner: &mut Planner, cases: &[Case], costs: &Costs) -> Vec<Spent> {
    let has_cheap_look = costs.cheap_look.is_some();
    let mut spent = vec![Spent::default(); cases.len()];
    let mut is_open = vec![false; cases.len()];
    let mut agenda = Agenda::new(cases);
    let mut purse = Purse::new(costs, cases);
    while let Some((at, now)) = agenda.next() {
        let case = &cases[at];
        if !is_open[at] {
            is_open[at] = true;
            if let Some(trained) = planner.training(now).and_then(Training::run) {
                planner.adopt(trained);
            }
            planner.open(Opening {
                entity: case.entity,
                period: case.day,
                day: case.calendar,
                opens_at: case.midnight() + case.opens,
                deadline: case.midnight() + case.deadline,
                reference: case.midnight(),
            });
        }
        if purse.price(planner, now) {
            wake(planner, &mut agenda, now);
        }
        let Some(planned) = planner.next_look(case.day, case.entity, now) else { continue };
        if planned.at > now + 1e-3 {
            agenda.plan(at, planned.at);
            continue;
        }
        if let Some(later) = purse.wait(now) {
            agenda.plan(at, later);
            continue;
        }
        let came = case.came.filter(|came| case.midnight() + came <= now);
        let (cheap, full) =
            (u32::from(has_cheap_look), u32::from(came.is_some() || !has_cheap_look));
        spent[at].cheap_looks += cheap;
        spent[at].looks += full;
        spent[at].delay = came.map(|came| now - case.midnight() - came);
        purse.pay(cheap, full);
        planner.sent(case.day, case.entity, now);
        if now > case.midnight() + case.deadline + 1e-3 {
            // Put off until its time was over: this says nothing of when it came.
            planner.close((case.day, case.entity));
            continue;
        }
        planner.answered(case.day, case.entity, now, came.is_some());
        if let Some(planned) = planner.next_look(case.day, case.entity, now + 1e-3) {
            agenda.plan(at, planned.at.max(now + 0.01));
        }
        wake(planner, &mut agenda, now);
    }
    spent
}

/// Plans those anew whose next look may have become earlier.
fn wake(planner: &mut Planner, agenda: &mut Agenda, now: Minutes) {
    for (day, entity) in planner.woken() {
        if let Some(at) = agenda.by_cell.get(&(day, entity)).copied() {
            agenda.plan(at, now);
        }
    }
}

/// The next instant of each case.
struct Agenda {
    by_cell: BTreeMap<(i32, u32), usize>,
    /// Millisecond, case, which appointment of it.
    queue: BinaryHeap<Reverse<(i64, usize, u32)>>,
    /// By case: its valid appointment.
    appointments: Vec<u32>,
}

impl Agenda {
    fn new(cases: &[Case]) -> Self {
        let mut agenda = Self {
            by_cell: BTreeMap::new(),
            queue: BinaryHeap::new(),
            appointments: vec![0; cases.len()],
        };
        for (at, case) in cases.iter().enumerate() {
            agenda.by_cell.insert((case.day, case.entity), at);
            agenda.plan(at, case.midnight() + case.opens);
        }
        agenda
    }

    fn plan(&mut self, case: usize, at: Minutes) {
        self.appointments[case] += 1;
        self.queue.push(Reverse(((at * MS).round() as i64, case, self.appointments[case])));
    }

    fn next(&mut self) -> Option<(usize, Minutes)> {
        loop {
            let Reverse((ms, case, appointment)) = self.queue.pop()?;
            if appointment == self.appointments[case] {
                return Some((case, ms as f64 / MS));
            }
        }
    }
}
