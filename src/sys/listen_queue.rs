//! How many connections wait in the queue of a listening socket to be accepted, and how many may.
//!
//! For TCP the kernel tells by `TCP_INFO` (tcp(7)): of a listener, the fields for unacknowledged and selectively acknowledged
//! segments hold these two. For a unix socket it tells by `sock_diag` (sock_diag(7)) only.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::stat::fstat;

/// `tcpi_unacked` and `tcpi_sacked` in `struct tcp_info`, counted in words of four bytes.
const TCP_LENGTH: usize = 6;
const TCP_LIMIT: usize = 7;

// linux/sock_diag.h, linux/unix_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
/// `struct nlmsghdr`, and `struct unix_diag_req` or `struct unix_diag_msg` behind it.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 24;
const ANSWER_BYTES: usize = HEADER_BYTES + 16;

/// The queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenQueue {
    /// Connections that wait.
    pub length: u32,
    /// Beyond so many, clients are kept waiting or refused.
    pub limit: u32,
}

/// The queue of a listening TCP socket.
///
/// # Errors
/// It is no TCP socket.
pub fn of_tcp(listener: BorrowedFd<'_>) -> io::Result<ListenQueue> {
    let mut words = [0_u32; TCP_LIMIT + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&words)).map_err(io::Error::other)?;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the kernel writes at most `length` bytes, all that `words` has; any bytes are words.
    let result = unsafe {
        libc::getsockopt(listener.as_raw_fd(), level, option, words.as_mut_ptr().cast(), &raw mut length)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ListenQueue { length: words[TCP_LENGTH], limit: words[TCP_LIMIT] })
}

/// The queue of a listening unix socket.
///
/// # Errors
/// The kernel does not tell: it may be built without `CONFIG_UNIX_DIAG`.
pub fn of_unix(listener: BorrowedFd<'_>) -> io::Result<ListenQueue> {
    let inode = u32::try_from(fstat(listener)?.st_ino).map_err(io::Error::other)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    let descriptor = kernel.as_fd().as_raw_fd();
    send(descriptor, &request(inode), MsgFlags::MSG_NOSIGNAL)?;
    let mut answer = [0; 512];
    // The kernel answers before `send` returns.
    let length = recv(descriptor, &mut answer, MsgFlags::MSG_DONTWAIT)?;
    queue_in(&answer[..length]).ok_or_else(|| io::Error::other("sock_diag does not know the socket"))
}

/// Asks for the one socket with this inode.
fn request(inode: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    // struct nlmsghdr: length, type, flags, sequence number, port
    request.extend(40_u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes());
    request.extend([0; 8]);
    // struct unix_diag_req: family, protocol, padding, states, inode, what to show, no cookie
    request.extend([1, 0, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(inode.to_ne_bytes());
    request.extend(UDIAG_SHOW_RQLEN.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

/// Reads the attribute with the queue out of an answer.
fn queue_in(answer: &[u8]) -> Option<ListenQueue> {
    let short = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if short(answer, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut attributes = answer.get(ANSWER_BYTES..)?;
    loop {
        let length = usize::from(short(attributes, 0)?);
        if short(attributes, 2)? == UNIX_DIAG_RQLEN {
            return Some(ListenQueue { length: long(attributes, 4)?, limit: long(attributes, 8)? });
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    #[test]
    fn connections_that_wait_in_a_tcp_listener_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).listen(7).unwrap();
        assert_eq!(of_tcp(listener.as_fd()).unwrap(), ListenQueue { length: 0, limit: 7 });
        let address = listener.local_addr().unwrap();
        let _clients = [0; 3].map(|_| TcpStream::connect(address).unwrap());
        assert_eq!(of_tcp(listener.as_fd()).unwrap(), ListenQueue { length: 3, limit: 7 });
        listener.accept().unwrap();
        assert_eq!(of_tcp(listener.as_fd()).unwrap().length, 2);
    }

    #[test]
    fn connections_that_wait_in_a_unix_listener_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(7).unwrap();
        let queue = match of_unix(listener.as_fd()) {
            Ok(queue) => queue,
            Err(error) => return println!("skipped: this kernel does not tell: {error}"),
        };
        assert_eq!(queue, ListenQueue { length: 0, limit: 7 });
        let _clients = [0; 3].map(|_| UnixStream::connect(&path).unwrap());
        assert_eq!(of_unix(listener.as_fd()).unwrap(), ListenQueue { length: 3, limit: 7 });
        assert!(of_tcp(listener.as_fd()).is_err());
    }

    #[test]
    fn answers_that_are_cut_or_refuse_hold_no_queue() {
        let mut answer = request(1);
        assert_eq!(queue_in(&answer), None, "no attribute");
        answer.truncate(ANSWER_BYTES);
        answer.extend([5, 0, 0, 0, b'x', 0, 0, 0, 12, 0, 4, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
        if cfg!(target_endian = "little") {
            assert_eq!(queue_in(&answer), Some(ListenQueue { length: 3, limit: 9 }));
        }
        (0..answer.len()).for_each(|length| assert_eq!(queue_in(&answer[..length]), None));
        // NLMSG_ERROR
        answer[4] = 2;
        assert_eq!(queue_in(&answer), None);
    }
}
