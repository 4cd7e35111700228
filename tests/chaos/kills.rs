//! Processes of the server are killed, in every phase of their lives: only what they were doing is lost, and others take
//! their place within a second.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::client::Client;
use crate::harness::quoted;
use crate::load::{Load, Mix};
use crate::site::{Dice, Plan, SOON, Site, Variant, is_full, send, times, variants};
use crate::verdict::{Killed, expect_no_failure, expect_only_killed};

/// A replacement must serve within this; the product's promise is a second, which a debug build on a busy machine is given
/// some room for.
fn capacity_max() -> Duration {
    Duration::from_secs(if is_full() { 1 } else { 5 })
}

/// Kills one worker and waits until another serves in its place. How long that took.
#[track_caller]
fn kill_and_await(site: &Site, worker: i32) -> (Killed, Duration) {
    let killed = Killed { worker, at: Instant::now() };
    assert!(send(worker, Signal::SIGKILL), "worker {worker} is gone before it is killed");
    site.await_capacity(worker);
    (killed, killed.at.elapsed())
}

/// The middle and the worst of some durations, for the report.
fn summary(durations: &mut [Duration]) -> String {
    durations.sort_unstable();
    let (middle, worst) = (durations[durations.len() / 2], durations[durations.len() - 1]);
    format!("capacity is back after {middle:.3?} (median), {worst:.3?} (worst of {})", durations.len())
}

/// A process that dies younger than this is replaced after a pause that grows, which is not what is measured here.
const GROWN_UP: Duration = Duration::from_millis(5500);

/// Picks a worker whose death is no crash loop: one of the first crew, or one that has served for a while.
fn pick(site: &Site, load: &Load, dice: &mut Dice, replacements: &BTreeMap<i32, Instant>) -> i32 {
    let candidates = || {
        let is_fit = |pid: &i32| replacements.get(pid).is_none_or(|since| since.elapsed() > GROWN_UP);
        site.workers().into_iter().filter(is_fit).collect::<Vec<i32>>()
    };
    assert!(load.until(SOON, || !candidates().is_empty()).is_ok(), "no worker has served for {GROWN_UP:?}");
    let candidates = candidates();
    candidates[dice.below(candidates.len())]
}

#[test]
fn workers_are_killed() {
    for variant in variants() {
        let site = Plan::new(variant, times(3, 8)).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        let mut dice = Dice::new();
        let (mut killed, mut waits, mut replacements) = (Vec::new(), Vec::new(), BTreeMap::new());
        for _ in 0..times(3, 25) {
            let old = site.workers();
            let victim = pick(&site, &load, &mut dice, &replacements);
            let (it, wait) = kill_and_await(&site, victim);
            killed.push(it);
            waits.push(wait);
            let now = Instant::now();
            replacements
                .extend(site.workers().into_iter().filter(|pid| !old.contains(pid)).map(|pid| (pid, now)));
        }
        println!("{variant:?}: {}", summary(&mut waits));
        let worst = waits[waits.len() - 1];
        assert!(worst < capacity_max() + 4 * load.stall(), "capacity was back after {worst:?} only");
        site.expect_whole(&load, before);
        expect_only_killed(&site, load, &killed);
    }
}

#[test]
fn templates_are_killed() {
    for variant in variants().into_iter().filter(|variant| variant.has_template()) {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        for _ in 0..times(1, 10) {
            let template = site.templates()[0];
            let born = Instant::now();
            assert!(!is_full() || load.until(SOON, || born.elapsed() > GROWN_UP).is_ok());
            assert!(send(template, Signal::SIGKILL));
            let other = || site.templates().first().is_some_and(|it| *it != template);
            assert!(load.until(SOON, other).is_ok(), "no template takes the place of {template}");
        }
        site.expect_whole(&load, before);
        // The new template is as good as the first.
        let worker = site.workers()[0];
        let (killed, wait) = kill_and_await(&site, worker);
        println!("{variant:?}: {}", summary(&mut [wait]));
        site.expect_crew(&load);
        expect_only_killed(&site, load, &[killed]);
    }
}

/// A site whose import blocks on a fifo as soon as that is there.
fn with_slow_import(variant: Variant, count: usize) -> (Site, std::path::PathBuf) {
    let plan = Plan::new(variant, count);
    let fifo = plan.path("import.fifo");
    let environment = format!("{{ CHAOS_IMPORT_FIFO = {} }}", quoted(fifo.to_str().unwrap()));
    (plan.with("app.environment", &environment).start(), fifo)
}

/// Waits until a process blocks on the fifo, which stays blocked as long as the result is held.
fn hold(fifo: &Path) -> fs::File {
    // Opening for writing waits for a reader.
    OpenOptions::new().write(true).open(fifo).unwrap()
}

#[test]
fn a_process_is_killed_while_it_imports() {
    for variant in variants() {
        let (site, fifo) = with_slow_import(variant, 2);
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        for round in 0..times(1, 5) {
            mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            let old: Vec<i32> = site.crew().iter().map(|process| process.pid).collect();
            site.server.signal(Signal::SIGHUP);
            let gate = hold(&fifo);
            // The canary, or the new template.
            let new =
                site.crew().into_iter().find(|process| !old.contains(&process.pid)).expect("a new process");
            assert!(send(new.pid, Signal::SIGKILL));
            site.server.wait_for_nth("reload failed: generation", round + 1);
            drop(gate);
            fs::remove_file(&fifo).unwrap();
        }
        site.reload();
        site.expect_whole(&load, before);
        expect_no_failure(&site, load);
    }
}

#[test]
fn a_replacement_is_killed_while_it_imports() {
    let some = variants().into_iter().filter(|variant| !variant.has_template());
    for variant in some {
        let (site, fifo) = with_slow_import(variant, 2);
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let old = site.workers();
        let killed = Killed { worker: old[0], at: Instant::now() };
        assert!(send(old[0], Signal::SIGKILL));
        let gate = hold(&fifo);
        let new = site.workers().into_iter().find(|pid| !old.contains(pid)).expect("a replacement");
        assert!(send(new, Signal::SIGKILL));
        site.server.wait_for("while it loaded the application");
        drop(gate);
        fs::remove_file(&fifo).unwrap();
        site.expect_whole(&load, before);
        expect_only_killed(&site, load, &[killed]);
    }
}

#[test]
fn a_canary_is_killed_while_it_is_checked() {
    for variant in variants() {
        let plan = Plan::new(variant, 2);
        let fifo = plan.path("check.fifo");
        let site = plan.with("reload.check", &quoted(&format!("/fifo?{}", fifo.display()))).start();
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        for round in 1..=times(1, 5) {
            let old = site.workers();
            site.server.signal(Signal::SIGHUP);
            let gate = hold(&fifo);
            let canary = site.workers().into_iter().find(|pid| !old.contains(pid)).expect("a canary");
            assert!(send(canary, Signal::SIGKILL));
            site.server.wait_for_nth("while it answered the check GET /fifo", round);
            drop(gate);
        }
        site.server.signal(Signal::SIGHUP);
        // The check ends when its fifo is closed, and the reload goes on.
        drop(hold(&fifo));
        site.server.wait_for("; retiring generation");
        site.expect_whole(&load, before);
        expect_no_failure(&site, load);
    }
}

#[test]
fn a_worker_is_killed_while_it_drains() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        let fifo = site.server.path("request.fifo");
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let mut killed = Vec::new();
        for _ in 0..times(1, 5) {
            let mut held = Client::connect(&site.server.address());
            held.send(format!("GET /fifo?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", fifo.display()));
            let gate = hold(&fifo);
            site.reload();
            // The others have nothing to wait for.
            let drained = || site.workers().len() == site.count + 1;
            assert!(load.until(SOON, drained).is_ok(), "one old worker drains: {:#?}", site.crew());
            let log = site.server.log();
            let line = log.lines().rev().find(|line| line.contains("inside /fifo in ")).expect("its record");
            let worker = line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its pid");
            killed.push(Killed { worker, at: Instant::now() });
            assert!(send(worker, Signal::SIGKILL));
            held.read_response(false).expect_err("the request in flight is lost");
            drop(gate);
        }
        // What drains is no loss of capacity, and nobody took its place.
        site.expect_whole(&load, before);
        expect_only_killed(&site, load, &killed);
    }
}

#[test]
fn a_request_that_outlasts_a_reload_is_answered() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        let fifo = site.server.path("request.fifo");
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let mut held = Client::connect(&site.server.address());
        held.send(format!("GET /fifo?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", fifo.display()));
        let mut gate = hold(&fifo);
        for _ in 0..3 {
            site.deploy();
            site.reload();
        }
        gate.write_all(b"go on").unwrap();
        drop(gate);
        let answer = held.response().expect(200).text();
        // The worker lingers for the client's end of the connection.
        drop(held);
        assert!(answer.contains(" 1 0\n"), "the answer of version 1: {answer:?}");
        site.expect_crew(&load);
        expect_no_failure(&site, load);
    }
}
