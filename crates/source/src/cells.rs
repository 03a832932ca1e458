//! The expected cells of a source.

use crate::spec::Source;
use jiff::civil::Date;
use model::{Grid, Period, PeriodRow};
use std::collections::BTreeMap;

/// The grid of a source between two days, both included, but not before the source's own first day.
pub fn grid(source: &Source, from: Date, until: Date) -> Grid {
    let from = source.from.map_or(from, |first| first.max(from));
    let periods = source.calendar.periods(from, until);
    let entities = source.entities.to_vec();
    let Some(pairs) = &source.pairs else {
        return Grid::new(entities, periods);
    };
    let index: BTreeMap<Period, u32> =
        periods.iter().map(|row: &PeriodRow| row.period).zip(0..).collect();
    let pairs = pairs.iter().filter_map(|(entity, period)| Some((*entity, *index.get(period)?)));
    Grid::with_pairs(entities, periods, pairs)
}
