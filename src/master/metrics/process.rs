//! What the kernel knows of the master itself: proc_pid_stat(5), proc_pid_fd(5), getrlimit(2). Texts are parsed apart from where
//! they are read.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::metrics::Process;

/// This process, which was started at `started_at`.
pub(in crate::master) fn of_this_process(started_at: SystemTime) -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let system = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
    let (ticks, page_bytes) = (system(SysconfVar::CLK_TCK), system(SysconfVar::PAGE_SIZE));
    let used = used_in(&stat);
    let descriptors = fs::read_dir("/proc/self/fd").ok();
    // The one that reads the directory is closed again.
    let open_fds = descriptors.map(|it| it.count().saturating_sub(1) as u64);
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft);
    Process {
        started_at: started_at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        cpu_seconds: used.zip(ticks).map(|(used, ticks)| seconds(used.ticks, ticks)),
        resident_bytes: used.zip(page_bytes).map(|(used, bytes)| used.resident_pages * bytes),
        virtual_bytes: used.map(|used| used.virtual_bytes),
        open_fds,
        fds_max: limit.filter(|limit| *limit != RLIM_INFINITY),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// The name in brackets may hold anything; the third field follows its last bracket.
fn used_in(stat: &str) -> Option<Used> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Used { ticks: field(14)? + field(15)?, virtual_bytes: field(23)?, resident_pages: field(24)? })
}

#[allow(clippy::cast_precision_loss, reason = "ticks of a process's life are far below 2^53")]
fn seconds(ticks: u64, a_second: u64) -> f64 {
    ticks as f64 / a_second as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat =
            "7 (rwsgi: master) x)) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 1 0 12345 8192000 77 1844";
        assert_eq!(used_in(stat), Some(Used { ticks: 300, virtual_bytes: 8_192_000, resident_pages: 77 }));
        assert_eq!((used_in(""), used_in("7 (x) S 1")), (None, None));
    }

    #[test]
    fn this_process_is_known() {
        let process = of_this_process(UNIX_EPOCH);
        assert!(process.cpu_seconds.is_some() && process.fds_max != Some(0));
        assert!(process.resident_bytes > Some(0) && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_fds >= Some(3));
    }
}
