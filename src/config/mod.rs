//! Settings: one table that defines each of them, the sources (file < environment < command line) with the origin
//! of every value, validation that reports everything wrong at once, and what is rendered from the table.

pub mod resolved;

pub use resolved::{
    App, Forwarded, Http, Log, LogFormat, Proxy, ProxyProtocol, Server, Settings, Sink, Target, Trusted,
    User, Workers,
};
