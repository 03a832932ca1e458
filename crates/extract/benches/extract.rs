//! What extraction costs: one small answer, and a large array; `serde_json::Value` for comparison.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use extract::Extractor;
use model::field::{ExtractSpec, FieldSpec, FieldType, Format};
use model::path::{Condition, Path};
use std::fmt::Write as _;
use std::hint::black_box;

fn extractor() -> Extractor {
    let fields = [
        ("date", "$.t", "date"),
        ("open", "$.o", "decimal(18,6)"),
        ("close", "$.c", "decimal(18,6)"),
        ("volume", "$.v", "int"),
        ("name", "$.name", "text"),
        ("currency", "$.meta.currency", "text"),
        ("at", "$.updated_at", "timestamp"),
        ("final", "$.final", "bool"),
    ];
    let fields = fields
        .iter()
        .map(|(name, path, kind)| FieldSpec {
            name: (*name).to_owned(),
            path: Path::parse(path).expect("a path"),
            kind: FieldType::parse(kind).expect("a type"),
            missing_values: vec!["N/A".to_owned()],
            optional: false,
        })
        .collect();
    let spec = ExtractSpec {
        format: Format::Json,
        records: Path::parse("$.data[*]").expect("a path"),
        empty: Condition::parse("$.total == 0").ok(),
        fields,
        record_limit_bytes: 1 << 24,
        depth_limit: 128,
    };
    Extractor::new(&spec).expect("a spec")
}

fn record(number: u64, padding: usize) -> String {
    format!(
        r#"{{"t":"2026-11-19","o":{0}.25,"h":{0}.5,"l":{0}.125,"c":{0}.375,"v":{0}00,"name":"Société {0} \"A\"","meta":{{"currency":"EUR","exchange":"XPAR","tags":["a","b"]}},"updated_at":"2026-11-19T17:35:00.125Z","final":true,"note":"{1}"}}"#,
        100 + number % 9000,
        "lorem ipsum ".repeat(padding)
    )
}

fn small(c: &mut Criterion) {
    let body = format!(r#"{{"symbol":"ACME","total":1,"data":[{}]}}"#, record(1, 59));
    let extractor = extractor();
    let mut group = c.benchmark_group("one record of 1 KB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("extract", |b| {
        b.iter(|| {
            extractor.extract_slice(black_box(body.as_bytes()), &mut |batch| {
                black_box(batch);
                Ok(())
            })
        });
    });
    group.bench_function("serde_json::Value", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body.as_bytes())));
    });
    group.finish();
}

fn large(c: &mut Criterion) {
    let mut body = r#"{"symbol":"ACME","total":-1,"data":[null"#.to_owned();
    let mut number = 0;
    while body.len() < 64 << 20 {
        let _ = write!(body, ",{}", record(number, 0));
        number += 1;
    }
    body.push_str("]}");
    let extractor = extractor();
    let mut group = c.benchmark_group("an array of 64 MB");
    group.throughput(Throughput::Bytes(body.len() as u64)).sample_size(10);
    group.bench_function("extract_slice", |b| {
        b.iter(|| extractor.extract_slice(black_box(body.as_bytes()), &mut |_| Ok(())));
    });
    group.bench_function("extract_reader", |b| {
        b.iter(|| extractor.extract_reader(&mut black_box(body.as_bytes()), &mut |_| Ok(())));
    });
    group.bench_function("serde_json::Value", |b| {
        b.iter_batched(
            || (),
            |()| serde_json::from_slice::<serde_json::Value>(black_box(body.as_bytes())),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, small, large);
criterion_main!(benches);
