//! Runs the application for one exchange: calls it, sends what it returns, ends the exchange, calls
//! `close()` (PEP 3333, "Specification Overview", "Buffering and Streaming", "Error Handling").
//!
//! The end of the response is handed over before `close()` runs: the client does not wait for clean-up that lasts.

use pyo3::exceptions::{PyConnectionResetError, PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::app::{AfterCall, Exchange, Request};

use super::environ::{Environs, complete_length};
use super::file_wrapper::FileWrapper;
use super::gil_cell::has_length;
use super::lent::{Lent, lend};
use super::mistakes;
use super::objects::{Lasting, Objects};
use super::overseer::{Entry, RequestTimeout};
use super::start_response::{Flow, OutputError, StartResponse};

/// Why a response is not complete.
#[derive(Debug)]
enum Failure {
    /// The application broke a rule of WSGI, in one sentence.
    Mistake(String),
    /// The application raised.
    Raised(PyErr),
    /// The client is gone.
    Gone,
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::NotStarted => Self::Mistake(mistakes::NOT_STARTED.to_owned()),
            OutputError::Refused => Self::Mistake(mistakes::REFUSED.to_owned()),
            OutputError::Ended => Self::Mistake(mistakes::ENDED.to_owned()),
        }
    }
}

/// Answers one exchange completely.
pub(super) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    environs: &mut Environs<'_, 'py>,
    lasting: &mut Lasting<'py>,
    entry: &Entry<'_>,
    exchange: &mut dyn Exchange,
) -> AfterCall {
    let py = callable.py();
    let body = exchange.take_body();
    let body_length = complete_length(&body);
    let prepared = lasting.prepare(py, body, exchange, environs.references()).and_then(|objects| {
        let deadline = exchange.deadline();
        let environ = environs.environ(exchange.request(), &objects, body_length, deadline)?;
        Ok((objects, environ))
    });
    let (objects, environ) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let lent = Lent::default();
            return lend(py, &lent, exchange, || conclude(py, &lent, Err(Failure::Raised(error))));
        }
    };
    entry.begin(&exchange.request().id, &environ);
    let (after, result) =
        lend(py, objects.response.get().lent(), exchange, || run(callable, &objects, &environ));
    let after = match result {
        Some(result) => close(exchange, &result, after),
        None => after,
    };
    objects.errors.get().flush(py);
    objects.input.get().release(py);
    entry.end(py);
    environs.keep(environ, &objects);
    lasting.keep(py, objects, environs.references());
    after
}

/// `[id] GET /path`, for records about a request. Nothing in it can break a line of the log.
pub(super) fn label(request: &Request) -> String {
    let head = &request.head;
    format!("[{}] {} {}", request.id, head.method().escape_ascii(), head.path().escape_ascii())
}

/// Calls the application and sends what it returns, which is returned if it may have a `close()`.
fn run<'py>(
    callable: &Bound<'py, PyAny>,
    objects: &Objects<'py>,
    environ: &Bound<'py, PyDict>,
) -> (AfterCall, Option<Bound<'py, PyAny>>) {
    let py = callable.py();
    let response = objects.response.get();
    let lent = response.lent();
    let result = match callable.call1((environ, &objects.start_response)) {
        Ok(result) => result,
        Err(error) => return (conclude(py, lent, Err(Failure::Raised(error))), None),
    };
    if let Some(blocks) = known(&result) {
        let outcome = send_known(py, response, blocks);
        return (conclude(py, lent, outcome), None);
    }
    let outcome = respond(py, response, &result);
    (conclude(py, lent, outcome), Some(result))
}

/// What has all blocks at hand, and no `close()`.
fn known<'a, 'py>(result: &'a Bound<'py, PyAny>) -> Option<Known<'a, 'py>> {
    let list = result.cast_exact::<PyList>().map(Known::List);
    list.or_else(|_| result.cast_exact::<PyTuple>().map(Known::Tuple)).ok()
}

/// A list or a tuple, and no subclass of one.
#[derive(Debug, Clone, Copy)]
enum Known<'a, 'py> {
    List(&'a Bound<'py, PyList>),
    Tuple(&'a Bound<'py, PyTuple>),
}

impl<'py> Known<'_, 'py> {
    /// The one block, if it has just one.
    fn single(self) -> Option<Bound<'py, PyAny>> {
        match self {
            Self::List(list) if list.len() == 1 => list.get_item(0).ok(),
            Self::Tuple(tuple) if tuple.len() == 1 => tuple.get_item(0).ok(),
            Self::List(_) | Self::Tuple(_) => None,
        }
    }

    /// The blocks that are not empty, and how many bytes they have together.
    fn blocks(self) -> Result<(Vec<Bound<'py, PyBytes>>, u64), Failure> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        let mut add = |item: Bound<'py, PyAny>| -> Result<(), Failure> {
            let block = item
                .cast_into::<PyBytes>()
                .map_err(|error| Failure::Mistake(mistakes::block(&error.into_inner())))?;
            if !block.as_bytes().is_empty() {
                bytes += block.as_bytes().len() as u64;
                blocks.push(block);
            }
            Ok(())
        };
        match self {
            Self::List(list) => list.iter().try_for_each(&mut add)?,
            Self::Tuple(tuple) => tuple.iter().try_for_each(&mut add)?,
        }
        Ok((blocks, bytes))
    }
}

/// Ends the exchange as the outcome demands, and logs what went wrong.
fn conclude(py: Python<'_>, lent: &Lent, outcome: Result<(), Failure>) -> AfterCall {
    let failure = match outcome {
        Ok(()) => {
            lent.with(py, |exchange| exchange.finish());
            lent.revoke(py);
            return AfterCall::Continue;
        }
        Err(failure) => failure,
    };
    let context = lent.with(py, |exchange| {
        (label(exchange.request()), exchange.head_sent(), exchange.disconnected().is_disconnected())
    });
    let (label, head_sent, disconnected) = context.unwrap_or_default();
    let consequence = if head_sent { " (the response was cut)" } else { "" };
    let after = match failure {
        Failure::Mistake(sentence) => {
            log::error!("{label}: {sentence}{consequence}");
            AfterCall::Continue
        }
        // wsgi.input or write() raised it, and the application had nothing to add: not its fault.
        Failure::Raised(error) if disconnected && error.is_instance_of::<PyConnectionResetError>(py) => {
            log::debug!("{label}: {error}");
            AfterCall::Continue
        }
        Failure::Raised(error) => log_raised(py, &format!("{label}: the application"), consequence, &error),
        Failure::Gone => {
            log::debug!("{label}: the client went away before the response was complete");
            AfterCall::Continue
        }
    };
    lent.with(py, |exchange| exchange.abort());
    lent.revoke(py);
    after
}

/// Logs an exception with its traceback; those that mean "end the process" end this worker. [`RequestTimeout`] was raised
/// by us, and the log told of it with the stack then.
fn log_raised(py: Python<'_>, who: &str, consequence: &str, error: &PyErr) -> AfterCall {
    if error.is_instance_of::<RequestTimeout>(py) {
        log::info!("{who} has come back after its timeout (workers.request_timeout){consequence}");
        return AfterCall::Continue;
    }
    let summary = error.to_string();
    let trace = super::load::traceback_of(py, error);
    log::error!("{who} raised {summary}{consequence}\n{trace}");
    let ends = error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py);
    if ends { AfterCall::Exit } else { AfterCall::Continue }
}

/// PEP 3333: "If the iterable returned by the application has a close() method, the server must call that method".
fn close(exchange: &dyn Exchange, result: &Bound<'_, PyAny>, after: AfterCall) -> AfterCall {
    let py = result.py();
    let closed = result
        .getattr_opt(intern!(py, "close"))
        .and_then(|close| close.map(|close| close.call0()).transpose());
    let Err(error) = closed else { return after };
    let who = format!("{}: close() of the response", label(exchange.request()));
    match log_raised(py, &who, "", &error) {
        AfterCall::Exit => AfterCall::Exit,
        AfterCall::Continue => after,
    }
}

/// Sends what the application returned.
fn respond(py: Python<'_>, response: &StartResponse, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
    if let Some(sentence) = mistakes::returned(result) {
        return Err(Failure::Mistake(sentence));
    }
    if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
        if let Some((file, offset, rest)) = wrapper.get().real_file(py) {
            return send_file(py, response, file, offset, rest);
        }
    }
    send_iterated(py, response, result)
}

/// A list or tuple: all blocks are there, so the length is known and no application code runs in between.
fn send_known(py: Python<'_>, response: &StartResponse, known: Known<'_, '_>) -> Result<(), Failure> {
    if let Some(item) = known.single() {
        let block = item.cast::<PyBytes>().map_err(|_| Failure::Mistake(mistakes::block(&item)))?;
        let length = block.as_bytes().len() as u64;
        if length > 0 {
            return match response.send(block, Some(length), true)? {
                Flow::Continue | Flow::Complete | Flow::Excess => Ok(()),
                Flow::Gone => Err(Failure::Gone),
            };
        }
    }
    let (blocks, bytes) = known.blocks()?;
    if blocks.is_empty() {
        return Ok(response.start(py, Some(0))?);
    }
    for block in &blocks {
        // The last one too: the end of the response follows at once.
        match response.send(block, Some(bytes), true)? {
            Flow::Continue => {}
            Flow::Complete | Flow::Excess => break,
            Flow::Gone => return Err(Failure::Gone),
        }
    }
    Ok(())
}

/// Any other iterable: each block is transmitted before the next is asked for.
fn send_iterated(py: Python<'_>, response: &StartResponse, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
    let blocks = match result.try_iter() {
        Ok(blocks) => blocks,
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyTypeError>(py) && !has_iter(result) => {
            return Err(Failure::Mistake(mistakes::not_iterable(result)));
        }
        Err(error) => return Err(Failure::Raised(error)),
    };
    // PEP 3333, "Handling the Content-Length Header": one block is the whole body.
    let is_single = has_length(result) && matches!(result.len(), Ok(1));
    let mut is_empty = true;
    for item in blocks {
        let item = item?;
        let Ok(block) = item.cast::<PyBytes>() else {
            return Err(Failure::Mistake(mistakes::block(&item)));
        };
        let length = block.as_bytes().len();
        if length == 0 {
            // Enough was sent, and the application goes on: it is not asked for ever.
            if response.is_satisfied(py) {
                break;
            }
            continue;
        }
        is_empty = false;
        match response.send(block, is_single.then_some(length as u64), false)? {
            Flow::Continue => {}
            Flow::Complete | Flow::Excess => break,
            Flow::Gone => return Err(Failure::Gone),
        }
    }
    if is_empty {
        response.start(py, Some(0))?;
    }
    Ok(())
}

fn has_iter(object: &Bound<'_, PyAny>) -> bool {
    let py = object.py();
    let class = object.get_type();
    [intern!(py, "__iter__"), intern!(py, "__getitem__")]
        .into_iter()
        .any(|name| class.hasattr(name).unwrap_or(false))
}

fn send_file(
    py: Python<'_>,
    response: &StartResponse,
    file: std::fs::File,
    offset: u64,
    rest: u64,
) -> Result<(), Failure> {
    let length = response.content_length(py).map_or(rest, |declared| declared.min(rest));
    if length == 0 {
        return Ok(response.start(py, Some(rest))?);
    }
    let flow =
        response.output(py, Some(rest), length, |exchange| exchange.send_file(file, offset, length))?;
    match flow {
        Flow::Continue | Flow::Complete | Flow::Excess => Ok(()),
        Flow::Gone => Err(Failure::Gone),
    }
}
