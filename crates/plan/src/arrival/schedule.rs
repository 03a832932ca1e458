//! The looks of least expected cost.
//!
//! An optimum checking schedule: a look costs its price, a minute between arrival and the look that
//! finds it costs the value of freshness, and one must look as long as nothing came, at the deadline
//! for the last time. Barlow, Hunter and Proschan, "Optimum checking procedures", J. SIAM 11 (1963),
//! 1078-1095; Keller, "Optimum checking schedules for systems subject to random failure", Management
//! Science 21 (1974), 256-260; Munford and Shahani, "A nearly optimal inspection policy", Operational
//! Research Quarterly 23 (1972), 373-379. They give it for a continuous distribution; here it is an
//! exact dynamic programme over the ends of a step distribution's spans, with the present instant as
//! one more.

use super::Minutes;

/// What is known when the next look is chosen. Times are minutes after opening.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Ends of the spans, ascending; the last is the deadline.
    pub ends: &'a [f64],
    /// Probability in each span, given all that is known; what is excluded has none.
    pub masses: &'a [f64],
    /// What a minute of delay costs in each span.
    pub delay_prices: &'a [f64],
    /// Probability that it is there now for a reason outside the spans, such as another entity's
    /// news.
    pub there_now: f64,
    /// What a minute of delay of that costs.
    pub there_now_price: f64,
    /// Probability that it does not come.
    pub never: f64,
    /// Now.
    pub now: Minutes,
    /// Until when it was not there, as far as is known; within its span the mass lies after it.
    pub nothing_until: Minutes,
    /// Whether a look now can say something new.
    pub may_look_now: bool,
    /// The price of a look.
    pub look_price: f64,
}

/// The next look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When, in minutes after opening: now or later.
    pub at: Minutes,
    /// The probability that the data is there then.
    pub probability: f64,
    /// The cost that is expected from now on.
    pub cost: f64,
}

/// Chooses the next look.
pub fn next_look(question: &Question<'_>) -> Look {
    let count = question.ends.len();
    let end = |at: usize| question.ends[at];
    let begin = |at: usize| if at == 0 { 0.0 } else { question.ends[at - 1] };
    let middle = |at: usize| f64::midpoint(begin(at), end(at));
    let now = question.now;
    // Running sums over the spans: mass, mass x price, mass x price x middle.
    let mut sums = vec![(0.0, 0.0, 0.0); count + 1];
    for at in 0..count {
        let mass = question.masses[at];
        let priced = mass * question.delay_prices[at];
        let before = sums[at];
        sums[at + 1] = (before.0 + mass, before.1 + priced, before.2 + priced * middle(at));
    }
    let total = sums[count].0 + question.never;
    // The cost of the delay, at a look at `when`, of what came in the spans `from..to`.
    let delay = |from: usize, to: usize, when: Minutes| {
        (sums[to].1 - sums[from].1) * when - (sums[to].2 - sums[from].2)
    };
    // Looks after now.
    let first = question.ends.partition_point(|end| *end <= now + 1e-6);
    if first >= count {
        return Look { at: now, probability: 1.0 - question.never, cost: question.look_price };
    }
    // to_go[j]: the cost after a look without data at the end of span j.
    let mut to_go = vec![0.0; count];
    for from in (first..count - 1).rev() {
        let alive = total - sums[from + 1].0;
        let mut best = f64::INFINITY;
        for (to, after) in to_go.iter().enumerate().skip(from + 1) {
            let waited = delay(from + 1, to + 1, end(to));
            if waited >= best {
                break;
            }
            best = best.min(waited + after);
        }
        to_go[from] = best + question.look_price * alive;
    }
    // What is there already costs from now on, however long ago it came.
    let begun = begin(first).max(question.nothing_until.min(now));
    let part = ((now - begun) / (end(first) - begun).max(1e-9)).clamp(0.0, 1.0);
    let price_first = question.delay_prices[first];
    let there_of_first = question.masses[first] * part;
    let there_in_spans = sums[first].0 + there_of_first;
    let there_rate = sums[first].1
        + there_of_first * price_first
        + question.there_now * question.there_now_price;
    let rest_middle = f64::midpoint(now.max(begun), end(first));
    let rest_of_first = (question.masses[first] - there_of_first) * price_first;
    let ahead =
        |to: usize| rest_of_first * (end(to) - rest_middle) + delay(first + 1, to + 1, end(to));
    let everything = total + question.there_now;
    let mut best = Look { at: end(count - 1), probability: 0.0, cost: f64::INFINITY };
    let mut after_now = f64::INFINITY;
    for to in first..count {
        let future = ahead(to);
        if future >= best.cost.max(after_now) {
            break;
        }
        after_now = after_now.min(future + to_go[to]);
        let cost = future + there_rate * (end(to) - now) + to_go[to];
        if cost < best.cost {
            let probability = (sums[to + 1].0 + question.there_now) / everything;
            best = Look { at: end(to), probability, cost };
        }
    }
    best.cost += question.look_price * everything;
    if question.may_look_now {
        let there = there_in_spans + question.there_now;
        let cost = question.look_price * everything
            + after_now
            + question.look_price * (everything - there);
        if cost <= best.cost {
            return Look { at: now, probability: there / everything, cost };
        }
    }
    best
}
