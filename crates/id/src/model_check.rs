//! Every interleaving of the lease protocol in a small world: the real rules ([`crate::lease`],
//! [`crate::rule`], [`crate::flake::held`]), with all else made of choices.
//!
//! One node, two processes, a store. A step is one of: time passes; a process asks, the store acts,
//! an answer arrives or is lost; a thread looks at lease and clock; it takes an id by what it saw
//! then, however long ago that was; a process is killed, stops in good order, or gets a clock that
//! lags; the store's clock is stepped. Each world is visited once, breadth first.
//!
//! Two things must hold in each. **Unique**: no id is taken twice. **Tenure**: when a node is granted
//! to another holder, the former one's next look would show it a lease that is over (as long as the
//! store's clock is not stepped and no clock lags by more than the margin).

use crate::{
    flake::{self, FlakeSettings},
    grant_cell::Held,
    layout::Layout,
    lease::{self, Grant, NodeRow},
    rule::{self, CLOSED, Take},
    store::Lease,
};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// How large the world is. Times are in milliseconds, the unit of everything here.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    time_max: u64,
    lease: i64,
    margin: u64,
    store_steps: u8,
    lags: u8,
    kills: u8,
    lost: u8,
    calls: u8,
    looks: u8,
    flaw: Option<Flaw>,
}

/// Mistakes that the checker has to find, so that its silence means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A claim that begins before the former window's end.
    EarlyClaim,
    /// A holder that looks at its lease, but not at its window.
    NoWindow,
    /// A release of all that was not used, back into the time of former holders.
    DeepRelease,
    /// A renewal that does not name its term.
    NoTerm,
    /// A holder that counts its lease from the answer on.
    LateAnchor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    None,
    Claim { asked: u64 },
    Renew { asked: u64, term: i64 },
    Release { term: i64, used_until: i64 },
    Granted { asked: u64, grant: Grant },
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    last: u64,
    lag: u64,
    /// The lease's term and the beginning of its window.
    grant: Option<Grant>,
    held: Option<Held>,
    /// What a thread saw: the lease and the time, before it was paused.
    saw: Option<(Held, u64)>,
    call: Call,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    time: u64,
    store_offset: i64,
    row: NodeRow,
    processes: [Process; 2],
    /// One bit an id: times below 32, sequences below 2.
    taken: u64,
    steps_left: u8,
    lags_left: u8,
    kills_left: u8,
    lost_left: u8,
    calls_left: u8,
    looks_left: u8,
}

const FRESH: Process =
    Process { last: 0, lag: 0, grant: None, held: None, saw: None, call: Call::None };

struct Explorer {
    bounds: Bounds,
    layout: Layout,
    settings: FlakeSettings,
    seen: BTreeSet<World>,
    queue: VecDeque<World>,
    broken: Option<String>,
}

impl Explorer {
    fn run(bounds: Bounds) -> (usize, Option<String>) {
        let start = World {
            time: 8,
            store_offset: 0,
            row: NodeRow::default(),
            processes: [FRESH; 2],
            taken: 0,
            steps_left: bounds.store_steps,
            lags_left: bounds.lags,
            kills_left: bounds.kills,
            lost_left: bounds.lost,
            calls_left: bounds.calls,
            looks_left: bounds.looks,
        };
        let layout = Layout::new(0, 41, 21, 1).unwrap();
        let settings = FlakeSettings {
            margin: Duration::from_millis(bounds.margin),
            lease: Duration::from_millis(bounds.lease as u64),
            ..FlakeSettings::default()
        };
        let seen = BTreeSet::from([start]);
        let queue = VecDeque::from([start]);
        let mut explorer = Self { bounds, layout, settings, seen, queue, broken: None };
        while let Some(world) = explorer.queue.pop_front() {
            explorer.steps(&world);
            if explorer.broken.is_some() {
                break;
            }
        }
        (explorer.seen.len(), explorer.broken)
    }

    fn visit(&mut self, mut world: World) {
        // Which process is which makes no difference.
        world.processes.sort_unstable();
        if self.seen.insert(world) {
            self.queue.push_back(world);
        }
    }

    fn steps(&mut self, world: &World) {
        if world.time < self.bounds.time_max {
            self.visit(World { time: world.time + 1, ..*world });
        }
        if world.steps_left > 0 {
            for by in [-2, 2] {
                let store_offset = world.store_offset + by;
                self.visit(World { store_offset, steps_left: world.steps_left - 1, ..*world });
            }
        }
        for index in 0..2 {
            self.calls(world, index);
            self.ids(world, index);
            self.faults(world, index);
        }
    }

    /// A process asks, the store acts, the answer arrives.
    fn calls(&mut self, world: &World, index: usize) {
        let process = world.processes[index];
        let open = process.last != CLOSED;
        let elapsed = world.time - process.lag;
        let store_now = world.time as i64 + world.store_offset;
        match process.call {
            Call::None if !open || world.calls_left == 0 => {}
            Call::None => {
                let next = World { calls_left: world.calls_left - 1, ..*world };
                let call = match process.grant {
                    None => Call::Claim { asked: elapsed },
                    Some(grant) => Call::Renew { asked: elapsed, term: grant.term },
                };
                self.with(&next, index, Process { call, ..process });
            }
            Call::Claim { asked } => {
                let mut next = *world;
                if self.bounds.flaw == Some(Flaw::EarlyClaim) {
                    next.row.until_ms -= 1;
                }
                let granted = lease::claim(&mut next.row, store_now, self.bounds.lease);
                if granted.is_some() {
                    self.check_tenure(world, index);
                }
                let call = granted.map_or(Call::Refused, |grant| Call::Granted { asked, grant });
                self.with(&next, index, Process { call, ..process });
            }
            Call::Renew { asked, term } => {
                let mut next = *world;
                let flawed = self.bounds.flaw == Some(Flaw::NoTerm);
                let term = if flawed { next.row.term } else { term };
                let renewed = lease::renew(&mut next.row, term, store_now, self.bounds.lease);
                let call = renewed.map_or(Call::Refused, |grant| Call::Granted { asked, grant });
                self.with(&next, index, Process { call, ..process });
            }
            Call::Release { term, used_until } => {
                let mut next = *world;
                lease::release(&mut next.row, term, used_until);
                self.with(&next, index, Process { call: Call::None, ..process });
            }
            Call::Granted { asked, grant } => {
                let flawed = self.bounds.flaw == Some(Flaw::LateAnchor);
                let asked = if flawed { elapsed } else { asked };
                let now_ms = grant.now_ms;
                // A renewal leaves the window's beginning where it was.
                let kept =
                    process.grant.map_or(grant, |kept| Grant { until_ms: grant.until_ms, ..kept });
                let lease = Lease { node: 0, grant: kept };
                let held =
                    flake::held(&self.layout, &self.settings, &lease, now_ms, asked * 1_000_000)
                        .unwrap();
                let call = Call::None;
                self.with(
                    world,
                    index,
                    Process { grant: Some(kept), held: Some(held), call, ..process },
                );
            }
            Call::Refused => {
                // Held by another: this lease, if there was one, is lost.
                let call = Call::None;
                self.with(world, index, Process { grant: None, held: None, call, ..process });
            }
        }
    }

    /// A thread looks; it takes an id by what it saw, at once or long after.
    fn ids(&mut self, world: &World, index: usize) {
        let process = world.processes[index];
        if let Some(held) = process.held
            && process.saw.is_none()
            && world.looks_left > 0
        {
            let now = held.time_ms((world.time - process.lag) * 1_000_000);
            let next = World { looks_left: world.looks_left - 1, ..*world };
            self.with(&next, index, Process { saw: Some((held, now)), ..process });
        }
        let Some((held, now)) = process.saw else { return };
        let mut window = held.window;
        if self.bounds.flaw == Some(Flaw::NoWindow) && now < window.until_ms {
            window.until_ms = u64::MAX;
            window.from_ms = 0;
        }
        let took = rule::take(&self.layout, window, process.last, 0, now, 1);
        let mut next = *world;
        let mut last = process.last;
        if let Take::Ids { first, count } = took {
            last = rule::last_of(first, count);
            assert!(first < 64, "the world is too long for its bits");
            if world.taken & (1 << first) != 0 {
                self.broken = Some(format!("id {first} is taken twice\n{world:#?}"));
            }
            next.taken |= 1 << first;
        }
        self.with(&next, index, Process { last, saw: None, ..process });
    }

    fn faults(&mut self, world: &World, index: usize) {
        let process = world.processes[index];
        if world.kills_left > 0 && process != FRESH {
            let next = World { kills_left: world.kills_left - 1, ..*world };
            self.with(&next, index, Process { lag: process.lag, ..FRESH });
        }
        if world.lags_left > 0 {
            let next = World { lags_left: world.lags_left - 1, ..*world };
            self.with(&next, index, Process { lag: process.lag + 1, ..process });
        }
        let answer = matches!(process.call, Call::Granted { .. } | Call::Refused);
        if world.lost_left > 0 && answer {
            let next = World { lost_left: world.lost_left - 1, ..*world };
            self.with(&next, index, Process { call: Call::None, ..process });
        }
        // An orderly end; the node goes back as soon as the store acts.
        if let Some(grant) = process.grant
            && process.call == Call::None
            && process.last != CLOSED
            && world.calls_left > 0
        {
            let next = World { calls_left: world.calls_left - 1, ..*world };
            let mut used_until = flake::used_until_ms(&self.layout, process.last, &grant);
            if self.bounds.flaw == Some(Flaw::DeepRelease) {
                used_until = rule::unpack(&self.layout, process.last).0 as i64 + 1;
            }
            let call = Call::Release { term: grant.term, used_until };
            self.with(&next, index, Process { last: CLOSED, call, ..process });
        }
    }

    fn check_tenure(&mut self, world: &World, claimer: usize) {
        let other = world.processes[1 - claimer];
        let Some(held) = other.held else { return };
        if world.store_offset != 0
            || world.steps_left < self.bounds.store_steps
            || other.last == CLOSED
        {
            return;
        }
        let shows = held.time_ms((world.time - other.lag) * 1_000_000);
        if shows < held.window.until_ms {
            self.broken = Some(format!("granted before the former holder stopped\n{world:#?}"));
        }
    }

    fn with(&mut self, world: &World, index: usize, process: Process) {
        let mut next = *world;
        next.processes[index] = process;
        self.visit(next);
    }
}

const BOUNDS: Bounds = Bounds {
    time_max: 11,
    lease: 2,
    margin: 0,
    store_steps: 0,
    lags: 0,
    kills: 0,
    lost: 0,
    calls: 4,
    looks: 3,
    flaw: None,
};

#[track_caller]
fn holds(bounds: Bounds) {
    let (worlds, broken) = Explorer::run(bounds);
    assert_eq!(broken, None, "after {worlds} worlds");
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds} worlds are no world");
}

#[track_caller]
fn is_found(bounds: Bounds, what: &str) {
    let (worlds, broken) = Explorer::run(bounds);
    let broken = broken.unwrap_or_else(|| panic!("not found in {worlds} worlds"));
    assert!(broken.starts_with(what), "{broken}");
}

#[test]
fn two_processes_with_good_clocks() {
    holds(BOUNDS);
}

#[test]
fn a_kill_and_a_lost_answer() {
    holds(Bounds { kills: 1, lost: 1, ..BOUNDS });
}

#[test]
fn a_store_whose_clock_is_stepped() {
    holds(Bounds { store_steps: 1, looks: 2, ..BOUNDS });
}

#[test]
fn a_lag_within_the_margin_keeps_the_tenure() {
    holds(Bounds { time_max: 12, lags: 1, lease: 3, margin: 1, looks: 1, ..BOUNDS });
}

#[test]
fn the_checker_finds_a_lag_beyond_the_margin() {
    is_found(Bounds { lags: 1, ..BOUNDS }, "granted before");
}

#[test]
fn the_checker_finds_an_early_claim() {
    is_found(Bounds { flaw: Some(Flaw::EarlyClaim), ..BOUNDS }, "granted before");
    // Without the look at the tenure, it is the id that is found.
    let bounds = Bounds { flaw: Some(Flaw::EarlyClaim), store_steps: 1, ..BOUNDS };
    assert!(Explorer::run(bounds).1.is_some());
}

#[test]
fn the_checker_finds_a_missing_window() {
    let bounds = Bounds { flaw: Some(Flaw::NoWindow), store_steps: 1, ..BOUNDS };
    is_found(bounds, "id ");
}

#[test]
fn the_checker_finds_a_release_that_goes_too_far() {
    let bounds =
        Bounds { flaw: Some(Flaw::DeepRelease), store_steps: 1, kills: 1, looks: 2, ..BOUNDS };
    is_found(bounds, "id ");
}

#[test]
fn the_checker_finds_a_renewal_without_a_term() {
    is_found(Bounds { flaw: Some(Flaw::NoTerm), ..BOUNDS }, "");
}

#[test]
fn the_checker_finds_a_lease_counted_from_its_answer() {
    is_found(Bounds { flaw: Some(Flaw::LateAnchor), ..BOUNDS }, "granted before");
}
