//! Which schedule a source with `[arrival]` has.

use crate::compiled::Compiled;
use model::Grid;
use plan::{EveryInterval, LearnedSchedule, Schedule};
use std::sync::Arc;

/// The schedule of a source over a grid. `saved` is what the one before left in the state, if it
/// left anything; the engine tells it its offers and what the state knows of open cells afterwards.
pub(crate) fn schedule_for(
    compiled: &Compiled,
    grid: &Arc<Grid>,
    saved: Option<&[u8]>,
) -> Box<dyn Schedule> {
    let Some(spec) = compiled.source.arrival.as_ref().filter(|spec| spec.learn) else {
        return Box::new(EveryInterval::new(compiled.policy.clone()));
    };
    let give_up_after = compiled.policy.give_up_after;
    let mut schedule =
        LearnedSchedule::new(Arc::clone(grid), give_up_after, spec.value_per_hour, saved);
    if let Some(model) = &compiled.model {
        schedule.set_model(Arc::clone(model));
    }
    Box::new(schedule)
}
