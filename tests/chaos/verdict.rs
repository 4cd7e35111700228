//! Which failures of a load are nobody's fault, and which fail the test.

use std::time::{Duration, Instant};

use crate::load::{Failure, Fault, Load, Report};
use crate::site::Site;

/// A killed process is taken down by the kernel; until its sockets are closed, requests still reach them.
const TAKEDOWN: Duration = Duration::from_millis(500);

/// A worker that was killed, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killed {
    pub(crate) worker: i32,
    pub(crate) at: Instant,
}

impl Killed {
    /// The failed request may have been in flight in this worker: its connection had answers from it, or none from anybody.
    fn may_explain(&self, failure: &Failure) -> bool {
        let broke = match &failure.fault {
            Fault::NoAnswer(_) | Fault::ShortAnswer(_) | Fault::IdleReset => true,
            Fault::Connect(_) | Fault::WrongAnswer(_) | Fault::Timeout | Fault::Status(_) => false,
        };
        let belongs = failure.worker.is_none_or(|worker| worker == self.worker);
        broke && belongs && failure.sent <= self.at + TAKEDOWN && failure.failed + TAKEDOWN >= self.at
    }
}

/// Ends the load and insists that not one request has failed.
#[track_caller]
pub(crate) fn expect_no_failure(site: &Site, load: Load) -> Report {
    expect_only(site, load, |_| false)
}

/// Ends the load and insists that only requests in flight in killed workers have failed: each client had one connection, so
/// it lost at most one request with each worker.
#[track_caller]
pub(crate) fn expect_only_killed(site: &Site, load: Load, killed: &[Killed]) -> Report {
    let report = expect_only(site, load, |failure| killed.iter().any(|it| it.may_explain(failure)));
    for it in killed {
        let mut clients: Vec<usize> = report
            .failures
            .iter()
            .filter(|failure| it.may_explain(failure))
            .map(|failure| failure.client)
            .collect();
        let all = clients.len();
        clients.sort_unstable();
        clients.dedup();
        // Two workers that are killed at once may explain the same failures.
        let near =
            killed.iter().filter(|other| other.at.max(it.at) - other.at.min(it.at) < 2 * TAKEDOWN).count();
        assert!(
            all <= clients.len() * near,
            "a client lost more than its request in flight in {it:?}: {report}"
        );
    }
    report
}

/// Ends the load and insists that no request has failed but those that `is_excused` explains.
#[track_caller]
pub(crate) fn expect_only(site: &Site, load: Load, is_excused: impl Fn(&Failure) -> bool) -> Report {
    let report = load.stop();
    println!("{:?} after {:.1} s: {report}", site.variant, site.age().as_secs_f64());
    let guilty = report.failures.iter().filter(|failure| !is_excused(failure) && !failure.came_too_late());
    let guilty: Vec<&Failure> = guilty.collect();
    assert!(guilty.is_empty(), "{} requests failed for no reason: {guilty:#?}\n{report}", guilty.len());
    assert!(report.requests > 20, "hardly any request was made: {report}");
    report
}
