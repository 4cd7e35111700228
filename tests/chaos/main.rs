//! The chaos suite: whatever happens to a server under load, no request may fail that need not.
//!
//! `load` asks without a pause and checks every answer; `site` runs a server that is asked; `verdict` says which failures are
//! anybody's fault. The other modules do something terrible each. The programs behind `harness`, `client`, `process` and
//! `tools` are those of the integration tests.
//!
//! Two scales: short, which is a part of `cargo test`, and `RWSGI_CHAOS=full` (`make chaos`), which does everything as often
//! as wanted of a release. `RWSGI_CHAOS_SEED` repeats the choices of a run; each run prints its seed.
//!
//! There are no sleeps here: tests wait for log records, answers, and the end of processes, each with a deadline.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking and explains itself on standard error"
)]

#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../integration/client.rs"]
mod client;
#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../integration/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../integration/process.rs"]
mod process;
#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../integration/tools.rs"]
mod tools;

mod load;
mod site;
mod verdict;

mod kills;
mod master_killed;
mod recycling;
mod reloads;
mod shortages;
mod stuck;
mod upgrades;
