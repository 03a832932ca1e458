//! From a source's definition and what people asked for to its grid.

use jiff::{Span, Timestamp, civil::Date};
use model::grid::Grid;
use source::Source;
use state::{BackfillRow, SourceRow};

/// How far a grid reaches beyond the present day.
const HORIZON_DAYS: i32 = 45;
/// When less than this is left of it, it is extended.
const HORIZON_LEFT_DAYS: i32 = 15;

/// The days a grid covers: from the source's start to the horizon, and what was backfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// The first day asked for.
    pub from: Date,
    /// The last day planned for.
    pub until: Date,
    /// Earlier ranges that were asked for, both ends included.
    pub backfills: Vec<(Date, Date)>,
}

impl Ranges {
    /// The ranges of a source at `now`.
    ///
    /// The start is `[periods] from`, or the first pair of a file of pairs, or what the state remembers from the first run, or the
    /// newest period that is closed at `now`: history is not bought without being asked for.
    pub fn of(
        source: &Source,
        row: Option<&SourceRow>,
        backfills: &[BackfillRow],
        now: Timestamp,
    ) -> Self {
        let today = now.to_zoned(source.calendar.timezone.clone()).date();
        let from = source
            .from
            .or_else(|| first_listed_pair(source))
            .or_else(|| row.and_then(|row| row.from))
            .or_else(|| source.calendar.last_closed(now))
            .unwrap_or(today);
        let backfills = backfills
            .iter()
            .filter(|wish| wish.source == source.id)
            .map(|wish| (wish.from, wish.until))
            .collect();
        Self { from, until: horizon(today), backfills }
    }

    /// Whether the horizon has come so near that the grid must be extended.
    pub fn is_short(&self, today: Date) -> bool {
        today
            .checked_add(Span::new().days(HORIZON_LEFT_DAYS))
            .is_ok_and(|needed| needed > self.until)
    }
}

fn first_listed_pair(source: &Source) -> Option<Date> {
    source.pairs.as_ref()?.iter().filter_map(|(_, period)| period.date()).min()
}

/// The last day planned for on `today`.
pub fn horizon(today: Date) -> Date {
    today.checked_add(Span::new().days(HORIZON_DAYS)).unwrap_or(Date::MAX)
}

/// The grid of a source over its ranges.
pub fn grid_of(source: &Source, ranges: &Ranges) -> Grid {
    let mut periods = source.calendar.periods(ranges.from, ranges.until);
    for (from, until) in &ranges.backfills {
        periods.extend(source.calendar.periods(*from, *until));
    }
    periods.sort_by_key(|row| (row.closes_at, row.period));
    periods.dedup_by_key(|row| row.period);
    match &source.pairs {
        None => Grid::new(source.entities.to_vec(), periods),
        Some(pairs) => {
            let ordinals: std::collections::BTreeMap<_, u32> = periods
                .iter()
                .enumerate()
                .map(|(ordinal, row)| (row.period, ordinal as u32))
                .collect();
            let listed = pairs.iter().filter_map(|(entity, period)| {
                ordinals.get(period).map(|ordinal| (*entity, *ordinal))
            });
            Grid::with_pairs(source.entities.to_vec(), periods, listed)
        }
    }
}
