//! rwsgi under a real systemd: the unit files of `systemd/`, as a package installs them, with a site under load.
//!
//! `machine` boots the systemd of this machine in namespaces of its own, so that nothing outside changes; `load` asks the site
//! without a pause; `phases` are what is done to it, one after another on the same machine, since a boot is the dearest part.
//! The programs behind `client`, `harness`, `process` and `tools` are those of the integration tests.
//!
//! It needs root, namespaces and systemd. Where one is missing it is skipped, and says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
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

mod install;
mod load;
mod machine;
mod phases;

use std::io::Write;
use std::time::Instant;

use machine::Machine;

#[test]
fn rwsgi_under_a_real_systemd() {
    if let Some(reason) = machine::obstacle() {
        say(&format!("skipped: rwsgi under a real systemd: {reason}"));
        return;
    }
    let begun = Instant::now();
    let files = install::files();
    let machine = Machine::boot(files);
    say(&format!("booted systemd {} in {:.1} s", machine.version(), begun.elapsed().as_secs_f64()));
    for (name, phase) in phases::ALL {
        let begun = Instant::now();
        phase(&machine);
        say(&format!("{name}: {:.1} s", begun.elapsed().as_secs_f64()));
    }
    drop(machine);
    say(&format!("all of it: {:.1} s", begun.elapsed().as_secs_f64()));
}

/// The test harness keeps what the macros print to itself unless a test fails.
pub(crate) fn say(text: &str) {
    writeln!(std::io::stderr(), "    {text}").ok();
}
