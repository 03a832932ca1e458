//! The policies to compare with: schedules that are fixed before a cell opens.

use super::{Case, Costs, Policy, Spent};
use crate::arrival::Minutes;
use std::collections::BTreeMap;

/// Fewer known arrivals are no ground for a schedule; until then a cron looks.
const ARRIVALS_MIN: usize = 5;
/// Periods for which a rolling schedule is kept.
const SCHEDULE_PERIODS: usize = 7;
/// Periods a rolling schedule is made from.
const ROLLING_PERIODS: usize = 60;
/// Arrivals a rolling quantile is made from.
const ROLLING_ARRIVALS: usize = 30;
const CRON: Minutes = 30.0;

/// Plays all cases, entity by entity.
pub(super) fn play(policy: Policy, cases: &[Case], costs: &Costs) -> Vec<Option<Spent>> {
    let mut of_entity: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, case) in cases.iter().enumerate() {
        of_entity.entry(case.entity).or_default().push(at);
    }
    let mut spent = vec![None; cases.len()];
    for positions in of_entity.values_mut() {
        positions.sort_by_key(|at| cases[*at].day);
        let of_entity: Vec<&Case> = positions.iter().map(|at| &cases[*at]).collect();
        for (at, cost) in positions.iter().zip(play_entity(policy, &of_entity, costs)) {
            spent[*at] = cost;
        }
    }
    spent
}

fn play_entity(policy: Policy, cases: &[&Case], costs: &Costs) -> Vec<Option<Spent>> {
    let first_half: Vec<&Case> = cases.iter().copied().filter(|case| !case.is_second).collect();
    let came = |cases: &[&Case]| cases.iter().filter_map(|case| case.came).collect::<Vec<_>>();
    let Some(first) = cases.first() else { return Vec::new() };
    let frame = Frame { opens: first.opens, deadline: first.deadline };
    let fixed = match policy {
        Policy::Cron(step) => Some(frame.cron(step)),
        Policy::Quantile => Some(frame.quantiles(&came(&first_half))),
        Policy::DpTrain => {
            let known = came(&first_half);
            let never = first_half.len() - known.len();
            Some(frame.cheapest(&known, never as f64, costs))
        }
        Policy::Bound => {
            let second: Vec<&Case> = cases.iter().copied().filter(|case| case.is_second).collect();
            Some(frame.bound(&came(&second), second.len(), costs))
        }
        _ => None,
    };
    let needs_first_half = matches!(policy, Policy::Quantile | Policy::DpTrain | Policy::Bound);
    let mut rolling: Vec<Minutes> = Vec::new();
    let mut made_at: Option<usize> = None;
    let mut is_second = false;
    cases
        .iter()
        .enumerate()
        .map(|(at, case)| {
            if needs_first_half && !case.is_second {
                return None;
            }
            if policy == Policy::Oracle {
                let looks = u32::from(case.came.is_some());
                return Some(Spent { looks, cheap_looks: 0, delay: case.came.map(|_| 0.0) });
            }
            let schedule = fixed.as_ref().unwrap_or_else(|| {
                // A schedule is made anew at the beginning of the second half.
                let is_stale = made_at.is_none_or(|made| at >= made + SCHEDULE_PERIODS)
                    || case.is_second != is_second;
                is_second = case.is_second;
                if is_stale || policy == Policy::QuantileRolling {
                    made_at = Some(at);
                    rolling = frame.rolling(policy, &known_before(cases, at), costs);
                }
                &rolling
            });
            Some(follow(schedule, case))
        })
        .collect()
}

/// What had come of it, or had not by its deadline, before a case opened: the latest first.
fn known_before(cases: &[&Case], at: usize) -> Vec<Option<Minutes>> {
    let opens = cases[at].midnight() + cases[at].opens;
    let is_known = |case: &&&Case| case.midnight() + case.came.unwrap_or(case.deadline) <= opens;
    cases[..at].iter().rev().filter(is_known).take(ROLLING_PERIODS).map(|case| case.came).collect()
}

fn follow(schedule: &[Minutes], case: &Case) -> Spent {
    let looks = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match case.came {
        None => Spent { looks: looks(schedule.len()), ..Spent::default() },
        Some(came) => {
            let found =
                schedule.partition_point(|look| *look < came - 1e-6).min(schedule.len() - 1);
            let delay = Some((schedule[found] - came).max(0.0));
            Spent { looks: looks(found + 1), cheap_looks: 0, delay }
        }
    }
}

/// From when until when an entity is looked at, minutes after 00:00 UTC of the day.
#[derive(Clone, Copy)]
struct Frame {
    opens: Minutes,
    deadline: Minutes,
}

impl Frame {
    fn cron(self, step: Minutes) -> Vec<Minutes> {
        let mut looks = Vec::new();
        let mut at = self.opens + step;
        while at <= self.deadline {
            looks.push(at);
            at += step;
        }
        self.with_deadline(looks)
    }

    fn with_deadline(self, mut looks: Vec<Minutes>) -> Vec<Minutes> {
        if looks.last().is_none_or(|last| *last < self.deadline) {
            looks.push(self.deadline);
        }
        looks
    }

    /// Goes on every half hour.
    fn and_cron(self, mut looks: Vec<Minutes>) -> Vec<Minutes> {
        let mut at = looks.last().copied().unwrap_or(self.opens) + CRON;
        while at < self.deadline {
            looks.push(at);
            at += CRON;
        }
        self.with_deadline(looks)
    }

    fn quantiles(self, came: &[Minutes]) -> Vec<Minutes> {
        if came.len() < ARRIVALS_MIN {
            return self.cron(CRON);
        }
        let mut sorted = came.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut looks: Vec<Minutes> = Vec::new();
        for share in [0.5, 0.75, 0.9, 0.97] {
            let place = share * (sorted.len() - 1) as f64;
            let (at, part) = (place as usize, place.fract());
            let next = sorted.get(at + 1).copied().unwrap_or(sorted[at]);
            let look = sorted[at] * (1.0 - part) + next * part;
            let look = look.max(self.opens + 1.0).min(self.deadline);
            if looks.last().is_none_or(|last| look > last + 0.5) {
                looks.push(look);
            }
        }
        self.and_cron(looks)
    }

    fn best_window(self, came: &[Minutes]) -> Vec<Minutes> {
        if came.len() < ARRIVALS_MIN {
            return self.cron(CRON);
        }
        let mut counts: BTreeMap<i64, u32> = BTreeMap::new();
        for at in came {
            *counts.entry((at / CRON) as i64).or_default() += 1;
        }
        let best = counts.iter().max_by_key(|(window, count)| (**count, -**window));
        let end = best.map_or(self.opens, |(window, _)| (*window + 1) as f64 * CRON);
        self.and_cron(vec![end.max(self.opens + 1.0).min(self.deadline)])
    }

    fn rolling(self, policy: Policy, known: &[Option<Minutes>], costs: &Costs) -> Vec<Minutes> {
        let came: Vec<Minutes> = known.iter().copied().flatten().collect();
        match policy {
            Policy::QuantileRolling => self.quantiles(&came[..came.len().min(ROLLING_ARRIVALS)]),
            Policy::BestWindow => self.best_window(&came),
            _ => self.cheapest(&came, (known.len() - came.len()) as f64, costs),
        }
    }

    /// The schedule of least expected cost for what came, blurred by twenty minutes on a grid of
    /// ten, with a little mass everywhere.
    fn cheapest(self, came: &[Minutes], never: f64, costs: &Costs) -> Vec<Minutes> {
        const GRID: Minutes = 10.0;
        if came.len() < ARRIVALS_MIN {
            return self.cron(CRON);
        }
        let mut weights = Weights::default();
        for at in came {
            for blur in [-20.0, -10.0, 0.0, 10.0, 20.0] {
                let look = ((at + blur) / GRID).ceil() * GRID;
                weights.add(look.max(self.opens + GRID).min(self.deadline), 0.2);
            }
        }
        let grid = self.cron(CRON);
        let little = (0.02 * came.len() as f64).max(0.2) / grid.len() as f64;
        for at in grid {
            weights.add(at, little);
        }
        self.with_deadline(weights.schedule(never + 0.5, costs))
    }

    /// The best fixed schedule for arrivals that are known beforehand. A pair that never came is one
    /// that is found at the deadline.
    fn bound(self, came: &[Minutes], pairs: usize, costs: &Costs) -> Vec<Minutes> {
        let mut weights = Weights::default();
        for at in came {
            weights.add(*at, 1.0);
        }
        if pairs > came.len() {
            weights.add(self.deadline, (pairs - came.len()) as f64);
        }
        let schedule = weights.schedule(0.0, costs);
        if schedule.is_empty() { vec![self.deadline] } else { schedule }
    }
}

/// How often data came at which time, in milliseconds after 00:00.
#[derive(Default)]
struct Weights(BTreeMap<i64, f64>);

impl Weights {
    fn add(&mut self, at: Minutes, weight: f64) {
        *self.0.entry((at * super::MS).round() as i64).or_default() += weight;
    }

    /// The looks of least expected cost, each at an arrival: an exact dynamic programme.
    fn schedule(&self, never: f64, costs: &Costs) -> Vec<Minutes> {
        let times: Vec<Minutes> = self.0.keys().map(|ms| *ms as f64 / super::MS).collect();
        let count = times.len();
        let mut sums = vec![(0.0, 0.0); count + 1];
        for (at, weight) in self.0.values().enumerate() {
            sums[at + 1] = (sums[at].0 + weight, sums[at].1 + weight * times[at]);
        }
        let mut to_go = vec![0.0; count + 1];
        let mut next = vec![0; count + 1];
        for from in (0..count).rev() {
            let mut best = f64::INFINITY;
            for to in from + 1..=count {
                let weight = sums[to].0 - sums[from].0;
                let waited =
                    costs.delay_per_minute * (times[to - 1] * weight - (sums[to].1 - sums[from].1));
                if waited >= best {
                    break;
                }
                if waited + to_go[to] < best {
                    best = waited + to_go[to];
                    next[from] = to;
                }
            }
            to_go[from] = best + costs.look * (sums[count].0 - sums[from].0 + never);
        }
        let mut looks = Vec::new();
        let mut at = 0;
        while at < count {
            at = next[at];
            looks.push(times[at - 1]);
        }
        looks
    }
}
