//! What hot state costs: a batch of 20,000 cells from reservation to settlement, and the counts
//! of a project with a million cells.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails panics")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::{Timestamp, ToSpan, civil::Date};
use model::{
    AttemptId, CellState, Digest, Entity, Money, Outcome, Period, SourceId, SourceVersion,
    Validators,
};
use state::{Batch, CellRow, Evidence, NewProject, Rebuilt, Reserve, SqliteStore, StateStore};
use tokio::runtime::Runtime;

const BATCH_CELLS: usize = 20_000;
const ENTITIES: usize = 5_000;
const FIRST_DAY: Date = Date::constant(2026, 1, 5);
const AT: Timestamp = Timestamp::constant(1_795_089_600, 0);

struct Project {
    runtime: Runtime,
    store: SqliteStore,
    source: SourceId,
    entities: Vec<Entity>,
    folder: tempfile::TempDir,
}

fn new_project() -> NewProject {
    NewProject { project_id: "prj_bench".to_owned(), created_at: AT }
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread().build().unwrap(),
            store: SqliteStore::open(folder.path().join("state.db"), &new_project()).unwrap(),
            source: SourceId::parse("eod_prices").unwrap(),
            entities: (0..ENTITIES)
                .map(|index| Entity::parse(&format!("TICK{index:05}")).unwrap())
                .collect(),
            folder,
        }
    }

    fn row(&self, cell: usize, attempt: i64) -> CellRow {
        let entity = self.entities[cell % ENTITIES].clone();
        let day = FIRST_DAY + ((cell / ENTITIES) as i64).days();
        CellRow {
            evidence: Some(Evidence {
                validators: Validators {
                    etag: Some(format!("\"{cell:016x}\"")),
                    last_modified: None,
                },
                request_hash: cell as u64,
                source_version: SourceVersion("0123456789abcdef".into()),
                digest: Digest([cell as u8; 32]),
                archive: format!("eod_prices/{day}/000001.warc.gz#{}", cell * 1_000),
            }),
            entity,
            period: Period::Day(day),
            state: CellState::Present,
            outcome: Some(Outcome::Ok),
            looks: 1,
            failures: 0,
            complete_since_due: true,
            records: 1,
            quarantined: 0,
            observed_at: Some(AT),
            next_look_at: Some(AT),
            last_attempt: AttemptId(attempt),
            records_hash: Some([7; 16]),
            updated_at: AT,
            late_from: None,
        }
    }

    fn request(&self, from_cell: usize) -> Reserve {
        let cells = (from_cell..from_cell + BATCH_CELLS)
            .map(|cell| {
                let row = self.row(cell, 1);
                (row.entity, row.period)
            })
            .collect();
        Reserve {
            source: self.source.clone(),
            cells,
            cost_each: Money { micros: 10_000 },
            at: AT,
            source_budget: model::Budget::default(),
            project_budget: model::Budget::default(),
        }
    }

    fn batch(&self, number: i64, from_cell: usize) -> Batch {
        let attempts = (number - 1) * BATCH_CELLS as i64 + 1..;
        let rows = (from_cell..from_cell + BATCH_CELLS).zip(attempts.clone());
        Batch {
            number,
            announced_at: AT,
            observed_at_max: Some(AT),
            commits: vec![0; 2_000],
            cells: rows
                .map(|(cell, attempt)| (self.source.clone(), self.row(cell, attempt)))
                .collect(),
            attempts: attempts.take(BATCH_CELLS).map(AttemptId).collect(),
            looks: Vec::new(),
            looks_over: Vec::new(),
            refunds: Vec::new(),
        }
    }

    fn fill(&self, cells: usize) {
        let cells = (0..cells).map(|cell| (self.source.clone(), self.row(cell, 1))).collect();
        let rebuilt = Rebuilt { cells, next_attempt: 1, next_batch: 1, ..Rebuilt::default() };
        self.runtime.block_on(self.store.import(&rebuilt)).unwrap();
    }
}

/// New cells one batch after the other, then the same again as cells that change.
fn settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch_of_20000_cells");
    group.throughput(Throughput::Elements(BATCH_CELLS as u64)).sample_size(10);
    for (name, fresh) in [("new", true), ("changed", false)] {
        let project = Project::new();
        let mut number = 0_i64;
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    let round = if fresh { number } else { number % 10 };
                    let from_cell = round as usize * BATCH_CELLS;
                    (number, project.request(from_cell), project.batch(number, from_cell))
                },
                |(number, request, batch)| {
                    project.runtime.block_on(async {
                        project.store.reserve(&request).await.unwrap();
                        project.store.announce(batch.clone()).await.unwrap();
                        project.store.settle(number).await.unwrap();
                    });
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What `status` asks for, with the store open, and from the opening of the file on.
fn status(criterion: &mut Criterion) {
    let project = Project::new();
    project.fill(1_000_000);
    let mut group = criterion.benchmark_group("million_cells");
    group.bench_function("counts", |bencher| {
        bencher.iter(|| project.runtime.block_on(project.store.counts(AT)).unwrap());
    });
    group.sample_size(20);
    group.bench_function("open_and_counts", |bencher| {
        let path = project.folder.path().join("state.db");
        bencher.iter(|| {
            let store = SqliteStore::open_read_only(&path).unwrap();
            project.runtime.block_on(store.counts(AT)).unwrap()
        });
    });
    group.sample_size(10);
    group.bench_function("all_rows", |bencher| {
        bencher.iter(|| project.runtime.block_on(project.store.cells(&project.source)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, settle, status);
criterion_main!(benches);
