//! rwsgi as process 1, as in a container: it handles signals that process 1 gets no default action for, reaps what the
//! application leaves behind, and its end is the end of everything.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Builder, Server};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(20);

/// The server in a process namespace of its own, and the master as it is seen from here.
fn first_process(app: &str) -> Option<(Server, i32)> {
    const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut probe = Command::new(NAMESPACE[0]);
    probe.args(&NAMESPACE[1..]).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: a process namespace cannot be made here (only root may)");
        return None;
    }
    let server = Builder::new(app).with("workers.count", "2").within(&NAMESPACE).start();
    let children = process::children(server.program.pid);
    assert_eq!(children.len(), 1, "{children:#?}");
    let master = children[0].pid;
    let status = std::fs::read_to_string(format!("/proc/{master}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(numbers.split_whitespace().last(), Some("1"), "{status}");
    Some((server, master))
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn process_1_reloads_and_stops_when_told() {
    let Some((mut server, master)) = first_process("function") else { return };
    server.get("/").expect(200);
    signal(master, Signal::SIGHUP);
    server.wait_for("generation 2 serves");
    server.get("/").expect(200);
    signal(master, Signal::SIGTERM);
    server.wait_for("stopped");
    // unshare ends as the first process of the namespace has ended.
    server.expect_exit(0);
}

#[test]
fn process_1_replaces_a_worker_that_is_killed() {
    let Some((mut server, master)) = first_process("function") else { return };
    let mut workers = process::children(master).into_iter();
    let worker = workers.find(|process| process.title.contains(": worker")).unwrap();
    signal(worker.pid, Signal::SIGKILL);
    server.wait_for("starting a replacement");
    server.get("/").expect(200);
    signal(master, Signal::SIGINT);
    server.expect_exit(0);
}

#[test]
fn process_1_reaps_what_the_application_leaves_behind() {
    let Some((mut server, master)) = first_process("orphans") else { return };
    for _ in 0..20 {
        assert_eq!(server.get("/").expect(200).text(), "7");
    }
    // The orphans have ended; what is left is that the master is told. Each further one is another occasion.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = process::zombies(server.program.pid);
        if left.len() < 2 {
            break;
        }
        assert!(Instant::now() < deadline, "not reaped: {left:#?}");
        server.get("/").expect(200);
    }
    signal(master, Signal::SIGTERM);
    server.expect_exit(0);
}
