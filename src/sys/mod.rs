//! Skeleton of the module.

pub mod environment;
