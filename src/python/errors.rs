//! `wsgi.errors`: lines that an application writes go to the error log with the id of their request.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::app::RequestId;

/// Longest line kept in memory; what is longer is logged in pieces. As much as a pipe takes at once.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The stream of one request. Complete lines are logged at once, those of one `write` together, the rest by `flush` or at the
/// end.
#[pyclass(frozen, module = "rwsgi", name = "Errors")]
#[derive(Debug)]
pub(super) struct Errors {
    id: RequestId,
    line: Mutex<String>,
}

impl Errors {
    pub(super) fn new(id: RequestId) -> Self {
        Self { id, line: Mutex::new(String::new()) }
    }

    fn log(&self, line: &str) {
        log::error!(target: "wsgi.errors", "[{}] {line}", self.id);
    }
}

#[pymethods]
impl Errors {
    fn write(&self, text: &Bound<'_, PyString>) -> usize {
        let text = text.to_string_lossy();
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let (complete, rest) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
        for piece in complete.split_inclusive('\n') {
            if line.len() + piece.len() > LINE_BYTES_MAX && !line.is_empty() {
                self.log(line.trim_end_matches(['\r', '\n']));
                line.clear();
            }
            line.push_str(piece);
        }
        if !complete.is_empty() {
            self.log(line.trim_end_matches(['\r', '\n']));
            line.clear();
        }
        line.push_str(rest);
        if line.len() > LINE_BYTES_MAX {
            self.log(&line);
            line.clear();
        }
        text.chars().count()
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?);
        }
        Ok(())
    }

    pub(super) fn flush(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() {
            self.log(&line);
            line.clear();
        }
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.flush();
    }
}
