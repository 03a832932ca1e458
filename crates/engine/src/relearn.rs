//! What the books say of arrivals, learned anew: for when the state is lost.

use crate::{
    EngineError, Ranges,
    arrival::Kept,
    grid::grid_of,
    rebuild::{Columns, read},
};
use jiff::Timestamp;
use lake::{Lake, LedgerTable, TableRef};
use model::grid::CellOrdinal;
use plan::{LearnedSchedule, Schedule as _};
use source::Source;
use state::{ScheduleRow, SourceRow};
use std::{collections::BTreeMap, sync::Arc};

const COLUMNS: &[&str] = &["source", "entity", "period", "not_before", "seen_at"];

/// What the schedules of sources learn from `ledger/arrivals`. How far cheap looks are trusted, and how
/// long answers usually are, is not in the books.
pub(crate) async fn relearn(
    lake: &dyn Lake,
    sources: &[Source],
    rows: &[SourceRow],
    now: Timestamp,
) -> Result<Vec<ScheduleRow>, EngineError> {
    let is_learning = |source: &&Source| source.arrival.as_ref().is_some_and(|spec| spec.learn);
    if !sources.iter().any(|source| is_learning(&source)) {
        return Ok(Vec::new());
    }
    let books = read(lake, TableRef::Ledger(LedgerTable::Arrivals), COLUMNS).await?;
    let mut schedules = Vec::new();
    for source in sources.iter().filter(is_learning) {
        let row = rows.iter().find(|row| row.source == source.id);
        let grid = Arc::new(grid_of(source, &Ranges::of(source, row, &[], now)));
        // By period; of a cell that came after all, the last row counts.
        let mut seen = BTreeMap::new();
        for batch in &books {
            let columns = Columns(batch);
            for row in 0..batch.num_rows() {
                let Some((id, entity, period)) = columns.cell(row)? else { continue };
                let Some(at) = grid.ordinal(&entity, period).filter(|_| id == source.id) else {
                    continue;
                };
                let times = (columns.time("not_before", row)?, columns.time("seen_at", row)?);
                seen.insert((at.period, at.entity), times);
            }
        }
        if seen.is_empty() {
            continue;
        }
        let arrived = seen.values().filter(|(_, seen_at)| seen_at.is_some()).count() as u64;
        let value_per_hour = source.arrival.as_ref().and_then(|spec| spec.value_per_hour);
        let give_up_after = source.looks.give_up_after;
        let mut schedule = LearnedSchedule::new(grid, give_up_after, value_per_hour, None);
        let cells = seen
            .into_iter()
            .map(|((period, entity), (after, by))| (CellOrdinal { entity, period }, after, by));
        schedule.relearn(cells, now);
        let kept = Kept::relearned(arrived, schedule.save());
        schedules.extend(kept.write().map(|saved| ScheduleRow {
            source: source.id.clone(),
            saved,
            updated_at: now,
        }));
    }
    Ok(schedules)
}
