//! The program `tidewatch`: one file a command.
//!
//! Results go to stdout, everything for people to stderr. Exit codes: 0 done, 1 a check failed or
//! the command could not be done, 2 usage or configuration, 3 due work is left undone, 4 another
//! engine holds the project.

mod arguments;
mod commands;
mod failure;
mod ids;
mod memory;
mod output;
mod progress;
mod project;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    memory::keep();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    progress::start_log(&arguments);
    let runtime = runtime(&arguments.command);
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

/// What the tasks of a command run on.
///
/// An engine gets half of the processors: its commits (Parquet, SQLite) run beside its tasks on threads
/// that may block, and a worker without work costs more by being woken for each message than it does.
/// A single worker needs no thread of its own and no queue that others can take from.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = match (command, std::thread::available_parallelism()) {
        (Command::Run(_), Ok(processors)) if processors.get() > 2 => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(processors.get().div_ceil(2));
            builder
        }
        (Command::Run(_), _) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
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
        Command::Arrival(arrival) => commands::arrival::run(arguments, arrival).await,
        Command::Spend(spend) => commands::spend::run(arguments, spend).await,
        Command::Sql(sql) => commands::sql::run(arguments, sql).await,
        // Databases are asked by clients that block.
        Command::Id(wanted) => tokio::task::block_in_place(|| commands::id::run(arguments, wanted)),
        Command::Serve(serve) => commands::serve::run(arguments, serve).await,
        Command::State(state) => commands::state::run(arguments, state).await,
        Command::Demo(demo) => commands::demo::run(arguments, demo).await,
    }
}
