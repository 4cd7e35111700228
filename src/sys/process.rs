//! Processes: fork, parenthood, waiting and the ways to end.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getppid};

use super::signals;

/// Which side of a fork the caller is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that forked; holds the child's process id.
    Parent(i32),
    /// The new process.
    Child,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "was killed by signal {number} ({})", signal.as_str()),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

/// Forks. The child starts with every signal at its default disposition (`SIGPIPE` ignored), so that no handler of the
/// parent can run in it. Only for a process with one thread: the child may then allocate and take locks.
///
/// # Errors
/// `EAGAIN` or `ENOMEM`: no process can be made now.
pub fn fork() -> io::Result<Fork> {
    let mask = signals::block_all()?;
    // SAFETY: the caller has one thread (the documented condition), so no lock is held by a thread that the child lacks.
    let forked = unsafe { nix::unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            signals::reset_dispositions();
            if signals::unblock_all().is_err() {
                // The child must never go on as if it were the parent.
                exit_now(1);
            }
            Ok(Fork::Child)
        }
        Ok(ForkResult::Parent { child }) => {
            signals::restore(&mask)?;
            Ok(Fork::Parent(child.as_raw()))
        }
        Err(errno) => {
            signals::restore(&mask)?;
            Err(errno.into())
        }
    }
}

/// Makes the kernel kill this process when its parent ends, however it ends. False when the parent is gone already.
#[must_use]
pub fn die_with_parent(parent: i32) -> bool {
    prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid().as_raw() == parent
}

/// Makes this process the parent of orphaned descendants, so that it can reap them.
///
/// # Errors
/// The kernel does not know the call.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Sends a signal. A process that is gone already is no error.
///
/// # Errors
/// Not permitted, or no such signal.
pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    match kill(Pid::from_raw(pid), Signal::try_from(signal)?) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a process with this id exists.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    pid > 0 && !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

/// Takes note of one child that has ended; `None` when there is none. Never blocks.
#[must_use]
pub fn reap() -> Option<(i32, ExitStatus)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid.as_raw(), ExitStatus::Code(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some((pid.as_raw(), ExitStatus::Signal(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return None,
            // A stopped or continued child has not ended.
            Ok(
                WaitStatus::Stopped(..)
                | WaitStatus::Continued(_)
                | WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_),
            )
            | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Ends the process at once: no destructors, no `atexit` handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_in_words() {
        assert_eq!(ExitStatus::Code(1).to_string(), "exited with code 1");
        assert_eq!(ExitStatus::Signal(9).to_string(), "was killed by signal 9 (SIGKILL)");
        assert_eq!(ExitStatus::Signal(40).to_string(), "was killed by signal 40");
    }

    #[test]
    fn a_process_knows_that_it_is_alive() {
        assert!(is_alive(nix::unistd::getpid().as_raw()));
        assert!(!is_alive(0));
        assert!(!is_alive(i32::MAX));
    }
}
