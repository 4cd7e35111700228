//! Addresses as they are written in settings and as sockets have them. No socket is opened here.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a listener is bound, as written in `server.bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// `127.0.0.1:8000`, `[::1]:8000`, `:8000` (every IPv4 address).
    Tcp(SocketAddr),
    /// `localhost:8000`: a name to be resolved when the listener is bound.
    Name(String, u16),
    /// `unix:/path`.
    Unix(PathBuf),
    /// `fd:3`: an inherited descriptor.
    Descriptor(i32),
}

/// As it is written in `server.bind`.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Descriptor(fd) => write!(f, "fd:{fd}"),
        }
    }
}

/// The address of one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix socket; a client has no name there.
    Unix(Option<PathBuf>),
}
