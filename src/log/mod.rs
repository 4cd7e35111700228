//! Logs: the error log (`log` records through `env_logger`, with time, level, role, process and generation) and the
//! access log. Both are reopened on request.

pub mod access;
pub mod format;

use crate::config;

/// The role of this process, part of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The master.
    Master,
    /// A worker in a slot.
    Worker(u32),
    /// A command of the command line.
    Command,
}

/// Installs the logger. Called once in a process that is not forked by us.
///
/// # Errors
/// The log file cannot be opened.
pub fn install(settings: &config::Log, role: Role) -> std::io::Result<()> {
    let _ = (settings, role);
    todo!()
}

/// Changes who this process says it is: after a fork, and when the master's generation changes.
pub fn identify(role: Role, generation: u32) {
    let _ = (role, generation);
    todo!()
}

/// Applies a changed level, format or file (a reload).
///
/// # Errors
/// The new file cannot be opened; the old one stays in use.
pub fn reconfigure(settings: &config::Log) -> std::io::Result<()> {
    let _ = settings;
    todo!()
}

/// Opens the error log's file again (after logrotate moved it).
///
/// # Errors
/// The file cannot be opened; the old one stays in use.
pub fn reopen() -> std::io::Result<()> {
    todo!()
}
