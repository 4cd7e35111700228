//! The stacks of all threads of this process, had by a signal whose handler writes them to a file, without a thread
//! stopping for it.
//!
//! The signal is not sent to the process but to a frozen copy of it: a child that runs nothing but the handler. Memory
//! that the handler reads cannot change under it, and should it fail or hang, the copy fails and not the process.
//!
//! The child is made by the raw system call: no atfork handler runs, which could wait for a lock of a thread that is
//! stuck. It has no exit signal, so that the application neither gets `SIGCHLD` for it nor reaps it with `wait()`
//! (clone(2), "The child termination signal").

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::exit_now;

/// The child may take so long, in seconds. A kernel that is short of memory may take its time to copy pages.
const TIMEOUT_SECONDS: u32 = 2;

/// The signals of a crash.
const FATAL: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// What is read of the stacks at most, in bytes.
const STACKS_BYTES_MAX: usize = 256 * 1024;

/// The file and the signal.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    signal: i32,
}

impl Snapshot {
    /// A file in memory, and a real-time signal that applications are unlikely to use.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> io::Result<Self> {
        let file = memfd_create(c"rwsgi-stacks", MFdFlags::MFD_CLOEXEC)?.into();
        Ok(Self { file, signal: libc::SIGRTMAX() - 3 })
    }

    /// Where the handler is to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The signal that the handler is for.
    #[must_use]
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// What the handler writes about this moment. Blocks for as long as the child takes, two seconds at most.
    ///
    /// # Errors
    /// No process can be made now, or the child has written nothing.
    pub fn take(&mut self) -> io::Result<String> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        // As wide as a register: the kernel takes the whole of it.
        let none: libc::c_long = 0;
        let (flags, stack) = (none, none);
        // SAFETY: the child shares no memory with us, and calls nothing but what is async-signal-safe before it ends.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, stack, none, none, none) };
        if pid == 0 {
            be_copy(self.signal);
        }
        let pid = Pid::from_raw(i32::try_from(Errno::result(pid)?).map_err(io::Error::other)?);
        while waitpid(pid, Some(WaitPidFlag::__WALL)) == Err(Errno::EINTR) {}
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(STACKS_BYTES_MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was written"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The child: gets the signal, and ends.
fn be_copy(signal: i32) -> ! {
    // SAFETY: async-signal-safe; a handler of the application must not run.
    unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
    for fatal in FATAL {
        // The crash log is about the process, and a core file of a copy would mislead.
        // SAFETY: async-signal-safe, as the handler is.
        unsafe { libc::signal(fatal, give_up as *const () as libc::sighandler_t) };
    }
    // SAFETY: async-signal-safe; the default action of SIGALRM ends the process.
    unsafe { libc::alarm(TIMEOUT_SECONDS) };
    let mut wanted = nix::sys::signal::SigSet::empty().as_ref().to_owned();
    for number in [signal, libc::SIGALRM] {
        // SAFETY: a valid set; async-signal-safe.
        unsafe { libc::sigaddset(&raw mut wanted, number) };
    }
    // SAFETY: a valid set; a copy of a thread has that thread's mask.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const wanted, std::ptr::null_mut()) };
    // The C library believes that this is still the thread that was copied: only the kernel knows its ids.
    // SAFETY: no preconditions.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) };
    // SAFETY: no preconditions.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    // SAFETY: the signal goes to this thread, and its handler is async-signal-safe.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    exit_now(0)
}

/// A crash of the copy: what is written by then is what there is.
extern "C" fn give_up(_: libc::c_int) {
    exit_now(1);
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::*;

    static FILE: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn tell(_: libc::c_int) {
        let text = b"Thread 0x1\n";
        // SAFETY: readable bytes; async-signal-safe.
        unsafe { libc::write(FILE.load(Ordering::Relaxed), text.as_ptr().cast(), text.len()) };
    }

    extern "C" fn hang(_: libc::c_int) {
        loop {
            std::hint::spin_loop();
        }
    }

    extern "C" fn tell_and_crash(number: libc::c_int) {
        tell(number);
        // SAFETY: ends the process, which is a copy.
        unsafe { libc::abort() };
    }

    extern "C" fn tell_of_a_crash(_: libc::c_int) {
        tell(0);
        exit_now(0);
    }

    fn handle(snapshot: &Snapshot, handler: extern "C" fn(libc::c_int)) {
        // SAFETY: the handlers of this test are async-signal-safe.
        unsafe { libc::signal(snapshot.signal, handler as *const () as libc::sighandler_t) };
    }

    #[test]
    fn the_handler_runs_in_a_copy_each_time_anew_and_a_copy_that_hangs_ends() {
        let mut snapshot = Snapshot::new().unwrap();
        snapshot.signal -= 1;
        FILE.store(snapshot.file().as_raw_fd(), Ordering::Relaxed);
        handle(&snapshot, tell);
        assert_eq!(snapshot.take().unwrap(), "Thread 0x1\n");
        assert_eq!(snapshot.take().unwrap(), "Thread 0x1\n");
        handle(&snapshot, hang);
        assert!(snapshot.take().is_err());
        // What handles a crash of the process does not hear of one of the copy.
        handle(&snapshot, tell_and_crash);
        // SAFETY: the handler is async-signal-safe.
        let before =
            unsafe { libc::signal(libc::SIGABRT, tell_of_a_crash as *const () as libc::sighandler_t) };
        assert_eq!(snapshot.take().unwrap(), "Thread 0x1\n");
        // SAFETY: what was there before.
        unsafe { libc::signal(libc::SIGABRT, before) };
    }
}
