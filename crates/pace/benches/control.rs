//! What control costs: a thousand scopes at ten thousand requests a second in all.
//!
//! The claim: under 5 % of one core, that is under 5 us for the permission, the sending and the
//! answer of one request; and under 2 KB for a scope. The memory is checked here.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use env::Moment;
use jiff::Timestamp;
use pace::{Advice, Answer, LearningPace, Observation, Pace, Permit};
use std::{hint::black_box, time::Duration};

const SCOPES: usize = 1_000;
const REQUESTS: u64 = 10_000;

fn at(seconds: f64) -> Moment {
    Moment { monotonic: Duration::from_secs_f64(seconds), wall: Timestamp::UNIX_EPOCH }
}

/// Another second of all scopes, from `now` on; each is refused once a second.
fn second(paces: &mut [LearningPace], now: f64) -> u64 {
    let mut sent = 0;
    for step in 0..REQUESTS {
        let time = now + step as f64 / REQUESTS as f64;
        let pace = &mut paces[step as usize % SCOPES];
        if pace.permit(at(time)) != Permit::Now {
            continue;
        }
        let ticket = pace.sent(at(time));
        sent += 1;
        let answer = if step % 10_007 == 0 { Answer::Refused } else { Answer::Accepted };
        let latency = Some(Duration::from_millis(5));
        let advice = Advice::default();
        pace.observe(&Observation { ticket, answer, latency, advice }, at(time + 0.005));
    }
    sent
}

fn control(criterion: &mut Criterion) {
    assert!(size_of::<LearningPace>() < 2048, "{} bytes", size_of::<LearningPace>());
    let mut paces: Vec<_> = (0..SCOPES).map(|_| LearningPace::new(64, at(0.0))).collect();
    let mut now = 1.0;
    let mut group = criterion.benchmark_group("pace");
    group.throughput(Throughput::Elements(REQUESTS));
    group.bench_function("a second of 1,000 scopes", |bench| {
        bench.iter(|| {
            now += 1.0;
            black_box(second(&mut paces, now))
        });
    });
    group.finish();
}

criterion_group!(benches, control);
criterion_main!(benches);
