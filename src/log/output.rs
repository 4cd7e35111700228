//! Where log bytes go: a file, standard output, standard error or nowhere. A batch of lines is one `write(2)`; files are
//! appended to, so that all processes can share them. A pipe, a socket or a terminal gets lines in pieces of at most
//! `PIPE_BUF` bytes: those are atomic, and after a poll they do not block.
//!
//! Invariants: nothing here panics or logs. Who cannot wait says so ([`Patience`]): a reader that stands still (a full pipe)
//! delays it by [`STALLED_TIMEOUT`] once and then not at all until it reads again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use crate::config::Sink;

/// Longest wait of the limited kind for a reader that does not read, in milliseconds.
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

/// How long a reader that does not read is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes: for a thread that has nothing else to do.
    Unlimited,
    /// [`STALLED_TIMEOUT`], once.
    Limited,
}

/// Lines that could not be written.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) error: io::Error,
    /// Bytes that were written before the error.
    pub(super) written: usize,
}

/// An open log destination. Written to by one thread at a time.
#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    progress: Progress,
}

#[derive(Debug, Default)]
struct Progress {
    /// The reader let us wait in vain and has not taken a byte since.
    stalled: AtomicBool,
    /// The last write ended inside a line.
    torn: AtomicBool,
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
        Ok(Self { target, progress: Progress::default() })
    }

    /// The file, opened again under its path; `None` for what is no file.
    pub(super) fn reopened(&self) -> io::Result<Option<Self>> {
        let Target::File { path, .. } = &self.target else { return Ok(None) };
        let target = Target::File { file: open_file(path)?, path: path.clone() };
        Ok(Some(Self { target, progress: Progress::default() }))
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
    pub(super) fn write_lines(&self, lines: &[u8], patience: Patience) -> Result<(), Unwritten> {
        let progress = &self.progress;
        match &self.target {
            Target::Off => Ok(()),
            Target::Standard(Standard::Error) => write_whole(io::stderr().as_fd(), lines, progress, patience),
            Target::Standard(Standard::Output) => {
                write_whole(io::stdout().as_fd(), lines, progress, patience)
            }
            Target::File { file, .. } => write_whole(file.as_fd(), lines, progress, patience),
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

fn write_whole(
    fd: BorrowedFd<'_>,
    lines: &[u8],
    progress: &Progress,
    patience: Patience,
) -> Result<(), Unwritten> {
    let Progress { stalled, torn } = progress;
    if torn.load(Ordering::Relaxed) {
        write_rest(fd, b"\n", stalled, patience).map_err(|error| Unwritten { error, written: 0 })?;
        torn.store(false, Ordering::Relaxed);
    }
    let piece_max = if is_regular(fd) { usize::MAX } else { libc::PIPE_BUF };
    let mut written = 0;
    while written < lines.len() {
        match write_rest(fd, first_lines(&lines[written..], piece_max), stalled, patience) {
            Ok(count) => written += count,
            Err(error) => {
                torn.store(written > 0 && lines[written - 1] != b'\n', Ordering::Relaxed);
                return Err(Unwritten { error, written });
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

fn write_rest(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    stalled: &AtomicBool,
    patience: Patience,
) -> io::Result<usize> {
    let mut attempts = 0;
    loop {
        let timeout = match patience {
            Patience::Unlimited => PollTimeout::NONE,
            Patience::Limited if stalled.load(Ordering::Relaxed) => PollTimeout::ZERO,
            Patience::Limited => PollTimeout::from(STALLED_TIMEOUT),
        };
        let timed_out = match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], timeout) {
            Ok(ready) => ready == 0,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let gives_up = timed_out || attempts == ATTEMPTS_MAX;
        stalled.store(gives_up, Ordering::Relaxed);
        if gives_up {
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
        let output = Output::open(&Sink::File(path.clone()), Standard::Error).unwrap();
        output.write_lines(b"one\n", Patience::Limited).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        output.write_lines(b"two\n", Patience::Limited).unwrap();
        let output = output.reopened().unwrap().unwrap();
        output.write_lines(b"three\n", Patience::Limited).unwrap();
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
        let output = Output::open(&Sink::File(path), Standard::Error).unwrap();
        let moved = directory.path().join("moved");
        std::fs::rename(&folder, &moved).unwrap();
        let error = output.reopened().unwrap_err().to_string();
        assert!(error.starts_with("cannot open the log file "), "{error}");
        output.write_lines(b"still here\n", Patience::Limited).unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("error.log")).unwrap(), "still here\n");
    }

    #[test]
    fn a_full_device_is_an_error_and_no_panic() {
        let output = Output::open(&Sink::File("/dev/full".into()), Standard::Error).unwrap();
        let unwritten = output.write_lines(b"lost\n", Patience::Unlimited).unwrap_err();
        assert_eq!((unwritten.error.kind(), unwritten.written), (io::ErrorKind::StorageFull, 0));
    }

    #[test]
    fn a_reader_that_stands_still_is_given_up_and_found_again() {
        let (mut reader, writer) = io::pipe().unwrap();
        let progress = Progress::default();
        let block = [b'x'; 4096];
        let mut taken = 0;
        let error = loop {
            match write_whole(writer.as_fd(), &block, &progress, Patience::Limited) {
                Ok(()) => taken += block.len(),
                Err(unwritten) => break unwritten.error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(progress.stalled.load(Ordering::Relaxed), "the next record must not wait");
        reader.read_exact(&mut vec![0; taken]).unwrap();
        write_whole(writer.as_fd(), b"back\n", &progress, Patience::Limited).unwrap();
        assert!(!progress.stalled.load(Ordering::Relaxed));
        let mut line = [0; 5];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"back\n");
    }

    #[test]
    fn a_long_batch_cannot_block_on_a_reader_that_stands_still() {
        let (_reader, writer) = io::pipe().unwrap();
        let batch = b"GET / 200\n".repeat(100_000);
        let progress = Progress::default();
        let unwritten = write_whole(writer.as_fd(), &batch, &progress, Patience::Limited).unwrap_err();
        assert_eq!(unwritten.error.kind(), io::ErrorKind::TimedOut);
        assert!(unwritten.written > 0 && unwritten.written % 10 == 0, "it stopped between two lines");
        assert!(progress.stalled.into_inner() && !progress.torn.into_inner());
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
        let progress = Progress { torn: true.into(), ..Progress::default() };
        write_whole(writer.as_fd(), b"next\n", &progress, Patience::Limited).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\nnext\n");
        assert!(!progress.torn.into_inner());
    }

    #[test]
    fn a_closed_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let progress = Progress::default();
        let unwritten = write_whole(writer.as_fd(), b"x\n", &progress, Patience::Limited).unwrap_err();
        assert_eq!(unwritten.error.kind(), io::ErrorKind::BrokenPipe);
    }
}
