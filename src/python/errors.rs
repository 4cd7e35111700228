//! `wsgi.errors`: lines that an application writes go to the error log with the id of their request.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::app::RequestId;

use super::gil_cell::GilCell;

/// Longest line kept in memory; what is longer is logged in pieces. As much as a pipe takes at once.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How much room for a line is kept for the next request.
const LINE_BYTES_KEPT: usize = 1024;

/// The stream of one request. Complete lines are logged at once, those of one `write` together, the rest by `flush` or at the
/// end.
#[pyclass(frozen, module = "rwsgi", name = "Errors")]
#[derive(Debug)]
pub(super) struct Errors(GilCell<Stream>);

#[derive(Debug)]
struct Stream {
    id: RequestId,
    line: String,
}

impl Errors {
    pub(super) fn new(id: RequestId) -> Self {
        Self(GilCell::new(Stream { id, line: String::new() }))
    }

    /// From now on the stream of this request; the one before it has been flushed.
    pub(super) fn renew(&self, py: Python<'_>, id: RequestId) {
        self.0.with(py, |stream| {
            stream.id = id;
            stream.line.shrink_to(LINE_BYTES_KEPT);
        });
    }
}

#[pymethods]
impl Errors {
    fn write(&self, text: &Bound<'_, PyString>) -> usize {
        let py = text.py();
        let text = text.to_string_lossy();
        self.0.with(py, |stream| stream.write(&text));
        text.chars().count()
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?);
        }
        Ok(())
    }

    pub(super) fn flush(&self, py: Python<'_>) {
        self.0.with(py, Stream::flush);
    }
}

impl Stream {
    fn write(&mut self, text: &str) {
        let (complete, rest) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
        for piece in complete.split_inclusive('\n') {
            if self.line.len() + piece.len() > LINE_BYTES_MAX && !self.line.is_empty() {
                self.log();
            }
            self.line.push_str(piece);
        }
        if !complete.is_empty() {
            self.log();
        }
        self.line.push_str(rest);
        if self.line.len() > LINE_BYTES_MAX {
            self.log();
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.log();
        }
    }

    fn log(&mut self) {
        log::error!(target: "wsgi.errors", "[{}] {}", self.id, self.line.trim_end_matches(['\r', '\n']));
        self.line.clear();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flush();
    }
}
