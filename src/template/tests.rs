//! The whole template with an application that has no interpreter. A template forks, so each test runs in a process of its
//! own: this test binary again, with one ignored test as its program, which plays the master.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::RawFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use super::*;
use crate::app::{Attached, LoadErrorKind, Overseer, RequestId};
use crate::config::Settings;
use crate::ipc::ToWorker;
use crate::net::{Bind, Listener};

/// What the application of the test program does at its import.
const IMPORT: &str = "RWSGI_TEST_TEMPLATE_IMPORT";

/// Tells on standard output what it sees, in lines that begin with `>`.
#[derive(Debug)]
struct Telling {
    listener: RawFd,
    _connection: Option<(TcpListener, TcpStream)>,
}

impl Application for Telling {
    fn attach(&self, _: &str, body: &mut dyn FnMut(&mut dyn Attached)) {
        body(&mut Nothing);
    }

    fn freeze(&self) {
        println!("\n>frozen");
    }

    fn thread_names(&self) -> Vec<(i32, String)> {
        Vec::new()
    }

    fn fork(&self, fork: &mut dyn FnMut() -> io::Result<Fork>) -> io::Result<Fork> {
        fork()
    }

    fn settle(
        &mut self,
        _: &Settings,
        identity: Identity,
        crash_log: Option<&File>,
    ) -> Result<(), LoadError> {
        println!("\n>settled in slot {} crash log {}", identity.slot, crash_log.is_some());
        Ok(())
    }

    fn worker_start(&self, _: &Settings, _: Identity) -> Result<(), LoadError> {
        let parent = std::env::var("RWSGI_TEST_MASTER").unwrap_or_default();
        println!("\n>child of the master {}", parent == getppid().to_string());
        println!("\n>listener {}", is_open(self.listener));
        // What the application forks must not hold the listener.
        match sys::process::fork().unwrap() {
            Fork::Child => sys::exit_now(i32::from(is_open(self.listener))),
            Fork::Parent(pid) => {
                let status = waitpid(Pid::from_raw(pid), None).unwrap();
                println!("\n>withheld {}", status == WaitStatus::Exited(Pid::from_raw(pid), 0));
            }
        }
        Ok(())
    }

    fn worker_exit(&self, _: &Settings, _: Identity) {
        println!("\n>exits");
    }

    fn overseer(&self) -> Arc<dyn Overseer> {
        Arc::new(Nothing)
    }

    fn dump_stacks_on(&self, _: i32, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn finalize(&self) {}
}

fn is_open(fd: RawFd) -> bool {
    sys::descriptors::list_open().unwrap().contains(&fd)
}

#[derive(Debug)]
struct Nothing;

impl Attached for Nothing {
    fn call(&mut self, exchange: &mut dyn crate::app::Exchange) -> crate::app::AfterCall {
        exchange.abort();
        crate::app::AfterCall::Continue
    }

    fn detached(&mut self, wait: &mut dyn FnMut()) {
        wait();
    }
}

impl Overseer for Nothing {
    fn deadline(&self, _: &RequestId) -> Option<Duration> {
        None
    }

    fn interrupt(&self, _: &RequestId) -> bool {
        false
    }
}

#[derive(Debug)]
struct TellingLoader {
    import: String,
    listener: RawFd,
}

impl Loader for TellingLoader {
    fn load(&self, _: &Settings, _: Identity, _: Option<&File>) -> Result<Box<dyn Application>, LoadError> {
        let connection = match self.import.as_str() {
            "fails" => {
                let summary = "no module named app".to_owned();
                return Err(LoadError { kind: LoadErrorKind::Import, summary, traceback: None });
            }
            "connects" => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                Some((listener, stream))
            }
            _ => None,
        };
        Ok(Box::new(Telling { listener: self.listener, _connection: connection }))
    }
}

/// What the test program, as master, holds of a template.
struct Master {
    template: i32,
    channel: Channel,
    settings: Settings,
}

impl Master {
    fn start(import: String, preload: Preload) -> Self {
        sys::process::become_subreaper().unwrap();
        let master = getpid().as_raw();
        sys::environment::set_variables(&[("RWSGI_TEST_MASTER".to_owned(), master.to_string())]);
        let mut settings = Settings::for_tests();
        settings.app.preload = preload;
        let bind = Bind::Tcp("127.0.0.1:0".parse().unwrap());
        let listeners = Listener::bind(&bind, 1, 0o600).unwrap();
        let (ours, theirs) = Channel::pair().unwrap();
        let scoreboard = Scoreboard::create(settings.workers.threads).unwrap();
        let roster = Arc::new(crate::ipc::Roster::create().unwrap());
        match sys::process::fork().unwrap() {
            Fork::Parent(template) => Self { template, channel: ours, settings },
            Fork::Child => {
                drop(ours);
                let loader = TellingLoader { import, listener: listeners[0].as_fd().as_raw_fd() };
                let settings = settings.clone();
                let seat = TemplateSeat {
                    generation: 1,
                    settings,
                    listeners,
                    channel: theirs,
                    scoreboard,
                    roster,
                    master,
                };
                sys::exit_now(Template::new(Box::new(loader)).run(seat))
            }
        }
    }

    fn message(&self) -> Option<FromTemplate> {
        self.channel.wait().unwrap();
        self.channel.receive_from_template().unwrap()
    }

    /// Has a worker forked in this slot; its process id and its channel.
    fn fork(&self, slot: u32) -> (i32, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        let scoreboard = Scoreboard::create(self.settings.workers.threads).unwrap();
        let message = ToTemplate::Fork { id: u64::from(slot) + 7, slot };
        self.channel.send_to_template(message, &[theirs.as_fd(), scoreboard.as_fd()]).unwrap();
        match self.message() {
            Some(FromTemplate::Forked { id, pid }) if id == u64::from(slot) + 7 => (pid, ours),
            other => panic!("{other:?}"),
        }
    }
}

fn ends(pid: i32) -> WaitStatus {
    waitpid(Pid::from_raw(pid), None).unwrap()
}

/// The program of the other tests: a master, told by the environment what its application does.
#[test]
#[ignore = "the program of the other tests, not a test"]
fn runs_a_template() {
    let import = std::env::var(IMPORT).unwrap();
    let preload = if import == "connects anyway" { Preload::Always } else { Preload::Auto };
    let master = Master::start(import.replace(" anyway", ""), preload);
    let first = master.message();
    println!("\n>{first:?}");
    if first == Some(FromTemplate::Ready) {
        // A terminal's Ctrl-C reaches the template too.
        sys::process::send_signal(master.template, libc::SIGINT).unwrap();
        let (pid, channel) = master.fork(3);
        channel.wait().unwrap();
        println!("\n>worker {:?}", channel.receive_from_worker().unwrap().unwrap());
        let (other, _) = master.fork(4);
        // The end of its channel tells it that its master is gone.
        ends(other);
        drop(master.channel);
        println!("\n>template {}", ends(master.template) == exited(master.template, 0));
        channel.send_to_worker(ToWorker::Drain).unwrap();
        println!("\n>worker ended {}", ends(pid) == exited(pid, 0));
    } else {
        println!("\n>template {:?}", ends(master.template));
    }
}

fn exited(pid: i32, code: i32) -> WaitStatus {
    WaitStatus::Exited(Pid::from_raw(pid), code)
}

/// What the program told, in order.
fn run(import: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "template::tests::runs_a_template"]);
    command.args(["--ignored", "--nocapture", "--test-threads=1"]).env(IMPORT, import);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.strip_prefix('>').map(str::to_owned)).collect()
}

#[test]
fn workers_are_children_of_the_master_and_outlive_the_template() {
    let told = run("works");
    for line in [
        "frozen",
        "Some(Ready)",
        "settled in slot 3 crash log true",
        "child of the master true",
        "listener true",
        "withheld true",
        "worker Ready",
        "settled in slot 4 crash log true",
        "template true",
        "exits",
        "worker ended true",
    ] {
        assert!(told.iter().any(|it| it == line), "{line} in {told:?}");
    }
}

#[test]
fn an_import_that_fails_is_told() {
    let told = run("fails");
    assert!(
        told[0].starts_with("Some(BootFailed { exit_code: 3, summary: \"no module named app\""),
        "{told:?}"
    );
    assert!(told[1].contains(", 3)"), "{told:?}");
}

#[test]
fn a_connection_makes_forking_unsafe() {
    let told = run("connects");
    assert!(told[0].starts_with("Some(Unsafe { report: \"1 connection (127.0.0.1:"), "{told:?}");
    assert!(told[0].contains(" and 1 listening socket (127.0.0.1:"), "{told:?}");
    assert!(told[1].contains(", 0)"), "{told:?}");
}

#[test]
fn preload_can_be_insisted_on() {
    let told = run("connects anyway");
    assert!(told.iter().any(|line| line == "worker ended true"), "{told:?}");
}
