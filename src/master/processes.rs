//! The processes that the master has started, directly or through a template, until they are reaped: their channels, their
//! scoreboards, and how they ended.
//!
//! A worker that a template forks is a child of the master all the same (the master is the subreaper). Its end may be
//! reaped before the template's message with its process id is read; such an end is remembered until then.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::ipc::{Channel, FromTemplate, FromWorker, Scoreboard, ToTemplate, ToWorker};
use crate::metrics::Restart;
use crate::sys;
use crate::sys::process::ExitStatus;

use super::spawn::{Role, Spawned};
use super::supervisor::{Event, ProcessId};

/// Ends of processes that nobody has claimed yet. Orphans of the application come here as well, so the oldest go.
const STRANGERS_MAX: usize = 64;
/// From then on a worker that does not beat is told of.
const SILENCE_TOLD: Duration = Duration::from_secs(5);
/// What one look may add to a silence: if the master itself did not run, neither may the workers have.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// A process that was not reaped yet.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) generation: u32,
    /// `None` while a template has not answered.
    pub(super) pid: Option<i32>,
    /// The template that was asked to fork it.
    template: Option<ProcessId>,
    /// `None` once the process closed its end or broke the protocol.
    pub(super) channel: Option<Channel>,
    pub(super) scoreboard: Scoreboard,
    /// A worker that was told to serve, and has not said that it accepts no more.
    accepts: bool,
    /// A worker that was told to serve at some time.
    pub(super) has_served: bool,
    /// A worker that was told to end.
    pub(super) is_dismissed: bool,
    /// Why a worker is to be replaced.
    pub(super) recycle: Option<Restart>,
    /// Messages for which its channel had no room: it is stopped, and hears them when it goes on.
    unsent: VecDeque<ToWorker>,
    /// We have sent `SIGKILL`.
    pub(super) killed: bool,
    silent_for: Duration,
    silence_told: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: BTreeMap<ProcessId, Process>,
    strangers: VecDeque<(i32, ExitStatus)>,
    looked_at: Option<Instant>,
}

impl Processes {
    pub(super) fn get(&self, id: ProcessId) -> Option<&Process> {
        self.all.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        self.all.iter().map(|(id, process)| (*id, process))
    }

    /// Descriptors that a child must not keep.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.all.values().flat_map(|process| {
            let channel = process.channel.as_ref().map(AsRawFd::as_raw_fd);
            channel.into_iter().chain([process.scoreboard.as_fd().as_raw_fd()])
        })
    }

    /// Takes a process that the master has forked.
    ///
    /// # Errors
    /// Its channel cannot be watched; it is killed, and reaped as any.
    pub(super) fn add(
        &mut self,
        id: ProcessId,
        role: Role,
        generation: u32,
        spawned: Spawned,
        registry: &Registry,
    ) -> io::Result<()> {
        let Spawned { pid, channel, scoreboard } = spawned;
        let registered = register(&channel, id, registry);
        let killed = registered.is_err();
        let process = Process::new(role, generation, Some(pid), None, channel, scoreboard);
        self.all.insert(id, Process { killed, ..process });
        if killed {
            sys::process::send_signal(pid, libc::SIGKILL)?;
        }
        registered
    }

    /// Asks a template to fork a worker.
    ///
    /// # Errors
    /// Out of descriptors or memory; the template is gone or does not read.
    pub(super) fn ask(
        &mut self,
        id: ProcessId,
        slot: u32,
        template: ProcessId,
        threads: u32,
        registry: &Registry,
    ) -> io::Result<()> {
        let gone = || io::Error::other("its template is gone");
        let asked = self.all.get(&template).ok_or_else(gone)?;
        let to_template = asked.channel.as_ref().ok_or_else(gone)?;
        let generation = asked.generation;
        let (ours, theirs) = Channel::pair()?;
        let scoreboard = Scoreboard::create(threads)?;
        register(&ours, id, registry)?;
        let message = ToTemplate::Fork { id: id.0, slot };
        if let Err(error) = to_template.send_to_template(message, &[theirs.as_fd(), scoreboard.as_fd()]) {
            unregister(&ours, registry);
            return Err(error);
        }
        let process = Process::new(Role::Worker(slot), generation, None, Some(template), ours, scoreboard);
        self.all.insert(id, process);
        Ok(())
    }

    /// A template has answered with the process id of a worker. The worker may have ended already.
    pub(super) fn forked(&mut self, id: ProcessId, pid: i32) -> Option<ExitStatus> {
        if let Some(process) = self.all.get_mut(&id) {
            process.pid = Some(pid);
            if process.killed {
                kill(pid, libc::SIGKILL);
            }
        }
        let position = self.strangers.iter().position(|(stranger, _)| *stranger == pid);
        let ended = position.and_then(|position| self.strangers.remove(position));
        if !self.awaits_pids() {
            self.strangers.clear();
        }
        ended.map(|(_, status)| status)
    }

    /// Whether a template has an order that it has not answered.
    fn awaits_pids(&self) -> bool {
        self.all.values().any(|process| process.pid.is_none())
    }

    /// Forgets a worker that was never forked.
    pub(super) fn forget(&mut self, id: ProcessId, registry: &Registry) {
        if let Some(channel) = self.all.remove(&id).and_then(|process| process.channel) {
            unregister(&channel, registry);
        }
    }

    /// Forgets the workers that a template was asked for and has not answered about.
    pub(super) fn forget_asked_of(&mut self, template: ProcessId, registry: &Registry) {
        let asked = |process: &Process| process.pid.is_none() && process.template == Some(template);
        let ids: Vec<ProcessId> =
            self.all.iter().filter(|(_, process)| asked(process)).map(|(id, _)| *id).collect();
        for id in ids {
            self.forget(id, registry);
        }
    }

    pub(super) fn send(&mut self, id: ProcessId, message: ToWorker) {
        let Some(process) = self.all.get_mut(&id) else { return };
        process.accepts |= message == ToWorker::Serve;
        process.has_served |= message == ToWorker::Serve;
        process.is_dismissed |= matches!(message, ToWorker::Drain | ToWorker::Stop);
        // One that waits already says the same.
        if !process.unsent.contains(&message) {
            process.unsent.push_back(message);
        }
        process.send_unsent();
    }

    /// A worker accepts no more.
    pub(super) fn has_left(&mut self, id: ProcessId) {
        if let Some(process) = self.all.get_mut(&id) {
            process.accepts = false;
        }
    }

    /// A worker is to be replaced. That it is stuck says more than any plan.
    pub(super) fn note_recycle(&mut self, id: ProcessId, reason: Restart) {
        if let Some(process) = self.all.get_mut(&id) {
            if process.recycle.is_none() || reason == Restart::Timeout {
                process.recycle = Some(reason);
            }
        }
    }

    /// Whether a worker of an earlier generation may still accept.
    pub(super) fn is_accepted_before(&self, generation: u32) -> bool {
        self.all.values().any(|process| process.accepts && process.generation < generation)
    }

    /// Tries again to send what a full channel did not take.
    pub(super) fn send_unsent(&mut self) {
        self.all.values_mut().for_each(Process::send_unsent);
    }

    /// Sends a signal; to a worker that is still being forked as soon as its process id is known.
    pub(super) fn signal(&mut self, id: ProcessId, signal: i32) {
        let Some(process) = self.all.get_mut(&id) else { return };
        process.killed |= signal == libc::SIGKILL || process.pid.is_none();
        if let Some(pid) = process.pid {
            kill(pid, signal);
        }
    }

    /// Closes the channel: a template then ends.
    pub(super) fn close(&mut self, id: ProcessId, registry: &Registry) {
        let channel = self.all.get_mut(&id).and_then(|process| process.channel.take());
        if let Some(channel) = channel {
            unregister(&channel, registry);
        }
    }

    /// The next message of a process.
    pub(super) fn receive(&mut self, id: ProcessId, registry: &Registry) -> Option<Message> {
        let process = self.all.get_mut(&id)?;
        let channel = process.channel.as_ref()?;
        let received = match process.role {
            Role::Worker(_) => channel.receive_from_worker().map(|it| it.map(Message::Worker)),
            Role::Template => channel.receive_from_template().map(|it| it.map(Message::Template)),
        };
        match received {
            Ok(Some(message)) => Some(message),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            closed => {
                if let Err(error) = closed {
                    let pid = process.pid.unwrap_or(0);
                    log::warn!("the channel of the process with pid {pid} is broken: {error}");
                }
                unregister(channel, registry);
                process.channel = None;
                None
            }
        }
    }

    /// The process with this process id.
    pub(super) fn find(&self, pid: i32) -> Option<ProcessId> {
        self.all.iter().find(|(_, process)| process.pid == Some(pid)).map(|(id, _)| *id)
    }

    /// Templates, whose messages may tell whom a process id belongs to.
    pub(super) fn templates(&self) -> Vec<ProcessId> {
        let templates = self.all.iter().filter(|(_, process)| process.role == Role::Template);
        templates.map(|(id, _)| *id).collect()
    }

    /// Takes a process out that has been reaped.
    pub(super) fn remove(&mut self, id: ProcessId, registry: &Registry) -> Option<Process> {
        let process = self.all.remove(&id)?;
        if let Some(channel) = &process.channel {
            unregister(channel, registry);
        }
        Some(process)
    }

    /// Remembers the end of a process that no one knows yet, while a template may still tell of it. Later ones would only be
    /// taken for the end of another process that happens to get the same id.
    pub(super) fn remember(&mut self, pid: i32, status: ExitStatus) {
        if !self.awaits_pids() {
            return;
        }
        if self.strangers.len() == STRANGERS_MAX {
            self.strangers.pop_front();
        }
        self.strangers.push_back((pid, status));
    }

    /// Looks at the heartbeats; called about every second. Tells which workers are silent, and which are no longer.
    pub(super) fn silent(&mut self, now: Instant) -> Vec<Event> {
        let gap = self.looked_at.map_or(Duration::ZERO, |looked_at| now.saturating_duration_since(looked_at));
        self.looked_at = Some(now);
        let mut events = Vec::new();
        for (&id, process) in &mut self.all {
            let (Some(pid), Some(silent_for)) = (process.pid, process.scoreboard.counters().silent_for)
            else {
                continue;
            };
            process.silent_for =
                if silent_for < gap { Duration::ZERO } else { process.silent_for + gap.min(LOOK_MAX) };
            let is_silent = process.silent_for >= SILENCE_TOLD;
            if is_silent || process.silence_told {
                let silent_for = if is_silent { process.silent_for } else { Duration::ZERO };
                let state = super::forensics::state_of(pid);
                events.push(Event::Silent { id, silent_for, state });
            }
            process.silence_told = is_silent;
        }
        events
    }
}

impl Process {
    fn send_unsent(&mut self) {
        let Some(channel) = &self.channel else { return self.unsent.clear() };
        while let Some(&message) = self.unsent.front() {
            match channel.send_to_worker(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(()) => {}
                Err(error) => log::debug!("{message:?} did not reach a worker: {error}"),
            }
            self.unsent.pop_front();
        }
    }

    fn new(
        role: Role,
        generation: u32,
        pid: Option<i32>,
        template: Option<ProcessId>,
        channel: Channel,
        scoreboard: Scoreboard,
    ) -> Self {
        let (silent_for, silence_told) = (Duration::ZERO, false);
        let channel = Some(channel);
        let (accepts, killed, unsent) = (false, false, VecDeque::new());
        Self {
            role,
            generation,
            pid,
            template,
            channel,
            scoreboard,
            accepts,
            has_served: false,
            is_dismissed: false,
            recycle: None,
            unsent,
            killed,
            silent_for,
            silence_told,
        }
    }
}

/// What a process says.
#[derive(Debug)]
pub(super) enum Message {
    Worker(FromWorker),
    Template(FromTemplate),
}

fn register(channel: &Channel, id: ProcessId, registry: &Registry) -> io::Result<()> {
    let token = Token(usize::try_from(id.0).map_err(io::Error::other)?);
    registry.register(&mut SourceFd(&channel.as_raw_fd()), token, Interest::READABLE)
}

fn unregister(channel: &Channel, registry: &Registry) {
    registry.deregister(&mut SourceFd(&channel.as_raw_fd())).ok();
}

fn kill(pid: i32, signal: i32) {
    if let Err(error) = sys::process::send_signal(pid, signal) {
        log::error!("signal {signal} cannot be sent to pid {pid}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orphans of the application end all the time; their process ids come again.
    #[test]
    fn a_worker_with_the_process_id_of_an_orphan_is_not_taken_for_dead() {
        let poll = mio::Poll::new().unwrap();
        let mut processes = Processes::default();
        let (channel, orders) = Channel::pair().unwrap();
        let spawned = Spawned { pid: i32::MAX, channel, scoreboard: Scoreboard::create(1).unwrap() };
        let template = ProcessId(1);
        processes.add(template, Role::Template, 1, spawned, poll.registry()).unwrap();
        processes.remember(7, ExitStatus::Code(0));
        processes.ask(ProcessId(2), 0, template, 1, poll.registry()).unwrap();
        processes.remember(8, ExitStatus::Code(1));
        assert_eq!(processes.forked(ProcessId(2), 7), None);
        processes.ask(ProcessId(3), 0, template, 1, poll.registry()).unwrap();
        assert_eq!(processes.forked(ProcessId(3), 8), None);
        // One that really has ended before the template's answer was read.
        processes.ask(ProcessId(4), 0, template, 1, poll.registry()).unwrap();
        processes.remember(9, ExitStatus::Code(2));
        assert_eq!(processes.forked(ProcessId(4), 9), Some(ExitStatus::Code(2)));
        drop(orders);
    }

    #[test]
    fn a_worker_that_was_stopped_hears_what_its_full_channel_did_not_take() {
        let poll = mio::Poll::new().unwrap();
        let (channel, worker) = Channel::pair().unwrap();
        let scoreboard = Scoreboard::create(1).unwrap();
        let mut processes = Processes::default();
        let id = ProcessId(1);
        let spawned = Spawned { pid: 1, channel, scoreboard };
        processes.add(id, Role::Worker(0), 1, spawned, poll.registry()).unwrap();
        while processes.all[&id].unsent.is_empty() {
            processes.send(id, ToWorker::ReopenLogs);
        }
        processes.send(id, ToWorker::ReopenLogs);
        processes.send(id, ToWorker::Drain);
        assert_eq!(processes.all[&id].unsent, [ToWorker::ReopenLogs, ToWorker::Drain]);
        while worker.receive_from_master().is_ok() {}
        processes.send_unsent();
        assert_eq!(worker.receive_from_master().unwrap(), Some(ToWorker::ReopenLogs));
        assert_eq!(worker.receive_from_master().unwrap(), Some(ToWorker::Drain));
    }
}
