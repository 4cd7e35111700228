//! When a worker is due to be replaced by a fresh one: `workers.max_requests`, `max_memory`, `max_lifetime`.
//!
//! Pure but for [`private_memory`], which is slow in a large process: the reactor never calls it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use crate::config::{Jitter, Workers};

/// The limits of one worker. The jitter is in them, so that workers that began together do not end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    requests: Option<u64>,
    memory_bytes: Option<u64>,
    lifetime: Option<Duration>,
}

impl Limits {
    /// The limits of a fresh worker. `random` decides where in the range of the jitter they are.
    pub(super) fn new(workers: &Workers, random: u64) -> Self {
        let requests = workers.max_requests.map(|limit| {
            let most = match workers.max_requests_jitter {
                Jitter::Percent(percent) => percent_of(limit, percent),
                Jitter::Requests(most) => most,
            };
            limit.saturating_add(pick(random, most))
        });
        let lifetime = workers.max_lifetime.map(|limit| match workers.max_requests_jitter {
            Jitter::Percent(percent) => {
                let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                limit.saturating_add(Duration::from_millis(pick(random, percent_of(millis, percent))))
            }
            // A number of requests says nothing about time.
            Jitter::Requests(_) => limit,
        });
        Self { requests, memory_bytes: workers.max_memory, lifetime }
    }

    /// Why the worker is due, as a clause; `None` when it is not.
    pub(super) fn due(&self, served: u64, memory_bytes: u64, age: Duration) -> Option<String> {
        if self.requests.is_some_and(|limit| served >= limit) {
            return Some(format!("it has served {served} requests (workers.max_requests)"));
        }
        if let Some(limit) = self.memory_bytes.filter(|&limit| memory_bytes > limit) {
            let (now, most) = (mebibytes(memory_bytes), mebibytes(limit));
            return Some(format!("its private memory is {now} (workers.max_memory = {most})"));
        }
        if self.lifetime.is_some_and(|limit| age >= limit) {
            return Some(format!("it has served for {} s (workers.max_lifetime)", age.as_secs()));
        }
        None
    }
}

fn percent_of(limit: u64, percent: u8) -> u64 {
    u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// A number from 0 to `most`.
fn pick(random: u64, most: u64) -> u64 {
    most.checked_add(1).map_or(random, |count| random % count)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A random number from the system's source, by which `RandomState` is keyed.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// The memory that this process shares with nobody, in bytes.
///
/// # Errors
/// The kernel does not tell (it does since Linux 4.14).
pub(super) fn private_memory() -> io::Result<u64> {
    Ok(private_in(&std::fs::read_to_string("/proc/self/smaps_rollup")?))
}

fn private_in(rollup: &str) -> u64 {
    let kibibytes = |line: &str| {
        let value = ["Private_Clean:", "Private_Dirty:"].iter().find_map(|name| line.strip_prefix(name))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    rollup.lines().filter_map(kibibytes).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn workers() -> Workers {
        let mut workers = Settings::for_tests().workers;
        workers.max_requests = Some(1000);
        workers.max_requests_jitter = Jitter::Percent(10);
        workers.max_lifetime = Some(Duration::from_secs(100));
        workers.max_memory = Some(400 << 20);
        workers
    }

    #[test]
    fn jitter_is_added_to_the_limits_and_reaches_both_ends() {
        let of = |random| Limits::new(&workers(), random);
        assert_eq!(
            (of(0).requests, of(100).requests, of(101).requests),
            (Some(1000), Some(1100), Some(1000))
        );
        assert_eq!(of(10_000).lifetime, Some(Duration::from_secs(110)));
        let mut workers = workers();
        workers.max_requests_jitter = Jitter::Requests(5);
        assert_eq!(Limits::new(&workers, 5).requests, Some(1005));
        assert_eq!(Limits::new(&workers, 5).lifetime, Some(Duration::from_secs(100)));
        workers.max_requests_jitter = Jitter::Requests(u64::MAX);
        assert_eq!(Limits::new(&workers, u64::MAX).requests, Some(u64::MAX));
    }

    #[test]
    fn each_limit_says_why() {
        let limits = Limits::new(&workers(), 0);
        let due = |served, memory: u64, age| limits.due(served, memory << 20, Duration::from_secs(age));
        assert_eq!(due(999, 400, 99), None);
        assert_eq!(due(1000, 0, 0).unwrap(), "it has served 1000 requests (workers.max_requests)");
        let memory = "its private memory is 512 MiB (workers.max_memory = 400 MiB)";
        assert_eq!(due(0, 512, 0).unwrap(), memory);
        assert_eq!(due(0, 0, 100).unwrap(), "it has served for 100 s (workers.max_lifetime)");
        assert_eq!(
            Limits::new(&Settings::for_tests().workers, 1).due(u64::MAX, u64::MAX, Duration::MAX),
            None
        );
    }

    #[test]
    fn private_memory_is_what_is_clean_and_what_is_dirty() {
        let rollup =
            "Rss:      900 kB\nPrivate_Clean:        12 kB\nPrivate_Dirty:   30 kB\nPrivate_Hugetlb: 4 kB\n";
        assert_eq!(private_in(rollup), 42 * 1024);
        assert!(private_memory().is_ok_and(|bytes| bytes > 0));
    }
}
