//! What the processes of a generation are made with: its settings and its listeners.
//!
//! Invariant: a listener stays open as long as a generation that may still spawn has it, and until the end otherwise
//! forgotten generations close theirs; the file of a unix socket goes with its last listener.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::net::{Listener, SocketFile};

/// Settings and listeners of one generation.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) settings: Settings,
    pub(super) listeners: Vec<Listener>,
    /// Those of `metrics.bind`, from which the master accepts.
    pub(super) metrics: Vec<Listener>,
    /// Whether the log has told of its listeners; it does when the generation serves.
    pub(super) is_announced: bool,
}

/// The generations that may still spawn, by number.
#[derive(Debug, Default)]
pub(super) struct Generations(BTreeMap<u32, Generation>);

impl Generations {
    pub(super) fn insert(&mut self, number: u32, generation: Generation) {
        self.0.insert(number, generation);
    }

    /// Tells of the listeners of a generation that no other has: those that it has bound.
    pub(super) fn announce(&mut self, number: u32) {
        let others = self.0.iter().filter(|(other, _)| **other != number).flat_map(|(_, it)| &it.listeners);
        let others: Vec<&Listener> = others.collect();
        for listener in self.get(number).iter().flat_map(|generation| &generation.listeners) {
            if !others.iter().any(|other| other.is_same(listener)) {
                log::info!("listening on {listener}");
            }
        }
        let others = self.0.iter().filter(|(other, _)| **other != number).flat_map(|(_, it)| &it.metrics);
        let others: Vec<&Listener> = others.collect();
        for listener in self.get(number).iter().flat_map(|generation| &generation.metrics) {
            if !others.iter().any(|other| other.is_same(listener)) {
                log::info!("metrics on {listener}");
            }
        }
        if let Some(generation) = self.0.get_mut(&number) {
            generation.is_announced = true;
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Generation> {
        self.0.get(&number)
    }

    /// Forgets all others, closes the listeners that only they had and removes their socket files.
    pub(super) fn retain(&mut self, wanted: impl Fn(u32) -> bool) {
        let numbers: Vec<u32> = self.0.keys().copied().filter(|&number| !wanted(number)).collect();
        for number in numbers {
            let Some(gone) = self.0.remove(&number) else { continue };
            for listener in gone.listeners {
                if !self.is_open(&listener) {
                    if gone.is_announced {
                        log::info!("no longer listening on {listener}");
                    }
                    if let Some(file) = listener.socket_file() {
                        file.remove();
                    }
                }
            }
            for listener in gone.metrics {
                if !self.metrics().any(|other| other.is_same(&listener)) {
                    if gone.is_announced {
                        log::info!("no longer metrics on {listener}");
                    }
                    if let Some(file) = listener.socket_file() {
                        file.remove();
                    }
                }
            }
        }
    }

    /// Those of all generations; one that several have comes several times.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.0.values().flat_map(|generation| &generation.listeners)
    }

    /// The listeners of `metrics.bind`, likewise.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &Listener> {
        self.0.values().flat_map(|generation| &generation.metrics)
    }

    fn is_open(&self, listener: &Listener) -> bool {
        self.listeners().any(|other| other.is_same(listener))
    }

    /// Closes every listener but those of `metrics.bind`; what remains is for workers alone. Socket files stay, for [`Generations::socket_files`].
    pub(super) fn close_listeners(&mut self) -> Vec<SocketFile> {
        let files = self.socket_files();
        self.0.values_mut().for_each(|generation| generation.listeners.clear());
        files
    }

    /// The socket files of all listeners.
    pub(super) fn socket_files(&self) -> Vec<SocketFile> {
        let mut files: Vec<SocketFile> = Vec::new();
        for file in self.listeners().chain(self.metrics()).filter_map(Listener::socket_file) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }
}
