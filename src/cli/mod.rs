//! The command line: argv becomes a command, the command becomes an exit code. The only place that wires the roles
//! together; options come from the table of settings.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | stopped as asked; `check` found nothing wrong; `--help`, `--version`, `defaults` |
//! | 1 | system error: port in use, log file cannot be opened |
//! | 2 | configuration or usage error; whatever `check` found wrong |
//! | 3 | the application could not be imported |
//! | 4 | the module has no such callable |

mod arguments;
mod check;
mod messages;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::Loader;
use crate::config::{Sources, render};
use crate::ipc::WorkerMain;
use crate::log::{self, Role};
use crate::master;

use arguments::{Invocation, Reference};

const OK: i32 = 0;
const SYSTEM_ERROR: i32 = 1;
const CONFIGURATION_ERROR: i32 = 2;

/// Runs the program with the arguments of this process.
pub fn main(loader: &dyn Loader, worker: Box<dyn WorkerMain>) -> ExitCode {
    let code = run(env::args_os(), loader, worker);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Runs the program with these arguments (the first is its name). Returns the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    loader: &dyn Loader,
    worker: Box<dyn WorkerMain>,
) -> i32 {
    let invocation = match arguments::parse(arguments) {
        Ok(invocation) => invocation,
        Err(answer) => {
            // Help goes to standard output, usage errors to standard error; a closed one changes nothing.
            answer.print().ok();
            return answer.exit_code();
        }
    };
    match invocation {
        Invocation::Defaults(Reference::Toml) => print(&render::toml()),
        Invocation::Defaults(Reference::Markdown) => print(&render::markdown()),
        Invocation::Check(chosen) => match sources(chosen) {
            Ok(sources) => check::run(&sources, loader),
            Err(code) => code,
        },
        Invocation::Run(chosen) => match sources(chosen) {
            Ok(sources) => serve(sources, worker),
            Err(code) => code,
        },
    }
}

fn sources(chosen: arguments::Chosen) -> Result<Sources, i32> {
    let current_directory = current_directory().map_err(|error| {
        messages::error(&format!("the current directory cannot be found out: {error}"));
        SYSTEM_ERROR
    })?;
    let on_terminal = stdout().is_terminal();
    let sources = Sources::new(chosen.file, env::vars_os(), chosen.flags, current_directory, on_terminal);
    if sources.is_empty() {
        messages::error(messages::NOTHING_TO_RUN);
        return Err(CONFIGURATION_ERROR);
    }
    Ok(sources)
}

/// The current directory as the shell names it, if that is the same: below a symbolic link that a deployment moves, a
/// reload then finds the new release.
fn current_directory() -> io::Result<PathBuf> {
    let real = env::current_dir()?;
    let Some(named) = env::var_os("PWD").map(PathBuf::from) else { return Ok(real) };
    let is_same = match (named.metadata(), real.metadata()) {
        (Ok(named), Ok(real)) => (named.dev(), named.ino()) == (real.dev(), real.ino()),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    Ok(if named.is_absolute() && is_same { named } else { real })
}

fn serve(sources: Sources, worker: Box<dyn WorkerMain>) -> i32 {
    let settings = match sources.load() {
        Ok(settings) => settings,
        Err(problems) => {
            messages::problems(&problems);
            return CONFIGURATION_ERROR;
        }
    };
    if let Err(error) = log::install(&settings.log, Role::Master) {
        messages::error(&format!("the error log cannot be opened: {error}"));
        return SYSTEM_ERROR;
    }
    master::run(sources, settings, worker)
}

fn print(text: &str) -> i32 {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => OK,
        Err(error) => {
            messages::error(&format!("standard output cannot be written: {error}"));
            SYSTEM_ERROR
        }
    }
}
