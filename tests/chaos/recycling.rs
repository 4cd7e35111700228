//! Workers that are replaced because they have served enough or hold too much: the replacement is there first, so that there
//! are never fewer than were asked for, and no request fails.

use std::time::{Duration, Instant};

use crate::load::{Load, Mix};
use crate::site::{Plan, Site, times, variants};
use crate::verdict::expect_no_failure;

/// How long the recycling that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Watches until so many more workers have answered; there are never too few that serve.
#[track_caller]
fn watch(site: &Site, load: &Load, recycled: usize) {
    let goal = load.workers().len() + recycled;
    let begun = Instant::now();
    let mut looks = 0;
    while load.workers().len() < goal {
        let serving = site.serving();
        looks += 1;
        assert!(
            serving >= site.count,
            "{serving} of {} workers serve: {}",
            site.count,
            site.control(&["status"])
        );
        assert!(begun.elapsed() < PATIENCE, "{} of {goal} workers were seen", load.workers().len());
    }
    println!(
        "{:?}: {recycled} workers were recycled in {:.1?}, looked {looks} times",
        site.variant,
        begun.elapsed()
    );
}

#[test]
fn workers_that_have_served_enough() {
    for variant in variants() {
        let site = Plan::new(variant, 4).with("workers.max_requests", "50").start();
        let load = site.load(Mix::USUAL);
        watch(&site, &load, times(12, 100));
        let report = expect_no_failure(&site, load);
        assert!(report.workers.len() > 4, "nobody was recycled: {report}");
        site.server.wait_for("workers.max_requests");
    }
}

#[test]
fn workers_that_leak() {
    for variant in variants() {
        let site = Plan::new(variant, 4).with("workers.max_memory", "\"48MiB\"").start();
        let load = site.load(Mix { path: "/leak", ..Mix::USUAL });
        watch(&site, &load, times(4, 20));
        expect_no_failure(&site, load);
        site.server.wait_for("workers.max_memory");
    }
}
