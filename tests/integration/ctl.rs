//! `rwsgi ctl` on running servers: what it shows, what it does, and what it says when it cannot.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::harness::{Builder, Outcome, Program, Server, binary, root, run};

/// `rwsgi ctl -c FILE` and these words.
fn ctl(config: &Path, words: &[&str]) -> Outcome {
    let arguments = [&["ctl", "-c", config.to_str().unwrap()], words].concat();
    run(&root(), &arguments)
}

#[track_caller]
fn status(server: &Server) -> Value {
    let outcome = ctl(server.config(), &["status", "--json"]);
    outcome.expect_code(0);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
}

#[track_caller]
fn expect_output(outcome: &Outcome, texts: &[&str]) {
    outcome.expect_code(0);
    for text in texts {
        assert!(outcome.stdout.contains(text), "standard output should hold {text:?}:\n{}", outcome.stdout);
    }
}

/// Starts a request that stays inside until the gate is made.
fn stuck_request(server: &Server, gate: &Path, count: usize) -> Client {
    let mut client = server.connect();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
    server.wait_for_nth("inside", count);
    client
}

fn write_site(directory: &Path, code: &str) {
    fs::write(directory.join("site_under_test.py"), code).unwrap();
}

fn site(answer: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{answer}']\n"
    )
}

/// A server whose code can be changed.
fn changeable() -> (Server, PathBuf) {
    let builder = Builder::new("site_under_test");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    write_site(&directory, &site("old"));
    (builder.directory(&directory).start(), directory)
}

#[test]
fn status_shows_workers_and_running_requests() {
    let server = Builder::new("slow").with("workers.count", "2").start();
    server.get("/").expect(200);
    let gate = server.path("gate");
    let mut client = stuck_request(&server, &gate, 1);
    let outcome = ctl(server.config(), &["status"]);
    let pid = format!("(pid {})", server.program.pid);
    let config = format!("configuration {}", server.config().display());
    let expected = [&pid, &config, "generation 1 serves", "PHASE", "serving", "    GET / for ", "(thread 0)"];
    expect_output(&outcome, &expected);

    let status = status(&server);
    assert_eq!(status["pid"], server.program.pid);
    assert_eq!(
        (&status["generation"], &status["pending_generation"], &status["count"]),
        (&1.into(), &Value::Null, &2.into())
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let workers = status["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker["phase"] == "serving"), "{status:#}");
    assert!(workers.iter().all(|worker| worker["private_memory_bytes"].as_u64().unwrap() > 0), "{status:#}");
    let busy: Vec<_> = workers.iter().filter(|worker| worker["in_flight"] == 1).collect();
    assert_eq!(busy.len(), 1, "{status:#}");
    assert_eq!((&busy[0]["tasks"][0]["method"], &busy[0]["tasks"][0]["path"]), (&"GET".into(), &"/".into()));
    let requests: u64 = workers.iter().map(|worker| worker["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 1, "{status:#}");
    fs::write(gate, "").unwrap();
    client.response().expect(200);
}

#[test]
fn reload_wait_ends_when_the_new_code_serves() {
    let (server, directory) = changeable();
    write_site(&directory, &site("the new code"));
    expect_output(&ctl(server.config(), &["reload", "--wait"]), &["generation 2 serves"]);
    assert_eq!(server.get("/").expect(200).text(), "the new code");
    let status = status(&server);
    assert_eq!((&status["generation"], &status["counters"]["reloads_ok"]), (&2.into(), &1.into()));
}

#[test]
fn reload_wait_fails_with_the_traceback() {
    let (server, directory) = changeable();
    write_site(&directory, "raise RuntimeError('no settings')\n");
    let outcome = ctl(server.config(), &["reload", "--wait"]);
    outcome.expect_code(1).expect_error("Traceback").expect_error("RuntimeError: no settings");
    assert_eq!(outcome.stdout, "");
    assert_eq!(server.get("/").expect(200).text(), "old");
    let status = status(&server);
    assert_eq!((&status["generation"], &status["counters"]["reloads_failed"]), (&1.into(), &1.into()));
    write_site(&directory, &site("mended, and longer"));
    ctl(server.config(), &["reload", "--wait"]).expect_code(0);
    assert_eq!(server.get("/").expect(200).text(), "mended, and longer");
}

#[test]
fn reload_without_wait_answers_at_once() {
    let (server, directory) = changeable();
    write_site(&directory, &site("the new code"));
    expect_output(&ctl(server.config(), &["reload"]), &["see the log"]);
    server.wait_for("generation 2 serves");
}

#[test]
fn a_broken_configuration_refuses_the_reload_and_nothing_else() {
    let (server, _) = changeable();
    let good = fs::read_to_string(server.config()).unwrap();
    for bad in [good.replace("count = 1", "count = 0"), "[app\n".to_owned()] {
        fs::write(server.config(), bad).unwrap();
        for words in [&["reload"][..], &["reload", "--wait"]] {
            ctl(server.config(), words).expect_code(1).expect_error("app.toml:");
        }
        assert_eq!(status(&server)["generation"], 1);
    }
    fs::write(server.config(), good).unwrap();
    ctl(server.config(), &["reload", "--wait"]).expect_code(0);
}

#[test]
fn scale_starts_and_retires_workers() {
    let server = Builder::new("slow").start();
    expect_output(&ctl(server.config(), &["scale", "3"]), &["3 workers"]);
    let gate = server.path("gate");
    // Only three workers can have three requests inside.
    let mut clients: Vec<_> = (1..=3).map(|count| stuck_request(&server, &gate, count)).collect();
    assert_eq!(status(&server)["count"], 3);
    fs::write(gate, "").unwrap();
    clients.iter_mut().for_each(|client| {
        client.response().expect(200);
    });
    expect_output(&ctl(server.config(), &["scale", "1"]), &["1 worker"]);
    assert_eq!(status(&server)["count"], 1);
    server.get("/").expect(200);
    ctl(server.config(), &["scale", "0"]).expect_code(2);
}

#[test]
fn dump_shows_where_a_view_is() {
    let server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut client = stuck_request(&server, &gate, 1);
    let outcome = ctl(server.config(), &["dump"]);
    expect_output(&outcome, &["worker 0 of generation 1 (pid ", "slow.py", "in application"]);
    fs::write(gate, "").unwrap();
    client.response().expect(200);
}

#[test]
fn stop_waits_for_the_end() {
    let mut server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut client = stuck_request(&server, &gate, 1);
    let mut command = Command::new(binary());
    command.args(["ctl", "-c"]).arg(server.config()).arg("stop");
    let mut stopping = Program::spawn(command);
    server.wait_for("stopping");
    fs::write(gate, "").unwrap();
    client.response().expect(200);
    assert_eq!(stopping.wait().code(), Some(0));
    server.expect_exit(0);
    let outcome = ctl(server.config(), &["status"]);
    outcome.expect_code(1).expect_error("no server answers").expect_error("there is no such socket");
}

#[test]
fn logs_are_reopened() {
    let builder = Builder::new("function");
    let log = builder.path("error.log");
    let server = builder.with("log.file", &crate::harness::quoted(log.to_str().unwrap())).launch();
    // It is answered once the worker serves.
    server.get("/").expect(200);
    fs::rename(&log, server.path("error.log.1")).unwrap();
    expect_output(&ctl(server.config(), &["reopen-logs"]), &["log files"]);
    ctl(server.config(), &["reload", "--wait"]).expect_code(0);
    assert!(fs::read_to_string(&log).unwrap().contains("generation 2 serves"));
}

#[test]
fn the_socket_is_private_and_goes_with_the_server() {
    let builder = Builder::new("function").with("control.socket", "\"control.sock\"");
    let path = builder.path("control.sock");
    let mut server = builder.start();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(status(&server)["generation"], 1);
    let by_path = run(&root(), &["ctl", "--socket", path.to_str().unwrap(), "status"]);
    expect_output(&by_path, &["generation 1 serves"]);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_server_that_was_killed_leaves_no_obstacle() {
    let builder = Builder::new("function").with("control.socket", "\"control.sock\"");
    let mut server = builder.bind(&["127.0.0.1:0"]).start();
    server.signal(Signal::SIGKILL);
    server.program.wait();
    assert!(server.program.log.wait_closed(crate::harness::PATIENCE), "workers outlive the master");
    let outcome = ctl(server.config(), &["status"]);
    outcome.expect_code(1).expect_error("nobody listens there any more");
    let mut command = Command::new(binary());
    command.arg("-c").arg(server.config());
    let next = Program::spawn(command);
    next.wait_for("generation 1 serves");
    let pid = format!("(pid {})", next.pid);
    expect_output(&ctl(server.config(), &["status"]), &[&pid]);
}

#[test]
fn a_second_server_leaves_the_socket_to_the_first() {
    let server = Builder::new("function").bind(&["127.0.0.1:0"]).start();
    let mut command = Command::new(binary());
    command.arg("-c").arg(server.config());
    let second = Program::spawn(command);
    second.wait_for(&format!("it is in use by the server with pid {}", server.program.pid));
    second.wait_for("generation 1 serves");
    assert_eq!(status(&server)["pid"], server.program.pid);
    drop(second);
    assert_eq!(status(&server)["pid"], server.program.pid);
}

#[test]
fn nobody_to_ask_is_told() {
    let builder = Builder::new("function");
    let file = builder.write();
    let outcome = ctl(&file, &["status"]);
    outcome.expect_code(1).expect_error("no server answers. Looked at").expect_error("rwsgi/app-");
    ctl(&builder.path("missing.toml"), &["status"]).expect_code(1).expect_error("There is no file ");
    run(&root(), &["ctl", "status"]).expect_code(2).expect_error("which server?");
    run(&root(), &["ctl", "-c", "app.toml"]).expect_code(2);
}

/// A process that has given privileges up is not readable unless it says so.
#[test]
fn memory_is_known_of_workers_that_gave_their_privileges_up() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root has privileges to give up");
        return;
    }
    let builder = Builder::new("site_under_test").with("server.user", "\"nobody\"");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    write_site(&directory, &site("here"));
    fs::set_permissions(builder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let server = builder.directory(&directory).start();
    let status = status(&server);
    assert!(status["workers"][0]["private_memory_bytes"].as_u64() > Some(0), "{status}");
}
