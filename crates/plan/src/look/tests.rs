use super::*;
use jiff::SignedDuration as Span;
use proptest::prelude::*;

const DUE: Timestamp = Timestamp::UNIX_EPOCH;

/// Looks every 15 min up to 6 h, gives up after 36 h, retries 5 times from 2 s to 15 min.
fn policy() -> LookPolicy {
    LookPolicy {
        look_every: Span::from_mins(15),
        look_every_max: Span::from_hours(6),
        give_up_after: Some(Span::from_hours(36)),
        retry_first: Span::from_secs(2),
        retry_max: Span::from_mins(15),
        retries: 5,
        throttled_at_once: false,
        revisit: None,
    }
}

fn progress(looks: u32, failures: u32) -> Progress {
    Progress { due_at: DUE, looks, failures, complete_since_due: false, has_data: false }
}

fn at(minutes: i64) -> Timestamp {
    DUE + Span::from_mins(minutes)
}

/// What follows, with no `Retry-After` and the longest draw.
fn after(outcome: Outcome, progress: Progress, minutes: i64) -> Next {
    next(&policy(), outcome, &progress, None, 1.0, at(minutes))
}

fn look(minutes: i64, priority: Priority) -> Next {
    Next::LookAt(at(minutes), priority)
}

const HOUR: i64 = 60;

#[test]
fn present_data_settles_a_cell() {
    let progress = Progress { has_data: true, complete_since_due: true, ..progress(1, 0) };
    assert_eq!(after(Outcome::Ok, progress, 5), Next::Settled);
    assert_eq!(after(Outcome::NotModified, progress, 5), Next::Settled);
}

#[test]
fn present_data_is_looked_at_again_until_the_policy_ends() {
    let revisit = Revisit { every: Span::from_hours(24), until: Span::from_hours(72) };
    let policy = LookPolicy { revisit: Some(revisit), ..policy() };
    let progress = Progress { has_data: true, complete_since_due: true, ..progress(1, 0) };
    let after = |outcome, hour| next(&policy, outcome, &progress, None, 1.0, at(hour * HOUR));
    assert_eq!(after(Outcome::Ok, 1), look(25 * HOUR, Priority::Probe));
    assert_eq!(after(Outcome::NotModified, 48), look(72 * HOUR, Priority::Probe));
    assert_eq!(after(Outcome::Ok, 49), Next::Settled);
    assert_eq!(after(Outcome::Blocked, 25), look(49 * HOUR, Priority::Probe));
    assert_eq!(after(Outcome::Blocked, 500), Next::Settled);
}

#[test]
fn a_proven_emptiness_is_looked_at_less_and_less_often_until_the_deadline() {
    let empty = |looks, minutes| {
        let progress = Progress { complete_since_due: true, ..progress(looks, 0) };
        after(Outcome::EmptyProven, progress, minutes)
    };
    assert_eq!(empty(1, 0), look(15, Priority::Live));
    assert_eq!(empty(3, 0), look(15, Priority::Live));
    assert_eq!(empty(4, 0), look(30, Priority::Live));
    assert_eq!(empty(8, 0), look(60, Priority::Live));
    assert_eq!(empty(400, 0), look(6 * HOUR, Priority::Live));
    // The last look is on the deadline, and final.
    assert_eq!(empty(400, 35 * HOUR), look(36 * HOUR, Priority::Live));
    assert_eq!(empty(401, 36 * HOUR), Next::GiveUp);
}

#[test]
fn without_a_deadline_an_empty_cell_is_never_given_up() {
    let policy = LookPolicy { give_up_after: None, ..policy() };
    let progress = Progress { complete_since_due: true, ..progress(900, 0) };
    let next = next(&policy, Outcome::EmptyProven, &progress, None, 0.5, at(9_999 * HOUR));
    assert_eq!(next, look(10_005 * HOUR, Priority::Live));
}

#[test]
fn what_does_not_heal_by_itself_is_not_retried_at_once() {
    for outcome in [
        Outcome::EmptyUnproven,
        Outcome::ParseError,
        Outcome::Invalid,
        Outcome::Blocked,
        Outcome::Unauthorized,
        Outcome::Gone,
    ] {
        assert_eq!(after(outcome, progress(1, 1), 0), look(15, Priority::Repair), "{outcome}");
    }
}

#[test]
fn passing_failures_are_retried_with_a_growing_pause_then_at_the_look_interval() {
    for outcome in [Outcome::Partial, Outcome::SourceError, Outcome::TransportError] {
        let pause = |failures, jitter| match next(
            &policy(),
            outcome,
            &progress(failures, failures),
            None,
            jitter,
            DUE,
        ) {
            Next::LookAt(at, priority) => (at.duration_since(DUE).as_secs(), priority),
            other => panic!("{other:?}"),
        };
        let longest: Vec<_> = (1..=5).map(|failures| pause(failures, 1.0).0).collect();
        assert_eq!(longest, [4, 8, 16, 32, 64], "{outcome}");
        assert_eq!(pause(5, 0.0), (2, Priority::Live));
        assert_eq!(pause(6, 0.0), (30 * 60, Priority::Repair));
    }
}

#[test]
fn without_evidence_a_cell_is_given_up_only_at_twice_the_age() {
    for outcome in [Outcome::Blocked, Outcome::TransportError] {
        let progress = progress(40, 40);
        assert_eq!(after(outcome, progress, 40 * HOUR), look(46 * HOUR, Priority::Backfill));
        assert_eq!(after(outcome, progress, 72 * HOUR), Next::GiveUp);
        let shown = Progress { complete_since_due: true, ..progress };
        assert_eq!(after(outcome, shown, 40 * HOUR), Next::GiveUp);
    }
}

#[test]
fn a_backfilled_cell_gets_all_its_attempts_however_old_it_is() {
    let old = 9_999 * HOUR;
    for outcome in [Outcome::SourceError, Outcome::Blocked] {
        for attempts in 1..=5 {
            let next = after(outcome, progress(attempts, attempts), old);
            assert!(matches!(next, Next::LookAt(_, Priority::Backfill)), "{outcome} {attempts}");
        }
        assert_eq!(after(outcome, progress(6, 6), old), Next::GiveUp);
    }
    assert_eq!(after(Outcome::EmptyProven, progress(1, 0), old), Next::GiveUp);
}

#[test]
fn being_told_to_slow_down_does_not_lose_a_cell_quickly() {
    let old = 9_999 * HOUR;
    let throttled = |looks| after(Outcome::RateLimited, progress(looks, looks), old);
    assert_eq!(throttled(12), look(old + 15, Priority::Backfill));
    assert_eq!(throttled(24), Next::GiveUp);
}

#[test]
fn what_was_not_sent_is_never_given_up() {
    let skipped = after(Outcome::Skipped, progress(99, 0), 9_999 * HOUR);
    assert_eq!(skipped, look(9_999 * HOUR + 15, Priority::Backfill));
}

#[test]
fn a_server_may_ask_for_at_most_an_hour() {
    let asked = |seconds| {
        let after = Some(Span::from_secs(seconds));
        next(&policy(), Outcome::RateLimited, &progress(1, 1), after, 0.0, DUE)
    };
    assert_eq!(asked(300), look(5, Priority::Live));
    assert_eq!(asked(1), Next::LookAt(DUE + Span::from_secs(2), Priority::Live));
    assert_eq!(asked(86_400), look(60, Priority::Live));
    assert_eq!(asked(-5), Next::LookAt(DUE + Span::from_secs(2), Priority::Live));
}

proptest! {
    #[test]
    fn no_look_comes_before_its_time(
        outcome in proptest::sample::select(Outcome::ALL),
        (looks, failures) in (1_u32..99, 0_u32..99),
        (complete_since_due, has_data) in any::<(bool, bool)>(),
        retry_after in proptest::option::of(0_i64..9_999),
        jitter in prop_oneof![0.0..=1.0, Just(f64::NAN), Just(-1.0), Just(1e300)],
        minutes in 0_i64..9_999,
        revisits in any::<bool>(),
    ) {
        let revisit = Revisit { every: Span::ZERO, until: Span::from_hours(90) };
        let policy = LookPolicy { revisit: revisits.then_some(revisit), ..policy() };
        let progress = Progress { complete_since_due, has_data, ..progress(looks, failures) };
        let now = at(minutes);
        let retry_after = retry_after.map(Span::from_secs);
        let next = next(&policy, outcome, &progress, retry_after, jitter, now);
        if let Next::LookAt(at, priority) = next {
            prop_assert!(at > now);
            prop_assert!(at >= now + retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
            prop_assert!(at <= now + Span::from_hours(6));
            prop_assert_eq!(has_data, priority == Priority::Probe);
        }
        prop_assert!(!has_data || next != Next::GiveUp);
        prop_assert!(has_data || next != Next::Settled);
    }

    #[test]
    fn every_cell_without_data_ends_unless_nothing_was_sent(
        outcomes in proptest::collection::vec(proptest::sample::select(Outcome::ALL), 1..20),
        starts_late in any::<bool>(),
    ) {
        let without_data = |outcome: &Outcome| !matches!(outcome, Outcome::Ok | Outcome::Skipped);
        let outcomes: Vec<_> = outcomes.into_iter().filter(without_data).collect();
        prop_assume!(!outcomes.is_empty());
        let mut now = at(if starts_late { 9_999 * HOUR } else { 0 });
        let mut progress = progress(0, 0);
        for outcome in outcomes.iter().cycle().take(1_000) {
            progress.looks += 1;
            let complete = outcome.is_complete_observation();
            progress.failures = if complete { 0 } else { progress.failures + 1 };
            progress.complete_since_due |= complete;
            match next(&policy(), *outcome, &progress, None, 0.5, now) {
                Next::LookAt(at, _) => now = at,
                Next::GiveUp => return Ok(()),
                Next::Settled => prop_assert!(false, "settled without data"),
            }
        }
        prop_assert!(false, "still open at {now}");
    }
}
