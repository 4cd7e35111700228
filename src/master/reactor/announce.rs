//! What the service manager is told of this server: how it does, how long it may take, and which listeners to keep.

use std::time::{Duration, Instant};

use crate::config::Workers;

use super::super::notify::{Phase, Report, headline};
use super::super::upgrade::Upgrade;
use super::Reactor;

/// What the master itself may take in a start, a reload or a stop, beyond what its workers may.
const ALLOWANCE: Duration = Duration::from_secs(10);
/// A reload boots a template, then its first worker, then the others.
const BOOTS: u32 = 3;

/// The longest start or reload.
pub(super) fn boot_time(workers: &Workers) -> Duration {
    workers.boot_timeout * BOOTS + ALLOWANCE
}

/// The longest stop.
pub(super) fn stop_time(workers: &Workers) -> Duration {
    workers.graceful_timeout + ALLOWANCE
}

/// What is remembered to be told.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Why what was asked for last has not happened.
    pub(super) trouble: Option<String>,
    /// What processes that are gone have answered.
    requests_of_the_gone: u64,
}

impl Reactor {
    /// Whether this is the master that the service manager knows.
    pub(super) fn is_in_charge(&self) -> bool {
        let has_handed_over = self.is_succeeded || self.upgrade.as_ref().is_some_and(Upgrade::is_over);
        self.predecessor.is_none() && !has_handed_over
    }

    /// Nothing unless it is true: a reload that gives way to a newer one or to a stop is over, but nothing is ready.
    pub(super) fn notify_ready(&mut self) {
        if !self.is_in_charge() || self.is_stopping || self.supervisor.pending_generation().is_some() {
            return;
        }
        let serving = self.generations.get(self.supervisor.serving_generation());
        self.notifier.keep(serving.iter().flat_map(|generation| &generation.listeners));
        let report = self.report();
        self.notifier.ready(report);
    }

    /// The first generation is about to boot.
    pub(super) fn notify_starting(&mut self) {
        let Some(generation) = self.generations.get(self.supervisor.serving_generation()) else { return };
        if self.is_in_charge() {
            let timeout = boot_time(&generation.settings.workers);
            let report = self.report();
            self.notifier.starting(timeout, report);
        }
    }

    /// A reload to this generation is about to begin.
    pub(super) fn notify_reloading(&mut self, pending: u32) {
        let Some(generation) = self.generations.get(pending) else { return };
        let timeout = boot_time(&generation.settings.workers);
        if self.is_in_charge() {
            let report = Report { phase: Phase::Reloading(pending), ..self.report() };
            self.notifier.reloading(timeout, report);
        }
    }

    pub(super) fn notify_stopping(&mut self) {
        let serving = self.generations.get(self.supervisor.serving_generation());
        let timeout = serving.map(|generation| stop_time(&generation.settings.workers)).unwrap_or(ALLOWANCE);
        if self.is_in_charge() {
            let report = Report { phase: Phase::Stopping, ..self.report() };
            self.notifier.stopping(timeout, report);
        }
    }

    /// A reload has come to nothing.
    pub(super) fn note_failed_reload(&mut self, explanation: &str) {
        self.news.trouble = Some(format!("reload failed: {}", headline(explanation)));
    }

    /// A process is gone, and its scoreboard with it.
    pub(super) fn note_gone(&mut self, requests: u64) {
        self.news.requests_of_the_gone += requests;
    }

    /// The loop turns.
    pub(super) fn feed_watchdog(&mut self, now: Instant) {
        if self.next_watchdog.is_none_or(|at| now < at) {
            return;
        }
        // The service manager believes only the master that it knows.
        if self.is_in_charge() {
            self.notifier.watchdog();
        }
        self.next_watchdog = self.notifier.watchdog_interval().map(|interval| now + interval);
    }

    /// How the server does; once a second.
    pub(super) fn notify_status(&mut self, now: Instant) {
        if self.notifier.is_heard() && self.is_in_charge() {
            let report = self.report();
            self.notifier.status(report, now);
        }
    }

    fn report(&self) -> Report {
        if !self.notifier.is_heard() {
            return Report::default();
        }
        let serving = self.supervisor.serving_generation();
        let processes = self.supervisor.processes(Instant::now());
        let serves = |phase: &str| phase == "serving" || phase == "recycling";
        let workers = processes.iter().filter(|it| it.generation == serving && serves(it.phase)).count();
        let mut report = Report {
            phase: self.phase(),
            generation: serving,
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            count: self.supervisor.count(),
            requests: self.news.requests_of_the_gone,
            in_flight: 0,
            trouble: self.news.trouble.clone(),
        };
        for (_, process) in self.processes.iter() {
            report.requests += process.scoreboard.counters().requests;
            report.in_flight += process.scoreboard.tasks().len();
        }
        report
    }

    fn phase(&self) -> Phase {
        if self.is_stopping {
            Phase::Stopping
        } else if self.has_served == 0 {
            Phase::Starting
        } else if self.upgrade.is_some() {
            Phase::Upgrading
        } else {
            self.supervisor.pending_generation().map_or(Phase::Serving, Phase::Reloading)
        }
    }
}
