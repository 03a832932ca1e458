//! `tidewatch schema`: the JSON Schema of source files.

use crate::{failure::Failure, output::json};

pub(crate) fn run() -> Result<u8, Failure> {
    json(&source::json_schema())?;
    Ok(0)
}
