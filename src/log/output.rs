//! Where log bytes go: a file, standard output, standard error or nowhere. One record (or one batch of access-log
//! lines) is one `write(2)`; files are appended to, so that all processes can share them. A pipe, a socket or a
//! terminal gets lines in pieces of at most `PIPE_BUF` bytes: those are atomic, and after a poll they do not block.
//!
//! Invariants: nothing here panics or logs. A reader that stands still (a full pipe) delays a process by
//! [`STALLED_TIMEOUT`] once and then not at all until it reads again: logging never takes the server down.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use crate::config::Sink;

/// Longest wait for a reader that does not read, in milliseconds.
const STALLED_TIMEOUT: u16 = 1000;

/// Attempts on a descriptor that says it is writable and then is not (others made it non-blocking).
const ATTEMPTS_MAX: u32 = 8;

/// Permissions of a log file that is created, before the umask.
const FILE_MODE: u32 = 0o640;

/// Which stream `-` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    /// Standard error, for the error log.
    Error,
    /// Standard output, for the access log.
    Output,
}

/// An open log destination.
#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    /// The reader let us wait in vain and has not taken a byte since.
    stalled: bool,
    /// The last write ended inside a line.
    torn: bool,
}

#[derive(Debug)]
enum Target {
    Off,
    Standard(Standard),
    File { file: File, path: PathBuf },
}

impl Output {
    /// Opens what the setting names.
    pub(super) fn open(sink: &Sink, standard: Standard) -> io::Result<Self> {
        let target = match sink {
            Sink::Off => Target::Off,
            Sink::Standard => Target::Standard(standard),
            Sink::File(path) => Target::File { file: open_file(path)?, path: path.clone() },
        };
        Ok(Self { target, stalled: false, torn: false })
    }

    /// Opens the file again under its path; on failure the old one stays in use.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Target::File { file, path } = &mut self.target {
            *file = open_file(path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Whether it is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        match &self.target {
            Target::Standard(Standard::Error) => io::IsTerminal::is_terminal(&io::stderr()),
            Target::Standard(Standard::Output) => io::IsTerminal::is_terminal(&io::stdout()),
            Target::Off | Target::File { .. } => false,
        }
    }

    /// Writes whole lines: with one `write(2)` to a file, in pieces to anything else.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let Self { target, stalled, torn } = self;
        match target {
            Target::Off => Ok(()),
            Target::Standard(Standard::Error) => write_whole(io::stderr().as_fd(), lines, stalled, torn),
            Target::Standard(Standard::Output) => write_whole(io::stdout().as_fd(), lines, stalled, torn),
            Target::File { file, .. } => write_whole(file.as_fd(), lines, stalled, torn),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| explain(path, "open", error))
}

fn explain(path: &Path, what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} the log file {}: {error}", path.display()))
}

fn write_whole(fd: BorrowedFd<'_>, lines: &[u8], stalled: &mut bool, torn: &mut bool) -> io::Result<()> {
    if *torn {
        write_rest(fd, b"\n", stalled)?;
        *torn = false;
    }
    let piece_max = if is_regular(fd) { usize::MAX } else { libc::PIPE_BUF };
    let mut written = 0;
    while written < lines.len() {
        match write_rest(fd, first_lines(&lines[written..], piece_max), stalled) {
            Ok(count) => written += count,
            Err(error) => {
                *torn = written > 0 && lines[written - 1] != b'\n';
                return Err(error);
            }
        }
    }
    Ok(())
}

fn is_regular(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|status| SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

/// As many whole lines as fit, or a part of the first if not even that fits.
fn first_lines(lines: &[u8], bytes_max: usize) -> &[u8] {
    if lines.len() <= bytes_max {
        return lines;
    }
    let end = memchr::memrchr(b'\n', &lines[..bytes_max]).map_or(bytes_max, |at| at + 1);
    &lines[..end]
}

fn write_rest(fd: BorrowedFd<'_>, bytes: &[u8], stalled: &mut bool) -> io::Result<usize> {
    let mut attempts = 0;
    loop {
        let patience = if *stalled { PollTimeout::ZERO } else { PollTimeout::from(STALLED_TIMEOUT) };
        *stalled = match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], patience) {
            Ok(0) => true,
            Ok(_) => false,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        *stalled |= attempts == ATTEMPTS_MAX;
        if *stalled {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match nix::unistd::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => return Ok(count),
            Err(Errno::EAGAIN) => attempts += 1,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_appended_to_and_followed_after_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let moved = directory.path().join("error.log.1");
        std::fs::write(&path, "old\n").unwrap();
        let mut output = Output::open(&Sink::File(path.clone()), Standard::Error).unwrap();
        output.write_lines(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        output.write_lines(b"two\n").unwrap();
        output.reopen().unwrap();
        output.write_lines(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "old\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o137,
            0,
            "others may not read it"
        );
    }

    #[test]
    fn the_old_file_stays_in_use_when_the_new_one_cannot_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("logs");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("error.log");
        let mut output = Output::open(&Sink::File(path), Standard::Error).unwrap();
        let moved = directory.path().join("moved");
        std::fs::rename(&folder, &moved).unwrap();
        let error = output.reopen().unwrap_err().to_string();
        assert!(error.starts_with("cannot open the log file "), "{error}");
        output.write_lines(b"still here\n").unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("error.log")).unwrap(), "still here\n");
    }

    #[test]
    fn a_full_device_is_an_error_and_no_panic() {
        let mut output = Output::open(&Sink::File("/dev/full".into()), Standard::Error).unwrap();
        assert_eq!(output.write_lines(b"lost\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_reader_that_stands_still_is_given_up_and_found_again() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (mut stalled, mut torn) = (false, false);
        let block = [b'x'; 4096];
        let mut taken = 0;
        let error = loop {
            match write_whole(writer.as_fd(), &block, &mut stalled, &mut torn) {
                Ok(()) => taken += block.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stalled, "the next record must not wait");
        reader.read_exact(&mut vec![0; taken]).unwrap();
        write_whole(writer.as_fd(), b"back\n", &mut stalled, &mut torn).unwrap();
        assert!(!stalled);
        let mut line = [0; 5];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"back\n");
    }

    #[test]
    fn a_long_batch_cannot_block_on_a_reader_that_stands_still() {
        let (_reader, writer) = io::pipe().unwrap();
        let batch = b"GET / 200\n".repeat(100_000);
        let (mut stalled, mut torn) = (false, false);
        let error = write_whole(writer.as_fd(), &batch, &mut stalled, &mut torn).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(stalled && !torn, "it stopped between two lines");
    }

    #[test]
    fn pieces_end_with_a_line_where_they_can() {
        assert_eq!(first_lines(b"one\ntwo\n", 100), b"one\ntwo\n");
        assert_eq!(first_lines(b"one\ntwo\n", 7), b"one\n");
        assert_eq!(first_lines(b"one\ntwo\n", 4), b"one\n");
        assert_eq!(first_lines(b"one\ntwo\n", 3), b"one");
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (mut stalled, mut torn) = (false, true);
        write_whole(writer.as_fd(), b"next\n", &mut stalled, &mut torn).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\nnext\n");
        assert!(!torn);
    }

    #[test]
    fn a_closed_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let error = write_whole(writer.as_fd(), b"x\n", &mut false, &mut false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
