//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").
//!
//! An iterable over a file's blocks; when the application returns it as its response and it wraps a real
//! file, the file is transmitted by `sendfile` instead.

use std::fs::File;
use std::os::fd::BorrowedFd;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

/// How much is read at once when the application suggests nothing; that of the PEP's own example.
const BLOCK_BYTES: isize = 8192;

/// The wrapper that applications get as `environ["wsgi.file_wrapper"]`.
#[pyclass(frozen, module = "rwsgi", name = "FileWrapper")]
#[derive(Debug)]
pub(super) struct FileWrapper {
    filelike: Py<PyAny>,
    block_bytes: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, block_size = BLOCK_BYTES, /))]
    fn new(filelike: Py<PyAny>, block_size: isize) -> Self {
        // The size is a suggestion (PEP 3333); blocks of no bytes would be the end of the file.
        let block_bytes = if block_size == 0 { BLOCK_BYTES } else { block_size };
        Self { filelike, block_bytes }
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.filelike.bind(py).call_method1(intern!(py, "read"), (self.block_bytes,))?;
        // What is no bytes is reported by whoever iterates.
        let is_end = !block.is_truthy()? && block.is_instance_of::<PyBytes>();
        Ok(if is_end { None } else { Some(block) })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(close) = self.filelike.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        Ok(())
    }
}

impl FileWrapper {
    /// The wrapped file, the position it is read from and the bytes from there to its end; `None` if it is no
    /// regular file, or if reading it gives anything but the file's own bytes (`gzip`, text).
    pub(super) fn real_file(&self, py: Python<'_>) -> Option<(File, u64, u64)> {
        let file = self.real_file_or_error(py);
        // A file-like that has no descriptor or position says so with an exception; it is then iterated over.
        file.unwrap_or_default()
    }

    fn real_file_or_error(&self, py: Python<'_>) -> PyResult<Option<(File, u64, u64)>> {
        let filelike = unwrap_temporary(self.filelike.bind(py))?;
        if !reads_descriptor(&filelike)? {
            return Ok(None);
        }
        let descriptor: i32 = filelike.call_method0(intern!(py, "fileno"))?.extract()?;
        // `tell` knows what was already buffered; the descriptor's own position does not.
        let offset: u64 = filelike.call_method0(intern!(py, "tell"))?.extract()?;
        // SAFETY: the Python file object owns the descriptor and is alive; it has just named it.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let file = File::from(borrowed.try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let rest = metadata.len().saturating_sub(offset);
        Ok(metadata.is_file().then_some((file, offset, rest)))
    }
}

/// `tempfile.NamedTemporaryFile` wraps a real file object; anything else is itself.
fn unwrap_temporary<'py>(filelike: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let class = filelike.get_type();
    if class.module()? == "tempfile" && class.name()? == "_TemporaryFileWrapper" {
        return filelike.getattr(intern!(filelike.py(), "file"));
    }
    Ok(filelike.clone())
}

/// True for exactly the classes whose `read` returns the bytes of their descriptor.
fn reads_descriptor(filelike: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = filelike.py();
    let io = py.import(intern!(py, "io"))?;
    let is_exactly = |object: &Bound<'_, PyAny>, name: &str| -> PyResult<bool> {
        Ok(object.get_type().is(io.getattr(name)?.cast::<PyType>()?))
    };
    if is_exactly(filelike, "FileIO")? {
        return Ok(true);
    }
    if is_exactly(filelike, "BufferedReader")? || is_exactly(filelike, "BufferedRandom")? {
        return is_exactly(&filelike.getattr(intern!(py, "raw"))?, "FileIO");
    }
    Ok(false)
}
