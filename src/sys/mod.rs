//! System calls: processes, signals, descriptors, the process title and the environment. The only layer below `python`
//! that may use `unsafe`; everything it offers is safe to call as documented.
//!
//! Invariant: names no other module of this crate and keeps no state but the pipe of the worker's signal handlers, the
//! descriptors that forks do not get, and what is to be called around a fork and before [`exit_now`].

pub mod accept;
pub mod at_fork;
pub mod clock;
pub mod descriptors;
pub mod environment;
pub mod fork_safety;
pub mod listen_queue;
pub mod passed;
pub mod process;
pub mod shared;
pub mod signals;
pub mod snapshot;
pub mod title;
pub mod transfer;

pub use accept::{accept, duplicate};
pub use process::exit_now;
pub use transfer::{receive, send, send_last};
