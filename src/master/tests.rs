//! The whole master with a worker that only speaks the protocol. A master forks, takes signals and ends its process's
//! children, so each test runs it in a process of its own: this test binary again, with one ignored test as its program.
//! What a worker does is told to the test through files.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::config::{
    App, Forwarded, Http, Log, LogFormat, Preload, Proxy, ProxyProtocol, Server, Sink, Target, Trusted, User,
    Workers,
};
use crate::ipc::{FromWorker, Programs, Seat, TemplateMain, TemplateSeat, ToWorker, WorkerMain};
use crate::net::Bind;

const DIRECTORY: &str = "RWSGI_TEST_MASTER_DIRECTORY";

fn settings(directory: &Path) -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        file: None,
        app: App {
            target: Target { module: "app".to_owned(), callable: "application".to_owned() },
            directory: directory.to_path_buf(),
            virtualenv: None,
            pythonpath: Vec::new(),
            environment: Vec::new(),
            mount: String::new(),
            preload: Preload::Never,
        },
        server: Server {
            bind: vec![Bind::Unix(directory.join("x.sock"))],
            bind_is_default: false,
            backlog: 16,
            user: None,
            group: None,
            umask: Some(0o022),
            socket_mode: 0o600,
            pid_file: Some(directory.join("pid")),
            process_name: "rwsgi".to_owned(),
        },
        workers: Workers {
            count: 2,
            threads: 1,
            boot_timeout: 60 * second,
            graceful_timeout: 5 * second,
            ..Settings::for_tests().workers
        },
        http: Http {
            keep_alive: second,
            header_timeout: second,
            body_timeout: second,
            write_timeout: second,
            max_request_line: 1,
            max_headers: 1,
            max_header_bytes: 1,
            max_body: 1,
            body_memory: 1,
            request_buffering: true,
            max_connections: 1,
            queue_timeout: None,
            server_header: String::new(),
        },
        proxy: Proxy {
            trusted: Trusted { networks: Vec::new(), unix: true },
            forwarded: Forwarded::None,
            protocol: ProxyProtocol::Off,
        },
        log: Log {
            level: log::LevelFilter::Info,
            file: Sink::Standard,
            format: LogFormat::Text,
            access: Sink::Off,
            access_format: String::new(),
            access_exclude: Vec::new(),
            slow_request: None,
        },
        ..Settings::for_tests()
    }
}

/// The program of the test processes: a master with [`Talker`] workers.
#[test]
#[ignore = "the program of the other tests, not a test"]
fn runs_a_master() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).target(env_logger::Target::Stdout).init();
    let worker = Talker { directory: directory.clone() };
    let mut initial = settings(&directory);
    if directory.join("as-nobody").exists() {
        initial.server.user = Some(User { name: "nobody".to_owned(), id: 65534, primary_group: 65534 });
    }
    let reloaded = initial.clone();
    let load = move || {
        if directory.join("misconfigured").exists() {
            Err("app.toml:1: first\napp.toml:2: second".to_owned())
        } else {
            Ok(reloaded.clone())
        }
    };
    let programs = Programs { worker: Box::new(worker), template: Box::new(NoTemplate) };
    let code = run_with(Box::new(load), initial, programs);
    sys::exit_now(code);
}

/// Another process of this program, for the test of the pid file.
#[test]
#[ignore = "the program of another test, not a test"]
fn waits_for_its_input() {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
}

/// A running master and what it says.
struct Master {
    directory: tempfile::TempDir,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
}

impl Master {
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "master::tests::runs_a_master", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { directory, process, lines, said: Vec::new() }
    }

    /// Reads until a line holds `wanted`. The end of the output fails the test.
    fn wait_for(&mut self, wanted: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.said.push(line.clone());
            if line.contains(wanted) {
                return line;
            }
        }
        panic!("{wanted:?} was never said:\n{}", self.said.join("\n"));
    }

    fn signal(&self, signal: i32) {
        sys::process::send_signal(i32::try_from(self.process.id()).unwrap(), signal).unwrap();
    }

    /// Waits for its end: every process that has its output open is gone then, workers included.
    fn end(mut self) -> (Option<i32>, String) {
        let rest: Vec<String> = self.lines.by_ref().map(Result::unwrap).collect();
        self.said.extend(rest);
        (self.process.wait().unwrap().code(), self.said.join("\n"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn pid_in(line: &str) -> i32 {
    line.split("pid=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn workers_boot_serve_and_drain() {
    let mut master = Master::start(|_| {});
    master.wait_for("listening on unix:");
    master.wait_for("generation 1 serves: 2 workers × 1 thread");
    let path = master.directory.path().to_path_buf();
    let pid = fs::read_to_string(path.join("pid")).unwrap();
    assert_eq!(pid.trim(), master.process.id().to_string());
    master.signal(libc::SIGTERM);
    master.wait_for("stopping (SIGTERM): draining 2 workers, at most 5s");
    master.wait_for("stopped");
    assert!(!path.join("pid").exists());
    assert!(!path.join("x.sock").exists());
    let (code, said) = master.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("@ drained").count(), 2, "{said}");
}

#[test]
fn a_failed_boot_is_told_once_and_exits_with_3() {
    let master = Master::start(|directory| fs::write(directory.join("broken"), "").unwrap());
    let (code, said) = master.end();
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(said.matches("no module named app").count(), 1, "{said}");
    assert_eq!(said.matches("Traceback").count(), 1, "{said}");
}

#[test]
fn a_killed_worker_is_replaced() {
    let mut master = Master::start(|_| {});
    let first = pid_in(&master.wait_for("@ ready gen=1"));
    master.wait_for("generation 1 serves");
    sys::process::send_signal(first, libc::SIGKILL).unwrap();
    master.wait_for("was killed by signal 9 (SIGKILL) after");
    assert_ne!(pid_in(&master.wait_for("@ ready gen=1")), first);
    master.signal(libc::SIGINT);
    master.wait_for("stopping (SIGINT): at once");
    assert_eq!(master.end().0, Some(0));
}

#[test]
fn a_reload_changes_over_and_a_broken_one_does_not() {
    let mut master = Master::start(|_| {});
    master.wait_for("generation 1 serves");
    let path = master.directory.path().to_path_buf();
    fs::write(path.join("misconfigured"), "").unwrap();
    master.signal(libc::SIGHUP);
    master.wait_for("app.toml:1: first");
    master.wait_for("app.toml:2: second");
    master.wait_for("reload refused: generation 1 keeps serving");
    fs::remove_file(path.join("misconfigured")).unwrap();
    fs::write(path.join("broken"), "").unwrap();
    master.signal(libc::SIGHUP);
    master.wait_for("reload failed: generation 2 discarded: no module named app; generation 1 keeps serving");
    fs::remove_file(path.join("broken")).unwrap();
    master.signal(libc::SIGHUP);
    master.wait_for("generation 3 serves: 2 workers × 1 thread; retiring generation 1");
    master.signal(libc::SIGTERM);
    let (code, said) = master.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("@ drained gen=1").count(), 2, "{said}");
    assert_eq!(said.matches("@ serving gen=2").count(), 0, "{said}");
}

#[test]
fn workers_come_and_go_with_ttin_and_ttou() {
    let mut master = Master::start(|_| {});
    master.wait_for("generation 1 serves");
    master.signal(libc::SIGTTIN);
    master.wait_for("@ serving gen=1 slot=2");
    master.signal(libc::SIGTTOU);
    master.wait_for("@ drained gen=1 slot=2");
    master.signal(libc::SIGUSR1);
    master.wait_for("@ reopened");
    master.signal(libc::SIGWINCH);
    master.wait_for("SIGWINCH is ignored");
    master.signal(libc::SIGQUIT);
    assert_eq!(master.end().0, Some(0));
}

#[test]
fn a_master_started_by_root_becomes_its_user() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let mut master = Master::start(|directory| {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(directory.join("as-nobody"), "").unwrap();
    });
    let worker = pid_in(&master.wait_for("@ ready"));
    master.wait_for("generation 1 serves");
    for pid in [worker.to_string(), master.process.id().to_string()] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for name in ["Uid", "Gid"] {
            assert!(status.contains(&format!("{name}:\t65534\t65534\t65534\t65534")), "{status}");
        }
    }
    let path = master.directory.path().to_path_buf();
    assert_eq!(fs::metadata(path.join("x.sock")).unwrap().uid(), 65534);
    master.signal(libc::SIGTERM);
    assert_eq!(master.end().0, Some(0));
}

#[test]
fn workers_die_with_their_master() {
    let mut master = Master::start(|_| {});
    master.wait_for("generation 1 serves");
    master.signal(libc::SIGKILL);
    // Ends only when no worker has the output open any more.
    assert_eq!(master.end().0, None);
}

#[test]
fn a_hundred_spawns_leak_no_descriptor() {
    let mut master = Master::start(|_| {});
    let open = |line: &str| line.rsplit("open=").next().unwrap().to_owned();
    let own = |master: &Master| fs::read_dir(format!("/proc/{}/fd", master.process.id())).unwrap().count();
    master.wait_for("generation 1 serves");
    let first = own(&master);
    master.signal(libc::SIGHUP);
    master.wait_for("generation 2 serves");
    master.signal(libc::SIGUSR1);
    let before = open(&master.wait_for("@ reopened gen=2"));
    for generation in 3..53 {
        master.signal(libc::SIGHUP);
        master.wait_for(&format!("generation {generation} serves"));
    }
    master.signal(libc::SIGUSR1);
    let after = open(&master.wait_for("@ reopened gen=52"));
    let last = own(&master);
    assert_eq!(before, after);
    assert!(last < first + 10, "the master had {first} descriptors and has {last}");
    master.signal(libc::SIGTERM);
    assert_eq!(master.end().0, Some(0));
}

/// Tells every step on standard output; fails to boot while a file `broken` is there.
#[derive(Debug)]
struct Talker {
    directory: PathBuf,
}

impl Talker {
    fn tell(seat: &Seat, what: &str) {
        let open = sys::descriptors::list_open().map_or(0, |open| open.len());
        let pid = std::process::id();
        println!("@ {what} gen={} slot={} pid={pid} open={open}", seat.generation, seat.slot);
    }
}

/// These masters fork their workers themselves.
#[derive(Debug)]
struct NoTemplate;

impl TemplateMain for NoTemplate {
    fn run(&self, _: TemplateSeat) -> i32 {
        9
    }
}

impl WorkerMain for Talker {
    fn run(&self, seat: Seat) -> i32 {
        let Ok(signals) = sys::signals::install_worker_handlers() else { return 9 };
        if self.directory.join("broken").exists() {
            let (summary, traceback) = ("no module named app".to_owned(), Some("Traceback\n".to_owned()));
            let message = FromWorker::BootFailed { exit_code: 3, summary, traceback };
            return seat.channel.send_to_master(&message).map_or(9, |()| 3);
        }
        Self::tell(&seat, "ready");
        if seat.channel.send_to_master(&FromWorker::Ready).is_err() {
            return 9;
        }
        loop {
            let wanted = PollFlags::POLLIN;
            let mut sources =
                [PollFd::new(signals.as_fd(), wanted), PollFd::new(seat.channel.as_fd(), wanted)];
            poll(&mut sources, PollTimeout::NONE).ok();
            let mut byte = [0];
            if matches!(nix::unistd::read(&signals, &mut byte), Ok(1)) {
                return if i32::from(byte[0]) == libc::SIGTERM { 0 } else { 1 };
            }
            match seat.channel.receive_from_master() {
                Ok(Some(ToWorker::Serve)) => Self::tell(&seat, "serving"),
                Ok(Some(ToWorker::Drain | ToWorker::Stop)) => {
                    Self::tell(&seat, "drained");
                    return 0;
                }
                Ok(Some(ToWorker::ReopenLogs)) => Self::tell(&seat, "reopened"),
                Ok(Some(ToWorker::Check | ToWorker::Dump)) => {}
                Ok(None) => return 9,
                Err(_) => {}
            }
        }
    }
}
