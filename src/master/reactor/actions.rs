//! Does what the supervisor wants done: processes are made, messages and signals sent, ends of reloads told.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use signal_hook::consts::signal::{SIGINT, SIGKILL};

use super::super::control::Control;
use super::super::generations::Generation;
use super::super::spawn::{self, Order, Role};
use super::super::supervisor::{Action, Event, ProcessId, Signal};
use super::super::upgrade::Predecessor;
use super::Reactor;

impl Reactor {
    pub(super) fn work_off(&mut self) {
        while let Some(action) = self.queue.pop_front() {
            match action {
                Action::Spawn { id, generation, slot, template: Some(template) } => {
                    self.count_spawn(generation);
                    if let Err(error) = self.ask(id, generation, slot, template) {
                        self.answer(Event::SpawnFailed { id, error: error.to_string() });
                    }
                }
                Action::Spawn { id, generation, slot, template: None } => {
                    self.count_spawn(generation);
                    self.spawn(id, generation, Role::Worker(slot));
                }
                Action::SpawnTemplate { id, generation } => self.spawn(id, generation, Role::Template),
                Action::Send { id, message } => self.processes.send(id, message),
                Action::CloseTemplate { id } => self.processes.close(id, self.poll.registry()),
                Action::Kill { id, signal } => {
                    let signal = match signal {
                        Signal::Interrupt => SIGINT,
                        Signal::Kill => SIGKILL,
                    };
                    self.processes.signal(id, signal);
                }
                Action::Log { level, text } => log::log!(level, "{text}"),
                Action::ReloadOver { generation, outcome } => {
                    self.news.trouble = None;
                    if let Err(explanation) = &outcome {
                        self.note_failed_reload(explanation);
                    }
                    self.notify_ready();
                    self.reload_over(generation, outcome);
                }
                Action::Serving { generation } => {
                    self.has_served = generation;
                    match &mut self.predecessor {
                        Some(predecessor) => predecessor.tell_serving(),
                        None => self.notify_ready(),
                    }
                }
                Action::Exit { code } => self.exit_code = Some(code),
            }
        }
    }

    fn count_spawn(&mut self, generation: u32) {
        if generation <= self.has_served {
            self.commands.counters.restarts += 1;
        }
    }

    /// Answers an action; what follows from that is worked off in turn.
    fn answer(&mut self, event: Event) {
        let actions = self.supervisor.handle(Instant::now(), event);
        self.queue.extend(actions);
    }

    fn ask(&mut self, id: ProcessId, generation: u32, slot: u32, template: ProcessId) -> io::Result<()> {
        let threads = self.generation(generation)?.settings.workers.threads;
        self.processes.ask(id, slot, template, threads, self.poll.registry())
    }

    fn spawn(&mut self, id: ProcessId, generation: u32, role: Role) {
        let event = match self.try_spawn(id, generation, role) {
            Ok(pid) => Event::Started { id, pid },
            Err(error) => Event::SpawnFailed { id, error: error.to_string() },
        };
        self.answer(event);
    }

    fn try_spawn(&mut self, id: ProcessId, generation: u32, role: Role) -> io::Result<i32> {
        let Generation { settings, listeners, .. } = self.generation(generation)?;
        let mut masters = self.descriptors();
        // Those of other generations: a removed one would stay open in this one's workers with nobody to accept from it.
        let others = self.generations.listeners().filter(|it| !listeners.iter().any(|own| own.is_same(it)));
        masters.extend(others.chain(self.generations.metrics()).map(|it| it.as_fd().as_raw_fd()));
        masters.sort_unstable();
        masters.dedup();
        let spawned = spawn::spawn(&Order {
            generation,
            role,
            settings,
            listeners,
            programs: &self.programs,
            roster: &self.roster,
            masters: &masters,
        })?;
        let pid = spawned.pid;
        if let Err(error) = self.processes.add(id, role, generation, spawned, self.poll.registry()) {
            log::error!("the process with pid {pid} cannot be watched: {error}");
        }
        Ok(pid)
    }

    /// What belongs to the master alone.
    fn descriptors(&self) -> Vec<RawFd> {
        let mut descriptors = self.own_descriptors.clone();
        descriptors.extend(self.processes.descriptors());
        descriptors.extend(self.control.iter().flat_map(Control::descriptors));
        descriptors.extend(self.monitoring.descriptors());
        descriptors.extend(self.upgrade.as_ref().map(AsRawFd::as_raw_fd));
        descriptors.extend(self.predecessor.iter().flat_map(Predecessor::descriptors));
        descriptors
    }

    pub(super) fn generation(&self, number: u32) -> io::Result<&Generation> {
        let gone = || io::Error::other("the settings of its generation are gone");
        self.generations.get(number).ok_or_else(gone)
    }
}
