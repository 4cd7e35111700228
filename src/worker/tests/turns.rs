//! Whose turn it is: connections beside one that never pauses, requests that wait for a thread, and the threads between
//! turning the reactor and running the application.

use std::net::Shutdown;
use std::time::Instant;

use super::*;

/// Sends requests as fast as they are answered while `meanwhile` runs.
fn beside_a_flood(worker: &Running, meanwhile: impl FnOnce()) {
    let stream = worker.connect();
    std::thread::scope(|scope| {
        let (mut reader, mut writer) = (&stream, &stream);
        scope.spawn(move || {
            let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
            while writer.write_all(requests.as_bytes()).is_ok() {}
        });
        let (flowing, flows) = mpsc::channel();
        scope.spawn(move || {
            let mut scratch = vec![0; 1 << 16];
            let mut total = 0;
            while let Ok(length @ 1..) = reader.read(&mut scratch) {
                total += length;
                if total > 1 << 20 {
                    flowing.send(()).ok();
                }
            }
        });
        flows.recv().unwrap();
        // Also when it panics, or the flood would never end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        stream.shutdown(Shutdown::Both).unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_client_that_pipelines_without_end_does_not_keep_others_from_their_answers() {
    for threads in [1, 4] {
        let worker = start(|settings| settings.workers.threads = threads);
        beside_a_flood(&worker, || {
            for _ in 0..3 {
                let answer = worker.talk(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes());
                assert!(answer.ends_with("hello"), "{answer}");
            }
        });
    }
}

#[test]
fn a_body_that_is_streamed_gets_the_one_thread_although_it_is_busy_without_a_break() {
    let worker = start(|settings| settings.http.request_buffering = false);
    beside_a_flood(&worker, || {
        let answer = worker.talk(format!("POST /echo HTTP/1.1\r\nContent-Length: 2\r\n{CLOSE}hi").as_bytes());
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    });
}

#[test]
fn slow_requests_that_come_at_once_are_run_at_once() {
    let worker = start(|settings| settings.workers.threads = 2);
    let mut streams = [worker.connect(), worker.connect()];
    let begun = Instant::now();
    // Both need both threads; known to be slow after the first round.
    for _ in 0..40 {
        for stream in &mut streams {
            stream.write_all(b"GET /barrier HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).unwrap() > 0);
        }
    }
    // A second for each that waits until the reactor wakes for something else.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
