//! Both sides of an upgrade, with shell scripts in the place of the new program and pairs of sockets in that of the channel.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::fd::IntoRawFd;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::listeners;
use super::program::{find_program, without_mark};
use super::*;
use crate::config::{Server, Settings};

const LIMIT: Duration = Duration::from_secs(60);

/// A program that is a shell script.
fn script(text: &str) -> Program {
    Program {
        path: PathBuf::from("/bin/sh"),
        name: OsString::from("sh"),
        arguments: vec!["-c".into(), text.into()],
        directory: Some(env::temp_dir()),
    }
}

const NOTHING: Estate<'static> =
    Estate { generation: 4, listeners: &[], metrics: &[], control: None, pid_file: None };

fn start(text: &str) -> (Upgrade, Instant) {
    let now = Instant::now();
    (Upgrade::start(&script(text), &NOTHING, now, LIMIT).unwrap(), now)
}

fn reap(upgrade: &Upgrade) -> ExitStatus {
    match waitpid(Pid::from_raw(upgrade.pid()), None).unwrap() {
        WaitStatus::Exited(_, code) => ExitStatus::Code(code),
        WaitStatus::Signaled(_, signal, _) => ExitStatus::Signal(signal as i32),
        other @ (WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive) => panic!("{other:?}"),
    }
}

#[test]
fn a_program_that_exits_is_told_with_its_status() {
    let (mut upgrade, now) = start("exit 3");
    let status = reap(&upgrade);
    assert!(!upgrade.turn(now));
    assert_eq!(upgrade.deadline(), Some(now + EXIT_ALLOWANCE));
    let pid = upgrade.pid();
    assert_eq!(
        upgrade.end(status),
        format!(
            "the upgrade failed: the new master (pid {pid}) exited with code 3 (its reason stands above, or on standard error); this server goes on"
        )
    );
}

#[test]
fn a_program_that_hangs_is_killed_at_the_limit() {
    let (mut upgrade, now) = start("kill -STOP $$");
    let limit = now + LIMIT + START_ALLOWANCE;
    assert_eq!(upgrade.deadline(), Some(limit));
    assert!(!upgrade.turn(limit - Duration::from_millis(1)));
    assert!(upgrade.deadline().is_some());
    assert!(!upgrade.turn(limit));
    assert_eq!(upgrade.deadline(), None);
    let status = reap(&upgrade);
    assert_eq!(status, ExitStatus::Signal(libc::SIGKILL));
    assert!(upgrade.end(status).contains("was killed: it did not serve in time"));
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    let program = Program { path: "/no/such/program".into(), ..script("") };
    let error = Upgrade::start(&program, &NOTHING, Instant::now(), LIMIT).unwrap_err();
    assert!(error.starts_with("the upgrade failed: /no/such/program cannot be started: "), "{error}");
    assert!(error.ends_with("this server goes on"), "{error}");
}

#[test]
fn a_server_that_stops_takes_the_new_master_with_it() {
    let (mut upgrade, now) = start("kill -STOP $$");
    upgrade.stop();
    assert!(!upgrade.turn(now + 10 * LIMIT));
    assert_eq!(upgrade.deadline(), None);
    let pid = upgrade.pid();
    drop(upgrade);
    let ended = waitpid(Pid::from_raw(pid), None).unwrap();
    assert!(matches!(ended, WaitStatus::Signaled(..)), "{ended:?}");
}

/// What the variable holds when the program starts, without the numbers that differ.
#[test]
fn the_new_program_gets_descriptors_arguments_and_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Settings::for_tests().server;
    server.bind = vec![Bind::Unix(directory.path().join("x.sock"))];
    let listeners = listeners::open(&server).unwrap().listeners;
    let pid_file = directory.path().join("pid");
    let estate = Estate {
        generation: 4,
        listeners: &listeners,
        metrics: &[],
        control: Some((listeners[0].as_fd(), Path::new("/run/x.sock"))),
        pid_file: Some(&pid_file),
    };
    let fd = listeners[0].as_fd().as_raw_fd();
    // The descriptors are open in the shell's child, and the channel works: a seqpacket socket can be written to as a file.
    let code = format!(
        "import json, os, select, stat; h = json.loads(os.environ['{VARIABLE}']); \
         assert h['generation'] == 4 and h['master'] == os.getppid(); \
         assert stat.S_ISSOCK(os.fstat(h['listeners'][0]['fd']).st_mode); \
         assert h['listeners'][0]['fd'] == h['control'][0] == {fd}; \
         assert h['listeners'][0]['bind'] == 'unix:{0}/x.sock' and h['pid_file'] == '{0}/pid'; \
         assert os.getcwd() == '{0}'; \
         os.write(h['channel'], b'serving'); \
         select.select([h['channel']], [], []); assert os.read(h['channel'], 9) == b'adopt'",
        directory.path().display()
    );
    let program = Program {
        directory: Some(directory.path().to_path_buf()),
        arguments: vec!["-c".into(), "exec python3 -c \"$0\"".into(), code.into()],
        ..script("")
    };
    let now = Instant::now();
    let mut upgrade = Upgrade::start(&program, &estate, now, LIMIT).unwrap();
    let mut polled = [nix::poll::PollFd::new(upgrade.channel.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut polled, 20_000u16).unwrap();
    assert!(upgrade.turn(now), "the script did not say that it serves");
    assert!(!upgrade.is_over());
    upgrade.hand_over();
    assert!(upgrade.is_over());
    let status = reap(&upgrade);
    assert_eq!(status, ExitStatus::Code(0));
    assert!(upgrade.end(status).contains("start the server again"));
}

fn predecessor(server: &Server, listeners: &[Listener]) -> (Predecessor, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (old, new) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    let mut handed: Vec<Handed> = listeners.iter().map(Handed::of).collect();
    for (handed, listener) in handed.iter_mut().zip(listeners) {
        handed.fd = listener.as_fd().try_clone_to_owned().unwrap().into_raw_fd();
    }
    let handover = Handover {
        master: 1,
        generation: 4,
        channel: new.into_raw_fd(),
        control: None,
        pid_file: server.pid_file.clone(),
        listeners: handed,
        metrics: Vec::new(),
    };
    let text = serde_json::to_string(&handover).unwrap();
    (Predecessor::accept(serde_json::from_str(&text).unwrap()).unwrap(), old)
}

#[test]
fn listeners_keep_their_names_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Settings::for_tests().server;
    server.bind = vec![
        Bind::Unix(directory.path().join("x.sock")),
        Bind::Tcp("127.0.0.1:0".parse().unwrap()),
        Bind::Name("localhost".to_owned(), 0),
    ];
    server.bind_is_default = false;
    let old = listeners::open(&server).unwrap().listeners;
    let (predecessor, _channel) = predecessor(&server, &old);
    assert_eq!((predecessor.pid(), predecessor.generation()), (1, 4));
    let new = &predecessor.listeners;
    assert_eq!(new.len(), old.len());
    for (new, old) in new.iter().zip(&old) {
        assert_eq!((&new.bind, &new.local, new.socket_file()), (&old.bind, &old.local, old.socket_file()));
    }
    assert!(!listeners::reconcile(new, &server).unwrap().moves());
}

#[test]
fn the_new_master_hears_what_becomes_of_the_old_one() {
    let server = Settings::for_tests().server;
    let (mut new, old) = predecessor(&server, &[]);
    assert_eq!(new.hear(), Word::Nothing);
    new.tell_serving();
    new.tell_serving();
    assert!(matches!(receive(&old), Received::Word(word) if word == SERVING));
    assert!(matches!(receive(&old), Received::Nothing));
    say(&old, b"something new").unwrap();
    assert_eq!(new.hear(), Word::Nothing);
    say(&old, ADOPT).unwrap();
    assert_eq!(new.hear(), Word::Adopt);
    let (new, old) = predecessor(&server, &[]);
    say(&old, STOP).unwrap();
    assert_eq!(new.hear(), Word::Stop("the old master stops"));
    drop(old);
    assert_eq!(new.hear(), Word::Stop("the old master has ended"));
    let (mut new, old) = predecessor(&server, &[]);
    new.tell_serving();
    drop(old);
    assert_eq!(new.hear(), Word::Adopt, "one of them must go on");
}

#[test]
fn the_pid_file_moves_with_the_master() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Settings::for_tests().server;
    let old_path = directory.path().join("old");
    server.pid_file = Some(old_path.clone());
    fs::write(&old_path, "1\n").unwrap();
    let (predecessor, _channel) = predecessor(&server, &[]);
    server.pid_file = Some(directory.path().join("new"));
    let file = predecessor.take_over_pid_file(&server).unwrap();
    assert!(!old_path.exists());
    assert_eq!(fs::read_to_string(file.path()).unwrap().trim(), std::process::id().to_string());
    server.pid_file = Some("/no/such/directory/pid".into());
    assert!(predecessor.take_over_pid_file(&server).is_none());
}

#[test]
fn the_program_is_found_as_it_was_called() {
    let own = env::current_exe().unwrap();
    assert_eq!(find_program(&own.clone().into(), None), own);
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    assert_eq!(find_program(&"./link".into(), Some(directory.path())), directory.path().join("./link"));
    assert_eq!(find_program(&"/bin/sh".into(), None), own, "another program");
    assert_eq!(without_mark("/usr/bin/rwsgi (deleted)".into()), PathBuf::from("/usr/bin/rwsgi"));
    assert_eq!(without_mark("/usr/bin/rwsgi".into()), PathBuf::from("/usr/bin/rwsgi"));
}
