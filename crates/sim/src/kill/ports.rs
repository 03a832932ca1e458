//! The ports of one life: they delegate to what outlives it, through the switch.

use super::{KillSwitch, Lost};
use archive::{
    Archive, ArchiveError, ArchiveFuture, ArchiveRef, ArchivedResponse, MemoryArchive,
    ResponseRecord,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use jiff::{Timestamp, civil::Date};
use lake::{
    Committed, Lake, LakeFuture, Maintenance, MaintenanceReport, MemoryLake, Scan, StagedFile,
    TableFiles, TableRef,
};
use model::{AttemptId, CellKey, Digest, SourceId, SourceVersion};
use state::{
    BackfillRow, Batch, CellCount, CellFilter, CellRow, Granted, HoldShares, LookRow, MemoryStore,
    NewBackfill, OpenAttempt, PaceRow, PeriodCount, ProjectRow, Rebuilt, Reserve, ScheduleRow,
    SourceRow, SpendRow, StateFuture, StateStore,
};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// What outlives an engine.
#[derive(Debug, Clone)]
pub struct Durable {
    /// Hot state.
    pub state: MemoryStore,
    /// Tables.
    pub lake: MemoryLake,
    /// Bytes as received.
    pub archive: Arc<MemoryArchive>,
    /// What of them was lost by kills.
    pub lost: Arc<Lost>,
}

/// Hot state as one life sees it.
#[derive(Debug)]
pub struct MortalState {
    /// The state itself.
    pub state: MemoryStore,
    /// The switch of this life.
    pub switch: Arc<KillSwitch>,
}

/// Delegates methods whose futures borrow the port only.
macro_rules! through_the_switch {
    ($port:ident, $future:ident; $(fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $output:ty;)+) => {
        $(fn $name(&self $(, $argument: $kind)*) -> $future<'_, $output> {
            let call = self.$port.$name($($argument),*);
            Box::pin(self.switch.store(call))
        })+
    };
}

impl StateStore for MortalState {
    through_the_switch! { state, StateFuture;
        fn project(&self) -> ProjectRow;
        fn sources(&self) -> Vec<SourceRow>;
        fn put_source(&self, row: &SourceRow) -> ();
        fn put_definition(&self, source: &SourceId, version: &SourceVersion, text: &str, at: Timestamp) -> ();
        fn definition(&self, source: &SourceId, version: &SourceVersion) -> Option<String>;
        fn cells(&self, source: &SourceId) -> Vec<CellRow>;
        fn cell(&self, key: &CellKey) -> Option<CellRow>;
        fn find_cells(&self, filter: &CellFilter, limit: u32) -> Vec<(SourceId, CellRow)>;
        fn counts(&self, now: Timestamp) -> Vec<CellCount>;
        fn periods_summary(&self, source: &SourceId, now: Timestamp) -> Vec<PeriodCount>;
        fn reserve(&self, request: &Reserve) -> Granted;
        fn release(&self, attempts: &[AttemptId]) -> ();
        fn open_attempts(&self) -> Vec<OpenAttempt>;
        fn spend(&self, from: Option<Date>) -> Vec<SpendRow>;
        fn announce(&self, batch: Batch) -> ();
        fn announced(&self) -> Vec<Batch>;
        fn settle(&self, number: i64) -> ();
        fn add_backfill(&self, wish: &NewBackfill) -> i64;
        fn backfills(&self) -> Vec<BackfillRow>;
        fn finish_backfill(&self, id: i64, at: Timestamp) -> ();
        fn generation(&self) -> u64;
        fn import(&self, rebuilt: &Rebuilt) -> ();
        fn paces(&self) -> Vec<PaceRow>;
        fn put_paces(&self, rows: &[PaceRow]) -> ();
        fn hold_shares(&self, wish: &HoldShares) -> Vec<f64>;
        fn drop_shares(&self, holder: &str) -> ();
        fn looks(&self, source: &SourceId) -> Vec<LookRow>;
        fn schedules(&self) -> Vec<ScheduleRow>;
        fn put_schedules(&self, rows: &[ScheduleRow]) -> ();
    }
}

/// The tables as one life sees them.
#[derive(Debug)]
pub struct MortalLake {
    /// The tables themselves.
    pub lake: MemoryLake,
    /// The switch of this life.
    pub switch: Arc<KillSwitch>,
}

/// The memory lake works when it is called, not when it is polled: each call is put off until the
/// switch lets it pass.
impl Lake for MortalLake {
    fn ensure(&self, table: &TableRef, schema: SchemaRef) -> LakeFuture<'_, ()> {
        let table = table.clone();
        Box::pin(self.switch.store(async move { self.lake.ensure(&table, schema).await }))
    }

    fn stage(
        &self,
        table: &TableRef,
        batches: Vec<RecordBatch>,
    ) -> LakeFuture<'_, Vec<StagedFile>> {
        let table = table.clone();
        Box::pin(self.switch.store(async move { self.lake.stage(&table, batches).await }))
    }

    fn commit(
        &self,
        table: &TableRef,
        application: &str,
        batch: i64,
        files: &[StagedFile],
    ) -> LakeFuture<'_, Committed> {
        let (table, application, files) = (table.clone(), application.to_owned(), files.to_vec());
        Box::pin(
            self.switch
                .store(async move { self.lake.commit(&table, &application, batch, &files).await }),
        )
    }

    fn last_batch(&self, table: &TableRef, application: &str) -> LakeFuture<'_, Option<i64>> {
        let (table, application) = (table.clone(), application.to_owned());
        Box::pin(self.switch.store(async move { self.lake.last_batch(&table, &application).await }))
    }

    fn scan(&self, table: &TableRef, request: Scan) -> LakeFuture<'_, Vec<RecordBatch>> {
        let table = table.clone();
        Box::pin(self.switch.store(async move { self.lake.scan(&table, request).await }))
    }

    fn tables(&self) -> LakeFuture<'_, Vec<TableRef>> {
        Box::pin(self.switch.store(async move { self.lake.tables().await }))
    }

    fn files(&self, table: &TableRef) -> LakeFuture<'_, Option<TableFiles>> {
        let table = table.clone();
        Box::pin(self.switch.store(async move { self.lake.files(&table).await }))
    }

    fn maintain(
        &self,
        table: &TableRef,
        now: Timestamp,
        settings: &Maintenance,
    ) -> LakeFuture<'_, MaintenanceReport> {
        let (table, settings) = (table.clone(), settings.clone());
        Box::pin(self.switch.store(async move { self.lake.maintain(&table, now, &settings).await }))
    }

    fn discard_orphans(
        &self,
        keep: &BTreeSet<String>,
        older_than: Timestamp,
    ) -> LakeFuture<'_, usize> {
        let keep = keep.clone();
        Box::pin(
            self.switch.store(async move { self.lake.discard_orphans(&keep, older_than).await }),
        )
    }
}

/// The archive as one life sees it: what it appends and never flushes is lost with it, and it
/// remembers what it has appended itself only.
#[derive(Debug)]
pub struct MortalArchive {
    archive: Arc<MemoryArchive>,
    lost: Arc<Lost>,
    switch: Arc<KillSwitch>,
    life: Mutex<Appended>,
}

#[derive(Debug, Default)]
struct Appended {
    all: BTreeSet<ArchiveRef>,
    unflushed: Vec<ArchiveRef>,
}

impl MortalArchive {
    /// The archive of a new life.
    pub fn new(durable: &Durable, switch: Arc<KillSwitch>) -> Self {
        let (archive, lost) = (Arc::clone(&durable.archive), Arc::clone(&durable.lost));
        Self { archive, lost, switch, life: Mutex::default() }
    }

    /// The life is over: what was not flushed is gone.
    pub fn lose(&self) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        self.lost.extend(life.unflushed.drain(..).map(|reference| reference.to_string()));
    }
}

impl Archive for MortalArchive {
    fn append(
        &self,
        source: &SourceId,
        day: Date,
        member: Vec<u8>,
    ) -> Result<ArchiveRef, ArchiveError> {
        let reference = self.archive.append(source, day, member)?;
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.all.insert(reference.clone());
        life.unflushed.push(reference.clone());
        Ok(reference)
    }

    fn append_file(
        &self,
        record: &ResponseRecord<'_>,
        day: Date,
        body: &Path,
    ) -> ArchiveFuture<'_, ArchiveRef> {
        // The simulator's bodies fit into memory.
        let appended = self.archive.append_file(record, day, body);
        Box::pin(self.switch.store(appended))
    }

    fn flush(&self) -> ArchiveFuture<'_, ()> {
        Box::pin(self.switch.store(async move {
            self.archive.flush().await?;
            self.life.lock().unwrap_or_else(PoisonError::into_inner).unflushed.clear();
            Ok(())
        }))
    }

    fn read(&self, at: &ArchiveRef) -> ArchiveFuture<'_, ArchivedResponse> {
        let at = at.clone();
        Box::pin(self.switch.store(async move { self.archive.read(&at).await }))
    }

    fn find(&self, source: &SourceId, digest: &Digest) -> Option<ArchiveRef> {
        let found = self.archive.find(source, digest)?;
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.all.contains(&found).then_some(found)
    }
}
