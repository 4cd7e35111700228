//! `rwsgi check`, `rwsgi defaults` and the samples: what an operator runs before a deploy.

use std::fs;

use crate::harness::{Builder, root, run, run_command};
use crate::tools;

#[test]
fn check_accepts_a_good_configuration() {
    let builder = Builder::new("function").with("server.bind", "\"127.0.0.1:1\"");
    let file = builder.write();
    run(&root(), &["check", "-c", file.to_str().unwrap()]).expect_code(0);
}

#[test]
fn check_reports_everything_wrong_at_once() {
    let builder = Builder::new("function").with("workers.count", "0").with("http.max_headres", "3");
    let builder = builder.with("http.keep_alive", "\"soon\"");
    let file = builder.write();
    let outcome = run(&root(), &["check", "-c", file.to_str().unwrap()]);
    outcome
        .expect_code(2)
        .expect_error("workers.count")
        .expect_error("max_headers")
        .expect_error("keep_alive");
}

#[test]
fn check_imports_the_application() {
    let builder = Builder::new("import_raises");
    let file = builder.write();
    let outcome = run(&root(), &["check", "-c", file.to_str().unwrap()]);
    outcome.expect_code(2).expect_error("RuntimeError: the database settings are missing");
    let builder = Builder::new("function:aplication");
    let file = builder.write();
    run(&root(), &["check", "-c", file.to_str().unwrap()]).expect_code(2).expect_error("aplication");
}

#[test]
fn check_tells_what_does_not_survive_a_fork() {
    let builder = Builder::new("function");
    let file = builder.write();
    let outcome = run(&root(), &["check", "--fork", "-c", file.to_str().unwrap()]);
    outcome.expect_code(0);
    assert!(
        outcome.stdout.contains("fork: safe (no threads, no connections after import)"),
        "{}",
        outcome.stdout
    );
    let builder = Builder::new("unsafe_to_fork");
    let file = builder.write();
    let outcome = run(&root(), &["check", "--fork", "-c", file.to_str().unwrap()]);
    outcome.expect_code(0);
    for line in [
        "fork: not safe: ",
        "thread metrics-exporter: ",
        "connection 127.0.0.1:",
        "listening socket 127.0.0.1:",
    ] {
        assert!(outcome.stdout.contains(line), "{line} in {}", outcome.stdout);
    }
}

#[test]
fn defaults_are_a_configuration_that_only_lacks_a_target() {
    let outcome = run(&root(), &["defaults"]);
    outcome.expect_code(0);
    let table: toml::Table =
        outcome.stdout.parse().unwrap_or_else(|error| panic!("{error}\n{}", outcome.stdout));
    for section in ["app", "server", "workers", "http", "log"] {
        assert!(table.contains_key(section), "[{section}] in\n{}", outcome.stdout);
    }
    let reference = fs::read_to_string(root().join("config/app.toml")).unwrap();
    assert_eq!(outcome.stdout, reference, "config/app.toml is what `rwsgi defaults` prints");
}

#[test]
fn every_example_is_accepted() {
    let environment = tools::virtual_environment();
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let file = entry.unwrap().path().join("app.toml");
        if file.exists() {
            let mut command = std::process::Command::new(crate::harness::binary());
            command.arg("check").arg("-c").arg(&file).env("RWSGI_APP_VIRTUALENV", &environment);
            run_command(command).expect_code(0);
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} examples were found");
}

#[test]
fn help_and_version() {
    let help = run(&root(), &["--help"]);
    help.expect_code(0);
    for word in ["--bind", "--workers", "--threads", "check", "defaults"] {
        assert!(help.stdout.contains(word), "{word} in\n{}", help.stdout);
    }
    let version = run(&root(), &["--version"]);
    version.expect_code(0);
    assert!(
        version.stdout.starts_with(&format!("rwsgi {}", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.stdout
    );
}
