//! The roster: how many connections each worker has, in memory that all workers of a server share, so that new connections
//! go to those that have few; and a bell that rings in all of them.
//!
//! The kernel wakes one worker for a new connection, and mostly the same one. A worker that has its share rings the bell
//! and stays away from the listeners for a moment; those that have less take the connection.
//!
//! Made by the master before it forks, and inherited with the memory. A worker writes only its own entry; the master clears
//! the entry of a process that has ended. Nothing here must be right for the server to work: a count that is out of date
//! costs a connection a millisecond, or a worker some of its share.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys::shared::SharedWords;

/// Workers that have an entry. One that finds no room takes connections as they come.
const ENTRIES: usize = 512;

// Words of an entry, which has a cache line of its own.
const PID: usize = 0;
const CONNECTIONS: usize = 1;
const ENTRY_WORDS: usize = 8;

/// Behind the entries: how many were ever in use at a time, so that no more are looked at.
const USED: usize = ENTRIES * ENTRY_WORDS;

/// What stands for connections while a worker takes no new ones.
const CLOSED: u64 = 0;

/// The roster of one server.
#[derive(Debug)]
pub struct Roster {
    words: SharedWords,
    bell: EventFd,
}

/// The entry of one worker.
#[derive(Debug)]
pub struct Entry {
    roster: Arc<Roster>,
    index: usize,
}

impl Roster {
    /// An empty roster.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn create() -> io::Result<Self> {
        let words = SharedWords::create(c"rwsgi-roster", USED + 1)?;
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { words, bell })
    }

    /// Worker: an entry for the process with this id; `None` when there is no room.
    #[must_use]
    pub fn enter(self: &Arc<Self>, pid: u32) -> Option<Entry> {
        let index = (0..ENTRIES).find(|&index| {
            let owner = self.word(index, PID);
            owner.compare_exchange(0, u64::from(pid), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })?;
        self.word(index, CONNECTIONS).store(CLOSED, Ordering::Relaxed);
        self.words.word(USED).fetch_max(index as u64 + 1, Ordering::Relaxed);
        Some(Entry { roster: Arc::clone(self), index })
    }

    /// Master: the process with this id has ended.
    pub fn remove(&self, pid: u32) {
        for index in 0..self.used() {
            if self.word(index, PID).load(Ordering::Relaxed) == u64::from(pid) {
                self.word(index, CONNECTIONS).store(CLOSED, Ordering::Relaxed);
                self.word(index, PID).store(0, Ordering::Relaxed);
            }
        }
    }

    /// To be watched edge-triggered: readable at each ring.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn used(&self) -> usize {
        usize::try_from(self.words.word(USED).load(Ordering::Relaxed))
            .map_or(ENTRIES, |used| used.min(ENTRIES))
    }

    fn word(&self, index: usize, word: usize) -> &AtomicU64 {
        self.words.word(index * ENTRY_WORDS + word)
    }
}

impl Entry {
    /// How many connections the worker has; `None` while it takes no new ones.
    pub fn publish(&self, connections: Option<usize>) {
        let word = connections.map_or(CLOSED, |connections| connections as u64 + 1);
        self.roster.word(self.index, CONNECTIONS).store(word, Ordering::Relaxed);
    }

    /// The fewest connections that another worker has which takes new ones; `None` when there is no other.
    #[must_use]
    pub fn fewest_of_others(&self) -> Option<usize> {
        let others = (0..self.roster.used()).filter(|&index| index != self.index);
        let open = others.filter_map(|index| {
            let taken = self.roster.word(index, PID).load(Ordering::Relaxed) != 0;
            let word =
                if taken { self.roster.word(index, CONNECTIONS).load(Ordering::Relaxed) } else { CLOSED };
            word.checked_sub(1)
        });
        open.min().and_then(|fewest| usize::try_from(fewest).ok())
    }

    /// Rings in every worker.
    pub fn ring(&self) {
        if let Err(error) = self.roster.bell.write(1) {
            log::debug!("the other workers cannot be called: {error}");
        }
    }

    /// The roster that it is in.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sees_the_fewest_of_the_others_that_are_open() {
        let roster = Arc::new(Roster::create().unwrap());
        let [first, second, third] = [11, 12, 13].map(|pid| roster.enter(pid).unwrap());
        assert_eq!(first.fewest_of_others(), None);
        first.publish(Some(0));
        second.publish(Some(7));
        third.publish(Some(5));
        assert_eq!([&first, &second, &third].map(Entry::fewest_of_others), [Some(5), Some(0), Some(0)]);
        third.publish(None);
        assert_eq!(first.fewest_of_others(), Some(7));
        roster.remove(12);
        assert_eq!(first.fewest_of_others(), None);
        assert_eq!(second.fewest_of_others(), Some(0));
    }

    #[test]
    fn an_entry_is_free_again_when_its_process_has_ended() {
        let roster = Arc::new(Roster::create().unwrap());
        let entries: Vec<Entry> = (1..=512).map(|pid| roster.enter(pid).unwrap()).collect();
        assert!(roster.enter(600).is_none());
        roster.remove(77);
        assert_eq!(roster.enter(600).map(|entry| entry.index), Some(entries[76].index));
    }
}
