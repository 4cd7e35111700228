//! The locks of the berth: those of the standard library, or those of loom where every interleaving is tried
//! (`make loom`).

#[cfg(loom)]
pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
