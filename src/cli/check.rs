//! `rwsgi check`: everything that can be found wrong without serving, told at once.

use std::io::{Write, stdout};

use crate::app::{Identity, Loader};
use crate::config::{self, Settings, Sink, Sources};
use crate::log::{self, Role};
use crate::net::Bind;

use super::{CONFIGURATION_ERROR, OK, SYSTEM_ERROR, messages};

/// The worker that the check stands in for.
const CHECKED: Identity = Identity { generation: 1, slot: 0 };

/// Resolves the configuration and imports the application. Returns the exit code: 0 or 2.
pub(super) fn run(sources: &Sources, loader: &dyn Loader) -> i32 {
    let settings = match sources.load() {
        Ok(settings) => settings,
        Err(problems) => {
            messages::problems(&problems);
            return CONFIGURATION_ERROR;
        }
    };
    // What the import logs is shown here, not added to the log of a server that may be running.
    let log = config::Log { file: Sink::Standard, access: Sink::Off, ..settings.log.clone() };
    if let Err(error) = log::install(&log, Role::Command) {
        messages::error(&format!("standard error cannot be used for the log: {error}"));
        return SYSTEM_ERROR;
    }
    match loader.load(&settings, CHECKED) {
        Ok(application) => {
            application.finalize();
            let written = stdout().lock().write_all(facts(&settings).as_bytes());
            if written.is_ok() { OK } else { SYSTEM_ERROR }
        }
        Err(error) => {
            let traceback = error.traceback.map(|text| format!("\n{}", text.trim_end())).unwrap_or_default();
            messages::error(&format!("{}{traceback}", error.summary));
            CONFIGURATION_ERROR
        }
    }
}

/// One line per resolved fact.
fn facts(settings: &Settings) -> String {
    let app = &settings.app;
    let python = match &app.virtualenv {
        Some(path) => path.join("bin/python").display().to_string(),
        None => "the one that rwsgi was built with (no virtualenv)".to_owned(),
    };
    let binds: Vec<_> = settings.server.bind.iter().map(bind_text).collect();
    format!(
        "target: {}:{} in {}\npython: {python}\nbind: {}\nworkers: {} × {}\nconfiguration OK\n",
        app.target.module,
        app.target.callable,
        app.directory.display(),
        binds.join(", "),
        counted(settings.workers.count, "worker"),
        counted(settings.workers.threads, "thread"),
    )
}

fn counted(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn bind_text(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Name(host, port) => format!("{host}:{port}"),
        Bind::Unix(path) => format!("unix:{}", path.display()),
        Bind::Descriptor(number) => format!("fd:{number}"),
    }
}
