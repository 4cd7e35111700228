//! rwsgi: a pre-fork WSGI application server.
//!
//! Layers, lowest first; a module may name only modules on lines above its own:
//!
//! | layer | modules | may name |
//! |---|---|---|
//! | leaves | `http` (pure), `sys` (system calls) | no module of this crate |
//! | leaves | `net` (addresses, sockets, trust) | `http`, `sys`; the settings of `[proxy]` |
//! | leaves | `config` (settings) | `net`, `sys`; the pure `log::format` |
//! | leaves | `log`, `ipc` | `config`, `net`, `sys` |
//! | leaves | `metrics` (pure) | `ipc`, `sys`: the numbers that it tells |
//! | contract | `app` | `config`, `http`, `net`, `sys` |
//! | roles | `master` | `config`, `ipc`, `log`, `metrics`, `net`, `sys`; never `http`, `app`, `python`, `worker` |
//! | roles | `worker` | all leaves and `app`; never `python` or `master` |
//! | roles | `template` | all leaves, `app`, and `worker`, which its children become; never `python` or `master` |
//! | bridge | `python` | `app`, `config`, `http`, `log`, `sys`; the only module that names pyo3 |
//! | top | `cli` | everything; it wires the roles together |
//!
//! `unsafe` is denied crate-wide. The modules opened below are the audit list:
//! - `sys`: system calls that nix does not wrap, and `fork`.
//! - `python::*`: the files that use the C API of CPython name it with a reason each.

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod ipc;
pub mod log;
pub mod master;
pub mod metrics;
pub mod net;
pub mod python;
#[allow(unsafe_code, reason = "system calls that nix does not wrap, and fork")]
pub mod sys;
pub mod template;
pub mod worker;
