//! What is done around every fork of this process, whoever forks it: this program, the application (`os.fork`,
//! `multiprocessing`) or a library (`pthread_atfork(3)`). A file of its own, since locks that must not be held by a thread
//! which the child lacks are taken here.
//!
//! Not called for `vfork` and the raw `clone`: their children run nothing of ours before they become another program or end.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is called on the thread that forks.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Before the fork.
    pub prepare: fn(),
    /// After it, in the process that forked.
    pub parent: fn(),
    /// After it, in the new process.
    pub child: fn(),
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Set by the first fork of this process.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether a process was forked from this one, which may hold descriptors of this one open. True until it is known that
/// forks are noticed.
#[must_use]
pub fn has_forked() -> bool {
    HOOKS.get().is_none() || FORKED.load(Ordering::Relaxed)
}

static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Whether this process was forked since hooks are registered, and is not one of this program's.
pub fn is_copy() -> bool {
    IS_COPY.load(Ordering::Relaxed)
}

/// This process is one of this program's, and not one that the application forks from it.
pub fn become_original() {
    IS_COPY.store(false, Ordering::Relaxed);
}

/// Has `hooks` called around every fork from now on. To be called once; later calls change nothing.
///
/// # Errors
/// Out of memory.
pub fn register(hooks: Hooks) -> io::Result<()> {
    if HOOKS.set(hooks).is_err() {
        return Ok(());
    }
    // SAFETY: the handlers live as long as the program.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

extern "C" fn prepare() {
    FORKED.store(true, Ordering::Relaxed);
    if let Some(hooks) = HOOKS.get() {
        (hooks.prepare)();
    }
}

extern "C" fn parent() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.parent)();
    }
}

extern "C" fn child() {
    FORKED.store(false, Ordering::Relaxed);
    IS_COPY.store(true, Ordering::Relaxed);
    if let Some(hooks) = HOOKS.get() {
        (hooks.child)();
    }
}
