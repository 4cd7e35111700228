//! The examples on real frameworks, and those that need none: pages, forms, cookies, redirects, uploads, errors.

use crate::client::{Client, Session};
use crate::harness::{Builder, Server};

/// What differs between the sites, which otherwise do the same.
struct Site {
    name: &'static str,
    target: &'static str,
    after_sign: u16,
    upload: &'static str,
    missing: &'static str,
    /// What the log holds after the error page; `None` when the framework keeps the error to itself.
    error: Option<&'static str>,
}

fn serve(site: &Site) -> Server {
    Builder::example(site.name, site.target).with("workers.threads", "2").start()
}

#[track_caller]
fn visit(site: &Site) {
    let server = serve(site);
    let mut session = Session::new(&server.address());
    assert!(session.get("/").expect(200).text().contains("Hello, stranger!"));
    let response = session.post("/sign", &[("name", "Zoë & <Ada>")]).expect(site.after_sign);
    let location = response.header("location").expect("a redirect has a Location").to_owned();
    assert!(["/", "http://localhost/"].contains(&location.as_str()), "{location}");
    let page = session.get("/").expect(200).text();
    assert!(page.contains("Ada") && page.contains("Zo"), "the cookie was kept: {page}");
    assert!(!page.contains("stranger"), "{page}");
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 256).unwrap()).collect();
    let answer = session.upload("/upload", &[], ("file", &content)).expect(200).text();
    assert!(answer.contains(site.upload), "{answer}");
    let stream = session.get("/stream").expect(200);
    assert_eq!(stream.text(), "line 0\nline 1\nline 2\nline 3\nline 4\n");
    let missing = session.get("/nothing/here").expect(404).text();
    assert!(missing.contains(site.missing), "{missing}");
    let broken = session.get("/broken").expect(500).text();
    assert!(!broken.contains("on purpose"), "the visitor sees no details: {broken}");
    if let Some(error) = site.error {
        server.wait_for(error);
    }
    let mut head = Client::connect(&server.address());
    head.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head();
}

const JSON_UPLOAD: &str = "\"size\": 1000000";

#[test]
fn flask() {
    visit(&Site {
        name: "flask",
        target: "app:app",
        after_sign: 302,
        upload: "\"size\":1000000",
        missing: "Nothing at /nothing/here",
        error: Some("LookupError: this view is broken on purpose"),
    });
}

#[test]
fn flask_routes_and_files() {
    let server = Builder::example("flask", "app:app").start();
    let mut session = Session::new(&server.address());
    assert_eq!(session.get("/users/7").expect(200).json()["next"], "/users/8");
    session.get("/users/seven").expect(404);
    session.post("/users/7", &[]).expect(405);
    session.post("/sign", &[("name", " ")]).expect(422);
    session.post("/sign", &[]).expect(400);
    let source = std::fs::read_to_string(crate::harness::root().join("examples/flask/app.py")).unwrap();
    assert_eq!(session.get("/source").expect(200).text(), source);
    let request = "GET /source HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-9\r\n\r\n";
    assert_eq!(server.connect().send(request).response().expect(206).text(), source[..10]);
    session.post("/sign", &[("name", "Ada")]).expect(302);
    assert!(session.get("/").text().contains("Thank you, Ada."));
    assert!(!session.get("/").text().contains("Thank you, Ada."), "a message is shown once");
}

#[test]
fn werkzeug() {
    visit(&Site {
        name: "werkzeug",
        target: "app",
        after_sign: 303,
        upload: "upload.bin: 1000000 bytes",
        missing: "Not Found",
        error: Some("LookupError: this view is broken on purpose"),
    });
}

#[test]
fn bottle() {
    visit(&Site {
        name: "bottle",
        target: "app",
        after_sign: 303,
        upload: JSON_UPLOAD,
        missing: "Nothing at /nothing/here",
        error: Some("LookupError: this view is broken on purpose"),
    });
}

#[test]
fn pyramid() {
    visit(&Site {
        name: "pyramid",
        target: "app:main()",
        after_sign: 303,
        upload: JSON_UPLOAD,
        missing: "Nothing at /nothing/here",
        error: Some("LookupError: this view is broken on purpose"),
    });
}

#[test]
fn falcon() {
    visit(&Site {
        name: "falcon",
        target: "app",
        after_sign: 303,
        upload: "\"file\": 1000000",
        missing: "404 Not Found",
        error: Some("LookupError: this resource is broken on purpose"),
    });
}

#[test]
fn falcon_routes_with_numbers() {
    let server = Builder::example("falcon", "app").start();
    let mut client = server.connect();
    assert_eq!(client.get("/people/1").expect(200).json()["name"], "Ada");
    assert_eq!(client.get("/people/9").expect(404).json()["title"], "Nobody there");
}

#[test]
fn cherrypy() {
    visit(&Site {
        name: "cherrypy",
        target: "app",
        after_sign: 303,
        upload: JSON_UPLOAD,
        missing: "404",
        error: None,
    });
}

#[test]
fn webpy() {
    visit(&Site {
        name: "webpy",
        target: "app",
        after_sign: 303,
        upload: "upload.bin: 1000000 bytes",
        missing: "not found",
        error: Some("LookupError: this page is broken on purpose"),
    });
}

#[test]
fn demo() {
    let server = Builder::new("app").directory(&crate::harness::root().join("examples/demo")).start();
    let mut session = Session::new(&server.address());
    let page = session.get("/").expect(200).text();
    for word in ["Generation", "Worker slot", "wsgi.url_scheme", "REMOTE_ADDR"] {
        assert!(page.contains(word), "{word} in\n{page}");
    }
    assert!(session.get("/form?text=caf%C3%A9").expect(200).text().contains("café"));
    assert!(session.post("/form", &[("text", "<b>café")]).expect(200).text().contains("&lt;b&gt;café"));
    let answer = session.upload("/upload", &[], ("file", &vec![b'x'; 2_000_000])).expect(200).text();
    assert!(answer.contains("2,000,"), "{answer}");
    assert!(session.get("/file").expect(200).text().contains("def application"));
    assert_eq!(session.get("/cookie").expect(303).header("location"), Some("/"));
    assert!(session.cookie("visited").is_some());
    session.get("/slow?seconds=0").expect(200);
    session.get("/slow?seconds=x").expect(400);
    session.get("/none").expect(404);
    session.get("/error").expect(500);
    server.wait_for("RuntimeError: this page raises on purpose");
    let mut client = server.connect();
    client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
    while !client.line().unwrap().is_empty() {}
    // The first chunk is there long before the last: it is not the whole page.
    let size = usize::from_str_radix(&client.line().unwrap(), 16).unwrap();
    let chunk = String::from_utf8(client.take(size).unwrap()).unwrap();
    assert!(!chunk.contains("</html>"), "{chunk}");
}

#[test]
fn examples_of_the_tutorials() {
    for (name, wanted) in [
        ("hello", "Hello, World!\n"),
        ("function", "Hello, World!\n"),
        ("class_iter", "Hello from a class\n"),
        ("generator", "Hello from a generator\n"),
        ("greet", "Hello, Ada!\n"),
    ] {
        let server =
            Builder::new("app").directory(&crate::harness::root().join("examples").join(name)).start();
        assert_eq!(
            server.get(if name == "greet" { "/Ada" } else { "/" }).expect(200).text(),
            wanted,
            "{name}"
        );
    }
}
