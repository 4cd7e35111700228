//! The Django example behind a real nginx, over TCP and over a unix socket.

use crate::client::{Address, Client};
use crate::django;
use crate::harness::Server;
use crate::tools::Nginx;

fn over_tcp() -> (Server, Nginx) {
    let server = django::project().with("workers.count", "1").start();
    let nginx = Nginx::start(&server.address());
    (server, nginx)
}

fn over_unix_socket() -> (Server, Nginx) {
    let builder = django::project().with("workers.count", "1");
    let path = builder.path("rwsgi.sock");
    let server = builder.bind(&[&format!("unix:{}", path.display())]).start();
    let nginx = Nginx::start(&Address::Unix(path));
    (server, nginx)
}

#[test]
fn forwarded_scheme() {
    for (_server, nginx) in [over_tcp(), over_unix_socket()] {
        let about = Client::connect(&nginx.address).get("/request/").expect(200).json();
        assert_eq!(about["secure"], true, "{about}");
        assert_eq!(about["url"], "https://localhost/request/");
    }
}

#[test]
fn connections_to_the_upstream_are_kept() {
    let (_server, nginx) = over_tcp();
    let port = || {
        // Each visitor has a connection of its own to nginx.
        let about = Client::connect(&nginx.address).get("/request/").expect(200).json();
        about["remote_port"].as_str().expect("a port").to_owned()
    };
    let first = port();
    for _ in 0..10 {
        assert_eq!(port(), first, "nginx had to connect again");
    }
}

#[test]
fn kept_connections_over_a_unix_socket() {
    let (server, nginx) = over_unix_socket();
    for _ in 0..10 {
        Client::connect(&nginx.address).get("/visits/").expect(200);
    }
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn large_upload() {
    for (_server, nginx) in [over_tcp(), over_unix_socket()] {
        django::upload_20_mb(&nginx.address);
    }
}

#[test]
fn slow_client_in_front() {
    for (_server, nginx) in [over_tcp(), over_unix_socket()] {
        let mut slow = Client::connect(&nginx.address);
        slow.send(
            "POST /sign/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        );
        slow.send("Content-Length: 6\r\n\r\nnam");
        let mut lazy = Client::connect(&nginx.address);
        lazy.send("GET /static/admin/js/vendor/jquery/jquery.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for _ in 0..20 {
            Client::connect(&nginx.address).get("/visits/").expect(200);
        }
        // No token: Django refuses it, which shows that it arrived.
        slow.send("e=A").response().expect(403);
        assert!(lazy.response().expect(200).body.len() > 200_000);
    }
}

#[test]
fn stream_through_nginx() {
    let (_server, nginx) = over_tcp();
    let text = Client::connect(&nginx.address).get("/stream/").expect(200).text();
    assert_eq!(text.lines().count(), 1000);
}
