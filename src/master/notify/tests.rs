//! What a service manager hears, on real sockets.

use std::os::fd::OwnedFd;

use nix::sys::socket::recv;

use super::*;
use crate::net::Bind;

const SECOND: Duration = Duration::from_secs(1);

fn expect(notifier: &mut Notifier, manager: &UnixDatagram) {
    let mut told = |tell: &dyn Fn(&mut Notifier)| {
        tell(notifier);
        hear(manager)
    };
    let report =
        || Report { phase: Phase::Serving, generation: 1, workers: 2, count: 2, ..Report::default() };
    assert_eq!(
        told(&|it| it.ready(report())),
        "READY=1\nSTATUS=2 workers, generation 1, 0 requests, 0 in flight"
    );
    assert_eq!(told(&|it| it.main_pid(7)), "MAINPID=7");
    assert_eq!(told(&|it| it.watchdog()), "WATCHDOG=1");
    assert!(
        told(&|it| it.stopping(SECOND, report())).starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000\n")
    );
    assert!(told(&|it| it.starting(SECOND, report())).starts_with("EXTEND_TIMEOUT_USEC=1000000\nSTATUS="));
    let reloading = told(&|it| it.reloading(SECOND, report()));
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
    assert!(usec.parse::<u64>().unwrap() > 0);
    assert!(told(&|it| it.status(report(), Instant::now())).starts_with("STATUS=2 workers"));
}

fn hear(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let length = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn notifier(name: &OsStr) -> Notifier {
    Notifier { socket: Some(connect(name).unwrap()), store_max: 2, ..Notifier::default() }
}

#[test]
fn the_manager_hears_by_path_and_by_abstract_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    expect(&mut notifier(path.as_os_str()), &manager);
    let name = format!("rwsgi-test-{}", path.display());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    expect(&mut notifier(OsStr::new(&format!("@{name}"))), &manager);
}

#[test]
fn listeners_are_kept_by_name_as_many_as_there_is_room_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut notifier = notifier(path.as_os_str());
    let unix = Bind::Unix(directory.path().join("x.sock"));
    let tcp = Bind::Tcp("127.0.0.1:0".parse().unwrap());
    let bind = |bind: &Bind| Listener::bind(bind, 16, 0o600).unwrap().remove(0);
    let [unix, tcp, third] = [bind(&unix), bind(&tcp), bind(&tcp)];
    notifier.keep([&unix, &tcp, &third].into_iter());
    for listener in [&unix, &tcp] {
        let name = store_name(listener).unwrap();
        let mut buffer = [0; 512];
        let (length, passed): (usize, Vec<OwnedFd>) =
            sys::passed::receive(manager.as_fd(), &mut buffer).unwrap().unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert_eq!(text, format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"));
        assert_eq!(passed.len(), 1);
    }
    let file = unix.socket_file().unwrap();
    assert!(notifier.keeps(file));
    notifier.keep([&tcp].into_iter());
    assert_eq!(hear(&manager), format!("FDSTOREREMOVE=1\nFDNAME={}", store_name(&unix).unwrap()));
    assert!(!notifier.keeps(file));
    notifier.keep([&tcp].into_iter());
    let nothing = recv(manager.as_raw_fd(), &mut [0], nix::sys::socket::MsgFlags::MSG_DONTWAIT);
    assert!(nothing.is_err(), "what is kept already was told again");
}

#[test]
fn without_a_store_no_listener_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut notifier = Notifier { store_max: 0, ..notifier(path.as_os_str()) };
    let listener = Listener::bind(&Bind::Unix(directory.path().join("x.sock")), 16, 0o600).unwrap();
    notifier.keep(listener.iter());
    notifier.watchdog();
    assert_eq!(hear(&manager), "WATCHDOG=1");
    assert!(!notifier.keeps(listener[0].socket_file().unwrap()));
}

#[test]
fn without_a_manager_nothing_happens() {
    Notifier::default().ready(Report::default());
    assert!(connect(OsStr::new("/no/such/socket")).is_err());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut notifier = notifier(path.as_os_str());
    drop(manager);
    notifier.ready(Report::default());
}

#[test]
fn a_manager_that_does_not_read_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let notifier = notifier(path.as_os_str());
    let socket = notifier.socket.as_ref().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.send(b"x").is_ok() {}
    socket.set_nonblocking(false).unwrap();
    notifier.watchdog();
}

#[test]
fn the_watchdog_is_for_the_named_process_or_any() {
    let second = Some(SECOND);
    assert_eq!(watchdog_interval(7, Some("2000000"), None), second);
    assert_eq!(watchdog_interval(7, Some("2000000"), Some("7")), second);
    assert_eq!(watchdog_interval(7, Some("2000000"), Some("8")), None);
    assert_eq!(watchdog_interval(7, Some("0"), None), None);
    assert_eq!(watchdog_interval(7, None, Some("7")), None);
}
