//! The port: what the engine and the command line ask of hot state.

use crate::{
    error::StateError,
    rows::{
        BackfillRow, Batch, CellCount, CellFilter, CellRow, Granted, HoldShares, LookRow,
        NewBackfill, OpenAttempt, PaceRow, PeriodCount, ProjectRow, Rebuilt, Reserve, ScheduleRow,
        SourceRow, SpendRow,
    },
};
use jiff::{Timestamp, civil::Date};
use model::{AttemptId, CellKey, SourceId, SourceVersion};
use std::{fmt::Debug, pin::Pin};

/// What each operation returns. It borrows the store only.
///
/// An operation that was polled once happens or fails as a whole, even if its future is dropped.
pub type StateFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StateError>> + Send + 'a>>;

/// Hot state of one project.
///
/// Each operation is one transaction: after an error nothing of it has happened. A source need not
/// be put before its cells, money or wishes are.
pub trait StateStore: Send + Sync + Debug {
    /// The project's own row.
    fn project(&self) -> StateFuture<'_, ProjectRow>;

    /// All sources that were put, by name.
    fn sources(&self) -> StateFuture<'_, Vec<SourceRow>>;
    /// Creates or replaces a source's row. A row that differs in `updated_at` only changes
    /// nothing.
    fn put_source(&self, row: &SourceRow) -> StateFuture<'_, ()>;
    /// Keeps the text of a definition; an earlier one of the same version is replaced.
    fn put_definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
        definition: &str,
        at: Timestamp,
    ) -> StateFuture<'_, ()>;
    /// The text of a definition.
    fn definition(
        &self,
        source: &SourceId,
        version: &SourceVersion,
    ) -> StateFuture<'_, Option<String>>;

    /// All rows of a source, by (period, entity).
    fn cells(&self, source: &SourceId) -> StateFuture<'_, Vec<CellRow>>;
    /// The row of a cell; `None` if nothing has happened in it.
    fn cell(&self, key: &CellKey) -> StateFuture<'_, Option<CellRow>>;
    /// The first `limit` rows that match, by (source, period, entity).
    fn find_cells(
        &self,
        filter: &CellFilter,
        limit: u32,
    ) -> StateFuture<'_, Vec<(SourceId, CellRow)>>;
    /// How many cells stand where at a time, by (source, state, cause). Kept while settling: its cost
    /// grows with the cells that are later than usual, and with no others.
    fn counts(&self, now: Timestamp) -> StateFuture<'_, Vec<CellCount>>;
    /// How many cells of a source stand where at a time, by (period, state, cause). Its cost grows
    /// with the source's cells.
    fn periods_summary(
        &self,
        source: &SourceId,
        now: Timestamp,
    ) -> StateFuture<'_, Vec<PeriodCount>>;

    /// Takes attempt numbers and charges their price, for as many of the cells as the budgets of
    /// the day, the month and the cells' periods allow. Durable when it returns: nothing is sent before.
    fn reserve(&self, request: &Reserve) -> StateFuture<'_, Granted>;
    /// Gives the money of attempts back that were never sent. Attempts that are not open are
    /// passed over.
    fn release(&self, attempts: &[AttemptId]) -> StateFuture<'_, ()>;
    /// Attempts that are reserved, and neither settled nor released, ascending.
    fn open_attempts(&self) -> StateFuture<'_, Vec<OpenAttempt>>;
    /// What was spent, by (day, source), from a day on.
    fn spend(&self, from: Option<Date>) -> StateFuture<'_, Vec<SpendRow>>;

    /// What is known of looks at cells of a source that have not arrived, by (period, entity).
    fn looks(&self, source: &SourceId) -> StateFuture<'_, Vec<LookRow>>;
    /// What was learned of sources' arrivals, by source.
    fn schedules(&self) -> StateFuture<'_, Vec<ScheduleRow>>;
    /// Creates or replaces rows; of the same source the last wins. No part of `generation`.
    fn put_schedules(&self, rows: &[ScheduleRow]) -> StateFuture<'_, ()>;

    /// Keeps a batch, durably, before any table is touched.
    ///
    /// Its number must be the project's `next_batch`, else [`StateError::StaleBatch`].
    fn announce(&self, batch: Batch) -> StateFuture<'_, ()>;
    /// Batches announced and not settled, ascending.
    fn announced(&self) -> StateFuture<'_, Vec<Batch>>;
    /// Applies a batch's cells and looks, gives refunds back, closes its attempts, advances
    /// `observed_at_max` and removes it.
    /// A batch that is already settled stays so.
    ///
    /// Cells are applied as they are, so batches that share cells must be settled in their order.
    fn settle(&self, number: i64) -> StateFuture<'_, ()>;

    /// Keeps a wish; its number, ascending from 1.
    fn add_backfill(&self, wish: &NewBackfill) -> StateFuture<'_, i64>;
    /// All wishes, fulfilled ones too, by number.
    fn backfills(&self) -> StateFuture<'_, Vec<BackfillRow>>;
    /// Marks a wish as fulfilled; the first time stays.
    fn finish_backfill(&self, id: i64, at: Timestamp) -> StateFuture<'_, ()>;

    /// What was learned of limit scopes, by scope.
    fn paces(&self) -> StateFuture<'_, Vec<PaceRow>>;
    /// Creates or replaces rows; of the same scope the last wins. No part of `generation`.
    fn put_paces(&self, rows: &[PaceRow]) -> StateFuture<'_, ()>;
    /// Renews a holder's leases; its share (0 to 1) of each scope, in the order of the wish.
    ///
    /// A share is an even one among the live holders of the scope, but never more than the others
    /// leave: at most 1 is granted of a scope at any time. A newcomer gets 0 until the others have
    /// renewed; when one leaves or expires, the others grow as they renew. A lease is over when the
    /// caller's `now` says so, and only its holder changes when it ends. Scopes that the holder no
    /// longer names keep their lease until then.
    fn hold_shares(&self, wish: &HoldShares) -> StateFuture<'_, Vec<f64>>;
    /// Ends all leases of a holder; one without any is passed over.
    fn drop_shares(&self, holder: &str) -> StateFuture<'_, ()>;

    /// A number that grows whenever `put_source` or `add_backfill` changed something, by whatever
    /// process. Cheap: made to be polled.
    fn generation(&self) -> StateFuture<'_, u64>;

    /// Fills a store without sources, cells, spend and batches; else [`StateError::NotEmpty`].
    fn import(&self, rebuilt: &Rebuilt) -> StateFuture<'_, ()>;
}
