//! Runs the real binary for one test.
//!
//! A [`Server`] is a configuration in a directory of its own, a listener that the test bound and passed as
//! descriptor 3, a process group, and everything that was written to standard error. When the test fails,
//! it prints all of that. When it is dropped, it stops the server and insists that no process survives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::{Address, Client, Response};
use crate::{process, tools};

/// How long a test waits for anything that should happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test: `RWSGI_TEST_BINARY`, else the one that cargo built.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("RWSGI_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_rwsgi").into(), PathBuf::from)
}

/// A string as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A server to be started: an application and settings.
#[derive(Debug)]
pub(crate) struct Builder {
    settings: BTreeMap<String, String>,
    directory: TempDir,
    activation: bool,
    listen: bool,
    within: Vec<String>,
    variables: Vec<(String, String)>,
    program: PathBuf,
}

impl Builder {
    /// Serves `target`, a module of `tests/apps`, with one worker.
    pub(crate) fn new(target: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("rwsgi-test-").tempdir().unwrap();
        let builder = Self {
            settings: BTreeMap::new(),
            directory,
            activation: false,
            listen: true,
            within: Vec::new(),
            variables: Vec::new(),
            program: binary(),
        };
        builder
            .with("app.target", &quoted(target))
            .with("app.directory", &quoted(root().join("tests/apps").to_str().unwrap()))
            .with("server.bind", "[\"fd:3\"]")
            .with("workers.count", "1")
    }

    /// Sets `key` to `value`, written as in TOML.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves `key` at its default.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self
    }

    /// Serves from `directory`.
    pub(crate) fn directory(self, directory: &Path) -> Self {
        self.with("app.directory", &quoted(directory.to_str().unwrap()))
    }

    /// Serves an example, with the packages of the tests' virtual environment.
    pub(crate) fn example(name: &str, target: &str) -> Self {
        Self::new(target).directory(&root().join("examples").join(name)).packages()
    }

    /// Uses the tests' virtual environment.
    pub(crate) fn packages(self) -> Self {
        let environment = tools::virtual_environment();
        self.with("app.virtualenv", &quoted(environment.to_str().unwrap()))
    }

    /// Passes the listener exactly as systemd does: `LISTEN_FDS`, `LISTEN_PID` and no `server.bind`.
    pub(crate) fn socket_activation(mut self) -> Self {
        self.activation = true;
        self.without("server.bind")
    }

    /// Starts the program through another, which must become it (`exec`).
    pub(crate) fn within(mut self, command: &[&str]) -> Self {
        self.within = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs another file than the one that cargo built, such as a copy that a test replaces.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Binds as the configuration says; no listener is passed.
    pub(crate) fn bind(mut self, addresses: &[&str]) -> Self {
        self.listen = false;
        let list: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
        self.with("server.bind", &format!("[{}]", list.join(", ")))
    }

    /// The directory that is the test's own; it goes away with the server.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration and returns its path.
    pub(crate) fn write(&self) -> PathBuf {
        let mut sections = BTreeMap::<&str, String>::new();
        for (key, value) in &self.settings {
            let (section, key) = key.split_once('.').expect("a key with its section");
            writeln!(sections.entry(section).or_default(), "{key} = {value}").unwrap();
        }
        let text: String = sections.iter().map(|(name, lines)| format!("[{name}]\n{lines}\n")).collect();
        let file = self.path("app.toml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Starts the program and waits until it serves.
    pub(crate) fn start(self) -> Server {
        let server = self.launch();
        server.wait_for("generation 1 serves");
        server
    }

    /// Starts the program and does not wait for anything.
    pub(crate) fn launch(self) -> Server {
        let config = self.write();
        let mut command = Command::new("sh");
        let mut address = None;
        // The listener goes in as standard input, which needs no code between fork and exec; the shell moves
        // it to descriptor 3 and becomes the server, so the process keeps its id.
        let mut script = String::new();
        if self.listen {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            // std queues 128 connections only; the program's own default is 4096.
            socket2::SockRef::from(&listener).listen(4096).unwrap();
            address = Some(listener.local_addr().unwrap());
            command.stdin(Stdio::from(OwnedFd::from(listener)));
            script.push_str("exec 3<&0 0</dev/null; ");
        } else {
            command.stdin(Stdio::null());
        }
        if self.activation {
            script.push_str("export LISTEN_FDS=1 LISTEN_PID=$$; ");
        }
        script.push_str("exec \"$@\"");
        command.args(["-c", &script, "sh"]).args(&self.within).arg(&self.program).arg("-c").arg(&config);
        scrub(&mut command);
        command.envs(self.variables);
        let program = Program::spawn(command);
        Server { program, address, directory: self.directory, config }
    }
}

/// Takes out of the environment what could change the behaviour of a server under test.
pub(crate) fn scrub(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("RWSGI_") || name.starts_with("PYTHON") || name == "VIRTUAL_ENV" {
            command.env_remove(&*name);
        }
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
}

/// Runs the program with `arguments` in `directory` until it ends.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    run_command(command)
}

/// Runs a command until it ends.
pub(crate) fn run_command(mut command: Command) -> Outcome {
    scrub(&mut command);
    command.stdout(Stdio::piped());
    let mut program = Program::spawn(command);
    let mut stdout = String::new();
    program.stdout.take().expect("a pipe").read_to_string(&mut stdout).unwrap();
    let status = program.wait();
    program.log.wait_closed(PATIENCE);
    Outcome { status, stdout, stderr: program.log.text() }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Insists on the exit code.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "exit code of {self:#?}");
        self
    }

    /// Insists that standard error holds `text`.
    #[track_caller]
    pub(crate) fn expect_error(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "standard error should hold {text:?}:\n{}", self.stderr);
        self
    }
}

/// A process in its own group, with its standard error collected.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) pid: i32,
    pub(crate) log: Arc<Log>,
    pub(crate) stdout: Option<std::process::ChildStdout>,
    exit: Mutex<mpsc::Receiver<ExitStatus>>,
    status: Option<ExitStatus>,
    /// Its process group, which is named for the first process.
    group: i32,
}

impl Program {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.process_group(0).stderr(Stdio::piped()).spawn().expect("the program can be run");
        let pid = i32::try_from(child.id()).unwrap();
        let log = Log::collect(child.stderr.take().expect("a pipe"));
        let stdout = child.stdout.take();
        let (sender, exit) = mpsc::channel();
        thread::spawn(move || report_exit(child, &sender));
        Self { pid, log, stdout, exit: Mutex::new(exit), status: None, group: pid }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("the program can be signalled");
    }

    /// Waits for a log record and returns its line.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Waits for the `count`-th log record that holds `text`.
    #[track_caller]
    pub(crate) fn wait_for_nth(&self, text: &str, count: usize) -> String {
        let line = self.log.wait(text, count, PATIENCE);
        line.unwrap_or_else(|| {
            panic!("log record {count} with {text:?} is missing; the log:\n{}", self.log.text())
        })
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
            .unwrap_or_else(|| panic!("the program does not end; its log:\n{}", self.log.text()))
    }

    /// The first process has ended well and `pid`, no child of the test, has taken its place.
    #[track_caller]
    pub(crate) fn follow(&mut self, pid: i32) {
        if self.pid == self.group {
            assert_eq!(
                self.wait().code(),
                Some(0),
                "the end of the old master; the log:\n{}",
                self.log.text()
            );
        }
        self.pid = pid;
    }

    /// Whether it ends in time. The end of a process that is no child of the test shows by its standard error.
    fn ends_within(&mut self, patience: Duration) -> bool {
        if self.pid == self.group {
            self.wait_within(patience).is_some()
        } else {
            self.log.wait_closed(patience)
        }
    }

    fn wait_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.exit.lock().unwrap().recv_timeout(patience).ok();
        }
        self.status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mut stopped = self.ends_within(Duration::ZERO);
        if !stopped {
            // It may have ended in this very moment.
            kill(Pid::from_raw(self.pid), Signal::SIGTERM).ok();
            stopped = self.ends_within(PATIENCE);
        }
        if self.status.is_some_and(|status| status.signal().is_some()) {
            // Its processes are killed when it is, which takes a moment.
            self.log.wait_closed(PATIENCE);
        }
        let survivors = process::group(self.group);
        if !survivors.is_empty() {
            // They may have ended in this very moment.
            killpg(Pid::from_raw(self.group), Signal::SIGKILL).ok();
        }
        if !thread::panicking() {
            assert!(stopped, "the program does not stop on SIGTERM; its log:\n{}", self.log.text());
            assert!(survivors.is_empty(), "these survive it: {survivors:#?}; its log:\n{}", self.log.text());
        }
    }
}

fn report_exit(mut child: Child, sender: &mpsc::Sender<ExitStatus>) {
    let status = child.wait().expect("a child can be waited for");
    // The test may have ended without asking.
    sender.send(status).ok();
}

/// The lines that a process wrote to standard error.
#[derive(Debug, Default)]
pub(crate) struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    /// No process holds the other end any more.
    closed: bool,
}

impl Log {
    fn collect(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                writer.state.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.changed.notify_all();
            }
            writer.state.lock().unwrap().closed = true;
            writer.changed.notify_all();
        });
        log
    }

    /// Waits for the `count`-th line that holds `text`.
    fn wait(&self, text: &str, count: usize, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(line) = state.lines.iter().filter(|line| line.contains(text)).nth(count - 1) {
                return Some(line.clone());
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|_| !state.closed)?;
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until every process that holds standard error has ended; false when that takes too long.
    pub(crate) fn wait_closed(&self, patience: Duration) -> bool {
        let state = self.state.lock().unwrap();
        self.changed.wait_timeout_while(state, patience, |state| !state.closed).unwrap().0.closed
    }

    /// All that was written.
    pub(crate) fn text(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) program: Program,
    address: Option<SocketAddr>,
    directory: TempDir,
    config: PathBuf,
}

impl Server {
    /// The test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Where the passed listener is.
    pub(crate) fn address(&self) -> Address {
        Address::Tcp(self.address.expect("a listener was passed"))
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address())
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.connect().get(path)
    }

    /// Waits for a log record and returns its line.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Waits for the `count`-th log record that holds `text`.
    #[track_caller]
    pub(crate) fn wait_for_nth(&self, text: &str, count: usize) -> String {
        self.program.wait_for_nth(text, count)
    }

    /// All log records so far.
    pub(crate) fn log(&self) -> String {
        self.program.log.text()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// The worker processes; a template is none.
    pub(crate) fn workers(&self) -> Vec<process::Process> {
        let mut children = process::children(self.program.pid);
        children.retain(|process| !process.title.contains(": template"));
        children
    }

    /// Stops gracefully and insists on exit code 0.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        if self.program.pid == self.program.group {
            self.expect_exit(0);
        } else {
            assert!(self.program.ends_within(PATIENCE), "the server does not stop; its log:\n{}", self.log());
        }
    }

    /// Waits for the end of the master and insists on its exit code.
    #[track_caller]
    pub(crate) fn expect_exit(&mut self, code: i32) {
        let status = self.program.wait();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "the end of the master");
        assert!(self.program.log.wait_closed(PATIENCE), "workers outlive the master");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let config = fs::read_to_string(&self.config).unwrap_or_default();
            let tree = process::group(self.program.pid);
            eprintln!("--- app.toml\n{config}--- log\n{}\n--- processes\n{tree:#?}", self.log());
        }
    }
}
