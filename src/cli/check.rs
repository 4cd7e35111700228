//! `rwsgi check`: everything that can be found wrong without serving, told at once. What is not wrong and will hurt in
//! production is told as a warning, which does not change the exit code.

mod warnings;

use std::io::{Write, stdout};

use crate::app::{Identity, LoadError, Loader};
use crate::config::{self, Preload, Settings, Sink, Sources};
use crate::log::{self, Role};
use crate::net::Bind;
use crate::sys::fork_safety::{Findings, Snapshot};

use warnings::Surroundings;

use super::{CONFIGURATION_ERROR, OK, SYSTEM_ERROR, messages};

/// The worker that the check stands in for.
const CHECKED: Identity = Identity { generation: 1, slot: 0 };

/// Resolves the configuration and imports the application; with `fork` also tells what would not survive a fork. Returns
/// the exit code: 0 or 2.
pub(super) fn run(sources: &Sources, loader: &dyn Loader, fork: bool) -> i32 {
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
    for warning in warnings::warnings(&settings, &Surroundings::look(&settings)) {
        messages::warning(&warning);
    }
    let before = match Snapshot::take() {
        Ok(before) => Some(before),
        Err(error) if fork => {
            messages::error(&format!("threads and sockets cannot be listed: {error}"));
            return SYSTEM_ERROR;
        }
        Err(_) => None,
    };
    import(&settings, loader, before.as_ref(), fork)
}

/// With `fork` what was found is part of the report; without, it is a warning.
fn import(settings: &Settings, loader: &dyn Loader, before: Option<&Snapshot>, fork: bool) -> i32 {
    match loader.load(settings, CHECKED, None) {
        Ok(application) => {
            let mut text = facts(settings);
            let mut has_threads = false;
            match before.map(|before| before.findings(&application.thread_names())).transpose() {
                Ok(None) => {}
                Ok(Some(findings)) => {
                    has_threads = !findings.threads.is_empty();
                    if fork {
                        text.push_str(&fork_report(&findings, settings.app.preload));
                    } else if let Some(warning) = preload_warning(&findings, settings.app.preload) {
                        messages::warning(&warning);
                    }
                }
                Err(error) if fork => {
                    messages::error(&format!("threads and sockets cannot be listed: {error}"))
                }
                Err(_) => {}
            }
            // The end of the interpreter waits for the threads of the application, which may never end.
            if !has_threads {
                application.finalize();
            }
            let written = stdout().lock().write_all(text.as_bytes());
            if written.is_ok() { OK } else { SYSTEM_ERROR }
        }
        Err(error) => {
            messages::error(&load_error(&error));
            CONFIGURATION_ERROR
        }
    }
}

/// The same in a sentence, when workers are to be forked from the imported application.
fn preload_warning(findings: &Findings, preload: Preload) -> Option<String> {
    let Findings { threads, connections, listeners } = findings;
    let kinds = [("thread", threads), ("connection", connections), ("listening socket", listeners)];
    let found: Vec<_> = kinds
        .iter()
        .flat_map(|(kind, found)| found.iter().map(move |name| format!("the {kind} {name}")))
        .collect();
    let (setting, consequence) = match preload {
        Preload::Auto => {
            ("\"auto\"", "so that each worker imports the application itself and shares no memory")
        }
        Preload::Always => ("true", "and workers are forked all the same"),
        Preload::Never => return None,
    };
    (!found.is_empty()).then(|| {
        format!(
            "app.preload = {setting}: the import leaves {} behind, which does not survive a fork, {consequence}: open or \
             start it in hooks.worker_start, or set app.preload to false (rwsgi check --fork explains each)",
            found.join(", ")
        )
    })
}

/// One line, and one more for each finding.
fn fork_report(findings: &Findings, preload: Preload) -> String {
    if findings.is_empty() {
        return "fork: safe (no threads, no connections after import)\n".to_owned();
    }
    let consequence = match preload {
        Preload::Auto => "each worker imports the application itself (app.preload = \"auto\")",
        Preload::Always => "workers are forked all the same (app.preload = true)",
        Preload::Never => "each worker imports the application itself anyway (app.preload = false)",
    };
    let kinds = [
        ("thread", &findings.threads, "it would not run in a forked worker: start it in hooks.worker_start"),
        (
            "connection",
            &findings.connections,
            "workers would read and write it at once: open it at its first use, or in hooks.worker_start",
        ),
        (
            "listening socket",
            &findings.listeners,
            "all workers would accept from it: open it in hooks.worker_start",
        ),
    ];
    let lines = kinds.iter().flat_map(|(kind, found, meaning)| {
        found.iter().map(move |name| format!("fork: {kind} {name}: {meaning}\n"))
    });
    format!("fork: not safe: {consequence}\n{}", lines.collect::<String>())
}

/// The summary, and the traceback below it.
fn load_error(error: &LoadError) -> String {
    let traceback = error.traceback.as_ref().map(|text| format!("\n{}", text.trim_end()));
    format!("{}{}", error.summary, traceback.unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::LoadErrorKind;
    use crate::config::FlagValues;
    use crate::config::table;

    #[derive(Debug)]
    struct Broken;

    impl Loader for Broken {
        fn load(
            &self,
            _: &Settings,
            _: Identity,
            _: Option<&std::fs::File>,
        ) -> Result<Box<dyn crate::app::Application>, LoadError> {
            Err(failure())
        }
    }

    fn failure() -> LoadError {
        LoadError {
            kind: LoadErrorKind::Import,
            summary: "the module app cannot be imported".to_owned(),
            traceback: Some("Traceback:\nNameError\n".to_owned()),
        }
    }

    fn sources(directory: &std::path::Path, flags: &[(&str, &str, &[&str])]) -> Sources {
        let flags = flags.iter().map(|(section, key, values)| FlagValues {
            setting: table::find(section, key).unwrap(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        });
        Sources::new(None, [], flags.collect(), directory.to_owned(), false)
    }

    #[test]
    fn facts_are_one_line_each() {
        let directory = tempfile::tempdir().unwrap();
        let bind: &[&str] = &[":80,[::1]:80", "unix:/run/x.sock", "fd:3,web:80"];
        let flags: &[(&str, &str, &[&str])] = &[
            ("app", "target", &["site.wsgi:make()"]),
            ("server", "bind", bind),
            ("workers", "count", &["4"]),
        ];
        let settings = sources(directory.path(), flags).load().unwrap();
        assert_eq!(
            facts(&settings),
            format!(
                "target: site.wsgi:make() in {}\npython: the one that rwsgi was built with (no virtualenv)\nbind: \
                 0.0.0.0:80, [::1]:80, unix:/run/x.sock, fd:3, web:80\nworkers: 4 workers × 1 thread\nconfiguration \
                 OK\n",
                directory.path().display()
            )
        );
    }

    #[test]
    fn whatever_is_wrong_is_a_configuration_error() {
        let directory = tempfile::tempdir().unwrap();
        let settings = sources(directory.path(), &[("app", "target", &["app"])]).load().unwrap();
        assert_eq!(import(&settings, &Broken, None, false), 2);
        assert_eq!(run(&sources(directory.path(), &[("app", "target", &["app.py"])]), &Broken, false), 2);
    }

    #[test]
    fn each_finding_is_told_with_what_it_means() {
        let mut findings = Findings::default();
        assert_eq!(
            fork_report(&findings, Preload::Auto),
            "fork: safe (no threads, no connections after import)\n"
        );
        findings.threads = vec!["exporter".to_owned()];
        findings.connections = vec!["127.0.0.1:5432".to_owned()];
        assert_eq!(
            fork_report(&findings, Preload::Auto),
            "fork: not safe: each worker imports the application itself (app.preload = \"auto\")\nfork: thread \
             exporter: it would not run in a forked worker: start it in hooks.worker_start\nfork: connection \
             127.0.0.1:5432: workers would read and write it at once: open it at its first use, or in \
             hooks.worker_start\n"
        );
    }

    #[test]
    fn what_a_fork_loses_is_a_warning_where_workers_are_forked() {
        let mut findings = Findings::default();
        assert_eq!(preload_warning(&findings, Preload::Auto), None);
        findings.threads = vec!["exporter".to_owned()];
        findings.listeners = vec!["127.0.0.1:9".to_owned()];
        let said = preload_warning(&findings, Preload::Auto).unwrap();
        let begin = "app.preload = \"auto\": the import leaves the thread exporter, the listening socket 127.0.0.1:9 behind";
        assert!(said.starts_with(begin), "{said}");
        assert!(preload_warning(&findings, Preload::Always).unwrap().contains("forked all the same"));
        assert_eq!(preload_warning(&findings, Preload::Never), None);
    }

    #[test]
    fn the_traceback_follows_the_summary() {
        assert_eq!(load_error(&failure()), "the module app cannot be imported\nTraceback:\nNameError");
    }
}
