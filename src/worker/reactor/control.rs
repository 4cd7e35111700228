//! What the reactor does because it was told: by the master, by a signal, by the application that wants to leave, and by
//! the limits after which a worker is replaced.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mio::Token;

use crate::app::Scheme;
use crate::ipc::{FromWorker, ToWorker};
use crate::net::{Address, Endpoint};
use crate::sys;

use super::super::accept::BATCH_MAX;
use super::super::check::Check;
use super::super::connection::Connection;
use super::super::context::Context;
use super::super::recycle::{self, Limits};
use super::{CHECK, Reactor};

/// When to ask for a replacement, and whether that was done.
#[derive(Debug)]
pub(super) struct Recycling {
    limits: Limits,
    begun: Instant,
    asked: bool,
    stuck_reported: bool,
}

impl Recycling {
    pub(super) fn new(context: &Context) -> Self {
        let limits = Limits::new(&context.settings.workers, recycle::random());
        Self { limits, begun: context.now, asked: false, stuck_reported: false }
    }
}

impl Reactor {
    pub(super) fn handle_channel(&mut self) {
        loop {
            match self.channel.receive_from_master() {
                Ok(Some(ToWorker::Serve)) => self.serving = true,
                Ok(Some(ToWorker::Drain)) => self.drain(),
                Ok(Some(ToWorker::Stop)) => self.stop(),
                Ok(Some(ToWorker::ReopenLogs)) => self.reopen_logs(),
                Ok(Some(ToWorker::Check)) => self.begin_check(),
                Ok(Some(ToWorker::Dump)) => self.watching.ask_for_dump(),
                Ok(None) => {
                    log::error!("the master is gone");
                    sys::exit_now(1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::error!("the channel to the master failed: {error}");
                    sys::exit_now(1);
                }
            }
        }
    }

    pub(super) fn handle_signals(&mut self) {
        let mut numbers = [0; 64];
        while let Ok(count) = self.signals.read(&mut numbers) {
            if count == 0 {
                return;
            }
            for number in &numbers[..count] {
                if i32::from(*number) == libc::SIGTERM {
                    self.ask_for_replacement("it was sent SIGTERM".to_owned());
                } else {
                    sys::exit_now(0);
                }
            }
        }
    }

    /// Looks whether the worker is due to be replaced.
    pub(super) fn consider_recycling(&mut self) {
        let leaving = &self.context.shared.leaving;
        if leaving.load(Ordering::Relaxed) && leaving.swap(false, Ordering::Relaxed) {
            self.ask_for_replacement("the application asked to exit (SystemExit)".to_owned());
        }
        if self.recycling.asked {
            return;
        }
        let memory_bytes = self.context.shared.private_memory.load(Ordering::Relaxed);
        let age = self.context.now.saturating_duration_since(self.recycling.begun);
        if let Some(reason) = self.recycling.limits.due(self.context.served, memory_bytes, age) {
            self.ask_for_replacement(reason);
        }
    }

    /// Asks the master for a replacement, once. The worker goes on serving until the master says that it is to drain.
    fn ask_for_replacement(&mut self, reason: String) {
        if self.recycling.asked || self.context.draining_since.is_some() {
            return;
        }
        self.recycling.asked = true;
        self.tell(&FromWorker::Recycle { reason, stuck: false });
    }

    /// A thread is lost for good: the worker serves less than it should, so this is told even if a replacement was asked for.
    pub(super) fn report_stuck(&mut self, reason: String) {
        if !self.recycling.stuck_reported {
            self.recycling.stuck_reported = true;
            self.recycling.asked = true;
            self.tell(&FromWorker::Recycle { reason, stuck: true });
        }
    }

    /// Sends a message to the master.
    pub(super) fn tell(&self, message: &FromWorker) {
        if let Err(error) = self.channel.send_to_master(message) {
            log::error!("cannot send a message to the master: {error}");
        }
    }

    /// Runs the request of `reload.check` through the application.
    fn begin_check(&mut self) {
        let Some(target) = &self.context.settings.reload.check else {
            return self.tell(&FromWorker::Checked { failure: None });
        };
        let scheme = if target.https { Scheme::Https } else { Scheme::Http };
        let begun = Check::begin(target).and_then(|(mut check, server_end)| {
            check.register(self.poll.registry(), CHECK)?;
            Ok((check, server_end))
        });
        match begun {
            Ok((check, server_end)) => {
                self.check = Some(check);
                let endpoint = Arc::new(Endpoint {
                    local: self.acceptor.local().unwrap_or(Address::Unix(None)),
                    peer: Address::Unix(None),
                    trusted: true,
                });
                self.admit(|token, context| {
                    Connection::for_check(server_end, token, endpoint, scheme, context)
                });
            }
            Err(error) => {
                let failure = Some(format!("GET {} could not be sent: {error}", target.path));
                self.tell(&FromWorker::Checked { failure });
            }
        }
    }

    pub(super) fn read_check(&mut self) {
        let Some(check) = &mut self.check else { return };
        let progress = check.read(&mut self.context.scratch);
        if !progress.open {
            self.check = None;
        }
        if let Some(message) = progress.message {
            self.tell(&message);
        }
    }

    /// The whole server stops: nobody else will take the connections that wait in the kernel's queues.
    fn stop(&mut self) {
        // Also when it drains already: a service manager may send SIGTERM to every process at once (KillMode= in
        // systemd.kill(5)), and the worker's own came before this message.
        if self.serving {
            // No more than a queue can hold, or clients that keep coming would put the stop off for ever.
            let batches = (self.context.settings.server.backlog as usize).div_ceil(BATCH_MAX);
            for index in 0..self.acceptor.listeners() {
                for _ in 0..batches {
                    if self.room() == 0 || !self.accept_some(index, self.room()) {
                        break;
                    }
                }
            }
        }
        self.drain();
        self.acceptor.close();
    }

    fn drain(&mut self) {
        if self.context.draining_since.is_some() {
            return;
        }
        self.context.draining_since = Some(self.context.now);
        // The last thread that becomes free ends the drain.
        self.context.shared.wants_free_thread.store(true, Ordering::SeqCst);
        self.context.shared.draining.store(true, Ordering::Relaxed);
        self.acceptor.leave();
        self.tell(&FromWorker::Draining);
        let tokens: Vec<Token> = self.connections.iter().map(|(_, connection)| connection.token()).collect();
        log::debug!("draining {} connections", tokens.len());
        for token in tokens {
            self.with_connection(token, Connection::drain);
        }
    }

    fn reopen_logs(&mut self) {
        if let Err(error) = crate::log::reopen() {
            log::error!("cannot reopen log.file: {error}");
        }
        if let Some(access) = &mut self.context.access
            && let Err(error) = access.reopen()
        {
            log::error!("cannot reopen log.access: {error}");
        }
    }
}
