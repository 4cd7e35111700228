//! A changed `server.bind` at SIGHUP: the new address is served before the old one is given up, and a reload that fails has
//! changed nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::client::{Address, Client};
use crate::harness::{Builder, Server};
use crate::tools;

/// Rewrites a part of the configuration and reloads.
fn reload_with(server: &Server, old: &str, new: &str) {
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains(old), "{old} in {text}");
    fs::write(server.config(), text.replace(old, new)).unwrap();
    server.signal(Signal::SIGHUP);
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn moved_tcp_address_is_served_and_the_old_one_refused() {
    let (old, new) = (local(tools::free_port()), local(tools::free_port()));
    let server = Builder::new("function").bind(&[&old.to_string()]).start();
    Client::connect(&Address::Tcp(old)).get("/").expect(200);
    reload_with(&server, &old.to_string(), &new.to_string());
    server.wait_for("generation 2 serves");
    Client::connect(&Address::Tcp(new)).get("/").expect(200);
    // The last worker of generation 1 takes its descriptor with it.
    let mut left = TcpStream::connect(old).map(Client::from_tcp);
    if let Ok(client) = &mut left {
        client.expect_closed();
        assert!(TcpStream::connect(old).is_err(), "{old} is still listened on");
    }
    reload_with(&server, &new.to_string(), &old.to_string());
    server.wait_for("generation 3 serves");
    Client::connect(&Address::Tcp(old)).get("/").expect(200);
}

#[test]
fn moved_unix_socket_takes_its_file_along() {
    let builder = Builder::new("function");
    let paths = ["kept.sock", "left.sock", "new.sock"].map(|name| builder.path(name));
    let [kept, left, new] = &paths;
    let texts = paths.each_ref().map(|path| format!("unix:{}", path.display()));
    let mut server = builder.bind(&[&texts[0], &texts[1]]).start();
    let mut client = Client::connect(&Address::Unix(kept.clone()));
    client.get("/").expect(200);
    reload_with(&server, "left.sock", "new.sock");
    server.wait_for("generation 2 serves");
    for path in [kept, new] {
        Client::connect(&Address::Unix(path.clone())).get("/").expect(200);
    }
    assert!(!left.exists());
    reload_with(&server, "[server]\n", "[server]\nsocket_mode = \"0666\"\n");
    server.wait_for("generation 3 serves");
    for path in [kept, new] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o666);
    }
    server.stop();
    assert!(!kept.exists() && !new.exists());
}

#[test]
fn address_that_cannot_be_had_refuses_the_reload() {
    let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupant.local_addr().unwrap().to_string();
    let old = local(tools::free_port());
    let builder = Builder::new("function");
    let fresh = builder.path("fresh.sock");
    let server = builder.bind(&[&old.to_string()]).start();
    let wanted = format!("{taken}\", \"unix:{}\", \"unix:/no/such/directory/x.sock", fresh.display());
    reload_with(&server, &old.to_string(), &wanted);
    // All problems at once.
    server.wait_for(&format!("cannot listen on {taken}: the address is in use by"));
    server.wait_for("cannot listen on unix:/no/such/directory/x.sock");
    server.wait_for("reload refused: generation 1 keeps serving");
    assert!(!fresh.exists());
    Client::connect(&Address::Tcp(old)).get("/").expect(200);
}

#[test]
fn discarded_generation_gives_its_new_address_back() {
    let builder = Builder::new("site_under_test");
    let directory = builder.path("code");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("site_under_test.py");
    fs::copy(crate::harness::root().join("tests/apps/function.py"), &file).unwrap();
    let (kept, fresh) = (builder.path("kept.sock"), builder.path("fresh.sock"));
    let server = builder.directory(&directory).bind(&[&format!("unix:{}", kept.display())]).start();
    fs::write(&file, "raise RuntimeError('broken')\n").unwrap();
    reload_with(&server, "kept.sock", "fresh.sock");
    server.wait_for("reload failed: generation 2 discarded");
    Client::connect(&Address::Unix(kept.clone())).get("/").expect(200);
    assert!(!fresh.exists(), "the socket of a generation that never served stays behind");
    fs::copy(crate::harness::root().join("tests/apps/function.py"), &file).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 3 serves");
    Client::connect(&Address::Unix(fresh)).get("/").expect(200);
    assert!(!kept.exists());
}
