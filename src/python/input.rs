//! `wsgi.input`: the request's body as a file (PEP 3333, "Input and Error Streams").
//!
//! Nothing is read past the end of the body. Reads of a file or of a body that is still arriving give up
//! the interpreter lock.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pyo3::exceptions::{PyConnectionResetError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList};

use crate::app::{Body, BodyStream};

/// How much of a file is read at once when a line is looked for.
const PIECE_BYTES: usize = 64 * 1024;

/// The input of one request.
#[pyclass(frozen, module = "rwsgi", name = "Input")]
#[derive(Debug)]
pub(super) struct Input {
    reader: Mutex<Reader>,
    /// There was no body, or it was let go: the reader holds nothing, and need not be looked at to know that.
    is_spent: AtomicBool,
}

#[derive(Debug)]
struct Reader {
    /// Read from the source, but not by the application.
    buffered: Bytes,
    rest: Rest,
}

/// What follows the buffered bytes.
#[derive(Debug)]
enum Rest {
    Nothing,
    File { file: File, remaining: u64 },
    Stream(Box<dyn BodyStream>),
}

impl Input {
    pub(super) fn new(body: Body) -> Self {
        let is_spent = AtomicBool::new(is_empty(&body));
        Self { reader: Mutex::new(Reader::of(body)), is_spent }
    }

    /// The input of another request, after the one before it was released.
    pub(super) fn refill(&self, py: Python<'_>, body: Body) {
        if is_empty(&body) && self.is_spent.load(Ordering::Relaxed) {
            return;
        }
        self.is_spent.store(false, Ordering::Relaxed);
        *self.lock(py) = Reader::of(body);
    }

    /// Lets go of file or stream; what the application did not read is gone.
    pub(super) fn release(&self, py: Python<'_>) {
        if !self.is_spent.load(Ordering::Relaxed) {
            *self.lock(py) = Reader { buffered: Bytes::new(), rest: Rest::Nothing };
            self.is_spent.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Reader> {
        self.reader.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_empty(body: &Body) -> bool {
    matches!(body, Body::Memory(bytes) if bytes.is_empty())
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let mut reader = self.lock(py);
        let data = reader.read(py, limit(size)).map_err(to_python)?;
        Ok(PyBytes::new(py, &data))
    }

    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let mut reader = self.lock(py);
        let line = reader.read_line(py, limit(size)).map_err(to_python)?;
        Ok(PyBytes::new(py, &line))
    }

    /// Lines until the end, or until they have at least `hint` bytes together.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        // As `io.IOBase.readlines` has it, a hint of zero is none.
        let bytes_wanted = limit(hint.filter(|hint| *hint != 0));
        let lines = PyList::empty(py);
        let mut bytes = 0;
        while bytes < bytes_wanted {
            let line = self.readline(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            bytes += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn readable(&self) -> bool {
        true
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.readline(py, None)?;
        Ok(Some(line).filter(|line| !line.as_bytes().is_empty()))
    }
}

/// A size as files have it: none or a negative one means everything.
fn limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}

impl Reader {
    fn of(body: Body) -> Self {
        let (buffered, rest) = match body {
            Body::Memory(bytes) => (bytes, Rest::Nothing),
            Body::Spooled { file, length } => (Bytes::new(), Rest::File { file, remaining: length }),
            Body::Stream(stream) => (Bytes::new(), Rest::Stream(stream)),
        };
        Self { buffered, rest }
    }

    fn read(&mut self, py: Python<'_>, bytes_max: usize) -> io::Result<Bytes> {
        let first = self.buffered.split_to(bytes_max.min(self.buffered.len()));
        if first.len() == bytes_max || matches!(self.rest, Rest::Nothing) {
            return Ok(first);
        }
        let mut data = Vec::from(first);
        while data.len() < bytes_max {
            match self.rest.piece(py, bytes_max - data.len()) {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => data.extend_from_slice(&piece),
                Err(error) => {
                    // What was read stays readable.
                    self.buffered = Bytes::from(data);
                    return Err(error);
                }
            }
        }
        Ok(Bytes::from(data))
    }

    fn read_line(&mut self, py: Python<'_>, bytes_max: usize) -> io::Result<Bytes> {
        if let Some(length) = line_length(&self.buffered, bytes_max) {
            return Ok(self.buffered.split_to(length));
        }
        let mut line = Vec::from(std::mem::take(&mut self.buffered));
        loop {
            match self.rest.piece(py, PIECE_BYTES) {
                Ok(piece) if piece.is_empty() => return Ok(line.into()),
                Ok(mut piece) => {
                    let length = line_length(&piece, bytes_max - line.len());
                    line.extend_from_slice(&piece.split_to(length.unwrap_or(piece.len())));
                    if length.is_some() {
                        self.buffered = piece;
                        return Ok(line.into());
                    }
                }
                Err(error) => {
                    self.buffered = line.into();
                    return Err(error);
                }
            }
        }
    }
}

/// Length of the line that `bytes` begins with, at most `bytes_max`; `None` if more bytes are needed to tell.
fn line_length(bytes: &[u8], bytes_max: usize) -> Option<usize> {
    let searched = &bytes[..bytes_max.min(bytes.len())];
    match memchr::memchr(b'\n', searched) {
        Some(end) => Some(end + 1),
        None => (searched.len() == bytes_max).then_some(bytes_max),
    }
}

impl Rest {
    /// The next bytes, at most `bytes_max`; empty at the end.
    fn piece(&mut self, py: Python<'_>, bytes_max: usize) -> io::Result<Bytes> {
        match self {
            Self::Nothing => Ok(Bytes::new()),
            Self::Stream(stream) => py.detach(|| stream.read(bytes_max)),
            Self::File { file, remaining } => {
                let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX).min(bytes_max);
                let mut data = vec![0; wanted];
                py.detach(|| file.read_exact(&mut data))?;
                *remaining -= wanted as u64;
                Ok(data.into())
            }
        }
    }
}

/// The exception that says whose fault it was.
fn to_python(error: io::Error) -> PyErr {
    #[allow(clippy::wildcard_enum_match_arm, reason = "ErrorKind is not ours")]
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            PyConnectionResetError::new_err("the client went away before it had sent the whole body")
        }
        io::ErrorKind::TimedOut => {
            PyTimeoutError::new_err("the client did not go on sending the body (http.body_timeout)")
        }
        io::ErrorKind::InvalidData => PyOSError::new_err(format!("the body is malformed: {error}")),
        _ => error.into(),
    }
}
