//! `config/nginx.conf` as an operator takes it, with a real nginx: only addresses and folders are put in.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::harness::{Builder, Server, root, run_command};
use crate::tools::{self, Nginx};

fn shipped() -> String {
    fs::read_to_string(root().join("config/nginx.conf")).unwrap()
}

/// Puts in what is different here. Each part must be there to be replaced.
fn adapted(listen: SocketAddr, socket: &Path, files: &Path) -> String {
    let mut text = shipped();
    for (shipped, here) in [
        ("listen 80;", format!("listen {listen};")),
        ("    listen [::]:80;\n", String::new()),
        ("unix:/run/rwsgi/app.sock max_fails", format!("unix:{} max_fails", socket.display())),
        ("alias /var/lib/rwsgi/app/", format!("alias {}/", files.display())),
    ] {
        assert!(text.contains(shipped), "config/nginx.conf has no {shipped:?} any more");
        text = text.replace(shipped, &here);
    }
    text
}

/// A server that listens on a unix socket, and nginx before it.
fn serve() -> (Server, Nginx) {
    serve_changed(|text| text)
}

fn serve_changed(change: impl FnOnce(String) -> String) -> (Server, Nginx) {
    let builder =
        Builder::new("behind_nginx").with("workers.threads", "2").with("proxy.forwarded", "\"all\"");
    let socket = builder.path("app.sock");
    let files = builder.path("files");
    fs::create_dir_all(files.join("static")).unwrap();
    fs::create_dir_all(files.join("media")).unwrap();
    fs::write(files.join("static/site.css"), "body {}\n").unwrap();
    fs::write(files.join("media/page.html"), "<script>\n").unwrap();
    let server = builder.bind(&[&format!("unix:{}", socket.display())]).start();
    let nginx = Nginx::start_site(|listen| change(adapted(listen, &socket, &files)));
    (server, nginx)
}

#[test]
fn nginx_accepts_the_file_as_it_is_shipped() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("app.conf");
    // Only root may have port 80.
    let text = shipped().replace(":80;", ":8080;").replace("listen 80;", "listen 8080;");
    fs::write(&site, if nix::unistd::geteuid().is_root() { shipped() } else { text }).unwrap();
    let file = directory.path().join("nginx.conf");
    let path = directory.path().display();
    fs::write(
        &file,
        format!("pid {path}/pid; events {{}} http {{ access_log off; include {}; }}", site.display()),
    )
    .unwrap();
    let mut command = Command::new(tools::program("nginx"));
    command.arg("-t").arg("-p").arg(directory.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
    command.stdin(Stdio::null());
    let outcome = run_command(command);
    outcome.expect_code(0);
    assert!(!outcome.stderr.contains("[warn]"), "{outcome:#?}");
}

#[test]
fn static_files_need_no_rwsgi() {
    let (mut server, nginx) = serve();
    let css = Client::connect(&nginx.address).get("/static/site.css").expect(200);
    assert_eq!((css.text().as_str(), css.header("cache-control")), ("body {}\n", Some("max-age=3600")));
    let page = Client::connect(&nginx.address).get("/media/page.html").expect(200);
    assert!(page.header("content-security-policy").unwrap().contains("sandbox"));
    server.stop();
    Client::connect(&nginx.address).get("/static/site.css").expect(200);
}

/// A visitor writes every header that a proxy could, and none is believed.
#[test]
fn who_the_visitor_is_nginx_says() {
    let (_server, nginx) = serve();
    let mut client = Client::connect(&nginx.address);
    client.send(
        "GET /page?x=1 HTTP/1.1\r\nHost: example.org:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Ssl: on\r\n\
         Front-End-Https: on\r\nX-Forwarded-Scheme: https\r\nX-Forwarded-Protocol: https\r\n\
         Forwarded: for=6.6.6.6;host=evil\r\nProxy: http://evil\r\nX-Request-Id: evil\r\n\r\n",
    );
    let told = client.response().expect(200).json();
    for (name, value) in [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("wsgi.url_scheme", "http"),
        ("HTTP_HOST", "example.org:8080"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/page"),
        ("QUERY_STRING", "x=1"),
    ] {
        assert_eq!(told[name], value, "{name}: {told}");
    }
    let text = told.to_string();
    assert!(!text.contains("evil") && !text.contains("6.6.6.6"), "{text}");
    let crate::client::Address::Tcp(address) = &nginx.address else { panic!("TCP") };
    assert_eq!(told["SERVER_PORT"], address.port().to_string());
}

#[test]
fn stream_is_not_delayed_when_the_application_says_so() {
    let (_server, nginx) = serve();
    follow_stream(&nginx);
    // Of a response without chunks nginx would keep what does not fill a buffer, were it not for the header.
    let (_server, nginx) =
        serve_changed(|text| text.replace("proxy_http_version 1.1", "proxy_http_version 1.0"));
    follow_stream(&nginx);
}

fn follow_stream(nginx: &Nginx) {
    let mut client = Client::connect(&nginx.address);
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // The second block is not made before somebody else has asked for it, which is after the first was seen.
    while client.line().expect("the first block") != "first" {}
    Client::connect(&nginx.address).get("/go-on").expect(200);
    while client.line().expect("the second block") != "second" {}
}

#[test]
fn page_while_rwsgi_is_down() {
    let (mut server, nginx) = serve();
    let own = Client::connect(&nginx.address).get("/maintenance").expect(503);
    assert_eq!(own.text(), "the application's own");
    server.stop();
    for _ in 0..3 {
        let page = Client::connect(&nginx.address).get("/").expect(503);
        assert!(page.text().contains("Back in a moment"));
        assert_eq!((page.header("retry-after"), page.header("cache-control")), (Some("5"), Some("no-store")));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    }
}

#[test]
fn upload_that_is_too_large_is_refused_by_nginx() {
    let (server, nginx) = serve();
    let mut client = Client::connect(&nginx.address);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20971521\r\n\r\n");
    client.response().expect(413);
    assert!(!server.log().contains("413"), "rwsgi has seen it: {}", server.log());
}

#[test]
fn requests_over_kept_connections_outlive_reloads() {
    let (server, nginx) = serve();
    for generation in 2..=4 {
        for _ in 0..20 {
            Client::connect(&nginx.address).get("/").expect(200);
        }
        server.signal(nix::sys::signal::Signal::SIGHUP);
        server.wait_for(&format!("generation {generation} serves"));
    }
    Client::connect(&nginx.address).get("/").expect(200);
}
