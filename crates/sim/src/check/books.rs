//! Money: no budget is exceeded at any time, and the books add up to what was spent.

use super::{Checked, broken};
use jiff::civil::Date;
use model::{Money, SourceId};
use state::SpendRow;
use std::collections::BTreeMap;

/// What may be spent in a day (UTC).
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    /// By source; those without a budget are missing.
    pub sources: BTreeMap<SourceId, Money>,
    /// By all sources together.
    pub project: Option<Money>,
}

impl Budgets {
    /// Looks at what was spent.
    ///
    /// # Errors
    /// Some day cost more than it may.
    pub fn check(&self, spend: &[SpendRow]) -> Checked {
        let mut days: BTreeMap<Date, Money> = BTreeMap::new();
        for row in spend {
            *days.entry(row.day).or_default() += row.spent;
            if let Some(limit) = self.sources.get(&row.source)
                && row.spent > *limit
            {
                return broken(
                    "budgets are kept",
                    format!("`{}` spent {} of {limit} on {}", row.source, row.spent, row.day),
                );
            }
        }
        let Some(limit) = self.project else { return Ok(()) };
        match days.iter().find(|(_, spent)| **spent > limit) {
            Some((day, spent)) => {
                broken("budgets are kept", format!("{spent} of {limit} were spent on {day}"))
            }
            None => Ok(()),
        }
    }
}

/// What the ledger's attempts cost, by day and source.
#[derive(Debug, Default)]
pub struct Spent {
    booked: BTreeMap<(Date, SourceId), (u64, Money)>,
}

impl Spent {
    /// An attempt of the ledger.
    pub fn book(&mut self, day: Date, source: SourceId, cost: Money) {
        let (requests, spent) = self.booked.entry((day, source)).or_default();
        *requests += 1;
        *spent += cost;
    }

    /// Compares with what the state says at the end.
    ///
    /// # Errors
    /// They differ.
    pub fn equals(&self, spend: &[SpendRow]) -> Checked {
        let known: BTreeMap<(Date, SourceId), (u64, Money)> = spend
            .iter()
            .map(|row| ((row.day, row.source.clone()), (row.requests, row.spent)))
            .collect();
        if known == self.booked {
            return Ok(());
        }
        let of = |books: &BTreeMap<(Date, SourceId), (u64, Money)>, key: &(Date, SourceId)| {
            books.get(key).map_or_else(
                || "nothing".to_owned(),
                |(requests, spent)| format!("{requests} requests for {spent}"),
            )
        };
        let differs = known
            .keys()
            .chain(self.booked.keys())
            .find(|key| known.get(key) != self.booked.get(key));
        let Some(key) = differs else { return Ok(()) };
        broken(
            "spend is the sum of the ledger",
            format!(
                "on {} `{}` spent {} by the state, {} by the ledger",
                key.0,
                key.1,
                of(&known, key),
                of(&self.booked, key)
            ),
        )
    }
}
