//! What a source expects: entities times periods, computed and never stored whole.
//!
//! A cell is expected when its period lies inside the entity's listing interval and, where a file
//! of pairs says what is covered, when the pair is in that file. An interval grid keeps two
//! numbers an entity; a grid of pairs keeps one bit a cell.

use crate::{calendar::PeriodRow, cause::Cause, name::Entity, period::Period};
use jiff::{Timestamp, civil::Date};
use std::{mem::discriminant, ops::Range};

/// An entity and when it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityRow {
    /// The entity.
    pub entity: Entity,
    /// The first day on which data is expected; `None`: always.
    pub listed_from: Option<Date>,
    /// The last day on which data is expected; `None`: for ever.
    pub listed_until: Option<Date>,
}

/// A cell by the positions of its entity and period in one [`Grid`]; means nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellOrdinal {
    /// Position in [`Grid::entities`].
    pub entity: u32,
    /// Position in [`Grid::periods`].
    pub period: u32,
}

/// The expected cells of one source.
#[derive(Debug, Clone)]
pub struct Grid {
    entities: Vec<EntityRow>,
    /// Positions in `entities`, ascending by entity.
    entities_by_name: Vec<u32>,
    /// Ascending by `closes_at`, then by period.
    periods: Vec<PeriodRow>,
    /// Positions in `periods`, ascending by period.
    periods_by_name: Vec<u32>,
    cover: Cover,
}

/// Which cells are expected.
#[derive(Debug, Clone)]
enum Cover {
    /// The periods of each entity are contiguous.
    Intervals(Vec<Range<u32>>),
    /// One bit a cell, one row of `words` an entity.
    Bits { words: usize, bits: Vec<u64> },
}

impl Grid {
    /// A grid in which each entity has all periods of its listing interval.
    ///
    /// Periods may come in any order; what is named twice counts once, by its first row.
    pub fn new(entities: Vec<EntityRow>, periods: Vec<PeriodRow>) -> Self {
        let mut grid = Self::index(entities, periods).0;
        grid.cover = grid.listing_cover();
        grid
    }

    /// A grid in which only the listed pairs (positions in `entities` and in `periods` as handed
    /// in) are expected, and of these only what lies inside the listing interval.
    ///
    /// # Panics
    /// When a pair names a position that does not exist.
    pub fn with_pairs(
        entities: Vec<EntityRow>,
        periods: Vec<PeriodRow>,
        pairs: impl Iterator<Item = (u32, u32)>,
    ) -> Self {
        let (mut grid, entity_at, period_at) = Self::index(entities, periods);
        let words = grid.periods.len().div_ceil(64);
        let mut bits = vec![0; words * grid.entities.len()];
        for (entity, period) in pairs {
            let (entity, period) = (entity_at[entity as usize], period_at[period as usize]);
            if grid.is_listed(entity, period) {
                bits[entity as usize * words + period as usize / 64] |= 1 << (period % 64);
            }
        }
        grid.cover = Cover::Bits { words, bits };
        grid
    }

    /// Sorts, drops what is named twice, and says where each handed-in row went.
    fn index(entities: Vec<EntityRow>, periods: Vec<PeriodRow>) -> (Self, Vec<u32>, Vec<u32>) {
        let (entities_kept, entity_at) = first_of_each(&entities, |row| &row.entity);
        let entities: Vec<_> = keep(entities, &entities_kept);

        let mut order: Vec<(PeriodRow, u32)> = periods.into_iter().zip(0..).collect();
        order.sort_by_key(|(row, _)| (row.closes_at, row.period));
        let sorted: Vec<_> = order.iter().map(|(row, _)| *row).collect();
        let (periods_kept, sorted_at) = first_of_each(&sorted, |row| &row.period);
        let mut period_at = vec![0; order.len()];
        for ((_, handed_in), at) in order.iter().zip(sorted_at) {
            period_at[*handed_in as usize] = at;
        }
        let periods: Vec<_> = keep(sorted, &periods_kept);

        let mut grid = Self {
            entities_by_name: (0..entities.len() as u32).collect(),
            periods_by_name: (0..periods.len() as u32).collect(),
            entities,
            periods,
            cover: Cover::Intervals(Vec::new()),
        };
        grid.entities_by_name.sort_by_key(|at| &grid.entities[*at as usize].entity);
        grid.periods_by_name.sort_by_key(|at| grid.periods[*at as usize].period);
        (grid, entity_at, period_at)
    }

    /// The cover by listing intervals alone.
    fn listing_cover(&self) -> Cover {
        let dates: Vec<_> = self.periods.iter().map(|row| row.period.date()).collect();
        let all = 0..self.periods.len() as u32;
        if dates.iter().all(Option::is_none) {
            return Cover::Intervals(vec![all; self.entities.len()]);
        }
        if dates.is_sorted() && dates.iter().all(Option::is_some) {
            let interval = |row: &EntityRow| {
                let start = dates.partition_point(|date| *date < row.listed_from);
                let end = row
                    .listed_until
                    .map_or(dates.len(), |last| dates.partition_point(|date| *date <= Some(last)));
                start as u32..end.max(start) as u32
            };
            return Cover::Intervals(self.entities.iter().map(interval).collect());
        }
        // Kinds of periods are mixed, and their first days do not ascend with their closings.
        let words = self.periods.len().div_ceil(64);
        let mut bits = vec![0; words * self.entities.len()];
        for entity in 0..self.entities.len() as u32 {
            for period in all.clone().filter(|period| self.is_listed(entity, *period)) {
                bits[entity as usize * words + period as usize / 64] |= 1 << (period % 64);
            }
        }
        Cover::Bits { words, bits }
    }

    /// Whether the period begins inside the entity's listing interval; `once` always does.
    fn is_listed(&self, entity: u32, period: u32) -> bool {
        let row = &self.entities[entity as usize];
        listing_absence(row, self.periods[period as usize].period).is_none()
    }

    /// All entities, in the order in which they were handed in.
    pub fn entities(&self) -> &[EntityRow] {
        &self.entities
    }

    /// All periods, ascending by `closes_at`.
    pub fn periods(&self) -> &[PeriodRow] {
        &self.periods
    }

    /// Where an entity stands.
    pub fn entity_ordinal(&self, entity: &Entity) -> Option<u32> {
        let found = self
            .entities_by_name
            .binary_search_by_key(&entity, |at| &self.entities[*at as usize].entity);
        found.ok().map(|at| self.entities_by_name[at])
    }

    /// Where a period stands.
    pub fn period_ordinal(&self, period: Period) -> Option<u32> {
        let found = self
            .periods_by_name
            .binary_search_by_key(&period, |at| self.periods[*at as usize].period);
        found.ok().map(|at| self.periods_by_name[at])
    }

    /// Where a cell stands, be it expected or not; `None` when its entity or period is unknown.
    pub fn ordinal(&self, entity: &Entity, period: Period) -> Option<CellOrdinal> {
        let (entity, period) = (self.entity_ordinal(entity)?, self.period_ordinal(period)?);
        Some(CellOrdinal { entity, period })
    }

    /// Where a cell stands that stood at `before` in this grid or in an earlier one.
    pub fn locate(
        &self,
        entity: &Entity,
        period: Period,
        before: CellOrdinal,
    ) -> Option<CellOrdinal> {
        let is_there = |row: &EntityRow| row.entity == *entity;
        let is_then = |row: &PeriodRow| row.period == period;
        let stands = self.entities.get(before.entity as usize).is_some_and(is_there)
            && self.periods.get(before.period as usize).is_some_and(is_then);
        if stands { Some(before) } else { self.ordinal(entity, period) }
    }

    /// Whether the cell is expected; not so for an ordinal outside the grid.
    pub fn expects(&self, cell: CellOrdinal) -> bool {
        if cell.period as usize >= self.periods.len() {
            return false;
        }
        match &self.cover {
            Cover::Intervals(intervals) => intervals
                .get(cell.entity as usize)
                .is_some_and(|interval| interval.contains(&cell.period)),
            Cover::Bits { words, bits } => bits
                .get(cell.entity as usize * words + cell.period as usize / 64)
                .is_some_and(|word| word >> (cell.period % 64) & 1 == 1),
        }
    }

    /// How many cells are expected.
    pub fn expected(&self) -> u64 {
        self.expected_before(self.periods.len() as u32)
    }

    /// How many cells are expected whose period is due at `now`.
    pub fn expected_due(&self, now: Timestamp) -> u64 {
        self.expected_before(self.due_periods(now))
    }

    /// How many periods are due at `now`: these are the first ones.
    pub fn due_periods(&self, now: Timestamp) -> u32 {
        self.periods.partition_point(|row| row.closes_at <= now) as u32
    }

    /// How many cells are expected in the first `end` periods, counted without visiting them.
    fn expected_before(&self, end: u32) -> u64 {
        match &self.cover {
            Cover::Intervals(intervals) => intervals
                .iter()
                .map(|interval| u64::from(interval.end.min(end).saturating_sub(interval.start)))
                .sum(),
            Cover::Bits { words: 0, .. } => 0,
            Cover::Bits { words, bits } => {
                let (whole, rest) = (end as usize / 64, end % 64);
                let count = |row: &[u64]| {
                    let ones: u32 = row[..whole].iter().map(|word| word.count_ones()).sum();
                    let part = row.get(whole).map_or(0, |word| word & ((1 << rest) - 1));
                    u64::from(ones + part.count_ones())
                };
                bits.chunks_exact(*words).map(count).sum()
            }
        }
    }

    /// How many cells are expected in each period, in the order of [`Grid::periods`].
    pub fn expected_by_period(&self) -> Vec<u32> {
        let mut counts = vec![0_u32; self.periods.len()];
        match &self.cover {
            Cover::Intervals(intervals) => {
                // One step up where an interval begins, one down behind its end.
                let mut steps = vec![0_i64; self.periods.len() + 1];
                for interval in intervals {
                    steps[interval.start as usize] += 1;
                    steps[interval.end as usize] -= 1;
                }
                let mut level = 0;
                for (count, step) in counts.iter_mut().zip(steps) {
                    level += step;
                    *count = level as u32;
                }
            }
            Cover::Bits { words: 0, .. } => {}
            Cover::Bits { words, bits } => {
                for (at, word) in bits.iter().enumerate() {
                    let mut word = *word;
                    while word != 0 {
                        counts[at % words * 64 + word.trailing_zeros() as usize] += 1;
                        word &= word - 1;
                    }
                }
            }
        }
        counts
    }

    /// Why a cell is not in the grid; `None` when it is.
    ///
    /// The listing interval speaks before the calendar: a Sunday before the listing is
    /// `not_yet_listed`. A period outside the grid's range, or of a kind the grid does not have, is
    /// `not_covered`.
    pub fn absence(&self, entity: &Entity, period: Period) -> Option<Cause> {
        let Some(at) = self.entity_ordinal(entity) else { return Some(Cause::NotCovered) };
        if let Some(cause) = listing_absence(&self.entities[at as usize], period) {
            return Some(cause);
        }
        let Some(period_at) = self.period_ordinal(period) else {
            return Some(if self.spans(period) {
                Cause::CalendarClosed
            } else {
                Cause::NotCovered
            });
        };
        let cell = CellOrdinal { entity: at, period: period_at };
        (!self.expects(cell)).then_some(Cause::NotCovered)
    }

    /// Whether the period lies between two periods of its kind.
    fn spans(&self, period: Period) -> bool {
        let at =
            self.periods_by_name.partition_point(|at| self.periods[*at as usize].period < period);
        let is_same_kind =
            |at: &u32| discriminant(&self.periods[*at as usize].period) == discriminant(&period);
        let (before, after) = self.periods_by_name.split_at(at);
        before.iter().any(is_same_kind) && after.iter().any(is_same_kind)
    }
}

/// Why the listing interval does not have the period; `once` and whatever has no date it has.
fn listing_absence(row: &EntityRow, period: Period) -> Option<Cause> {
    let date = period.date()?;
    if row.listed_from.is_some_and(|first| date < first) {
        Some(Cause::NotYetListed)
    } else if row.listed_until.is_some_and(|last| date > last) {
        Some(Cause::Delisted)
    } else {
        None
    }
}

/// The positions of the first row of each key, ascending, and for each row the rank of the kept
/// row with its key.
fn first_of_each<T, K: Ord>(rows: &[T], key: impl Fn(&T) -> &K) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by_key(|at| key(&rows[*at as usize]));
    // For each row the first row of its key: the sort is stable, so it leads its run.
    let mut first: Vec<u32> = (0..rows.len() as u32).collect();
    for pair in 1..order.len() {
        let (left, right) = (order[pair - 1] as usize, order[pair] as usize);
        if key(&rows[left]) == key(&rows[right]) {
            first[right] = first[left];
        }
    }
    let kept: Vec<u32> = (0..rows.len() as u32).filter(|at| first[*at as usize] == *at).collect();
    let rank = |at: &u32| kept.partition_point(|other| other < at) as u32;
    let ranks = first.iter().map(rank).collect();
    (kept, ranks)
}

/// The rows at the given ascending positions.
fn keep<T>(rows: Vec<T>, positions: &[u32]) -> Vec<T> {
    let mut wanted = positions.iter().copied().peekable();
    let is_wanted = |at: u32| wanted.next_if_eq(&at).is_some();
    let flags: Vec<bool> = (0..rows.len() as u32).map(is_wanted).collect();
    rows.into_iter().zip(flags).filter_map(|(row, wanted)| wanted.then_some(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{Calendar, CalendarSpec};
    use jiff::{SignedDuration, ToSpan, civil::date, tz::TimeZone};
    use proptest::prelude::*;

    fn entity(name: &str) -> Entity {
        Entity::parse(name).unwrap()
    }

    fn period(text: &str) -> Period {
        Period::parse(text).unwrap()
    }

    /// An entity listed on some days of March 2026; 0 stands for an open end.
    fn listed(name: &str, from: i8, until: i8) -> EntityRow {
        let day = |day| (day > 0).then(|| date(2026, 3, day));
        EntityRow { entity: entity(name), listed_from: day(from), listed_until: day(until) }
    }

    fn rows(calendar: Calendar) -> Vec<PeriodRow> {
        let due_after = SignedDuration::ZERO;
        let spec = CalendarSpec { calendar, timezone: TimeZone::UTC, closes_at: None, due_after };
        spec.periods(date(2026, 3, 1), date(2026, 3, 31))
    }

    fn rows_of(periods: &[&str]) -> Vec<PeriodRow> {
        rows(Calendar::pairs(periods.iter().map(|text| period(text))))
    }

    /// The expected cells, as `entity period`.
    fn cells(grid: &Grid) -> Vec<String> {
        let all = (0..grid.entities().len() as u32).flat_map(|entity| {
            (0..grid.periods().len() as u32).map(move |period| CellOrdinal { entity, period })
        });
        all.filter(|cell| grid.expects(*cell))
            .map(|cell| {
                let entity = &grid.entities()[cell.entity as usize].entity;
                format!("{entity} {}", grid.periods()[cell.period as usize].period)
            })
            .collect()
    }

    #[test]
    fn listing_days_are_both_included() {
        let grid = Grid::new(vec![listed("A", 30, 0), listed("B", 2, 3)], rows(Calendar::Daily));
        assert_eq!(cells(&grid), ["A 2026-03-30", "A 2026-03-31", "B 2026-03-02", "B 2026-03-03"]);
        assert_eq!(grid.expected(), 4);
        assert_eq!(grid.expected_due("2026-03-03T00:00:00Z".parse().unwrap()), 1);
    }

    #[test]
    fn an_interval_that_ends_before_it_begins_is_empty() {
        let grid = Grid::new(vec![listed("A", 9, 8)], rows(Calendar::Daily));
        assert_eq!(grid.expected(), 0);
        assert_eq!(grid.expected_by_period(), [0; 31]);
    }

    #[test]
    fn once_ignores_listing_days() {
        let grid = Grid::new(vec![listed("A", 9, 8)], rows(Calendar::Once));
        assert_eq!(cells(&grid), ["A once"]);
        assert_eq!(grid.expected_due(Timestamp::UNIX_EPOCH), 1);
        assert_eq!(grid.absence(&entity("A"), Period::Once), None);
    }

    #[test]
    fn a_cell_that_is_not_in_the_grid_has_a_reason() {
        let grid = Grid::new(vec![listed("A", 10, 20)], rows(Calendar::Weekdays));
        let absence = |name, text| grid.absence(&entity(name), period(text));
        assert_eq!(absence("A", "2026-03-10"), None);
        assert_eq!(absence("A", "2026-03-09"), Some(Cause::NotYetListed));
        assert_eq!(absence("A", "2026-03-08"), Some(Cause::NotYetListed));
        assert_eq!(absence("A", "2026-03-23"), Some(Cause::Delisted));
        assert_eq!(absence("A", "2026-03-14"), Some(Cause::CalendarClosed));
        assert_eq!(absence("B", "2026-03-10"), Some(Cause::NotCovered));
        assert_eq!(absence("A", "once"), Some(Cause::NotCovered));
        let open = Grid::new(vec![listed("A", 0, 0)], rows(Calendar::Weekdays));
        assert_eq!(open.absence(&entity("A"), period("2026-04-01")), Some(Cause::NotCovered));
        assert_eq!(open.absence(&entity("A"), period("2026-W11")), Some(Cause::NotCovered));
    }

    #[test]
    fn only_listed_pairs_are_expected() {
        let periods = rows_of(&["2026-03-02", "2026-03-03"]);
        let entities = vec![listed("A", 0, 0), listed("B", 3, 0)];
        let grid = Grid::with_pairs(entities, periods, [(0, 1), (1, 0), (1, 1)].into_iter());
        assert_eq!(cells(&grid), ["A 2026-03-03", "B 2026-03-03"]);
        assert_eq!(grid.absence(&entity("A"), period("2026-03-02")), Some(Cause::NotCovered));
        assert_eq!(grid.absence(&entity("B"), period("2026-03-02")), Some(Cause::NotYetListed));
    }

    #[test]
    fn what_is_named_twice_counts_once_and_order_does_not_matter() {
        let mut periods = rows_of(&["2026-03-02", "2026-03-03"]);
        periods.reverse();
        periods.push(periods[0]);
        let entities = vec![listed("B", 3, 0), listed("A", 0, 0), listed("B", 0, 0)];
        let grid = Grid::new(entities.clone(), periods.clone());
        assert_eq!(cells(&grid), ["B 2026-03-03", "A 2026-03-02", "A 2026-03-03"]);
        // Positions are those handed in: the third period is the first again, the third entity B.
        let pairs = [(1, 2), (2, 0)];
        let grid = Grid::with_pairs(entities, periods, pairs.into_iter());
        assert_eq!(cells(&grid), ["B 2026-03-03", "A 2026-03-03"]);
    }

    #[test]
    fn kinds_of_periods_may_be_mixed() {
        let periods = rows_of(&["2026-03", "2026-W10", "2026-03-10", "once"]);
        let grid = Grid::new(vec![listed("A", 2, 0), listed("B", 0, 5)], periods);
        let expected =
            ["A once", "A 2026-W10", "A 2026-03-10", "B once", "B 2026-W10", "B 2026-03"];
        assert_eq!(cells(&grid), expected);
        assert_eq!(grid.expected(), 6);
        assert_eq!(grid.expected_due("2026-03-09T00:00:00Z".parse().unwrap()), 4);
    }

    #[test]
    fn an_empty_grid_expects_nothing() {
        for grid in [
            Grid::new(Vec::new(), Vec::new()),
            Grid::new(vec![listed("A", 0, 0)], Vec::new()),
            Grid::with_pairs(vec![listed("A", 0, 0)], Vec::new(), std::iter::empty()),
        ] {
            assert_eq!((grid.expected(), grid.expected_due(Timestamp::MAX)), (0, 0));
            assert!(!grid.expects(CellOrdinal { entity: 0, period: 0 }));
            assert!(grid.expected_by_period().is_empty());
        }
    }

    fn any_grid() -> impl Strategy<Value = Grid> {
        let entities = proptest::collection::vec((0_i8..=31, 0_i8..=31), 0..6);
        let pairs = proptest::option::of(proptest::collection::vec((0_u32..6, 0_u32..150), 0..90));
        (entities, 0_i64..150, pairs).prop_map(|(entities, days, pairs)| {
            let name = |(at, (from, until))| listed(&format!("E{at}"), from, until);
            let entities: Vec<_> = entities.into_iter().enumerate().map(name).collect();
            let due_after = SignedDuration::ZERO;
            let timezone = TimeZone::UTC;
            let calendar = Calendar::Daily;
            let spec = CalendarSpec { calendar, timezone, closes_at: None, due_after };
            let last = date(2026, 2, 1).checked_add(days.days()).unwrap();
            let periods = spec.periods(date(2026, 2, 2), last);
            let Some(pairs) = pairs else { return Grid::new(entities, periods) };
            let (height, width) = (entities.len() as u32, periods.len() as u32);
            let pairs = pairs.into_iter().filter(|(e, p)| *e < height && *p < width);
            Grid::with_pairs(entities, periods, pairs)
        })
    }

    proptest! {
        #[test]
        fn counting_agrees_with_visiting_each_cell(grid in any_grid(), day in 0_i64..160) {
            let now = "2026-02-02T00:00:00Z".parse::<Timestamp>().unwrap() + (day * 24).hours();
            let (mut expected, mut due) = (0, 0);
            let mut by_period = vec![0; grid.periods().len()];
            for entity in 0..grid.entities().len() as u32 {
                for period in 0..grid.periods().len() as u32 {
                    let row = grid.periods()[period as usize];
                    let is_expected = grid.expects(CellOrdinal { entity, period });
                    let name = &grid.entities()[entity as usize].entity;
                    prop_assert_eq!(is_expected, grid.absence(name, row.period).is_none());
                    let cell = CellOrdinal { entity, period };
                    prop_assert_eq!(grid.ordinal(name, row.period), Some(cell));
                    expected += u64::from(is_expected);
                    due += u64::from(is_expected && row.closes_at <= now);
                    by_period[period as usize] += u32::from(is_expected);
                }
            }
            prop_assert_eq!(grid.expected(), expected);
            prop_assert_eq!(grid.expected_due(now), due);
            prop_assert_eq!(grid.expected_by_period(), by_period);
        }
    }
}
