//! Tests of the control socket with real clients, friendly and not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};

use mio::{Events, Poll};
use tempfile::TempDir;

use super::*;
use crate::ipc::control::{REQUEST_BYTES_MAX, Stacks};

const FIRST_TOKEN: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    control: Control,
    poll: Poll,
    requests: Vec<(ClientId, Request)>,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut control = Control::open(&settings(&folder)).unwrap().unwrap();
        let poll = Poll::new().unwrap();
        control.register(poll.registry(), FIRST_TOKEN).unwrap();
        Self { control, poll, requests: Vec::new(), folder }
    }

    fn connect(&self) -> StdStream {
        let stream = StdStream::connect(self.control.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Turns the loop until `done`.
    #[track_caller]
    fn turn(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let mut events = Events::with_capacity(64);
        while !done(self) {
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "nothing happens");
            for event in &events {
                assert!(self.control.owns(event.token()));
                let requests = self.control.handle(event, Instant::now());
                self.requests.extend(requests);
            }
        }
    }

    #[track_caller]
    fn next_request(&mut self) -> (ClientId, Request) {
        self.turn(|server| !server.requests.is_empty());
        self.requests.remove(0)
    }

    fn clients(&self) -> usize {
        self.control.clients.iter().flatten().count()
    }
}

fn settings(folder: &TempDir) -> Settings {
    let control_socket = Some(folder.path().join("control.sock"));
    Settings { control_socket, ..Settings::for_tests() }
}

fn lines(stream: &mut StdStream) -> Vec<Answer> {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().map(|line| Answer::parse(line.as_bytes()).unwrap()).collect()
}

#[test]
fn a_request_is_answered_and_the_connection_closed() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.write_all(b"{\"command\":\"sca").unwrap();
    server.turn(|server| server.clients() == 1);
    client.write_all(b"le\",\"count\":4}\n").unwrap();
    let (id, request) = server.next_request();
    assert_eq!(request, Request::Scale { count: 4 });
    server.control.answer(id, &Answer::done("4 workers"), true, Instant::now());
    assert_eq!(lines(&mut client), [Answer::done("4 workers")]);
    assert_eq!(server.clients(), 0);
    // A late answer to a client that is gone is no matter.
    server.control.answer(id, &Answer::done("again"), true, Instant::now());
}

#[test]
fn a_client_that_waits_gets_all_its_answers() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.write_all(&Request::Reload { wait: true }.line()).unwrap();
    let (id, request) = server.next_request();
    assert_eq!(request, Request::Reload { wait: true });
    assert_eq!(server.control.next_deadline(), None, "it may take its time");
    server.control.answer(id, &Answer::done("it begins"), false, Instant::now());
    server.control.tick(Instant::now() + 10 * client::IDLE_MAX);
    server.control.answer(id, &Answer::failed("it failed"), true, Instant::now());
    assert_eq!(lines(&mut client), [Answer::done("it begins"), Answer::failed("it failed")]);
}

#[test]
fn a_client_that_has_closed_its_sending_side_is_answered() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.write_all(br#"{"command":"status"}"#).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (id, request) = server.next_request();
    assert_eq!(request, Request::Status { brief: false });
    server.control.answer(id, &Answer::done("well"), true, Instant::now());
    assert_eq!(lines(&mut client), [Answer::done("well")]);
}

#[test]
fn garbage_is_answered_with_an_error() {
    let mut server = Server::start();
    let all = [&b"GET / HTTP/1.1\r\n"[..], b"\xff\xfe\x00\n", b"\n", b"{\"command\":\"status\"\n"];
    for (count, garbage) in (1..).zip(all) {
        let mut client = server.connect();
        client.write_all(garbage).unwrap();
        server.turn(|server| server.control.next_id == count && server.clients() == 0);
        let answers = lines(&mut client);
        assert_eq!(answers.len(), 1, "{}", garbage.escape_ascii());
        let said = answers[0].error.as_deref().unwrap();
        assert!(said.starts_with("this is no request: "), "{said}");
    }
    assert!(server.requests.is_empty());
}

#[test]
fn a_line_that_never_ends_is_cut_off() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    server.turn(|server| {
        // It is gone for the client when a write fails otherwise than for want of room.
        while let Ok(count) = client.write(&[b' '; 4096]) {
            sent += count;
        }
        server.control.next_id == 1 && server.clients() == 0
    });
    assert!(sent >= REQUEST_BYTES_MAX, "{sent}");
    assert!(server.requests.is_empty());
}

#[test]
fn whoever_says_nothing_is_closed_after_a_while() {
    let mut server = Server::start();
    let mut silent = server.connect();
    server.turn(|server| server.clients() == 1);
    let deadline = server.control.next_deadline().unwrap();
    assert!(deadline <= Instant::now() + client::IDLE_MAX);
    silent.write_all(b"{").unwrap();
    server.control.tick(deadline - Duration::from_millis(1));
    assert_eq!(server.clients(), 1);
    server.control.tick(deadline);
    assert_eq!((server.clients(), server.control.next_deadline()), (0, None));
}

#[test]
fn who_does_not_read_blocks_nobody_and_is_closed() {
    let mut server = Server::start();
    let mut idle = server.connect();
    idle.write_all(&Request::Dump.line()).unwrap();
    let (id, _) = server.next_request();
    let text = "x".repeat(4 << 20);
    let answer = Answer::stacks(vec![Stacks { text, ..Stacks::default() }]);
    server.control.answer(id, &answer, true, Instant::now());
    assert_eq!(server.clients(), 1, "it has not taken all");
    let mut other = server.connect();
    other.write_all(&Request::Status { brief: false }.line()).unwrap();
    let (id, _) = server.next_request();
    server.control.answer(id, &Answer::done("well"), true, Instant::now());
    assert_eq!(lines(&mut other), [Answer::done("well")]);
    let deadline = server.control.next_deadline().unwrap();
    server.control.tick(deadline);
    assert_eq!(server.clients(), 0);
}

#[test]
fn a_large_answer_arrives_whole_at_a_slow_reader() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.write_all(&Request::Dump.line()).unwrap();
    let (id, _) = server.next_request();
    let text = "frame\n".repeat(1 << 19);
    let answer = Answer::stacks(vec![Stacks { text, ..Stacks::default() }]);
    server.control.answer(id, &answer, true, Instant::now());
    let reader = std::thread::spawn(move || {
        let mut line = Vec::new();
        BufReader::new(client).read_until(b'\n', &mut line).unwrap();
        Answer::parse(&line).unwrap()
    });
    server.turn(|server| server.clients() == 0);
    assert_eq!(reader.join().unwrap(), answer);
}

#[test]
fn clients_that_go_are_forgotten() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.write_all(&Request::Reload { wait: true }.line()).unwrap();
    let (id, _) = server.next_request();
    drop(client);
    server.turn(|server| server.clients() == 0);
    server.control.answer(id, &Answer::done("late"), true, Instant::now());
    let client = server.connect();
    server.turn(|server| server.clients() == 1);
    drop(client);
    server.turn(|server| server.clients() == 0);
    assert!(server.requests.is_empty());
}

#[test]
fn no_more_clients_than_there_are_places() {
    let mut server = Server::start();
    let mut crowd = Vec::new();
    for count in 1..=CLIENTS_MAX {
        crowd.push(server.connect());
        server.turn(|server| server.clients() == count);
    }
    let mut late = server.connect();
    let mut answers = Vec::new();
    late.set_nonblocking(true).unwrap();
    server.turn(|_| {
        let mut buffer = [0; 4096];
        let count = late.read(&mut buffer).unwrap_or(0);
        answers.extend_from_slice(&buffer[..count]);
        answers.ends_with(b"\n")
    });
    let said = Answer::parse(&answers).unwrap().error.unwrap();
    assert_eq!(said, "32 clients are connected already");
    assert_eq!(server.control.descriptors().len(), CLIENTS_MAX + 2);
    crowd.remove(7).shutdown(std::net::Shutdown::Both).unwrap();
    server.turn(|server| server.clients() == CLIENTS_MAX - 1);
    let mut next = server.connect();
    next.write_all(&Request::Status { brief: false }.line()).unwrap();
    assert_eq!(server.next_request().1, Request::Status { brief: false });
}

#[test]
fn the_file_is_private_and_removed_while_it_is_ours() {
    let server = Server::start();
    let path = server.control.path().to_owned();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(server.folder.path()).unwrap().count(), 1, "nothing else is left");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    server.control.remove_file();
    assert!(path.exists(), "somebody else's");

    let server = Server::start();
    server.control.remove_file();
    assert!(!server.control.path().exists());
    server.control.remove_file();
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let path = settings.control_socket.clone().unwrap();
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = Control::open(&settings).unwrap().unwrap();
    let said = Control::open(&settings).unwrap_err();
    let pid = std::process::id();
    assert!(said.contains(&format!("control.sock: it is in use by the server with pid {pid}: ")), "{said}");
    assert!(StdStream::connect(&path).is_ok(), "it still listens");
    first.remove_file();
    fs::write(&path, "precious").unwrap();
    let said = Control::open(&settings).unwrap_err();
    assert!(said.contains("is no socket"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(120));
    let settings = Settings { control_socket: Some(long), ..Settings::for_tests() };
    assert!(Control::open(&settings).unwrap_err().contains("too long for a unix socket"));
    let missing = Some(folder.path().join("none/control.sock"));
    let settings = Settings { control_socket: missing, ..Settings::for_tests() };
    assert!(Control::open(&settings).unwrap_err().contains("set control.socket"));
    let none = Settings { control_socket: None, file: None, ..Settings::for_tests() };
    assert!(Control::open(&none).unwrap().is_none());
}

#[test]
fn a_new_master_takes_the_socket_over() {
    let old = Server::start();
    let path = old.control.path().to_owned();
    let fd = old.control.as_fd().try_clone_to_owned().unwrap();
    let mut waiting = old.connect();
    waiting.write_all(&Request::Status { brief: false }.line()).unwrap();
    let mut control = Control::from_fd(fd, &path).unwrap();
    let poll = Poll::new().unwrap();
    control.register(poll.registry(), FIRST_TOKEN).unwrap();
    let Server { control: old_control, folder, .. } = old;
    drop(old_control);
    let mut new = Server { control, poll, requests: Vec::new(), folder };
    let (id, _) = new.next_request();
    new.control.answer(id, &Answer::done("new"), true, Instant::now());
    assert_eq!(lines(&mut waiting), [Answer::done("new")]);
    new.control.remove_file();
    assert!(!path.exists());
    let pipe = nix::unistd::pipe().unwrap().0;
    assert!(Control::from_fd(pipe, &path).is_err());
}

#[test]
fn another_user_is_not_heard() {
    if !geteuid().is_root() {
        println!("skipped: only root can speak as another user");
        return;
    }
    let mut server = Server::start();
    // Everybody is let to the socket itself: the peer is what is looked at.
    fs::set_permissions(server.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(server.control.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let script = "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; \
                  connect($s, pack_sockaddr_un($ARGV[0])) or die $!; print <$s>;";
    let mut child = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "perl", "-e", script])
        .arg(server.control.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = Events::with_capacity(8);
    server.poll.poll(&mut events, Some(PATIENCE)).unwrap();
    for event in &events {
        assert!(server.control.handle(event, Instant::now()).is_empty());
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.contains("only root and the user that the server runs as"), "{said}");
    assert_eq!(server.clients(), 0);
}
