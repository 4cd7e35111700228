//! What a worker process is born with. The master makes it, the worker consumes it, and neither names the other.

use std::fmt;
use std::sync::Arc;

use crate::config::Settings;
use crate::net::Listener;

use super::channel::Channel;
use super::roster::Roster;
use super::scoreboard::Scoreboard;

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
    /// What it tells about itself without being asked.
    pub scoreboard: Scoreboard,
    /// How many connections the other workers have.
    pub roster: Arc<Roster>,
}

/// Everything that a forked template needs.
#[derive(Debug)]
pub struct TemplateSeat {
    /// The generation of code and configuration that it belongs to, from 1.
    pub generation: u32,
    /// The settings of its generation.
    pub settings: Settings,
    /// The listening sockets, for its workers; it does not accept.
    pub listeners: Vec<Listener>,
    /// Its end of the channel to the master. Non-blocking.
    pub channel: Channel,
    /// Where it leaves the stacks of its threads when it crashes.
    pub scoreboard: Scoreboard,
    /// For its workers.
    pub roster: Arc<Roster>,
    /// The master's process id: the parent of the workers that it forks.
    pub master: i32,
}

/// What the processes run that the master forks.
#[derive(Debug)]
pub struct Programs {
    /// Of a worker that imports the application itself.
    pub worker: Box<dyn WorkerMain>,
    /// Of a template.
    pub template: Box<dyn TemplateMain>,
}

/// The body of a template process; called in the child right after the fork.
pub trait TemplateMain: fmt::Debug {
    /// Loads the application and forks workers until the master closes the channel. Returns the exit code of the process;
    /// also that of a forked worker, in the worker.
    fn run(&self, seat: TemplateSeat) -> i32;
}

/// The body of a worker process; called in the child right after the fork.
pub trait WorkerMain: fmt::Debug {
    /// Runs the worker to its end. Returns the exit code of the process.
    fn run(&self, seat: Seat) -> i32;
}
