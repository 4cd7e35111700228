//! USR2: the program on disk takes over with the listeners, again and again, and no request fails. A program that cannot
//! start changes nothing.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::PATIENCE;
use crate::load::Mix;
use crate::site::{Plan, SOON, Site, send, times, variants};
use crate::verdict::expect_no_failure;

/// Ends a site whose master is not the one that the harness has started.
#[track_caller]
fn stop(site: &Site) {
    assert!(send(site.master(), Signal::SIGTERM));
    assert!(
        site.server.program.log.wait_closed(PATIENCE),
        "the new master does not stop: {:#?}",
        site.crew()
    );
}

#[test]
fn upgrades_in_a_row() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        for _ in 0..times(3, 20) {
            let old = site.master();
            site.deploy();
            assert!(send(old, Signal::SIGUSR2));
            let is_over = || site.master() != old && !fs::exists(format!("/proc/{old}/fd/0")).unwrap_or(true);
            let over = load.until(SOON, is_over);
            assert!(over.is_ok(), "the master {old} is still there: {:#?}", site.crew());
            site.expect_crew(&load);
        }
        site.expect_whole(&load, before);
        // The control socket belongs to the new master.
        assert_eq!(site.serving(), site.count);
        // A reload works as before.
        let newest = site.deploy();
        site.reload();
        load.await_answers(50);
        let report = expect_no_failure(&site, load);
        assert!(
            report.versions.contains_key(&newest),
            "the newest code never answered: {:?}",
            report.versions
        );
        stop(&site);
    }
}

#[test]
fn an_upgrade_that_cannot_start() {
    for variant in variants() {
        let site = Plan::new(variant, 2).start();
        let load = site.load(Mix::USUAL);
        site.expect_crew(&load);
        let before = site.holdings();
        for round in 1..=times(1, 5) {
            let old = site.master();
            site.spoil("this is no Python\n");
            assert!(send(old, Signal::SIGUSR2));
            site.server.wait_for_nth("upgrade failed", round);
            site.mend();
            site.expect_whole(&load, before);
            assert_eq!(site.master(), old, "the pid file names another master");
            assert_eq!(site.serving(), site.count);
        }
        site.deploy();
        site.reload();
        expect_no_failure(&site, load);
    }
}
