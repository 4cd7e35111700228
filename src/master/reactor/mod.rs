//! The master's event loop: signals, channels, commands and deadlines in, the supervisor's actions out.
//!
//! Actions and the events that answer them are worked off first in, first out, before the next event is looked at. What
//! `rwsgi ctl` asks for is in `commands`, upgrades are in `succession`, what the supervisor wants done is in `actions`, what
//! the service manager is told in `announce`.

mod actions;
mod announce;
mod burial;
mod commands;
mod monitoring;
mod succession;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::signal::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook_mio::v1_0::Signals;

use crate::config::Settings;
use crate::ipc::{FromTemplate, FromWorker, Programs, Roster};
use crate::log as logs;
use crate::net::{Listener, SocketFile};
use crate::sys;

use super::Load;
use super::control::Control;
use super::forensics::OutOfMemory;
use super::generations::{Generation, Generations};
use super::listeners::{self, Reconciled};
use super::metrics;
use super::notify::Notifier;
use super::pid_file::PidFile;
use super::processes::{Message, Processes};
use super::supervisor::{Action, Event, Plan, ProcessId, Stop, Supervisor};
use super::upgrade::{Predecessor, Program, Upgrade};

use announce::News;
use commands::Commands;
use monitoring::Monitoring;

const SIGNALS_TOKEN: Token = Token(usize::MAX - 1);
/// The control socket has this token and those that follow; processes are far below.
const CONTROL_TOKEN: usize = usize::MAX / 2;
/// Events taken from the kernel at once; more wait for the next turn.
const EVENTS_MAX: usize = 256;
/// How often heartbeats are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The loop and everything it owns.
pub(super) struct Reactor {
    poll: Poll,
    signals: Signals,
    /// Descriptors of the poll and of the signals, closed in every child.
    own_descriptors: Vec<RawFd>,
    supervisor: Supervisor,
    processes: Processes,
    /// Where the workers see how many connections the others have.
    roster: Arc<Roster>,
    generations: Generations,
    programs: Programs,
    load: Load,
    queue: VecDeque<Action>,
    out_of_memory: OutOfMemory,
    next_look: Instant,
    next_watchdog: Option<Instant>,
    notifier: Notifier,
    control: Option<Control>,
    commands: Commands,
    monitoring: Monitoring,
    pid_file: Option<PidFile>,
    /// How to start a new master.
    program: Program,
    /// A new master that is being started, or has taken over.
    upgrade: Option<Upgrade>,
    /// The new master has taken over and is gone; what is in the file system is still its own.
    is_succeeded: bool,
    /// The old master, until it has given way.
    predecessor: Option<Predecessor>,
    /// Files of the listeners that this process has bound although it is not in charge yet.
    bound_files: Vec<SocketFile>,
    /// Files of listeners that are closed already, since the server stops.
    socket_files: Vec<SocketFile>,
    is_stopping: bool,
    /// The highest generation that has served in full.
    has_served: u32,
    news: News,
    exit_code: Option<i32>,
}

/// What the master has made of its surroundings before the first fork.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) listeners: Reconciled,
    pub(super) metrics: Reconciled,
    pub(super) control: Option<Control>,
    pub(super) pid_file: Option<PidFile>,
    pub(super) notifier: Notifier,
    pub(super) program: Program,
    pub(super) predecessor: Option<Predecessor>,
}

impl Resources {
    /// The listeners that this process has bound.
    pub(super) fn bound(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.bound.iter().chain(&self.metrics.bound)
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}

impl Reactor {
    /// Sets the loop up. Nothing is spawned before [`Reactor::run`].
    ///
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(
        load: Load,
        settings: Settings,
        programs: Programs,
        resources: Resources,
    ) -> io::Result<Self> {
        let bound_files = resources.bound().filter_map(Listener::socket_file).cloned().collect();
        let Resources { listeners, metrics, mut control, pid_file, notifier, program, predecessor } =
            resources;
        let first_generation = predecessor.as_ref().map_or(1, Predecessor::generation);
        // Its descriptors are for the workers, so they are not among our own.
        let roster = Arc::new(Roster::create()?);
        let before = sys::descriptors::list_open()?;
        let poll = Poll::new()?;
        let mut signals = Signals::new([
            SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU, SIGCHLD,
        ])?;
        poll.registry().register(&mut signals, SIGNALS_TOKEN, Interest::READABLE)?;
        let mut own_descriptors = sys::descriptors::list_open()?;
        own_descriptors.retain(|fd| !before.contains(fd));
        own_descriptors.extend(notifier.descriptor());
        let mut monitoring = Monitoring::new(poll.registry())?;
        // A new master leaves the clients of the sockets that it was passed to the old one until it is in charge.
        if predecessor.is_none() {
            monitoring.endpoint.listen(&metrics.listeners);
            if let Some(control) = &mut control {
                control.register(poll.registry(), CONTROL_TOKEN)?;
            }
        }
        let now = Instant::now();
        let (supervisor, actions) = Supervisor::start(Plan::from(&settings), first_generation, now);
        let mut generations = Generations::default();
        let (listeners, metrics) = (listeners.listeners, metrics.listeners);
        let generation = Generation { settings, listeners, metrics, is_announced: true };
        generations.insert(first_generation, generation);
        let mut reactor = Self {
            poll,
            signals,
            own_descriptors,
            supervisor,
            processes: Processes::default(),
            roster,
            generations,
            programs,
            load,
            queue: actions.into(),
            out_of_memory: OutOfMemory::watch(),
            next_look: now,
            next_watchdog: notifier.watchdog_interval().map(|_| now),
            notifier,
            control,
            commands: Commands::new(now),
            monitoring,
            pid_file,
            program,
            upgrade: None,
            is_succeeded: false,
            predecessor,
            bound_files,
            socket_files: Vec::new(),
            is_stopping: false,
            has_served: 0,
            news: News::default(),
            exit_code: None,
        };
        reactor.watch_predecessor()?;
        reactor.notify_starting();
        Ok(reactor)
    }

    /// Runs until the last process is gone; returns the exit code. What the server has left in the file system is removed,
    /// unless it belongs to another master.
    pub(super) fn run(mut self) -> i32 {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.work_off();
        loop {
            if let Some(code) = self.exit_code {
                self.clean_up();
                return code;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience())) {
                // After a stop (SIGSTOP) there may be messages that have waited longer than what is due now.
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                log::error!("the master cannot wait for events: {error}");
                events.clear();
            }
            // Signals first: workers that a terminal's interrupt has ended are no crash.
            if events.iter().any(|event| event.token() == SIGNALS_TOKEN) {
                self.take_signals();
            }
            for event in &events {
                if self.control.as_ref().is_some_and(|control| control.owns(event.token())) {
                    self.take_commands(event);
                } else if self.monitoring.endpoint.owns(event.token()) {
                    self.take_scrape(event);
                } else if event.token() != SIGNALS_TOKEN {
                    self.take_messages(ProcessId(event.token().0 as u64));
                }
            }
            self.turn_succession();
            self.reap();
            self.look();
            self.tell(Event::Tick);
        }
    }

    /// How long nothing is due.
    fn patience(&self) -> Duration {
        let deadlines = [
            self.supervisor.next_deadline(),
            self.control.as_ref().and_then(Control::next_deadline),
            self.commands.next_deadline(),
            self.monitoring.endpoint.next_deadline(),
            self.upgrade.as_ref().and_then(Upgrade::deadline),
            self.next_watchdog,
        ];
        let next = deadlines.into_iter().flatten().min().map_or(self.next_look, |at| at.min(self.next_look));
        next.saturating_duration_since(Instant::now())
    }

    fn clean_up(&mut self) {
        if self.predecessor.is_some() {
            return self.bound_files.iter().for_each(SocketFile::remove);
        }
        if !self.is_in_charge() {
            return;
        }
        self.socket_files.extend(self.generations.socket_files());
        // The next start has the listeners of the others.
        let gone = self.socket_files.iter().filter(|file| !self.notifier.keeps(file));
        gone.for_each(SocketFile::remove);
        if let Some(pid_file) = &self.pid_file {
            pid_file.remove();
        }
        if let Some(control) = &self.control {
            control.remove_file();
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
            self.stop(how, reason);
        }
        for &signal in signals.iter().filter(|signal| !stops(signal)) {
            match signal {
                SIGHUP => match &self.upgrade {
                    Some(upgrade) => upgrade.refuse("SIGHUP"),
                    // Problems are in the log.
                    None => drop(self.reload()),
                },
                SIGTTIN => self.tell(Event::ScaleUp),
                SIGTTOU => self.tell(Event::ScaleDown),
                SIGUSR1 => self.reopen_logs(),
                SIGUSR2 => self.upgrade(),
                SIGWINCH => self.retire(),
                // SIGCHLD: children are reaped in every turn.
                _ => {}
            }
        }
    }

    fn stop(&mut self, how: Stop, reason: &'static str) {
        if how != Stop::Handover {
            self.notify_stopping();
            if let Some(upgrade) = &mut self.upgrade {
                upgrade.stop();
            }
        }
        self.is_stopping = true;
        self.tell(Event::Stop { how, reason });
        // The workers take what waits; later clients are to be refused at once and not left waiting for the end.
        self.socket_files.extend(self.generations.close_listeners());
    }

    fn reopen_logs(&mut self) {
        if let Err(error) = logs::reopen() {
            log::error!("the log file cannot be reopened: {error}; the old one stays in use");
        }
        self.tell(Event::ReopenLogs);
    }

    /// Begins to boot the generation that is returned.
    ///
    /// # Errors
    /// Why not; also in the log.
    fn reload(&mut self) -> Result<u32, String> {
        let serving = self.supervisor.serving_generation();
        match self.prepare_reload(serving) {
            Ok((plan, generation)) => {
                let number = self.supervisor.next_generation();
                self.generations.insert(number, generation);
                self.notify_reloading(number);
                self.tell(Event::Reload(plan));
                Ok(number)
            }
            Err(problems) => {
                self.commands.counters.reloads_failed += 1;
                self.note_failed_reload(&problems);
                problems.lines().for_each(|line| log::error!("{line}"));
                log::error!("reload refused: generation {serving} keeps serving");
                Err(problems)
            }
        }
    }

    /// Reads the configuration again and binds what is new in it.
    fn prepare_reload(&self, serving: u32) -> Result<(Plan, Generation), String> {
        if self.is_stopping {
            return Err("the server stops".to_owned());
        }
        if self.upgrade.is_some() {
            return Err("an upgrade is under way: reload when it is over".to_owned());
        }
        let settings = (self.load)()?;
        let current = self.generation(serving).map_err(|error| error.to_string())?;
        warn_of_fixed(&current.settings, &settings);
        let open: Vec<Listener> = self.generations.listeners().cloned().collect();
        let reconciled =
            listeners::reconcile(&open, &settings.server).map_err(|problems| problems.join("\n"))?;
        let open: Vec<Listener> = self.generations.metrics().cloned().collect();
        let metrics = metrics::reconcile(&open, &settings)
            .inspect_err(|_| listeners::remove_files(&reconciled.bound))?
            .listeners;
        // Compared with everything that is open; what a reload that is under way has bound may not serve yet.
        let moves_listeners = reconciled.moves() || self.supervisor.pending_generation().is_some();
        let plan = Plan { moves_listeners, ..Plan::from(&settings) };
        Ok((plan, Generation { settings, listeners: reconciled.listeners, metrics, is_announced: false }))
    }

    /// Reads everything that a process has sent.
    fn take_messages(&mut self, id: ProcessId) {
        while let Some(message) = self.processes.receive(id, self.poll.registry()) {
            match message {
                Message::Worker(message) => self.take_worker_message(id, message),
                Message::Template(message) => self.take_template_message(id, message),
            }
        }
    }

    fn take_worker_message(&mut self, id: ProcessId, message: FromWorker) {
        match message {
            FromWorker::Ready => self.tell(Event::Ready(id)),
            FromWorker::BootFailed { exit_code, summary, traceback } => {
                self.tell(Event::BootFailed { id, exit_code, summary, traceback });
            }
            FromWorker::Recycle { reason, stuck } => self.tell(Event::Recycle { id, reason, stuck }),
            FromWorker::Draining => {
                self.processes.has_left(id);
                self.finish_reloads();
            }
            FromWorker::Checked { failure } => self.tell(Event::Checked { id, failure }),
            FromWorker::Dumped { text } => self.dumped(id, &text),
        }
    }

    fn take_template_message(&mut self, id: ProcessId, message: FromTemplate) {
        match message {
            FromTemplate::Ready => self.tell(Event::TemplateReady(id)),
            FromTemplate::Unsafe { report } => self.tell(Event::TemplateUnsafe { id, report }),
            FromTemplate::BootFailed { exit_code, summary, traceback } => {
                self.tell(Event::BootFailed { id, exit_code, summary, traceback });
            }
            FromTemplate::Forked { id: worker, pid } => {
                let worker = ProcessId(worker);
                let ended = self.processes.forked(worker, pid);
                self.tell(Event::Started { id: worker, pid });
                if let Some(status) = ended {
                    self.bury(worker, status);
                }
            }
            FromTemplate::ForkFailed { id: worker, error } => {
                let worker = ProcessId(worker);
                self.processes.forget(worker, self.poll.registry());
                self.tell(Event::SpawnFailed { id: worker, error });
            }
        }
    }

    /// What is due from time to time; heartbeats are looked at once a second.
    fn look(&mut self) {
        let now = Instant::now();
        if let Some(control) = &mut self.control {
            control.tick(now);
        }
        self.monitoring.endpoint.tick(now);
        self.finish_dumps();
        self.finish_reloads();
        self.feed_watchdog(now);
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        self.notify_status(now);
        self.processes.send_unsent();
        for event in self.processes.silent(now) {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::Recycle { id, reason, stuck } = &event {
            self.note_recycle(*id, reason, *stuck);
        }
        let serving = self.supervisor.serving_generation();
        let actions = self.supervisor.handle(Instant::now(), event);
        self.queue.extend(actions);
        let now_serving = self.supervisor.serving_generation();
        if now_serving != serving {
            self.adopt_generation(now_serving);
        }
        // Before the log tells of it, a discarded generation has left nothing behind.
        self.forget_generations();
        self.work_off();
        self.forget_generations();
    }

    fn forget_generations(&mut self) {
        let serving = self.supervisor.serving_generation();
        let pending = self.supervisor.pending_generation();
        self.generations.retain(|number| number == serving || Some(number) == pending);
    }

    /// The master's own log follows the settings of the generation that serves.
    fn adopt_generation(&mut self, number: u32) {
        logs::identify(logs::Role::Master, number);
        self.generations.announce(number);
        if let Some(generation) = self.generations.get(number) {
            if let Err(error) = logs::reconfigure(&generation.settings.log) {
                log::error!("[log] stays as it was in the master: {error}");
            }
            listeners::adjust(&generation.listeners, &generation.settings.server);
            metrics::adjust(&generation.metrics, &generation.settings);
            self.monitoring.endpoint.listen(&generation.metrics);
        }
    }
}

/// Tells which changed settings a reload cannot apply.
fn warn_of_fixed(old: &Settings, new: &Settings) {
    let control = old.control_socket != new.control_socket;
    let (old, new) = (&old.server, &new.server);
    let changed = [
        ("server.user", old.user != new.user),
        ("server.group", old.group != new.group),
        ("server.umask", old.umask != new.umask),
        ("server.pid_file", old.pid_file != new.pid_file),
        ("control.socket", control),
    ];
    for (name, _) in changed.iter().filter(|(_, changed)| *changed) {
        log::warn!("{name} has changed: it takes effect at the next restart");
    }
}
