//! Processes that the application forks: they are its own, and share neither signals nor sockets with the worker.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::Builder;

#[test]
fn a_terminated_child_ends_and_the_worker_stays() {
    let server = Builder::new("children").start();
    let worker = server.get("/").expect(200).text();
    assert_eq!(server.get("/terminate").expect(200).text(), "-15");
    assert_eq!(server.get("/pool").expect(200).text(), "[0, 1, 4, 9]");
    assert_eq!(server.get("/").expect(200).text(), worker);
}

#[test]
fn a_child_holds_no_listener_and_no_answered_connection() {
    let server = Builder::new("children").start();
    let mut client = server.connect();
    client.send("GET /orphan HTTP/1.0\r\n\r\n");
    let pid: i32 = client.response().text().parse().unwrap();
    client.expect_end();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter(|link| link.starts_with("socket:"))
        .collect();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // The harness passes the listener as descriptor 3.
    let listener = std::fs::read_link(format!("/proc/{}/fd/3", server.program.pid)).unwrap();
    let listener = listener.into_os_string().into_string().unwrap();
    assert!(listener.starts_with("socket:"), "{listener}");
    assert!(!sockets.contains(&listener), "the child holds the listener {listener}: {sockets:?}");
}

#[test]
fn a_child_that_comes_back_from_the_request_answers_nobody_and_ends() {
    for threads in ["1", "4"] {
        let server = Builder::new("children").with("workers.threads", threads).start();
        let worker = server.get("/").expect(200).text();
        for (path, code) in [("/returns", "1"), ("/exits", "0")] {
            let mut client = server.connect();
            for (path, expected) in [(path, code), ("/", &worker), (path, code), ("/", &worker)] {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                assert_eq!(client.response().text(), expected, "{path}");
            }
        }
    }
}
