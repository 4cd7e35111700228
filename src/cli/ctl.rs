//! `rwsgi ctl`: asks a running server, and shows what it says. What is shown is made in `show`; the protocol is in
//! `ipc::control`.
//!
//! The configuration is looked at only for where the control socket is: a file that is broken on disk must not keep an operator
//! from asking the server that runs on what it read before.

mod show;
mod top;

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Sources;
use crate::ipc::control::places::Places;
use crate::ipc::control::{Answer, Request};

use top::Top;

use super::{CONFIGURATION_ERROR, OK, SYSTEM_ERROR, messages, print};

pub(super) const NAME: &str = "ctl";
const FILE: &str = "config";
const SOCKET: &str = "socket";

/// A master answers at once, unless it is stopped or its machine is dying.
const PATIENCE: Duration = Duration::from_secs(5);
/// The master waits for its workers.
const DUMP_PATIENCE: Duration = Duration::from_secs(30);

const NO_SERVER_NAMED: &str = "\
which server? Name its configuration file or its control socket

  rwsgi ctl -c app.toml status
  rwsgi ctl --socket /run/app/control.sock status";

/// What to ask which server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) file: Option<PathBuf>,
    socket: Option<PathBuf>,
    task: Task,
}

/// What to do with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Ask once.
    Ask {
        request: Request,
        /// Show a status as JSON.
        json: bool,
    },
    /// Look on.
    Top(Top),
}

/// Where a server may be found.
#[derive(Debug, Clone)]
struct Place {
    sockets: Vec<PathBuf>,
    /// Its configuration file, for the messages.
    file: Option<PathBuf>,
}

/// The subcommand for clap.
pub(super) fn command() -> Command {
    let file = Arg::new(FILE)
        .short('c')
        .long(FILE)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("The configuration file that the server was started with");
    let socket = Arg::new(SOCKET)
        .long(SOCKET)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .conflicts_with(FILE)
        .help("The control socket, instead of the one that follows from the file");
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let count = Arg::new("count")
        .value_name("N")
        .required(true)
        .value_parser(value_parser!(u32).range(1..=1024))
        .help("How many workers");
    Command::new(NAME)
        .about("Ask a running server: status, top, reload, stop, scale, dump, metrics, reopen-logs")
        .override_usage("rwsgi ctl -c FILE COMMAND\n       rwsgi ctl --socket PATH COMMAND")
        .after_help("Exit codes: 0 done, 1 refused, failed or no server reached, 2 usage error.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args([file, socket])
        .subcommands([
            Command::new("status")
                .about("Show the workers and the requests that they are working on")
                .arg(switch("json", "As JSON")),
            top::command(),
            Command::new("reload")
                .about("Start a generation from the code and configuration on disk; the old one serves until it is ready")
                .arg(switch("wait", "Wait for the end of it, and fail as it fails, with the traceback")),
            Command::new("stop").about("Stop gracefully, and wait until the server is gone"),
            Command::new("scale").about("Run so many workers, until the next reload").arg(count),
            Command::new("dump").about("Show the stacks of all threads of all workers"),
            Command::new("metrics").about("Show the figures of /metrics, whether or not metrics.bind is set"),
            Command::new("reopen-logs").about("Reopen the log files, after a rotation"),
        ])
}

impl Order {
    /// Reads the matches of [`command`]; `file` is that of the program's own options.
    ///
    /// # Errors
    /// An unknown command; clap finds it first.
    pub(super) fn of(matches: &ArgMatches, file: Option<PathBuf>) -> Result<Self, clap::Error> {
        let path = |name| matches.get_one::<PathBuf>(name).cloned();
        let (name, inner) = matches.subcommand().unwrap_or(("", matches));
        let request = match name {
            "status" | top::NAME => Request::Status { brief: name == top::NAME },
            "reload" => Request::Reload { wait: inner.get_flag("wait") },
            "stop" => Request::Stop,
            "scale" => Request::Scale { count: inner.get_one("count").copied().unwrap_or(1) },
            "dump" => Request::Dump,
            "metrics" => Request::Metrics,
            "reopen-logs" => Request::ReopenLogs,
            _ => return Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
        };
        let task = match name {
            top::NAME => Task::Top(Top::of(inner)),
            _ => Task::Ask { request, json: name == "status" && inner.get_flag("json") },
        };
        let socket = path(SOCKET);
        // `rwsgi -c app.toml ctl status` means the same as `rwsgi ctl -c app.toml status`.
        let file = path(FILE).or(file.filter(|_| socket.is_none()));
        Ok(Self { file, socket, task })
    }
}

/// Asks. Returns the exit code.
pub(super) fn run(order: &Order, sources: &Sources) -> i32 {
    let Some(sockets) = sockets(order, sources) else {
        messages::error(NO_SERVER_NAMED);
        return CONFIGURATION_ERROR;
    };
    let place = Place { sockets, file: sources.absolute_file() };
    let outcome = match order.task {
        Task::Ask { request, json } => place.connect().and_then(|stream| ask(request, json, stream)),
        Task::Top(top) => top.run(place),
    };
    outcome.unwrap_or_else(|said| {
        messages::error(&show::printable(&said));
        SYSTEM_ERROR
    })
}

impl Place {
    fn connect(&self) -> Result<UnixStream, String> {
        connect(&self.sockets, self.file.as_deref())
    }

    /// The last answer to a request, or why there is none or what was asked for was not done.
    fn ask(&self, request: Request) -> Result<Answer, String> {
        let mut last = Answer::default();
        converse(request, self.connect()?, |answer| {
            last = answer;
            OK
        })?;
        Ok(last)
    }
}

/// Where the server may be, the likeliest first; `None` when nothing names it.
fn sockets(order: &Order, sources: &Sources) -> Option<Vec<PathBuf>> {
    if let Some(socket) = order.socket.clone().or_else(|| sources.control_socket()) {
        return Some(vec![socket]);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    Some(Places::new(runtime).for_client(&sources.absolute_file()?))
}

/// Connects to the first socket that somebody listens on.
fn connect(sockets: &[PathBuf], file: Option<&Path>) -> Result<UnixStream, String> {
    let mut tried = String::new();
    for socket in sockets {
        match open(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => tried.push_str(&format!("\n  {}: {}", socket.display(), reason(&error))),
        }
    }
    let about = match file {
        Some(file) if !file.exists() => {
            format!(
                "\nThere is no file {}: correct the path, or name the socket with --socket.",
                file.display()
            )
        }
        Some(file) => format!(
            "\nIs it running, with the configuration file {} by this very path, as this user (or ask as root)? One that \
             was started with another control.socket is reached with --socket.",
            file.display()
        ),
        None => "\nIs it running, as this user (or ask as root)?".to_owned(),
    };
    Err(format!("no server answers. Looked at{tried}{about}"))
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // It bounds the connect as well, should the server not accept.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?)?;
    let server = getsockopt(&socket, PeerCredentials)?.uid();
    if !is_believed(server, geteuid().as_raw()) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Whether the answers of a server of this user are worth anything: in a directory that everybody may write to, somebody else
/// may have been first. Root asks the servers of others.
fn is_believed(server: u32, own: u32) -> bool {
    own == 0 || server == 0 || server == own
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list of the system's errors is open")]
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there any more (a server that was killed leaves it behind)".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied: it belongs to another user".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the server does not accept: it may be stopped".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Sends the request and shows the answers. The exit code, or why there is no answer.
fn ask(request: Request, json: bool, stream: UnixStream) -> Result<i32, String> {
    converse(request, stream, |answer| print(&show::answer(&answer, json)))
}

/// Sends the request and hands each answer on, as long as that gives [`OK`]. The exit code, or why there is no answer.
fn converse(
    request: Request,
    mut stream: UnixStream,
    mut take: impl FnMut(Answer) -> i32,
) -> Result<i32, String> {
    let broken = |error: io::Error| match error.kind() == io::ErrorKind::WouldBlock {
        true => "the server does not answer: it may be stopped; see its log".to_owned(),
        false => format!("the connection to the server is broken: {error}"),
    };
    let patience = match request {
        Request::Reload { wait: true } => None,
        Request::Dump => Some(DUMP_PATIENCE),
        Request::Status { .. }
        | Request::Reload { wait: false }
        | Request::Stop
        | Request::Scale { .. }
        | Request::Metrics
        | Request::Recycle { .. }
        | Request::ReopenLogs => Some(PATIENCE),
    };
    stream.set_read_timeout(patience).map_err(broken)?;
    // A server that refuses to listen has closed already, and has said why.
    stream.write_all(&request.line()).ok();
    let mut reader = BufReader::new(stream);
    let mut answered = false;
    loop {
        let mut line = Vec::new();
        let ended = match reader.read_until(b'\n', &mut line) {
            Ok(count) => count == 0,
            // Of a server that ended with our request unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
            Err(error) => return Err(broken(error)),
        };
        if ended {
            return if answered {
                Ok(OK)
            } else {
                Err("the server has closed the connection without an answer: see its log".to_owned())
            };
        }
        let answer = Answer::parse(&line)?;
        if !answer.ok {
            return Err(answer.error.unwrap_or_else(|| "the server refuses without a reason".to_owned()));
        }
        let code = take(answer);
        if code != OK {
            return Ok(code);
        }
        answered = true;
        if request == Request::Stop {
            // It goes on until the last request is answered.
            reader.get_ref().set_read_timeout(None).map_err(broken)?;
        }
    }
}

#[cfg(test)]
mod tests;
