//! Ends of processes: reaped, explained, and told to the supervisor.

use signal_hook::consts::signal::SIGKILL;

use crate::sys;
use crate::sys::process::ExitStatus;

use super::super::processes::Process;
use super::super::spawn::Role;
use super::super::supervisor::{Death, Event, ProcessId};
use super::Reactor;

impl Reactor {
    /// Takes note of every child that has ended; orphans that were handed to us go without a word.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = sys::process::reap() {
            self.roster.remove(pid.unsigned_abs());
            if self.processes.find(pid).is_none() {
                // A template may have told of it already.
                for template in self.processes.templates() {
                    self.take_messages(template);
                }
            }
            match self.processes.find(pid) {
                Some(id) => self.bury(id, status),
                None if self.bury_successor(pid, status) => {}
                None => self.processes.remember(pid, status),
            }
        }
    }

    pub(super) fn bury(&mut self, id: ProcessId, status: ExitStatus) {
        // Its last words may explain its end.
        self.take_messages(id);
        self.dumped(id, "it has ended");
        let Some(process) = self.processes.remove(id, self.poll.registry()) else { return };
        if process.role == Role::Template {
            self.processes.forget_asked_of(id, self.poll.registry());
        }
        self.note_gone(process.scoreboard.counters().requests);
        let death = self.death(&process, status);
        self.retain_figures(&process, &death);
        self.tell(Event::Exited { id, death });
    }

    /// What can be found out about how a process has ended.
    fn death(&mut self, process: &Process, status: ExitStatus) -> Death {
        let was_killed = status == ExitStatus::Signal(SIGKILL) && !process.killed;
        let crashed = matches!(status, ExitStatus::Signal(_));
        let tasks = process.scoreboard.tasks();
        let doing = tasks.iter().map(|task| {
            let (method, path, age) = (&task.method, &task.path, task.age.as_secs_f64());
            format!("{method} {path} for {age:.1} s")
        });
        Death {
            status,
            by: if was_killed { self.out_of_memory.killer() } else { None },
            doing: doing.collect(),
            stacks: if crashed { process.scoreboard.crash_text() } else { None },
        }
    }
}
