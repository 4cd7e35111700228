//! A connected stream socket, TCP or unix alike: the few system calls that the reactor makes on it.
//!
//! Non-blocking and close-on-exec from birth (`accept4`). No state machine here and no buffering.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{self, Shutdown};

use crate::net::Address;

/// A connected socket, closed when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
}

impl Socket {
    /// Takes the next connection off a listening socket: the socket and the client's address.
    pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(Self, Address)> {
        let (descriptor, peer) = crate::sys::accept(listener)?;
        let peer = peer.as_socket().map_or(Address::Unix(None), Address::Tcp);
        Ok((Self { descriptor }, peer))
    }

    /// Our own address, for a listener that is bound to every address of the machine.
    pub(super) fn local(&self) -> Option<Address> {
        let view = socket2::SockRef::from(&self.descriptor);
        view.local_addr().ok().and_then(|address| address.as_socket()).map(Address::Tcp)
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::sys::receive(self.descriptor.as_fd(), buffer)
    }

    /// Writes one slice.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        crate::sys::send(self.descriptor.as_fd(), bytes)
    }

    /// Writes one slice, after which this direction is shut at once.
    pub(super) fn send_last(&self, bytes: &[u8]) -> io::Result<usize> {
        crate::sys::send_last(self.descriptor.as_fd(), bytes)
    }

    /// Writes several slices in one call. Not by `writev`, which raises SIGPIPE: an application may have set that to end the
    /// process.
    pub(super) fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        socket2::SockRef::from(&self.descriptor).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
    }

    /// Copies from a file inside the kernel.
    pub(super) fn send_file(&self, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
        let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sent = crate::sys::signals::without_sigpipe(|| {
            nix::sys::sendfile::sendfile(&self.descriptor, file, Some(&mut offset), length)
        });
        Ok(sent?)
    }

    /// Tells the client that nothing more will come.
    pub(super) fn shutdown_write(&self) {
        // A connection that is already reset cannot be shut down; its close is next either way.
        if let Err(error) = socket::shutdown(self.descriptor.as_raw_fd(), Shutdown::Write) {
            log::trace!("shutdown: {error}");
        }
    }
}

impl From<OwnedFd> for Socket {
    /// A socket that is connected already, non-blocking and close-on-exec.
    fn from(descriptor: OwnedFd) -> Self {
        Self { descriptor }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.descriptor.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.descriptor.as_raw_fd()).deregister(registry)
    }
}
