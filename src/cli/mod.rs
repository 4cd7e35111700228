//! Skeleton of the module.
