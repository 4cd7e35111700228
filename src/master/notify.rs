//! What the service manager is told (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names. Without the
//! variable nothing is sent.
//!
//! How it is used: one [`Notifier`] in the master, made at the start. `ready` when the first generation serves (after an upgrade:
//! when the old master has given way); `reloading` when a reload begins and `ready` when it is over, however it ends;
//! `stopping` when the server stops, but not when it hands over to a new master; `main_pid` by the old master, before it
//! lets the new one go on; `watchdog` at least every [`Notifier::watchdog_interval`]. Workers call [`forget`] after the fork:
//! an application has nothing to tell the service manager in our name. The master keeps the variables for the one that an
//! upgrade starts.

use std::env;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;
use std::{ffi::OsStr, io};

use crate::sys;

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_PERIOD: &str = "WATCHDOG_USEC";
/// The process whose watchdog it is; a new master is another one.
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How long a send may wait for a service manager that does not read: a lost `READY=1` would fail a start, and a master that
/// hangs would be worse.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog_interval: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os(SOCKET) else { return Self::default() };
        let variable = |name| env::var(name).ok();
        let watchdog_interval = watchdog_interval(
            std::process::id(),
            variable(WATCHDOG_PERIOD).as_deref(),
            variable(WATCHDOG_PID).as_deref(),
        );
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog_interval },
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

    /// The server serves.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; `ready` tells its end.
    pub(super) fn reloading(&self) {
        let now = sys::clock::monotonic().as_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
    }

    /// The server stops.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Another process is the master from now on.
    pub(super) fn main_pid(&self, pid: i32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// The master's loop turns.
    pub(super) fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often `watchdog` is to be called: twice in the time after which the service manager gives up.
    pub(super) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            log::debug!("the service manager was not told {state:?}: {error}");
        }
    }
}

/// Takes the service manager's variables out of the environment of a worker. Only while the process has one thread.
pub(super) fn forget() {
    sys::environment::remove_variables(&[SOCKET, WATCHDOG_PERIOD, WATCHDOG_PID]);
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
mod tests {
    use super::*;

    fn expect(notifier: &Notifier, manager: &UnixDatagram) {
        let mut buffer = [0; 256];
        let mut told = |tell: &dyn Fn()| {
            tell();
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(told(&|| notifier.ready("2 workers")), "READY=1\nSTATUS=2 workers");
        assert_eq!(told(&|| notifier.main_pid(7)), "MAINPID=7");
        assert_eq!(told(&|| notifier.watchdog()), "WATCHDOG=1");
        assert!(told(&|| notifier.stopping()).starts_with("STOPPING=1\n"));
        let reloading = told(&|| notifier.reloading());
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
    }

    fn notifier(name: &OsStr) -> Notifier {
        Notifier { socket: Some(connect(name).unwrap()), watchdog_interval: None }
    }

    #[test]
    fn the_manager_hears_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        expect(&notifier(path.as_os_str()), &manager);
        let name = format!("rwsgi-test-{}", path.display());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        expect(&notifier(OsStr::new(&format!("@{name}"))), &manager);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notifier::default().ready("");
        assert!(connect(OsStr::new("/no/such/socket")).is_err());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str());
        drop(manager);
        notifier.ready("");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str());
        let socket = notifier.socket.as_ref().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.send(b"x").is_ok() {}
        socket.set_nonblocking(false).unwrap();
        notifier.watchdog();
    }

    #[test]
    fn the_watchdog_is_for_the_named_process_or_any() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_interval(7, Some("2000000"), None), second);
        assert_eq!(watchdog_interval(7, Some("2000000"), Some("7")), second);
        assert_eq!(watchdog_interval(7, Some("2000000"), Some("8")), None);
        assert_eq!(watchdog_interval(7, Some("0"), None), None);
        assert_eq!(watchdog_interval(7, None, Some("7")), None);
    }
}
