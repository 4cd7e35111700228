//! What `rwsgi check` warns of: one sentence on standard error, and exit code 0 all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::harness::{Builder, Outcome, binary, run_command};
use crate::tools;

/// Checks the configuration of `builder` with this limit of open files.
fn checked_with(builder: &Builder, open_files: &str) -> Outcome {
    let mut command = Command::new(tools::program("prlimit"));
    command.arg(format!("--nofile={open_files}")).arg(binary()).arg("check").arg("-c").arg(builder.write());
    command.stdin(Stdio::null());
    let outcome = run_command(command);
    outcome.expect_code(0);
    assert!(outcome.stdout.contains("configuration OK"), "{outcome:#?}");
    outcome
}

fn checked(builder: &Builder) -> Outcome {
    checked_with(builder, "8192")
}

#[track_caller]
fn expect_warnings(outcome: &Outcome, texts: &[&str]) {
    // Tests may be run by root.
    let lines = outcome.stderr.lines().filter(|line| !line.contains("server.user is not set"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), texts.len(), "{lines:#?}");
    for text in texts {
        let found = lines.iter().any(|line| line.starts_with("rwsgi: warning: ") && line.contains(text));
        assert!(found, "{text:?} in {lines:#?}");
    }
}

/// A configuration that nothing is to be said about.
fn sound() -> Builder {
    let builder = Builder::new("function").bind(&["127.0.0.1:8000"]).with("server.backlog", "64");
    let apps = builder.path("code");
    fs::create_dir(&apps).unwrap();
    let application =
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n";
    fs::write(apps.join("function.py"), application).unwrap();
    builder.directory(&apps)
}

#[test]
fn a_sound_configuration_is_not_warned_of() {
    expect_warnings(&checked(&sound()), &[]);
}

#[test]
fn what_a_proxy_in_front_stumbles_over() {
    let builder = sound().with("http.keep_alive", "\"5s\"").with("workers.request_timeout", "\"2m\"");
    expect_warnings(
        &checked(&builder),
        &["http.keep_alive = \"5s\": ", "workers.request_timeout = \"120s\": "],
    );
}

#[test]
fn limits_that_are_too_small() {
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let somaxconn: u32 = somaxconn.trim().parse().unwrap();
    let backlog = somaxconn.saturating_add(1).min(65_535);
    let builder = sound().with("server.backlog", &backlog.to_string());
    let queued = format!("the kernel queues only {somaxconn} connections");
    let files = "http.max_connections = 4096: a worker needs up to 4161 descriptors, but the limit of open files is 1024 here";
    let outcome = checked_with(&builder, "1024:8192");
    if backlog > somaxconn {
        expect_warnings(&outcome, &[files, &queued]);
    } else {
        expect_warnings(&outcome, &[files]);
    }
}

#[test]
fn everybody_may_say_who_they_are() {
    let builder = sound().bind(&["0.0.0.0:8000"]).with("proxy.trusted", "[\"0.0.0.0/0\"]");
    expect_warnings(
        &checked(&builder),
        &["proxy.trusted has \"0.0.0.0/0\" and server.bind \"0.0.0.0:8000\""],
    );
}

#[test]
fn places_that_everybody_may_write_to() {
    let builder = sound();
    let sockets = builder.path("sockets");
    fs::create_dir(&sockets).unwrap();
    let bind = format!("unix:{}", sockets.join("app.sock").display());
    let builder = builder.bind(&[&bind]);
    let open = |path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(&sockets);
    open(&builder.path("code"));
    let expected = [
        format!("{} (the folder of the socket in server.bind) is writable for everybody", sockets.display()),
        format!("{} (app.directory) is writable for everybody", builder.path("code").display()),
    ];
    expect_warnings(&checked(&builder), &expected.each_ref().map(String::as_str));
}

#[test]
fn root_without_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root is warned of being root");
        return;
    }
    checked(&sound()).expect_error("rwsgi: warning: server.user is not set and rwsgi is run as root");
    let outcome = checked(&sound().with("server.user", "\"nobody\""));
    assert!(!outcome.stderr.contains("server.user"), "{}", outcome.stderr);
}

#[test]
fn preload_of_what_does_not_survive_a_fork() {
    let thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='exporter', daemon=True).start()\n";
    for (preload, is_warned) in [("\"auto\"", true), ("true", true), ("false", false)] {
        let builder = sound().with("app.preload", preload);
        let path = builder.path("code").join("function.py");
        fs::write(&path, [thread, &fs::read_to_string(&path).unwrap()].concat()).unwrap();
        let warning = format!("app.preload = {preload}: the import leaves the thread exporter behind");
        let expected: &[&str] = if is_warned { &[&warning] } else { &[] };
        expect_warnings(&checked(&builder), expected);
    }
}
