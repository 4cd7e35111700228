//! The bridge to Python: the interpreter, the application and the WSGI protocol (PEP 3333).
//!
//! Invariants: the only module that names pyo3. It knows nothing of sockets: everything that goes to a
//! client goes through [`crate::app::Exchange`]. No Python code runs while the lock on an exchange is
//! held, and nothing that waits for a client is done while the interpreter lock is held.

#[allow(unsafe_code, reason = "Python::detach asks for Send although its closure stays on this thread")]
mod application;
#[allow(unsafe_code, reason = "builtin functions that take their arguments where they lie are C API only")]
mod callables;
mod crash;
mod ends;
mod environ;
mod errors;
mod fields;
#[allow(unsafe_code, reason = "duplicates a descriptor that Python owns")]
mod file_wrapper;
#[allow(unsafe_code, reason = "the functions around a fork are C API only")]
mod fork;
#[allow(unsafe_code, reason = "values that the interpreter lock guards are shared between threads")]
mod gil_cell;
mod heads;
mod hooks;
mod input;
#[allow(unsafe_code, reason = "PyConfig and finalization are C API only")]
mod interpreter;
#[allow(unsafe_code, reason = "lends a borrowed exchange to Python objects for the length of a call")]
mod lent;
mod load;
mod mistakes;
mod objects;
#[allow(unsafe_code, reason = "exceptions in other threads are C API only")]
mod overseer;
mod respond;
mod start_response;
mod targets;
#[allow(unsafe_code, reason = "latin-1 strings, and what is quick to do with them, are C API only")]
mod text;

#[cfg(test)]
mod tests;

pub use application::PythonLoader;
