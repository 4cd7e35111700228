//! A full disk under the spool of request bodies: the upload is refused, and nothing else is lost.
//!
//! The disk is a tmpfs of 64 KiB in a mount namespace of the server's own; only root can make one.

use std::fs;
use std::process::Command;

use crate::harness::{Builder, Server};

/// Mounts the disk on its first argument and becomes the server.
const SCRIPT: &str = "mount -t tmpfs -o size=64k tmpfs \"$0\" && TMPDIR=\"$0\" exec \"$@\"";

/// A server with a tiny disk for its spool; `None`, with the reason on standard error, when that cannot be made.
fn server() -> Option<Server> {
    let builder = Builder::new("echo").with("http.body_memory", "\"4KiB\"");
    let disk = builder.path("disk");
    fs::create_dir(&disk).unwrap();
    let place = disk.to_str().unwrap();
    let trial = Command::new("unshare").args(["-m", "sh", "-c", SCRIPT, place, "true"]).output();
    match trial {
        Ok(output) if output.status.success() => {
            Some(builder.within(&["unshare", "-m", "sh", "-c", SCRIPT, place]).start())
        }
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("skipped: a tiny disk cannot be mounted here: {}", reason.trim());
            None
        }
        Err(error) => {
            eprintln!("skipped: unshare cannot be run here: {error}");
            None
        }
    }
}

fn upload(length: usize) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; length]].concat()
}

#[test]
fn upload_that_fills_the_disk_gets_507_and_the_space_is_free_again() {
    let Some(server) = server() else { return };
    for round in 1..=3 {
        let mut client = server.connect();
        let response = client.send(upload(1_000_000)).response().expect(507);
        assert_eq!(response.header("connection"), Some("close"));
        client.expect_end();
        let record = server.wait_for_nth("cannot write a request body to a temporary file", round);
        assert!(record.contains("ERROR") && record.contains("TMPDIR"), "{record}");
        assert_eq!(server.connect().send(upload(40_000)).response().expect(200).body.len(), 40_000);
    }
}

#[test]
fn full_disk_loses_nothing_else() {
    let Some(server) = server() else { return };
    let workers = server.workers().iter().map(|process| process.pid).collect::<Vec<_>>();
    // This one is on the disk already and half on its way; it must not suffer.
    let whole = upload(40_000);
    let (half, rest) = whole.split_at(35_000);
    let mut early = server.connect();
    early.send(half);
    let mut kept = server.connect();
    kept.get("/").expect(200);
    server.connect().send(upload(1_000_000)).response().expect(507);
    kept.get("/").expect(200);
    let small = kept.send(upload(4096)).response().expect(200);
    assert_eq!(small.body.len(), 4096, "a body that fits into memory needs no disk");
    assert_eq!(early.send(rest).response().expect(200).body.len(), 40_000);
    assert_eq!(server.workers().iter().map(|process| process.pid).collect::<Vec<_>>(), workers);
}
