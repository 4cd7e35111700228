//! Upgrades: this master brings in a new one, or is the new one.

use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::os::fd::{AsFd, AsRawFd};

use crate::sys::process::ExitStatus;

use super::super::listeners;
use super::super::pid_file::PidFile;
use super::super::supervisor::{Event, Stop};
use super::super::upgrade::{Estate, Upgrade, Word};
use super::{CONTROL_TOKEN, Reactor};

const UPGRADE_TOKEN: Token = Token(usize::MAX - 2);
const PREDECESSOR_TOKEN: Token = Token(usize::MAX - 3);

impl Reactor {
    /// Watches the old master, if there is one.
    pub(super) fn watch_predecessor(&self) -> std::io::Result<()> {
        let Some(predecessor) = &self.predecessor else { return Ok(()) };
        let fd = predecessor.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), PREDECESSOR_TOKEN, Interest::READABLE)
    }

    /// USR2: starts the program that is on disk now as a new master.
    pub(super) fn upgrade(&mut self) {
        if let Some(upgrade) = &self.upgrade {
            return upgrade.refuse("SIGUSR2");
        }
        if let Some(refusal) = self.upgrade_refused() {
            log::warn!("SIGUSR2 is refused: {refusal}");
            return;
        }
        let serving = self.supervisor.serving_generation();
        let Some(generation) = self.generations.get(serving) else { return };
        let estate = Estate {
            generation: self.supervisor.next_generation(),
            listeners: &generation.listeners,
            metrics: &generation.metrics,
            control: self.control.as_ref().map(|control| (control.as_fd(), control.path())),
            pid_file: self.pid_file.as_ref().map(PidFile::path),
        };
        let boot_timeout = generation.settings.workers.boot_timeout;
        match Upgrade::start(&self.program, &estate, Instant::now(), boot_timeout) {
            Ok(upgrade) => {
                let fd = upgrade.as_raw_fd();
                let registered =
                    self.poll.registry().register(&mut SourceFd(&fd), UPGRADE_TOKEN, Interest::READABLE);
                if let Err(error) = registered {
                    // Dropped, it ends the new master.
                    log::error!("the upgrade failed: the new master cannot be watched: {error}");
                    return;
                }
                self.upgrade = Some(upgrade);
            }
            Err(problem) => log::error!("{problem}"),
        }
    }

    fn upgrade_refused(&self) -> Option<&'static str> {
        if self.is_stopping {
            Some("the server stops")
        } else if self.predecessor.is_some() {
            Some("this server is not in charge yet")
        } else if self.supervisor.pending_generation().is_some() {
            Some("a reload is under way: ask again when it is over")
        } else {
            None
        }
    }

    /// WINCH: retires the workers of this master while the new one starts.
    pub(super) fn retire(&mut self) {
        if self.upgrade.is_some() && !self.is_stopping {
            self.tell(Event::Retire);
        } else {
            log::info!("SIGWINCH is ignored: no upgrade is under way");
        }
    }

    /// Hears the new master, or the old one.
    pub(super) fn turn_succession(&mut self) {
        let now = Instant::now();
        if self.upgrade.as_mut().is_some_and(|upgrade| upgrade.turn(now)) {
            if let Some(upgrade) = &mut self.upgrade {
                self.notifier.main_pid(upgrade.pid());
                log::info!("upgrade: the new master with pid {} serves and takes over", upgrade.pid());
                // Its clients are the new master's from now on.
                if let Some(control) = &mut self.control {
                    control.unregister();
                }
                self.monitoring.endpoint.listen(&[]);
                upgrade.hand_over();
            }
            self.stop(Stop::Handover, "upgraded");
        }
        match self.predecessor.as_ref().map_or(Word::Nothing, |predecessor| predecessor.hear()) {
            Word::Nothing => {}
            Word::Adopt => self.take_charge(),
            Word::Stop(reason) => {
                if !self.is_stopping {
                    self.stop(Stop::Graceful, reason);
                }
            }
        }
    }

    /// The old master has given way.
    fn take_charge(&mut self) {
        let Some(predecessor) = self.predecessor.take() else { return };
        self.poll.registry().deregister(&mut SourceFd(&predecessor.as_raw_fd())).ok();
        listeners::remove_files(&predecessor.listeners);
        let serving = self.supervisor.serving_generation();
        if let Some(generation) = self.generations.get(serving) {
            self.pid_file = predecessor.take_over_pid_file(&generation.settings.server);
            self.monitoring.endpoint.listen(&generation.metrics);
        }
        let registry = self.poll.registry();
        let registered = self.control.as_mut().map(|control| control.register(registry, CONTROL_TOKEN));
        if let Some(Err(error)) = registered {
            log::warn!("rwsgi ctl cannot be used: {error}");
        }
        log::info!("took over from the master with pid {}", predecessor.pid());
        self.notify_ready();
    }

    /// A child that is no worker and no template has ended: true if it was the new master.
    pub(super) fn bury_successor(&mut self, pid: i32, status: ExitStatus) -> bool {
        let Some(upgrade) = self.upgrade.take_if(|upgrade| upgrade.pid() == pid) else { return false };
        self.poll.registry().deregister(&mut SourceFd(&upgrade.as_raw_fd())).ok();
        let was_over = upgrade.is_over();
        let level = if upgrade.was_stopped() { log::Level::Info } else { log::Level::Error };
        log::log!(level, "{}", upgrade.end(status));
        if was_over {
            // Its files are nobody's now; the next start takes them over.
            self.is_succeeded = true;
            return true;
        }
        if level == log::Level::Error {
            self.news.trouble = Some(format!("upgrade failed: the new master {status}"));
        }
        if !self.is_stopping {
            self.tell(Event::Resume);
        }
        true
    }
}
