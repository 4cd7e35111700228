//! Listening sockets: bound, or inherited.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::address::{Address, Bind};

/// A listening socket. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Listener {
    socket: Arc<OwnedFd>,
    /// As written in `server.bind`.
    pub bind: Bind,
    /// Where it really listens (`getsockname`).
    pub local: Address,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
