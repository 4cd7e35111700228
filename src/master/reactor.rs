//! The master's event loop: signals, channels and deadlines in, the supervisor's actions out.
//!
//! Actions and the events that answer them are worked off first in, first out, before the next event is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::signal::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook_mio::v1_0::Signals;

use crate::config::Settings;
use crate::ipc::{Channel, FromWorker, WorkerMain};
use crate::log as logs;
use crate::net::Listener;
use crate::sys;

use super::Load;
use super::spawn::{self, Order};
use super::supervisor::{Action, Event, Plan, Signal, Stop, Supervisor, WorkerId};

const SIGNALS_TOKEN: Token = Token(usize::MAX - 1);
/// Events taken from the kernel at once; more wait for the next turn.
const EVENTS_MAX: usize = 256;

/// The loop and everything it owns.
pub(super) struct Reactor {
    poll: Poll,
    signals: Signals,
    /// Descriptors of the poll and of the signals, closed in every child.
    own_descriptors: Vec<RawFd>,
    supervisor: Supervisor,
    children: BTreeMap<WorkerId, Child>,
    /// Settings of the generations that may still spawn.
    settings: BTreeMap<u32, Settings>,
    listeners: Vec<Listener>,
    worker: Box<dyn WorkerMain>,
    load: Load,
    queue: VecDeque<Action>,
    exit_code: Option<i32>,
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}

/// A worker process that was not reaped yet.
#[derive(Debug)]
struct Child {
    pid: i32,
    /// `None` once the worker closed its end or broke the protocol.
    channel: Option<Channel>,
}

impl Reactor {
    /// Sets the loop up. Nothing is spawned before [`Reactor::run`].
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(
        load: Load,
        settings: Settings,
        worker: Box<dyn WorkerMain>,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let before = sys::descriptors::list_open()?;
        let poll = Poll::new()?;
        let mut signals = Signals::new([
            SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU, SIGCHLD,
        ])?;
        poll.registry().register(&mut signals, SIGNALS_TOKEN, Interest::READABLE)?;
        let mut own_descriptors = sys::descriptors::list_open()?;
        own_descriptors.retain(|fd| !before.contains(fd));
        let (supervisor, actions) = Supervisor::start(Plan::from(&settings), Instant::now());
        Ok(Self {
            poll,
            signals,
            own_descriptors,
            supervisor,
            children: BTreeMap::new(),
            settings: BTreeMap::from([(1, settings)]),
            listeners,
            worker,
            load,
            queue: actions.into(),
            exit_code: None,
        })
    }

    /// Runs until the last worker is gone; returns the exit code.
    pub(super) fn run(mut self) -> i32 {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.work_off();
        loop {
            if let Some(code) = self.exit_code {
                return code;
            }
            let timeout =
                self.supervisor.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() != io::ErrorKind::Interrupted {
                    log::error!("the master cannot wait for events: {error}");
                }
                events.clear();
            }
            // Signals first: workers that a terminal's interrupt has ended are no crash.
            if events.iter().any(|event| event.token() == SIGNALS_TOKEN) {
                self.take_signals();
            }
            for event in &events {
                if event.token() != SIGNALS_TOKEN {
                    self.take_messages(WorkerId(event.token().0 as u64));
                }
            }
            self.reap();
            self.tell(Event::Tick);
        }
    }

    fn take_signals(&mut self) {
        let signals: Vec<i32> = self.signals.pending().collect();
        let stops = |signal: &&i32| [SIGTERM, SIGINT, SIGQUIT].contains(*signal);
        for &signal in signals.iter().filter(stops) {
            let (how, reason) = match signal {
                SIGTERM => (Stop::Graceful, "SIGTERM"),
                SIGINT => (Stop::Quick, "SIGINT"),
                _ => (Stop::Quick, "SIGQUIT"),
            };
            self.tell(Event::Stop { how, reason });
            // The workers take what waits; later clients are to be refused at once and not left waiting for the end.
            self.listeners.clear();
        }
        for &signal in signals.iter().filter(|signal| !stops(signal)) {
            match signal {
                SIGHUP => self.reload(),
                SIGTTIN => self.tell(Event::ScaleUp),
                SIGTTOU => self.tell(Event::ScaleDown),
                SIGUSR1 => {
                    if let Err(error) = logs::reopen() {
                        log::error!("the log file cannot be reopened: {error}; the old one stays in use");
                    }
                    self.tell(Event::ReopenLogs);
                }
                SIGUSR2 | SIGWINCH => {
                    let name = if signal == SIGUSR2 { "SIGUSR2" } else { "SIGWINCH" };
                    log::info!("{name} is ignored: this release cannot upgrade in place");
                }
                // SIGCHLD: children are reaped in every turn.
                _ => {}
            }
        }
    }

    fn reload(&mut self) {
        match (self.load)() {
            Ok(settings) => {
                if let Some(current) = self.settings.get(&self.supervisor.serving_generation()) {
                    warn_of_fixed(current, &settings);
                }
                let plan = Plan::from(&settings);
                self.settings.insert(self.supervisor.next_generation(), settings);
                self.tell(Event::Reload(plan));
            }
            Err(problems) => {
                problems.lines().for_each(|line| log::error!("{line}"));
                let serving = self.supervisor.serving_generation();
                log::error!("reload refused: generation {serving} keeps serving");
            }
        }
    }

    /// Reads everything that a worker has sent.
    fn take_messages(&mut self, id: WorkerId) {
        loop {
            let Some(child) = self.children.get_mut(&id) else { return };
            let Some(channel) = &child.channel else { return };
            let event = match channel.receive_from_worker() {
                Ok(Some(FromWorker::Ready)) => Event::Ready(id),
                Ok(Some(FromWorker::Leaving)) => Event::Leaving(id),
                Ok(Some(FromWorker::BootFailed { exit_code, summary, traceback })) => {
                    Event::BootFailed { id, exit_code, summary, traceback }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                closed => {
                    if let Err(error) = closed {
                        log::warn!("the channel of the worker with pid {} is broken: {error}", child.pid);
                    }
                    self.poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd())).ok();
                    child.channel = None;
                    return;
                }
            };
            self.tell(event);
        }
    }

    /// Takes note of every child that has ended; orphans that were handed to us go without a word.
    fn reap(&mut self) {
        while let Some((pid, status)) = sys::process::reap() {
            let Some(id) = self.children.iter().find(|(_, child)| child.pid == pid).map(|(id, _)| *id) else {
                continue;
            };
            // Its last words may explain its end.
            self.take_messages(id);
            if let Some(channel) = self.children.remove(&id).and_then(|child| child.channel) {
                self.poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd())).ok();
            }
            self.tell(Event::Exited { id, status });
        }
    }

    fn tell(&mut self, event: Event) {
        let serving = self.supervisor.serving_generation();
        let actions = self.supervisor.handle(Instant::now(), event);
        self.queue.extend(actions);
        let now_serving = self.supervisor.serving_generation();
        if now_serving != serving {
            self.adopt_generation(now_serving);
        }
        self.work_off();
        let pending = self.supervisor.pending_generation();
        self.settings.retain(|&number, _| number == now_serving || Some(number) == pending);
    }

    /// The master's own log follows the settings of the generation that serves.
    fn adopt_generation(&self, number: u32) {
        logs::identify(logs::Role::Master, number);
        if let Some(settings) = self.settings.get(&number) {
            if let Err(error) = logs::reconfigure(&settings.log) {
                log::error!("[log] stays as it was in the master: {error}");
            }
        }
    }

    fn work_off(&mut self) {
        while let Some(action) = self.queue.pop_front() {
            match action {
                Action::Spawn { id, generation, slot } => {
                    let event = match self.spawn(id, generation, slot) {
                        Ok(pid) => Event::Started { id, pid },
                        Err(error) => Event::SpawnFailed { id, error: error.to_string() },
                    };
                    let answers = self.supervisor.handle(Instant::now(), event);
                    self.queue.extend(answers);
                }
                Action::Send { id, message } => {
                    let Some(channel) = self.children.get(&id).and_then(|child| child.channel.as_ref())
                    else {
                        continue;
                    };
                    if let Err(error) = channel.send_to_worker(message) {
                        log::debug!("{message:?} did not reach a worker: {error}");
                    }
                }
                Action::Kill { id, signal } => {
                    let signal = match signal {
                        Signal::Interrupt => SIGINT,
                        Signal::Kill => signal_hook::consts::SIGKILL,
                    };
                    let Some(child) = self.children.get(&id) else { continue };
                    if let Err(error) = sys::process::send_signal(child.pid, signal) {
                        log::error!("signal {signal} cannot be sent to pid {}: {error}", child.pid);
                    }
                }
                Action::Log { level, text } => log::log!(level, "{text}"),
                Action::Exit { code } => self.exit_code = Some(code),
            }
        }
    }

    fn spawn(&mut self, id: WorkerId, generation: u32, slot: u32) -> io::Result<i32> {
        let settings = self
            .settings
            .get(&generation)
            .ok_or_else(|| io::Error::other("the settings of its generation are gone"))?;
        let channels = self.children.values().filter_map(|child| child.channel.as_ref());
        let masters: Vec<RawFd> =
            self.own_descriptors.iter().copied().chain(channels.map(AsRawFd::as_raw_fd)).collect();
        let (pid, channel) = spawn::spawn(&Order {
            generation,
            slot,
            settings,
            listeners: &self.listeners,
            worker: self.worker.as_ref(),
            masters: &masters,
        })?;
        let token = Token(usize::try_from(id.0).map_err(io::Error::other)?);
        let registered =
            self.poll.registry().register(&mut SourceFd(&channel.as_raw_fd()), token, Interest::READABLE);
        self.children.insert(id, Child { pid, channel: Some(channel) });
        if let Err(error) = registered {
            // A worker that cannot be heard is of no use; it is reaped as any other.
            log::error!("the worker with pid {pid} cannot be watched: {error}");
            sys::process::send_signal(pid, signal_hook::consts::SIGKILL)?;
        }
        Ok(pid)
    }
}

/// Tells which changed settings a reload cannot apply.
fn warn_of_fixed(old: &Settings, new: &Settings) {
    let (old, new) = (&old.server, &new.server);
    let changed = [
        ("server.bind", old.bind != new.bind),
        ("server.backlog", old.backlog != new.backlog),
        ("server.user", old.user != new.user),
        ("server.group", old.group != new.group),
        ("server.umask", old.umask != new.umask),
        ("server.socket_mode", old.socket_mode != new.socket_mode),
        ("server.pid_file", old.pid_file != new.pid_file),
    ];
    for (name, _) in changed.iter().filter(|(_, changed)| *changed) {
        log::warn!("{name} has changed: it takes effect at the next restart");
    }
}
