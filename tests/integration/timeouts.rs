//! Requests that take too long, with Python: 504, the stacks in the log, the interruption, the replacement.

use crate::harness::Builder;

fn limited(app: &str) -> Builder {
    Builder::new(app).with("workers.request_timeout", "\"300ms\"").with("workers.timeout_grace", "\"300ms\"")
}

#[test]
fn request_that_is_stuck_is_answered_504_and_interrupted() {
    let server =
        limited("stuck").with("workers.threads", "2").with("workers.timeout_grace", "\"60s\"").start();
    let stuck = server.get("/stuck").expect(504);
    assert_eq!(stuck.header("Connection"), Some("close"));
    let line = server.wait_for("GET /stuck timed out after ");
    assert!(line.contains("(workers.request_timeout): answered 504"), "{line}");
    let line = server.wait_for(": GET /stuck for ");
    assert!(line.starts_with("Thread 0x") && line.contains("(app thread "), "{line}");
    server.wait_for("stuck.py\", line ");
    server.wait_for("the application has come back after its timeout");
    server.get("/").expect(200);
    assert!(!server.log().contains("is to be replaced"), "{}", server.log());
}

#[test]
fn worker_whose_thread_does_not_come_back_is_replaced() {
    let server = limited("holds_the_interpreter").start();
    let mut idle = server.connect();
    let first = idle.get("/").expect(200).text();
    // A regular expression that backtracks without an end, in C: nothing else of Python runs.
    server.get("/backtrack").expect(504);
    server.wait_for("File \"");
    server.wait_for("is to be replaced: a request is stuck: GET /backtrack for ");
    idle.expect_end();
    server.wait_for("ending without 1 app thread that does not come back");
    assert_ne!(server.get("/").expect(200).text(), first);
}
