//! What the application sees: the environ, its process and its interpreter.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Builder, quoted};
use crate::tools;

#[test]
fn environ_of_a_request() {
    let server = Builder::new("environ_json").start();
    let request = "POST /caf%C3%A9/%2F?a=%20b HTTP/1.1\r\nHost: example.org:8080\r\nContent-Type: text/plain\r\n\
                   Content-Length: 2\r\nX-Two: 1\r\nX-Two: 2\r\nX_Two: alias\r\nProxy: evil\r\n\r\nhi";
    let environ = server.connect().send(request).response().expect(200).json();
    let expected = [
        ("REQUEST_METHOD", json!("POST")),
        ("SCRIPT_NAME", json!("")),
        ("PATH_INFO", json!("/caf\u{c3}\u{a9}//")),
        ("QUERY_STRING", json!("a=%20b")),
        ("RAW_URI", json!("/caf%C3%A9/%2F?a=%20b")),
        ("REQUEST_URI", json!("/caf%C3%A9/%2F?a=%20b")),
        ("SERVER_PROTOCOL", json!("HTTP/1.1")),
        ("SERVER_NAME", json!("example.org")),
        ("SERVER_PORT", json!("8080")),
        ("REMOTE_ADDR", json!("127.0.0.1")),
        ("CONTENT_TYPE", json!("text/plain")),
        ("CONTENT_LENGTH", json!("2")),
        ("HTTP_HOST", json!("example.org:8080")),
        ("HTTP_X_TWO", json!("1,2")),
        ("wsgi.version", json!([1, 0])),
        ("wsgi.url_scheme", json!("http")),
        ("wsgi.multithread", json!(false)),
        ("wsgi.run_once", json!(false)),
        ("wsgi.input_terminated", json!(true)),
        ("rwsgi.generation", json!(1)),
        ("rwsgi.worker", json!(0)),
    ];
    for (name, value) in expected {
        // The host of a socket's own address is as good as the one of the Host field (PEP 3333, "environ Variables").
        if !name.starts_with("SERVER_N") && !name.starts_with("SERVER_PORT") {
            assert_eq!(environ[name], value, "{name}");
        }
    }
    for name in ["SERVER_NAME", "SERVER_PORT", "REMOTE_PORT"] {
        assert!(environ[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", environ[name]);
    }
    for name in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"] {
        assert_eq!(environ.get(name), None, "{name} has no place in the environ");
    }
}

#[test]
fn mount_splits_the_path() {
    let server = Builder::new("environ_json").with("app.mount", "\"/shop\"").start();
    let environ = server.get("/shop/cart").expect(200).json();
    assert_eq!((&environ["SCRIPT_NAME"], &environ["PATH_INFO"]), (&json!("/shop"), &json!("/cart")));
    server.get("/shopping").expect(404);
    server.get("/").expect(404);
}

#[test]
fn forwarded_scheme_of_a_trusted_proxy() {
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n\r\n";
    let scheme = |builder: Builder| {
        let server = builder.start();
        server.connect().send(request).response().expect(200).json()["wsgi.url_scheme"].clone()
    };
    assert_eq!(scheme(Builder::new("environ_json")), "https");
    assert_eq!(scheme(Builder::new("environ_json").with("proxy.trusted", "[\"192.0.2.1\"]")), "http");
    assert_eq!(scheme(Builder::new("environ_json").with("proxy.forwarded", "\"none\"")), "http");
}

#[test]
fn environment_variables_and_python_paths() {
    let builder = Builder::new("interpreter");
    let extra = builder.path("extra");
    fs::create_dir(&extra).unwrap();
    let server = builder
        .with("app.environment", "{ GREETING = \"good morning\", PYTHONHASHSEED = \"1\" }")
        .with("app.pythonpath", &format!("[{}]", quoted(extra.to_str().unwrap())))
        .start();
    let answer = server.get("/").expect(200).json();
    assert_eq!(answer["environment"]["GREETING"], "good morning");
    let path: Vec<&str> = answer["path"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(path[0].ends_with("tests/apps"), "{path:?}");
    assert!(path.contains(&extra.to_str().unwrap()), "{path:?}");
}

#[test]
fn package_of_the_application_named_rwsgi_is_imported_and_not_the_servers_module() {
    let application = "from rwsgi.answers import answer\ndef application(environ, start_response):\n    \
                       start_response('200 OK', [])\n    return [answer]\n";
    for (file, target) in [("wsgi.py", "wsgi"), ("rwsgi/wsgi.py", "rwsgi.wsgi")] {
        let builder = Builder::new(target);
        let folder = builder.path("site");
        fs::create_dir_all(folder.join("rwsgi")).unwrap();
        fs::write(folder.join("rwsgi/answers.py"), "answer = b'its own'\n").unwrap();
        fs::write(folder.join(file), application).unwrap();
        // Without it a folder is no package but to whom it is named as the target.
        if target == "wsgi" {
            fs::write(folder.join("rwsgi/__init__.py"), "").unwrap();
        }
        assert_eq!(builder.directory(&folder).start().get("/").expect(200).text(), "its own", "{target}");
    }
}

#[test]
fn virtual_environment_is_the_one_of_the_application() {
    let environment = tools::virtual_environment();
    let server = Builder::new("interpreter").packages().start();
    let answer = server.get("/").expect(200).json();
    assert_eq!(answer["prefix"], environment.to_str().unwrap());
    assert_eq!(answer["executable"], environment.join("bin/python").to_str().unwrap());
    let path = answer["path"].to_string();
    assert!(path.contains("site-packages"), "{path}");
}

#[test]
fn callables_of_every_form() {
    for (target, wanted) in [
        ("factory:create_app()", "hello"),
        ("factory:create_app('good day', loud=True)", "GOOD DAY"),
        ("factory:site.wsgi_app", "from an attribute"),
    ] {
        let server = Builder::new(target).start();
        assert_eq!(server.get("/").expect(200).text(), wanted, "{target}");
    }
}

#[test]
fn workers_run_in_the_application_directory() {
    let server = Builder::new("pid").start();
    let answer = server.get("/").expect(200).json();
    assert!(answer["cwd"].as_str().unwrap().ends_with("tests/apps"), "{answer}");
    assert_eq!(answer["ppid"], server.program.pid);
    assert_eq!((&answer["generation"], &answer["worker"]), (&json!(1), &json!(0)));
}

#[test]
fn process_titles_tell_the_role() {
    let server = Builder::new("pid").with("server.process_name", "\"shop\"").start();
    let answer = server.get("/").expect(200).json();
    let worker =
        server.workers().into_iter().find(|process| answer["pid"] == process.pid).expect("the worker");
    assert!(worker.title.contains("shop") && worker.title.contains("worker"), "{}", worker.title);
    let master = crate::process::group(server.program.pid);
    let master = master.iter().find(|process| process.pid == server.program.pid).expect("the master");
    assert!(master.title.contains("shop") && master.title.contains("master"), "{}", master.title);
}
