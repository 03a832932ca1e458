//! A quota by window, as the answers themselves state it.
//!
//! The fields of draft-ietf-httpapi-ratelimit-headers and their older relatives. They are a prior,
//! never the truth: a refusal within the stated quota is a contradiction, and the second one ends
//! the belief. Seconds are whole on most servers and rounded up, so each answer bounds the end of
//! its window from above, and the least bound of a window counts.

use crate::{Advice, COOL_DOWN_MAX, Ignored};

/// Statements that did not hold, after which none is believed.
const CONTRADICTIONS_MAX: u8 = 2;
/// Whole seconds are too coarse for windows as short as this.
const RESET_VAGUE_MAX: f64 = 5.0;
/// Quotas that differ from the one before, after which none is believed; forgotten after so many
/// statements that agree.
const CHANGES_MAX: u8 = 4;
const AGREED_MIN: u16 = 20;
/// Answers in a row without a statement, after which the last one is forgotten.
const SILENT_MAX: u8 = 5;
/// Windows up to this long are spent as fast as the server serves, then waited out; longer ones are
/// spread over their length once half is gone.
const SPENT_AT_ONCE_MAX: f64 = 60.0;
/// Later than the bound by this: clocks tick.
const MARGIN: f64 = 0.002;

const NEVER: f64 = f64::NEG_INFINITY;
/// Answers that tell of the same quota are so many widths apart, at most, for what changed between
/// them to be the window's doing.
const SOON: f64 = 0.95;

/// See the module. Times in seconds on the monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quota {
    stated: Option<Stated>,
    contradictions: u8,
    /// Changes of the quota of late.
    changes: u8,
    /// Answers in a row that stated nothing.
    silent: u8,
    /// The last statement that did not say how wide its window is.
    vague: Option<Vague>,
    /// A quota whose window's width nobody stated, and the width in seconds that was learned.
    learned: Option<(f32, f32)>,
}

#[derive(Debug, Clone, Copy)]
struct Vague {
    quota: f32,
    remaining: f32,
    sent_at: f64,
}

#[derive(Debug, Clone, Copy)]
struct Stated {
    quota: f64,
    width: f64,
    /// Requests that may still leave before the edge.
    left: f64,
    /// The present window is over by then.
    edge: f64,
    /// What the newest answer said was left, and when its request left.
    remaining: f32,
    sent_at: f64,
    /// Statements of this quota after the first.
    agreed: u16,
    /// The first request of a new window left then, and no answer has told of that window yet.
    opened_by: f64,
}

/// What the quota says of a request that wants to leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Grant {
    /// Nothing is stated.
    Silent,
    /// Within the quota; at most this many a second if more than one leaves.
    Within(Option<f64>),
    /// The window is spent until then.
    At(f64),
}

impl Quota {
    /// The stated quota and the width of its window in seconds, while it is believed.
    pub(crate) fn stated(&self) -> Option<(u64, f64)> {
        let stated = self.believed()?;
        Some((stated.quota as u64, stated.width))
    }

    fn believed(&self) -> Option<&Stated> {
        let is_believed = |it: &&Stated| it.agreed > 0 && self.contradictions < CONTRADICTIONS_MAX;
        self.stated.as_ref().filter(is_believed)
    }

    /// Reads an answer that came at `now` to a request that left at `sent_at`, with `others` still
    /// under way; `found` is a quota and its width in seconds that what was taken told. True: a
    /// quota was stated for the first time, or another one.
    pub(crate) fn take(
        &mut self,
        advice: &Advice,
        sent_at: f64,
        now: f64,
        others: u32,
        found: Option<(f64, f64)>,
    ) -> Result<bool, Ignored> {
        let (Some(quota), Some(remaining), Some(reset)) =
            (advice.quota, advice.remaining, advice.reset_after)
        else {
            self.silent = self.silent.saturating_add(1);
            if self.silent >= SILENT_MAX {
                self.stated = None;
            }
            return Ok(false);
        };
        self.silent = 0;
        if quota == 0 {
            return Err(Ignored::QuotaOfNothing);
        }
        if remaining > quota {
            return Err(Ignored::MoreThanGranted);
        }
        let (quota, remaining) = (quota as f64, remaining as f64);
        // Nobody is believed to close for longer.
        let reset = reset.min(COOL_DOWN_MAX).as_secs_f64();
        let vague = Vague { quota: quota as f32, remaining: remaining as f32, sent_at };
        self.learn_width(vague, found);
        let learned = self.learned.filter(|it| is_same(f64::from(it.0), quota));
        let learned = learned.map(|it| f64::from(it.1));
        let stated = advice.window.map(|width| width.as_secs_f64()).filter(|width| *width > 0.0);
        let width = stated.or(learned);
        // A statement about another quota of the same server (a day's beside a second's) would
        // jump to and fro: the width and the quota have to agree with each other.
        // Without a width a reset of a few seconds, rounded up, says little: what is taken says more.
        // Where it is near the end of a longer one it says when that ends.
        let is_known = self.stated.is_some_and(|it| is_same(it.quota, quota));
        let is_vague = width.is_none() && reset <= RESET_VAGUE_MAX && !is_known;
        if is_vague {
            return Err(Ignored::Vague);
        }
        if width.is_some_and(|width| reset > width + 1.0) {
            return Err(Ignored::EndsTooLate);
        }
        let bound = now + width.map_or(reset, |width| reset.min(width)) + MARGIN;
        let left = (remaining - f64::from(others)).max(0.0);
        let fresh = Stated {
            quota,
            width: 0.0,
            left,
            edge: bound,
            remaining: remaining as f32,
            sent_at,
            agreed: 0,
            opened_by: NEVER,
        };
        let Some(stated) = &mut self.stated else {
            self.stated = Some(Stated { width: width.unwrap_or(reset.max(1.0)), ..fresh });
            return Ok(false);
        };
        let changed = !is_same(stated.quota, quota);
        let agreed = if changed { 0 } else { stated.agreed.saturating_add(1) };
        if agreed >= AGREED_MIN {
            self.changes = 0;
        }
        self.changes += u8::from(changed);
        if self.changes >= CHANGES_MAX {
            (self.contradictions, self.changes) = (CONTRADICTIONS_MAX, 0);
            return Err(Ignored::Changing);
        }
        // Answers overtake each other, by a few.
        let jump = f64::from(others) + (0.1 * quota).max(2.0);
        let is_new_window = if stated.opened_by > NEVER {
            sent_at >= stated.opened_by
        } else {
            sent_at > stated.sent_at && remaining > f64::from(stated.remaining) + jump
        };
        if changed || is_new_window {
            // Without a policy the longest reset seen is the width.
            let longest = stated.width.max(reset).max(1.0);
            *stated = Stated { width: width.unwrap_or(longest), agreed, ..fresh };
        } else {
            // Answers overtake each other: the least that any of them told is the newest.
            stated.agreed = agreed;
            stated.edge = stated.edge.min(bound);
            stated.remaining = stated.remaining.min(remaining as f32);
            stated.sent_at = stated.sent_at.max(sent_at);
            stated.left = (f64::from(stated.remaining) - f64::from(others)).max(0.0);
        }
        // One statement is none: the second that agrees counts.
        Ok(agreed == 1)
    }

    /// What was taken tells a window's width if it is full again from one answer to the next and the
    /// quota is the same. (One that slides has room for one more, and one more.)
    fn learn_width(&mut self, now: Vague, found: Option<(f64, f64)>) {
        let (quota, remaining) = (f64::from(now.quota), f64::from(now.remaining));
        let before = self.vague.replace(now).filter(|it| is_same(f64::from(it.quota), quota));
        let found = found.filter(|it| is_same(it.0, quota));
        if let (Some(before), Some((quota, width))) = (before, found) {
            let passed = now.sent_at - before.sent_at;
            let is_soon = passed > 0.0 && passed < SOON * width;
            if is_soon && remaining > f64::from(before.remaining) + quota / 2.0 {
                self.learned = Some((quota as f32, width as f32));
            }
        }
    }

    pub(crate) fn sent(&mut self, now: f64) {
        if let Some(stated) = &mut self.stated {
            if now >= stated.edge {
                stated.left = stated.quota;
                // Until an answer says better; the next window begins with this request.
                let width = stated.width.min(COOL_DOWN_MAX.as_secs_f64());
                stated.edge = now + width + 1.0;
                stated.opened_by = now;
            }
            stated.left -= 1.0;
        }
    }

    /// A refusal; true if it contradicts what was stated.
    pub(crate) fn refused(&mut self, advice: &Advice, sent_at: f64, now: f64) -> bool {
        let contradictory = match self.believed() {
            // One or two too many at the edge of a window are a matter of clocks.
            Some(stated) => sent_at < stated.edge && stated.left > 2.0_f64.max(stated.quota * 0.05),
            None => return false,
        };
        if contradictory {
            self.contradictions += 1;
        } else if let Some(stated) = &mut self.stated {
            stated.left = 0.0;
            let wait = advice.retry_after.or(advice.reset_after).map(|wait| wait.as_secs_f64());
            let wait = wait.unwrap_or(1.0).min(COOL_DOWN_MAX.as_secs_f64());
            let bound = now + wait.min(stated.width + 1.0) + MARGIN;
            stated.edge = if now >= stated.edge { bound } else { stated.edge.min(bound) };
        }
        contradictory
    }

    pub(crate) fn grant(&self, now: f64) -> Grant {
        let Some(stated) = self.believed() else { return Grant::Silent };
        if now >= stated.edge {
            return Grant::Within(None);
        }
        if stated.left < 1.0 {
            return Grant::At(stated.edge);
        }
        let width = stated.width;
        let spread = width > SPENT_AT_ONCE_MAX && stated.left < stated.quota / 2.0;
        Grant::Within(spread.then(|| stated.left / (stated.edge - now).max(0.001)))
    }
}

fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() < 1.0
}
