//! `tidewatch spend`: what was spent, by day and source.

use crate::{
    arguments::{Arguments, Spend},
    failure::Failure,
    output::{grouped, json, print, table, tell},
    project::Project,
};
use model::Money;

pub(crate) async fn run(arguments: &Arguments, spend: &Spend) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let rows = match project.state_if_any()? {
        Some(state) => state.spend(spend.from).await?,
        None => Vec::new(),
    };
    let total: Money = rows.iter().map(|row| row.spent).sum();
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "day": row.day.to_string(),
                    "source": row.source.as_str(),
                    "requests": row.requests,
                    "spent": row.spent.as_units(),
                })
            })
            .collect();
        json(&serde_json::json!({ "rows": rows, "total": total.as_units() }))?;
        return Ok(0);
    }
    if rows.is_empty() {
        tell("nothing was spent");
        return Ok(0);
    }
    let mut printed = table(&["day", "source", "requests", "spent"], &["requests", "spent"]);
    for row in &rows {
        printed.add_row([
            row.day.to_string(),
            row.source.to_string(),
            grouped(row.requests),
            row.spent.to_string(),
        ]);
    }
    let requests = rows.iter().map(|row| row.requests).sum();
    printed.add_row(["total".to_owned(), String::new(), grouped(requests), total.to_string()]);
    print(&printed);
    Ok(0)
}
