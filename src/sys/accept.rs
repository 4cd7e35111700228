//! `accept4`: a connection that is non-blocking and close-on-exec from birth, and its peer, in one system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use socket2::SockAddr;

/// Takes the next connection off a listening socket.
///
/// # Errors
/// Those of `accept4(2)`: `WouldBlock` when the queue is empty, `EMFILE` and `ENFILE` out of descriptors,
/// `ECONNABORTED` when the client is already gone.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let connect = |address: *mut _, length: *mut _| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let address: *mut socket2::SockAddrStorage = address;
        // SAFETY: `try_init` passes a storage of `length` bytes, which is large enough for any address.
        let raw = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), length, flags) };
        if raw < 0 { Err(io::Error::last_os_error()) } else { Ok(raw) }
    };
    // SAFETY: `accept4` has written the address and its length whenever it succeeded.
    let (raw, peer) = unsafe { SockAddr::try_init(connect) }?;
    // SAFETY: a descriptor fresh from `accept4`, owned by nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok((descriptor, peer))
}

/// A second descriptor for what `owner` owns, close-on-exec.
///
/// # Errors
/// Out of descriptors.
pub fn duplicate(owner: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call only reads the number; one that is no descriptor gives EBADF.
    let raw = unsafe { libc::fcntl(owner.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor fresh from the kernel, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
