//! Stacks of all threads, written without the interpreter lock: on a crash, and on a signal (Python's `faulthandler`).
//!
//! `faulthandler` keeps the number of a descriptor and not the file. So the number stays open as long as the application
//! lives; where it leads to is changed in place, which leaves a `faulthandler` alone that the application has set up itself.
//!
//! In a process that the application forks (`multiprocessing`) the numbers lead to standard error: the file tells of this
//! process only.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::unistd::dup3;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

/// Where stacks go to.
#[derive(Debug, Default)]
pub(super) struct CrashLog {
    crashes: Mutex<Option<OwnedFd>>,
    dumps: Mutex<Option<OwnedFd>>,
}

impl CrashLog {
    /// From now on a crash writes to `file`.
    pub(super) fn lead_to(&self, py: Python<'_>, file: &File) -> PyResult<()> {
        let mut crashes = self.crashes.lock().unwrap_or_else(PoisonError::into_inner);
        if !lead(&mut crashes, file)? {
            return Ok(());
        }
        let fd = as_raw(crashes.as_ref());
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "file"), fd)?;
        arguments.set_item(intern!(py, "all_threads"), true)?;
        faulthandler(py)?.call_method(intern!(py, "enable"), (), Some(&arguments))?;
        lead_to_standard_error_in_forks(py, fd)
    }

    /// From now on `signal` writes to `file`.
    pub(super) fn dump_on(&self, py: Python<'_>, signal: i32, file: &File) -> PyResult<()> {
        let mut dumps = self.dumps.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = lead(&mut dumps, file)?;
        let fd = as_raw(dumps.as_ref());
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "file"), fd)?;
        arguments.set_item(intern!(py, "all_threads"), true)?;
        arguments.set_item(intern!(py, "chain"), false)?;
        faulthandler(py)?.call_method(intern!(py, "register"), (signal,), Some(&arguments))?;
        if is_new { lead_to_standard_error_in_forks(py, fd) } else { Ok(()) }
    }
}

fn faulthandler(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "faulthandler"))
}

/// Makes `place` lead to `file`, in place if it leads somewhere already. True when it did not.
fn lead(place: &mut Option<OwnedFd>, file: &File) -> io::Result<bool> {
    if let Some(fd) = place {
        dup3(file, fd, OFlag::O_CLOEXEC)?;
        return Ok(false);
    }
    *place = Some(file.try_clone()?.into());
    Ok(true)
}

fn as_raw(fd: Option<&OwnedFd>) -> i32 {
    fd.map_or(-1, AsRawFd::as_raw_fd)
}

/// `os.register_at_fork(after_in_child=lambda: os.dup2(2, fd, False))`, without the compiler or `functools`: every start waits.
fn lead_to_standard_error_in_forks(py: Python<'_>, fd: i32) -> PyResult<()> {
    let os = py.import(intern!(py, "os"))?;
    let dup2 = os.getattr(intern!(py, "dup2"))?.unbind();
    let redirect = PyCFunction::new_closure(py, None, None, move |arguments, _| {
        dup2.call1(arguments.py(), (2, fd, false)).map(drop)
    })?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "after_in_child"), redirect)?;
    os.call_method(intern!(py, "register_at_fork"), (), Some(&arguments))?;
    Ok(())
}
