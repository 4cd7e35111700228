//! Listeners on real sockets, and each error that they explain.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::*;

fn listen(bind: &Bind) -> Result<Vec<Listener>, BindError> {
    Listener::bind(bind, 16, 0o640)
}

fn tcp(text: &str) -> Bind {
    Bind::Tcp(text.parse().unwrap())
}

fn error_of(bind: &Bind) -> String {
    listen(bind).unwrap_err().to_string()
}

#[test]
fn a_tcp_listener_is_non_blocking_and_hands_its_options_on() {
    let listener = listen(&tcp("127.0.0.1:0")).unwrap().remove(0);
    let Address::Tcp(address) = listener.local else { panic!("not TCP") };
    assert_ne!(address.port(), 0);
    assert_eq!(listener.to_string(), format!("http://{address}"));
    let socket = SockRef::from(&*listener.socket);
    assert!(socket.nonblocking().unwrap());
    assert!(socket.is_listener().unwrap());
    let _client = TcpStream::connect(address).unwrap();
    let (accepted, _) = socket.accept().unwrap();
    assert!(accepted.tcp_nodelay().unwrap());
    assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
}

#[test]
fn a_port_in_use_names_its_process() {
    let listener = listen(&tcp("127.0.0.1:0")).unwrap().remove(0);
    let Address::Tcp(address) = listener.local else { panic!("not TCP") };
    assert_eq!(
        error_of(&Bind::Tcp(address)),
        format!("cannot listen on {address}: this process listens there already: server.bind names it twice")
    );
}

#[test]
fn a_foreign_address_is_explained() {
    let error = error_of(&tcp("192.0.2.1:8000"));
    assert!(
        error.starts_with(
            "cannot listen on 192.0.2.1:8000: this machine has no address 192.0.2.1: set server.bind"
        ),
        "{error}"
    );
}

#[test]
fn a_low_port_without_privilege_is_explained() {
    let error =
        explain_tcp("127.0.0.1:80".parse().unwrap(), &io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(error.contains("port 80") && error.contains("CAP_NET_BIND_SERVICE"), "{error}");
}

#[test]
fn a_name_is_resolved_and_an_unknown_one_refused() {
    let listeners = listen(&Bind::Name("localhost".to_owned(), 0)).unwrap();
    assert!(!listeners.is_empty());
    let error = error_of(&Bind::Name("no-such-host.invalid".to_owned(), 80));
    assert!(error.contains("cannot be resolved"), "{error}");
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed_only_by_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let listener = listen(&Bind::Unix(path.clone())).unwrap().remove(0);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(listener.to_string(), format!("unix:{}", path.display()));
    UnixStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    listener.socket_file().unwrap().remove();
    assert!(path.exists(), "somebody else's socket was removed");
    drop(listener);
    fs::remove_file(&path).unwrap();
    let listener = listen(&Bind::Unix(path.clone())).unwrap().remove(0);
    listener.socket_file().unwrap().remove();
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    drop(UnixListener::bind(&path).unwrap());
    let _listener = listen(&Bind::Unix(path.clone())).unwrap();
    let error = error_of(&Bind::Unix(path));
    assert!(error.contains("the socket is in use by "), "{error}");
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
}

#[test]
fn a_file_that_is_no_socket_is_never_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    fs::write(&path, "precious").unwrap();
    let error = error_of(&Bind::Unix(path.clone()));
    assert!(error.contains("is not a socket"), "{error}");
    let mut content = String::new();
    fs::File::open(&path).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "precious");
}

#[test]
fn bad_paths_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let error = error_of(&Bind::Unix(directory.path().join("missing/x.sock")));
    assert!(error.contains("missing does not exist"), "{error}");
    let error = error_of(&Bind::Unix(directory.path().join("x".repeat(120))));
    assert!(error.contains("too long"), "{error}");
}

#[test]
fn an_inherited_descriptor_must_be_a_listening_stream_socket() {
    let fd = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
    let listener = listen(&Bind::Descriptor(fd)).unwrap().remove(0);
    assert!(matches!(listener.local, Address::Tcp(_)));
    assert!(error_of(&Bind::Descriptor(1)).contains("standard streams"));
    assert!(error_of(&Bind::Descriptor(987_654)).contains("no such descriptor"));
    let file = fs::File::open("/dev/null").unwrap().into_raw_fd();
    assert!(error_of(&Bind::Descriptor(file)).contains("not a listening stream socket"));
    let datagram = UnixDatagram::unbound().unwrap().into_raw_fd();
    assert!(error_of(&Bind::Descriptor(datagram)).contains("not a listening stream socket"));
}
