//! Socket activation: descriptors passed by the service manager (sd_listen_fds(3)).

use std::env;
use std::os::fd::RawFd;

use crate::sys::environment;

/// The first passed descriptor (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More are not believed: a limit against a broken variable.
const COUNT_MAX: RawFd = 1024;
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The descriptors passed to this process; none when they are meant for another one. The variables are removed, so that no
/// child takes the sockets for its own. Only while the process has one thread.
#[must_use]
pub fn take_passed() -> Vec<RawFd> {
    let [pid, count, _names] = VARIABLES.map(|name| env::var(name).ok());
    environment::remove_variables(&VARIABLES);
    passed(std::process::id(), pid.as_deref(), count.as_deref())
}

fn passed(own_pid: u32, pid: Option<&str>, count: Option<&str>) -> Vec<RawFd> {
    let is_for_us = pid.and_then(|pid| pid.parse().ok()) == Some(own_pid);
    let count: RawFd = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    if is_for_us { (FIRST..FIRST + count.clamp(0, COUNT_MAX)).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptors_for_this_process_are_taken() {
        assert_eq!(passed(7, Some("7"), Some("2")), [3, 4]);
        assert!(passed(7, Some("8"), Some("2")).is_empty());
        assert!(passed(7, None, Some("2")).is_empty());
        assert!(passed(7, Some("7"), None).is_empty());
        assert!(passed(7, Some("7"), Some("-1")).is_empty());
        assert!(passed(7, Some("seven"), Some("x")).is_empty());
        assert_eq!(passed(7, Some("7"), Some("2147483647")).len(), 1024);
    }
}
