//! The command line: argv becomes a command, the command becomes an exit code. The only place that wires the roles
//! together; options come from the table of settings.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | stopped as asked; `check` found nothing wrong; `ctl` did it; `--help`, `--version`, `defaults` |
//! | 1 | system error: port in use, log file cannot be opened; `ctl` reached no server, or was refused |
//! | 2 | configuration or usage error; whatever `check` found wrong |
//! | 3 | the application could not be imported |
//! | 4 | the module has no such callable |

mod arguments;
mod check;
mod completions;
mod ctl;
mod manual;
mod messages;

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;

use crate::app::Loader;
use crate::config::{Sources, render};
use crate::ipc::Programs;
use crate::log::{self, Role};
use crate::master;
use crate::sys::environment;

use arguments::{Invocation, Reference};

const OK: i32 = 0;
const SYSTEM_ERROR: i32 = 1;
const CONFIGURATION_ERROR: i32 = 2;

/// Runs the program with the arguments of this process.
pub fn main(loader: &dyn Loader, programs: Programs) -> ExitCode {
    let code = run(env::args_os(), loader, programs);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Runs the program with these arguments (the first is its name). Returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, loader: &dyn Loader, programs: Programs) -> i32 {
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
        Invocation::Defaults(Reference::Completions(shell)) => print(&completions::script(shell)),
        Invocation::Defaults(Reference::Manual(page)) => manual(page),
        Invocation::Check { chosen, fork } => match sources(chosen) {
            Ok(sources) => check::run(&sources, loader, fork),
            Err(code) => code,
        },
        Invocation::Control(order) => control(&order),
        Invocation::Run(chosen) => match sources(chosen) {
            Ok(sources) => serve(sources, programs),
            Err(code) => code,
        },
    }
}

fn sources(chosen: arguments::Chosen) -> Result<Sources, i32> {
    let sources = any_sources(chosen)?;
    if sources.is_empty() {
        messages::error(messages::NOTHING_TO_RUN);
        return Err(CONFIGURATION_ERROR);
    }
    Ok(sources)
}

/// As [`sources`], also if they do not say what to run.
fn any_sources(chosen: arguments::Chosen) -> Result<Sources, i32> {
    let current_directory = environment::current_directory().map_err(|error| {
        messages::error(&format!("the current directory cannot be found out: {error}"));
        SYSTEM_ERROR
    })?;
    let on_terminal = stdout().is_terminal();
    let sources = Sources::new(chosen.file, env::vars_os(), chosen.flags, current_directory, on_terminal);
    // Not a program that is replaced while it runs: its path then has ` (deleted)` at its end.
    Ok(sources.with_program(env::current_exe().ok().filter(|path| path.exists())))
}

fn control(order: &ctl::Order) -> i32 {
    match any_sources(arguments::Chosen { file: order.file.clone(), flags: Vec::new() }) {
        Ok(sources) => ctl::run(order, &sources),
        Err(code) => code,
    }
}

fn serve(sources: Sources, programs: Programs) -> i32 {
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
    let code = master::run(sources, settings, programs);
    log::flush();
    code
}

fn manual(page: manual::Page) -> i32 {
    match manual::page(page, &date()) {
        Ok(text) => print(&text),
        Err(error) => {
            messages::error(&format!("the page cannot be rendered: {error}"));
            SYSTEM_ERROR
        }
    }
}

/// That of the build for packages that are to be reproducible (reproducible-builds.org), else today.
fn date() -> String {
    let of_build = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let of_build = of_build.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    of_build.unwrap_or_else(jiff::Timestamp::now).strftime("%Y-%m-%d").to_string()
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
