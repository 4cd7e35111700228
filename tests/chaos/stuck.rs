//! Requests that never come back, beside normal traffic: their clients get a 504 on time, the log says where they are stuck,
//! everybody else is answered, and a worker is replaced only when its thread cannot be had back.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::load::{Failure, Fault, Mix};
use crate::site::{Plan, SOON, Variant, is_full, times, variants};
use crate::verdict::expect_only;

/// A way to be stuck.
#[derive(Debug, Clone, Copy)]
struct Trap {
    path: &'static str,
    function: &'static str,
    /// The exception that is raised in the thread reaches it.
    comes_back: bool,
    /// No other thread of the worker can run Python meanwhile.
    holds_the_lock: bool,
}

const SLEEP: Trap =
    Trap { path: "/sleep", function: "sleeps_for_ever", comes_back: false, holds_the_lock: false };
const SPIN: Trap =
    Trap { path: "/spin", function: "spins_in_python", comes_back: true, holds_the_lock: false };
const SPIN_IN_C: Trap =
    Trap { path: "/spin_in_c", function: "spins_in_c", comes_back: false, holds_the_lock: true };
const DEADLOCK: Trap =
    Trap { path: "/deadlock", function: "deadlocks", comes_back: false, holds_the_lock: false };
const PATIENT: Trap =
    Trap { path: "/patient", function: "waits_for_an_event", comes_back: true, holds_the_lock: false };

#[test]
fn a_request_sleeps_for_ever() {
    in_all_variants(SLEEP);
}

#[test]
fn a_request_spins_in_python() {
    in_all_variants(SPIN);
}

#[test]
fn a_request_spins_in_c_with_the_interpreter_lock() {
    in_all_variants(SPIN_IN_C);
}

#[test]
fn a_request_deadlocks() {
    in_all_variants(DEADLOCK);
}

#[test]
fn a_request_waits_for_what_never_comes() {
    in_all_variants(PATIENT);
}

/// A worker takes the connections that it was woken for, though the first of them keeps it busy.
const BECOMES_BUSY: Duration = Duration::from_millis(100);

fn in_all_variants(trap: Trap) {
    // A round takes seconds of waiting; the short form has one of each, with the threads that are harder for the trap.
    let threads = if trap.holds_the_lock { 4 } else { 1 };
    for variant in variants().into_iter().filter(|variant| is_full() || variant.threads == threads) {
        spring(trap, variant);
    }
}

fn spring(trap: Trap, variant: Variant) {
    let site = Plan::new(variant, 2)
        .with("workers.request_timeout", "\"1s\"")
        .with("workers.timeout_grace", if trap.comes_back { "\"2s\"" } else { "\"1s\"" })
        .with("workers.graceful_timeout", "\"3s\"")
        .start();
    let load = site.load(Mix::CLOSING);
    site.expect_crew(&load);
    let before = site.holdings();
    let mut stuck_from = Vec::new();
    for round in 1..=times(1, 3) {
        let crew = site.workers();
        let begun = Instant::now();
        let mut client = Client::connect(&site.server.address());
        client.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", trap.path));
        let inside = format!("inside {} in ", trap.path);
        let line = site.server.wait_for_nth(&inside, round);
        stuck_from.push(Instant::now());
        let worker: i32 = line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its pid");
        assert!(crew.contains(&worker), "{line}");
        client.response().expect(504);
        let waited = begun.elapsed();
        drop(client);
        println!("{variant:?}: {} was answered 504 after {waited:.2?}", trap.path);
        let on_time = Duration::from_millis(900)..Duration::from_secs(3) + 4 * load.stall();
        assert!(on_time.contains(&waited), "the 504 came after {waited:?}");
        site.server.wait_for_nth(trap.function, round);
        if trap.comes_back {
            let decided = || begun.elapsed() > Duration::from_millis(3800);
            assert!(load.until(SOON, decided).is_ok());
            assert!(
                site.workers().contains(&worker),
                "worker {worker} came back and was replaced all the same"
            );
        } else {
            let replaced = || !site.workers().contains(&worker);
            assert!(load.until(SOON, replaced).is_ok(), "worker {worker} is stuck and was not replaced");
        }
        site.expect_crew(&load);
    }
    site.expect_whole(&load, before);
    let stall = load.stall();
    let swallowed = std::cell::Cell::new(0);
    let is_excused = |failure: &Failure| {
        let Fault::Status(503 | 504) = failure.fault else { return false };
        // It was in this worker already when that became busy: its turn never came, and it was told so.
        let was_in =
            |from: &Instant| failure.connected <= *from + BECOMES_BUSY + stall && failure.failed > *from;
        swallowed.set(swallowed.get() + 1);
        stuck_from.iter().any(was_in) || trap.holds_the_lock
    };
    expect_only(&site, load, is_excused);
    // Threads that wait for the interpreter lock look free until they have taken a request each.
    let most = (variant.threads + 3) * stuck_from.len();
    assert!(
        swallowed.get() <= most,
        "{} requests were swallowed by a worker that could not answer",
        swallowed.get()
    );
}
