//! Signal masks and dispositions around a fork, and the signal handlers of a worker and of a template.
//!
//! A worker's handlers only write the signal's number into a pipe (`write` is async-signal-safe, POSIX.1-2024 §2.4.3);
//! what a signal means is decided by whoever reads the pipe.
//!
//! A process that the application forks (`os.fork`, `multiprocessing`) inherits handlers and pipe. In it the handlers
//! restore the default and send the signal again, so that `Process.terminate()` ends the child and not the worker.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::pipe2;

/// Write end of the pipe of [`install_worker_handlers`]; -1 before it is called.
static WORKER_PIPE: AtomicI32 = AtomicI32::new(-1);

/// The worker or template itself, as opposed to processes that the application forks from it.
static WORKER_PID: AtomicI32 = AtomicI32::new(-1);

/// Signals that a worker's pipe reports.
const REPORTED: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// Signals that are meant for the master and do nothing in a worker or template.
const IGNORED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGTTIN, Signal::SIGTTOU];

/// Installs the handlers of a worker and returns the read end of their pipe, non-blocking and close-on-exec: one byte, the
/// signal's number, for every `TERM`, `INT` and `QUIT`. The signals of the master get a handler that does nothing (an ignored
/// disposition would be inherited by programs that the application runs), `SIGPIPE` is ignored, `SIGCHLD` stays at its
/// default. To be called once, after the fork.
///
/// # Errors
/// Out of descriptors.
pub fn install_worker_handlers() -> io::Result<OwnedFd> {
    let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    WORKER_PIPE.store(write.into_raw_fd(), Ordering::Relaxed);
    WORKER_PID.store(nix::unistd::getpid().as_raw(), Ordering::Relaxed);
    for signal in REPORTED {
        install(signal, SigHandler::Handler(report))?;
    }
    for signal in IGNORED {
        install(signal, SigHandler::Handler(do_nothing))?;
    }
    install(Signal::SIGPIPE, SigHandler::SigIgn)?;
    install(Signal::SIGCHLD, SigHandler::SigDfl)?;
    Ok(read)
}

/// Makes a call that may fail with `EPIPE` so that it raises no SIGPIPE, whatever the application has set that to. For calls
/// that have no `MSG_NOSIGNAL`; and only around them, since programs that the application runs inherit the mask. A call that has
/// done a part of its work before the client left tells of that part, and has raised the signal all the same.
///
/// # Errors
/// Those of the call.
pub fn without_sigpipe<T>(call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let result = call();
    if !before.contains(Signal::SIGPIPE) {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: reads a set and a time that live as long as the call, and is given no place for what it took.
        unsafe { libc::sigtimedwait(pipe.as_ref(), std::ptr::null_mut(), &raw const at_once) };
        before.thread_set_mask()?;
    }
    result
}

/// Installs the handlers of a template: the signals of a worker and of the master do nothing, since the master ends a
/// template by closing its channel. To be called once, after the fork.
///
/// # Errors
/// None that a signal which exists can give.
pub fn install_template_handlers() -> io::Result<()> {
    WORKER_PID.store(nix::unistd::getpid().as_raw(), Ordering::Relaxed);
    for signal in REPORTED.into_iter().chain(IGNORED) {
        install(signal, SigHandler::Handler(do_nothing))?;
    }
    install(Signal::SIGPIPE, SigHandler::SigIgn)?;
    install(Signal::SIGCHLD, SigHandler::SigDfl)
}

fn install(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: both handlers of this file call nothing but async-signal-safe functions.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn report(signal: libc::c_int) {
    if is_forked_child() {
        return take_default(signal);
    }
    let errno = nix::errno::Errno::last_raw();
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: one readable byte; `write` is async-signal-safe. A full pipe holds enough signals already.
    unsafe { libc::write(WORKER_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn do_nothing(signal: libc::c_int) {
    if is_forked_child() {
        take_default(signal);
    }
}

fn is_forked_child() -> bool {
    nix::unistd::getpid().as_raw() != WORKER_PID.load(Ordering::Relaxed)
}

/// The signal stays blocked until the handler returns; then the default action takes place.
fn take_default(signal: libc::c_int) {
    // SAFETY: async-signal-safe; the default disposition runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: async-signal-safe.
    unsafe { libc::raise(signal) };
}

/// Blocks every signal; the mask that was in force is returned.
pub(super) fn block_all() -> io::Result<SigSet> {
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut old))?;
    Ok(old)
}

/// Puts a mask back.
pub(super) fn restore(mask: &SigSet) -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)?)
}

/// Blocks no signal.
pub(super) fn unblock_all() -> io::Result<()> {
    restore(&SigSet::empty())
}

/// Sets every signal to its default disposition, except `SIGPIPE`, which is ignored.
pub(super) fn reset_dispositions() {
    for number in 1..=libc::SIGRTMAX() {
        let disposition = if number == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: no handler is installed. It fails for SIGKILL, SIGSTOP and the C library's own, which is as it should be.
        unsafe { libc::signal(number, disposition) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI32;

    use nix::errno::Errno;
    use nix::sys::signal::raise;
    use nix::unistd::gettid;

    use super::*;

    /// The thread that a SIGPIPE has reached.
    static REACHED: AtomicI32 = AtomicI32::new(0);

    extern "C" fn note(_signal: libc::c_int) {
        REACHED.store(gettid().as_raw(), Ordering::Relaxed);
    }

    #[test]
    fn a_broken_pipe_raises_nothing_whether_the_call_fails_or_has_done_a_part() {
        let is_reached = || REACHED.swap(0, Ordering::Relaxed) == gettid().as_raw();
        install(Signal::SIGPIPE, SigHandler::Handler(note)).unwrap();
        for result in [Ok(1), Err(Errno::EPIPE)] {
            let told = without_sigpipe(|| raise(Signal::SIGPIPE).and(result));
            assert!(told == result && !is_reached(), "{result:?}");
        }
        raise(Signal::SIGPIPE).unwrap();
        assert!(is_reached());
        install(Signal::SIGPIPE, SigHandler::SigIgn).unwrap();
    }
}
