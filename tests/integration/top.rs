//! `rwsgi ctl top` on a terminal and in a pipe.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::harness::{Builder, Outcome, Program, Server, binary, root, run, scrub};
use crate::terminal::Terminal;
use crate::tools;

fn top(config: &Path) -> Terminal {
    let mut command = Command::new(binary());
    command.args(["ctl", "-c"]).arg(config).args(["top", "--interval", "0.2"]);
    Terminal::run(command, 80, 24)
}

fn piped(config: &Path, words: &[&str]) -> Outcome {
    run(&root(), &[&["ctl", "-c", config.to_str().unwrap(), "top", "--interval", "0.1"], words].concat())
}

/// A request that stays inside until the gate is made.
fn stuck_request(server: &Server, gate: &Path) -> Client {
    let mut client = server.connect();
    client.send(format!("GET /report?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", gate.display()));
    server.wait_for("inside");
    client
}

#[test]
fn workers_and_slow_requests_are_shown_live() {
    let server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut client = stuck_request(&server, &gate);
    let mut top = top(server.config());
    let worker = server.workers()[0].pid.to_string();
    top.wait_for_line(&[&worker, "serving"]);
    top.wait_for_line(&["worker 0 thread 0", "GET /report"]);
    // Rates come with the second status.
    top.wait_for_line(&["requests/s 0", "5xx/s 0"]);
    top.press("d");
    top.wait_for_line(&["slow.py", "in application"]);
    top.press("q");
    top.wait_for_line(&[&worker, "serving"]);
    fs::write(gate, "").unwrap();
    client.response().expect(200);
    top.wait_for_no_line("GET /report");
    top.resize(200, 60);
    top.wait_for_line(&["SLOT", "REQUESTS", "LONGEST REQUEST"]);
    top.press("q");
    assert_eq!(top.expect_restored().code(), Some(0));
}

#[test]
fn a_worker_is_recycled_by_key_without_a_failed_request() {
    let server = Builder::new("pid").with("workers.count", "2").start();
    let old = server.workers()[0].pid.to_string();
    let load = tools::Wrk::start(&server.address(), 3);
    let mut top = top(server.config());
    let line = top.wait_for_line(&["   0 ", "serving"]);
    let old = if line.contains(&old) { old } else { server.workers()[1].pid.to_string() };
    assert!(line.contains(&old), "{line}");
    top.press("x");
    top.wait_for_line(&["Replace worker 0", &format!("(pid {old})"), "y/n"]);
    top.press("y");
    server.wait_for("rwsgi ctl asks for it");
    top.wait_for_line(&["restarts 1"]);
    // The notice that names it goes as well.
    top.wait_for_no_line(&format!("{old} "));
    top.wait_for_line(&["workers 2/2"]);
    assert!(server.workers().iter().all(|worker| worker.pid.to_string() != old));
    load.finish().expect_no_failure();
    top.press("q");
    assert_eq!(top.expect_restored().code(), Some(0));
}

#[test]
fn only_a_worker_that_serves_is_recycled() {
    let builder = Builder::new("function").with("control.socket", "\"control.sock\"");
    let server = builder.start();
    let ask = |pid: i32| {
        let mut stream = UnixStream::connect(server.path("control.sock")).unwrap();
        writeln!(stream, "{{\"command\":\"recycle\",\"pid\":{pid}}}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let master = server.program.pid;
    assert!(ask(master).contains(&format!("there is no worker with the pid {master} any more")));
    let worker = server.workers()[0].pid;
    assert!(ask(worker).contains("\"ok\":true"));
    server.wait_for("rwsgi ctl asks for it");
    // Until it is gone it is being replaced, or drains, and then it is unknown.
    let again = ask(worker);
    let answers = ["is being replaced already", "is draining", "there is no worker"];
    assert!(answers.iter().any(|text| again.contains(text)), "{again}");
}

#[test]
fn the_terminal_is_restored_whatever_ends_it() {
    let server = Builder::new("function").start();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut top = top(server.config());
        top.wait_for_line(&["serving"]);
        kill(Pid::from_raw(top.pid()), signal).unwrap();
        assert_eq!(top.expect_restored().code(), Some(code));
    }
    let mut top = top(server.config());
    top.wait_for_line(&["serving"]);
    top.press("\u{3}");
    assert_eq!(top.expect_restored().code(), Some(0));
}

#[test]
fn another_server_in_its_place_is_noticed() {
    let builder = Builder::new("function").bind(&[&format!("127.0.0.1:{}", tools::free_port())]);
    let config = builder.write();
    let start = || {
        let mut command = Command::new(binary());
        command.arg("-c").arg(&config);
        scrub(&mut command);
        let server = Program::spawn(command);
        server.wait_for("generation 1 serves");
        server
    };
    let first = start();
    let mut top = top(&config);
    top.wait_for_line(&["serving"]);
    let pid = first.pid.to_string();
    drop(first);
    top.wait_for_line(&["no server answers", "trying again"]);
    let second = start();
    top.wait_for_line(&["the server was restarted", &pid, &second.pid.to_string()]);
    top.wait_for_line(&["workers 1/1"]);
    top.press("q");
    assert_eq!(top.expect_restored().code(), Some(0));
}

#[test]
fn a_pipe_gets_plain_text() {
    let server = Builder::new("slow").start();
    let gate = server.path("gate");
    let mut client = stuck_request(&server, &gate);
    for (words, moments) in [(&[][..], 1), (&["--once"], 1), (&["-n", "2"], 2)] {
        let outcome = piped(server.config(), words);
        outcome.expect_code(0);
        let text = &outcome.stdout;
        assert_eq!(text.matches("requests/s 0  p50 -").count(), moments, "{text}");
        assert_eq!(text.matches("GET /report  (worker 0, thread 0)").count(), moments, "{text}");
        assert!(text.contains(&server.workers()[0].pid.to_string()) && !text.contains('\u{1b}'), "{text}");
    }
    fs::write(gate, "").unwrap();
    client.response().expect(200);
}

#[test]
fn without_a_server_nothing_is_drawn() {
    let builder = Builder::new("function");
    let config = builder.write();
    piped(&config, &[]).expect_code(1).expect_error("no server answers. Looked at");
    let top = top(&config);
    top.wait_for_line(&["no server answers. Looked at"]);
}
