//! Whatever a server answers, waits are finite, rates are numbers, and work goes on.

use env::Moment;
use jiff::Timestamp;
use pace::{Advice, Answer, COOL_DOWN_MAX, LearningPace, Observation, Pace, Permit, Ticket};
use proptest::prelude::*;
use std::time::Duration;

fn at(seconds: f64) -> Moment {
    Moment { monotonic: Duration::from_secs_f64(seconds), wall: Timestamp::UNIX_EPOCH }
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        5 => Just(Answer::Accepted),
        3 => Just(Answer::Refused),
        1 => Just(Answer::Unavailable),
        1 => Just(Answer::Failed),
        1 => Just(Answer::Dropped),
        1 => Just(Answer::TimedOut),
    ]
}

fn wait() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        Just(None),
        Just(Some(Duration::ZERO)),
        Just(Some(Duration::MAX)),
        (0.0..1e9_f64).prop_map(|seconds| Some(Duration::from_secs_f64(seconds))),
        (0.0..3.0_f64).prop_map(|seconds| Some(Duration::from_secs_f64(seconds))),
    ]
}

fn advice() -> impl Strategy<Value = Advice> {
    let count = || proptest::option::of(prop_oneof![0..5_u64, 0..1000_u64, any::<u64>()]);
    (wait(), count(), wait(), count(), wait()).prop_map(
        |(retry_after, quota, window, remaining, reset_after)| Advice {
            retry_after,
            quota,
            window,
            remaining,
            reset_after,
            nonsense: false,
        },
    )
}

/// One step of a life: time passes, a request may leave, one may end.
#[derive(Debug, Clone)]
struct Step {
    seconds: f64,
    answer: Answer,
    advice: Advice,
    latency: f64,
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![0.0..0.01_f64, 0.0..2.0_f64, 0.0..4000.0_f64];
    (seconds, answer(), advice(), 0.0..5.0_f64)
        .prop_map(|(seconds, answer, advice, latency)| Step { seconds, answer, advice, latency })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_stops_the_work_for_good(steps in proptest::collection::vec(step(), 1..400)) {
        let mut pace = LearningPace::new(64, at(0.0));
        let mut now = 0.0;
        let mut under_way: Vec<Ticket> = Vec::new();
        for step in steps {
            now += step.seconds;
            match pace.permit(at(now)) {
                Permit::Now => under_way.push(pace.sent(at(now))),
                Permit::At(until) => {
                    let most = Duration::from_secs_f64(now) + COOL_DOWN_MAX + Duration::from_secs(1);
                    prop_assert!(until <= most, "waits until {until:?} at {now}");
                }
                Permit::WhenFreed => prop_assert!(!under_way.is_empty(), "waits for nobody"),
            }
            if (under_way.len() > 3 || step.latency < 2.0)
                && let Some(ticket) = under_way.pop()
            {
                let Step { answer, advice, .. } = step;
                let latency = Some(Duration::from_secs_f64(step.latency));
                pace.observe(&Observation { ticket, answer, latency, advice }, at(now));
            }
            prop_assert!(pace.rate().is_finite() && pace.rate() >= 0.0, "{pace:?}");
            prop_assert!(pace.limit().is_none_or(|limit| limit.is_finite() && limit > 0.0));
            prop_assert!(pace.concurrency() >= 1);
        }
        for ticket in under_way {
            pace.forget(ticket);
        }
        // From now on all is taken: within a day a thousand requests have left.
        let end = now + 86_400.0;
        let mut left = 0;
        while left < 1000 && now < end {
            match pace.permit(at(now)) {
                Permit::Now => {
                    let ticket = pace.sent(at(now));
                    left += 1;
                    let latency = Some(Duration::from_millis(5));
                    let answer = Answer::Accepted;
                    let advice = Advice::default();
                    pace.observe(&Observation { ticket, answer, latency, advice }, at(now + 0.005));
                    now += 0.005;
                }
                Permit::At(until) => now = until.as_secs_f64().max(now + 1e-6),
                Permit::WhenFreed => prop_assert!(false, "waits for nobody"),
            }
        }
        prop_assert!(left == 1000, "{left} left in a day: {pace:?}");
    }
}

/// What a server says and is not believed is told, once of each sort, and stops nothing.
#[test]
fn what_is_ignored_is_said() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        (Advice { nonsense: true, ..Advice::default() }, "makes no sense"),
        (Advice { retry_after: seconds(900), ..Advice::default() }, "although it was served"),
        (stated(0, None, 0, 60), "grants nothing"),
        (stated(10, Some(60), 11, 60), "more is left than was granted"),
        (stated(10, Some(60), 5, 3_000_000_000), "later than it is long"),
        (stated(10, None, 5, 1), "unknown width"),
    ];
    for (advice, expected) in cases {
        let mut pace = LearningPace::new(64, at(0.0));
        let mut now = 0.0;
        for _ in 0..200 {
            if let Permit::At(until) = pace.permit(at(now)) {
                now = until.as_secs_f64();
            }
            let ticket = pace.sent(at(now));
            let (answer, latency) = (Answer::Accepted, Some(Duration::from_millis(1)));
            pace.observe(&Observation { ticket, answer, latency, advice }, at(now + 0.001));
            now += 0.001;
        }
        let told: Vec<String> = pace.decisions_since(0).map(|it| it.why.to_string()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(expected), "{told:?}");
        assert!(now < 2.0, "{expected}: {now} s");
    }
}

#[test]
fn a_wait_that_is_bounded_is_said() {
    let mut pace = LearningPace::new(64, at(0.0));
    let ticket = pace.sent(at(0.0));
    let advice = Advice { retry_after: Some(Duration::MAX), ..Advice::default() };
    let observation = Observation { ticket, answer: Answer::Refused, latency: None, advice };
    pace.observe(&observation, at(0.001));
    let told: Vec<String> = pace.decisions_since(0).map(|it| it.why.to_string()).collect();
    assert!(told.iter().any(|it| it.contains("after 3600 s all the same")), "{told:?}");
    assert!(matches!(pace.permit(at(3600.1)), Permit::Now), "{:?}", pace.permit(at(3600.1)));
}

fn stated(quota: u64, window: Option<u64>, remaining: u64, reset_after: u64) -> Advice {
    Advice {
        quota: Some(quota),
        window: window.map(Duration::from_secs),
        remaining: Some(remaining),
        reset_after: Some(Duration::from_secs(reset_after)),
        ..Advice::default()
    }
}

#[test]
fn what_a_scope_costs() {
    assert!(size_of::<LearningPace>() < 2048, "{} bytes", size_of::<LearningPace>());
    let memory = LearningPace::new(64, at(0.0)).memory();
    assert!(memory.limit.is_none());
}

#[test]
fn a_crawl_delay_is_kept_whatever_the_server_would_take() {
    let mut pace = LearningPace::new(64, at(0.0));
    pace.set_interval_min(Duration::from_millis(500));
    let mut left = Vec::new();
    for step in 0..10_000 {
        let now = f64::from(step) * 0.001;
        if pace.permit(at(now)) == Permit::Now {
            let ticket = pace.sent(at(now));
            left.push(now);
            let latency = Some(Duration::from_millis(1));
            let (answer, advice) = (Answer::Accepted, Advice::default());
            pace.observe(&Observation { ticket, answer, latency, advice }, at(now));
        }
    }
    assert!(left.len() >= 19, "{left:?}");
    assert!(left.windows(2).all(|pair| pair[1] - pair[0] >= 0.5), "{left:?}");
}

#[test]
fn a_scope_without_a_share_waits_and_goes_on_with_one() {
    let mut pace = LearningPace::new(64, at(0.0));
    pace.set_share(0.0);
    assert!(matches!(pace.permit(at(1.0)), Permit::At(_)));
    pace.set_share(0.5);
    assert_eq!(pace.permit(at(2.0)), Permit::Now);
}
