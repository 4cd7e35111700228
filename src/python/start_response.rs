//! `start_response` and the `write` that it returns (PEP 3333, "The start_response() Callable").
//!
//! The head is held until the first non-empty block, the end of the response or `write()`; until then it
//! can be replaced with `exc_info`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyAssertionError, PyConnectionResetError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyString, PyTraceback, PyTuple};

use crate::app::{Block, Exchange, Sent};
use crate::http::{Method, ResponseHead};

use super::lent::Lent;
use super::text::latin1_bytes;
use super::{mistakes, respond};

/// Blocks of this size are shared with the exchange instead of copied: about where a copy costs more than
/// the allocation that counts the references.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// The callable that one request's application gets.
#[pyclass(frozen, module = "rwsgi", name = "StartResponse")]
#[derive(Debug)]
pub(super) struct StartResponse {
    lent: Arc<Lent>,
    /// Locked only for moments, and inside the lock of `lent` where both are needed.
    state: Mutex<State>,
    /// The output queue is past its high-water mark: wait before more output. Not before the end, since the reactor
    /// writes the rest by itself, and the thread is free for another request.
    is_full: AtomicBool,
}

#[derive(Debug)]
enum State {
    /// `start_response` was not called yet.
    Missing,
    /// Called; nothing was handed over yet.
    Held(ResponseHead),
    /// The last call raised an error: only one with `exc_info` can mend that (PEP 3333).
    Refused,
    /// The head was handed over to the exchange.
    HandedOver {
        /// Length that the client was told, if any.
        declared: Option<u64>,
        /// Bytes of body that came from the application.
        produced: u64,
        /// Whether the excess was logged already.
        excess_logged: bool,
        /// No byte of a body is sent, whatever the application produces (HEAD, 204, 205, 304).
        bodiless: bool,
    },
}

/// How to go on after output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// More output is welcome.
    Continue,
    /// The response has no body: more output would go nowhere.
    Complete,
    /// The output went past the declared length and was cut off.
    Excess,
    /// The client is gone.
    Gone,
}

/// Why output was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputError {
    /// `start_response` was not called.
    NotStarted,
    /// `start_response` raised an error, and the application went on.
    Refused,
    /// The exchange has ended.
    Ended,
}

impl StartResponse {
    pub(super) fn new(lent: Arc<Lent>) -> Self {
        Self { lent, state: Mutex::new(State::Missing), is_full: AtomicBool::new(false) }
    }

    /// Sends a block that is not empty, after the head if that is still held.
    pub(super) fn send(
        &self,
        py: Python<'_>,
        block: &Bound<'_, PyBytes>,
        body_length: Option<u64>,
        more: bool,
    ) -> Result<Flow, OutputError> {
        let data = block.as_bytes();
        // Subclasses are copied: dropping one may run Python code.
        let block = if data.len() >= SHARED_BYTES_MIN && block.is_exact_instance_of::<PyBytes>() {
            Block::Shared(bytes::Bytes::from_owner(PyBackedBytes::from(block.clone())))
        } else {
            Block::Borrowed(data)
        };
        self.output(py, body_length, data.len() as u64, |exchange| exchange.send(block, more))
    }

    /// Waits until there is room, then runs `output` after the head was handed over.
    pub(super) fn output(
        &self,
        py: Python<'_>,
        body_length: Option<u64>,
        bytes: u64,
        output: impl FnOnce(&mut dyn Exchange) -> Sent,
    ) -> Result<Flow, OutputError> {
        let flow = self.lent.with(py, |exchange| {
            self.hand_over(exchange, body_length, bytes)?;
            while self.is_full.load(Ordering::Relaxed) {
                match py.detach(|| exchange.wait()) {
                    Sent::Full => {}
                    Sent::Gone => return Ok(Flow::Gone),
                    Sent::Ready | Sent::Excess => self.is_full.store(false, Ordering::Relaxed),
                }
            }
            Ok(match output(exchange) {
                Sent::Ready => self.flow(),
                Sent::Full => {
                    self.is_full.store(true, Ordering::Relaxed);
                    self.flow()
                }
                Sent::Gone => Flow::Gone,
                Sent::Excess => {
                    self.log_excess(exchange, body_length);
                    Flow::Excess
                }
            })
        });
        flow.unwrap_or(Err(OutputError::Ended))
    }

    /// Hands the head over if that was not done yet; used alone for a response without any block.
    pub(super) fn start(&self, py: Python<'_>, body_length: Option<u64>) -> Result<(), OutputError> {
        let started = self.lent.with(py, |exchange| self.hand_over(exchange, body_length, 0));
        started.unwrap_or(Err(OutputError::Ended))
    }

    /// The Content-Length that the application set, while the head is held.
    pub(super) fn content_length(&self) -> Option<u64> {
        match &*self.state() {
            State::Held(head) => head.content_length(),
            State::HandedOver { declared, produced, .. } => {
                declared.map(|length| length.saturating_sub(*produced))
            }
            State::Missing | State::Refused => None,
        }
    }

    /// Whether as much was produced as the client was told of.
    pub(super) fn is_satisfied(&self) -> bool {
        self.content_length() == Some(0)
    }

    fn flow(&self) -> Flow {
        match &*self.state() {
            State::HandedOver { bodiless: true, .. } => Flow::Complete,
            State::HandedOver { .. } | State::Missing | State::Held(_) | State::Refused => Flow::Continue,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(
        &self,
        exchange: &mut dyn Exchange,
        body_length: Option<u64>,
        bytes: u64,
    ) -> Result<(), OutputError> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Missing) {
            State::Missing => return Err(OutputError::NotStarted),
            State::Refused => {
                *state = State::Refused;
                return Err(OutputError::Refused);
            }
            State::Held(head) => {
                let declared = head.content_length().or(body_length);
                let bodiless = exchange.request().head.method_kind() == Method::Head
                    || matches!(head.status(), 204 | 205 | 304);
                *state = State::HandedOver { declared, produced: bytes, excess_logged: false, bodiless };
                exchange.start(head, body_length);
            }
            State::HandedOver { declared, produced, excess_logged, bodiless } => {
                let produced = produced.saturating_add(bytes);
                *state = State::HandedOver { declared, produced, excess_logged, bodiless };
            }
        }
        Ok(())
    }

    /// Takes a call of `start_response`. An error in a first call counts as a call (PEP 3333): after it the
    /// application may start the response only with `exc_info`.
    fn hold(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if self.lent.with(py, |_| ()).is_none() {
            return Err(PyRuntimeError::new_err(mistakes::ENDED));
        }
        let raised = exc_info.map(raised).transpose();
        let head = read_head(status, headers);
        let mut state = self.state();
        let head = match (&*state, raised) {
            (State::HandedOver { .. }, Ok(Some(error)) | Err(error)) => return Err(error),
            (State::HandedOver { .. }, Ok(None)) => {
                return Err(PyAssertionError::new_err(mistakes::STARTED_TWICE));
            }
            (State::Held(_) | State::Refused, Ok(None)) => {
                Err(PyAssertionError::new_err(mistakes::STARTED_TWICE))
            }
            (State::Missing | State::Held(_) | State::Refused, Err(error)) => Err(error),
            (State::Missing, Ok(None | Some(_))) | (State::Held(_) | State::Refused, Ok(Some(_))) => head,
        };
        match head {
            Ok(head) => {
                *state = State::Held(head);
                Ok(())
            }
            Err(error) => {
                *state = State::Refused;
                Err(error)
            }
        }
    }

    fn log_excess(&self, exchange: &dyn Exchange, body_length: Option<u64>) {
        if let State::HandedOver { declared, produced, excess_logged, .. } = &mut *self.state() {
            if *excess_logged {
                return;
            }
            *excess_logged = true;
            let total = body_length.unwrap_or(0).max(*produced);
            let excess = total.saturating_sub(declared.unwrap_or(0));
            let label = respond::label(exchange.request());
            log::warn!("{label}: {excess} bytes past Content-Length were cut");
        }
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info = None))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().hold(slf.py(), status, headers, exc_info)?;
        slf.getattr(intern!(slf.py(), "write"))
    }

    /// The `write()` callable of PEP 3333: transmits the head and the data now.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(data) = data.cast::<PyBytes>() else {
            return Err(PyTypeError::new_err(mistakes::block(data)));
        };
        if data.as_bytes().is_empty() {
            return Ok(());
        }
        match self.send(py, data, None, false) {
            Ok(Flow::Continue | Flow::Complete) => Ok(()),
            // There is no iteration to stop, and an application may write for as long as nothing is wrong.
            Ok(Flow::Gone) => Err(PyConnectionResetError::new_err(mistakes::CLIENT_GONE)),
            // PEP 3333, "Handling the Content-Length Header".
            Ok(Flow::Excess) => Err(PyAssertionError::new_err(mistakes::WRITTEN_PAST_LENGTH)),
            Err(OutputError::Refused) => Err(PyAssertionError::new_err(mistakes::REFUSED)),
            Err(OutputError::NotStarted) => Err(PyAssertionError::new_err(mistakes::NOT_STARTED)),
            Err(OutputError::Ended) => Err(PyRuntimeError::new_err(mistakes::ENDED)),
        }
    }
}

/// The exception of an `exc_info` tuple.
fn raised(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let refused = || PyTypeError::new_err(mistakes::exc_info_type(exc_info));
    let tuple = exc_info.cast::<PyTuple>().map_err(|_| refused())?;
    if tuple.len() != 3 {
        return Err(refused());
    }
    let error = PyErr::from_value(tuple.get_item(1)?);
    if let Ok(traceback) = tuple.get_item(2)?.cast_into::<PyTraceback>() {
        error.set_traceback(exc_info.py(), Some(traceback));
    }
    Ok(error)
}

/// Checks and copies what the application passed; it may go on changing its list.
fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<ResponseHead> {
    let status =
        status.cast::<PyString>().map_err(|_| PyTypeError::new_err(mistakes::status_type(status)))?;
    let headers =
        headers.cast::<PyList>().map_err(|_| PyTypeError::new_err(mistakes::headers_type(headers)))?;
    let status =
        latin1_bytes(status).ok_or_else(|| PyValueError::new_err(mistakes::not_latin1("the status")))?;
    let mut head = ResponseHead::new(&status).map_err(|error| PyValueError::new_err(error.to_string()))?;
    for (index, item) in headers.iter().enumerate() {
        let pair = item.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let Some(pair) = pair else {
            return Err(PyTypeError::new_err(mistakes::header_item(index, &item)));
        };
        let name = pair.get_item(0)?;
        let value = pair.get_item(1)?;
        let name = header_part(index, "name", &name)?;
        let value = header_part(index, "value", &value)?;
        head.push(&name, &value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    }
    Ok(head)
}

fn header_part(index: usize, part: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let text = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(mistakes::header_part(index, part, value)))?;
    let bytes = latin1_bytes(text).ok_or_else(|| {
        PyValueError::new_err(mistakes::not_latin1(&format!("the {part} of header {index}")))
    })?;
    Ok(bytes.into_owned())
}
