//! What the kernel knows about our processes: whether its out-of-memory killer was at work, what a process is doing, how
//! much memory it uses. Texts are parsed apart from where they are read.
//!
//! How it is used: [`OutOfMemory::watch`] at the start of the master; when a process was ended by SIGKILL that the master did not
//! send, [`OutOfMemory::killer`] gives `Death::by`. For `Event::Silent`: [`state_of`]. For `rwsgi ctl status`: [`memory_of`].

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Watches the kernel's count of its out-of-memory kills.
#[derive(Debug)]
pub(super) struct OutOfMemory {
    counter: Counter,
    /// At the last look.
    kills: u64,
}

/// Where kills are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Counter {
    /// Those of our cgroup.
    Cgroup {
        /// A file with a line `oom_kill N`.
        events: PathBuf,
        /// A file with the limit.
        limit: PathBuf,
        /// The limit's name.
        limit_name: &'static str,
    },
    /// Those of the whole system (`/proc/vmstat`).
    System,
}

impl OutOfMemory {
    /// Begins to count, in the cgroup of this process if that counts kills, else in the whole system.
    pub(super) fn watch() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::watch_in(&own, Path::new("/sys/fs/cgroup"))
    }

    /// `own` is `/proc/self/cgroup`, `root` is where the cgroups are mounted.
    fn watch_in(own: &str, root: &Path) -> Self {
        let counter = counters(own, root).into_iter().find(|counter| counter.read().is_some());
        let counter = counter.unwrap_or(Counter::System);
        let kills = counter.read().unwrap_or(0);
        Self { counter, kills }
    }

    /// How many kills there were since the last look.
    fn kills_since_last_look(&mut self) -> u64 {
        let Some(kills) = self.counter.read() else { return 0 };
        let new = kills.saturating_sub(self.kills);
        self.kills = kills;
        new
    }

    /// Who ended a process by a SIGKILL that we did not send, if that can be told: a clause for `was killed by signal 9
    /// (SIGKILL)`.
    pub(super) fn killer(&mut self) -> Option<String> {
        let kills = self.kills_since_last_look();
        let limit = match &self.counter {
            Counter::Cgroup { limit, limit_name, .. } => {
                fs::read_to_string(limit).ok().and_then(|text| Some((*limit_name, parse_limit(&text)?)))
            }
            Counter::System => None,
        };
        clause(&self.counter, kills, limit)
    }
}

impl Counter {
    fn read(&self) -> Option<u64> {
        let path = match self {
            Self::Cgroup { events, .. } => events.as_path(),
            Self::System => Path::new("/proc/vmstat"),
        };
        field(&fs::read_to_string(path).ok()?, "oom_kill")
    }
}

fn clause(counter: &Counter, kills: u64, limit: Option<(&str, u64)>) -> Option<String> {
    match (counter, kills) {
        (_, 0) => None,
        (Counter::Cgroup { .. }, _) => Some(match limit {
            Some((name, bytes)) => {
                format!("by the kernel's out-of-memory killer ({name} of its cgroup is {})", Bytes(bytes))
            }
            None => "by the kernel's out-of-memory killer (its cgroup counted a kill)".to_owned(),
        }),
        (Counter::System, 1) => Some(
            "probably by the kernel's out-of-memory killer (the system counted one kill meanwhile)"
                .to_owned(),
        ),
        (Counter::System, kills) => Some(format!(
            "probably by the kernel's out-of-memory killer (the system counted {kills} kills meanwhile)"
        )),
    }
}

/// Where our cgroup may count kills, the best first (cgroups(7)): each line is `ID:CONTROLLERS:PATH`, that of version 2 has
/// the number 0 and no controllers.
fn counters(own: &str, root: &Path) -> Vec<Counter> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let inside = path.trim_start_matches('/');
        // In a container the path may be that of the host, and what is mounted is our cgroup itself.
        if number == "0" && controllers.is_empty() {
            for folder in [root.join(inside), root.join("unified").join(inside), root.to_owned()] {
                found.push(Counter::Cgroup {
                    events: folder.join("memory.events"),
                    limit: folder.join("memory.max"),
                    limit_name: "memory.max",
                });
            }
        } else if controllers.split(',').any(|controller| controller == "memory") {
            for folder in [root.join("memory").join(inside), root.join("memory")] {
                found.push(Counter::Cgroup {
                    events: folder.join("memory.oom_control"),
                    limit: folder.join("memory.limit_in_bytes"),
                    limit_name: "memory.limit_in_bytes",
                });
            }
        }
    }
    found
}

/// The number behind a name, in lines of `NAME NUMBER`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// A limit in bytes; `None` for none. Without one, version 1 shows a number near the largest.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < 1 << 60)
}

/// What a process is doing: `running`, `sleeping`, `waiting for a disk`, `stopped`, `dead`.
pub(super) fn state_of(pid: i32) -> &'static str {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state_in(&stat)
}

/// proc_pid_stat(5): the name in brackets may hold anything; the state follows its last bracket.
fn state_in(stat: &str) -> &'static str {
    let state = stat.rfind(')').and_then(|end| stat[end + 1..].trim_start().chars().next());
    match state {
        Some('R') => "running",
        Some('S' | 'I') => "sleeping",
        Some('D') => "waiting for a disk",
        Some('T' | 't') => "stopped",
        Some('Z' | 'X' | 'x') | None => "dead",
        Some(_) => "in an unknown state",
    }
}

/// The memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// What it shares with no other process.
    pub(super) private: u64,
    /// Its share of what it uses together with others, and what it uses alone.
    pub(super) proportional: u64,
}

/// The memory of a process; `None` when it has ended, or may not be looked at.
pub(super) fn memory_of(pid: i32) -> Option<Memory> {
    memory_in(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

/// proc_pid_smaps(5): lines of `Private_Dirty:  120 kB`.
fn memory_in(rollup: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let value =
            |line: &str| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
        rollup.lines().find_map(value).map(|kib| kib * 1024)
    };
    Some(Memory {
        private: bytes("Private_Clean:")? + bytes("Private_Dirty:")?,
        proportional: bytes("Pss:")?,
    })
}

/// Bytes for people: `256 MiB`, `1.5 GiB`.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1024 => return write!(f, "{} bytes", self.0),
            1024..0x10_0000 => (1024, "KiB"),
            0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
            _ => (1 << 30, "GiB"),
        };
        let tenths = self.0 * 10 / unit;
        match tenths % 10 {
            0 => write!(f, "{} {name}", tenths / 10),
            rest => write!(f, "{}.{rest} {name}", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";

    fn cgroup(folder: &str) -> Counter {
        let folder = Path::new(folder);
        Counter::Cgroup {
            events: folder.join("memory.events"),
            limit: folder.join("memory.max"),
            limit_name: "memory.max",
        }
    }

    #[test]
    fn counters_are_read_by_their_whole_name() {
        assert_eq!(field(EVENTS, "oom_kill"), Some(2));
        assert_eq!(field(EVENTS, "oom"), Some(3));
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill"), Some(5));
        assert_eq!(field("oom_kill_disable 0\n", "oom_kill"), None);
        assert_eq!(field("oom_kill x", "oom_kill"), None);
    }

    #[test]
    fn our_cgroup_is_found_in_every_layout() {
        let root = Path::new("/sys/fs/cgroup");
        let v2 = counters("0::/system.slice/app.service\n", root);
        assert_eq!(v2[0], cgroup("/sys/fs/cgroup/system.slice/app.service"));
        assert_eq!(v2[2], cgroup("/sys/fs/cgroup"), "inside a container");
        let v1 = counters("9:cpu,memory:/docker/a:b\n1:name=systemd:/x\n", root);
        let expected = Counter::Cgroup {
            events: "/sys/fs/cgroup/memory/docker/a:b/memory.oom_control".into(),
            limit: "/sys/fs/cgroup/memory/docker/a:b/memory.limit_in_bytes".into(),
            limit_name: "memory.limit_in_bytes",
        };
        assert_eq!((v1.len(), &v1[0]), (2, &expected));
        assert_eq!(counters("", root), []);
        assert_eq!(counters("rubbish\n0:x\n", root), []);
    }

    #[test]
    fn kills_of_the_cgroup_are_told_with_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("memory.events"), EVENTS).unwrap();
        fs::write(folder.join("memory.max"), "268435456\n").unwrap();
        let mut watch = OutOfMemory::watch_in("0::/app\n", root.path());
        assert_eq!(watch.counter, cgroup(folder.to_str().unwrap()));
        assert_eq!(watch.killer(), None);
        fs::write(folder.join("memory.events"), "oom_kill 3\n").unwrap();
        let said = "by the kernel's out-of-memory killer (memory.max of its cgroup is 256 MiB)";
        assert_eq!(watch.killer().as_deref(), Some(said));
        assert_eq!(watch.killer(), None, "each kill is told once");
        fs::write(folder.join("memory.events"), "oom_kill 4\n").unwrap();
        fs::write(folder.join("memory.max"), "max\n").unwrap();
        let said = "by the kernel's out-of-memory killer (its cgroup counted a kill)";
        assert_eq!(watch.killer().as_deref(), Some(said));
        fs::remove_file(folder.join("memory.events")).unwrap();
        assert_eq!(watch.killer(), None);
    }

    #[test]
    fn kills_of_the_system_are_only_probable() {
        let root = tempfile::tempdir().unwrap();
        let watch = OutOfMemory::watch_in("0::/app\n", root.path());
        assert_eq!(watch.counter, Counter::System);
        let said = |kills| clause(&Counter::System, kills, None);
        assert_eq!(said(0), None);
        let one = "probably by the kernel's out-of-memory killer (the system counted one kill meanwhile)";
        assert_eq!(said(1).as_deref(), Some(one));
        assert!(said(2).unwrap().ends_with("(the system counted 2 kills meanwhile)"));
    }

    /// A cgroup below our own, with a limit of 32 MiB; `None` where none can be made.
    fn small_cgroup() -> Option<Counter> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        counters(&own, Path::new("/sys/fs/cgroup")).into_iter().find_map(|counter| {
            let Counter::Cgroup { events, limit, limit_name } = counter else { return None };
            let folder = events.parent()?.join(format!("rwsgi-test-{}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            let [events, limit] = [events, limit].map(|file| folder.join(file.file_name().unwrap()));
            let inner = Counter::Cgroup { events, limit: limit.clone(), limit_name };
            if inner.read().is_some() && fs::write(limit, "33554432").is_ok() {
                return Some(inner);
            }
            fs::remove_dir(folder).unwrap();
            None
        })
    }

    #[test]
    fn a_real_kill_is_seen() {
        let Some(counter) = small_cgroup() else {
            println!("skipped: this process may not make a memory cgroup below its own");
            return;
        };
        let Counter::Cgroup { events, .. } = &counter else { panic!("{counter:?}") };
        let folder = events.parent().unwrap().to_owned();
        // Version 2 would swap first.
        fs::write(folder.join("memory.swap.max"), "0").ok();
        let mut watch = OutOfMemory { counter, kills: 0 };
        // It keeps the last line, which never ends.
        let script = format!("echo $$ > {}/cgroup.procs && exec tail /dev/zero", folder.display());
        let status = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
        let said = watch.killer();
        fs::remove_dir(folder).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        let said = said.unwrap();
        assert!(said.starts_with("by the kernel's out-of-memory killer (memory."), "{said}");
        assert!(said.ends_with(" of its cgroup is 32 MiB)"), "{said}");
        assert_eq!(watch.killer(), None);
    }

    #[test]
    fn limits() {
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(parse_limit("1048576\n"), Some(1 << 20));
        for (bytes, text) in [
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (256 << 20, "256 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX >> 10, "16777215.9 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn states_in_words() {
        for (stat, word) in [
            ("1 (rwsgi) S 0", "sleeping"),
            ("1 (rwsgi: worker (x) R) D 0", "waiting for a disk"),
            ("1 (rwsgi) R 0", "running"),
            ("1 (rwsgi) T 0", "stopped"),
            ("1 (rwsgi) t 0", "stopped"),
            ("1 (rwsgi) Z 0", "dead"),
            ("1 (rwsgi) ? 0", "in an unknown state"),
            ("", "dead"),
        ] {
            assert_eq!(state_in(stat), word, "{stat}");
        }
        assert_eq!(state_of(i32::MAX), "dead");
        assert!(["running", "sleeping"].contains(&state_of(nix::unistd::getpid().as_raw())));
    }

    #[test]
    fn memory_from_the_rollup() {
        let rollup = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:    2000 kB\nPss:    700 kB\nPss_Dirty:   1 kB\n\
                      Private_Clean:   100 kB\nPrivate_Dirty:   20 kB\n";
        let memory = Memory { private: 120 * 1024, proportional: 700 * 1024 };
        assert_eq!(memory_in(rollup), Some(memory));
        assert_eq!(memory_in("Pss: 1 kB\n"), None);
        assert_eq!(memory_of(i32::MAX), None);
        if Path::new("/proc/self/smaps_rollup").exists() {
            let own = memory_of(nix::unistd::getpid().as_raw()).unwrap();
            assert!(own.private > 0 && own.proportional >= own.private, "{own:?}");
        } else {
            println!("skipped: this kernel has no smaps_rollup");
        }
    }
}
