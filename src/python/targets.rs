//! The variables that come from the request target. The targets that a thread has seen lately are kept with what was made
//! of them.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::app::{Request, mount_split, percent_decode};
use crate::http::Target;

use super::text::latin1;

/// How many targets a thread remembers, each in the place that its bytes say. A power of two.
const PLACES: usize = 64;

/// Longest target that is remembered, in bytes.
const TARGET_BYTES_MAX: usize = 256;

/// What becomes of a target.
#[derive(Debug)]
pub(super) struct Line<'py> {
    /// `RAW_URI`, `REQUEST_URI`
    pub(super) raw: Bound<'py, PyString>,
    /// `QUERY_STRING`
    pub(super) query: Bound<'py, PyString>,
    /// `SCRIPT_NAME`
    pub(super) script: Bound<'py, PyString>,
    /// `PATH_INFO`
    pub(super) path: Bound<'py, PyString>,
}

/// The targets that a thread remembers.
#[derive(Debug, Default)]
pub(super) struct Targets<'py> {
    places: Vec<Option<(Vec<u8>, Line<'py>)>>,
    /// The last one that is not remembered.
    other: Option<Line<'py>>,
}

impl<'py> Targets<'py> {
    /// The variables of a request's target. `mount` is the same for all requests.
    pub(super) fn of(&mut self, py: Python<'py>, request: &Request, mount: &str) -> PyResult<&Line<'py>> {
        let target = request.head.target();
        let is_plain = request.origin.prefix.is_none() && request.head.target_form() == Target::Origin;
        if !is_plain || target.len() > TARGET_BYTES_MAX {
            return Ok(self.other.insert(line(py, request, mount)?));
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[place_of(target)];
        let known = match place.take() {
            Some(known) if known.0 == target => known,
            Some((mut bytes, _)) => {
                bytes.clear();
                bytes.extend_from_slice(target);
                (bytes, line(py, request, mount)?)
            }
            None => (target.to_vec(), line(py, request, mount)?),
        };
        Ok(&place.insert(known).1)
    }
}

/// Its length and its last bytes, which differ most often.
fn place_of(target: &[u8]) -> usize {
    let last = target.iter().rev().take(4);
    last.fold(target.len(), |sum, byte| sum.wrapping_mul(7).wrapping_add(usize::from(*byte))) % PLACES
}

fn line<'py>(py: Python<'py>, request: &Request, mount: &str) -> PyResult<Line<'py>> {
    let head = &request.head;
    let (script, rest) = if head.target_form() == Target::Asterisk {
        (&b""[..], &b""[..])
    } else {
        // The worker has answered 404 already to what is outside the mount.
        mount_split(head.path(), mount).unwrap_or((b"", head.path()))
    };
    let mut script = percent_decode(script);
    if let Some(prefix) = &request.origin.prefix {
        let prefix = prefix.trim_end_matches('/').as_bytes();
        script = Cow::Owned([&percent_decode(prefix), &script[..]].concat());
    }
    let mut path = percent_decode(rest);
    if path.is_empty() && script.is_empty() && head.target_form() != Target::Asterisk {
        path = Cow::Borrowed(b"/");
    }
    Ok(Line {
        raw: latin1(py, head.target())?,
        query: latin1(py, head.query())?,
        script: latin1(py, &script)?,
        path: latin1(py, &path)?,
    })
}
