//! Settings: one table that defines each of them, the sources (file < environment < command line) with the origin
//! of every value, validation that reports everything wrong at once, and what is rendered from the table.

pub mod resolved;

pub use resolved::{
    App, Forwarded, Http, Log, LogFormat, Proxy, ProxyProtocol, Server, Settings, Sink, Target, Trusted,
    User, Workers,
};

/// Placeholder.
#[derive(Debug, Clone)]
pub struct Sources;

/// Placeholder.
#[derive(Debug)]
pub struct Problems;

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no source")
    }
}

impl Sources {
    /// Placeholder.
    ///
    /// # Errors
    /// Always.
    pub fn load(&self) -> Result<Settings, Problems> {
        Err(Problems)
    }
}
