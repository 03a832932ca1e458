//! What people see while it works: a moving line on a terminal, a line a while elsewhere.

use crate::{arguments::Arguments, output::grouped};
use engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

const LINE_EVERY: Duration = Duration::from_secs(10);
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Starts the log on stderr: warnings, or what `-v` and `TIDEWATCH_LOG` ask for.
pub(crate) fn start_log(arguments: &Arguments) {
    let level = match arguments.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let default =
        format!("warn,engine={level},tidewatch={level},fetch={level},lake={level},state={level}");
    let filter =
        EnvFilter::try_from_env("TIDEWATCH_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal());
    if arguments.log_json {
        log.json().init();
    } else {
        log.with_target(false).init();
    }
}

/// Shows progress until the sender is gone.
pub(crate) fn show(mut progress: watch::Receiver<Progress>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let started = Instant::now();
        if !std::io::stderr().is_terminal() {
            return lines(progress, started).await;
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let mut ticks = tokio::time::interval(DRAW_EVERY);
        loop {
            ticks.tick().await;
            let seen = progress.borrow_and_update().clone();
            bar.set_length(seen.due.max(seen.settled));
            bar.set_position(seen.settled);
            bar.set_message(sentence(&seen, started));
            if progress.has_changed().is_err() {
                bar.finish_and_clear();
                return;
            }
        }
    })
}

async fn lines(mut progress: watch::Receiver<Progress>, started: Instant) {
    let mut ticks = tokio::time::interval_at(started + LINE_EVERY, LINE_EVERY);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                let seen = progress.borrow_and_update().clone();
                crate::output::tell(sentence(&seen, started));
            }
            changed = progress.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

fn sentence(seen: &Progress, started: Instant) -> String {
    let elapsed = started.elapsed().as_secs_f64().max(0.001);
    let rate = seen.requests as f64 / elapsed;
    let left = seen.due.saturating_sub(seen.settled);
    let eta = if seen.settled > 0 && left > 0 {
        let seconds = elapsed * left as f64 / seen.settled as f64;
        format!(", about {seconds:.0} s left")
    } else {
        String::new()
    };
    let clock =
        seen.now.map(|now| format!("{} ", now.strftime("%Y-%m-%d %H:%M"))).unwrap_or_default();
    format!(
        "{clock}{} of {} due cells settled, {} requests ({rate:.0}/s), {} records{eta}",
        grouped(seen.settled),
        grouped(seen.due.max(seen.settled)),
        grouped(seen.requests),
        grouped(seen.records),
    )
}
