//! Descriptors that were not opened by a Rust object: inherited ones, and those that a forked child gives up.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Descriptors that a process forked from this one does not get; -1 where there is none. More listeners than this are
/// left open in it.
static WITHHELD: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

/// Set while this program forks a process of its own, which gets them all the same.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Has this descriptor closed in every process that anybody forks from this one (`pthread_atfork(3)`), until
/// [`grant_to_forks`]. Close-on-exec does not cover a fork without `exec`, as in Python's `multiprocessing`: such a child
/// would hold a listener open beyond the end of the server.
pub fn withhold_from_forks(fd: RawFd) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the handler is async-signal-safe and lives as long as the program.
        let error = unsafe { libc::pthread_atfork(None, None, Some(close_withheld)) };
        if error != 0 {
            log::warn!("processes that the application forks will hold the listeners open: error {error}");
        }
    });
    // A process that was forked with `keep_in_forks` has it in its table already.
    if WITHHELD.iter().all(|place| place.load(Ordering::Relaxed) != fd) {
        exchange(-1, fd);
    }
}

/// Ends [`withhold_from_forks`]; to be called before the descriptor is closed, since its number may be used again.
pub fn grant_to_forks(fd: RawFd) {
    exchange(fd, -1);
}

/// Whether a process that is forked now gets the withheld descriptors. Only while no other thread can fork.
pub(super) fn keep_in_forks(keep: bool) {
    KEPT.store(keep, Ordering::Relaxed);
}

fn exchange(from: RawFd, to: RawFd) {
    WITHHELD
        .iter()
        .find(|place| place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok());
}

/// Runs in the child of a fork, where only async-signal-safe functions may be called.
extern "C" fn close_withheld() {
    if KEPT.load(Ordering::Relaxed) {
        return;
    }
    for place in &WITHHELD {
        let fd = place.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: the object that owns it is the parent's; the child has no thread that would use it.
            unsafe { libc::close(fd) };
        }
    }
}

/// Takes an inherited descriptor over and makes it close-on-exec. The caller names each descriptor once and owns no
/// object for it.
///
/// # Errors
/// `EBADF`: it is not open.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag; a number that is no descriptor gives EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFD changes a flag of an open descriptor.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open (checked above) and nobody else owns it (the documented condition).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes descriptors whose owners are objects of the parent process. Only in a forked child that never drops those
/// objects.
pub fn close_in_child(descriptors: &[RawFd]) {
    for &fd in descriptors {
        // SAFETY: the owning object is never used or dropped in this process (the documented condition).
        unsafe { libc::close(fd) };
    }
}

/// The descriptors that are open now, in order.
///
/// # Errors
/// `/proc` is not mounted.
pub fn list_open() -> io::Result<Vec<RawFd>> {
    let directory = std::fs::read_dir("/proc/self/fd")?;
    let mut open: Vec<RawFd> =
        directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    open.sort_unstable();
    // The descriptor of the directory itself is closed again.
    // SAFETY: F_GETFD reads a flag; a number that is no descriptor gives EBADF.
    open.retain(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0);
    Ok(open)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_closed_descriptor_is_not_adopted() {
        assert_eq!(adopt(987_654).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn open_descriptors_are_listed() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(list_open().unwrap().contains(&file.as_raw_fd()));
    }
}
