//! Listeners of the first start and of a changed configuration, on real sockets.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

fn server(bind: Vec<Bind>, bind_is_default: bool) -> Server {
    Server {
        bind,
        bind_is_default,
        backlog: 16,
        user: None,
        group: None,
        umask: None,
        socket_mode: 0o600,
        pid_file: None,
        process_name: "rwsgi".to_owned(),
    }
}

fn open(server: &Server) -> Result<Vec<Listener>, Vec<String>> {
    super::open(server).map(|reconciled| reconciled.listeners)
}

#[test]
fn passed_sockets_replace_the_default_only() {
    let bind = vec![Bind::Tcp("127.0.0.1:8000".parse().unwrap())];
    assert_eq!(choose(&server(bind.clone(), true), &[]), bind);
    assert_eq!(choose(&server(bind.clone(), true), &[3, 4]), [Bind::Descriptor(3), Bind::Descriptor(4)]);
    assert_eq!(choose(&server(bind.clone(), false), &[3]), bind);
}

/// As a socket unit passes it.
fn pass(listener: &Listener) -> Passed {
    Passed { fd: listener.as_fd().try_clone_to_owned().unwrap().into_raw_fd(), name: "web.socket".to_owned() }
}

/// As it comes back from the store.
fn store(listener: &Listener) -> Passed {
    Passed { name: inherit::store_name(listener).unwrap(), ..pass(listener) }
}

fn port_of(listener: &Listener) -> u16 {
    let Address::Tcp(address) = listener.local else { panic!("{listener} is not TCP") };
    address.port()
}

fn local_bind(listener: &Listener) -> Bind {
    Bind::Tcp(([127, 0, 0, 1], port_of(listener)).into())
}

#[test]
fn passed_socket_is_taken_for_the_address_that_it_has() {
    let systemds = open(&server(vec![free_tcp()], false)).unwrap();
    let wanted = server(vec![free_tcp(), local_bind(&systemds[0])], false);
    let opened = open_with(&wanted, &[pass(&systemds[0])]).unwrap();
    assert!(opened.listeners[1].is_lent() && opened.listeners[1].local == systemds[0].local);
    assert!(!opened.listeners[0].is_lent());
    assert!(opened.bound.len() == 1 && opened.removed.is_empty());
    let elsewhere = open_with(&server(vec![free_tcp()], false), &[pass(&systemds[0])]).unwrap();
    assert!(elsewhere.listeners.len() == 1 && elsewhere.removed.is_empty());
    TcpStream::connect(("127.0.0.1", port_of(&systemds[0]))).expect("the unit's socket still listens");
}

#[test]
fn stored_listeners_are_taken_back_with_what_waits_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Bind::Unix(directory.path().join("x.sock"));
    let before = open(&server(vec![free_tcp(), unix.clone()], false)).unwrap();
    let waiting = TcpStream::connect(("127.0.0.1", port_of(&before[0]))).unwrap();
    let passed: Vec<Passed> = before.iter().map(store).collect();
    let wanted = server(vec![unix.clone(), local_bind(&before[0])], false);
    drop(before);
    let opened = open_with(&wanted, &passed).unwrap();
    assert!(opened.bound.is_empty() && opened.removed.is_empty() && opened.listeners.len() == 2);
    assert!(opened.listeners[0].socket_file().is_some(), "the file is not known as ours");
    let accepted = socket2::SockRef::from(&opened.listeners[1].as_fd()).accept().unwrap().1;
    assert_eq!(accepted.as_socket(), Some(waiting.local_addr().unwrap()));
}

#[test]
fn stored_listeners_that_are_not_wanted_any_more_are_not_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Bind::Unix(directory.path().join("x.sock"));
    let before = open(&server(vec![free_tcp(), unix.clone()], false)).unwrap();
    let passed: Vec<Passed> = before.iter().map(store).collect();
    // `before` stays open, as it does in the store.
    let everywhere = Bind::Tcp(([0, 0, 0, 0], port_of(&before[0])).into());
    let opened = open_with(&server(vec![everywhere], false), &passed).unwrap();
    assert_eq!((opened.bound.len(), opened.removed.len()), (1, 2));
    assert!(!path_of(&unix).exists());
}

#[test]
fn stored_listener_whose_file_was_replaced_is_bound_again() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Bind::Unix(directory.path().join("x.sock"));
    let before = open(&server(vec![unix.clone()], false)).unwrap();
    let passed = [store(&before[0])];
    fs::remove_file(path_of(&unix)).unwrap();
    let opened = open_with(&server(vec![unix.clone()], false), &passed).unwrap();
    assert_eq!((opened.bound.len(), opened.removed.len()), (1, 1));
    assert!(path_of(&unix).exists());
}

#[test]
fn start_that_fails_leaves_the_files_of_stored_listeners() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Bind::Unix(directory.path().join("x.sock"));
    let before = open(&server(vec![unix.clone()], false)).unwrap();
    let passed = [store(&before[0])];
    let missing = Bind::Unix(PathBuf::from("/no/such/directory/x.sock"));
    open_with(&server(vec![unix.clone(), missing], false), &passed).unwrap_err();
    assert!(path_of(&unix).exists());
}

#[test]
fn all_problems_are_reported_and_nothing_stays_behind() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("x.sock");
    let bind = vec![
        Bind::Unix(good.clone()),
        Bind::Unix(PathBuf::from("/no/such/directory/x.sock")),
        Bind::Descriptor(987_654),
        Bind::Descriptor(987_654),
    ];
    let problems = open(&server(bind, false)).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!good.exists());
}

fn path_of(bind: &Bind) -> PathBuf {
    let Bind::Unix(path) = bind else { panic!("{bind} is no path") };
    path.clone()
}

fn free_tcp() -> Bind {
    Bind::Tcp("127.0.0.1:0".parse().unwrap())
}

#[test]
fn what_is_wanted_still_is_kept_and_what_is_new_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let unix = |name: &str| Bind::Unix(directory.path().join(name));
    let current = open(&server(vec![unix("kept"), free_tcp(), free_tcp(), unix("left")], false)).unwrap();
    let wanted = server(vec![free_tcp(), unix("new"), unix("kept"), free_tcp()], false);
    let reconciled = reconcile(&current, &wanted).unwrap();
    let [first, new, kept, second] = reconciled.listeners.as_slice() else { panic!("{reconciled:?}") };
    assert!(first.is_same(&current[1]) && second.is_same(&current[2]) && kept.is_same(&current[0]));
    assert!(reconciled.bound.len() == 1 && reconciled.bound[0].is_same(new));
    assert!(reconciled.removed.len() == 1 && reconciled.removed[0].is_same(&current[3]));
    assert!(reconciled.moves());
    for name in ["kept", "new", "left"] {
        assert!(directory.path().join(name).exists(), "{name}");
    }
    remove_files(&reconciled.removed);
    assert!(!directory.path().join("left").exists());
    assert!(!reconcile(&reconciled.listeners, &wanted).unwrap().moves());
}

#[test]
fn the_same_address_in_other_words_is_kept() {
    let current = open(&server(vec![free_tcp()], false)).unwrap();
    let local = current[0].to_string();
    let written = Bind::Tcp(local.trim_start_matches("http://").parse().unwrap());
    let reconciled = reconcile(&current, &server(vec![written.clone()], false)).unwrap();
    assert!(!reconciled.moves() && reconciled.listeners[0].bind == written);
    let Bind::Tcp(address) = written else { panic!("{written}") };
    let name = Bind::Name("localhost".to_owned(), address.port());
    let reconciled = reconcile(&current, &server(vec![name.clone()], false)).unwrap();
    assert!(reconciled.listeners.iter().any(|it| it.is_same(&current[0])));
    assert!(reconciled.removed.is_empty());
    assert!(!reconcile(&reconciled.listeners, &server(vec![name], false)).unwrap().moves());
}

#[test]
fn all_problems_of_a_change_are_told_and_nothing_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let new = Bind::Unix(directory.path().join("new"));
    let current = open(&server(vec![free_tcp()], false)).unwrap();
    let Address::Tcp(address) = current[0].local else { panic!("no TCP") };
    let everywhere = Bind::Tcp(([0, 0, 0, 0], address.port()).into());
    let missing = Bind::Unix(PathBuf::from("/no/such/directory/x.sock"));
    let twice = Bind::Tcp(address);
    let wanted = vec![new.clone(), everywhere, missing, Bind::Descriptor(3), twice.clone(), twice];
    let problems = reconcile(&current, &server(wanted, false)).unwrap_err();
    let told = problems.join("\n");
    assert_eq!(problems.len(), 4, "{told}");
    for part in ["while this server listens on http://127", "/no/such", "only at the start", "twice"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!path_of(&new).exists());
}

#[test]
fn a_socket_whose_file_was_replaced_is_bound_again() {
    let directory = tempfile::tempdir().unwrap();
    let bind = Bind::Unix(directory.path().join("x.sock"));
    let current = open(&server(vec![bind.clone()], false)).unwrap();
    fs::remove_file(path_of(&bind)).unwrap();
    let reconciled = reconcile(&current, &server(vec![bind.clone()], false)).unwrap();
    assert!(reconciled.bound.len() == 1 && reconciled.removed.len() == 1);
    remove_files(&reconciled.removed);
    assert!(path_of(&bind).exists(), "the new file was taken for the old one");
}

#[test]
fn passed_sockets_stay_as_long_as_nothing_else_is_written() {
    let fd = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
    let current = open(&server(vec![Bind::Descriptor(fd)], false)).unwrap();
    let default = server(vec![Bind::Tcp("127.0.0.1:8000".parse().unwrap())], true);
    assert!(!reconcile(&current, &default).unwrap().moves());
    assert!(reconcile(&current, &server(vec![free_tcp()], false)).unwrap().moves());
}

#[test]
fn kept_listeners_get_the_new_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = server(vec![Bind::Unix(directory.path().join("x.sock"))], false);
    let current = open(&server).unwrap();
    server.socket_mode = 0o666;
    let reconciled = reconcile(&current, &server).unwrap();
    let mode = || fs::metadata(path_of(&server.bind[0])).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600, "nothing changes before the generation serves");
    adjust(&reconciled.listeners, &server);
    assert_eq!(mode(), 0o666);
}
