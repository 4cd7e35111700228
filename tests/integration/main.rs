//! The integration tests: they run the real `rwsgi` on real applications, over real sockets.
//!
//! `harness` starts servers and watches their logs, `client` speaks HTTP to them, `tools` runs the other
//! programs (nginx, wrk) and finds the virtual environment. The other modules are tests, one subject each.
//! `make test` installs what they need; a test that misses a program fails and says so.
//!
//! There are no sleeps here: tests wait for a log record, a response or the end of a process, each with a deadline.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and explains itself on standard error"
)]

mod client;
mod harness;
mod process;
#[path = "../corpus/reader.rs"]
mod reader;
mod terminal;
mod tools;

mod check;
mod check_warnings;
mod children;
mod concurrency;
mod container;
mod corpus;
mod crash;
mod ctl;
mod disk_full;
mod django;
mod environment;
mod frameworks;
mod hostile;
mod http;
mod log_pressure;
mod logs;
mod manual;
mod metrics;
mod nginx;
mod nginx_config;
mod pep3333;
mod proxy;
mod real_clients;
mod rebind;
mod reload;
mod response_rules;
mod responses;
mod signals;
mod sockets;
mod startup_errors;
mod streaming;
mod timeouts;
mod top;
mod tutorials;
mod upgrade;
