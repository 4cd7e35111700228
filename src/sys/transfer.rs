//! `recv` and `send` without the C library's: there both are cancellation points, which in a process with threads takes
//! several atomic operations around each call. No thread of ours is ever cancelled.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Reads into `buffer` from a connected socket; 0 is the end of the stream.
///
/// # Errors
/// Those of `recv(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (address, length) = (ptr::null_mut::<u8>(), ptr::null_mut::<u8>());
    // SAFETY: the pointer and the length are those of a slice that is borrowed for writing, and no address is asked for.
    let received = unsafe {
        libc::syscall(
            libc::SYS_recvfrom,
            socket.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
            0,
            address,
            length,
        )
    };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Writes to a connected socket. A client that is gone is an error, never a signal.
///
/// # Errors
/// Those of `send(2)`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, libc::MSG_NOSIGNAL)
}

/// The same for the last bytes before this direction is shut: with the end of the stream they make one segment.
///
/// # Errors
/// Those of `send(2)`.
pub fn send_last(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, libc::MSG_NOSIGNAL | libc::MSG_MORE)
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a slice that is borrowed, and no address is given.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendto,
            socket.as_raw_fd(),
            bytes.as_ptr(),
            bytes.len(),
            flags,
            ptr::null::<u8>(),
            0,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::{receive, send};

    #[test]
    fn bytes_cross_and_errors_are_told() {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        assert_eq!(receive(one.as_fd(), &mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(send(other.as_fd(), b"hello").unwrap(), 5);
        let mut buffer = [0; 8];
        assert_eq!((receive(one.as_fd(), &mut buffer).unwrap(), &buffer[..5]), (5, &b"hello"[..]));
        // Not by dropping it: what another test forks may have it too.
        other.shutdown(Shutdown::Both).unwrap();
        assert_eq!(receive(one.as_fd(), &mut buffer).unwrap(), 0);
        // By a signal it would end this process.
        assert_eq!(send(one.as_fd(), b"gone").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }
}
