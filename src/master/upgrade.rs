//! The upgrade in place (`USR2`): a new master, from the program that is on disk now, takes the place of this one while
//! clients are served throughout.
//!
//! ```text
//! old master                                       new master
//! USR2: starts the program, with listeners ──────▶ reads its configuration, spawns its first generation
//!                                     ◀─ serving ─ when that serves in full
//! tells the service manager MAINPID
//!                                      ─ adopt ──▶ takes the pid file over, tells READY; is the master
//! drains its workers, exits with 0
//! ```
//!
//! The new master is a child of the old one. What it gets stands as JSON in [`VARIABLE`]; descriptors keep their numbers.
//! Each side learns of the other's end by the channel's: a new master whose old one ends before it serves has nothing to
//! take over and exits; an old one whose new one fails goes on as if nothing had happened. Until `adopt`, pid file, control
//! socket and the inherited socket files belong to the old master; afterwards to the new one, and the old one removes none.
//!
//! Use, old side: make a [`Program`] before the process title is set. On `USR2`, [`Upgrade::start`]; poll its descriptor,
//! wake at its deadline, close its descriptor in every forked child, call [`Upgrade::turn`] in each turn of the loop. When
//! that is true: `Notifier::main_pid`, [`Upgrade::hand_over`], `Event::Stop { how: Stop::Handover, .. }`, and at the end
//! remove no files and say nothing to the service manager. When the reaped process is [`Upgrade::pid`], drop the `Upgrade`
//! and log [`Upgrade::end`]. On a stop while it runs, [`Upgrade::stop`]. [`Upgrade::refuse`] `HUP` and `USR2` while there is one.
//!
//! New side: [`Predecessor::take`] before anything else; `listeners::reconcile` with its listeners, of which only those that
//! are not wanted stay there; no pid file yet; the first generation is [`Predecessor::generation`]. Poll its channel; close
//! its descriptors in every forked child. [`Predecessor::tell_serving`] when the first generation serves;
//! [`Predecessor::hear`] in each turn. Before `Word::Adopt` the end of the process removes only the files of what was bound;
//! at `Word::Adopt` remove the files of the unwanted listeners, call [`Predecessor::take_over_pid_file`] and
//! `Notifier::ready`, and drop it.

mod predecessor;
mod program;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::net::{Bind, Listener, SocketFile};
use crate::sys;
use crate::sys::process::ExitStatus;

use super::notify;

pub(super) use predecessor::{Predecessor, Word};
pub(super) use program::Program;

/// Holds the [`Handover`] in the environment of a new master.
const VARIABLE: &str = "RWSGI_UPGRADE";

/// What a new master may take beyond `workers.boot_timeout`, which is for its first worker.
const START_ALLOWANCE: Duration = Duration::from_secs(10);
/// How long a new master that has closed the channel may take to exit.
const EXIT_ALLOWANCE: Duration = Duration::from_secs(5);

const SERVING: &[u8] = b"serving";
const ADOPT: &[u8] = b"adopt";
const STOP: &[u8] = b"stop";

/// What the variable holds. Another release reads it: fields may be added, none may change its meaning.
#[derive(Debug, Serialize, Deserialize)]
struct Handover {
    /// The process id of the old master.
    master: i32,
    /// The number of the new master's first generation.
    generation: u32,
    channel: RawFd,
    control: Option<(RawFd, PathBuf)>,
    pid_file: Option<PathBuf>,
    listeners: Vec<Handed>,
    /// Those of `metrics.bind`; a release before it had none.
    #[serde(default)]
    metrics: Vec<Handed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Handed {
    fd: RawFd,
    /// As in `server.bind`.
    bind: String,
    /// Device and inode of the socket file that the server made.
    file: Option<(u64, u64)>,
    /// Whether it belongs to a socket unit.
    #[serde(default)]
    lent: bool,
}

/// What the new master gets.
#[derive(Debug)]
pub(super) struct Estate<'a> {
    /// The number of its first generation.
    pub(super) generation: u32,
    /// Those of the generation that serves.
    pub(super) listeners: &'a [Listener],
    /// Those of `metrics.bind` of that generation.
    pub(super) metrics: &'a [Listener],
    /// The control socket's listener and its path.
    pub(super) control: Option<(BorrowedFd<'a>, &'a Path)>,
    pub(super) pid_file: Option<&'a Path>,
}

/// A new master that is being started.
#[derive(Debug)]
pub(super) struct Upgrade {
    pid: i32,
    channel: OwnedFd,
    deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It may be heard yet.
    Starting,
    /// It has closed the channel; its end is expected.
    Leaving,
    /// It was killed, for this reason.
    Killed(String),
    /// It was told to stop, since this server stops.
    Stopping,
    /// It is the master.
    InCharge,
    /// It has been reaped.
    Gone,
}

impl Upgrade {
    /// Starts the program as a new master.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn start(
        program: &Program,
        estate: &Estate<'_>,
        now: Instant,
        boot_timeout: Duration,
    ) -> Result<Self, String> {
        let refuse = |error: &dyn std::fmt::Display| {
            format!(
                "the upgrade failed: {} cannot be started: {error}; this server goes on",
                program.path.display()
            )
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| refuse(&errno))?;
        let handover = Handover {
            master: nix::unistd::getpid().as_raw(),
            generation: estate.generation,
            channel: theirs.as_raw_fd(),
            control: estate.control.map(|(fd, path)| (fd.as_raw_fd(), path.to_path_buf())),
            pid_file: estate.pid_file.map(Path::to_path_buf),
            listeners: estate.listeners.iter().map(Handed::of).collect(),
            metrics: estate.metrics.iter().map(Handed::of).collect(),
        };
        let mut passed: Vec<BorrowedFd<'_>> =
            estate.listeners.iter().chain(estate.metrics).map(AsFd::as_fd).collect();
        passed.extend(estate.control.map(|(fd, _)| fd));
        passed.push(theirs.as_fd());
        let mut command = program.command();
        command.env(VARIABLE, serde_json::to_string(&handover).map_err(|error| refuse(&error))?);
        command.env_remove(notify::WATCHDOG_PID);
        let pid = sys::process::start_program(command, &passed).map_err(|error| refuse(&error))?;
        log::info!("upgrade: {} starts as the new master with pid {pid}", program.path.display());
        let deadline = now + boot_timeout + START_ALLOWANCE;
        Ok(Self { pid, channel: ours, deadline, state: State::Starting })
    }

    /// The new master's process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Tells the operator that something has to wait for the end of the upgrade.
    pub(super) fn refuse(&self, what: &str) {
        log::warn!(
            "{what} is refused: an upgrade to pid {} is under way; try again when it is over",
            self.pid
        );
    }

    /// When [`Self::turn`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Starting | State::Leaving => Some(self.deadline),
            State::Killed(_) | State::Stopping | State::InCharge | State::Gone => None,
        }
    }

    /// Hears the new master and watches its time. True once: when it serves.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        if let State::Starting = self.state {
            match receive(&self.channel) {
                Received::Word(word) if word == SERVING => return true,
                Received::Word(_) | Received::Nothing => {}
                Received::End => {
                    self.state = State::Leaving;
                    self.deadline = self.deadline.min(now + EXIT_ALLOWANCE);
                }
            }
        }
        let reason = match self.state {
            State::Starting => "it did not serve in time (workers.boot_timeout and 10 s)",
            State::Leaving => "it gave up and did not exit",
            State::Killed(_) | State::Stopping | State::InCharge | State::Gone => return false,
        };
        if now >= self.deadline {
            self.signal(libc::SIGKILL);
            self.state = State::Killed(reason.to_owned());
        }
        false
    }

    /// Makes the new master the master. The service manager knows it already.
    pub(super) fn hand_over(&mut self) {
        // If it has just ended, it is reaped next.
        self.say(ADOPT);
        self.state = State::InCharge;
    }

    /// Whether the new master is the master: what is in the file system belongs to it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::InCharge)
    }

    /// This server stops, and the new master with it.
    pub(super) fn stop(&mut self) {
        if matches!(self.state, State::Starting) {
            self.say(STOP);
            self.signal(libc::SIGTERM);
            self.state = State::Stopping;
        }
    }

    /// Whether its end was asked for.
    pub(super) fn was_stopped(&self) -> bool {
        matches!(self.state, State::Stopping)
    }

    /// The process was reaped: what there is to say of it.
    pub(super) fn end(mut self, status: ExitStatus) -> String {
        let pid = self.pid;
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Starting | State::Leaving => format!(
                "the upgrade failed: the new master (pid {pid}) {status} (its reason stands above, or on standard error); this server goes on"
            ),
            State::Killed(reason) => format!(
                "the upgrade failed: the new master (pid {pid}) was killed: {reason}; this server goes on"
            ),
            State::Stopping => format!("the new master (pid {pid}) {status}, as this server stops"),
            State::InCharge => format!("the new master (pid {pid}) {status}: start the server again"),
            State::Gone => format!("the new master (pid {pid}) {status}"),
        }
    }

    fn say(&self, word: &[u8]) {
        if let Err(error) = say(&self.channel, word) {
            log::debug!("the new master was not told to {}: {error}", String::from_utf8_lossy(word));
        }
    }

    fn signal(&self, signal: i32) {
        if let Err(error) = sys::process::send_signal(self.pid, signal) {
            log::error!("signal {signal} cannot be sent to the new master, pid {}: {error}", self.pid);
        }
    }
}

/// A new master that is not in charge does not outlive the old one.
impl Drop for Upgrade {
    fn drop(&mut self) {
        match self.state {
            State::Starting | State::Leaving | State::Stopping => self.signal(libc::SIGKILL),
            State::Killed(_) | State::InCharge | State::Gone => {}
        }
    }
}

impl AsRawFd for Upgrade {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

impl Handed {
    fn of(listener: &Listener) -> Self {
        Self {
            fd: listener.as_fd().as_raw_fd(),
            bind: listener.bind.to_string(),
            file: listener.socket_file().map(SocketFile::identity),
            lent: listener.is_lent(),
        }
    }

    fn take(&self) -> Result<Listener, String> {
        let bind = config::parse_bind(&self.bind, Path::new("/"))?;
        let file = match (&bind, self.file) {
            (Bind::Unix(path), Some(identity)) => Some(SocketFile::new(path.clone(), identity)),
            (Bind::Unix(_) | Bind::Tcp(_) | Bind::Name(..) | Bind::Descriptor(_), _) => None,
        };
        let listener = Listener::take_over(self.fd, &bind, file).map_err(|error| error.to_string())?;
        Ok(if self.lent { listener.lent() } else { listener })
    }
}

enum Received {
    Nothing,
    Word(Vec<u8>),
    End,
}

fn receive(channel: &OwnedFd) -> Received {
    let mut packet = [0; 64];
    loop {
        match recv(channel.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Received::End,
            Ok(length) => return Received::Word(packet.get(..length).unwrap_or_default().to_vec()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}

fn say(channel: &OwnedFd, word: &[u8]) -> io::Result<()> {
    send(channel.as_raw_fd(), word, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}
