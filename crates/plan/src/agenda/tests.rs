use super::*;
use jiff::{ToSpan, civil::date};
use model::{Entity, EntityRow, Period, PeriodRow};
use proptest::prelude::*;

/// Midnight after so many days; day 0 is before every period's end.
fn day(days: i64) -> Timestamp {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + (days * 24).hours()
}

fn cell(entity: u32, period: u32) -> CellOrdinal {
    CellOrdinal { entity, period }
}

/// Entities by number; an entity is listed from the day of its number on where `staggered`.
fn entities(numbers: Range<u32>, staggered: bool) -> Vec<EntityRow> {
    let row = |number| EntityRow {
        entity: Entity::parse(&format!("E{number}")).unwrap(),
        listed_from: staggered
            .then(|| date(2026, 3, 1).checked_add(i64::from(number % 5).days()).unwrap()),
        listed_until: None,
    };
    numbers.map(row).collect()
}

/// Days by number; the day of number n ends at `day(n + 1)`.
fn periods(numbers: Range<i64>) -> Vec<PeriodRow> {
    let row = |number: i64| PeriodRow {
        period: Period::Day(date(2026, 3, 1).checked_add(number.days()).unwrap()),
        closes_at: day(number + 1),
    };
    numbers.map(row).collect()
}

fn full(entity_count: u32, period_count: i64) -> Agenda {
    Agenda::new(Arc::new(Grid::new(entities(0..entity_count, false), periods(0..period_count))))
}

fn take(agenda: &mut Agenda, now: Timestamp, limit: usize) -> Vec<CellOrdinal> {
    agenda.take_due(now, limit).iter().map(|due| due.ordinal).collect()
}

fn periods_taken(agenda: &mut Agenda, now: Timestamp, limit: usize) -> Vec<u32> {
    take(agenda, now, limit).iter().map(|cell| cell.period).collect()
}

#[test]
fn nothing_is_due_before_its_period_closes() {
    let mut agenda = full(2, 2);
    let moment_before = day(1) - 1.nanosecond();
    assert_eq!(agenda.take_due(moment_before, 9), []);
    assert_eq!(agenda.wake_at(moment_before), Some(day(1)));
    assert!(agenda.due_now_is_empty(moment_before));
    assert_eq!(agenda.due_count(day(1)), 2);
    assert_eq!(periods_taken(&mut agenda, day(1), 9), [0, 0]);
    assert_eq!(agenda.wake_at(day(1)), Some(day(2)));
}

#[test]
fn a_cell_is_open_until_it_is_settled_and_its_appointment_is_known() {
    let mut agenda = full(2, 1);
    let first = cell(0, 0);
    assert!(agenda.is_open(first) && !agenda.is_in_flight(first));
    assert_eq!(agenda.appointment(first), None, "it is fresh");
    take(&mut agenda, day(1), 9);
    assert!(agenda.is_open(first) && agenda.is_in_flight(first));
    agenda.look_at(first, day(2), Priority::Live);
    assert_eq!(agenda.appointment(first), Some((day(2), Priority::Live)));
    assert!(agenda.is_open(first) && !agenda.is_in_flight(first));
    agenda.settle(first);
    assert!(!agenda.is_open(first));
    assert_eq!(agenda.appointment(first), None);
    assert!(!agenda.is_open(cell(7, 0)), "it is not expected");
}

#[test]
fn older_periods_come_first_and_backfill_after_all_live_ones() {
    let mut agenda = full(2, 4);
    agenda.set_backfill(0..2);
    assert_eq!(periods_taken(&mut agenda, day(4), 99), [2, 2, 3, 3, 0, 0, 1, 1]);
}

#[test]
fn a_backfill_in_the_middle_leaves_both_sides_live() {
    let mut agenda = full(1, 4);
    agenda.set_backfill(1..3);
    assert_eq!(periods_taken(&mut agenda, day(4), 99), [0, 3, 1, 2]);
}

#[test]
fn each_period_begins_with_another_entity() {
    let mut agenda = full(100, 50);
    let first: BTreeSet<_> = (0..50).map(|_| take(&mut agenda, day(50), 100)[0].entity).collect();
    assert!(first.len() > 40, "only {} entities ever came first", first.len());
}

#[test]
fn a_look_waits_for_its_time_and_its_priority() {
    let mut agenda = full(1, 3);
    assert_eq!(take(&mut agenda, day(2), 9).len(), 2);
    agenda.look_at(cell(0, 0), day(3), Priority::Probe);
    agenda.look_at(cell(0, 1), day(3) + 1.hour(), Priority::Repair);
    assert_eq!(agenda.wake_at(day(2)), Some(day(3)));
    let due = agenda.take_due(day(4), 9);
    let expected = [
        Due { ordinal: cell(0, 2), priority: Priority::Live },
        Due { ordinal: cell(0, 1), priority: Priority::Repair },
        Due { ordinal: cell(0, 0), priority: Priority::Probe },
    ];
    assert_eq!(due, expected);
}

#[test]
fn a_waiting_cell_can_be_taken_before_its_time_and_only_once() {
    let mut agenda = full(2, 1);
    assert_eq!(agenda.take_early(cell(0, 0)), None, "it has no appointment");
    take(&mut agenda, day(1), 9);
    assert_eq!(agenda.take_early(cell(0, 0)), None, "it is handed out");
    agenda.look_at(cell(0, 0), day(3), Priority::Live);
    let taken = agenda.take_early(cell(0, 0));
    assert_eq!(taken, Some(Due { ordinal: cell(0, 0), priority: Priority::Live }));
    assert!(agenda.is_in_flight(cell(0, 0)));
    assert_eq!(agenda.take_early(cell(0, 0)), None);
    assert_eq!(agenda.take_due(day(4), 9), []);
}

#[test]
fn what_was_put_back_is_due_at_once() {
    let mut agenda = full(1, 1);
    assert_eq!(take(&mut agenda, day(1), 1), [cell(0, 0)]);
    assert_eq!((agenda.in_flight(), agenda.wake_at(day(1))), (1, None));
    assert!(!agenda.due_now_is_empty(day(1)));
    agenda.put_back(cell(0, 0));
    assert_eq!((agenda.in_flight(), agenda.wake_at(day(1))), (0, Some(day(1))));
    assert_eq!(take(&mut agenda, day(1), 1), [cell(0, 0)]);
    agenda.settle(cell(0, 0));
    agenda.put_back(cell(0, 0));
    assert!(agenda.is_finished());
}

#[test]
fn restored_cells_are_not_fresh() {
    let mut agenda = full(3, 1);
    agenda.restore(cell(0, 0), Restored::Settled);
    agenda.restore(cell(1, 0), Restored::LookAt(day(5), Priority::Live));
    assert_eq!(take(&mut agenda, day(1), 9), [cell(2, 0)]);
    assert!(!agenda.is_finished());
    assert_eq!(take(&mut agenda, day(5), 9), [cell(1, 0)]);
}

#[test]
fn a_settled_cell_opens_again() {
    let mut agenda = full(1, 1);
    agenda.restore(cell(0, 0), Restored::Settled);
    assert!(agenda.is_finished());
    agenda.look_at(cell(0, 0), day(1), Priority::Repair);
    assert_eq!(take(&mut agenda, day(1), 9), [cell(0, 0)]);
}

#[test]
fn cells_outside_the_grid_are_ignored() {
    let grid = Grid::new(entities(0..2, true), periods(0..2));
    let mut agenda = Agenda::new(Arc::new(grid));
    for outside in [cell(1, 0), cell(2, 0), cell(0, 2), cell(u32::MAX, u32::MAX)] {
        agenda.look_at(outside, day(0), Priority::Live);
        agenda.restore(outside, Restored::Settled);
        agenda.put_back(outside);
    }
    assert_eq!(agenda.due_count(day(9)), 3);
    assert_eq!(agenda.wake_at(day(0)), Some(day(1)));
    assert_eq!(take(&mut agenda, day(9), 9).len(), 3);
}

#[test]
fn a_clock_stepped_backwards_hands_nothing_out_twice() {
    let mut agenda = full(2, 3);
    assert_eq!(take(&mut agenda, day(3), 3).len(), 3);
    assert_eq!(take(&mut agenda, day(1), 9).len(), 0);
    assert_eq!(take(&mut agenda, day(3), 9).len(), 3);
}

#[test]
fn an_empty_grid_is_finished() {
    for agenda in [full(0, 0), full(3, 0), full(0, 3)] {
        assert!(agenda.is_finished());
        assert_eq!((agenda.wake_at(day(9)), agenda.due_count(day(9))), (None, 0));
        assert_eq!(agenda.clone().take_due(day(9), 9), []);
    }
}

/// A cell by its name, which an extension does not change.
type Name = (u32, i64);

/// What an agenda must do, said as simply as possible: one entry a cell.
#[derive(Debug, Default)]
struct Book {
    cells: BTreeMap<Name, Entry>,
    backfill: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Fresh,
    InFlight(Priority),
    LookAt(Timestamp, Priority),
    Settled,
}

impl Book {
    fn due_at(&self, name: Name) -> Option<(Timestamp, Priority)> {
        match self.cells[&name] {
            Entry::Fresh if self.backfill.contains(&name.1) => {
                Some((day(name.1 + 1), Priority::Backfill))
            }
            Entry::Fresh => Some((day(name.1 + 1), Priority::Live)),
            Entry::LookAt(at, priority) => Some((at, priority)),
            Entry::InFlight(_) | Entry::Settled => None,
        }
    }

    /// Priority and period of what is due, in the order in which it must be handed out.
    fn due(&self, now: Timestamp) -> Vec<(Priority, i64)> {
        let due_at = |name: &Name| self.due_at(*name).map(|(at, priority)| (at, priority, name.1));
        let due = self.cells.keys().filter_map(due_at).filter(|(at, ..)| *at <= now);
        let mut due: Vec<_> = due.map(|(_, priority, period)| (priority, period)).collect();
        due.sort();
        due
    }

    fn in_flight(&self) -> Vec<Name> {
        let flying = |entry: &Entry| matches!(entry, Entry::InFlight(_));
        self.cells.iter().filter(|(_, entry)| flying(entry)).map(|(name, _)| *name).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Take { limit: usize },
    Wait { hours: i64 },
    Settle { pick: usize },
    PutBack { pick: usize },
    LookAt { pick: usize, hours: i64, priority: usize },
    Reopen { pick: usize, hours: i64, priority: usize },
    Backfill { start: u32, end: u32 },
    Extend { entities: Range<u32>, last: i64, pairs: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    let (pick, hours, priority) = (any::<usize>(), -30_i64..90, 0_usize..4);
    prop_oneof![
        6 => (0_usize..80).prop_map(|limit| Step::Take { limit }),
        3 => (-10_i64..60).prop_map(|hours| Step::Wait { hours }),
        4 => pick.prop_map(|pick| Step::Settle { pick }),
        1 => pick.prop_map(|pick| Step::PutBack { pick }),
        4 => (pick, hours.clone(), priority.clone())
            .prop_map(|(pick, hours, priority)| Step::LookAt { pick, hours, priority }),
        2 => (pick, hours, priority)
            .prop_map(|(pick, hours, priority)| Step::Reopen { pick, hours, priority }),
        1 => (0_u32..9, 0_u32..9).prop_map(|(start, end)| Step::Backfill { start, end }),
        1 => (0_u32..4, 1_u32..80, 2_i64..9, any::<bool>()).prop_map(|(start, end, last, pairs)| {
            Step::Extend { entities: start..end, last, pairs }
        }),
    ]
}

/// An agenda beside the book that it must agree with.
struct Play {
    agenda: Agenda,
    book: Book,
    now: Timestamp,
}

impl Play {
    fn start(entity_numbers: Range<u32>, last: i64) -> Self {
        let grid = Grid::new(entities(entity_numbers, true), periods(0..last));
        let book = Book {
            cells: names(&grid).map(|name| (name, Entry::Fresh)).collect(),
            ..Book::default()
        };
        Self { agenda: Agenda::new(Arc::new(grid)), book, now: day(0) }
    }

    fn ordinal(&self, (entity, period): Name) -> CellOrdinal {
        let entity = Entity::parse(&format!("E{entity}")).unwrap();
        let period = periods(period..period + 1)[0].period;
        self.agenda.grid().ordinal(&entity, period).unwrap()
    }

    fn picked(&self, pick: usize) -> Option<Name> {
        let flying = self.book.in_flight();
        (!flying.is_empty()).then(|| flying[pick % flying.len()])
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Take { limit } => self.take(limit),
            Step::Wait { hours } => self.now += hours.hours(),
            Step::Settle { pick } => {
                let Some(name) = self.picked(pick) else { return };
                self.agenda.settle(self.ordinal(name));
                self.book.cells.insert(name, Entry::Settled);
            }
            Step::PutBack { pick } => {
                let Some(name) = self.picked(pick) else { return };
                let Entry::InFlight(priority) = self.book.cells[&name] else { unreachable!() };
                self.agenda.put_back(self.ordinal(name));
                self.book.cells.insert(name, Entry::LookAt(Timestamp::MIN, priority));
            }
            Step::LookAt { pick, hours, priority } => {
                let Some(name) = self.picked(pick) else { return };
                self.look_at(name, hours, priority);
            }
            Step::Reopen { pick, hours, priority } => {
                let count = self.book.cells.len().max(1);
                let Some(name) = self.book.cells.keys().nth(pick % count).copied() else { return };
                self.look_at(name, hours, priority);
            }
            Step::Backfill { start, end } => {
                self.agenda.set_backfill(start..end);
                let rows = self.agenda.grid().periods().len() as u32;
                self.book.backfill = (start..end.min(rows)).map(i64::from).collect();
            }
            Step::Extend { entities, last, pairs } => self.extend(entities, last, pairs),
        }
    }

    fn look_at(&mut self, name: Name, hours: i64, priority: usize) {
        let (at, priority) = (self.now + hours.hours(), Priority::ALL[priority]);
        self.agenda.look_at(self.ordinal(name), at, priority);
        self.book.cells.insert(name, Entry::LookAt(at, priority));
    }

    fn take(&mut self, limit: usize) {
        let mut expected = self.book.due(self.now);
        expected.truncate(limit);
        let taken = self.agenda.take_due(self.now, limit);
        let names: Vec<_> = taken.iter().map(|due| name(self.agenda.grid(), due.ordinal)).collect();
        let order: Vec<_> =
            taken.iter().zip(&names).map(|(due, name)| (due.priority, name.1)).collect();
        assert_eq!(order, expected);
        for (due, name) in taken.iter().zip(names) {
            let (at, priority) = self.book.due_at(name).expect("handed out and not due");
            assert!(at <= self.now && priority == due.priority);
            self.book.cells.insert(name, Entry::InFlight(priority));
        }
        // A look whose time has come stays due when the clock steps back.
        for entry in self.book.cells.values_mut() {
            if let Entry::LookAt(at, _) = entry
                && *at <= self.now
            {
                *at = Timestamp::MIN;
            }
        }
    }

    fn extend(&mut self, numbers: Range<u32>, last: i64, pairs: bool) {
        let (rows, days) = (entities(numbers, true), periods(0..last));
        let grid = if pairs {
            let (height, width) = (rows.len() as u32, days.len() as u32);
            let all = (0..height).flat_map(|entity| (0..width).map(move |period| (entity, period)));
            Grid::with_pairs(rows, days, all.filter(|(e, p)| (e + p) % 3 > 0))
        } else {
            Grid::new(rows, days)
        };
        let entry = |name| (name, self.book.cells.get(&name).copied().unwrap_or(Entry::Fresh));
        self.book.cells = names(&grid).map(entry).collect();
        self.book.backfill.retain(|period| *period < last);
        self.agenda.extend(Arc::new(grid));
    }

    fn check(&self) {
        let Self { agenda, book, now } = self;
        assert_eq!(agenda.due_count(*now), book.due(*now).len() as u64);
        assert_eq!(agenda.in_flight(), book.in_flight().len());
        let wake_at =
            book.cells.keys().filter_map(|name| book.due_at(*name)).map(|(at, _)| at).min();
        assert_eq!(agenda.wake_at(*now), wake_at.map(|at| at.max(*now)));
        let is_settled = |entry: &Entry| *entry == Entry::Settled;
        assert_eq!(agenda.is_finished(), book.cells.values().all(is_settled));
        let is_empty = book.due(*now).is_empty() && book.in_flight().is_empty();
        assert_eq!(agenda.due_now_is_empty(*now), is_empty);
    }
}

fn name(grid: &Grid, cell: CellOrdinal) -> Name {
    let entity = grid.entities()[cell.entity as usize].entity.as_str()[1..].parse().unwrap();
    let first = date(2026, 3, 1);
    let date = grid.periods()[cell.period as usize].period.date().unwrap();
    (entity, i64::from((date - first).get_days()))
}

/// The names of all expected cells.
fn names(grid: &Grid) -> impl Iterator<Item = Name> {
    let all = (0..grid.entities().len() as u32).flat_map(|entity| {
        (0..grid.periods().len() as u32).map(move |period| cell(entity, period))
    });
    all.filter(|cell| grid.expects(*cell)).map(|cell| name(grid, cell))
}

proptest! {
    #[test]
    fn an_agenda_agrees_with_its_book(
        entity_count in 0_u32..70,
        last in 0_i64..7,
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut play = Play::start(0..entity_count, last);
        for step in steps {
            play.step(step);
            play.check();
        }
    }

    #[test]
    fn every_expected_due_cell_is_handed_out_exactly_once(
        entity_count in 0_u32..200,
        last in 0_i64..12,
        today in 0_i64..14,
        limit in 1_usize..300,
        backfill in (0_u32..12, 0_u32..12),
    ) {
        let grid = Arc::new(Grid::new(entities(0..entity_count, true), periods(0..last)));
        let mut agenda = Agenda::new(Arc::clone(&grid));
        agenda.set_backfill(backfill.0..backfill.1);
        let mut seen = BTreeSet::new();
        loop {
            let due = agenda.take_due(day(today), limit);
            if due.is_empty() {
                break;
            }
            for due in due {
                prop_assert!(grid.expects(due.ordinal));
                prop_assert!(seen.insert(due.ordinal), "{:?} came twice", due.ordinal);
                agenda.settle(due.ordinal);
            }
        }
        prop_assert_eq!(seen.len() as u64, grid.expected_due(day(today)));
        prop_assert_eq!(agenda.is_finished(), grid.expected() == grid.expected_due(day(today)));
    }
}

#[test]
fn held_backfill_waits_and_nothing_else_does() {
    let mut agenda = full(2, 3);
    agenda.set_backfill(0..2);
    agenda.look_at(cell(0, 1), day(0), Priority::Backfill);
    agenda.hold_backfill(true);
    assert_eq!(agenda.backfill_count(), 3, "one waits for its look");
    assert_eq!(agenda.wake_at(day(2)), Some(day(2)), "its look has come");
    assert_eq!(periods_taken(&mut agenda, day(2), 9), [], "and is held, too");
    assert_eq!(agenda.backfill_count(), 4);
    assert_eq!(agenda.wake_at(day(2)), Some(day(3)), "of live cells");
    agenda.extend(Arc::new(Grid::new(entities(0..2, false), periods(0..4))));
    assert_eq!(periods_taken(&mut agenda, day(3), 9), [2, 2]);
    agenda.look_at(cell(1, 2), day(3), Priority::Probe);
    assert_eq!(periods_taken(&mut agenda, day(3), 9), [2], "a look at what we have");
    agenda.hold_backfill(false);
    assert_eq!(agenda.wake_at(day(3)), Some(day(3)));
    assert_eq!(periods_taken(&mut agenda, day(3), 9), [0, 0, 1, 1]);
    assert_eq!(agenda.backfill_count(), 0);
}
