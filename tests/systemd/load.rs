//! Clients that ask the site without a pause, each request on a connection of its own: whatever waits in the queue of a
//! listener must be answered. Every failure is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::client::{Address, Client};

const CLIENTS: usize = 4;

/// Load that goes on until it is finished.
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn begin(address: &Address) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|_| {
            let (address, is_over, answers) = (address.clone(), Arc::clone(&is_over), Arc::clone(&answers));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    match ask(&address) {
                        Ok(()) => {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(failure) => failures.push(failure),
                    }
                }
                failures
            })
        });
        Self { clients: clients.collect(), is_over, answers }
    }

    /// How many requests were answered so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends it and insists that no request has failed.
    #[track_caller]
    pub(crate) fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let failures: Vec<String> =
            self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        let answers = self.answers.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {answers} requests failed: {failures:#?}", failures.len());
        answers
    }
}

fn ask(address: &Address) -> Result<(), String> {
    let mut client = Client::try_connect(address).map_err(|error| format!("connect: {error}"))?;
    let response = client.try_get("/")?;
    if response.status == 200 { Ok(()) } else { Err(format!("status {}", response.status)) }
}
