//! The access log of one process: formats entries into a buffer and writes it out when told to.

use std::io;

use crate::config;

use super::format::{AccessFormat, Entry};
use super::output::{Output, Standard};

/// The buffer is written out by itself when it holds this much. A worker flushes after every batch of events, so only
/// a burst comes here.
const BUFFER_MAX: usize = 64 * 1024;

/// The access log. Kept by the reactor; not shared.
#[derive(Debug)]
pub struct AccessLog {
    format: AccessFormat,
    exclude: Vec<Exclude>,
    output: Output,
    buffer: Vec<u8>,
    /// The last write failed and was reported.
    failing: bool,
}

#[derive(Debug)]
enum Exclude {
    Path(Vec<u8>),
    /// Everything below; ends in a slash.
    Below(Vec<u8>),
}

impl AccessLog {
    /// Opens it as `[log]` says; `None` when it is off.
    ///
    /// # Errors
    /// The file cannot be opened, or the format cannot be read.
    pub fn open(settings: &config::Log) -> io::Result<Option<Self>> {
        if settings.access == config::Sink::Off {
            return Ok(None);
        }
        let format = AccessFormat::parse(&settings.access_format).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("log.access_format: {error}"))
        })?;
        let output = Output::open(&settings.access, Standard::Output)?;
        let exclude = settings.access_exclude.iter().map(|pattern| Exclude::parse(pattern)).collect();
        Ok(Some(Self { format, exclude, output, buffer: Vec::new(), failing: false }))
    }

    /// Whether the exchange for this path is logged at all (`log.access_exclude`).
    #[must_use]
    pub fn wants(&self, path: &[u8]) -> bool {
        !self.exclude.iter().any(|exclude| match exclude {
            Exclude::Path(excluded) => path == excluded,
            Exclude::Below(prefix) => path.starts_with(prefix),
        })
    }

    /// Adds an entry to the buffer.
    pub fn record(&mut self, entry: &Entry<'_>) {
        self.format.write(entry, &mut self.buffer);
        if self.buffer.len() >= BUFFER_MAX {
            self.flush();
        }
    }

    /// Writes the buffer out in one call. A write that fails is reported once in the error log, the lines are dropped.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.output.write_lines(&self.buffer) {
            Ok(()) if self.failing => {
                self.failing = false;
                log::info!("the access log can be written again");
            }
            Err(error) if !self.failing => {
                self.failing = true;
                log::error!(
                    "cannot write the access log: {error}; its lines are dropped until it can be written"
                );
            }
            Ok(()) | Err(_) => {}
        }
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_MAX);
    }

    /// Opens the file again (after logrotate moved it). What is in the buffer goes to the old one.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        self.output.reopen()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Exclude {
    fn parse(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => Self::Below(prefix.as_bytes().to_vec()),
            _ => Self::Path(pattern.as_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use crate::config::{LogFormat, Sink};

    use super::*;

    fn settings(access: Sink) -> config::Log {
        config::Log {
            level: log::LevelFilter::Info,
            file: Sink::Standard,
            format: LogFormat::Text,
            access,
            access_format: "%(m)s %(U)s %(s)s".to_owned(),
            access_exclude: vec!["/healthz".to_owned(), "/static/*".to_owned()],
            slow_request: None,
        }
    }

    fn open(path: &Path) -> AccessLog {
        AccessLog::open(&settings(Sink::File(path.to_owned()))).unwrap().unwrap()
    }

    fn record(log: &mut AccessLog, target: &str) {
        log.record(&Entry {
            remote_address: "",
            user: "",
            time: SystemTime::UNIX_EPOCH,
            method: b"GET",
            target: target.as_bytes(),
            protocol: "HTTP/1.1",
            status: 200,
            body_bytes: 0,
            duration: Duration::ZERO,
            request_id: "",
            request_field: &|_| None,
            response_field: &|_| None,
        });
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn excluded_paths_are_exact_or_below_a_prefix() {
        let log = open(Path::new("/dev/null"));
        for (path, wanted) in [
            ("/healthz", false),
            ("/healthz/", true),
            ("/health", true),
            ("/static/", false),
            ("/static/a/b.css", false),
            ("/static", true),
            ("/staticky", true),
            ("*", true),
            ("", true),
        ] {
            assert_eq!(log.wants(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn lines_wait_for_the_flush_or_a_full_buffer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut log = open(&path);
        record(&mut log, "/one");
        record(&mut log, "/two");
        assert_eq!(read(&path), "");
        log.flush();
        assert_eq!(read(&path), "GET /one 200\nGET /two 200\n");
        let long = "/".repeat(BUFFER_MAX);
        record(&mut log, &long);
        assert!(read(&path).len() > BUFFER_MAX, "a full buffer goes out by itself");
        record(&mut log, "/last");
        drop(log);
        assert!(read(&path).ends_with("GET /last 200\n"), "nothing is lost when the log is closed");
    }

    #[test]
    fn a_rotation_loses_no_line() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        let mut log = open(&path);
        record(&mut log, "/before");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen().unwrap();
        record(&mut log, "/after");
        log.flush();
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("GET /before 200\n", "GET /after 200\n"));
    }

    #[test]
    fn a_full_disk_drops_lines_and_is_noted() {
        let mut log = open(Path::new("/dev/full"));
        record(&mut log, "/");
        log.flush();
        assert!(log.failing && log.buffer.is_empty());
        record(&mut log, "/");
        log.flush();
        assert!(log.failing);
    }

    #[test]
    fn off_is_none_and_a_bad_format_says_so() {
        assert!(AccessLog::open(&settings(Sink::Off)).unwrap().is_none());
        let bad = config::Log { access_format: "%(R)s".to_owned(), ..settings(Sink::Standard) };
        let error = AccessLog::open(&bad).unwrap_err().to_string();
        assert_eq!(error, "log.access_format: %(R)s is not an atom: did you mean %(r)s?");
    }
}
