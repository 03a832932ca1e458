//! Money: no budget of a day, month or period is exceeded at any time, and the books add up to what was spent.

use super::{Checked, broken};
use jiff::civil::Date;
use model::{Budget, CellKey, Money, Period, SourceId};
use state::SpendRow;
use std::collections::BTreeMap;

/// What may be spent.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    /// By source.
    pub sources: BTreeMap<SourceId, Budget>,
    /// By all sources together.
    pub project: Budget,
    /// What the cells of each period cost, by the ledger.
    pub periods: BTreeMap<(SourceId, Period), Money>,
}

impl Budgets {
    /// Looks at what was spent.
    ///
    /// # Errors
    /// Some day or month cost more than it may.
    pub fn check(&self, spend: &[SpendRow]) -> Checked {
        let mut days: BTreeMap<Date, Money> = BTreeMap::new();
        let mut months: BTreeMap<Date, Money> = BTreeMap::new();
        let mut months_of: BTreeMap<(&SourceId, Date), Money> = BTreeMap::new();
        for row in spend {
            let month = row.day.first_of_month();
            *days.entry(row.day).or_default() += row.spent;
            *months.entry(month).or_default() += row.spent;
            *months_of.entry((&row.source, month)).or_default() += row.spent;
            let limit = self.sources.get(&row.source).and_then(|budget| budget.per_day);
            within(limit, row.spent, || format!("`{}` on {}", row.source, row.day))?;
        }
        for ((source, month), spent) in months_of {
            let limit = self.sources.get(source).and_then(|budget| budget.per_month);
            within(limit, spent, || format!("`{source}` in the month of {month}"))?;
        }
        for (day, spent) in days {
            within(self.project.per_day, spent, || format!("all on {day}"))?;
        }
        for (month, spent) in months {
            within(self.project.per_month, spent, || format!("all in the month of {month}"))?;
        }
        Ok(())
    }

    /// An attempt of the ledger.
    ///
    /// # Errors
    /// Its period cost more than it may.
    pub fn booked(&mut self, cell: &CellKey, cost: Money) -> Checked {
        let spent = self.periods.entry((cell.source.clone(), cell.period)).or_default();
        *spent += cost;
        let limit = self.sources.get(&cell.source).and_then(|budget| budget.per_period);
        within(limit, *spent, || format!("`{}` for {}", cell.source, cell.period))
    }
}

fn within(limit: Option<Money>, spent: Money, who: impl FnOnce() -> String) -> Checked {
    match limit {
        Some(limit) if spent > limit => {
            broken("budgets are kept", format!("{} spent {spent} of {limit}", who()))
        }
        _ => Ok(()),
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
