//! System calls that nix does not wrap, each behind a safe function.

pub mod accept;

pub use accept::{accept, duplicate};
