//! Settings: one table that defines each of them, the sources (file < environment < command line) with the origin
//! of every value, validation that reports everything wrong at once, and what is rendered from the table.

mod bind;
mod checks;
mod duration;
mod file;
mod nearest;
mod places;
mod problems;
pub mod render;
mod resolve;
pub mod resolved;
mod size;
mod sources;
pub mod table;
mod target;
mod values;
mod written;

pub(crate) use bind::parse as parse_bind;
pub use problems::Problems;
pub use resolved::{
    App, CheckTarget, Forwarded, Hook, Hooks, Http, Jitter, Log, LogFormat, Preload, Proxy, ProxyProtocol,
    Reload, Server, Settings, Sink, Target, Trusted, User, Workers,
};
pub use sources::{FlagValues, Sources};

#[cfg(test)]
impl Settings {
    /// The defaults, for an application that is not there.
    pub(crate) fn for_tests() -> Self {
        let target = table::SETTINGS.iter().find(|s| (s.section, s.key) == ("app", "target")).unwrap();
        let flags = vec![FlagValues { setting: target, values: vec!["app:application".to_owned()] }];
        Sources::new(None, [], flags, std::env::temp_dir(), false).load().unwrap()
    }
}

#[cfg(test)]
mod tests;
