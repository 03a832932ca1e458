//! `tidewatch pace`: what is believed of a server's limit, why, and what the week was like.

use crate::{
    arguments::Arguments,
    failure::Failure,
    output::{grouped, json, line, safe, tell},
    project::Project,
};
use engine::Learned;
use jiff::Timestamp;
use pace::{Hourly, Kind, Memory, Wait, trace::short};
use source::Source;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// From nothing to the highest rate of the week.
const SHADES: [char; 9] = ['.', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) async fn run(arguments: &Arguments, name: &str) -> Result<u8, Failure> {
    let project = Project::open(arguments)?;
    let source = project.source(name)?;
    let scope = source.limit_scope();
    let rows = match project.state_if_any()? {
        Some(state) => state.paces().await?,
        None => Vec::new(),
    };
    let row = rows.iter().find(|row| row.scope == scope);
    let learned = row.and_then(Learned::read);
    let wait = learned.as_ref().and_then(|learned| waits(learned, source, project.now()));
    if arguments.json {
        return print_json(source, &scope, learned.as_ref(), wait);
    }
    line(format_args!("{}: limit scope {}", source.id, safe(&scope)));
    line(format_args!("  allowed by its file: {}", ceiling(source)));
    let Some(learned) = learned else {
        tell("nothing was learned of this scope yet: it is found by `tidewatch run`");
        return Ok(0);
    };
    if let Some(memory) = &learned.memory {
        line(format_args!("  believed: {}", belief(memory)));
        line(format_args!("  learned until {}", memory.learned_at));
    }
    if let Some(wait) = wait {
        line(format_args!("  {}", waiting(&wait)));
    }
    if !learned.decisions.is_empty() {
        line("  why, the latest decisions:");
    }
    for decision in &learned.decisions {
        let rate = match decision.rate {
            rate if rate > 0.0 => format!("{}/s", short(rate)),
            _ => "single requests only".to_owned(),
        };
        line(format_args!("    {:.3}  {rate}: {}", decision.at, safe(&decision.why)));
    }
    week(&learned.hours);
    Ok(0)
}

/// What the backfill of a source waits for at `now`.
pub(crate) fn waits(learned: &Learned, source: &Source, now: Timestamp) -> Option<Wait> {
    learned.waits.get(source.id.as_str()).copied().filter(|wait| now < wait.until)
}

/// The same as a sentence.
pub(crate) fn waiting(wait: &Wait) -> String {
    let times = short(wait.times);
    format!("backfill waits until {} for hours that let {times} times as much through", wait.until)
}

fn ceiling(source: &Source) -> String {
    let limit = &source.limit;
    let rate = limit
        .rate_per_second
        .map_or("any rate".to_owned(), |rate| format!("{}/s, burst {}", short(rate), limit.burst));
    let learn = if limit.learn { "" } else { "; nothing is learned (`learn = false`)" };
    format!("{rate}, {} under way{learn}", limit.concurrency)
}

/// What the controller believes, in a sentence.
fn belief(memory: &Memory) -> String {
    let kind = match memory.kind {
        Kind::Unknown => "no limit was met",
        Kind::Bucket => "a bucket: what is above its rate is refused, the next is taken again",
        Kind::Queue => "a bucket that lets requests wait instead of refusing them",
        Kind::Window => "a quota by window",
        Kind::CountsRefused => "a rate that counts refused requests, too",
        Kind::Penalty => "a penalty box: after one excess nothing is taken for a while",
        Kind::Concurrency => "a limit on requests under way",
        Kind::Overload => "no limiter, but the server's capacity",
    };
    let mut parts = vec![kind.to_owned()];
    match memory.limit {
        Some(limit) => parts.push(format!("{}/s", short(limit))),
        None if memory.held > 0.0 => parts.push(format!("{}/s were taken", short(memory.held))),
        None => {}
    }
    if memory.burst >= 1.0 {
        parts.push(format!("{} more at once after a pause", memory.burst.round()));
    }
    if let Some((quota, width)) = memory.window {
        parts.push(format!("{} in {} s", quota.round(), short(width.as_secs_f64())));
    }
    if let Some(concurrency) = memory.concurrency {
        parts.push(format!("{concurrency} under way"));
    }
    if let Some(penalty) = memory.penalty {
        parts.push(format!("closed for {} s after an excess", short(penalty.as_secs_f64())));
    }
    if let Some(baseline) = memory.baseline {
        parts.push(format!("{} ms without load", short(baseline.as_secs_f64() * 1000.0)));
    }
    parts.join(", ")
}

/// A shade for each hour of the week by the rate that it let through, UTC.
fn week(hours: &[(u8, Hourly)]) {
    let rate = |hour: &Hourly| if hour.limit > 0.0 { hour.limit } else { hour.held };
    let most = hours.iter().map(|(_, hour)| rate(hour)).fold(0.0_f32, f32::max);
    if most <= 0.0 {
        return;
    }
    line(format_args!("  rate by hour of the week, UTC; █ is {}/s:", short(f64::from(most))));
    line("         0     6     12    18");
    for (day, name) in DAYS.iter().enumerate() {
        let row: String = (0..24)
            .map(|hour| {
                let known =
                    hours.iter().find(|(number, _)| usize::from(*number) == day * 24 + hour);
                known.map_or(' ', |(_, hour)| {
                    SHADES[(rate(hour) / most * 8.0).round().clamp(0.0, 8.0) as usize]
                })
            })
            .collect();
        let of_day = || hours.iter().filter(|(number, _)| usize::from(*number) / 24 == day);
        let requests: u64 = of_day().map(|(_, hour)| u64::from(hour.requests)).sum();
        let refused: u64 = of_day().map(|(_, hour)| u64::from(hour.refused)).sum();
        let counts = if requests > 0 {
            format!("  {} requests, {} refused", grouped(requests), grouped(refused))
        } else {
            String::new()
        };
        line(format_args!("    {name}  {row}{counts}"));
    }
}

fn print_json(
    source: &Source,
    scope: &str,
    learned: Option<&Learned>,
    wait: Option<Wait>,
) -> Result<u8, Failure> {
    let memory = learned.and_then(|learned| learned.memory.as_ref());
    let hours: Vec<_> = learned
        .map(|learned| learned.hours.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|(hour, it)| {
            serde_json::json!({
                "hour": hour, "limit": it.limit, "held": it.held,
                "requests": it.requests, "refused": it.refused,
            })
        })
        .collect();
    json(&serde_json::json!({
        "source": source.id.as_str(),
        "scope": scope,
        "declared": {
            "rate": source.limit.rate_per_second,
            "burst": source.limit.burst,
            "concurrency": source.limit.concurrency,
            "learn": source.limit.learn,
            "prefer_open_hours": source.limit.prefer_open_hours,
        },
        "backfill_waits": wait,
        "kind": memory.map(|memory| memory.kind.as_str()),
        "limit": memory.and_then(|memory| memory.limit),
        "burst": memory.map(|memory| memory.burst),
        "window": memory.and_then(|memory| memory.window).map(|(quota, width)| {
            serde_json::json!({ "quota": quota, "seconds": width.as_secs_f64() })
        }),
        "concurrency": memory.and_then(|memory| memory.concurrency),
        "penalty_seconds": memory.and_then(|memory| memory.penalty).map(|it| it.as_secs_f64()),
        "baseline_seconds": memory.and_then(|memory| memory.baseline).map(|it| it.as_secs_f64()),
        "held": memory.map(|memory| memory.held),
        "learned_at": memory.map(|memory| memory.learned_at.to_string()),
        "decisions": learned.map(|learned| &learned.decisions),
        "hours": hours,
    }))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_backfill_waits_for_is_said() {
        let until = "2026-11-21T01:00:00Z".parse().unwrap();
        assert_eq!(
            waiting(&Wait { until, times: 4.0 }),
            "backfill waits until 2026-11-21T01:00:00Z for hours that let 4 times as much through"
        );
    }
}
