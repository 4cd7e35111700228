//! One end of the channel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::message::{FromWorker, ToWorker};

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
        todo!()
    }

    /// Sends a message of the worker.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send_to_master(&self, message: &FromWorker) -> io::Result<()> {
        let _ = message;
        todo!()
    }

    /// Receives a message of the worker; `Ok(None)` when the other end is closed; `WouldBlock` when there is none yet.
    ///
    /// # Errors
    /// The socket's errors; `InvalidData` for a packet that is no message.
    pub fn receive_from_worker(&self) -> io::Result<Option<FromWorker>> {
        todo!()
    }

    /// Sends a message of the master.
    ///
    /// # Errors
    /// The other end is closed, or does not read.
    pub fn send_to_worker(&self, message: ToWorker) -> io::Result<()> {
        let _ = message;
        todo!()
    }

    /// Receives a message of the master; as [`Channel::receive_from_worker`].
    ///
    /// # Errors
    /// As [`Channel::receive_from_worker`].
    pub fn receive_from_master(&self) -> io::Result<Option<ToWorker>> {
        todo!()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
