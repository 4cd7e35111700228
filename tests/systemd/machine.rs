//! A systemd in namespaces of its own: its mounts, processes, network, names and control groups are not those of this machine.
//!
//! Invariant: when the value is dropped, the first process in the namespace is killed, and with it everything in there; the
//! control group is removed.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::client::{Address, Client};
use crate::harness::{PATIENCE, Program, root, scrub};
use crate::{install, process};

const NAMESPACES: [&str; 8] =
    ["-m", "-p", "-f", "-i", "-u", "-n", "--propagation=private", "--kill-child=SIGKILL"];

/// What `boot.sh` will need, tried in namespaces that end at once.
const TRIAL: &str = "
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
mknod /mnt/null c 1 3
: >/mnt/null
groups=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)
test -w \"$groups/\" || { echo 'control groups (version 2) cannot be made' >&2; exit 1; }
";

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `unshare`, whose child is the systemd.
    program: Option<Program>,
    journal: Option<Program>,
    /// The process id of the systemd, out here.
    systemd: i32,
    work: TempDir,
}

/// Why there cannot be one.
pub(crate) fn obstacle() -> Option<String> {
    if !geteuid().is_root() {
        return Some("it needs root, for namespaces and mounts".to_owned());
    }
    for (file, package) in [("/lib/systemd/systemd", "systemd"), ("/usr/bin/unshare", "util-linux")] {
        if !Path::new(file).exists() {
            return Some(format!("{file} is missing: apt-get install {package}"));
        }
    }
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).args(["sh", "-euc", TRIAL]).stdin(Stdio::null());
    let output = command.output().expect("unshare can be run");
    (!output.status.success()).then(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("this machine (a container?) does not allow what a systemd of its own needs: {}", said.trim())
    })
}

impl Machine {
    /// Boots one with these files.
    pub(crate) fn boot(work: TempDir) -> Self {
        let notify = UnixDatagram::bind(work.path().join("shared/notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        // A test that is killed takes the machine with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]).args(NAMESPACES);
        command.arg("sh").arg(root().join("tests/systemd/boot.sh")).arg(work.path());
        command.arg(install::packages()).stdin(Stdio::null());
        let program = Program::spawn(command);
        let mut machine = Self { program: Some(program), journal: None, systemd: 0, work };
        machine.wait_until_booted(&notify);
        let output = machine.command(&["journalctl", "-f", "-n", "all", "-o", "cat"]);
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" >&2", "sh"]).arg(output.get_program()).args(output.get_args());
        machine.journal = Some(Program::spawn(command));
        machine
    }

    fn wait_until_booted(&mut self, notify: &UnixDatagram) {
        let program = self.program.as_ref().expect("it runs");
        let mut buffer = [0; 4096];
        loop {
            let heard = notify.recv(&mut buffer);
            let length = heard
                .unwrap_or_else(|error| panic!("systemd has not booted: {error}\n{}", program.log.text()));
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == "READY=1") {
                break;
            }
        }
        let children = process::children(program.pid);
        self.systemd = children.first().expect("the systemd is a child of unshare").pid;
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.systemd.to_string(), "-m", "-p", "-i", "-u", "-C", "-n", "--"]).args(words);
        scrub(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a program on the machine.
    pub(crate) fn try_run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("nsenter can be run")
    }

    /// Runs a program on the machine and insists on success; what it has written to standard output.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words);
        assert!(output.status.success(), "{words:?}: {output:?}\n--- journal\n{}", self.journal());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", name, unit])
    }

    pub(crate) fn version(&self) -> String {
        let text = self.run(&["systemctl", "--version"]);
        text.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    /// Where a file of the machine is, out here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.systemd))
    }

    /// A socket of the machine: unix sockets can be connected to from out here.
    pub(crate) fn socket(&self, path: &str) -> Address {
        Address::Unix(self.path(path))
    }

    /// The answer to a GET over such a socket.
    #[track_caller]
    pub(crate) fn get(&self, socket: &str, path: &str) -> String {
        Client::connect(&self.socket(socket)).get(path).expect(200).text()
    }

    /// Waits until the journal has this text so many times.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, count: usize) -> String {
        self.journal.as_ref().expect("it runs").wait_for_nth(text, count)
    }

    /// How many records of the journal have this text now.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.journal().lines().filter(|line| line.contains(text)).count()
    }

    /// Everything in the journal so far.
    pub(crate) fn journal(&self) -> String {
        self.run_quietly(&["journalctl", "--sync"]);
        self.run_quietly(&["journalctl", "-n", "all", "-o", "cat", "--no-pager"])
    }

    fn run_quietly(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.try_run(words).stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.systemd != 0 {
            eprintln!("--- journal\n{}", self.journal());
        }
        let group = fs::read_to_string(self.work.path().join("cgroup")).unwrap_or_default();
        if self.systemd != 0 {
            // Everything in the namespace ends with its first process.
            kill(Pid::from_raw(self.systemd), Signal::SIGKILL).ok();
        }
        let mut program = self.program.take().expect("it runs until now");
        if self.systemd == 0 {
            program.signal(Signal::SIGKILL);
        }
        program.wait();
        drop(self.journal.take());
        if !group.trim().is_empty() {
            remove_groups(Path::new(group.trim()));
        }
    }
}

/// Removes a control group and those below it, which have no processes any more.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(group).ok();
}
