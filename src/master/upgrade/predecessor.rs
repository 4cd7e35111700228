//! The new master's side of an upgrade: what it has from the old one, and what it hears from it.

use std::env;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use crate::config::Server;
use crate::net::Listener;
use crate::sys;

use super::super::pid_file::{self, PidFile};
use super::{ADOPT, Handed, Handover, Received, SERVING, STOP, VARIABLE, receive, say};

/// The old master, as the new one sees it.
#[derive(Debug)]
pub(in crate::master) struct Predecessor {
    pid: i32,
    generation: u32,
    channel: OwnedFd,
    pid_file: Option<PathBuf>,
    has_heard_of_us: bool,
    /// All that it had open; after `listeners::reconcile`, to be replaced by those that are not wanted.
    pub(in crate::master) listeners: Vec<Listener>,
    /// Those of `metrics.bind` that it had open; taken by `reconcile`, and those that are not wanted join `listeners`.
    pub(in crate::master) metrics: Vec<Listener>,
    /// Its control socket's listener and path, to be taken.
    pub(in crate::master) control: Option<(OwnedFd, PathBuf)>,
}

/// What the old master says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum Word {
    /// Nothing now.
    Nothing,
    /// This process is the master.
    Adopt,
    /// This process is not needed: stop, for this reason.
    Stop(&'static str),
}

impl Predecessor {
    /// The master that started this process to be replaced by it; `None` in a process that was started otherwise. Only
    /// while the process has one thread.
    ///
    /// # Errors
    /// One sentence: what was handed over cannot be used.
    pub(in crate::master) fn take() -> Result<Option<Self>, String> {
        let Some(text) = env::var_os(VARIABLE) else { return Ok(None) };
        sys::environment::remove_variables(&[VARIABLE]);
        let text = text.to_string_lossy();
        let handover: Handover = serde_json::from_str(&text).map_err(|error| {
            format!("{VARIABLE} cannot be read ({error}): it is set by a master for its successor; unset it")
        })?;
        if nix::unistd::getppid().as_raw() != handover.master {
            return Err(format!(
                "{VARIABLE} was not set by the parent of this process: a script around the program must `exec` it"
            ));
        }
        Self::accept(handover).map(Some)
    }

    pub(super) fn accept(handover: Handover) -> Result<Self, String> {
        let lost =
            |error: &dyn std::fmt::Display| format!("what the old master passed cannot be used: {error}");
        let channel = sys::descriptors::adopt(handover.channel).map_err(|error| lost(&error))?;
        let control = handover.control.map(|(fd, path)| Ok((sys::descriptors::adopt(fd)?, path)));
        let control = control.transpose().map_err(|error: io::Error| lost(&error))?;
        let take = |handed: &[Handed]| handed.iter().map(Handed::take).collect::<Result<Vec<_>, String>>();
        Ok(Self {
            pid: handover.master,
            generation: handover.generation,
            channel,
            pid_file: handover.pid_file,
            has_heard_of_us: false,
            listeners: take(&handover.listeners).map_err(|error| lost(&error))?,
            metrics: take(&handover.metrics).map_err(|error| lost(&error))?,
            control,
        })
    }

    /// The old master's process id.
    pub(in crate::master) fn pid(&self) -> i32 {
        self.pid
    }

    /// What every forked child closes: the channel, and what nobody has taken from here.
    pub(in crate::master) fn descriptors(&self) -> Vec<RawFd> {
        let listeners = self.listeners.iter().map(|it| it.as_fd().as_raw_fd());
        let control = self.control.iter().map(|(fd, _)| fd.as_raw_fd());
        listeners.chain(control).chain([self.channel.as_raw_fd()]).collect()
    }

    /// The number of our first generation.
    pub(in crate::master) fn generation(&self) -> u32 {
        self.generation
    }

    /// Our first generation serves. Said once; more does no harm.
    pub(in crate::master) fn tell_serving(&mut self) {
        if !std::mem::replace(&mut self.has_heard_of_us, true) {
            if let Err(error) = say(&self.channel, SERVING) {
                log::debug!("the old master was not told that this one serves: {error}");
            }
        }
    }

    /// What the old master says now.
    pub(in crate::master) fn hear(&self) -> Word {
        match receive(&self.channel) {
            Received::Nothing => Word::Nothing,
            Received::Word(word) if word == ADOPT => Word::Adopt,
            Received::Word(word) if word == STOP => Word::Stop("the old master stops"),
            // A word of a later release.
            Received::Word(_) => Word::Nothing,
            // Somebody must be the master, and this one serves.
            Received::End if self.has_heard_of_us => Word::Adopt,
            Received::End => Word::Stop("the old master has ended"),
        }
    }

    /// Writes our pid file in place of the old master's. What fails is logged: the server serves.
    pub(in crate::master) fn take_over_pid_file(&self, server: &Server) -> Option<PidFile> {
        if let Some(old) = self.pid_file.as_ref().filter(|old| server.pid_file.as_ref() != Some(old)) {
            pid_file::remove_of(old, self.pid);
        }
        match PidFile::take_over(server.pid_file.as_ref()?, &server.process_name, self.pid) {
            Ok(file) => Some(file),
            Err(problem) => {
                log::warn!("{problem}");
                None
            }
        }
    }
}

impl AsRawFd for Predecessor {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}
