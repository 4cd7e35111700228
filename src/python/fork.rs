//! Forking the process with the interpreter in it (CPython "Operating System Utilities": `PyOS_BeforeFork` and its kin), and
//! getting its memory ready to be shared.

use std::io;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::{Python, ffi};

use crate::sys::process::Fork;

/// Calls `fork` as `os.fork()` would: with the import lock held, and with the functions of `os.register_at_fork` around.
pub(super) fn fork(_py: Python<'_>, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork> {
    // SAFETY: this thread is attached.
    unsafe { ffi::PyOS_BeforeFork() };
    let forked = fork();
    match forked {
        // SAFETY: this thread is the only one of the child, and was attached when it was forked.
        Ok(Fork::Child) => unsafe { ffi::PyOS_AfterFork_Child() },
        // SAFETY: this thread is attached, and called the function that goes before.
        Ok(Fork::Parent(_)) | Err(_) => unsafe { ffi::PyOS_AfterFork_Parent() },
    }
    forked
}

/// Flushes the standard streams, so that no child writes what is in them again. Collects what is garbage; what is left is
/// never looked at by the collector again, which would write to its memory.
pub(super) fn freeze(py: Python<'_>) -> PyResult<()> {
    let sys = py.import(intern!(py, "sys"))?;
    for name in [intern!(py, "stdout"), intern!(py, "stderr")] {
        let stream = sys.getattr(name)?;
        if !stream.is_none() {
            stream.call_method0(intern!(py, "flush"))?;
        }
    }
    let gc = py.import(intern!(py, "gc"))?;
    if may_have_garbage(&gc)? {
        gc.call_method0(intern!(py, "collect"))?;
    }
    gc.call_method0(intern!(py, "freeze"))?;
    Ok(())
}

/// Whether more was made than the collector has looked through as it was made: it has come to its second generation. A
/// collection of a small application's few thousand objects finds nothing, and every start waits for it.
fn may_have_garbage(gc: &Bound<'_, PyModule>) -> PyResult<bool> {
    let generations = gc.call_method0(intern!(gc.py(), "get_stats"))?;
    let second = generations.get_item(1)?.get_item(intern!(gc.py(), "collections"))?;
    Ok(second.extract::<u64>()? > 0)
}

/// `threading.enumerate()`: kernel ids and names.
pub(super) fn thread_names(py: Python<'_>) -> PyResult<Vec<(i32, String)>> {
    let mut names = Vec::new();
    let Some(threading) = threading(py)? else { return Ok(names) };
    let threads = threading.call_method0(intern!(py, "enumerate"))?;
    for thread in threads.try_iter()? {
        let thread = thread?;
        // None for a thread that has not begun to run.
        if let Some(id) = thread.getattr(intern!(py, "native_id"))?.extract()? {
            names.push((id, thread.getattr(intern!(py, "name"))?.extract()?));
        }
    }
    Ok(names)
}

/// The module `threading`, if somebody has imported it.
pub(super) fn threading(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let threading = modules.call_method1(intern!(py, "get"), (intern!(py, "threading"),))?;
    Ok(Some(threading).filter(|threading| !threading.is_none()))
}
