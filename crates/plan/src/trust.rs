//! How far a cheap look is trusted, by what the paid calls after it found.
//!
//! For each of its two words the share of right answers is estimated as the mean of a Beta
//! distribution (Laplace's rule with a prior in favour of the look). Evidence is capped, so that a
//! look that was right for a year and then begins to lie is not trusted for another.

use serde::{Deserialize, Serialize};

/// Beneath this share of right answers a look is not used.
pub const TRUST_MIN: f64 = 0.5;
/// The weight of the prior: right and wrong answers.
const PRIOR: [f64; 2] = [2.0, 0.5];
/// The most evidence that is kept of one word.
const EVIDENCE_MAX: f64 = 20.0;
/// So many answers in a row that tell nothing, and the look is no use.
const SILENT_MAX: u32 = 8;
/// Of what a distrusted look did, this share is kept from one day to the next, so that it is
/// tried again in the end.
const KEPT_A_DAY: f64 = 0.9;

/// What is known of one kind of look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    there: Word,
    not_there: Word,
    /// Answers in a row that told nothing.
    silent: u32,
    /// Answers in all that told nothing.
    pub unknown: u64,
    /// Paid calls that were made to see whether "not there" is right.
    pub audits: u64,
}

/// What became of one of the two words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Word {
    right: f64,
    wrong: f64,
    /// How often it was found right.
    pub rights: u64,
    /// How often it was found wrong.
    pub lies: u64,
}

impl Word {
    fn judge(&mut self, is_right: bool) {
        let counted = if is_right { &mut self.right } else { &mut self.wrong };
        *counted += 1.0;
        let counted = if is_right { &mut self.rights } else { &mut self.lies };
        *counted += 1;
        let kept = (EVIDENCE_MAX / (self.right + self.wrong)).min(1.0);
        self.right *= kept;
        self.wrong *= kept;
    }

    fn share(&self) -> f64 {
        let [right, wrong] = PRIOR;
        (self.right + right) / (self.right + self.wrong + right + wrong)
    }

    fn fade(&mut self) {
        self.right *= KEPT_A_DAY;
        self.wrong *= KEPT_A_DAY;
    }
}

impl Trust {
    /// A paid call found data, or none, after the look had said that there is.
    pub fn said_there(&mut self, was_there: bool) {
        self.there.judge(was_there);
    }

    /// A paid call found data, or none, right after the look had said that there is none.
    pub fn said_not_there(&mut self, was_there: bool) {
        self.not_there.judge(!was_there);
    }

    /// The look answered, and whether that told anything.
    pub fn answered(&mut self, told: bool) {
        self.silent = if told { 0 } else { self.silent.saturating_add(1) };
        self.unknown += u64::from(!told);
    }

    /// Whether a "not there" should be checked by a paid call: now and then, and less often the
    /// more was seen. `arrived` counts the cells that came.
    pub fn wants_audit(&self, arrived: u64) -> bool {
        self.audits < 1 + arrived / 50 && self.not_there.share() < 0.95
    }

    /// How probable it is that "there" is right.
    pub fn there_is_right(&self) -> f64 {
        self.there.share()
    }

    /// How probable it is that "not there" is right.
    pub fn not_there_is_right(&self) -> f64 {
        self.not_there.share()
    }

    /// What became of "there".
    pub fn there(&self) -> &Word {
        &self.there
    }

    /// What became of "not there".
    pub fn not_there(&self) -> &Word {
        &self.not_there
    }

    /// Whether the look is worth its price.
    pub fn is_trusted(&self) -> bool {
        self.silent < SILENT_MAX
            && self.there_is_right() >= TRUST_MIN
            && self.not_there_is_right() >= TRUST_MIN
    }

    /// A day went by. What is not used cannot prove itself: old evidence fades.
    pub fn day_passed(&mut self) {
        if !self.is_trusted() {
            self.there.fade();
            self.not_there.fade();
            self.silent /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_cries_wolf_is_soon_not_believed() {
        let mut trust = Trust::default();
        assert!(trust.is_trusted(), "everybody begins with some credit");
        let lies = (1..10).find(|_| {
            trust.said_there(false);
            !trust.is_trusted()
        });
        assert_eq!(lies, Some(2));
    }

    #[test]
    fn a_look_that_keeps_silent_about_data_is_not_believed_either() {
        let mut trust = Trust::default();
        for _ in 0..1_000 {
            trust.said_there(true);
            trust.said_not_there(false);
        }
        assert!(trust.is_trusted());
        let lies = (1..100).find(|_| {
            trust.said_not_there(true);
            !trust.is_trusted()
        });
        assert!(lies.is_some_and(|lies| lies <= 25), "{lies:?}");
        assert_eq!(trust.not_there().lies, lies.unwrap_or(0));
    }

    #[test]
    fn what_is_not_believed_is_tried_again_after_some_days() {
        let mut trust = Trust::default();
        for _ in 0..4 {
            trust.said_there(false);
        }
        let days = (1..100).find(|_| {
            trust.day_passed();
            trust.is_trusted()
        });
        assert!(days.is_some_and(|days| (3..30).contains(&days)), "{days:?}");
    }

    #[test]
    fn a_look_that_never_tells_anything_is_dropped() {
        let mut trust = Trust::default();
        (0..SILENT_MAX).for_each(|_| trust.answered(false));
        assert!(!trust.is_trusted());
        trust.answered(true);
        assert!(trust.is_trusted());
    }

    #[test]
    fn audits_are_few() {
        let mut trust = Trust::default();
        let audits = (0..500)
            .filter(|arrived| {
                let audit = trust.wants_audit(*arrived);
                if audit {
                    trust.audits += 1;
                    trust.said_not_there(false);
                }
                audit
            })
            .count();
        assert!((5..=11).contains(&audits), "{audits}");
    }
}
