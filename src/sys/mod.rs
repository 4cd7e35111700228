//! System calls that nix does not wrap, each behind a safe function.

pub mod accept;
pub mod environment;

pub use accept::{accept, duplicate};
