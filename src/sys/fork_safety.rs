//! What of this process would not survive a fork: threads (only the one that forks exists in the child) and connections
//! (parent and children would read and write the same stream).
//!
//! Only what was not there when a [`Snapshot`] was taken counts. Datagram sockets do not count: each send is a message of its
//! own, as those of a syslog handler.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::thread;
use std::time::Duration;

use nix::sys::socket::sockopt::{AcceptConn, PeerCredentials, SockType as TypeOption};
use nix::sys::socket::{SockType, SockaddrLike, SockaddrStorage, getpeername, getsockname, getsockopt};

use super::{clock, descriptors};

/// How long a thread may take to end after the application believes that it has: the kernel removes it a little later.
const ENDING: Duration = Duration::from_millis(20);

/// The threads and sockets of this process at one moment.
#[derive(Debug)]
pub struct Snapshot {
    threads: Vec<i32>,
    sockets: Vec<Socket>,
}

/// What has appeared since a snapshot, in words for an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Threads, by name.
    pub threads: Vec<String>,
    /// Connections, by peer.
    pub connections: Vec<String>,
    /// Listening sockets, by address.
    pub listeners: Vec<String>,
}

/// A descriptor and the socket behind it: a number can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    fd: RawFd,
    inode: u64,
}

impl Snapshot {
    /// Takes note of the threads and sockets that are there.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn take() -> io::Result<Self> {
        Ok(Self { threads: threads()?, sockets: sockets()? })
    }

    /// What is there now and was not then. `names` are the names that the application gave its threads, by their kernel ids;
    /// a thread that is not among them has the name that the kernel knows.
    ///
    /// # Errors
    /// `/proc` is not mounted any more.
    pub fn findings(&self, names: &[(i32, String)]) -> io::Result<Findings> {
        let mut found = Findings { threads: self.new_threads(names)?, ..Findings::default() };
        for socket in sockets()?.into_iter().filter(|socket| !self.sockets.contains(socket)) {
            // SAFETY: it was open a moment ago, and a number that is closed meanwhile gives EBADF below.
            let fd = unsafe { BorrowedFd::borrow_raw(socket.fd) };
            if getsockopt(&fd, TypeOption) == Ok(SockType::Datagram) {
                continue;
            }
            if getsockopt(&fd, AcceptConn) == Ok(true) {
                let address = getsockname::<SockaddrStorage>(socket.fd).ok();
                found.listeners.push(address.and_then(|it| address_text(&it)).unwrap_or_else(unnamed));
            } else if let Ok(peer) = getpeername::<SockaddrStorage>(socket.fd) {
                found.connections.push(address_text(&peer).unwrap_or_else(|| peer_process(fd)));
            }
        }
        Ok(found)
    }

    fn new_threads(&self, names: &[(i32, String)]) -> io::Result<Vec<String>> {
        let looked_from = clock::monotonic();
        let mut ids: Vec<i32> = threads()?.into_iter().filter(|id| !self.threads.contains(id)).collect();
        while !ids.is_empty() && clock::monotonic().saturating_sub(looked_from) < ENDING {
            thread::yield_now();
            let now = threads()?;
            ids.retain(|id| now.contains(id));
        }
        let name_of = |id: i32| {
            let given = names.iter().find(|(of, _)| *of == id).map(|(_, name)| name.clone());
            given.or_else(|| comm(&format!("self/task/{id}"))).unwrap_or_else(unnamed)
        };
        Ok(ids.into_iter().map(name_of).collect())
    }
}

impl Findings {
    /// Whether forking is safe.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.connections.is_empty() && self.listeners.is_empty()
    }
}

/// `2 threads (exporter, ThreadPoolExecutor-0_0) and 1 connection (127.0.0.1:5432)`.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("thread", &self.threads),
            ("connection", &self.connections),
            ("listening socket", &self.listeners),
        ];
        let parts: Vec<String> = kinds
            .iter()
            .filter(|(_, found)| !found.is_empty())
            .map(|(noun, found)| {
                let plural = if found.len() == 1 { "" } else { "s" };
                format!("{} {noun}{plural} ({})", found.len(), found.join(", "))
            })
            .collect();
        match parts.split_last() {
            None => f.write_str("no threads and no connections"),
            Some((last, [])) => f.write_str(last),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
        }
    }
}

fn threads() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/task")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn sockets() -> io::Result<Vec<Socket>> {
    let socket = |fd: RawFd| {
        let target = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some(Socket { fd, inode })
    };
    Ok(descriptors::list_open()?.into_iter().filter_map(socket).collect())
}

/// `127.0.0.1:5432`, `[::1]:5432`, `/run/x.sock`, `@abstract`; `None` for a unix socket without a name.
fn address_text(address: &SockaddrStorage) -> Option<String> {
    if let Some(unix) = address.as_unix_addr() {
        let path = unix.path().map(|path| path.display().to_string());
        let name = || unix.as_abstract().map(|name| format!("@{}", name.escape_ascii()));
        return path.filter(|path| !path.is_empty()).or_else(name);
    }
    let internet = address.as_sockaddr_in().map(ToString::to_string);
    internet.or_else(|| address.as_sockaddr_in6().map(ToString::to_string)).or_else(|| {
        let family = address.family().map_or_else(|| "unknown".to_owned(), |family| format!("{family:?}"));
        Some(format!("a socket of family {family}"))
    })
}

/// Who is at the other end of a pair without names.
fn peer_process(fd: BorrowedFd<'_>) -> String {
    let Ok(peer) = getsockopt(&fd, PeerCredentials) else { return unnamed() };
    if peer.pid() == nix::unistd::getpid().as_raw() {
        return "a socket pair of its own".to_owned();
    }
    let name = comm(&peer.pid().to_string()).map(|name| format!(", {name}")).unwrap_or_default();
    format!("process {}{name}", peer.pid())
}

fn comm(folder: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{folder}/comm")).ok().map(|name| name.trim_end().to_owned())
}

fn unnamed() -> String {
    "without a name".to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn findings_are_told_in_words() {
        let text = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let mut findings = Findings::default();
        assert!(findings.is_empty());
        findings.connections = text(&["127.0.0.1:5432"]);
        assert_eq!(findings.to_string(), "1 connection (127.0.0.1:5432)");
        findings.threads = text(&["exporter", "pool_0"]);
        assert_eq!(findings.to_string(), "2 threads (exporter, pool_0) and 1 connection (127.0.0.1:5432)");
        findings.listeners = text(&["/x"]);
        assert!(findings.to_string().ends_with("(127.0.0.1:5432) and 1 listening socket (/x)"));
    }

    /// Other tests have threads and sockets too, so only what this test knows is looked for.
    #[test]
    fn what_is_new_is_found_and_what_was_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let old = TcpListener::bind("127.0.0.1:0").unwrap();
        let snapshot = Snapshot::take().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = TcpStream::connect(&address).unwrap();
        let path = folder.path().join("x.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let on_unix = UnixStream::connect(&path).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.connect(receiver.local_addr().unwrap()).unwrap();
        let pair = UnixStream::pair().unwrap();
        let (end, ended) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let body = move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            ended.recv().ok();
        };
        let thread = thread::Builder::new().name("exporter".to_owned()).spawn(body).unwrap();
        let id = told.recv().unwrap();

        let found = snapshot.findings(&[]).unwrap();
        assert!(found.threads.contains(&"exporter".to_owned()), "{found}");
        assert!(found.connections.contains(&address), "{found}");
        assert!(found.connections.contains(&path.display().to_string()), "{found}");
        assert!(found.connections.contains(&"a socket pair of its own".to_owned()), "{found}");
        assert!(found.listeners.contains(&address), "{found}");
        assert!(found.listeners.contains(&path.display().to_string()), "{found}");
        assert!(!found.listeners.contains(&old.local_addr().unwrap().to_string()), "{found}");
        let receiver = receiver.local_addr().unwrap().to_string();
        assert!(!found.connections.contains(&receiver), "{found}");
        let found = snapshot.findings(&[(id, "a longer name than the kernel's".to_owned())]).unwrap();
        assert!(found.threads.contains(&"a longer name than the kernel's".to_owned()), "{found}");

        drop(end);
        thread.join().unwrap();
        drop((client, on_unix, unix, pair));
        let found = snapshot.findings(&[]).unwrap();
        assert!(!found.threads.contains(&"exporter".to_owned()), "{found}");
        assert!(!found.connections.contains(&address), "{found}");
    }
}
