//! Listeners that the service manager passes: those of its socket units (sd_listen_fds(3)), and those that a server before
//! this one has left in its store (sd_pid_notify_with_fds(3)), so that a restart loses no connection that waits.
//!
//! Invariant: what is stored has a name that no other listener of this server has, since it is removed by its name. For a
//! unix socket the name tells which file the server made, so that its successor knows whether the file is still that one.

use std::env;
use std::os::fd::RawFd;

use super::address::{Address, Bind};
use super::listener::{BindError, Listener, SocketFile};
use crate::sys::environment;

/// The first passed descriptor (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More are not believed: a limit against a broken variable.
const COUNT_MAX: RawFd = 1024;
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How the names of stored listeners begin. A socket unit's default name ends in `.socket`.
const STORED_TCP: &str = "rwsgi-tcp-";
const STORED_UNIX: &str = "rwsgi-unix-";

/// A descriptor that was passed to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its number.
    pub fd: RawFd,
    /// What the service manager calls it: `FileDescriptorName=` of the socket unit, or the name that it was stored under.
    pub name: String,
}

/// The descriptors passed to this process; none when they are meant for another one. The variables are removed, so that no
/// child takes the sockets for its own. Only while the process has one thread.
#[must_use]
pub fn take_passed() -> Vec<Passed> {
    let [pid, count, names] = VARIABLES.map(|name| env::var(name).ok());
    environment::remove_variables(&VARIABLES);
    passed(std::process::id(), pid.as_deref(), count.as_deref(), names.as_deref())
}

fn passed(own_pid: u32, pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Vec<Passed> {
    if pid.and_then(|pid| pid.parse().ok()) != Some(own_pid) {
        return Vec::new();
    }
    let count: RawFd = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut names = names.unwrap_or_default().split(':');
    let mut name = || names.next().unwrap_or_default().to_owned();
    (FIRST..FIRST + count.clamp(0, COUNT_MAX)).map(|fd| Passed { fd, name: name() }).collect()
}

impl Passed {
    /// Whether it comes from the store and not from a socket unit.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.name.starts_with(STORED_TCP) || self.name.starts_with(STORED_UNIX)
    }

    /// Takes it over. Each may be taken once.
    ///
    /// # Errors
    /// It is not open, or no listening stream socket.
    pub fn take(&self) -> Result<Listener, BindError> {
        if !self.is_stored() {
            return Ok(Listener::inherit(self.fd)?.lent());
        }
        let listener = Listener::inherit(self.fd)?;
        let bind = match &listener.local {
            Address::Tcp(address) => Bind::Tcp(*address),
            Address::Unix(Some(path)) => Bind::Unix(path.clone()),
            Address::Unix(None) => listener.bind.clone(),
        };
        let file = match (&bind, file_identity(&self.name)) {
            (Bind::Unix(path), Some(identity)) => Some(SocketFile::new(path.clone(), identity)),
            (Bind::Unix(_) | Bind::Tcp(_) | Bind::Name(..) | Bind::Descriptor(_), _) => None,
        };
        Ok(listener.known_as(&bind, file))
    }
}

/// The name to store a listener under; `None` for one that the service manager keeps open anyway, or whose address would
/// not be found again.
#[must_use]
pub fn store_name(listener: &Listener) -> Option<String> {
    if listener.is_lent() {
        return None;
    }
    match (&listener.local, listener.socket_file()) {
        // Names have no colons (sd_pid_notify_with_fds(3)).
        (Address::Tcp(address), _) => Some(format!("{STORED_TCP}{}", address.to_string().replace(':', "-"))),
        (Address::Unix(_), Some(file)) => Some(file_store_name(file)),
        (Address::Unix(_), None) => None,
    }
}

/// The name of the listener that made this file.
#[must_use]
pub fn file_store_name(file: &SocketFile) -> String {
    let (device, inode) = file.identity();
    format!("{STORED_UNIX}{device}-{inode}")
}

fn file_identity(name: &str) -> Option<(u64, u64)> {
    let (device, inode) = name.strip_prefix(STORED_UNIX)?.split_once('-')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::{AsFd, IntoRawFd};

    use super::*;

    fn numbers(pid: Option<&str>, count: Option<&str>) -> Vec<RawFd> {
        passed(7, pid, count, None).iter().map(|passed| passed.fd).collect()
    }

    #[test]
    fn only_descriptors_for_this_process_are_taken() {
        assert_eq!(numbers(Some("7"), Some("2")), [3, 4]);
        assert!(numbers(Some("8"), Some("2")).is_empty());
        assert!(numbers(None, Some("2")).is_empty());
        assert!(numbers(Some("7"), None).is_empty());
        assert!(numbers(Some("7"), Some("-1")).is_empty());
        assert!(numbers(Some("seven"), Some("x")).is_empty());
        assert_eq!(numbers(Some("7"), Some("2147483647")).len(), 1024);
    }

    #[test]
    fn each_has_its_name() {
        let passed = passed(7, Some("7"), Some("3"), Some("web.socket:rwsgi-tcp-127.0.0.1-80"));
        let names: Vec<_> = passed.iter().map(|it| (it.fd, it.name.as_str(), it.is_stored())).collect();
        assert_eq!(names, [(3, "web.socket", false), (4, "rwsgi-tcp-127.0.0.1-80", true), (5, "", false)]);
    }

    #[test]
    fn what_was_stored_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let unix = Bind::Unix(directory.path().join("x.sock"));
        let tcp = Bind::Tcp("[::1]:0".parse().unwrap());
        for bind in [unix, tcp] {
            let listener = Listener::bind(&bind, 16, 0o600).unwrap().remove(0);
            let name = store_name(&listener).unwrap();
            assert!(!name.contains(':') && name.len() < 255, "{name}");
            let copy = listener.as_fd().try_clone_to_owned().unwrap().into_raw_fd();
            let taken = Passed { fd: copy, name: name.clone() }.take().unwrap();
            assert_eq!(store_name(&taken), Some(name));
            assert_eq!((&taken.local, taken.socket_file()), (&listener.local, listener.socket_file()));
        }
    }

    #[test]
    fn what_a_socket_unit_has_is_not_stored() {
        let fd = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
        let listener = Passed { fd, name: "web.socket".to_owned() }.take().unwrap();
        assert_eq!((store_name(&listener), &listener.bind), (None, &Bind::Descriptor(fd)));
    }
}
