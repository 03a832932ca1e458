//! The program `tidewatch`: one file a command.
//!
//! Results go to stdout, everything for people to stderr. Exit codes: 0 done, 1 a check failed or
//! the command could not be done, 2 usage or configuration, 3 due work is left undone, 4 another
//! engine holds the project.

mod arguments;
mod commands;
mod failure;
mod output;
mod progress;
mod project;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// An answer is some hundreds of small allocations, many of them freed by another thread than the
/// one that made them: the system's allocator takes a third of a request's time for that, and waits
/// for locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    progress::start_log(&arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::failed(anyhow::Error::new(error).context("starting the runtime"))
                .report();
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// Half of the processors, at least one: commits (Parquet, SQLite) run beside the workers on threads
/// that may block, and workers without work cost more by being woken for each message than they do.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

async fn run(arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.command {
        Command::Init(init) => commands::init::run(arguments, init),
        Command::Check => commands::check::run(arguments),
        Command::Schema => commands::schema::run(),
        Command::Try(cell) => commands::trial::run(arguments, cell).await,
        Command::Run(run) => commands::run::run(arguments, run).await,
        Command::Backfill(backfill) => commands::backfill::run(arguments, backfill).await,
        Command::Pause { source } => commands::pause::run(arguments, source, true).await,
        Command::Resume { source } => commands::pause::run(arguments, source, false).await,
        Command::Status(status) => commands::status::run(arguments, status).await,
        Command::Cells(cells) => commands::cells::run(arguments, cells).await,
        Command::Explain(cell) => commands::explain::run(arguments, cell).await,
        Command::Pace { source } => commands::pace::run(arguments, source).await,
        Command::Spend(spend) => commands::spend::run(arguments, spend).await,
        Command::Sql(sql) => commands::sql::run(arguments, sql).await,
        Command::State(state) => commands::state::run(arguments, state).await,
        Command::Demo(demo) => commands::demo::run(arguments, demo).await,
    }
}
