//! The engine for everything but the simulator: one SQLite file in WAL mode.
//!
//! Each operation is one transaction on a thread that may block; writers take turns on one
//! connection, readers use a second. Other processes may use the file at the same time: a reader
//! never waits, a writer waits up to five seconds for another. Every commit is on the disk when
//! it returns (`synchronous = FULL`).

mod batches;
mod cells;
mod counts;
mod fault;
mod looks;
mod money;
mod names;
mod open;
mod paces;
mod projects;
mod together;
mod wishes;

#[cfg(test)]
mod tests;

use crate::{
    error::StateError,
    port::{StateFuture, StateStore},
    rows::{
        BackfillRow, Batch, CellCount, CellFilter, CellRow, Granted, HoldShares, LookRow,
        NewBackfill, NewProject, OpenAttempt, PaceRow, PeriodCount, ProjectRow, Rebuilt, Reserve,
        ScheduleRow, SourceRow, SpendRow,
    },
    wire,
};
use fault::Fault;
use jiff::{Timestamp, civil::Date};
use model::{AttemptId, CellKey, SourceId, SourceVersion};
use names::Names;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Hot state in a SQLite file. Clones share its connections.
///
/// Its operations need a tokio runtime; opening and the last drop block for a moment.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    reader: Mutex<Connection>,
    // The last to be dropped: the last connection to close moves the log into the file.
    writer: Option<Mutex<Writer>>,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    names: Names,
    /// The last that was announced, so that settling it need not read it back.
    announced: Option<Batch>,
    /// Room for the bytes of the next one.
    payload: Vec<u8>,
}

/// A larger batch's room is given back.
const PAYLOAD_BYTES_KEPT: usize = 16 << 20;

impl SqliteStore {
    /// Opens the state file, or makes it (and its folder) for the given project.
    pub fn open(path: impl AsRef<Path>, new: &NewProject) -> Result<Self, StateError> {
        let path = path.as_ref();
        open::create_if_missing(path, new)?;
        let writer = Writer {
            connection: open::writer(path)?,
            names: Names::default(),
            announced: None,
            payload: Vec::new(),
        };
        let shared = Shared {
            path: path.to_owned(),
            reader: Mutex::new(open::reader(path)?),
            writer: Some(Mutex::new(writer)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens an existing state file to look only: [`StateError::Missing`] without one, and
    /// [`StateError::OpenedReadOnly`] from every operation that writes.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StateError> {
        let path = path.as_ref();
        let reader = Mutex::new(open::reader(path)?);
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), reader, writer: None }) })
    }

    /// The state file and the two that SQLite keeps beside it: who moves one away moves all.
    pub fn files(path: impl AsRef<Path>) -> [PathBuf; 3] {
        open::files(path.as_ref())
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> StateFuture<'_, T> {
        self.blocking(move |shared| {
            let mut reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.transaction().map_err(Fault::from).and_then(|look| work(&look))
        })
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &mut Names) -> Result<T, Fault> + Send + 'static,
    ) -> StateFuture<'_, T> {
        self.with_writer(move |writer| writer.commit(work))
    }

    fn with_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Fault> + Send + 'static,
    ) -> StateFuture<'_, T> {
        self.blocking(move |shared| {
            let Some(writer) = &shared.writer else {
                let path = shared.path.clone();
                return Err(Fault::Refused(StateError::OpenedReadOnly { path }));
            };
            work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> StateFuture<'_, T> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            let done = tokio::task::spawn_blocking(move || work(&shared)).await;
            match done {
                Ok(result) => result.map_err(|fault| fault.at(&self.shared.path)),
                Err(stopped) => match stopped.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(stopped) => Err(StateError::Unavailable {
                        path: self.shared.path.clone(),
                        cause: Box::new(stopped),
                    }),
                },
            }
        })
    }
}

impl Writer {
    /// Does the work as one transaction. After a failure nothing of it remains.
    fn commit<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Names) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Self { connection, names, .. } = self;
        // The names are put back whole, so that a panic or failure cannot leave a number in them
        // that was rolled back.
        let mut known = std::mem::take(names);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction, &mut known)?;
        transaction.commit()?;
        *names = known;
        Ok(result)
    }
}

impl StateStore for SqliteStore {
    fn project(&self) -> StateFuture<'_, ProjectRow> {
        self.read(projects::project)
    }

    fn sources(&self) -> StateFuture<'_, Vec<SourceRow>> {
        self.read(projects::sources)
    }

    fn put_source(&self, row: &SourceRow) -> StateFuture<'_, ()> {
        let row = row.clone();
        self.write(move |transaction, names| {
            if projects::put_source(transaction, names, &row)? {
                projects::advance_generation(transaction)?;
            }
            Ok(())
        })
    }

    fn put_definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
        definition: &str,
        at: Timestamp,
    ) -> StateFuture<'_, ()> {
        let (source, version) = (source.clone(), version.clone());
        let definition = definition.to_owned();
        self.write(move |transaction, names| {
            projects::put_definition(transaction, names, &source, &version, &definition, at)
        })
    }

    fn definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
    ) -> StateFuture<'_, Option<String>> {
        let (source, version) = (source.clone(), version.clone());
        self.read(move |look| projects::definition(look, &source, &version))
    }

    fn cells(&self, source: &SourceId) -> StateFuture<'_, Vec<CellRow>> {
        let source = source.clone();
        self.read(move |look| cells::of_source(look, &source))
    }

    fn cell(&self, key: &CellKey) -> StateFuture<'_, Option<CellRow>> {
        let key = key.clone();
        self.read(move |look| cells::one(look, &key))
    }

    fn find_cells(
        &self,
        filter: &CellFilter,
        limit: u32,
    ) -> StateFuture<'_, Vec<(SourceId, CellRow)>> {
        let filter = filter.clone();
        self.read(move |look| cells::find(look, &filter, limit))
    }

    fn counts(&self, now: Timestamp) -> StateFuture<'_, Vec<CellCount>> {
        self.read(move |look| counts::of_sources(look, now))
    }

    fn periods_summary(
        &self,
        source: &SourceId,
        now: Timestamp,
    ) -> StateFuture<'_, Vec<PeriodCount>> {
        let source = source.clone();
        self.read(move |look| counts::of_periods(look, &source, now))
    }

    fn reserve(&self, request: &Reserve) -> StateFuture<'_, Granted> {
        let request = request.clone();
        self.write(move |transaction, names| money::reserve(transaction, names, &request))
    }

    fn release(&self, attempts: &[AttemptId]) -> StateFuture<'_, ()> {
        let attempts = attempts.to_vec();
        self.write(move |transaction, _| money::close(transaction, attempts, money::Fate::Returned))
    }

    fn open_attempts(&self) -> StateFuture<'_, Vec<OpenAttempt>> {
        self.read(money::open_attempts)
    }

    fn spend(&self, from: Option<Date>) -> StateFuture<'_, Vec<SpendRow>> {
        self.read(move |look| money::spend(look, from))
    }

    fn looks(&self, source: &SourceId) -> StateFuture<'_, Vec<LookRow>> {
        let source = source.clone();
        self.read(move |look| looks::of_source(look, &source))
    }

    fn schedules(&self) -> StateFuture<'_, Vec<ScheduleRow>> {
        self.read(looks::schedules)
    }

    fn put_schedules(&self, rows: &[ScheduleRow]) -> StateFuture<'_, ()> {
        let rows = rows.to_vec();
        self.write(move |transaction, names| looks::put_schedules(transaction, names, &rows))
    }

    fn announce(&self, batch: Batch) -> StateFuture<'_, ()> {
        self.with_writer(move |writer| {
            let payload = wire::encode_batch(&batch, std::mem::take(&mut writer.payload))?;
            writer
                .commit(|transaction, _| batches::announce(transaction, batch.number, &payload))?;
            writer.announced = Some(batch);
            if payload.capacity() <= PAYLOAD_BYTES_KEPT {
                writer.payload = payload;
            }
            Ok(())
        })
    }

    fn announced(&self) -> StateFuture<'_, Vec<Batch>> {
        self.read(batches::announced)
    }

    fn settle(&self, number: i64) -> StateFuture<'_, ()> {
        self.with_writer(move |writer| {
            let announced = writer.announced.take().filter(|batch| batch.number == number);
            writer
                .commit(|transaction, names| batches::settle(transaction, names, number, announced))
        })
    }

    fn add_backfill(&self, wish: &NewBackfill) -> StateFuture<'_, i64> {
        let wish = wish.clone();
        self.write(move |transaction, names| {
            projects::advance_generation(transaction)?;
            wishes::add(transaction, names, &wish)
        })
    }

    fn backfills(&self) -> StateFuture<'_, Vec<BackfillRow>> {
        self.read(wishes::all)
    }

    fn finish_backfill(&self, id: i64, at: Timestamp) -> StateFuture<'_, ()> {
        self.write(move |transaction, _| wishes::finish(transaction, id, at))
    }

    fn paces(&self) -> StateFuture<'_, Vec<PaceRow>> {
        self.read(paces::all)
    }

    fn put_paces(&self, rows: &[PaceRow]) -> StateFuture<'_, ()> {
        let rows = rows.to_vec();
        self.write(move |transaction, _| paces::put(transaction, &rows))
    }

    fn hold_shares(&self, wish: &HoldShares) -> StateFuture<'_, Vec<f64>> {
        let wish = wish.clone();
        self.write(move |transaction, _| paces::hold(transaction, &wish))
    }

    fn drop_shares(&self, holder: &str) -> StateFuture<'_, ()> {
        let holder = holder.to_owned();
        self.write(move |transaction, _| paces::drop_all(transaction, &holder))
    }

    fn generation(&self) -> StateFuture<'_, u64> {
        self.read(projects::generation)
    }

    fn import(&self, rebuilt: &Rebuilt) -> StateFuture<'_, ()> {
        let rebuilt = rebuilt.clone();
        self.write(move |transaction, names| projects::import(transaction, names, rebuilt))
    }
}
