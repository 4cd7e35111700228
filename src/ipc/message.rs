//! The messages. Each is one packet; an unknown or broken packet is an error, never skipped.
//!
//! A packet is a tag byte and the fields of the message: numbers as one byte, a text as its length (4 bytes, little endian)
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
const LEAVING: u8 = 3;
const SERVE: u8 = 1;
const DRAIN: u8 = 2;
const REOPEN_LOGS: u8 = 3;
const STOP: u8 = 4;

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
    /// The worker wants to be replaced (the application asked for it) and drains.
    Leaving,
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
}

impl FromWorker {
    /// The packet of this message. A summary that is too long loses its end; a traceback loses its beginning, since the
    /// error itself is its last line.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![READY],
            Self::Leaving => vec![LEAVING],
            Self::BootFailed { exit_code, summary, traceback } => {
                let mut packet = vec![BOOT_FAILED, *exit_code];
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
            LEAVING => Self::Leaving,
            BOOT_FAILED => Self::BootFailed {
                exit_code: reader.byte()?,
                summary: reader.text()?,
                traceback: match reader.byte()? {
                    0 => None,
                    1 => Some(reader.text()?),
                    _ => return Err(broken()),
                },
            },
            _ => return Err(broken()),
        };
        reader.end(message)
    }
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

    fn text(&mut self) -> io::Result<String> {
        let (length, rest) = self.0.split_first_chunk().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| broken())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
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
            FromWorker::Leaving,
            boot_failed("no module named ä", None),
            boot_failed("", Some("")),
            boot_failed("x", Some("Traceback\n  line\n")),
        ];
        for message in messages {
            assert_eq!(FromWorker::decode(&message.encode()).unwrap(), message);
        }
        for message in [ToWorker::Serve, ToWorker::Drain, ToWorker::Stop, ToWorker::ReopenLogs] {
            assert_eq!(ToWorker::decode(&message.encode()).unwrap(), message);
        }
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
