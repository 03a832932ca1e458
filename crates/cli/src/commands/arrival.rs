//! `tidewatch arrival`: when data comes, and when it is looked for.

pub(crate) mod evaluate;
mod known;

use crate::{
    arguments::{Arguments, Arrival, ArrivalAction},
    failure::Failure,
};
use anyhow::anyhow;

pub(crate) async fn run(arguments: &Arguments, arrival: &Arrival) -> Result<u8, Failure> {
    match (&arrival.action, &arrival.source) {
        (Some(ArrivalAction::Evaluate(evaluate)), _) => evaluate::run(arguments, evaluate).await,
        (None, Some(_)) => Err(Failure::failed(anyhow!("not yet"))),
        (None, None) => Err(Failure::usage(anyhow!("name a source, or `evaluate`"))),
    }
}
