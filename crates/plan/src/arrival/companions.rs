//! Which entities come in one piece, and what that says today.
//!
//! Publishers upload many entities in one go. Once that is known, one look answers for all: while
//! one of a group was looked at without data, none of the others is there; as soon as one has come,
//! the others are worth their look at once. So one member scouts for the group, at a pace that the
//! delay of all of them pays for.
//!
//! Groups are found by comparing intervals pair by pair with a few members of each group: that two
//! arrivals coincide speaks for a tie the more the less probable it was by chance.

use super::{
    Minutes,
    history::{History, Seen},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many periods are compared.
const COMPARED: usize = 24;
/// How many members stand for a group.
const SPOKESMEN: usize = 5;
/// How many groups there may be; who fits none of them stays alone.
const GROUPS_MAX: usize = 64;
/// The evidence (logarithm) from which on an entity belongs to a group.
const JOIN_EVIDENCE: f64 = 1.0;
/// The share of periods in which one of a group may come apart from the rest.
const APART: f64 = 0.1;
/// How often two must have been seen in the same period.
const SHARED_MIN: usize = 2;
const HOURS: usize = 24 * 28;

/// The tie of an entity to its group: the probability that it comes with the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tie(f32);

/// What is believed of a tie before anything was seen.
const TIE_USUAL: f64 = 0.6;

impl Default for Tie {
    fn default() -> Self {
        Self(TIE_USUAL as f32)
    }
}

impl Tie {
    /// The probability that it comes with the others.
    pub fn probability(self) -> f64 {
        f64::from(self.0)
    }

    /// Learns from a look after the others had come; `by_chance` is the probability of that answer
    /// for an entity without tie.
    pub fn learn(&mut self, there: bool, by_chance: f64) {
        let tie = self.probability();
        let tied = if there { 0.95 } else { 0.05 };
        let now = tie * tied / (tie * tied + (1.0 - tie) * by_chance);
        self.0 = (0.97 * now + 0.03 * TIE_USUAL).clamp(0.02, 0.98) as f32;
    }
}

/// Groups of entities by the number of their group; who is alone has a number of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// By entity.
    pub group_of: Vec<u32>,
    /// By group: how many entities it has.
    pub sizes: Vec<u32>,
}

/// Finds the groups; entities with fewer than three periods stay where they are, in group 0 at
/// first, of which nothing is known.
///
/// Takes `entities * GROUPS_MAX * SPOKESMEN * COMPARED` steps at most.
pub fn find(histories: &[&History]) -> Groups {
    let usual: Vec<Usual> = histories.iter().map(|history| Usual::of(history)).collect();
    let mut order: Vec<usize> =
        (0..histories.len()).filter(|at| histories[*at].len() >= 3).collect();
    order.sort_by_key(|at| (usize::MAX - histories[*at].len().min(COMPARED), *at));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &entity in &order {
        let mut best = (JOIN_EVIDENCE, None);
        for (group, members) in groups.iter().enumerate().take(GROUPS_MAX) {
            let evidence: Vec<f64> = members
                .iter()
                .take(SPOKESMEN)
                .filter_map(|member| {
                    evidence(
                        (histories[entity], &usual[entity]),
                        (histories[*member], &usual[*member]),
                    )
                })
                .collect();
            let mean = evidence.iter().sum::<f64>() / evidence.len().max(1) as f64;
            if mean > best.0 {
                best = (mean, Some(group));
            }
        }
        match best.1 {
            Some(group) => groups[group].push(entity),
            None => groups.push(vec![entity]),
        }
    }
    let mut found = Groups { group_of: vec![0; histories.len()], sizes: vec![1] };
    for members in groups {
        for entity in &members {
            found.group_of[*entity] = found.sizes.len() as u32;
        }
        found.sizes.push(members.len() as u32);
    }
    found
}

/// For a tie of two: the logarithm of how much more probable what was seen is with it than without.
/// `None`: they were hardly seen in the same periods.
fn evidence(one: (&History, &Usual), other: (&History, &Usual)) -> Option<f64> {
    let mut others = other.0.latest().take(2 * COMPARED).peekable();
    let (mut sum, mut shared) = (0.0, 0);
    for seen in one.0.latest().take(COMPARED) {
        while others.peek().is_some_and(|other| other.period > seen.period) {
            others.next();
        }
        let Some(also) = others.peek() else { break };
        if also.period != seen.period || (!seen.came() && !also.came()) {
            continue;
        }
        shared += 1;
        let in_both = interval(&seen)
            .zip(interval(also))
            .map(|(a, b)| (a.0.max(b.0), a.1.min(b.1)))
            .filter(|(after, by)| by > after);
        sum += match in_both {
            None => APART.ln(),
            Some((after, by)) => {
                let (a, b) =
                    (interval(&seen).unwrap_or_default(), interval(also).unwrap_or_default());
                let tied = one.1.between(after, by);
                let apart = one.1.between(a.0, a.1) * other.1.between(b.0, b.1);
                ((1.0 - APART) * tied / apart + APART).ln().min(2.0)
            }
        };
    }
    (shared >= SHARED_MIN).then_some(sum)
}

/// When an entity came by its own looks, in minutes after 00:00 UTC of the period's day.
fn interval(seen: &Seen) -> Option<(Minutes, Minutes)> {
    let at = |minutes: f32| f64::from(seen.opening) + f64::from(minutes);
    seen.came().then(|| (at(seen.own_after), at(seen.by)))
}

/// When an entity usually comes, by the hour: what is needed to judge a coincidence.
struct Usual {
    sums: Vec<f32>,
}

impl Usual {
    fn of(history: &History) -> Self {
        let mut density = Vec::new();
        for seen in history.latest().filter(Seen::came) {
            let first = (((seen.opening + seen.after) / 60.0).max(0.0) as usize).min(HOURS - 1);
            let end = (((seen.opening + seen.by) / 60.0).ceil().max(0.0) as usize)
                .clamp(first + 1, HOURS);
            if density.len() < end {
                density.resize(end, 0.02);
            }
            let each = 1.0 / (end - first) as f32;
            density[first..end].iter_mut().for_each(|mass| *mass += each);
        }
        let mut sums = Vec::with_capacity(density.len() + 1);
        let mut sum = 0.0;
        sums.push(0.0);
        for mass in density {
            sum += mass;
            sums.push(sum);
        }
        sums.iter_mut().for_each(|part| *part /= sum.max(1e-9));
        Self { sums }
    }

    fn by(&self, at: Minutes) -> f64 {
        let last = self.sums.len() - 1;
        let hours = (at / 60.0).clamp(0.0, last as f64);
        let hour = (hours as usize).min(last.saturating_sub(1));
        let next = self.sums[(hour + 1).min(last)];
        f64::from(self.sums[hour]) + f64::from(next - self.sums[hour]) * (hours - hour as f64)
    }

    fn between(&self, after: Minutes, by: Minutes) -> f64 {
        (self.by(by) - self.by(after)).clamp(1e-3, 1.0)
    }
}

/// What is known today of one group. Times are minutes since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupToday {
    /// The latest look without data at a member that is tied to the others.
    pub without: Option<Minutes>,
    /// When the last upload happened: after the first and by the second instant.
    pub upload: Option<(Minutes, Minutes)>,
    /// Members that were looked at since that upload and had come.
    pub came: u32,
    /// Members that were looked at since that upload and had not come.
    pub missing: u32,
    /// Looks under way at members that may have come with it.
    pub under_way: u32,
    /// Who scouts for the group, and until when its look is under way.
    pub scout: Option<u32>,
    /// A look at a member is under way; the others wait for its answer until then.
    pub wait_until: Option<Minutes>,
    /// The open members: entities that have not come.
    pub open: BTreeSet<u32>,
}

/// How many looks the belief in a tie is worth against what today shows.
const TIE_LOOKS: f64 = 3.0;

impl GroupToday {
    /// The upload that a member, last looked at at `looked_at`, was not looked at since.
    pub fn unchecked_upload(&self, looked_at: Minutes) -> Option<(Minutes, Minutes)> {
        self.upload.filter(|(_, by)| *by > looked_at)
    }

    /// The probability that a member came with the upload, by its tie and by what was seen today.
    pub fn came_with_upload(&self, tie: Tie) -> f64 {
        let came = f64::from(self.came);
        let looked = came + f64::from(self.missing);
        (tie.probability() * TIE_LOOKS + came) / (TIE_LOOKS + looked)
    }
}
