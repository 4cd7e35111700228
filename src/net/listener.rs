//! Listening sockets: bound, or inherited. All are non-blocking and close-on-exec.
//!
//! TCP listeners carry `TCP_NODELAY` and a bound on unsent bytes, which Linux hands on to the sockets accepted from them.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::address::{Address, Bind};
use super::occupant;
use crate::sys::descriptors;

/// How many bytes the kernel takes for a connection beyond those that it has sent. Without a bound it takes megabytes for
/// each client that reads slowly: memory that no limit of ours counts, and time to copy them in which nobody else is
/// served. Linux measured the option with this size when it was made (`TCP_NOTSENT_LOWAT`).
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// A listening socket. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Listener {
    socket: Arc<OwnedFd>,
    /// As written in `server.bind`.
    pub bind: Bind,
    /// Where it really listens (`getsockname`).
    pub local: Address,
    file: Option<SocketFile>,
    /// Whether it belongs to somebody else, who keeps it open: a socket unit of the service manager, or a parent process.
    is_lent: bool,
}

/// Why an address cannot be listened on; one sentence that says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    text: String,
    lacks_privilege: bool,
}

impl BindError {
    fn of(bind: &Bind, reason: &str) -> Self {
        Self { text: format!("cannot listen on {bind}: {reason}"), lacks_privilege: false }
    }

    /// Whether it is a port that only a privileged process can bind.
    #[must_use]
    pub fn lacks_privilege(&self) -> bool {
        self.lacks_privilege
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for BindError {}

impl Listener {
    /// Listens on an address. A name may give several listeners.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(bind: &Bind, backlog: u32, socket_mode: u32) -> Result<Vec<Self>, BindError> {
        Self::bind_beside(bind, backlog, socket_mode, &[])
    }

    /// As [`Self::bind`], in a server that has the listeners `open`: an address that one of them has is not bound again; the
    /// answer holds a clone, which shares the descriptor.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_beside(
        bind: &Bind,
        backlog: u32,
        socket_mode: u32,
        open: &[Self],
    ) -> Result<Vec<Self>, BindError> {
        let backlog = backlog_of(backlog);
        let fail = |reason: String| BindError::of(bind, &reason);
        match bind {
            Bind::Tcp(address) => {
                if let Some(listener) = open.iter().find(|it| it.local == Address::Tcp(*address)) {
                    return Ok(vec![listener.written_as(bind)]);
                }
                let socket = bind_tcp(*address, backlog).map_err(|error| BindError {
                    lacks_privilege: error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024,
                    ..fail(explain_tcp(*address, &error))
                })?;
                Ok(vec![Self::new(socket, bind, None).map_err(|error| fail(error.to_string()))?])
            }
            Bind::Name(name, port) => bind_name(bind, name, *port, backlog, open).map_err(fail),
            Bind::Unix(path) => {
                if let Some(listener) = open.iter().find(|it| it.is_reached_at(path)) {
                    return Ok(vec![listener.written_as(bind)]);
                }
                let (socket, file) = bind_unix(path, backlog, socket_mode).map_err(fail)?;
                Ok(vec![Self::new(socket, bind, Some(file)).map_err(|error| fail(error.to_string()))?])
            }
            Bind::Descriptor(fd) => Ok(vec![Self::inherit(*fd)?]),
        }
    }

    /// Takes an inherited listening socket over. Each descriptor may be named once.
    ///
    /// # Errors
    /// It is not open, or no listening stream socket.
    pub fn inherit(fd: RawFd) -> Result<Self, BindError> {
        Self::take_over(fd, &Bind::Descriptor(fd), None)
    }

    /// As [`Self::inherit`], from a process that had it under this address and, for a unix socket, made this file.
    ///
    /// # Errors
    /// As [`Self::inherit`].
    pub fn take_over(fd: RawFd, bind: &Bind, file: Option<SocketFile>) -> Result<Self, BindError> {
        let fail = |reason: &str| BindError::of(&Bind::Descriptor(fd), reason);
        if fd <= 2 {
            return Err(fail("the descriptors 0 to 2 are the standard streams"));
        }
        let socket = descriptors::adopt(fd).map_err(|_| {
            fail("no such descriptor was passed to this process: start it through socket activation, or set server.bind")
        })?;
        let is_listener = {
            let socket = SockRef::from(&socket);
            socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && socket.is_listener().unwrap_or(false)
        };
        if !is_listener {
            return Err(fail("it is not a listening stream socket"));
        }
        let socket = Socket::from(socket);
        socket.set_nonblocking(true).map_err(|error| fail(&error.to_string()))?;
        // Unix sockets do not know the option.
        socket.set_tcp_nodelay(true).ok();
        Self::new(socket, bind, file).map_err(|error| fail(&error.to_string()))
    }

    fn new(socket: Socket, bind: &Bind, file: Option<SocketFile>) -> io::Result<Self> {
        let name = socket.local_addr()?;
        let local = match name.as_socket() {
            Some(address) => {
                socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
                Address::Tcp(address)
            }
            None if name.is_unix() => Address::Unix(name.as_pathname().map(Path::to_path_buf)),
            None => return Err(io::Error::other("neither an internet nor a unix socket")),
        };
        let is_lent = matches!(bind, Bind::Descriptor(_));
        Ok(Self { socket: Arc::new(socket.into()), bind: bind.clone(), local, file, is_lent })
    }

    /// Whether somebody else owns it and keeps it open.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.is_lent
    }

    /// The same, owned by somebody else.
    #[must_use]
    pub fn lent(self) -> Self {
        Self { is_lent: true, ..self }
    }

    /// The same as its own server had it: under this address, with the file that it made.
    #[must_use]
    pub fn known_as(self, bind: &Bind, file: Option<SocketFile>) -> Self {
        Self { bind: bind.clone(), file, is_lent: matches!(bind, Bind::Descriptor(_)), ..self }
    }

    /// Ends it in every process that has it, at once, and removes its file. What waits in its queue is lost.
    pub fn end(self) {
        // One that does not listen any more is as good.
        SockRef::from(&*self.socket).shutdown(Shutdown::Both).ok();
        if let Some(file) = &self.file {
            file.remove();
        }
    }

    /// The socket file that we made, if it is a unix socket that we bound.
    #[must_use]
    pub fn socket_file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// Whether both are the same socket.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }

    /// Whether clients still reach it: the file of a unix socket can be removed or replaced by anybody.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.file.as_ref().is_none_or(SocketFile::is_ours)
    }

    /// Changes the backlog and, for a unix socket that we bound, the permissions. A lent socket is left as it was passed.
    ///
    /// # Errors
    /// The socket file belongs to somebody else.
    pub fn adjust(&self, backlog: u32, socket_mode: u32) -> io::Result<()> {
        if self.is_lent {
            return Ok(());
        }
        SockRef::from(&*self.socket).listen(backlog_of(backlog))?;
        self.file.as_ref().map_or(Ok(()), |file| file.set_mode(socket_mode))
    }

    fn is_reached_at(&self, path: &Path) -> bool {
        matches!(&self.local, Address::Unix(Some(local)) if local == path) && self.is_reachable()
    }

    fn written_as(&self, bind: &Bind) -> Self {
        Self { bind: bind.clone(), ..self.clone() }
    }

    /// The same listener with a descriptor of its own, for a process that closes the inherited ones.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { socket: Arc::new(self.socket.try_clone()?), ..self.clone() })
    }
}

/// The file of a unix socket that we bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that another process made and hands over.
    #[must_use]
    pub fn new(path: PathBuf, (device, inode): (u64, u64)) -> Self {
        Self { path, device, inode }
    }

    /// Its device and inode, which tell it from another of the same path.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Removes it if it is still the one that we made.
    pub fn remove(&self) {
        if self.is_ours() {
            fs::remove_file(&self.path).ok();
        }
    }

    fn is_ours(&self) -> bool {
        let found = fs::symlink_metadata(&self.path);
        found.is_ok_and(|it| (it.dev(), it.ino()) == self.identity())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let has_mode = |it: fs::Metadata| it.permissions().mode() & 0o7777 == mode;
        if !self.is_ours() || fs::symlink_metadata(&self.path).is_ok_and(has_mode) {
            return Ok(());
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Address::Unix(None) => self.bind.fmt(f),
        }
    }
}

fn backlog_of(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list of the system's errors is open")]
fn explain_tcp(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let occupant = match occupant::of(address) {
                Some(occupant) if occupant.pid == std::process::id() => {
                    return "this process listens there already: server.bind names it twice".to_owned();
                }
                Some(occupant) => format!("by {occupant}"),
                None => "by another process".to_owned(),
            };
            format!(
                "the address is in use {occupant}: stop it, or set server.bind / --bind to another address"
            )
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => format!(
            "port {} needs a privilege: use a port from 1024, a proxy in front, socket activation, or CAP_NET_BIND_SERVICE",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}: set server.bind / --bind to one of its own, or to 0.0.0.0 or [::] for all",
            address.ip()
        ),
        _ => error.to_string(),
    }
}

fn bind_name(
    bind: &Bind,
    name: &str,
    port: u16,
    backlog: i32,
    open: &[Listener],
) -> Result<Vec<Listener>, String> {
    let found = (name, port).to_socket_addrs().map_err(|error| {
        format!("the name {name} cannot be resolved ({error}): set server.bind / --bind to an address of this machine")
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let mut listeners = Vec::new();
    let mut unavailable = None;
    for address in addresses {
        if let Some(listener) = open.iter().find(|it| it.local == Address::Tcp(address)) {
            listeners.push(listener.written_as(bind));
            continue;
        }
        match bind_tcp(address, backlog).and_then(|socket| Listener::new(socket, bind, None)) {
            Ok(listener) => listeners.push(listener),
            // A name like localhost has an IPv6 address also where IPv6 is switched off.
            Err(error) if is_unavailable(&error) => unavailable = Some(explain_tcp(address, &error)),
            Err(error) => return Err(format!("{address}: {}", explain_tcp(address, &error))),
        }
    }
    if listeners.is_empty() {
        return Err(unavailable.unwrap_or_else(|| format!("the name {name} has no address")));
    }
    Ok(listeners)
}

fn is_unavailable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Binds a unix socket. Its permissions are set before it listens: until then every `connect` is refused.
fn bind_unix(path: &Path, backlog: i32, mode: u32) -> Result<(Socket, SocketFile), String> {
    let address =
        SockAddr::unix(path).map_err(|_| "the path is too long for a unix socket (107 bytes)".to_owned())?;
    make_room(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| error.to_string())?;
    socket.set_nonblocking(true).map_err(|error| error.to_string())?;
    socket.bind(&address).map_err(|error| explain_unix(path, &error))?;
    let metadata = fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .and_then(|()| fs::symlink_metadata(path))
        .map_err(|error| error.to_string())?;
    socket.listen(backlog).map_err(|error| error.to_string())?;
    let file = SocketFile { path: path.to_path_buf(), device: metadata.dev(), inode: metadata.ino() };
    Ok((socket, file))
}

/// Removes a socket file that nobody listens on any more.
fn make_room(path: &Path, address: &SockAddr) -> Result<(), String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(explain_unix(path, &error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(
            "the file is there already and is not a socket: remove it, or set server.bind to another path"
                .to_owned(),
        );
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| error.to_string())?;
    // A full backlog must not block us; it shows that somebody listens.
    probe.set_nonblocking(true).map_err(|error| error.to_string())?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("the stale socket file cannot be removed: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err("the socket file belongs to somebody else: remove it, or set server.bind to another path"
                .to_owned())
        }
        Ok(()) | Err(_) => {
            let by = occupant::of_peer(&probe).map_or("another process".to_owned(), |it| it.to_string());
            Err(format!("the socket is in use by {by}: stop it, or set server.bind / --bind to another path"))
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list of the system's errors is open")]
fn explain_unix(path: &Path, error: &io::Error) -> String {
    let directory = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the directory {directory} does not exist: create it, or set server.bind to another path")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "no permission to create a socket in {directory}: change its owner or mode, or set server.bind"
            )
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
