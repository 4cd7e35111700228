//! The manual pages and completion scripts that packages get from `rwsgi defaults --format`: pages without a complaint of
//! mandoc and groff, scripts that the shells accept, and a bash that completes with them. That nothing is missing in them
//! is tested beside their renderers.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness;

/// What `rwsgi defaults --format NAME` prints, in a file of that name.
#[track_caller]
fn rendered(folder: &Path, name: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rwsgi"));
    command.args(["defaults", "--format", name]);
    let outcome = harness::run_command(command);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:#?}");
    let path = folder.join(name);
    std::fs::write(&path, outcome.stdout).unwrap();
    path
}

/// Standard output and standard error of a program that must succeed and is given a file; `None` when it is not installed.
#[track_caller]
fn judged(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|place| place.join(program).is_file()) {
        eprintln!("skipped: {program} is not installed: `make test` installs it");
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    let outcome = harness::run_command(command);
    assert!(outcome.status.success(), "{program} {arguments:?}: {outcome:#?}");
    Some(outcome.stdout + &outcome.stderr)
}

#[test]
fn manual_pages_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["rwsgi.1", "rwsgi-ctl.1", "rwsgi.toml.5"] {
        let page = rendered(folder.path(), name);
        for (program, arguments) in
            [("mandoc", &["-T", "lint", "-W", "warning"][..]), ("groff", &["-man", "-ww", "-z", "-Tutf8"])]
        {
            if let Some(said) = judged(program, arguments, &page) {
                assert_eq!(said, "", "{program} about {name}");
            }
        }
        if let Some(shown) = judged("mandoc", &["-T", "ascii"], &page) {
            // Bold is a character over itself.
            let mut shown: Vec<char> = shown.chars().collect();
            while let Some(at) = shown.iter().position(|&character| character == '\u{8}') {
                shown.drain(at - 1..=at);
            }
            let shown: String = shown.into_iter().collect();
            assert!(shown.contains("NAME") && shown.len() > 1000, "{name}:\n{shown}");
            assert!(!shown.contains("\\f") && !shown.contains('`'), "{name} shows markup:\n{shown}");
        }
    }
}

#[test]
fn a_page_has_the_date_of_its_sources() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rwsgi"));
    command.args(["defaults", "--format", "rwsgi.1"]).env("SOURCE_DATE_EPOCH", "1700000000");
    let page = harness::run_command(command).stdout;
    assert!(page.contains("2023-11-14") || page.contains("2023\\-11\\-14"), "{page}");
}

#[test]
fn the_shells_accept_their_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = rendered(folder.path(), shell);
        if let Some(said) = judged(shell, &["-n"], &script) {
            assert_eq!(said, "", "{shell}");
        }
    }
}

/// The words that bash offers after the last of these.
#[track_caller]
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        source "$1"
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _rwsgi rwsgi "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", ASK, "bash"]).arg(script).args(words);
    let outcome = harness::run_command(command);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:#?}");
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = rendered(folder.path(), "bash");
    for (words, expected) in [
        (&["rwsgi", "che"][..], &["check"][..]),
        (&["rwsgi", "--graceful"], &["--graceful-timeout"]),
        (&["rwsgi", "ctl", "reo"], &["reopen-logs"]),
        (&["rwsgi", "ctl", "reload", "--w"], &["--wait"]),
        (&["rwsgi", "--log-level", "e"], &["error"]),
        (&["rwsgi", "check", "--preload", ""], &["auto", "true", "false"]),
    ] {
        assert_eq!(offered(&script, words), expected, "{words:?}");
    }
}
