//! Tests of the client against servers that a test plays.

use std::os::unix::net::UnixListener;
use std::thread;

use tempfile::TempDir;

use super::*;

fn order(line: &str) -> Result<Order, clap::Error> {
    let matches = command().try_get_matches_from(format!("ctl {line}").split_whitespace())?;
    Order::of(&matches, None)
}

fn asked(request: Request) -> Order {
    Order { file: None, socket: Some("s".into()), task: Task::Ask { request, json: false } }
}

#[test]
fn commands_and_where_they_go() {
    for (line, request) in [
        ("status", Request::Status { brief: false }),
        ("reload", Request::Reload { wait: false }),
        ("reload --wait", Request::Reload { wait: true }),
        ("stop", Request::Stop),
        ("scale 4", Request::Scale { count: 4 }),
        ("dump", Request::Dump),
        ("reopen-logs", Request::ReopenLogs),
    ] {
        assert_eq!(order(&format!("--socket s {line}")).unwrap(), asked(request));
        assert_eq!(order(&format!("{line} --socket s")).unwrap(), asked(request));
        let by_file = Order { file: Some("app.toml".into()), socket: None, ..asked(request) };
        assert_eq!(order(&format!("-c app.toml {line}")).unwrap(), by_file);
        assert_eq!(order(&format!("{line} -c app.toml")).unwrap(), by_file);
    }
    let json = Task::Ask { request: Request::Status { brief: false }, json: true };
    assert_eq!(order("-c app.toml status --json").unwrap().task, json);
    let matches = command().try_get_matches_from(["ctl", "status"]).unwrap();
    assert_eq!(Order::of(&matches, Some("outer.toml".into())).unwrap().file, Some("outer.toml".into()));
    let matches = command().try_get_matches_from(["ctl", "--socket", "s", "status"]).unwrap();
    assert_eq!(
        Order::of(&matches, Some("outer.toml".into())).unwrap(),
        asked(Request::Status { brief: false })
    );
}

fn sources(folder: &TempDir, file: Option<&str>) -> Sources {
    Sources::new(file.map(PathBuf::from), [], Vec::new(), folder.path().to_owned(), false)
}

#[test]
fn the_socket_is_that_of_the_option_the_setting_or_the_path() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.toml"), "control.socket = \"c.sock\"\nnonsense = 1\n").unwrap();
    std::fs::write(folder.path().join("broken.toml"), "[app\n").unwrap();
    let status = asked(Request::Status { brief: false });
    assert_eq!(sockets(&status, &sources(&folder, None)), Some(vec!["s".into()]));
    let by_file = Order { socket: None, ..asked(Request::Status { brief: false }) };
    assert_eq!(sockets(&by_file, &sources(&folder, None)), None);
    let set = vec![folder.path().join("c.sock")];
    assert_eq!(sockets(&by_file, &sources(&folder, Some("app.toml"))), Some(set));
    let places = sockets(&by_file, &sources(&folder, Some("broken.toml"))).unwrap();
    assert!(places.len() >= 2 && places[0].starts_with("/run/rwsgi"), "{places:?}");
    assert_eq!(run(&by_file, &sources(&folder, None)), CONFIGURATION_ERROR);
}

#[test]
fn the_first_that_answers_is_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(UnixListener::bind(path("stale")).unwrap());
    let all = [path("missing"), path("stale"), path("alive")];
    let said = connect(&all, Some(&path("app.toml"))).unwrap_err();
    assert!(said.starts_with("no server answers. Looked at\n"), "{said}");
    assert!(said.contains("/missing: there is no such socket\n"), "{said}");
    assert!(said.contains("/stale: nobody listens there any more"), "{said}");
    assert!(said.contains("There is no file "), "{said}");
    std::fs::write(path("app.toml"), "").unwrap();
    let said = connect(&all, Some(&path("app.toml"))).unwrap_err();
    assert!(said.contains("Is it running, with the configuration file "), "{said}");
    assert!(connect(&all, None).unwrap_err().contains("Is it running"));
    let _server = UnixListener::bind(path("alive")).unwrap();
    connect(&all, None).unwrap();
}

#[test]
fn a_server_of_somebody_else_is_not_believed() {
    for (server, own, is_it) in [(7, 7, true), (0, 7, true), (8, 7, false), (8, 0, true)] {
        assert_eq!(is_believed(server, own), is_it, "{server} {own}");
    }
}

/// What comes of a request to a server that sends this.
fn outcome(request: Request, answer: &[u8]) -> Result<i32, String> {
    let (client, mut server) = UnixStream::pair().unwrap();
    let answer = answer.to_owned();
    let player = thread::spawn(move || {
        let mut line = Vec::new();
        BufReader::new(&server).read_until(b'\n', &mut line).unwrap();
        server.write_all(&answer).unwrap();
        line
    });
    let outcome = ask(request, false, client);
    assert_eq!(player.join().unwrap(), request.line());
    outcome
}

#[test]
fn answers_become_exit_codes() {
    let done = Answer::done("done").line();
    assert_eq!(outcome(Request::Status { brief: false }, &done), Ok(OK));
    assert_eq!(outcome(Request::Stop, &done), Ok(OK));
    assert_eq!(outcome(Request::Reload { wait: true }, &[done.clone(), done.clone()].concat()), Ok(OK));
    let failed = Answer::failed("it failed\nTraceback").line();
    let both = [done, failed].concat();
    assert_eq!(outcome(Request::Reload { wait: true }, &both), Err("it failed\nTraceback".to_owned()));
    assert!(outcome(Request::Status { brief: false }, b"").unwrap_err().contains("without an answer"));
    assert!(
        outcome(Request::Status { brief: false }, b"HTTP/1.1 200 OK\r\n")
            .unwrap_err()
            .contains("cannot be read")
    );
    assert!(outcome(Request::Status { brief: false }, b"{}\n").unwrap_err().contains("without a reason"));
}

#[test]
fn a_stop_ends_with_the_server() {
    let (client, mut server) = UnixStream::pair().unwrap();
    let asking = thread::spawn(move || ask(Request::Stop, false, client));
    let mut line = Vec::new();
    BufReader::new(&server).read_until(b'\n', &mut line).unwrap();
    server.write_all(&Answer::done("stopping").line()).unwrap();
    assert!(!asking.is_finished());
    drop(server);
    assert_eq!(asking.join().unwrap(), Ok(OK));
}

#[test]
fn a_refusal_is_told_though_the_request_was_not_read() {
    let (client, mut server) = UnixStream::pair().unwrap();
    server.write_all(&Answer::failed("only root may").line()).unwrap();
    drop(server);
    assert_eq!(ask(Request::Status { brief: false }, false, client), Err("only root may".to_owned()));
}

#[test]
fn the_help_names_every_command() {
    let help = command().render_long_help().to_string();
    for word in ["status", "top", "reload", "stop", "scale", "dump", "reopen-logs", "--socket", "Exit codes"]
    {
        assert!(help.contains(word), "{word} in\n{help}");
    }
}
