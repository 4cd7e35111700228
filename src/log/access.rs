//! The access log of one process: which requests are logged, and the way of their lines into the log's lane.

use std::io;

use crate::config;

use super::format::{AccessFormat, Entry};
use super::lane::{Kind, Lane, Notice};
use super::output::{Output, Standard};

/// The access log. Kept by the reactor; not shared.
#[derive(Debug)]
pub struct AccessLog {
    format: AccessFormat,
    exclude: Vec<Exclude>,
    lane: &'static Lane,
}

#[derive(Debug)]
enum Exclude {
    Path(Vec<u8>),
    /// Everything below; ends in a slash.
    Below(Vec<u8>),
}

impl AccessLog {
    /// Opens it as `[log]` says; `None` when it is off. A process opens it once, after the fork that made it.
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
        let lane = Lane::new(Kind::Lines, output, Box::new(tell));
        lane.write_from_thread(true);
        Ok(Some(Self { format, exclude, lane }))
    }

    /// Whether the exchange for this path is logged at all (`log.access_exclude`).
    #[must_use]
    pub fn wants(&self, path: &[u8]) -> bool {
        !self.exclude.iter().any(|exclude| match exclude {
            Exclude::Path(excluded) => path == excluded,
            Exclude::Below(prefix) => path.starts_with(prefix),
        })
    }

    /// Logs an entry. It is written a little later, by a thread; this does not wait for it.
    pub fn record(&self, entry: &Entry<'_>) {
        self.lane.push(|buffer| self.format.write(entry, buffer));
    }

    /// Opens the file again (after logrotate moved it), behind what is logged already.
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use. When a thread writes, the error log tells of it instead.
    pub fn reopen(&self) -> io::Result<()> {
        self.lane.reopen()
    }
}

/// Nothing that is no access line can go into the log itself, so the error log tells of its troubles.
fn tell(notice: &Notice) -> Vec<u8> {
    match notice {
        Notice::Failing(error) => {
            log::error!("cannot write the access log: {error}; its lines are dropped until it can be written")
        }
        Notice::Full => log::error!(
            "cannot write the access log: its disk or its reader is too slow, and 1 MiB of lines waits already; \
             what does not fit is dropped"
        ),
        Notice::Dropped(lines) => {
            let lines = if *lines == 1 { "1 line was".to_owned() } else { format!("{lines} lines were") };
            log::warn!("the access log can be written again: {lines} dropped");
        }
        Notice::NotReopened(error) => {
            log::error!("the access log cannot be reopened: {error}; the old file stays in use");
        }
    }
    Vec::new()
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

    fn record(log: &AccessLog, target: &str) {
        log.record(&Entry {
            remote_address: None,
            user: "",
            time: SystemTime::UNIX_EPOCH,
            method: b"GET",
            target: target.as_bytes(),
            protocol: "HTTP/1.1",
            status: 200,
            body_bytes: 0,
            duration: Duration::ZERO,
            queue_wait: None,
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

    fn flush(log: &AccessLog) {
        log.lane.flush(Duration::from_secs(10));
    }

    #[test]
    fn lines_are_written_in_order_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let log = open(&path);
        let mut expected = String::new();
        for number in 0..1000 {
            record(&log, &format!("/{number}"));
            expected.push_str(&format!("GET /{number} 200\n"));
        }
        flush(&log);
        assert_eq!(read(&path), expected);
    }

    #[test]
    fn a_rotation_loses_no_line_and_splits_the_log_where_it_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        let log = open(&path);
        record(&log, "/before");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen().unwrap();
        record(&log, "/after");
        flush(&log);
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("GET /before 200\n", "GET /after 200\n"));
    }

    #[test]
    fn a_full_disk_drops_lines_and_counts_them() {
        let log = open(Path::new("/dev/full"));
        for _ in 0..3 {
            record(&log, "/");
        }
        flush(&log);
        assert_eq!(log.lane.lock().dropped(), 3);
    }

    #[test]
    fn off_is_none_and_a_bad_format_says_so() {
        assert!(AccessLog::open(&settings(Sink::Off)).unwrap().is_none());
        let bad = config::Log { access_format: "%(R)s".to_owned(), ..settings(Sink::Standard) };
        let error = AccessLog::open(&bad).unwrap_err().to_string();
        assert_eq!(error, "log.access_format: %(R)s is not an atom: did you mean %(r)s?");
    }
}
