//! What `rwsgi ctl` asks for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event as Readiness;

use crate::ipc::ToWorker;
use crate::ipc::control::{Answer, MasterCounters, Request, Stacks, Status, TemplateStatus, WorkerStatus};

use super::super::control::ClientId;
use super::super::forensics;
use super::super::spawn::Role;
use super::super::supervisor::{Event, ProcessId, Stop};
use super::Reactor;

/// How long workers may take to tell their stacks.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel walks through all memory of a process to measure it, and the master waits: of more processes than this the
/// workers' own figures, which are up to ten seconds old, have to do.
const MEASURED_MAX: usize = 64;
/// How long the answer to a reload waits for old workers to stop accepting; they do as soon as they run.
const CHANGE_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// As many workers as `workers.count` may ask for.
const COUNT_MAX: u32 = 1024;

/// Clients that wait, and what is counted for them.
#[derive(Debug)]
pub(super) struct Commands {
    started: Instant,
    started_at: SystemTime,
    pub(super) counters: MasterCounters,
    /// Who waits for the end of which generation's reload.
    reloads: Vec<(u32, ClientId)>,
    /// Reloads that are over but for old workers that may still accept.
    changing_over: Vec<ChangeOver>,
    dumps: Vec<Dump>,
}

/// A reload whose new workers serve.
#[derive(Debug)]
struct ChangeOver {
    generation: u32,
    answer: Answer,
    deadline: Instant,
}

/// Stacks that are being collected.
#[derive(Debug)]
struct Dump {
    client: ClientId,
    waiting: BTreeSet<ProcessId>,
    stacks: Vec<Stacks>,
    deadline: Instant,
}

impl Commands {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            started_at: SystemTime::now(),
            counters: MasterCounters::default(),
            reloads: Vec::new(),
            changing_over: Vec::new(),
            dumps: Vec::new(),
        }
    }

    pub(super) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let changes = self.changing_over.iter().map(|change| change.deadline);
        self.dumps.iter().map(|dump| dump.deadline).chain(changes).min()
    }
}

impl Reactor {
    /// Something has happened to the control socket or one of its clients.
    pub(super) fn take_commands(&mut self, event: &Readiness) {
        let now = Instant::now();
        let requests = self.control.as_mut().map(|control| control.handle(event, now)).unwrap_or_default();
        for (client, request) in requests {
            self.command(client, request);
        }
    }

    fn command(&mut self, client: ClientId, request: Request) {
        let answer = match request {
            Request::Status { brief } => Answer::status(self.status(brief)),
            Request::Reload { wait } => match self.reload() {
                Ok(generation) if wait => {
                    // It may be over already: a canary that could not even be forked.
                    if self.supervisor.pending_generation() == Some(generation) {
                        self.commands.reloads.push((generation, client));
                        return;
                    }
                    Answer::failed(format!("generation {generation} could not be started: see the log"))
                }
                Ok(_) => Answer::done("reload asked for: see the log"),
                Err(problem) => Answer::failed(problem),
            },
            Request::Stop => {
                self.answer_client(client, &Answer::done("stopping"), false);
                return self.stop(Stop::Graceful, "rwsgi ctl stop");
            }
            Request::Scale { count: count @ 1..=COUNT_MAX } => {
                self.tell(Event::ScaleTo(count));
                let workers = if count == 1 { "worker" } else { "workers" };
                Answer::done(format!("{count} {workers} until the next reload"))
            }
            Request::Scale { count } => {
                Answer::failed(format!("{count} workers: must be a number from 1 to {COUNT_MAX}"))
            }
            Request::Metrics => Answer::metrics(self.metrics_text()),
            Request::Dump => return self.dump(client),
            Request::Recycle { pid } => self.recycle_asked(pid),
            Request::ReopenLogs => {
                self.reopen_logs();
                Answer::done("the log files are reopened")
            }
        };
        self.answer_client(client, &answer, true);
    }

    /// Only a worker of the generation that serves is replaced; of one that boots or drains there is nothing to replace.
    fn recycle_asked(&mut self, pid: i32) -> Answer {
        let processes = self.supervisor.processes(Instant::now());
        let known = processes.iter().find(|process| process.pid == Some(pid));
        let Some((slot, worker)) = known.and_then(|process| Some((process.slot?, process))) else {
            return Answer::failed(format!("there is no worker with the pid {pid} any more"));
        };
        match worker.phase {
            "serving" => {
                let reason = "rwsgi ctl asks for it".to_owned();
                self.tell(Event::Recycle { id: worker.id, reason, stuck: false });
                Answer::done(format!("worker {slot} (pid {pid}) goes as soon as another serves in its place"))
            }
            "recycling" => Answer::done(format!("worker {slot} (pid {pid}) is being replaced already")),
            phase => Answer::failed(format!(
                "worker {slot} (pid {pid}) is {phase}: only one that serves is replaced"
            )),
        }
    }

    fn answer_client(&mut self, client: ClientId, answer: &Answer, last: bool) {
        if let Some(control) = &mut self.control {
            control.answer(client, answer, last, Instant::now());
        }
    }

    /// A reload is over.
    pub(super) fn reload_over(&mut self, generation: u32, outcome: Result<String, String>) {
        match outcome {
            Ok(sentence) => {
                self.commands.counters.reloads_ok += 1;
                let deadline = Instant::now() + CHANGE_OVER_TIMEOUT;
                let answer = Answer::done(sentence);
                self.commands.changing_over.push(ChangeOver { generation, answer, deadline });
                self.finish_reloads();
            }
            Err(reason) => {
                self.commands.counters.reloads_failed += 1;
                self.answer_reload(generation, &Answer::failed(reason));
            }
        }
    }

    /// Answers the reloads after which no old worker accepts any more, so that the next request meets the new code. An old
    /// worker that is stopped is not waited for long.
    pub(super) fn finish_reloads(&mut self) {
        let now = Instant::now();
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.commands.changing_over).into_iter().partition(|change| {
                change.deadline <= now || !self.processes.is_accepted_before(change.generation)
            });
        self.commands.changing_over = waiting;
        for change in over {
            self.answer_reload(change.generation, &change.answer);
        }
    }

    fn answer_reload(&mut self, generation: u32, answer: &Answer) {
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commands.reloads)
            .into_iter()
            .partition(|(number, _)| *number == generation);
        self.commands.reloads = waiting;
        for (_, client) in over {
            self.answer_client(client, answer, true);
        }
    }

    fn dump(&mut self, client: ClientId) {
        let workers = self.processes.iter().filter(|(_, process)| matches!(process.role, Role::Worker(_)));
        let waiting: BTreeSet<ProcessId> = workers.map(|(id, _)| id).collect();
        for &id in &waiting {
            self.processes.send(id, ToWorker::Dump);
        }
        let deadline = Instant::now() + DUMP_TIMEOUT;
        self.commands.dumps.push(Dump { client, waiting, stacks: Vec::new(), deadline });
    }

    /// A worker has told its stacks, or cannot tell them any more.
    pub(super) fn dumped(&mut self, id: ProcessId, text: &str) {
        let Some(stacks) = self.stacks_of(id, text) else { return };
        for dump in &mut self.commands.dumps {
            if dump.waiting.remove(&id) {
                dump.stacks.push(stacks.clone());
            }
        }
        self.finish_dumps();
    }

    /// Answers the dumps that are complete, or whose time is up.
    pub(super) fn finish_dumps(&mut self) {
        let now = Instant::now();
        let (done, waiting): (Vec<Dump>, Vec<Dump>) = std::mem::take(&mut self.commands.dumps)
            .into_iter()
            .partition(|dump| dump.waiting.is_empty() || dump.deadline <= now);
        self.commands.dumps = waiting;
        for mut dump in done {
            for &id in &dump.waiting {
                let state = self.processes.get(id).and_then(|process| process.pid);
                let state = state.map_or("gone", forensics::state_of);
                let text = format!("no answer within {DUMP_TIMEOUT:?} (the process is {state})");
                dump.stacks.extend(self.stacks_of(id, &text));
            }
            dump.stacks.sort_by_key(|stacks| (stacks.generation, stacks.slot));
            self.answer_client(dump.client, &Answer::stacks(dump.stacks), true);
        }
    }

    fn stacks_of(&self, id: ProcessId, text: &str) -> Option<Stacks> {
        let process = self.processes.get(id)?;
        let Role::Worker(slot) = process.role else { return None };
        let (pid, generation) = (process.pid.unwrap_or(0), process.generation);
        Some(Stacks { pid, generation, slot, text: text.to_owned() })
    }

    fn status(&self, brief: bool) -> Status {
        let generation = self.supervisor.serving_generation();
        let resources = self.generations.get(generation);
        let uptime = self.commands.started.elapsed();
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: nix::unistd::getpid().as_raw(),
            generation,
            pending_generation: self.supervisor.pending_generation(),
            name: resources.map(|it| it.settings.server.process_name.clone()).unwrap_or_default(),
            uptime_seconds: uptime.as_secs(),
            uptime_millis: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            started_at: self
                .commands
                .started_at
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            config: resources.and_then(|it| it.settings.file.as_ref()).map(|path| path.display().to_string()),
            listeners: resources.iter().flat_map(|it| &it.listeners).map(ToString::to_string).collect(),
            count: self.supervisor.count(),
            counters: self.commands.counters,
            ..Status::default()
        };
        status.describe_latency();
        let processes = self.supervisor.processes(Instant::now());
        let measures_memory = processes.len() <= MEASURED_MAX;
        for process in processes {
            let (phase, age_seconds) = (process.phase.to_owned(), process.age.as_secs_f64());
            let (pid, generation) = (process.pid, process.generation);
            let Some(slot) = process.slot else {
                status.templates.push(TemplateStatus { pid, generation, phase, age_seconds });
                continue;
            };
            let mut worker =
                WorkerStatus { pid, generation, slot, phase, age_seconds, ..WorkerStatus::default() };
            if let Some(known) = self.processes.get(process.id) {
                worker.observe(&known.scoreboard);
            }
            let is_measured = measures_memory && !(brief && worker.private_memory_bytes.is_some());
            let memory = pid.filter(|_| is_measured).and_then(forensics::memory_of);
            if let Some(memory) = memory {
                worker.private_memory_bytes = Some(memory.private);
                worker.proportional_memory_bytes = Some(memory.proportional);
            }
            status.workers.push(worker);
        }
        status.workers.sort_by_key(|worker| (worker.generation, worker.slot));
        status
    }
}
