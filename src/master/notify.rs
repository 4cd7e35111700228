//! What the service manager is told (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names. Without the
//! variable nothing is sent.
//!
//! How it is used: one [`Notifier`] in the master, made at the start. `starting` before the first fork; `ready` when the first
//! generation serves (after an upgrade: when the old master has given way); `reloading` when a reload begins and `ready` when
//! it is over, however it ends; `stopping` when the server stops, but not when it hands over to a new master; `main_pid` by
//! the old master, before it lets the new one go on; `watchdog` at least every [`Notifier::watchdog_interval`]; `status` as
//! often as one likes. Workers call [`forget`] after the fork: an application has nothing to tell the service manager in our
//! name. The master keeps the variables for the one that an upgrade starts.
//!
//! The service manager also keeps the listeners (`keep`), so that the next start has them with everything that waits in their
//! queues. It says with `FDSTORE` how many it keeps; up to release 253 systemd does not, and the unit file sets the variable.

mod report;

use std::collections::BTreeSet;
use std::env;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{ffi::OsStr, io};

use crate::net::inherit::{file_store_name, store_name};
use crate::net::{Listener, SocketFile};
use crate::sys;

use report::Pace;
pub(super) use report::{Phase, Report, headline};

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_PERIOD: &str = "WATCHDOG_USEC";
/// The process whose watchdog it is; a new master is another one.
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";
const STORE_MAX: &str = "FDSTORE";

/// How long a send may wait for a service manager that does not read: a lost `READY=1` would fail a start, and a master that
/// hangs would be worse.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog_interval: Option<Duration>,
    /// How many descriptors the service manager keeps.
    store_max: usize,
    /// The names of those that it has.
    stored: BTreeSet<String>,
    /// Whether we know that, and have not just been told: the server before this one may have had no store.
    has_stored: bool,
    pace: Pace,
}

impl Notifier {
    /// As the environment says. `stored` are the listeners that the service manager has already.
    pub(super) fn from_environment<'a>(stored: impl IntoIterator<Item = &'a Listener>) -> Self {
        let Some(name) = env::var_os(SOCKET) else { return Self::default() };
        let variable = |name| env::var(name).ok();
        let watchdog_interval = watchdog_interval(
            std::process::id(),
            variable(WATCHDOG_PERIOD).as_deref(),
            variable(WATCHDOG_PID).as_deref(),
        );
        let store_max = variable(STORE_MAX).and_then(|max| max.parse().ok()).unwrap_or(0);
        let stored = stored.into_iter().filter_map(store_name).collect();
        match connect(&name) {
            Ok(socket) => {
                Self { socket: Some(socket), watchdog_interval, store_max, stored, ..Self::default() }
            }
            Err(error) => {
                log::warn!(
                    "the service manager cannot be told anything: {SOCKET} {}: {error}",
                    Path::new(&name).display()
                );
                Self::default()
            }
        }
    }

    /// Its descriptor, for a child to close.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Whether there is anybody to tell.
    pub(super) fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// The server begins to start, which takes at most so long.
    pub(super) fn starting(&mut self, timeout: Duration, report: Report) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\n", timeout.as_micros()), report);
    }

    /// The server serves.
    pub(super) fn ready(&mut self, report: Report) {
        self.tell("READY=1\n", report);
    }

    /// A reload begins, which takes at most so long; `ready` tells its end.
    pub(super) fn reloading(&mut self, timeout: Duration, report: Report) {
        let now = sys::clock::monotonic().as_micros();
        let timeout = timeout.as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nEXTEND_TIMEOUT_USEC={timeout}\n"), report);
    }

    /// The server stops, which takes at most so long: `workers.graceful_timeout` decides, and not `TimeoutStopSec=`.
    pub(super) fn stopping(&mut self, timeout: Duration, report: Report) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\n", timeout.as_micros()), report);
    }

    /// How the server does; not told more often than makes sense.
    pub(super) fn status(&mut self, report: Report, now: Instant) {
        if self.pace.is_due(&report, now) {
            self.send(&format!("STATUS={report}"), &[]);
            self.pace.told(report, now);
        }
    }

    /// Has the service manager keep exactly these listeners, as far as it keeps any. One that it has already it takes for the
    /// same.
    pub(super) fn keep<'a>(&mut self, listeners: impl Iterator<Item = &'a Listener>) {
        let named = listeners.filter_map(|listener| Some((store_name(listener)?, listener)));
        let wanted: Vec<(String, &Listener)> = named.take(self.store_max).collect();
        let unwanted = self.stored.iter().filter(|stored| !wanted.iter().any(|(name, _)| name == *stored));
        for name in unwanted {
            self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]);
        }
        for (name, listener) in &wanted {
            if !self.has_stored || !self.stored.contains(name) {
                // A listener never hangs up: to have it watched for that would only wake the service manager.
                self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[listener.as_fd()]);
            }
        }
        self.has_stored = true;
        self.stored = wanted.into_iter().map(|(name, _)| name).collect();
    }

    /// Whether the next start has the listener of this file again.
    pub(super) fn keeps(&self, file: &SocketFile) -> bool {
        self.stored.contains(&file_store_name(file))
    }

    /// Another process is the master from now on.
    pub(super) fn main_pid(&self, pid: i32) {
        self.send(&format!("MAINPID={pid}"), &[]);
    }

    /// The master's loop turns.
    pub(super) fn watchdog(&self) {
        self.send("WATCHDOG=1", &[]);
    }

    /// How often `watchdog` is to be called: twice in the time after which the service manager gives up.
    pub(super) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    fn tell(&mut self, state: &str, report: Report) {
        self.send(&format!("{state}STATUS={report}"), &[]);
        self.pace = Pace::default();
    }

    fn send(&self, state: &str, descriptors: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = sys::passed::send(socket.as_fd(), state.as_bytes(), descriptors) {
            log::debug!("the service manager was not told {state:?}: {error}");
        }
    }
}

/// Takes the service manager's variables out of the environment of a worker. Only while the process has one thread.
pub(super) fn forget() {
    sys::environment::remove_variables(&[SOCKET, WATCHDOG_PERIOD, WATCHDOG_PID, STORE_MAX]);
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// sd_watchdog_enabled(3): the period in microseconds, for the process that is named or for any.
fn watchdog_interval(own_pid: u32, period: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let is_for_us = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let period: u64 = period?.parse().ok().filter(|&period| is_for_us && period > 0)?;
    Some(Duration::from_micros(period) / 2)
}

#[cfg(test)]
mod tests;
