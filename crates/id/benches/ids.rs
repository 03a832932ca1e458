//! How fast ids are: one by one and filled, below and at the limit of their layout.
//!
//! `cargo bench -p id --features sqlite`. A layout with 22 bits of sequence does not limit, so that the
//! first lines are what an id costs; the others are what the default layout lets through, and what
//! durable commits let through of blocks.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use id::{Blocks, Flake, FlakeSettings, Layout, MemoryStore, Space, SystemClock, Uuids};
use std::{hint::black_box, time::Duration};

fn flake(layout: Layout) -> Flake {
    let space = Space { name: "bench".to_owned(), layout };
    let settings = FlakeSettings { space, ..FlakeSettings::default() };
    Flake::open(MemoryStore::new(SystemClock), settings).expect("a new store has free nodes")
}

fn cost(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cost");
    group.throughput(Throughput::Elements(1));
    let wide = flake(Layout::for_nodes(1).expect("1 node"));
    group.bench_function("int, one", |bencher| {
        bencher.iter(|| wide.next_id().expect("an id"));
    });
    let blocks = Blocks::new(MemoryStore::new(SystemClock), "bench", 10_000);
    group.bench_function("block, one", |bencher| {
        bencher.iter(|| blocks.next_id().expect("an id"));
    });
    let uuids = Uuids::default();
    group.bench_function("uuid, one", |bencher| {
        bencher.iter(|| uuids.next_id().expect("an id"));
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("int, 1,000 at once", |bencher| {
        bencher.iter_batched_ref(
            || [0_i64; 1_000],
            |ids| wide.fill(black_box(ids)).expect("ids"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The wall time of 4,096,000 ids should be one second.
fn limit(criterion: &mut Criterion) {
    const SECOND: usize = 4_096_000;
    let mut group = criterion.benchmark_group("limit");
    group.sample_size(10).measurement_time(Duration::from_secs(11));
    group.throughput(Throughput::Elements(SECOND as u64));
    let usual = flake(Layout::default());
    group.bench_function("int, 12 bits of sequence, one by one", |bencher| {
        bencher.iter(|| {
            for _ in 0..SECOND {
                black_box(usual.next_id().expect("an id"));
            }
        });
    });
    let mut ids = vec![0; 1_000];
    group.bench_function("int, 12 bits of sequence, 1,000 at once", |bencher| {
        bencher.iter(|| {
            for _ in 0..SECOND / 1_000 {
                usual.fill(black_box(&mut ids)).expect("ids");
            }
        });
    });
    group.finish();
}

/// A million numbers, by blocks of 10,000 that a SQLite file on the temporary folder's disk gives.
#[cfg(feature = "sqlite")]
fn durable(criterion: &mut Criterion) {
    const MILLION: u64 = 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = criterion.benchmark_group("durable");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    group.throughput(Throughput::Elements(MILLION));
    for burst in [1, id::block::BURST] {
        let store = id::SqliteStore::open(&folder.path().join("ids.db")).expect("a new file");
        let blocks = Blocks::with_burst(store, "bench", 10_000, burst, SystemClock);
        group.bench_function(
            format!("block of 10,000, SQLite, at most {burst} at once"),
            |bencher| {
                bencher.iter(|| {
                    for _ in 0..MILLION {
                        black_box(blocks.next_id().expect("an id"));
                    }
                });
            },
        );
    }
    group.finish();
}

#[cfg(not(feature = "sqlite"))]
criterion_group!(benches, cost, limit);
#[cfg(feature = "sqlite")]
criterion_group!(benches, cost, limit, durable);
criterion_main!(benches);
