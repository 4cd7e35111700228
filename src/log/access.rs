//! The access log of one process: formats entries into a buffer and writes it out when told to.

use std::io;

use crate::config;

use super::format::Entry;

/// The access log. Kept by the reactor; not shared.
#[derive(Debug)]
pub struct AccessLog;

impl AccessLog {
    /// Opens it as `[log]` says; `None` when it is off.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(settings: &config::Log) -> io::Result<Option<Self>> {
        let _ = settings;
        todo!()
    }

    /// Whether the exchange for this path is logged at all (`log.access_exclude`).
    #[must_use]
    pub fn wants(&self, path: &[u8]) -> bool {
        let _ = path;
        todo!()
    }

    /// Adds an entry to the buffer.
    pub fn record(&mut self, entry: &Entry<'_>) {
        let _ = entry;
        todo!()
    }

    /// Writes the buffer out in one call. A write that fails is reported once in the error log, the lines are dropped.
    pub fn flush(&mut self) {
        todo!()
    }

    /// Opens the file again (after logrotate moved it).
    ///
    /// # Errors
    /// The file cannot be opened; the old one stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        todo!()
    }
}
