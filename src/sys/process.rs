//! Processes: fork, parenthood, waiting and the ways to end.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getppid, pipe2};

use super::{descriptors, signals};

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
/// parent can run in it. Only for a process with one thread, apart from such whose locks [`at_fork`](super::at_fork) takes:
/// the child may then allocate and take locks.
///
/// # Errors
/// `EAGAIN` or `ENOMEM`: no process can be made now.
pub fn fork() -> io::Result<Fork> {
    let mask = signals::block_all()?;
    // SAFETY: no lock is held by a thread that the child lacks (the documented condition).
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

/// Forks a process whose parent is not this one but the nearest subreaper above it ([`become_subreaper`]): a process
/// between the two forks it and exits. The order is strict: `announce` is called with the new process's id when it has its
/// parent, and the new process goes on only after that. If this process ends, or `announce` fails, it never does.
///
/// The child keeps the signal mask and the handlers that are in force here, and the descriptors that are withheld from
/// other forks ([`descriptors::withhold_from_forks`]). Only the calling thread exists in it.
///
/// # Errors
/// `EAGAIN` or `ENOMEM`: no process can be made now. Out of descriptors. Those of `announce`.
pub fn fork_orphan(announce: &mut dyn FnMut(i32) -> io::Result<()>) -> io::Result<Fork> {
    let (born, birth) = pipe()?;
    let (gate, opener) = pipe()?;
    let mask = signals::block_all()?;
    descriptors::keep_in_forks(true);
    // SAFETY: what the child calls before it ends or goes on is async-signal-safe; who goes on is told in the documentation
    // that it has one thread.
    let forked = unsafe { nix::unistd::fork() };
    let result = match forked {
        Ok(ForkResult::Child) => {
            drop((born, opener));
            be_between(birth);
            wait_for_gate(gate);
            Ok(Fork::Child)
        }
        Ok(ForkResult::Parent { child }) => {
            drop((birth, gate));
            settle_orphan(child, born, opener, announce)
        }
        Err(errno) => Err(errno.into()),
    };
    descriptors::keep_in_forks(false);
    signals::restore(&mask)?;
    result
}

/// In the process between: forks, tells the new process's id (or minus the error number) and ends. Returns in the new
/// process.
fn be_between(mut birth: File) {
    // SAFETY: as in `fork_orphan`.
    let told = match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => return,
        Ok(ForkResult::Parent { child }) => child.as_raw(),
        Err(errno) => -(errno as i32),
    };
    // If it cannot be written, the pipe ends, which tells of it too.
    let is_told = birth.write_all(&told.to_ne_bytes()).is_ok();
    exit_now(i32::from(!is_told))
}

/// A byte: go on. The end of the pipe without one: nobody knows of this process.
fn wait_for_gate(mut gate: File) {
    if gate.read_exact(&mut [0]).is_err() {
        exit_now(1);
    }
}

fn settle_orphan(
    between: Pid,
    mut born: File,
    mut opener: File,
    announce: &mut dyn FnMut(i32) -> io::Result<()>,
) -> io::Result<Fork> {
    let mut told = [0; 4];
    let read = born.read_exact(&mut told);
    // Only when it has ended has the new process its parent. The application may have had its children reaped (ECHILD).
    while waitpid(between, None) == Err(Errno::EINTR) {}
    read?;
    let pid = i32::from_ne_bytes(told);
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid));
    }
    announce(pid)?;
    // One that has been killed already is its parent's to notice.
    opener.write_all(&[0]).ok();
    Ok(Fork::Parent(pid))
}

/// Read end and write end, close-on-exec.
fn pipe() -> io::Result<(File, File)> {
    let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// Starts a program that gets `passed` under the numbers that they have here, and no other descriptor that is close-on-exec.
/// Returns its process id; [`reap`] tells its end.
///
/// # Errors
/// It cannot be run.
pub fn start_program(mut command: Command, passed: &[BorrowedFd<'_>]) -> io::Result<i32> {
    let numbers: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    let keep = move || {
        for &fd in &numbers {
            // SAFETY: F_SETFD changes a flag of the child's copy of a descriptor that is open (borrowed during the call).
            if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it only calls fcntl, which is async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(keep) };
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
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

#[cfg(profiled)]
// SAFETY: declared as in LLVM's `InstrProfiling.h`.
unsafe extern "C" {
    fn __llvm_profile_write_file() -> libc::c_int;
}

static BEFORE_EXIT: OnceLock<fn()> = OnceLock::new();

/// Has `hook` called by [`exit_now`]. It must come to an end soon, whatever state the process is in. To be called once.
pub fn before_exit(hook: fn()) {
    BEFORE_EXIT.get_or_init(|| hook);
}

/// Ends the process at once, after the hook of [`before_exit`]: no destructors, no `atexit` handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    if let Some(hook) = BEFORE_EXIT.get() {
        hook();
    }
    // Nothing else writes what was counted, where `atexit` handlers are not run (`scripts/profile`).
    #[cfg(profiled)]
    // SAFETY: the function of the compiler's runtime has no preconditions.
    unsafe {
        __llvm_profile_write_file()
    };
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

    /// The master is told first; when it cannot be, nobody would know of the new process.
    #[test]
    fn an_orphan_that_cannot_be_announced_never_goes_on() {
        let (mut goes_on, mut tells) = pipe().unwrap();
        let mut announced = 0;
        let mut refuse = |pid| {
            announced = pid;
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        };
        match fork_orphan(&mut refuse) {
            Ok(_) => {
                tells.write_all(&[1]).ok();
                exit_now(0);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
        }
        assert!(announced > 0);
        drop(tells);
        // The end of the pipe: the new process is gone.
        assert_eq!(goes_on.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_process_knows_that_it_is_alive() {
        assert!(is_alive(nix::unistd::getpid().as_raw()));
        assert!(!is_alive(0));
        assert!(!is_alive(i32::MAX));
    }
}
