//! One end of the channel.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair,
};

use crate::sys::passed;

use super::message::{FromTemplate, FromWorker, PACKET_BYTES_MAX, ToTemplate, ToWorker};

/// One end of a `SOCK_SEQPACKET` pair, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// A connected pair: the master's end, the worker's end.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (master, worker) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self { socket: master }, Self { socket: worker }))
    }

    /// Sends a message of the worker.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send_to_master(&self, message: &FromWorker) -> io::Result<()> {
        self.send(&message.encode())
    }

    /// Receives a message of the worker; `Ok(None)` when the other end is closed; `WouldBlock` when there is none yet.
    ///
    /// # Errors
    /// The socket's errors; `InvalidData` for a packet that is no message.
    pub fn receive_from_worker(&self) -> io::Result<Option<FromWorker>> {
        self.receive(FromWorker::decode)
    }

    /// Sends a message of the master.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send_to_worker(&self, message: ToWorker) -> io::Result<()> {
        self.send(&message.encode())
    }

    /// Receives a message of the master; as [`Channel::receive_from_worker`].
    ///
    /// # Errors
    /// As [`Channel::receive_from_worker`].
    pub fn receive_from_master(&self) -> io::Result<Option<ToWorker>> {
        self.receive(ToWorker::decode)
    }

    /// Sends a message of the template.
    ///
    /// # Errors
    /// As [`Channel::send_to_master`].
    pub fn send_from_template(&self, message: &FromTemplate) -> io::Result<()> {
        self.send(&message.encode())
    }

    /// Receives a message of the template; as [`Channel::receive_from_worker`].
    ///
    /// # Errors
    /// As [`Channel::receive_from_worker`].
    pub fn receive_from_template(&self) -> io::Result<Option<FromTemplate>> {
        self.receive(FromTemplate::decode)
    }

    /// Sends a message to the template with the descriptors that belong to it.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send_to_template(&self, message: ToTemplate, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let packet = message.encode();
        loop {
            let sent = sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(&packet)],
                &[ControlMessage::ScmRights(&numbers)],
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives a message to the template and its descriptors, close-on-exec; as [`Channel::receive_from_worker`].
    ///
    /// # Errors
    /// As [`Channel::receive_from_worker`].
    pub fn receive_for_template(&self) -> io::Result<Option<(ToTemplate, Vec<OwnedFd>)>> {
        let mut packet = [0; 64];
        let Some((length, descriptors)) = passed::receive(self.socket.as_fd(), &mut packet)? else {
            return Ok(None);
        };
        ToTemplate::decode(packet.get(..length).unwrap_or_default())
            .map(|message| Some((message, descriptors)))
    }

    /// Waits until there is something to receive, or the other end is closed.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self) -> io::Result<()> {
        let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A packet is sent whole or not at all (unix(7), `SOCK_SEQPACKET`).
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn receive<T>(&self, decode: fn(&[u8]) -> io::Result<T>) -> io::Result<Option<T>> {
        // Most packets are a few bytes: a buffer for the longest would cost every process its pages. With MSG_TRUNC the
        // packet's real length is returned, so that one that is too long shows.
        let Some(length) = self.receive_with(&mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)? else {
            return Ok(None);
        };
        let mut packet = vec![0; length.min(PACKET_BYTES_MAX)];
        let Some(length) = self.receive_with(&mut packet, MsgFlags::MSG_TRUNC)? else { return Ok(None) };
        decode(packet.get(..length).unwrap_or_default()).map(Some)
    }

    /// `None` when the other end is closed.
    fn receive_with(&self, packet: &mut [u8], flags: MsgFlags) -> io::Result<Option<usize>> {
        loop {
            return match recv(self.socket.as_raw_fd(), packet, flags) {
                Ok(0) | Err(Errno::ECONNRESET) => Ok(None),
                Ok(length) => Ok(Some(length)),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }
}

impl From<OwnedFd> for Channel {
    /// An end that another process passed on.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_one_by_one_and_the_end_shows() {
        let (master, worker) = Channel::pair().unwrap();
        assert_eq!(master.receive_from_worker().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        worker.send_to_master(&FromWorker::Ready).unwrap();
        worker.send_to_master(&FromWorker::Checked { failure: None }).unwrap();
        master.send_to_worker(ToWorker::Serve).unwrap();
        assert_eq!(worker.receive_from_master().unwrap(), Some(ToWorker::Serve));
        drop(worker);
        assert_eq!(master.receive_from_worker().unwrap(), Some(FromWorker::Ready));
        assert_eq!(master.receive_from_worker().unwrap(), Some(FromWorker::Checked { failure: None }));
        assert_eq!(master.receive_from_worker().unwrap(), None);
        assert_eq!(master.send_to_worker(ToWorker::Drain).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn descriptors_come_with_the_message() {
        let (master, template) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let message = ToTemplate::Fork { id: 3, slot: 1 };
        master.send_to_template(message, &[file.as_fd(), template.as_fd()]).unwrap();
        template.wait().unwrap();
        let (received, descriptors) = template.receive_for_template().unwrap().unwrap();
        assert_eq!((received, descriptors.len()), (message, 2));
        let error = template.receive_for_template().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(master);
        assert!(template.receive_for_template().unwrap().is_none());
    }

    #[test]
    fn a_packet_of_the_largest_size_fits_the_socket() {
        let (master, worker) = Channel::pair().unwrap();
        let message = FromWorker::BootFailed {
            exit_code: 3,
            summary: "x".to_owned(),
            traceback: Some("x".repeat(1 << 20)),
        };
        worker.send_to_master(&message).unwrap();
        assert_eq!(
            master.receive_from_worker().unwrap(),
            Some(FromWorker::decode(&message.encode()).unwrap())
        );
    }

    #[test]
    fn an_oversized_packet_is_refused() {
        let (master, worker) = Channel::pair().unwrap();
        worker.send(&vec![1; PACKET_BYTES_MAX + 1]).unwrap();
        assert_eq!(master.receive_from_worker().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
