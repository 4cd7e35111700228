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

pub use problems::Problems;
pub use resolved::{
    App, Forwarded, Http, Log, LogFormat, Proxy, ProxyProtocol, Server, Settings, Sink, Target, Trusted,
    User, Workers,
};
pub use sources::{FlagValues, Sources};

#[cfg(test)]
mod tests;
