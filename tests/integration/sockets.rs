//! Where the server listens, and as whom it runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;

use crate::client::{Address, Client};
use crate::harness::{Builder, run};
use crate::tools;

#[test]
fn socket_activation_as_systemd_does_it() {
    let server = Builder::new("interpreter").socket_activation().start();
    let answer = server.get("/").expect(200).json();
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        assert_eq!(answer["environment"].get(name), None, "{name} is no business of the application");
    }
}

#[test]
fn several_addresses_of_every_kind() {
    let port = tools::free_port();
    let builder = Builder::new("environ_json");
    let path = builder.path("rwsgi.sock");
    let unix = format!("unix:{}", path.display());
    let server = builder.bind(&[&format!("127.0.0.1:{port}"), &format!("[::1]:{port}"), &unix]).start();
    server.wait_for(&format!("listening on http://127.0.0.1:{port}"));
    let v4 = Address::Tcp(format!("127.0.0.1:{port}").parse().unwrap());
    let v6 = Address::Tcp(format!("[::1]:{port}").parse().unwrap());
    for (address, remote) in [(v4, "127.0.0.1"), (v6, "::1"), (Address::Unix(path), "")] {
        let environ = Client::connect(&address).get("/").expect(200).json();
        assert_eq!(environ["REMOTE_ADDR"], remote, "{address:?}");
    }
}

#[test]
fn unix_socket_has_its_mode_and_goes_with_the_server() {
    let builder = Builder::new("function").with("server.socket_mode", "\"0640\"");
    let path = builder.path("rwsgi.sock");
    let unix = format!("unix:{}", path.display());
    let mut server = builder.bind(&[&unix]).start();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    Client::connect(&Address::Unix(path.clone())).get("/").expect(200);
    server.stop();
    assert!(!path.exists(), "the socket file stays behind");
}

#[test]
fn stale_unix_socket_is_replaced() {
    let builder = Builder::new("function");
    let path = builder.path("rwsgi.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let unix = format!("unix:{}", path.display());
    let _server = builder.bind(&[&unix]).start();
    Client::connect(&Address::Unix(path)).get("/").expect(200);
}

#[test]
fn live_unix_socket_is_refused() {
    let builder = Builder::new("function");
    let path = builder.path("rwsgi.sock");
    let _owner = UnixListener::bind(&path).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let builder = builder.bind(&[&format!("unix:{}", path.display())]);
    let file = builder.write();
    let outcome = run(path.parent().unwrap(), &["-c", file.to_str().unwrap()]);
    outcome
        .expect_code(1)
        .expect_error("the socket is in use by")
        .expect_error(&std::process::id().to_string());
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "the socket of another process was taken away");
}

#[test]
fn file_that_is_no_socket_is_not_touched() {
    let builder = Builder::new("function");
    let path = builder.path("precious");
    fs::write(&path, "data").unwrap();
    let builder = builder.bind(&[&format!("unix:{}", path.display())]);
    let file = builder.write();
    let outcome = run(path.parent().unwrap(), &["-c", file.to_str().unwrap()]);
    outcome.expect_code(1).expect_error("is not a socket");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn privileges_are_dropped_after_binding() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root has privileges to drop");
        return;
    }
    let builder = Builder::new("pid").with("server.user", "\"nobody\"").with("server.group", "\"nogroup\"");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    fs::copy(crate::harness::root().join("tests/apps/pid.py"), directory.join("pid.py")).unwrap();
    fs::set_permissions(builder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let server = builder.directory(&directory).start();
    let answer = server.get("/").expect(200).json();
    assert_eq!((answer["uid"].as_u64(), answer["gid"].as_u64()), (Some(65534), Some(65534)), "{answer}");
    assert!(answer["groups"].as_array().unwrap().iter().all(|group| group == 65534), "{answer}");
    // A replacement and a new generation run as the same user.
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 serves");
    assert_eq!(server.get("/").expect(200).json()["uid"], 65534);
}

/// Whoever may write to the folder of the logs could otherwise have root give any file away.
#[test]
fn link_in_place_of_a_log_file_gives_no_file_away() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root has files to give away");
        return;
    }
    let builder = Builder::new("pid").with("server.user", "\"nobody\"").with("log.access", "\"access.log\"");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    fs::copy(crate::harness::root().join("tests/apps/pid.py"), directory.join("pid.py")).unwrap();
    fs::set_permissions(builder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = builder.path("secret");
    fs::write(&secret, "").unwrap();
    std::os::unix::fs::symlink(&secret, builder.path("access.log")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut server = builder.directory(&directory).launch();
    server.wait_for("cannot open the log file");
    server.expect_exit(3);
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 0);
}

#[test]
fn pid_file_is_written_and_removed() {
    let builder = Builder::new("function");
    let path = builder.path("rwsgi.pid");
    let mut server = builder.with("server.pid_file", "\"rwsgi.pid\"").start();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), server.program.pid.to_string());
    server.stop();
    assert!(!path.exists());
}

#[test]
fn command_line_without_a_file() {
    let port = tools::free_port();
    let directory = crate::harness::root().join("tests/apps");
    let mut command = std::process::Command::new(crate::harness::binary());
    command.args(["--bind", &format!("127.0.0.1:{port}"), "--workers", "1", "--threads", "2", "function"]);
    command.current_dir(directory).stdin(std::process::Stdio::null());
    let program = crate::harness::Program::spawn(command);
    program.wait_for("generation 1 serves: 1 worker × 2 threads");
    let address = Address::Tcp(format!("127.0.0.1:{port}").parse().unwrap());
    assert_eq!(Client::connect(&address).get("/").expect(200).text(), "Hello, World!\n");
}
