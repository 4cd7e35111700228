//! Descriptors that were not opened by a Rust object: inherited ones, and those that a forked child gives up.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

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
