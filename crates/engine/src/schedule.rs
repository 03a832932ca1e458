//! Which schedule a source with `[arrival]` has.

use crate::compiled::Compiled;
use model::Grid;
use plan::{EveryInterval, Schedule};
use std::sync::Arc;

/// The schedule of a source over a grid. `saved` is what the one before left in the state, if it
/// left anything; the engine tells it its offers and what the state knows of open cells afterwards.
pub(crate) fn schedule_for(
    compiled: &Compiled,
    _grid: &Arc<Grid>,
    _saved: Option<&[u8]>,
) -> Box<dyn Schedule> {
    Box::new(EveryInterval::new(compiled.policy.clone()))
}
