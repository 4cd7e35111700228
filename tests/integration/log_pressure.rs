//! Logs under pressure: a reader that stands still, a full disk, rotations under load, and applications that fork. Requests
//! go on, and no line is lost without being counted.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::client::Client;
use crate::harness::{Builder, Server, binary, quoted, root, run};

/// Below `http.max_request_line`; a few hundred of them fill the log's buffer.
const LONG: usize = 7000;

/// More than the buffer (1 MiB) and a pipe (64 KiB) hold together.
const FILLING: usize = 200;

fn path(file: &Path) -> String {
    quoted(file.to_str().unwrap())
}

/// A named pipe that nobody reads from yet, but could: opening it does not wait.
fn stuck_pipe(path: &Path) -> File {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Reads lines until one ends with `last`.
fn read_until(pipe: File, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(pipe).lines() {
        let line = line.unwrap();
        let done = line.ends_with(last);
        lines.push(line);
        if done {
            break;
        }
    }
    lines
}

/// How many lines the log says were dropped.
fn dropped(log: &str, before: &str, behind: &str) -> usize {
    let counts =
        log.lines().filter_map(|line| line.split_once(before)?.1.split_once(behind)?.0.parse::<usize>().ok());
    counts.sum()
}

#[test]
fn access_log_whose_reader_stands_still_holds_no_request_up() {
    let builder = Builder::new("logs");
    let file = builder.path("access.pipe");
    let pipe = stuck_pipe(&file);
    let server = builder.with("log.access", &path(&file)).with("log.access_format", "'%(U)s'").start();
    let mut client = server.connect();
    let long = "x".repeat(LONG);
    for number in 0..FILLING {
        client.get(&format!("/{number}/{long}")).expect(200);
    }
    server.wait_for("cannot write the access log");
    for number in 0..3000 {
        client.get(&format!("/short/{number}")).expect(200);
    }
    // The reader comes back, and reads all that there is until it sees what is asked for now.
    let reader = thread::spawn(move || read_until(pipe, "/last"));
    server.wait_for("the access log can be written again: ");
    client.get("/last").expect(200);
    let lines = reader.join().unwrap();
    let told = dropped(&server.log(), "can be written again: ", " line");
    assert!(told > 0, "{}", server.log());
    assert_eq!(lines.len() + told, FILLING + 3000 + 1);
    for (number, line) in lines.iter().enumerate().take(100) {
        assert!(line.starts_with(&format!("/{number}/")), "{number}: {}", &line[..20]);
    }
}

#[test]
fn error_log_whose_reader_stands_still_holds_no_request_up() {
    let builder = Builder::new("logs");
    let file = builder.path("error.pipe");
    let pipe = stuck_pipe(&file);
    let server = builder.with("log.file", &path(&file)).launch();
    let mut client = server.connect();
    // A record of each is about a thousand bytes: the traceback.
    for _ in 0..4000 {
        client.get("/printed").expect(200);
    }
    let mut lines = Vec::new();
    let mut reader = BufReader::new(pipe).lines().map(Result::unwrap);
    let told = loop {
        let line = reader.next().unwrap();
        if line.contains("of this log could not be written and are lost") {
            break line;
        }
        lines.push(line);
    };
    assert!(told.contains(" WARN  worker/0 "), "{told}");
    client.get("/odd").expect(200);
    assert!(reader.any(|line| line.ends_with("and a second line")));
    drop(reader);
}

#[test]
fn what_an_application_says_right_before_it_dies_is_in_the_log() {
    let server = Builder::new("logs").start();
    let mut client = server.connect();
    client.send("GET /dies HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_closed();
    server.wait_for("] last words");
}

#[test]
fn forks_of_an_application_write_nothing_twice() {
    let builder = Builder::new("logs");
    let file = builder.path("access.pipe");
    let pipe = stuck_pipe(&file);
    let mut server = builder.with("log.access", &path(&file)).with("log.access_format", "'%(U)s'").start();
    let mut client = server.connect();
    let long = "x".repeat(LONG);
    // More than the pipe takes, less than the buffer: lines wait in the worker while it forks.
    let mut expected = Vec::new();
    for round in 0..20 {
        for path in ["/fork", "/multiprocessing", "/subprocess"] {
            client.get(path).expect(200);
            expected.push(path.to_owned());
        }
        let path = format!("/{round}/{long}");
        client.get(&path).expect(200);
        expected.push(path);
    }
    client.get("/last").expect(200);
    expected.push("/last".to_owned());
    let rest = pipe.try_clone().unwrap();
    assert_eq!(read_until(pipe, "/last"), expected);
    server.stop();
    // Nobody else has anything to write; the last is the test's own.
    (&rest).write_all(b"end\n").unwrap();
    assert_eq!(read_until(rest, "end"), ["end"]);
    let log = server.log();
    assert_eq!(log.matches("said by a fork").count(), 20, "{log}");
    assert_eq!(log.matches("said by a Process").count(), 20, "{log}");
}

/// Mounts a small disk on its first argument and becomes the server.
const TINY_DISK: &str = "mount -t tmpfs -o size=64k tmpfs \"$0\" && exec \"$@\"";

/// A server with a tiny disk at `disk`; `None`, with the reason on standard error, when that cannot be made.
fn with_tiny_disk(builder: Builder) -> Option<(Server, PathBuf)> {
    let disk = builder.path("disk");
    fs::create_dir(&disk).unwrap();
    let place = disk.to_str().unwrap().to_owned();
    let trial = Command::new("unshare").args(["-m", "sh", "-c", TINY_DISK, &place, "true"]).output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a tiny disk cannot be mounted here: {trial:?}");
        return None;
    }
    let server = builder.within(&["unshare", "-m", "sh", "-c", TINY_DISK, &place]).launch();
    // A request is answered once the server is there, and so its disk.
    server.get("/").expect(200);
    // As the server sees it.
    let inside = PathBuf::from(format!("/proc/{}/root{place}", server.program.pid));
    Some((server, inside))
}

fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn full_disk_under_the_access_log_holds_no_request_up() {
    let builder = Builder::new("logs").with("log.access", "\"disk/access.log\"");
    let Some((server, disk)) = with_tiny_disk(builder.with("log.access_format", "'%(U)s'")) else { return };
    fill(&disk);
    let mut client = server.connect();
    // Until the last page of the file is full too.
    let long = "x".repeat(LONG);
    for _ in 0..20 {
        client.get(&format!("/{long}")).expect(200);
    }
    server.wait_for("cannot write the access log: No space left on device");
    for _ in 0..500 {
        client.get("/lost").expect(200);
    }
    fs::remove_file(disk.join("filler")).unwrap();
    let mut rounds = 0;
    while !server.log().contains("the access log can be written again: ") {
        client.get("/found").expect(200);
        rounds += 1;
        assert!(rounds < 10_000, "{}", server.log());
    }
    assert!(dropped(&server.log(), "can be written again: ", " line") >= 1, "{}", server.log());
}

#[test]
fn full_disk_under_the_error_log_holds_no_request_up() {
    let builder = Builder::new("logs").with("log.file", "\"disk/error.log\"");
    let Some((server, disk)) = with_tiny_disk(builder) else { return };
    fill(&disk);
    let mut client = server.connect();
    for _ in 0..500 {
        client.get("/printed").expect(200);
    }
    fs::remove_file(disk.join("filler")).unwrap();
    let mut rounds = 0;
    // Nobody writes meanwhile: the log tells of it by itself.
    let log = || fs::read_to_string(disk.join("error.log")).unwrap();
    while !log().contains(" lines of this log could not be written and are lost") {
        client.get("/").expect(200);
        rounds += 1;
        assert!(rounds < 100_000, "{}", log());
    }
}

/// Requests that each have a path of their own, until told to stop; how many there were.
fn load(address: &crate::client::Address, name: usize, over: &AtomicBool) -> usize {
    let mut client = Client::connect(address);
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        client.get(&format!("/{name}/{number}")).expect(200);
        number += 1;
    }
    number
}

#[test]
fn rotation_under_load_loses_and_doubles_no_line() {
    let builder = Builder::new("logs").with("workers.count", "2");
    let access = builder.path("access.log");
    let mut server = builder.with("log.access", &path(&access)).with("log.access_format", "'%(U)s'").start();
    let over = AtomicBool::new(false);
    let address = server.address();
    let sent: Vec<usize> = thread::scope(|scope| {
        let loads: Vec<_> = (0..4)
            .map(|name| {
                let (address, over) = (&address, &over);
                scope.spawn(move || load(address, name, over))
            })
            .collect();
        for rotation in 0..10 {
            fs::rename(&access, server.path(&format!("access.log.{rotation}"))).unwrap();
            if rotation % 2 == 0 {
                server.signal(Signal::SIGUSR1);
            } else {
                let config = server.config().to_str().unwrap();
                run(&root(), &["ctl", "-c", config, "reopen-logs"]).expect_code(0);
            }
            // Both workers have the new file when it is there and the old one is still.
            let mut client = server.connect();
            let mut rounds = 0;
            while !fs::metadata(&access).is_ok_and(|file| file.len() > 0) {
                client.get("/more").expect(200);
                rounds += 1;
                assert!(rounds < 100_000, "the access log was not opened again");
            }
        }
        over.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    server.stop();
    let mut counts = BTreeMap::new();
    for file in (0..10).map(|rotation| server.path(&format!("access.log.{rotation}"))).chain([access]) {
        for line in fs::read_to_string(file).unwrap().lines().filter(|line| *line != "/more") {
            *counts.entry(line.to_owned()).or_insert(0) += 1;
        }
    }
    for (name, sent) in sent.iter().enumerate() {
        for number in 0..*sent {
            assert_eq!(counts.remove(&format!("/{name}/{number}")), Some(1), "/{name}/{number}");
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
}

/// A template is not told of a rotation; it is one of the parents of a worker that comes later.
#[test]
fn worker_that_a_template_forks_after_a_rotation_writes_to_the_new_file() {
    let builder = Builder::new("logs").with("app.preload", "true");
    let errors = builder.path("error.log");
    let server = builder.with("log.file", &path(&errors)).launch();
    server.get("/").expect(200);
    fs::rename(&errors, server.path("error.log.1")).unwrap();
    server.signal(Signal::SIGUSR1);
    let mut client = server.connect();
    client.send("GET /dies HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_closed();
    server.get("/odd").expect(200);
    let (old, new) =
        (fs::read_to_string(server.path("error.log.1")).unwrap(), fs::read_to_string(&errors).unwrap());
    assert!(new.contains("and a second line") && !old.contains("and a second line"), "{old}\n---\n{new}");
}

#[test]
fn logrotate_with_our_file_loses_no_line() {
    let Some(program) =
        ["/usr/sbin/logrotate", "/usr/bin/logrotate"].into_iter().find(|it| Path::new(it).exists())
    else {
        eprintln!("skipped: logrotate is not installed");
        return;
    };
    let builder = Builder::new("logs");
    let folder = builder.path("logs");
    fs::create_dir(&folder).unwrap();
    let (errors, access) = (folder.join("error.log"), folder.join("access.log"));
    let mut server = builder
        .with("log.file", &path(&errors))
        .with("log.access", &path(&access))
        .with("log.access_format", "'%(U)s'")
        .launch();
    let mut client = server.connect();
    client.get("/before").expect(200);
    let rules = fs::read_to_string(root().join("packaging/logrotate")).unwrap();
    // There is no such user here, and who is not root cannot become another.
    let rules = rules
        .replace("    su rwsgi rwsgi\n", "")
        .replace("/var/log/rwsgi/", &format!("{}/", folder.display()))
        .replace("/etc/rwsgi/*.toml", server.config().to_str().unwrap())
        .replace("/usr/bin/rwsgi", binary().to_str().unwrap());
    let (rules_file, state) = (server.path("logrotate"), server.path("logrotate.state"));
    fs::write(&rules_file, rules).unwrap();
    let rotate = || {
        let mut command = Command::new(program);
        command.arg("--force").arg("--state").arg(&state).arg(&rules_file);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    };
    // Written a little after the answer.
    let is_written = |file: &Path, text: &str| {
        let mut rounds = 0;
        while !fs::read_to_string(file).unwrap_or_default().contains(text) {
            thread::yield_now();
            rounds += 1;
            assert!(rounds < 10_000_000, "{text} is not in {}", file.display());
        }
    };
    is_written(&access, "/before\n");
    rotate();
    client.get("/between").expect(200);
    let (old, new) = (folder.join("access.log.1"), &access);
    while !fs::metadata(new).is_ok_and(|file| file.len() > 0) {
        client.get("/more").expect(200);
    }
    client.get("/raises").expect(500);
    server.stop();
    let mut text = fs::read_to_string(&old).unwrap();
    File::open(new).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("/before\n/between\n") && text.ends_with("\n/raises\n"), "{text}");
    assert!(fs::read_to_string(folder.join("error.log.1")).unwrap().contains("generation 1 serves"));
    assert!(fs::read_to_string(&errors).unwrap().contains("the application raised"));
}
