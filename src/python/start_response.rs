//! `start_response` and the `write` that it returns (PEP 3333, "The start_response() Callable"): what they do. The Python
//! callables are made in `callables`.
//!
//! The head is held until the first non-empty block, the end of the response or `write()`; until then it
//! can be replaced with `exc_info`.

use std::sync::Arc;

use pyo3::exceptions::{PyAssertionError, PyConnectionResetError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTraceback, PyTuple};

use crate::app::{Block, Exchange, Sent};
use crate::http::{Method, ResponseHead};

use super::gil_cell::GilCell;
use super::heads::Heads;
use super::lent::Lent;
use super::{mistakes, respond};

/// Blocks of this size are shared with the exchange instead of copied: about where a copy costs more than
/// the allocation that counts the references.
const SHARED_BYTES_MIN: usize = 4 * 1024;

/// What the callables of one request work on.
#[pyclass(frozen, module = "rwsgi", name = "Response")]
#[derive(Debug)]
pub(super) struct StartResponse {
    lent: Lent,
    /// Used inside `lent` where both are needed.
    state: GilCell<State>,
    /// Heads of earlier responses of the thread that made it.
    heads: Arc<GilCell<Heads>>,
}

/// How far the response has come.
#[derive(Debug, Default)]
struct State {
    progress: Progress,
    /// The output queue is past its high-water mark: wait before more output. Not before the end, since the reactor
    /// writes the rest by itself, and the thread is free for another request.
    is_full: bool,
}

#[derive(Debug, Default)]
enum Progress {
    /// `start_response` was not called yet.
    #[default]
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
    pub(super) fn new(heads: Arc<GilCell<Heads>>) -> Self {
        Self { lent: Lent::default(), state: GilCell::default(), heads }
    }

    /// The exchange that the response is for.
    pub(super) fn lent(&self) -> &Lent {
        &self.lent
    }

    /// Forgets the response before this one.
    pub(super) fn reset(&self, py: Python<'_>) {
        drop(self.state.with(py, std::mem::take));
    }

    /// Sends a block that is not empty, after the head if that is still held.
    pub(super) fn send(
        &self,
        block: &Bound<'_, PyBytes>,
        body_length: Option<u64>,
        more: bool,
    ) -> Result<Flow, OutputError> {
        let data = block.as_bytes();
        // Subclasses are copied: dropping one may run Python code.
        let shared = if data.len() >= SHARED_BYTES_MIN && block.is_exact_instance_of::<PyBytes>() {
            Block::Shared(bytes::Bytes::from_owner(PyBackedBytes::from(block.clone())))
        } else {
            Block::Borrowed(data)
        };
        self.output(block.py(), body_length, data.len() as u64, |exchange| exchange.send(shared, more))
    }

    /// Waits until there is room, then runs `output` after the head was handed over.
    pub(super) fn output(
        &self,
        py: Python<'_>,
        body_length: Option<u64>,
        bytes: u64,
        output: impl FnOnce(&mut dyn Exchange) -> Sent,
    ) -> Result<Flow, OutputError> {
        let mut output = Some(output);
        let first = self.lent.with(py, |exchange| {
            let is_full = self.hand_over(py, exchange, body_length, bytes)?;
            let output = if is_full { None } else { output.take() };
            Ok(output.map(|output| self.put_out(py, exchange, body_length, output)))
        });
        if let Some(flow) = first.unwrap_or(Err(OutputError::Ended))? {
            return Ok(flow);
        }
        while self.state.with(py, |state| state.is_full) {
            match self.lent.wait(py).ok_or(OutputError::Ended)? {
                Sent::Full => {}
                Sent::Gone => return Ok(Flow::Gone),
                Sent::Ready | Sent::Excess => self.state.with(py, |state| state.is_full = false),
            }
        }
        let flow = self.lent.with(py, |exchange| {
            let output = output.take()?;
            Some(self.put_out(py, exchange, body_length, output))
        });
        flow.flatten().ok_or(OutputError::Ended)
    }

    fn put_out(
        &self,
        py: Python<'_>,
        exchange: &mut dyn Exchange,
        body_length: Option<u64>,
        output: impl FnOnce(&mut dyn Exchange) -> Sent,
    ) -> Flow {
        let sent = output(exchange);
        self.state.with(py, |state| match sent {
            Sent::Ready => state.flow(),
            Sent::Full => {
                state.is_full = true;
                state.flow()
            }
            Sent::Gone => Flow::Gone,
            Sent::Excess => {
                state.log_excess(exchange, body_length);
                Flow::Excess
            }
        })
    }

    /// Hands the head over if that was not done yet; used alone for a response without any block.
    pub(super) fn start(&self, py: Python<'_>, body_length: Option<u64>) -> Result<(), OutputError> {
        let started = self.lent.with(py, |exchange| self.hand_over(py, exchange, body_length, 0).map(drop));
        started.unwrap_or(Err(OutputError::Ended))
    }

    /// The Content-Length that the application set, while the head is held.
    pub(super) fn content_length(&self, py: Python<'_>) -> Option<u64> {
        self.state.with(py, |state| match &state.progress {
            Progress::Held(head) => head.content_length(),
            Progress::HandedOver { declared, produced, .. } => {
                declared.map(|length| length.saturating_sub(*produced))
            }
            Progress::Missing | Progress::Refused => None,
        })
    }

    /// Whether as much was produced as the client was told of.
    pub(super) fn is_satisfied(&self, py: Python<'_>) -> bool {
        self.content_length(py) == Some(0)
    }

    /// Returns whether the output queue is past its high-water mark.
    fn hand_over(
        &self,
        py: Python<'_>,
        exchange: &mut dyn Exchange,
        body_length: Option<u64>,
        bytes: u64,
    ) -> Result<bool, OutputError> {
        self.state.with(py, |state| {
            match &mut state.progress {
                Progress::Missing => return Err(OutputError::NotStarted),
                Progress::Refused => return Err(OutputError::Refused),
                Progress::HandedOver { produced, .. } => *produced = produced.saturating_add(bytes),
                Progress::Held(head) => {
                    let declared = head.content_length().or(body_length);
                    let bodiless = matches!(head.status(), 204 | 205 | 304)
                        || exchange.request().head.method_kind() == Method::Head;
                    let next =
                        Progress::HandedOver { declared, produced: bytes, excess_logged: false, bodiless };
                    if let Progress::Held(head) = std::mem::replace(&mut state.progress, next) {
                        exchange.start(head, body_length);
                    }
                }
            }
            Ok(state.is_full)
        })
    }

    /// Takes a call of `start_response`. An error in a first call counts as a call (PEP 3333): after it the
    /// application may start the response only with `exc_info`.
    pub(super) fn hold(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if !self.lent.is_here(py) {
            return Err(PyRuntimeError::new_err(mistakes::ENDED));
        }
        let raised = exc_info.map(raised).transpose();
        // What `read` finds wrong is told with the name of a type, for which Python code may run: not inside the cell.
        let head = match self.heads.with(py, |heads| heads.known(status, headers)) {
            Some(head) => Ok(head),
            None => Heads::read(status, headers).inspect(|head| {
                self.heads.with(py, |heads| heads.remember(status, headers, head));
            }),
        };
        let former = self.state.with(py, |state| state.hold(head, raised));
        former.map(drop)
    }

    /// The `write()` callable of PEP 3333: transmits the head and the data now.
    pub(super) fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(data) = data.cast::<PyBytes>() else {
            return Err(PyTypeError::new_err(mistakes::block(data)));
        };
        if data.as_bytes().is_empty() {
            return Ok(());
        }
        match self.send(data, None, false) {
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

impl State {
    /// Takes a head; what was there before is returned, to be dropped outside the cell.
    fn hold(&mut self, head: PyResult<ResponseHead>, raised: PyResult<Option<PyErr>>) -> PyResult<Progress> {
        let head = match (&self.progress, raised) {
            (Progress::HandedOver { .. }, Ok(Some(error)) | Err(error)) => return Err(error),
            (Progress::HandedOver { .. }, Ok(None)) => {
                return Err(PyAssertionError::new_err(mistakes::STARTED_TWICE));
            }
            (Progress::Held(_) | Progress::Refused, Ok(None)) => {
                Err(PyAssertionError::new_err(mistakes::STARTED_TWICE))
            }
            (Progress::Missing | Progress::Held(_) | Progress::Refused, Err(error)) => Err(error),
            (Progress::Missing, Ok(None | Some(_)))
            | (Progress::Held(_) | Progress::Refused, Ok(Some(_))) => head,
        };
        match head {
            Ok(head) => Ok(std::mem::replace(&mut self.progress, Progress::Held(head))),
            Err(error) => {
                self.progress = Progress::Refused;
                Err(error)
            }
        }
    }

    fn flow(&self) -> Flow {
        match &self.progress {
            Progress::HandedOver { bodiless: true, .. } => Flow::Complete,
            Progress::HandedOver { .. } | Progress::Missing | Progress::Held(_) | Progress::Refused => {
                Flow::Continue
            }
        }
    }

    fn log_excess(&mut self, exchange: &dyn Exchange, body_length: Option<u64>) {
        if let Progress::HandedOver { declared, produced, excess_logged, .. } = &mut self.progress {
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
