//! `tidewatch arrival evaluate`: what each policy would have cost on known arrivals.

use super::known;
use crate::{
    arguments::{Arguments, Evaluate},
    failure::Failure,
    output::{json, line, print, table, tell},
};
use anyhow::anyhow;
use onnx::OnnxModel;
use plan::arrival::{
    Ingredients,
    external::External,
    replay::{self, Budgets, Case, Costs, Policy, Score},
};
use serde::Serialize;
use std::sync::Arc;

#[derive(Debug, Serialize)]
struct Report {
    pairs: u32,
    arrived: u32,
    entities: u32,
    look_cost: f64,
    delay_cost_per_minute: f64,
    head_cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_per_month: Option<f64>,
    policies: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    policy: &'static str,
    looks_per_arrived: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_looks_per_arrived: Option<f64>,
    delay_minutes_mean: f64,
    delay_minutes_p50: f64,
    delay_minutes_p95: f64,
    wasted_looks_per_never: f64,
    cost_per_cell: f64,
    /// `null`: the policy learns from the first half and does not play it.
    cost_per_cell_first_half: Option<f64>,
}

pub(crate) async fn run(arguments: &Arguments, evaluate: &Evaluate) -> Result<u8, Failure> {
    let costs = costs(evaluate)?;
    let chosen = chosen(&evaluate.policy, &costs)?;
    let model = evaluate
        .model
        .as_ref()
        .map(|file| OnnxModel::read(file).map(|model| Arc::new(model) as Arc<dyn External>))
        .transpose()
        .map_err(|error| Failure::usage(anyhow!(error).context("--model")))?;
    let known = known::read(
        &evaluate.arrivals,
        &evaluate.expected,
        &evaluate.keys,
        evaluate.train_fraction,
    )
    .map_err(|error| Failure::usage(anyhow!(error)))?;
    for note in &known.notes {
        tell(format_args!("note: {note}"));
    }
    let cases: Arc<[Case]> = known.cases.into();
    let count = |keep: fn(&&Case) -> bool| cases.iter().filter(keep).count() as u32;
    let mut report = Report {
        pairs: cases.len() as u32,
        arrived: count(|case| case.came.is_some()),
        entities: known.entities as u32,
        look_cost: costs.look,
        delay_cost_per_minute: costs.delay_per_minute,
        head_cost: costs.cheap_look,
        budget_per_day: costs.budget.per_day,
        budget_per_month: costs.budget.per_month,
        policies: Vec::new(),
    };
    if !cases.iter().any(|case| case.is_second) {
        return Err(Failure::usage(anyhow!(
            "no pair is left for the second half: give a smaller --train-fraction"
        )));
    }
    let is_planner = |policy: &Policy| matches!(policy, Policy::Tidewatch(_));
    if !costs.budget.is_none() && chosen.iter().any(|(_, policy)| !is_planner(policy)) {
        tell(
            "note: only tidewatch's own policies keep to a budget; the others spend what they like",
        );
    }
    let own = chosen.into_iter().map(|(name, policy)| (name, policy, None));
    let external = model.map(|model| {
        let policy = Policy::Tidewatch(Ingredients::default());
        ("tidewatch_with_model", policy, Some(model))
    });
    let plays: Vec<_> = own
        .chain(external)
        .map(|(name, policy, model)| {
            let cases = Arc::clone(&cases);
            let scored = tokio::task::spawn_blocking(move || {
                let spent = replay::play(policy, &cases, &costs, model);
                [false, true].map(|is_second| replay::score(&cases, &spent, &costs, is_second))
            });
            (name, scored)
        })
        .collect();
    for (name, scored) in plays {
        let scored = scored.await.map_err(Failure::failed)?;
        tell(format_args!("played {name}"));
        report.policies.push(row(name, &scored, &costs));
    }
    if arguments.json {
        json(&report)?;
        return Ok(0);
    }
    show(&report);
    Ok(0)
}

fn costs(evaluate: &Evaluate) -> Result<Costs, Failure> {
    let price = |name: &str, price: f64| {
        if price.is_finite() && price >= 0.0 {
            Ok(price)
        } else {
            Err(Failure::usage(anyhow!("--{name}: {price} is not a price: give 0 or more")))
        }
    };
    let look = price("look-cost", evaluate.look_cost)?;
    let delay_per_minute = price("delay-cost-per-minute", evaluate.delay_cost_per_minute)?;
    let cheap_look = evaluate.head_cost.map(|cost| price("head-cost", cost)).transpose()?;
    if cheap_look.unwrap_or(look) <= 0.0 {
        return Err(Failure::usage(anyhow!(
            "a look that costs nothing would be made without pause: give it a price"
        )));
    }
    if !(0.0..1.0).contains(&evaluate.train_fraction) {
        return Err(Failure::usage(anyhow!(
            "--train-fraction: {} is not from 0 to below 1",
            evaluate.train_fraction
        )));
    }
    let budget = |name: &str, most: Option<f64>| {
        let most = most.map(|most| price(name, most)).transpose()?;
        match most.filter(|most| *most < look + cheap_look.unwrap_or(0.0)) {
            Some(most) => Err(Failure::usage(anyhow!(
                "--{name}: {most} is less than one look costs: nothing would ever be looked at"
            ))),
            None => Ok(most),
        }
    };
    let budget = Budgets {
        per_day: budget("budget-per-day", evaluate.budget_per_day)?,
        per_month: budget("budget-per-month", evaluate.budget_per_month)?,
    };
    Ok(Costs { look, delay_per_minute, cheap_look, budget })
}

/// The policies that are named; without a name all that keep to the budgets.
fn chosen(names: &[String], costs: &Costs) -> Result<Vec<(&'static str, Policy)>, Failure> {
    let all = replay::policies();
    if names.is_empty() {
        let has_budget = !costs.budget.is_none();
        let keeps = |policy: &Policy| match policy {
            Policy::Tidewatch(uses) => has_budget || uses.scarcity,
            _ => !has_budget,
        };
        return Ok(all.into_iter().filter(|(_, policy)| keeps(policy)).collect());
    }
    names
        .iter()
        .map(|name| {
            all.iter().find(|(known, _)| known == name).copied().ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                Failure::usage(anyhow!(
                    "--policy: there is no `{name}`; there are {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

fn row(policy: &'static str, [first, second]: &[Score; 2], costs: &Costs) -> Row {
    Row {
        policy,
        looks_per_arrived: second.looks_per_arrived,
        head_looks_per_arrived: costs.cheap_look.map(|_| second.cheap_looks_per_arrived),
        delay_minutes_mean: second.delay_mean,
        delay_minutes_p50: second.delay_p50,
        delay_minutes_p95: second.delay_p95,
        wasted_looks_per_never: second.looks_per_never,
        cost_per_cell: second.cost_per_cell,
        cost_per_cell_first_half: (first.cells > 0).then_some(first.cost_per_cell),
    }
}

fn show(report: &Report) {
    line(format_args!(
        "{} expected pairs of {} entities, {} arrived; a look costs {}, a minute of delay {}",
        report.pairs,
        report.entities,
        report.arrived,
        report.look_cost,
        report.delay_cost_per_minute
    ));
    let mut header =
        vec!["policy", "cost", "first half", "looks", "heads", "delay", "p50", "p95", "never"];
    if report.head_cost.is_none() {
        header.retain(|name| *name != "heads");
    }
    let mut rows = table(&header, &header[1..]);
    for row in &report.policies {
        let mut cells = vec![
            row.policy.to_owned(),
            format!("{:.2}", row.cost_per_cell),
            row.cost_per_cell_first_half.map_or("-".to_owned(), |cost| format!("{cost:.2}")),
            format!("{:.2}", row.looks_per_arrived),
        ];
        cells.extend(row.head_looks_per_arrived.map(|heads| format!("{heads:.1}")));
        cells.extend([
            format!("{:.1}", row.delay_minutes_mean),
            format!("{:.1}", row.delay_minutes_p50),
            format!("{:.1}", row.delay_minutes_p95),
            format!("{:.1}", row.wasted_looks_per_never),
        ]);
        rows.add_row(cells);
    }
    print(&rows);
    line("");
    line(
        "cost: of an expected pair in the second half of each entity's periods; looks: of a pair that",
    );
    line(
        "arrived; delay in minutes; never: looks at a pair that did not arrive. quantile, dp_train, dp_roll",
    );
    line("and best_window are told when past data really came; bound and oracle know the future.");
}
