//! What a worker process is born with. The master makes it, the worker consumes it, and neither names the other.

use std::fmt;

use crate::config::Settings;
use crate::net::Listener;

use super::channel::Channel;

/// Everything that a forked worker needs.
#[derive(Debug)]
pub struct Seat {
    /// The generation of code and configuration that it belongs to, from 1.
    pub generation: u32,
    /// Its place among the workers of its generation, from 0.
    pub slot: u32,
    /// The settings of its generation.
    pub settings: Settings,
    /// The listening sockets, shared with the master and the other workers. Non-blocking.
    pub listeners: Vec<Listener>,
    /// Its end of the channel to the master. Non-blocking.
    pub channel: Channel,
}

/// The body of a worker process; called in the child right after the fork.
pub trait WorkerMain: fmt::Debug {
    /// Runs the worker to its end. Returns the exit code of the process.
    fn run(&self, seat: Seat) -> i32;
}
