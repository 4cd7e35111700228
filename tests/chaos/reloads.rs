//! Reloads, good and broken, many and at once: not one request fails, and nothing is left behind.

use std::fs;

use nix::sys::signal::Signal;

use crate::load::Mix;
use crate::site::{Plan, SOON, Site, times, variants};
use crate::verdict::expect_no_failure;

const SYNTAX_ERROR: &str = "def application(environ, start_response)\n    return []\n";
const HANGS: &str = "import threading\nthreading.Event().wait()\n";
const CRASHES: &str = "import ctypes\nctypes.string_at(0)\n";

fn start(count: usize) -> impl Iterator<Item = Site> {
    variants().into_iter().map(move |variant| Plan::new(variant, count).start())
}

#[test]
fn reloads_in_a_row() {
    for site in start(2) {
        let load = site.load(Mix::USUAL);
        // The first makes what stays: buffers, the tables of the allocator.
        site.reload();
        site.expect_crew(&load);
        let before = site.holdings();
        for _ in 0..times(5, 200) {
            site.deploy();
            site.reload();
        }
        let newest = site.deploy();
        site.reload();
        site.expect_whole(&load, before);
        load.await_answers(50);
        let report = expect_no_failure(&site, load);
        assert!(
            report.versions.contains_key(&newest),
            "the newest code never answered: {:?}",
            report.versions
        );
    }
}

/// The number of the generation in the last log record that holds `text`.
fn last_generation(log: &str, text: &str) -> Option<u32> {
    let line = log.lines().rev().find(|line| line.contains(text))?;
    let number = line.split("generation ").nth(1)?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn reloads_at_once() {
    for site in start(2) {
        let load = site.load(Mix::USUAL);
        site.reload();
        site.expect_crew(&load);
        let before = site.holdings();
        for _ in 0..times(1, 5) {
            let newest = site.deploy();
            let former = last_generation(&site.server.log(), " boots beside generation ");
            for _ in 0..20 {
                site.server.signal(Signal::SIGHUP);
                // So that the signals do not melt into one.
                load.await_answers(1);
            }
            let is_over = || {
                let log = site.server.log();
                let begun = last_generation(&log, " boots beside generation ");
                begun > former && begun == last_generation(&log, "; retiring generation ")
            };
            let settled = load.until(SOON, is_over);
            assert!(settled.is_ok(), "the last reload has no end");
            site.expect_crew(&load);
            let (sites, wanted) = (site.server.get("/?t").expect(200).text(), format!(" {newest} "));
            assert!(sites.contains(&wanted), "{sites:?} is not of version {newest}");
        }
        site.expect_whole(&load, before);
        expect_no_failure(&site, load);
    }
}

#[test]
fn broken_reloads() {
    for variant in variants() {
        // Long enough for a good import on a busy machine.
        let site = Plan::new(variant, 2).with("workers.boot_timeout", "\"5s\"").start();
        let load = site.load(Mix::USUAL);
        site.reload();
        site.expect_crew(&load);
        let before = site.holdings();
        let breaks = [
            (SYNTAX_ERROR, "SyntaxError", times(2, 20)),
            (HANGS, "boot_timeout", times(1, 5)),
            (CRASHES, "SIGSEGV", times(1, 5)),
        ];
        for (code, reason, rounds) in breaks {
            site.spoil(code);
            for _ in 0..rounds {
                site.reload_in_vain("reload failed: generation", reason);
            }
            site.mend();
        }
        let good = fs::read_to_string(site.server.config()).unwrap();
        for round in 0..times(2, 5) {
            let bad = if round % 2 == 0 { good.replace("count", "cuont") } else { "[app\n".to_owned() };
            fs::write(site.server.config(), bad).unwrap();
            site.reload_in_vain("reload refused: generation", "app.toml:");
        }
        fs::write(site.server.config(), good).unwrap();
        site.expect_crew(&load);
        let newest = site.deploy();
        site.reload();
        site.expect_whole(&load, before);
        load.await_answers(50);
        let report = expect_no_failure(&site, load);
        assert!(
            report.versions.contains_key(&newest),
            "the mended code never answered: {:?}",
            report.versions
        );
    }
}
