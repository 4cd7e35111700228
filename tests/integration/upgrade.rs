//! SIGUSR2: a new master takes over from the old one, and no request fails; what cannot take over changes nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{Address, Client};
use crate::harness::{Builder, PATIENCE, Server, binary, quoted, root, run};
use crate::process;

/// Clients on every address, half of them on kept connections, until `during` returns.
fn under_load(addresses: &[Address], during: impl FnOnce(&mpsc::Receiver<()>)) {
    let stop = AtomicBool::new(false);
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        let clients: Vec<_> = addresses
            .iter()
            .flat_map(|address| [(address, false), (address, true), (address, true)])
            .map(|(address, keeps)| {
                let (stop, sender) = (&stop, sender.clone());
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    while !stop.load(Ordering::Relaxed) {
                        let response = client.try_get("/")?;
                        if response.status != 200 {
                            return Err(format!("status {}", response.status));
                        }
                        if !keeps || response.header("connection") == Some("close") {
                            client = Client::try_connect(address).map_err(|error| error.to_string())?;
                        }
                        // The receiver is there until all clients have ended.
                        sender.send(()).ok();
                    }
                    Ok(())
                })
            })
            .collect();
        during(&answers);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()), "a request failed");
        }
    });
}

fn take(answers: &mpsc::Receiver<()>, count: usize) {
    while answers.try_recv().is_ok() {}
    for _ in 0..count {
        answers.recv_timeout(PATIENCE).expect("the clients are being served");
    }
}

/// The process id in the `count`-th record of a new master that starts.
#[track_caller]
fn started(server: &Server, count: usize) -> i32 {
    let line = server.wait_for_nth("starts as the new master with pid", count);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Upgrades, as the `count`-th try, and waits until the old master has gone.
#[track_caller]
fn upgrade(server: &mut Server, count: usize) -> i32 {
    let old = server.program.pid;
    server.signal(Signal::SIGUSR2);
    let pid = started(server, count);
    server.wait_for(&format!("took over from the master with pid {old}"));
    server.program.follow(pid);
    pid
}

/// Runs a shell command on `path`. A program that this process writes itself could not be executed as long as a server that
/// another test starts just then has the descriptor (ETXTBSY).
fn shell(command: &str, path: &Path, argument: impl AsRef<OsStr>) {
    let status = Command::new("sh").args(["-ec", command]).arg(path).arg(argument).status().unwrap();
    assert!(status.success(), "{command}");
}

fn write_script(path: &Path, text: &str) {
    shell(
        "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0.new\"; chmod 755 \"$0.new\"; mv \"$0.new\" \"$0\"",
        path,
        text,
    );
}

fn copy_program(path: &Path) {
    shell("cp \"$1\" \"$0.new\"; mv \"$0.new\" \"$0\"", path, binary());
}

/// A server that runs from a copy of the program, which can be replaced.
fn serve_copy(builder: Builder) -> (Server, PathBuf) {
    let copy = builder.path("rwsgi");
    copy_program(&copy);
    (builder.program(&copy).start(), copy)
}

#[test]
fn upgrades_under_load_lose_no_request() {
    let builder = Builder::new("pid").with("workers.count", "2").with("server.pid_file", "\"rwsgi.pid\"");
    let (socket, pid_file) = (builder.path("rwsgi.sock"), builder.path("rwsgi.pid"));
    let bind = format!("[\"fd:3\", {}]", quoted(&format!("unix:{}", socket.display())));
    let mut server = builder.with("server.bind", &bind).start();
    let inode = fs::metadata(&socket).unwrap().ino();
    let mut descriptors = Vec::new();
    under_load(&[server.address(), Address::Unix(socket.clone())], |answers| {
        take(answers, 100);
        for count in 1..=3 {
            let old = server.program.pid;
            let new = upgrade(&mut server, count);
            assert_ne!(old, new);
            assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), new.to_string());
            assert_eq!(fs::metadata(&socket).unwrap().ino(), inode, "the same socket serves on");
            take(answers, 100);
            descriptors.push(fs::read_dir(format!("/proc/{new}/fd")).unwrap().count());
        }
    });
    assert!(descriptors.iter().all(|count| *count == descriptors[0]), "descriptors pile up: {descriptors:?}");
    // Generations count on: one of each master so far.
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 5 serves: 2 workers");
    assert_eq!(server.get("/").expect(200).json()["ppid"], server.program.pid);
    server.stop();
    assert!(!pid_file.exists() && !socket.exists());
}

/// The upgrade fails for `reason`; the old master serves on, and can be upgraded when all is well again.
#[track_caller]
fn expect_failure(server: &mut Server, reason: &str, mend: impl FnOnce()) {
    let old = server.program.pid;
    server.signal(Signal::SIGUSR2);
    let failed = server.wait_for("the upgrade failed");
    assert!(failed.contains(reason) && failed.contains("this server goes on"), "{failed}");
    assert_eq!(server.get("/").expect(200).json()["ppid"], old);
    mend();
    upgrade(server, 2);
    assert_eq!(server.get("/").expect(200).json()["ppid"], server.program.pid);
}

#[test]
fn program_that_cannot_start_leaves_the_old_master_serving() {
    let (mut server, copy) = serve_copy(Builder::new("pid"));
    write_script(&copy, "exit 1");
    expect_failure(&mut server, "exited with code 1", || copy_program(&copy));
}

#[test]
fn broken_configuration_leaves_the_old_master_serving() {
    let mut server = Builder::new("pid").start();
    let file = server.config().to_path_buf();
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("count", "cuont")).unwrap();
    expect_failure(&mut server, "exited with code 2", || fs::write(&file, good).unwrap());
}

#[test]
fn broken_application_leaves_the_old_master_serving() {
    let builder = Builder::new("pid").with("server.pid_file", "\"rwsgi.pid\"");
    let (directory, pid_file) = (builder.path("code"), builder.path("rwsgi.pid"));
    let bind = format!("[\"fd:3\", {}]", quoted(&format!("unix:{}", builder.path("x.sock").display())));
    let (file, good) = (directory.join("pid.py"), root().join("tests/apps/pid.py"));
    fs::create_dir(&directory).unwrap();
    fs::copy(&good, &file).unwrap();
    let mut server = builder.directory(&directory).with("server.bind", &bind).start();
    let (old, socket) = (server.program.pid, server.path("x.sock"));
    fs::write(&file, "raise RuntimeError('broken')\n").unwrap();
    expect_failure(&mut server, "exited with code 3", || {
        expect_pid(old, &pid_file);
        Client::connect(&Address::Unix(socket.clone())).get("/").expect(200);
        fs::copy(&good, &file).unwrap();
    });
    expect_pid(server.program.pid, &pid_file);
    Client::connect(&Address::Unix(socket)).get("/").expect(200);
}

#[track_caller]
fn expect_pid(pid: i32, pid_file: &Path) {
    assert_eq!(fs::read_to_string(pid_file).unwrap(), format!("{pid}\n"));
}

#[test]
fn new_master_that_hangs_is_killed_at_the_limit() {
    let (mut server, copy) = serve_copy(Builder::new("pid").with("workers.boot_timeout", "\"1s\""));
    write_script(&copy, "exec sleep 1000");
    server.signal(Signal::SIGUSR2);
    started(&server, 1);
    for (signal, name) in [(Signal::SIGUSR2, "SIGUSR2"), (Signal::SIGHUP, "SIGHUP")] {
        server.signal(signal);
        server.wait_for(&format!("{name} is refused: an upgrade to pid"));
    }
    let failed = server.wait_for("the upgrade failed");
    assert!(failed.contains("was killed: it did not serve in time"), "{failed}");
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 serves");
    server.get("/").expect(200);
    server.stop();
}

#[test]
fn stop_during_an_upgrade_stops_both() {
    let (mut server, copy) = serve_copy(Builder::new("pid"));
    write_script(&copy, "exec sleep 1000");
    server.signal(Signal::SIGUSR2);
    started(&server, 1);
    server.stop();
}

/// An application whose import waits as long as the file `gate` is a pipe that nobody writes to.
fn serve_gated(builder: Builder) -> (Server, PathBuf) {
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    let gate = builder.path("gate");
    let code = format!(
        "import sys\nprint('importing', file=sys.stderr, flush=True)\nopen({gate:?}).close()\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    );
    fs::write(directory.join("gated.py"), code).unwrap();
    fs::write(&gate, "").unwrap();
    let server = builder.with("app.target", "\"gated\"").directory(&directory).start();
    fs::remove_file(&gate).unwrap();
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    (server, gate)
}

#[test]
fn stop_while_the_new_master_imports_stops_both() {
    let (mut server, _) = serve_gated(Builder::new("gated"));
    server.signal(Signal::SIGUSR2);
    server.wait_for_nth("importing", 2);
    server.stop();
}

#[test]
fn the_master_in_charge_answers_commands_during_an_upgrade() {
    let (mut server, gate) = serve_gated(Builder::new("gated"));
    let old = server.program.pid;
    server.signal(Signal::SIGUSR2);
    server.wait_for_nth("importing", 2);
    let config = server.config().to_str().unwrap().to_owned();
    let answers = || {
        let outcome = run(&root(), &["ctl", "-c", &config, "status", "--json"]);
        outcome.expect_code(0);
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap()["pid"].clone()
    };
    // Were both to listen, either would answer.
    for _ in 0..10 {
        assert_eq!(answers(), old);
    }
    // The import goes on when the pipe has a writer; those that follow find a file.
    let pipe = server.path("pipe");
    fs::rename(&gate, &pipe).unwrap();
    fs::write(&gate, "").unwrap();
    fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    server.wait_for(&format!("took over from the master with pid {old}"));
    let new = started(&server, 1);
    server.program.follow(new);
    assert_eq!(answers(), new);
    server.stop();
}

#[test]
fn new_master_does_not_outlive_an_old_one_that_was_killed() {
    let (mut server, _) = serve_gated(Builder::new("gated"));
    server.signal(Signal::SIGUSR2);
    server.wait_for_nth("importing", 2);
    server.signal(Signal::SIGKILL);
    assert_eq!(server.program.wait().code(), None);
    server.wait_for("the old master has ended");
    assert!(server.program.log.wait_closed(PATIENCE), "{}", server.log());
}

#[test]
fn killed_new_master_leaves_the_old_one_serving() {
    let (mut server, gate) = serve_gated(Builder::new("gated"));
    server.signal(Signal::SIGUSR2);
    server.wait_for_nth("importing", 2);
    kill(Pid::from_raw(started(&server, 1)), Signal::SIGKILL).unwrap();
    let failed = server.wait_for("the upgrade failed");
    assert!(failed.contains("was killed by signal 9"), "{failed}");
    fs::remove_file(&gate).unwrap();
    fs::write(gate, "").unwrap();
    server.get("/").expect(200);
    upgrade(&mut server, 2);
    server.get("/").expect(200);
}

#[test]
fn changed_addresses_are_taken_up_by_the_new_master() {
    let builder = Builder::new("pid");
    let paths = ["kept.sock", "left.sock", "new.sock"].map(|name| builder.path(name));
    let [kept, left, new] = &paths;
    let texts = paths.each_ref().map(|path| format!("unix:{}", path.display()));
    let mut server = builder.bind(&[&texts[0], &texts[1]]).start();
    let file = server.config().to_path_buf();
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("left.sock", "new.sock")).unwrap();
    let pid = upgrade(&mut server, 1);
    for path in [kept, new] {
        assert_eq!(Client::connect(&Address::Unix(path.clone())).get("/").expect(200).json()["ppid"], pid);
    }
    assert!(!left.exists(), "the socket that nobody serves stays behind");
    server.stop();
    assert!(!kept.exists() && !new.exists());
}

#[test]
fn service_manager_learns_of_the_new_master() {
    let builder = Builder::new("pid");
    let path = builder.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let wait_for = |wanted: &str| {
        let mut told = Vec::new();
        loop {
            let mut buffer = [0; 512];
            let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; told: {told:?}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.lines().any(|line| line == wanted) {
                return told;
            }
            told.push(message);
        }
    };
    let mut server = builder.environment("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    wait_for("READY=1");
    let pid = upgrade(&mut server, 1);
    let before = wait_for(&format!("MAINPID={pid}"));
    assert!(before.iter().all(|message| !message.contains("READY=1")), "too early: {before:?}");
    let between = wait_for("READY=1");
    assert!(between.iter().all(|message| !message.contains("STOPPING")), "{between:?}");
    // The second one is told by the new master, which knows the socket too.
    let pid = upgrade(&mut server, 2);
    let between = wait_for(&format!("MAINPID={pid}"));
    assert!(between.iter().all(|message| !message.contains("STOPPING")), "{between:?}");
    wait_for("READY=1");
    server.stop();
    wait_for("STOPPING=1");
}

#[test]
fn workers_of_the_new_master_are_its_own() {
    let mut server = Builder::new("pid").with("workers.count", "2").start();
    let old = server.workers();
    let pid = upgrade(&mut server, 1);
    assert_eq!(process::children(pid).len(), 3, "two workers and their template");
    assert!(process::children(pid).iter().all(|new| old.iter().all(|old| old.pid != new.pid)));
}

#[test]
fn sockets_of_the_service_manager_serve_on() {
    let mut server = Builder::new("pid").socket_activation().start();
    for count in 1..=2 {
        let pid = upgrade(&mut server, count);
        // A worker of the old master may answer until it has heard that it drains.
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.get("/").expect(200).json()["ppid"] != pid {
            assert!(Instant::now() < deadline, "the old master's workers go on");
        }
    }
}

#[test]
fn server_that_gave_its_privileges_up_can_be_upgraded() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root has privileges to give up");
        return;
    }
    let builder = Builder::new("pid").with("server.user", "\"nobody\"").with("server.group", "\"nogroup\"");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    fs::copy(root().join("tests/apps/pid.py"), directory.join("pid.py")).unwrap();
    fs::set_permissions(builder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let pid_file = builder.path("rwsgi.pid");
    let builder = builder.directory(&directory).with("server.pid_file", "\"rwsgi.pid\"");
    let (mut server, _) = serve_copy(builder);
    let pid = upgrade(&mut server, 1);
    let answer = server.get("/").expect(200).json();
    assert_eq!(
        (answer["uid"].as_u64(), answer["ppid"].as_i64()),
        (Some(65534), Some(pid.into())),
        "{answer}"
    );
    // Its directory belongs to root; the file itself was handed over.
    assert_eq!(fs::read_to_string(pid_file).unwrap(), format!("{pid}\n"));
}
