//! Runs the functions of `[hooks]`; the Python side is in `load.py`.

use pyo3::intern;
use pyo3::prelude::*;

use crate::app::{Identity, LoadError};
use crate::config::Hook;

use super::load;

/// Runs a hook if it is set. `name` is that of its setting.
pub(super) fn run(
    py: Python<'_>,
    name: &str,
    hook: Option<&Hook>,
    identity: Identity,
) -> Result<(), LoadError> {
    let Some(Hook { module, function }) = hook else { return Ok(()) };
    let arguments = (name, module, function, identity.generation, identity.slot);
    load::helper(py)
        .and_then(|helper| helper.call_method1(intern!(py, "run_hook"), arguments))
        .map(drop)
        .map_err(|error| load::load_error(py, &error))
}
