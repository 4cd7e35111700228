//! What the pages of `metrics.bind` say, and the sums that outlive the workers.
//!
//! Invariant: what a worker has counted is taken over in the turn in which it is reaped, so that no sum ever goes down.

use std::io;
use std::os::fd::{AsFd, RawFd};
use std::time::Instant;

use mio::Registry;
use mio::event::Event as Readiness;

use crate::ipc::scoreboard::Totals;
use crate::metrics::{self, Answer, End, Figures, Listening, Page, Restart, Restarts};
use crate::net::{Address, Listener};
use crate::sys::listen_queue::{self, ListenQueue};

use super::super::metrics::{Endpoint, of_this_process};
use super::super::processes::Process;
use super::super::spawn::Role;
use super::super::supervisor::{Death, PHASES, ProcessId};
use super::Reactor;

/// The endpoint has this token and those that follow: behind those of the control socket.
const FIRST_TOKEN: usize = super::CONTROL_TOKEN + super::super::control::CONTROL_TOKENS;

/// The endpoint, and what is counted for it.
#[derive(Debug)]
pub(super) struct Monitoring {
    pub(super) endpoint: Endpoint,
    /// Of the workers that are gone.
    past: Totals,
    restarts: Restarts,
}

impl Monitoring {
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        let (past, restarts) = (Totals::default(), Restarts::default());
        Ok(Self { endpoint: Endpoint::new(registry, FIRST_TOKEN)?, past, restarts })
    }

    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.endpoint.descriptors()
    }
}

impl Reactor {
    /// Something has happened to a listener of `metrics.bind` or one of its clients.
    pub(super) fn take_scrape(&mut self, event: &Readiness) {
        let now = Instant::now();
        let Some((client, request)) = self.monitoring.endpoint.handle(event, now) else { return };
        let answer = match request.page {
            Page::Metrics => Answer::metrics(self.metrics_text()),
            Page::Health => Answer::health(),
            Page::Readiness => Answer::readiness(self.readiness()),
        };
        self.monitoring.endpoint.answer(client, &answer.to_head(request.is_head), now);
    }

    /// A process was reaped: what it has counted stays, and why it is replaced is counted.
    pub(super) fn retain_figures(&mut self, process: &Process, death: &Death) {
        self.monitoring.past.add(&process.scoreboard.totals());
        let has_place = process.generation == self.supervisor.serving_generation()
            && process.generation <= self.has_served
            && !self.is_stopping;
        if process.role == Role::Template || !has_place {
            return;
        }
        let end = End {
            status: death.status,
            by_kernel: death.by.is_some(),
            by_master: process.killed,
            has_served: process.has_served,
            is_dismissed: process.is_dismissed,
            wanted: process.recycle,
        };
        if let Some(reason) = end.restart() {
            self.monitoring.restarts.count(reason);
        }
    }

    /// A worker is to be replaced.
    pub(super) fn note_recycle(&mut self, id: ProcessId, clause: &str, is_stuck: bool) {
        self.processes.note_recycle(id, Restart::of_clause(clause, is_stuck));
    }

    /// The text of `/metrics`.
    pub(super) fn metrics_text(&self) -> String {
        let serving = self.supervisor.serving_generation();
        let counters = self.commands.counters;
        let mut figures = Figures {
            version: env!("CARGO_PKG_VERSION"),
            totals: self.monitoring.past,
            listening: self.generations.get(serving).map_or_else(Vec::new, |it| listening(&it.listeners)),
            generation: serving,
            workers_wanted: self.supervisor.count(),
            workers: PHASES.iter().map(|phase| (*phase, 0)).collect(),
            restarts: self.monitoring.restarts,
            reloads_ok: counters.reloads_ok,
            reloads_failed: counters.reloads_failed,
            process: of_this_process(self.commands.started_at()),
            ..Figures::default()
        };
        // Also those that the supervisor has given up: what they have counted stays.
        for (_, process) in self.processes.iter() {
            figures.totals.add(&process.scoreboard.totals());
            let Role::Worker(slot) = process.role else { continue };
            let counters = process.scoreboard.counters();
            figures.in_flight += process.scoreboard.busy();
            figures.queued += counters.queued;
            figures.connections += counters.connections;
            if counters.private_memory > 0 {
                *figures.private_memory.entry(slot).or_default() += counters.private_memory;
            }
        }
        for status in self.supervisor.processes(Instant::now()) {
            if status.slot.is_none() {
                continue;
            }
            for (_, count) in figures.workers.iter_mut().filter(|(phase, _)| *phase == status.phase) {
                *count += 1;
            }
            if SERVES.contains(&status.phase) {
                figures.app_threads += self.processes.get(status.id).map_or(0, |it| it.scoreboard.threads());
            }
        }
        figures.text()
    }

    fn readiness(&self) -> metrics::Readiness {
        if self.is_stopping {
            return metrics::Readiness::Stopping;
        }
        let processes = self.supervisor.processes(Instant::now());
        match processes.iter().any(|it| it.slot.is_some() && SERVES.contains(&it.phase)) {
            true => metrics::Readiness::Ready,
            false if self.has_served == 0 => metrics::Readiness::Booting,
            false => metrics::Readiness::NoWorker,
        }
    }
}

/// Phases in which a worker serves.
const SERVES: [&str; 2] = ["serving", "recycling"];

fn listening(listeners: &[Listener]) -> Vec<Listening> {
    let queue = |listener: &Listener| -> io::Result<ListenQueue> {
        match listener.local {
            Address::Tcp(_) => listen_queue::of_tcp(listener.as_fd()),
            Address::Unix(_) => listen_queue::of_unix(listener.as_fd()),
        }
    };
    let of = |listener: &Listener| {
        let address = match &listener.local {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => listener.to_string(),
        };
        Some(Listening { address, queue: queue(listener).ok()? })
    };
    listeners.iter().filter_map(of).collect()
}
