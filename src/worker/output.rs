//! The output queue of a connection: what the socket has not taken yet, in order.
//!
//! Bytes are never copied into it: blocks are shared, files go out by `sendfile`. Many small segments leave in one
//! `writev`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::{Buf, Bytes};

use super::socket::Socket;

/// Most slices in one `writev`; far below `IOV_MAX` (1024), beyond which nothing is gained.
const SLICES_MAX: usize = 64;

/// Most bytes asked of one `sendfile`.
const SEND_FILE_BYTES_MAX: u64 = 1 << 20;

/// A write stops after so many bytes, so that a client that reads as fast as we write does not keep the reactor from the
/// others. nginx has the same limit (`sendfile_max_chunk`).
const WRITE_BYTES_MAX: u64 = 2 << 20;

/// A piece of output.
#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes in memory; never empty.
    Memory(Bytes),
    /// A range of a file; never empty.
    File {
        /// The open file.
        file: File,
        /// Where the range begins.
        offset: u64,
        /// How much of it is left, in bytes.
        remaining: u64,
    },
}

impl Segment {
    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { remaining, .. } => *remaining,
        }
    }
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes that the socket took.
    pub(super) bytes: u64,
    /// Whether it would take more now.
    pub(super) writable: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Output {
    segments: VecDeque<Segment>,
}

impl Output {
    /// Whether everything was written.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Appends a segment; an empty one is dropped.
    pub(super) fn push(&mut self, segment: Segment) {
        if segment.len() > 0 {
            self.segments.push_back(segment);
        }
    }

    /// Puts a segment in front of all others; an empty one is dropped.
    pub(super) fn push_front(&mut self, segment: Segment) {
        if segment.len() > 0 {
            self.segments.push_front(segment);
        }
    }

    /// Writes until the queue is empty, the socket takes no more, or it is the turn of other connections (then the socket
    /// is still writable, and no event will tell).
    pub(super) fn write(&mut self, socket: &Socket) -> io::Result<Progress> {
        let mut total = 0;
        while let Some(first) = self.segments.front()
            && total < WRITE_BYTES_MAX
        {
            let (result, asked) = match first {
                Segment::File { file, offset, remaining } => {
                    let asked = (*remaining).min(SEND_FILE_BYTES_MAX);
                    let length = usize::try_from(asked).unwrap_or(usize::MAX);
                    (socket.send_file(file.as_fd(), *offset, length), asked)
                }
                Segment::Memory(bytes) if self.segments.len() == 1 => {
                    (socket.send(bytes), bytes.len() as u64)
                }
                Segment::Memory(_) => self.write_slices(socket),
            };
            match result {
                Ok(0) => {
                    let what = "the file became shorter while it was sent";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Ok(written) => {
                    let written = written as u64;
                    total += written;
                    let from_file = matches!(self.segments.front(), Some(Segment::File { .. }));
                    self.advance(written);
                    // A socket that took less than it was offered is full; a file may also have been cut short.
                    if written < asked && !from_file {
                        return Ok(Progress { bytes: total, writable: false });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress { bytes: total, writable: false });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress { bytes: total, writable: true })
    }

    /// Writes the segments in memory at the front of the queue; returns what was written of how much.
    fn write_slices(&self, socket: &Socket) -> (io::Result<usize>, u64) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut asked = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            let Segment::Memory(bytes) = segment else { break };
            *slice = IoSlice::new(bytes);
            asked += bytes.len() as u64;
            count += 1;
        }
        (socket.send_vectored(&slices[..count]), asked)
    }

    fn advance(&mut self, mut written: u64) {
        while written > 0 {
            let Some(first) = self.segments.front_mut() else { return };
            let taken = written.min(first.len());
            written -= taken;
            let done = taken == first.len();
            match first {
                Segment::Memory(bytes) => bytes.advance(usize::try_from(taken).unwrap_or(bytes.len())),
                Segment::File { offset, remaining, .. } => {
                    *offset += taken;
                    *remaining -= taken;
                }
            }
            if done {
                self.segments.pop_front();
            }
        }
    }
}
