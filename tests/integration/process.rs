//! Processes as /proc shows them: what belongs to a server, and whether it is still there.

use std::fs;

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// `R`, `S`, `Z` and so on.
    pub(crate) state: char,
    /// The command line, its arguments joined by blanks; it is what `setproctitle` changes.
    pub(crate) title: String,
}

/// All living processes of the process group `group`: no zombies, and none that the kernel is taking down (its memory
/// is gone, so it has no command line).
pub(crate) fn group(group: i32) -> Vec<Process> {
    let is_living = |process: &Process| process.state != 'Z' && !process.title.is_empty();
    all().into_iter().filter(|process| process.group == group && is_living(process)).collect()
}

/// The zombies of the process group `group`: they have ended, and nobody has taken note. Those that were left to process 1
/// are its business.
#[allow(dead_code, reason = "the chaos suite counts them")]
pub(crate) fn zombies(group: i32) -> Vec<Process> {
    let is_left = |process: &Process| process.state == 'Z' && process.parent != 1;
    all().into_iter().filter(|process| process.group == group && is_left(process)).collect()
}

/// The living children of `parent`.
pub(crate) fn children(parent: i32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == parent && process.state != 'Z').collect()
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): the name in brackets may hold anything; the fields follow its last bracket.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ").trim().to_owned();
    Some(Process { pid, parent, group, state, title })
}
