//! The messages. Each is one packet; an unknown or broken packet is an error, never skipped.
//!
//! A packet is a tag byte and the fields of the message: numbers little endian in their size, a text as its length (4 bytes)
//! and UTF-8. An optional text is a byte 0, or a byte 1 and the text.

use std::io;

/// The longest packet: far below the default size of a socket's buffer (208 KiB), so that one always fits.
pub const PACKET_BYTES_MAX: usize = 64 * 1024;
/// A summary is cut to this, so that the traceback has most of the packet.
const SUMMARY_BYTES_MAX: usize = 8 * 1024;
/// Stands where the beginning of a traceback was cut off.
const CUT_MARK: &str = "[the beginning is cut off]\n";

const READY: u8 = 1;
const BOOT_FAILED: u8 = 2;
const RECYCLE: u8 = 3;
const CHECKED: u8 = 4;
const DUMPED: u8 = 5;
const UNSAFE: u8 = 6;
const FORKED: u8 = 7;
const FORK_FAILED: u8 = 8;
const DRAINING: u8 = 9;
const SERVE: u8 = 1;
const DRAIN: u8 = 2;
const REOPEN_LOGS: u8 = 3;
const STOP: u8 = 4;
const CHECK: u8 = 5;
const DUMP: u8 = 6;
const FORK: u8 = 7;

/// From a worker to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// The application is loaded; the worker waits for [`ToWorker::Serve`] before it accepts.
    Ready,
    /// The application could not be loaded; the worker exits after this.
    BootFailed {
        /// 2, 3 or 4, as the exit codes of the program.
        exit_code: u8,
        /// One sentence.
        summary: String,
        /// The traceback, if there is one; cut to fit a packet.
        traceback: Option<String>,
    },
    /// The worker wants to be replaced. It goes on serving until it is told to drain.
    Recycle {
        /// Why, as a clause: `it has served 1043 requests (workers.max_requests)`.
        reason: String,
        /// A thread does not come back from a request that has timed out: the worker serves less than it should.
        stuck: bool,
    },
    /// [`ToWorker::Drain`] or [`ToWorker::Stop`] was heard: whoever connects from now on is left to others.
    Draining,
    /// The request of [`ToWorker::Check`] was answered.
    Checked {
        /// `None` when the status was below 400; else what happened: `GET /health was answered 500`.
        failure: Option<String>,
    },
    /// The stacks that [`ToWorker::Dump`] asked for; what does not fit a packet is cut.
    Dumped {
        /// As faulthandler writes them.
        text: String,
    },
}

/// From a template to the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTemplate {
    /// The application is loaded and can be forked.
    Ready,
    /// The application is loaded, but forking it is not safe, and `app.preload` is `"auto"`; the template exits after this.
    Unsafe {
        /// What was found: threads by name, sockets by peer.
        report: String,
    },
    /// As [`FromWorker::BootFailed`].
    BootFailed {
        /// 2, 3 or 4.
        exit_code: u8,
        /// One sentence.
        summary: String,
        /// The traceback, if there is one.
        traceback: Option<String>,
    },
    /// A worker was forked. It does nothing before the master's end of its channel can be read from.
    Forked {
        /// The number of the [`ToTemplate::Fork`] that it answers.
        id: u64,
        /// Its process id.
        pid: i32,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// The number of the [`ToTemplate::Fork`] that it answers.
        id: u64,
        /// Why.
        error: String,
    },
}

/// From the master to a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToTemplate {
    /// Fork a worker; the packet carries two descriptors, the worker's end of its channel and its scoreboard.
    Fork {
        /// A number for the answer.
        id: u64,
        /// The worker's slot.
        slot: u32,
    },
}

/// From the master to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToWorker {
    /// Start to accept connections.
    Serve,
    /// Stop accepting, answer what is in flight, exit within the graceful timeout. Others go on accepting.
    Drain,
    /// As [`ToWorker::Drain`], but the whole server stops: take the connections that wait in the listeners' queues, since
    /// nobody else will, then close the listeners.
    Stop,
    /// Reopen log files.
    ReopenLogs,
    /// Run the request of `reload.check` through the application, before [`ToWorker::Serve`].
    Check,
    /// Answer with the stacks of all threads.
    Dump,
}

impl FromWorker {
    /// The packet of this message. A summary that is too long loses its end; a traceback loses its beginning, since the
    /// error itself is its last line.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![READY],
            Self::Draining => vec![DRAINING],
            Self::Recycle { reason, stuck } => {
                let mut packet = vec![RECYCLE, u8::from(*stuck)];
                put_text(&mut packet, &[start_of(reason, SUMMARY_BYTES_MAX)]);
                packet
            }
            Self::Checked { failure } => {
                let mut packet = vec![CHECKED, u8::from(failure.is_some())];
                if let Some(failure) = failure {
                    put_text(&mut packet, &[start_of(failure, SUMMARY_BYTES_MAX)]);
                }
                packet
            }
            Self::Dumped { text } => {
                let mut packet = vec![DUMPED];
                put_text(&mut packet, &[start_of(text, PACKET_BYTES_MAX - 5)]);
                packet
            }
            Self::BootFailed { exit_code, summary, traceback } => {
                boot_failed(*exit_code, summary, traceback.as_deref())
            }
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// `InvalidData`: it is no message.
    pub fn decode(packet: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(packet);
        let message = match reader.byte()? {
            READY => Self::Ready,
            DRAINING => Self::Draining,
            RECYCLE => {
                let stuck = reader.flag()?;
                Self::Recycle { reason: reader.text()?, stuck }
            }
            CHECKED => Self::Checked { failure: reader.optional_text()? },
            DUMPED => Self::Dumped { text: reader.text()? },
            BOOT_FAILED => Self::BootFailed {
                exit_code: reader.byte()?,
                summary: reader.text()?,
                traceback: reader.optional_text()?,
            },
            _ => return Err(broken()),
        };
        reader.end(message)
    }
}

impl FromTemplate {
    /// The packet of this message, cut as [`FromWorker::encode`] cuts.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![READY],
            Self::Unsafe { report } => {
                let mut packet = vec![UNSAFE];
                put_text(&mut packet, &[start_of(report, PACKET_BYTES_MAX - 5)]);
                packet
            }
            Self::BootFailed { exit_code, summary, traceback } => {
                boot_failed(*exit_code, summary, traceback.as_deref())
            }
            Self::Forked { id, pid } => [&[FORKED][..], &id.to_le_bytes(), &pid.to_le_bytes()].concat(),
            Self::ForkFailed { id, error } => {
                let mut packet = [&[FORK_FAILED][..], &id.to_le_bytes()].concat();
                put_text(&mut packet, &[start_of(error, SUMMARY_BYTES_MAX)]);
                packet
            }
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// `InvalidData`: it is no message.
    pub fn decode(packet: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(packet);
        let message = match reader.byte()? {
            READY => Self::Ready,
            UNSAFE => Self::Unsafe { report: reader.text()? },
            BOOT_FAILED => Self::BootFailed {
                exit_code: reader.byte()?,
                summary: reader.text()?,
                traceback: reader.optional_text()?,
            },
            FORKED => Self::Forked {
                id: u64::from_le_bytes(reader.array()?),
                pid: i32::from_le_bytes(reader.array()?),
            },
            FORK_FAILED => {
                Self::ForkFailed { id: u64::from_le_bytes(reader.array()?), error: reader.text()? }
            }
            _ => return Err(broken()),
        };
        reader.end(message)
    }
}

impl ToTemplate {
    /// The packet of this message.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let Self::Fork { id, slot } = self;
        [&[FORK][..], &id.to_le_bytes(), &slot.to_le_bytes()].concat()
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// `InvalidData`: it is no message.
    pub fn decode(packet: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(packet);
        let message = match reader.byte()? {
            FORK => Self::Fork {
                id: u64::from_le_bytes(reader.array()?),
                slot: u32::from_le_bytes(reader.array()?),
            },
            _ => return Err(broken()),
        };
        reader.end(message)
    }
}

fn boot_failed(exit_code: u8, summary: &str, traceback: Option<&str>) -> Vec<u8> {
    let mut packet = vec![BOOT_FAILED, exit_code];
    put_text(&mut packet, &[start_of(summary, SUMMARY_BYTES_MAX)]);
    match traceback {
        None => packet.push(0),
        Some(traceback) => {
            packet.push(1);
            let room = PACKET_BYTES_MAX - packet.len() - 4;
            if traceback.len() <= room {
                put_text(&mut packet, &[traceback]);
            } else {
                put_text(&mut packet, &[CUT_MARK, end_of(traceback, room - CUT_MARK.len())]);
            }
        }
    }
    packet
}

impl ToWorker {
    /// The packet of this message.
    #[must_use]
    pub fn encode(self) -> [u8; 1] {
        match self {
            Self::Serve => [SERVE],
            Self::Drain => [DRAIN],
            Self::Stop => [STOP],
            Self::ReopenLogs => [REOPEN_LOGS],
            Self::Check => [CHECK],
            Self::Dump => [DUMP],
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// `InvalidData`: it is no message.
    pub fn decode(packet: &[u8]) -> io::Result<Self> {
        match packet {
            [SERVE] => Ok(Self::Serve),
            [DRAIN] => Ok(Self::Drain),
            [STOP] => Ok(Self::Stop),
            [REOPEN_LOGS] => Ok(Self::ReopenLogs),
            [CHECK] => Ok(Self::Check),
            [DUMP] => Ok(Self::Dump),
            _ => Err(broken()),
        }
    }
}

/// What is left of a packet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> io::Result<u8> {
        let (&byte, rest) = self.0.split_first().ok_or_else(broken)?;
        self.0 = rest;
        Ok(byte)
    }

    fn flag(&mut self) -> io::Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(broken()),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(broken)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn optional_text(&mut self) -> io::Result<Option<String>> {
        if self.flag()? { self.text().map(Some) } else { Ok(None) }
    }

    fn text(&mut self) -> io::Result<String> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| broken())?;
        let (text, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| broken())
    }

    fn end<T>(self, message: T) -> io::Result<T> {
        if self.0.is_empty() { Ok(message) } else { Err(broken()) }
    }
}

fn put_text(packet: &mut Vec<u8>, parts: &[&str]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    packet.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    for part in parts {
        packet.extend_from_slice(part.as_bytes());
    }
}

fn start_of(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn end_of(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a packet between master and worker is broken")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_failed(summary: &str, traceback: Option<&str>) -> FromWorker {
        FromWorker::BootFailed {
            exit_code: 3,
            summary: summary.to_owned(),
            traceback: traceback.map(str::to_owned),
        }
    }

    #[test]
    fn messages_survive_the_round_trip() {
        let messages = [
            FromWorker::Ready,
            FromWorker::Draining,
            FromWorker::Recycle { reason: "it is old".to_owned(), stuck: true },
            FromWorker::Checked { failure: None },
            FromWorker::Checked { failure: Some("GET / was answered 500".to_owned()) },
            FromWorker::Dumped { text: "Thread 1".to_owned() },
            boot_failed("no module named ä", None),
            boot_failed("", Some("")),
            boot_failed("x", Some("Traceback\n  line\n")),
        ];
        for message in messages {
            assert_eq!(FromWorker::decode(&message.encode()).unwrap(), message);
        }
        let all = [ToWorker::Serve, ToWorker::Drain, ToWorker::Stop, ToWorker::ReopenLogs, ToWorker::Check];
        for message in all.into_iter().chain([ToWorker::Dump]) {
            assert_eq!(ToWorker::decode(&message.encode()).unwrap(), message);
        }
        let templates = [
            FromTemplate::Ready,
            FromTemplate::Unsafe { report: "a thread".to_owned() },
            FromTemplate::BootFailed { exit_code: 3, summary: "x".to_owned(), traceback: None },
            FromTemplate::Forked { id: u64::MAX, pid: 77 },
            FromTemplate::ForkFailed { id: 1, error: "no memory".to_owned() },
        ];
        for message in templates {
            assert_eq!(FromTemplate::decode(&message.encode()).unwrap(), message);
        }
        let fork = ToTemplate::Fork { id: 1 << 40, slot: 3 };
        assert_eq!(ToTemplate::decode(&fork.encode()).unwrap(), fork);
    }

    #[test]
    fn truncated_and_padded_packets_are_refused() {
        let packet = boot_failed("summary", Some("traceback")).encode();
        for length in 0..packet.len() {
            assert!(FromWorker::decode(&packet[..length]).is_err(), "{length} bytes");
        }
        let padded = [packet.as_slice(), b"!"].concat();
        assert!(FromWorker::decode(&padded).is_err());
        assert!(FromWorker::decode(&[99]).is_err());
        assert!(FromWorker::decode(&[READY, 0]).is_err());
        assert!(ToWorker::decode(&[]).is_err());
        assert!(ToWorker::decode(&[SERVE, 0]).is_err());
        assert!(ToWorker::decode(&[99]).is_err());
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused() {
        let mut packet = boot_failed("summary", None).encode();
        packet[6] = 0xff;
        assert!(FromWorker::decode(&packet).is_err());
    }

    #[test]
    fn a_long_traceback_keeps_its_last_line_and_fits_a_packet() {
        for shift in 0..4 {
            let traceback =
                format!("{}{}\nValueError: ende", "x".repeat(shift), "€".repeat(PACKET_BYTES_MAX));
            let packet = boot_failed(&"ß".repeat(PACKET_BYTES_MAX), Some(&traceback)).encode();
            assert!(packet.len() <= PACKET_BYTES_MAX);
            assert!(packet.len() > PACKET_BYTES_MAX - 8);
            let FromWorker::BootFailed { summary, traceback: Some(cut), .. } =
                FromWorker::decode(&packet).unwrap()
            else {
                panic!("another message");
            };
            assert_eq!(summary.len(), SUMMARY_BYTES_MAX);
            assert!(cut.starts_with(CUT_MARK));
            assert!(cut.ends_with("€\nValueError: ende"));
        }
    }
}
